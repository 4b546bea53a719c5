"""What people write around links, made fit for a description: which words tell anything, and what is left behind.

Knows texts only; which of them belong to a link is the business of `pages`.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ckptd.core.imports.blocks import squeeze
from ckptd.core.naming import generic

LONGEST_TEXT = 2000  # characters of a cell or paragraph that are looked at

# Words that stand around links and say nothing of what is behind them.
FILLERS = frozenset(
    {
        "an", "and", "are", "as", "at", "by", "can", "for", "from", "in", "is", "it", "of", "on", "or", "our", "see",
        "that", "the", "these", "to", "use", "using", "via", "we", "with", "you", "your", "also", "please", "click",
        "available", "provided", "config", "log", "logs", "metrics", "code",
    }
)  # fmt: skip

_EMPTY_BRACKETS = re.compile(r"\(\s*[|,/;&·]*\s*\)|\[\s*[|,/;&·]*\s*\]")
# What some Markdown puts behind a link for its renderer: {target=_blank}, {: .button #id }.
_ATTRIBUTE = r"(?:[.#][\w-]+|[\w-]+=(?:\"[^\"{}]*\"|'[^'{}]*'|[^\s\"'{}]+))"
_ATTRIBUTES = re.compile(rf"\{{:?[ \t]*{_ATTRIBUTE}(?:[ \t]+{_ATTRIBUTE})*[ \t]*\}}")
_EDGES = " \t|,;:/&·•>=*_-\u2013\u2014\u2192"
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffd]")
_WORDS = re.compile(r"[\W_]+")


def telling(text: str) -> bool:
    """Whether `text` tells one checkpoint from another."""
    words = [word for word in _WORDS.split(text.lower()) if word and word not in FILLERS]
    return bool(words) and not generic(" ".join(words))


@lru_cache(maxsize=1024)
def tidy(text: str) -> str:
    """`text` on one line, without what its links leave behind: empty brackets, separators at its ends."""
    plain = squeeze(_UNPRINTABLE.sub(" ", text[:LONGEST_TEXT]))
    plain = _ATTRIBUTES.sub("", plain) if "{" in plain else plain
    while (shorter := _EMPTY_BRACKETS.sub("", plain)) != plain:
        plain = shorter
    plain = squeeze(plain).strip(_EDGES).lstrip(".)] ")
    if plain.startswith("(") and plain.endswith(")") and plain.count("(") == 1:
        plain = plain[1:-1].strip(_EDGES)
    return plain
