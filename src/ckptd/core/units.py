"""Sizes, rates and durations: as people write them, as numbers, and as people read them.

Takes strings or whole numbers and gives bytes, bytes a second and seconds; says in the ValueError what would
have been right. Knows no key of the manifest and no locale, and accepts no zero: every place that reads a
quantity (manifest, lock, command line) means one that is there.
"""

from __future__ import annotations

import math
import re

LARGEST = 2**63 - 1  # bytes: what a file offset can say
LONGEST = 100 * 365 * 86400.0  # seconds: beyond this it is a slip, and timers overflow

# Lower-cased unit -> bytes. "16 M" is missing on purpose: systemd and rsync mean 1024^2 by it, disks 1000^2.
BYTES = {"": 1, "b": 1}
BYTES |= {f"{letter}b": 1000 ** (power + 1) for power, letter in enumerate("kmgtp")}
BYTES |= {f"{letter}ib": 1024 ** (power + 1) for power, letter in enumerate("kmgtp")}

# Case matters here: "M" means months to systemd.
SECONDS = {
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86400),
    **dict.fromkeys(("d", "day", "days"), 86400),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
}

SCALE = ("B", "kB", "MB", "GB", "TB", "PB", "EB")

_SIZE = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,20}))?\s*([A-Za-z]*)")
_PER_SECOND = re.compile(r"(.*?)\s*/\s*(?:s|sec|second)", re.IGNORECASE)
_SPAN = re.compile(r"\s*([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*([A-Za-z]+)")

_SIZE_HELP = 'write a size such as "16 MiB", "200 MB" or a whole number of bytes'
_RATE_HELP = 'write a rate such as "50 MB/s" or "unlimited"'
_DURATION_HELP = 'write a duration such as "30s", "12h", "7d" or "1h30m"'


def parse_size(value: object) -> int:
    """Bytes, at least 1. Part of a byte is dropped ("0.1 KiB" is 102). Raises ValueError."""
    return _bytes_of(value, _SIZE_HELP)


def _bytes_of(value: object, right: str) -> int:
    """The number of bytes; `right` is what to say when it is none."""
    count = value if isinstance(value, int) and not isinstance(value, bool) else _written_bytes(value, right)
    if count < 1:
        raise ValueError(f"must be more than zero; {right}")
    if count > LARGEST:
        raise ValueError(f"is larger than any file can be; {right}")
    return count


def _written_bytes(value: object, right: str) -> int:
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"is not understood; {right}")
    whole, part, unit = found[1], found[2] or "", found[3]
    factor = BYTES.get(unit.lower())
    if factor is None:
        raise ValueError(f'has the unknown unit "{unit}"; {right}')
    scale: int = 10 ** len(part)
    return int(whole + part) * factor // scale  # whole numbers: a float would lose bytes above 2^53


def parse_rate(value: object) -> float | None:
    """Bytes a second, at least 1; None is unlimited. A whole number is bytes a second. Raises ValueError."""
    if isinstance(value, str):
        if value.strip().lower() == "unlimited":
            return None
        found = _PER_SECOND.fullmatch(value.strip())
        if found is None:
            raise ValueError(f"is not understood; {_RATE_HELP}")
        value = found[1]
    return float(_bytes_of(value, _RATE_HELP))


def parse_duration(value: object) -> float:
    """Seconds, more than 0. A whole number is seconds, as in systemd; a string says its unit, since
    `--older-than 7` would otherwise mean seven seconds. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        seconds = float(min(value, 2**53))
    else:
        seconds = _duration_of(value)
    if seconds <= 0:
        raise ValueError(f"must be more than zero; {_DURATION_HELP}")
    if seconds > LONGEST:
        raise ValueError(f"is longer than a hundred years; {_DURATION_HELP}")
    return seconds


def _duration_of(value: object) -> float:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"is not understood; {_DURATION_HELP}")
    text, position, seconds, last = value.rstrip(), 0, 0.0, math.inf
    while position < len(text):
        found = _SPAN.match(text, position)
        if found is None:
            raise ValueError(f"is not understood; {_DURATION_HELP}")
        unit = SECONDS.get(found[2])
        if unit is None:
            raise ValueError(f'has the unknown unit "{found[2]}" (w, d, h, m and s are known); {_DURATION_HELP}')
        if unit >= last:  # "30m 1h" and "1h 1h" are slips more often than sums
            raise ValueError(f"names its units out of order; {_DURATION_HELP}")
        seconds, last, position = seconds + float(found[1]) * unit, unit, found.end()
    return seconds


def format_size(count: float) -> str:
    """Three significant digits in decimal units: 1234567890 is "1.23 GB"."""
    shown = float(f"{count:.3g}") if abs(count) >= 1000 else float(round(count))  # first, so that 999999 is "1 MB"
    power = 0
    while abs(shown) >= 1000 and power < len(SCALE) - 1:
        shown, power = shown / 1000, power + 1
    return f"{shown:.4g} {SCALE[power]}"


def format_rate(rate: float | None) -> str:
    """As `format_size`, a second; None is "unlimited"."""
    return "unlimited" if rate is None else f"{format_size(rate)}/s"


def format_duration(seconds: float) -> str:
    """The two largest units: "45s", "2m 05s", "3h 12m", "6d 4h". Infinite is "unknown", negative "0s"."""
    if not math.isfinite(seconds):
        return "unknown"
    total = max(0, round(seconds))
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if days:
        return f"{days}d {hours % 24}h"
    if hours:
        return f"{hours}h {minutes % 60:02d}m"
    if minutes:
        return f"{minutes}m {total % 60:02d}s"
    return f"{total}s"
