"""Foreign text made harmless, and text made to fit: cleaning, measuring and cropping, in terminal cells.

Names, URLs and messages come from manifests and servers: what could move the cursor, change colours, reverse
the line or break it never reaches a terminal. No colours here, and no rich: `ckptd status` must start fast.
"""

from __future__ import annotations

from unicodedata import combining, east_asian_width

HEAD = 24  # columns that the beginning of a cropped name gets before its end grows


def clean(text: str) -> str:
    """`text` on one line, with "?" for whatever is not printable (escape, bidirectional override, ...)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))


def cells(text: str) -> int:
    """The columns that `text` takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def crop(text: str, width: int, dots: str = "...") -> str:
    """The beginning of `text`, in at most `width` columns."""
    if cells(text) <= width:
        return text
    dots = dots[: max(0, width)]
    room, kept = width - cells(dots), 0
    for count, char in enumerate(text):
        kept += cells(char)
        if kept > room:
            return text[:count].rstrip() + dots
    return text


def crop_middle(text: str, width: int, dots: str = "...") -> str:
    """Both ends of `text`, in at most `width` columns. Most go to the beginning: there the names of a family
    (`axial_swidernet_1_1_3_imagenet1k...`, `axial_swidernet_1_1_4.5_imagenet1k...`) differ."""
    if cells(text) <= width:
        return text
    room = min(width // 4, max(3, width - HEAD))
    tail = text[len(text) - room :] if width > 3 * len(dots) else ""
    while cells(tail) > room:
        tail = tail[1:]
    return crop(text, width - cells(tail), dots) + tail


def pad(text: str, width: int) -> str:
    """`text` with spaces behind it, up to `width` columns."""
    return text + " " * (width - cells(text))
