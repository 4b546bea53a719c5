"""Sizes, rates and durations, as written and as shown."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.core.units import (
    format_duration,
    format_rate,
    format_size,
    parse_duration,
    parse_rate,
    parse_size,
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("16 MiB", 16_777_216),
        ("200 MB", 200_000_000),
        ("1.5 GiB", 1_610_612_736),
        ("0.1 KiB", 102),
        ("2 TB", 2_000_000_000_000),
        ("1PB", 1_000_000_000_000_000),
        ("1 pib", 1_125_899_906_842_624),
        ("3kB", 3000),
        ("3 KB", 3000),
        ("3 kib", 3072),
        ("7 B", 7),
        ("  42 ", 42),
        ("42", 42),
        (42, 42),
        (2**63 - 1, 9_223_372_036_854_775_807),
        ("9007199254740993", 9_007_199_254_740_993),  # a float would say ...992
        ("1.000000000000000001 EB".replace("EB", "PB"), 1_000_000_000_000_000),
    ],
)
def test_size(written: object, expected: int) -> None:
    assert parse_size(written) == expected


NOT_SIZES = [
    "", " ", "MB", "-1 MB", "+1 MB", "1e3 MB", "1e400", "nan", "inf", "1,5 GB", "1.5.5 GB", ".5 GB", "5. GB",
    "1 M", "1 G", "1 Mbit", "1 MB/s", "1 MB 2", "٣ MB", "9" * 5000, 1.5, math.nan, math.inf, 1e300,
    True, False, None, [], {}, b"1 MB", 2**63, "9223372036854775808", "8192 PiB",
]  # fmt: skip


@pytest.mark.parametrize("written", NOT_SIZES)
def test_not_a_size(written: object) -> None:
    with pytest.raises(ValueError, match="16 MiB"):
        parse_size(written)


@pytest.mark.parametrize("written", [0, -1, "0", "0 MB", "0.0 GiB", "0.0001 B"])
def test_a_size_is_more_than_zero(written: object) -> None:
    with pytest.raises(ValueError, match="more than zero"):
        parse_size(written)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("50 MB/s", 50e6),
        ("1 KiB/s", 1024.0),
        ("1 KiB / sec", 1024.0),
        ("1.5MiB/S", 1_572_864.0),
        (1000, 1000.0),
        ("unlimited", None),
        ("Unlimited ", None),
    ],
)
def test_rate(written: object, expected: float | None) -> None:
    assert parse_rate(written) == expected


@pytest.mark.parametrize(
    "written",
    [
        "50 MB",
        "50 Mbit/s",
        "1 M/s",
        "50 MB/m",
        "/s",
        "",
        "none",
        0,
        -5,
        "0 MB/s",
        True,
        1.5,
        None,
        "inf/s",
        "nan/s",
    ],
)
def test_not_a_rate(written: object) -> None:
    with pytest.raises(ValueError, match=r"50 MB/s"):
        parse_rate(written)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("5 min", 300),
        ("12h", 43_200),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("1h30m", 5400),
        ("1h 30m 5s", 5405),
        ("1.5h", 5400),
        ("0.5s", 0.5),
        ("1 day", 86_400),
        (60, 60),
    ],
)
def test_duration(written: object, seconds: float) -> None:
    assert parse_duration(written) == seconds


NOT_DURATIONS = [
    "", "30", "h", "-5m", "5M", "5 parsecs", "1h30", "30m1h", "1h1h", "1h,30m", "nan", "inf", "1e3s",
    "9" * 4000 + "s",
    "0s", "0h0m", 0, -1, True, 1.5, math.nan, math.inf, None, [], "101 y", "40000d", 10**400, "٣s",
]  # fmt: skip


@pytest.mark.parametrize("written", NOT_DURATIONS)
def test_not_a_duration(written: object) -> None:
    with pytest.raises(ValueError, match="12h"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1024, "1.02 kB"),
        (999_499, "999 kB"),
        (999_999, "1 MB"),
        (1_200_000_000, "1.2 GB"),
        (1_234_567_890, "1.23 GB"),
        (12_345_678, "12.3 MB"),
        (123_456_789_012_345, "123 TB"),
        (5 * 10**21, "5000 EB"),
    ],
)
def test_size_shown(count: int, shown: str) -> None:
    assert format_size(count) == shown


@pytest.mark.parametrize(
    ("rate", "shown"), [(None, "unlimited"), (0.0, "0 B/s"), (52_340_000.0, "52.3 MB/s"), (999.6, "1 kB/s")]
)
def test_rate_shown(rate: float | None, shown: str) -> None:
    assert format_rate(rate) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (-3, "0s"),
        (0.4, "0s"),
        (45, "45s"),
        (59.6, "1m 00s"),
        (125, "2m 05s"),
        (3 * 3600 + 12 * 60 + 59, "3h 12m"),
        (3600, "1h 00m"),
        (6 * 86400 + 4 * 3600, "6d 4h"),
        (400 * 86400, "400d 0h"),
        (math.inf, "unknown"),
        (math.nan, "unknown"),
    ],
)
def test_duration_shown(seconds: float, shown: str) -> None:
    assert format_duration(seconds) == shown


@settings(deadline=None)
@given(st.integers(1, 2**63 - 1))
def test_what_is_shown_reads_back_to_three_digits(count: int) -> None:
    shown = format_size(count)
    number, unit = shown.split(" ")
    assert len(number.replace(".", "")) <= 3
    if unit != "EB":
        assert parse_size(shown) == pytest.approx(count, rel=0.005)


@settings(deadline=None)
@given(st.integers(1, 50 * 365 * 86400))
def test_a_shown_duration_reads_back_to_its_smaller_unit(seconds: int) -> None:
    lost = seconds - parse_duration(format_duration(seconds))
    assert 0 <= lost < (3600 if seconds >= 86400 else 60 if seconds >= 3600 else 1)


@settings(deadline=None)
@given(st.integers(1, 2**40), st.sampled_from(["B", "kB", "MB", "KiB", "MiB"]), st.sampled_from(["", " ", "  "]))
def test_letters_may_have_either_case(count: int, unit: str, space: str) -> None:
    sizes = {parse_size(f"{count}{space}{spelled}") for spelled in (unit, unit.lower(), unit.upper())}
    assert len(sizes) == 1
    assert parse_rate(f"{count}{space}{unit}/s") in {float(size) for size in sizes}


@settings(deadline=None)
@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none()))
def test_rubbish_is_refused_or_positive(value: object) -> None:
    for parse in (parse_size, parse_rate, parse_duration):
        try:
            read = parse(value)
        except ValueError:
            continue
        assert read is None or (math.isfinite(read) and read > 0)
