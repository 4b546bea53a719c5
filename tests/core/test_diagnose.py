"""What happened, from facts alone: precedence, who did it, where, and how it is said.

The facts of real damage are in `tests/store/test_examine.py`; here are those that are hard to bring about.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.diagnose import Cause, Correction, Diagnosis, Hand, corrections, diagnose
from ckptd.core.evidence import Facts, Flip, Inode, Kind, Recorded, Run, Spot
from ckptd.core.models import BLOCK, PIECE, Damage

KIB, MIB = 1024, 1024 * 1024
SIZE = 3 * PIECE + 100
SECOND = 1_000_000_000  # in nanoseconds
INODE = Inode(size=SIZE, number=7, mtime_ns=5 * SECOND, ctime_ns=6 * SECOND, owner=1000, mode=0o444)
GOOD = Recorded(stamp=f"{SIZE}:7:{5 * SECOND}", at=10.0, owner=1000, mode=0o444)
HTML = b"<html><body>Sign in</body></html>"
GOOD_FACTS = Facts("model.tar.gz", SIZE, found=INODE, recorded=GOOD, unit=BLOCK, intact=SIZE - BLOCK)


def block(number: int, *, zeros: tuple[Run, ...] = (), flip: Flip | None = None, readable: bool = True) -> Spot:
    return Spot(number * BLOCK, BLOCK, readable=readable, zeros=zeros, flip=flip)


def sized(facts: Facts, size: int) -> Facts:
    return replace(facts, found=replace(INODE, size=size))


def zeroed(number: int, start: int = 0, end: int = BLOCK, *, hole: bool = False) -> Spot:
    """A block with zeros from one byte in it to another."""
    return block(number, zeros=(Run(number * BLOCK + start, end - start, hole=hole),))


# --- precedence -------------------------------------------------------------------------------------------------------

ALL = replace(
    GOOD_FACTS,
    recorded=replace(GOOD, stamp=f"{SIZE}:8:{5 * SECOND}"),
    head=HTML,
    trouble="Input/output error",
    spots=(block(0), block(1, readable=False)),
)
LADDER: list[tuple[Facts, Cause]] = [
    (replace(ALL, kind=Kind.MISSING, found=None, refused="x"), Cause.MISSING),
    (replace(ALL, kind=Kind.LINK, target="x", refused="x"), Cause.LINK),
    (replace(ALL, kind=Kind.FOLDER, refused="x"), Cause.OTHER_TYPE),
    (replace(ALL, kind=Kind.OTHER, refused="x"), Cause.OTHER_TYPE),
    (replace(sized(ALL, 0), refused="Permission denied"), Cause.UNREADABLE),
    (sized(ALL, SIZE - 1), Cause.UNREADABLE),
    (replace(sized(ALL, 0), spots=()), Cause.EMPTY),
    (replace(sized(ALL, SIZE - 1), spots=(block(0),)), Cause.PAGE),
    (replace(sized(ALL, SIZE + 1), spots=(block(0),)), Cause.PAGE),
    (replace(ALL, spots=(block(0),)), Cause.PAGE),
    (replace(sized(ALL, SIZE - 1), spots=(block(5),)), Cause.TRUNCATED),
    (replace(sized(ALL, SIZE + 1), spots=(block(5),)), Cause.GROWN),
    (replace(ALL, spots=()), Cause.UNSTEADY),
    (replace(ALL, spots=(block(5, flip=Flip(5 * BLOCK, 1)),)), Cause.FLIPPED_BIT),
    (replace(ALL, spots=(zeroed(5),)), Cause.ZEROS),
    (replace(ALL, spots=(block(5),)), Cause.ONE_BLOCK),
    (replace(ALL, spots=(block(5), Spot(6 * BLOCK, SIZE - 6 * BLOCK))), Cause.JOINED),
    (replace(ALL, spots=(block(5), block(9))), Cause.REWRITTEN),
    (replace(ALL, spots=(block(5), block(9)), recorded=GOOD), Cause.CHANGED),
    (replace(ALL, spots=(Spot(5 * BLOCK, BLOCK, seen=False),), recorded=GOOD), Cause.CHANGED),
]


@pytest.mark.parametrize(("facts", "cause"), LADDER)
def test_the_first_that_fits(facts: Facts, cause: Cause) -> None:
    assert diagnose(facts).cause is cause


def test_every_cause_is_on_the_ladder() -> None:
    assert {cause for _, cause in LADDER} == set(Cause)


def test_a_programs_words_are_in_kebab_case() -> None:
    assert all(cause.value == cause.value.lower().replace("_", "-").replace(" ", "-") for cause in Cause)


# --- a page in place of data ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "head", "page"),
    [
        ("model.tar.gz", HTML, True),
        ("model", b"\xef\xbb\xbf<!doctype html>", True),
        ("model.bin", b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", True),
        ("model.bin", b'{"error": {"code": 404}}', True),
        ("model.bin", b'\n{\n  "message" : "Not Found"}', True),
        ("model.bin", b'{"detail":"rate limited"}', True),
        ("model.bin", b'{"weights": "..."}', False),
        ("config.json", b'{"message": "Not Found"}', False),
        ("page.HTML", HTML, False),
        ("feed.xml", b"<error>", False),
        ("model.bin", b"", False),
        ("model.bin", b"\x00<html>", False),
        ("model.zip", b"no magic", False),
    ],
)
def test_what_a_page_is(name: str, head: bytes, page: bool) -> None:
    facts = replace(GOOD_FACTS, name=name, head=head, spots=(block(0),))
    assert (diagnose(facts).cause is Cause.PAGE) == page


def test_a_page_that_was_always_there_is_none() -> None:
    """Its block is as it was, or only a bit of it is not."""
    assert diagnose(replace(GOOD_FACTS, head=HTML, spots=(block(1),))).cause is Cause.ONE_BLOCK
    flipped = block(0, flip=Flip(9, 1, proven=True))
    assert diagnose(replace(GOOD_FACTS, head=HTML, spots=(flipped,))).cause is Cause.FLIPPED_BIT


def test_a_page_is_told_from_one_that_begins_a_file() -> None:
    over = replace(GOOD_FACTS, head=HTML, spots=(block(0),))
    assert "is where its beginning was." in diagnose(over).summary
    instead = replace(sized(GOOD_FACTS, 33), head=HTML, intact=0)
    assert "is in its place." in diagnose(instead).summary


# --- zeros ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spots", "lost"),
    [
        ((zeroed(5),), True),
        ((zeroed(5, 512, 1024),), True),
        ((zeroed(5, 510, 1027),), True),  # a neighbour or two happened to be zero before
        ((zeroed(5, 530, 1200),), True),  # a program wrote them: nothing ends there on a disk
        ((zeroed(5, 512, 1200),), True),
        ((block(5, zeros=(Run(5 * BLOCK + 700, 600), Run(5 * BLOCK + 9000, 700))),), False),  # as the data has them
        ((block(5, zeros=(Run(5 * BLOCK + 700, 600), Run(5 * BLOCK + 9000, 3))),), True),
        ((zeroed(5, 530, 530 + 511),), False),
        ((zeroed(5, 0, 100),), False),
        ((zeroed(5, 505, 520),), False),  # around a boundary
        ((zeroed(5, 4096), zeroed(6), zeroed(7, 0, 512)), True),
        ((zeroed(5, 4096), block(6), zeroed(7, 0, 512)), False),
        ((zeroed(5, 4096, 8192), zeroed(6, 4096, 8192)), True),  # one in each
        ((zeroed(5, 4096, 8192), zeroed(6, 700, 1500)), True),
        ((zeroed(5, 700), zeroed(6), zeroed(7, 0, 100)), True),
        ((zeroed(5, 700), block(6)), False),
        ((block(5, zeros=(Run(5 * BLOCK + 700, 600), Run(6 * BLOCK - 9, 9))), zeroed(6, 0, 700)), True),
        ((block(5, zeros=(Run(5 * BLOCK + 512, BLOCK - 512, beside=True),)),), False),  # data, which goes on
        ((block(5, zeros=(Run(5 * BLOCK + 9, 700), Run(6 * BLOCK - 600, 600, beside=True))),), True),
        ((block(5, zeros=(Run(5 * BLOCK, BLOCK, beside=True),)),), True),  # and yet they are wrong
        ((block(5, zeros=(Run(5 * BLOCK, BLOCK, beside=True),)), zeroed(6, 0, 700)), True),
        ((zeroed(5, 4096), Spot(6 * BLOCK, PIECE, seen=False), block(6)), False),
        ((zeroed(5, 4096), Spot(6 * BLOCK, 9 * BLOCK, seen=False), zeroed(15, 0, 512)), True),
        ((Spot(5 * BLOCK, BLOCK, seen=False),), False),
        ((Spot(PIECE, PIECE, zeros=(Run(PIECE + 512, 1024),)),), False),  # too little to mean something in a piece
        ((Spot(PIECE, PIECE, zeros=(Run(PIECE + 4096, 4096), Run(PIECE + 9000, 100_000))),), True),
    ],
)
def test_which_zeros_are_lost_data(spots: tuple[Spot, ...], lost: bool) -> None:
    diagnosis = diagnose(replace(GOOD_FACTS, spots=spots))
    assert (diagnosis.cause is Cause.ZEROS) == lost


@pytest.mark.parametrize(
    ("spots", "detail", "summary"),
    [
        (
            (zeroed(5, 4096, 8192),),
            "4 KiB of zeros at byte 331776",
            "4 KiB of zeros are in what differs, at byte 331776. Whether data was in all of that cannot be told. ",
        ),
        (
            (zeroed(5, hole=True), zeroed(6, hole=True)),
            "128 KiB of zeros at byte 327680, a hole",
            "128 KiB of zeros are where data was, at byte 327680. Nothing is allocated there: it is a hole. ",
        ),
        (
            (zeroed(5, hole=True), zeroed(6)),
            "128 KiB of zeros at byte 327680",
            "128 KiB of zeros are where data was, at byte 327680. ",
        ),
        (
            (zeroed(5, 0, 512), zeroed(9, 0, 700)),
            "512 bytes of zeros at byte 327680",
            "",
        ),
        (  # a whole block of them that is not as it was
            (zeroed(5, 700), zeroed(6), zeroed(7, 0, 100)),
            "130472 bytes of zeros at byte 328380",
            "130472 bytes of zeros are where data was, at byte 328380. ",
        ),
        (
            (zeroed(5, 0, 512), zeroed(9, 0, 1024)),
            "512 bytes of zeros at byte 327680",
            "1536 bytes of zeros are in what differs, in 2 places, first at byte 327680. Whether data was in all of ",
        ),
    ],
)
def test_how_zeros_are_told(spots: tuple[Spot, ...], detail: str, summary: str) -> None:
    diagnosis = diagnose(replace(GOOD_FACTS, spots=spots))
    assert diagnosis.damage[0].detail == detail
    assert diagnosis.summary.startswith(summary)


# --- two versions joined ----------------------------------------------------------------------------------------------

TAIL = Spot(6 * BLOCK, SIZE - 6 * BLOCK)
START = Spot(0, 6 * BLOCK)


@pytest.mark.parametrize(
    ("spots", "intact", "text"),
    [
        ((TAIL,), 1, "Everything from byte 393216 on differs (to within 64 KiB): two versions are joined there."),
        ((START,), 1, "Everything up to byte 393216 differs (to within 64 KiB): two versions are joined there."),
        ((Spot(0, SIZE),), 0, "No block of it is what it was."),
        ((START, TAIL), 0, "No block of it is what it was."),
        ((Spot(BLOCK, 6 * BLOCK),), 1, "384 KiB of it differ, at byte 65536."),
        ((block(0), TAIL), 1, f"{(SIZE - 5 * BLOCK) / 1e6:.3g} MB of it differ, in 2 places."),
        ((block(0), block(1)), 1, "128 KiB of it differ, at byte 0."),  # too little to be a version
        ((START, zeroed(6), block(7)), 1, "Everything up to byte 524288 differs"),
        ((START, block(6, flip=Flip(6 * BLOCK, 0))), 1, "448 KiB of it differ, in 2 places."),
    ],
)
def test_when_two_versions_are_joined(spots: tuple[Spot, ...], intact: int, text: str) -> None:
    assert diagnose(replace(GOOD_FACTS, spots=spots, intact=intact)).summary.startswith(text)


def test_joined_pieces() -> None:
    facts = replace(GOOD_FACTS, unit=PIECE, spots=(Spot(PIECE, PIECE), Spot(2 * PIECE, PIECE), Spot(3 * PIECE, 100)))
    assert diagnose(facts).summary.startswith("Everything from byte 16777216 on differs (to within 16 MiB)")


# --- who did it -------------------------------------------------------------------------------------------------------

NEW, WRITTEN = replace(INODE, number=9), replace(INODE, mtime_ns=86400 * SECOND)
AT = "1970-01-01 00:00:10 UTC"


@pytest.mark.parametrize(
    ("recorded", "found", "hand", "told"),
    [
        (
            GOOD,
            INODE,
            Hand.MEDIUM,
            (
                f"Inode, times and owner are as they were when it was last good ({AT}), so the disk or the way to it "
                "did that, not a program."
            ),
        ),
        (
            Recorded(GOOD.stamp),
            INODE,
            Hand.MEDIUM,
            (
                "Inode and modification time are as they were when it was last good, so the disk or the way to it did "
                "that, not a program."
            ),
        ),
        (
            GOOD,
            replace(INODE, ctime_ns=69 * SECOND),  # it was published
            Hand.MEDIUM,
            f"Inode, times and owner are as they were when it was last good ({AT})",
        ),
        (
            GOOD,
            NEW,
            Hand.PROGRAM,
            (
                f"Another file was put in its place since it was last good ({AT}): its inode is a new one; it was last "
                "modified at 1970-01-01 00:00:05 UTC."
            ),
        ),
        (
            GOOD,
            WRITTEN,
            Hand.PROGRAM,
            (
                f"A program wrote to it since it was last good ({AT}): its modification time is now "
                "1970-01-02 00:00:00 UTC."
            ),
        ),
        (
            GOOD,
            replace(INODE, mtime_ns=2**63 - 1),
            Hand.PROGRAM,
            (
                f"A program wrote to it since it was last good ({AT}): its modification time is now "
                "2262-04-11 23:47:16 UTC."
            ),
        ),
        (
            GOOD,
            replace(INODE, mtime_ns=10**21),
            Hand.PROGRAM,
            (
                f"A program wrote to it since it was last good ({AT}): its modification time is now "
                "1000000000000 seconds after 1970."
            ),
        ),
        (
            GOOD,
            replace(INODE, owner=0),
            Hand.PROGRAM,
            f"It belongs to user 0 now and belonged to user 1000 when it was last good ({AT}), so a program changed",
        ),
        (
            GOOD,
            replace(INODE, mode=0o4755),
            Hand.PROGRAM,
            f"Its mode is 4755 now and was 0444 when it was last good ({AT}), so a program changed it.",
        ),
        (
            GOOD,
            replace(INODE, ctime_ns=71 * SECOND),
            Hand.UNKNOWN,
            (
                "Its modification time is as it was, but its inode was changed at 1970-01-01 00:01:11 UTC (modes, "
                "links, or the time set back), so who did that cannot be told."
            ),
        ),
        (
            Recorded(),
            INODE,
            Hand.UNKNOWN,
            "What it was like when it was last good is not known, so neither is who did that.",
        ),
        (Recorded(owner=0), INODE, Hand.PROGRAM, "It belongs to user 1000 now and belonged to user 0 when it was last"),
        *(
            (
                Recorded(stamp),
                INODE,
                Hand.UNKNOWN,
                "What it was like when it was last good is not known, so neither is who did that.",
            )
            for stamp in ("", "1", "a:b:c", "1:2", "1:2:3:4", "1:2:")
        ),
    ],
)
def test_who_did_it(recorded: Recorded, found: Inode, hand: Hand, told: str) -> None:
    diagnosis = diagnose(replace(GOOD_FACTS, recorded=recorded, found=found, spots=(block(5), block(9))))
    assert diagnosis.hand is hand
    assert diagnosis.summary.startswith(f"128 KiB of it differ, in 2 places. {told}")
    assert diagnosis.cause is (Cause.REWRITTEN if hand is Hand.PROGRAM else Cause.CHANGED)


@pytest.mark.parametrize(
    ("facts", "summary"),
    [
        (replace(GOOD_FACTS, kind=Kind.MISSING, found=None), "It is not there."),
        (replace(GOOD_FACTS, kind=Kind.LINK, target="a\nb"), "A link to 'a\\nb' is in its place."),
        (replace(GOOD_FACTS, kind=Kind.LINK, target="\udcff"), "A link to '\\udcff' is in its place."),
        (replace(GOOD_FACTS, kind=Kind.FOLDER), "A folder is in its place."),
        (
            replace(GOOD_FACTS, refused="Permission denied"),
            "It cannot be opened: Permission denied (its mode is 0444).",
        ),
        (
            replace(GOOD_FACTS, spots=(block(5, readable=False), block(9)), trouble="Input/output error"),
            "64 KiB of it cannot be read, from byte 327680 on: Input/output error. Another 64 KiB differ.",
        ),
        (
            GOOD_FACTS,
            (
                "It was wrong when it was verified and is right now: suspect memory, a cable or a controller, not the "
                "file."
            ),
        ),
    ],
)
def test_where_nobody_can_be_told(facts: Facts, summary: str) -> None:
    diagnosis = diagnose(facts)
    assert (diagnosis.summary, diagnosis.hand) == (summary, Hand.UNKNOWN)


# --- where ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "damage"),
    [
        (replace(GOOD_FACTS, kind=Kind.MISSING, found=None), (Damage(0, SIZE, "missing"),)),
        (replace(GOOD_FACTS, kind=Kind.FOLDER), (Damage(0, SIZE, "replaced"),)),
        (replace(GOOD_FACTS, expected_size=0, kind=Kind.MISSING, found=None), ()),
        (replace(sized(GOOD_FACTS, 3), expected_size=0, intact=0), (Damage(0, 3, "grown"),)),
        (sized(GOOD_FACTS, 0), (Damage(0, SIZE, "truncated"),)),
        (
            replace(GOOD_FACTS, spots=(block(5), block(6), block(8))),
            (Damage(5 * BLOCK, 2 * BLOCK, "changed"), Damage(8 * BLOCK, BLOCK, "changed")),
        ),
        (
            replace(GOOD_FACTS, spots=(block(5), block(6, flip=Flip(6 * BLOCK, 0)), block(7, readable=False))),
            (
                Damage(5 * BLOCK, BLOCK, "changed"),
                Damage(6 * BLOCK, BLOCK, "flipped bit", "bit 0 of byte 393216"),
                Damage(7 * BLOCK, BLOCK, "unreadable"),
            ),
        ),
        (  # the unit in which the file ends is as good as the one before it
            replace(sized(GOOD_FACTS, 6 * BLOCK + 5), spots=(block(5),)),
            (Damage(5 * BLOCK, BLOCK + 5, "changed"), Damage(6 * BLOCK + 5, SIZE - 6 * BLOCK - 5, "truncated")),
        ),
        (
            replace(sized(GOOD_FACTS, 6 * BLOCK + 5), spots=(zeroed(5),)),
            (
                Damage(5 * BLOCK, BLOCK, "zeros", "64 KiB of zeros at byte 327680"),
                Damage(6 * BLOCK + 5, SIZE - 6 * BLOCK - 5, "truncated"),
            ),
        ),
        (  # another, shorter file
            replace(sized(GOOD_FACTS, BLOCK + 5), spots=(block(0),), intact=0),
            (Damage(0, BLOCK + 5, "changed"), Damage(BLOCK + 5, SIZE - BLOCK - 5, "truncated")),
        ),
        (
            replace(GOOD_FACTS, spots=tuple(block(number, flip=Flip(number * BLOCK, 1)) for number in range(5, 11))),
            (
                Damage(
                    5 * BLOCK,
                    6 * BLOCK,
                    "flipped bit",
                    "bit 1 of byte 327680; bit 1 of byte 393216; bit 1 of byte 458752; bit 1 of byte 524288; "
                    "and 2 more",
                ),
            ),
        ),
    ],
)
def test_where_it_is_damaged(facts: Facts, damage: tuple[Damage, ...]) -> None:
    assert diagnose(facts).damage == damage


SHORT = replace(sized(GOOD_FACTS, 12345), found=replace(INODE, number=9, size=12345), intact=0)  # another file
TWO = replace(INODE, number=9, size=2 * BLOCK)


@pytest.mark.parametrize(
    ("facts", "cause", "changed"),
    [
        pytest.param(SHORT, Cause.TRUNCATED, [(0, 12345)], id="nothing could be compared"),
        pytest.param(replace(SHORT, head=b"\x1f\x8b\x08"), Cause.TRUNCATED, [(0, 12345)], id="it begins as an archive"),
        pytest.param(replace(SHORT, head=b"version 1"), Cause.REWRITTEN, [(0, 12345)], id="it begins as none"),
        pytest.param(
            replace(SHORT, name="model.bin", head=b"version 1"),
            Cause.TRUNCATED,
            [(0, 12345)],
            id="a name that promises nothing",
        ),
        pytest.param(replace(SHORT, head=HTML), Cause.PAGE, [(0, 12345)], id="a page"),
        pytest.param(
            replace(SHORT, found=TWO, intact=BLOCK, spots=(block(1),)),
            Cause.TRUNCATED,
            [(BLOCK, BLOCK)],
            id="a part is right",
        ),
        pytest.param(
            replace(SHORT, found=TWO, spots=(block(0), block(1))),
            Cause.REWRITTEN,
            [(0, 2 * BLOCK)],
            id="nothing is right",
        ),
        pytest.param(replace(SHORT, found=replace(INODE, size=12345)), Cause.TRUNCATED, [], id="the same file, cut"),
    ],
)
def test_another_shorter_file_may_be_a_part_of_it(facts: Facts, cause: Cause, changed: list[tuple[int, int]]) -> None:
    found = diagnose(facts)
    assert found.cause is cause
    *before, last = found.damage
    assert [(each.offset, each.length) for each in before] == changed
    assert last == Damage(facts.size, SIZE - facts.size, "truncated")
    asks = "Nothing tells whether what is left is what was there." in found.summary
    assert asks == (cause is Cause.TRUNCATED and changed == [(0, 12345)])


LOST = replace(GOOD_FACTS, located=False, intact=0)


@pytest.mark.parametrize(
    ("facts", "cause", "damage"),
    [
        (LOST, Cause.CHANGED, (Damage(0, SIZE, "changed", "nothing tells which bytes"),)),
        (replace(LOST, found=NEW), Cause.REWRITTEN, (Damage(0, SIZE, "changed", "nothing tells which bytes"),)),
        (replace(LOST, head=HTML), Cause.PAGE, (Damage(0, SIZE, "changed", "nothing tells which bytes"),)),
        (sized(LOST, 9), Cause.TRUNCATED, (Damage(9, SIZE - 9, "truncated"),)),
        (
            replace(LOST, found=replace(NEW, size=9)),
            Cause.TRUNCATED,
            (Damage(0, 9, "changed", "too little is left to compare"), Damage(9, SIZE - 9, "truncated")),
        ),
        (  # no archive begins like that, so it is no part of one
            replace(LOST, found=replace(NEW, size=9), head=b"some text"),
            Cause.REWRITTEN,
            (Damage(0, 9, "changed", "nothing tells which bytes"), Damage(9, SIZE - 9, "truncated")),
        ),
        (sized(LOST, SIZE + 9), Cause.GROWN, (Damage(SIZE, 9, "grown"),)),
        (sized(LOST, 0), Cause.EMPTY, (Damage(0, SIZE, "truncated"),)),
    ],
)
def test_where_nothing_tells_which_bytes_are_wrong(facts: Facts, cause: Cause, damage: tuple[Damage, ...]) -> None:
    assert (diagnose(facts).cause, diagnose(facts).damage) == (cause, damage)
    if cause in {Cause.CHANGED, Cause.REWRITTEN}:
        text = "It is not what is locked; nothing tells which of its bytes differ. "
        assert diagnose(facts).summary.startswith(text)


@st.composite
def any_facts(draw: st.DrawFn) -> Facts:
    """Facts as `examine` makes them, of a file of up to 20 blocks."""
    expected, size = draw(st.integers(0, 20 * BLOCK)), draw(st.integers(0, 20 * BLOCK))
    limit, spots = min(expected, size), []
    for start in range(0, limit, BLOCK):
        length = min(BLOCK, limit - start)
        what = draw(st.sampled_from(["good", "good", "changed", "zeros", "flip", "unreadable", "unseen"]))
        if what == "good" or (length < BLOCK and size < expected):
            continue
        spots.append(
            Spot(
                start,
                length,
                readable=what != "unreadable",
                zeros=(Run(start, length),) if what == "zeros" else (),
                flip=Flip(start, 0) if what == "flip" else None,
                seen=what != "unseen",
            )
        )
    return Facts(
        "model.bin",
        expected,
        kind=draw(st.sampled_from([Kind.PLAIN, Kind.PLAIN, Kind.PLAIN, Kind.LINK, Kind.FOLDER])),
        found=replace(INODE, size=size),
        recorded=draw(st.sampled_from([Recorded(), GOOD, Recorded("1:2:3")])),
        head=draw(st.sampled_from([b"", HTML])),
        unit=BLOCK,
        spots=tuple(spots),
        intact=draw(st.integers(0, limit)),
        capped=draw(st.booleans()),
    )


@given(any_facts())
def test_damage_is_in_order_and_covers_what_is_wrong(facts: Facts) -> None:
    diagnosis = diagnose(facts)
    ends = [each.offset + each.length for each in diagnosis.damage]
    assert all(each.length > 0 for each in diagnosis.damage)
    assert all(end <= later.offset for end, later in zip(ends, diagnosis.damage[1:], strict=False))
    assert all(end <= max(facts.size, facts.expected_size) for end in ends)
    wrong = [(spot.offset, spot.end) for spot in facts.spots]
    wrong += [(min(facts.size, facts.expected_size), max(facts.size, facts.expected_size))]
    for start, end in wrong:
        at = start
        for each in diagnosis.damage:
            if each.offset <= at < each.offset + each.length:
                at = each.offset + each.length
        assert at >= end
    assert diagnosis.summary
    assert "\n" not in diagnosis.summary


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        (1, "1 byte"),
        (999, "999 bytes"),
        (64 * KIB, "64 KiB"),
        (4 * MIB, "4 MiB"),
        (3 * 1024 * MIB, "3 GiB"),
        (4 * MIB + 1, "4.19 MB"),
        (80_000_000_000, "80 GB"),  # 78125000 KiB
    ],
)
def test_amounts_are_short(missing: int, text: str) -> None:
    facts = replace(GOOD_FACTS, expected_size=SIZE + missing)
    assert diagnose(facts).summary.startswith(f"Its last {text} are missing: it was truncated at byte {SIZE}.")


# --- mending ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flips", "expected"),
    [
        ((), ()),
        ((Flip(123456789, 3),), (Correction(123456789, 0b1000),)),
        ((Flip(5, 0), Flip(PIECE, 7)), (Correction(5, 1), Correction(PIECE, 128))),
    ],
)
def test_corrections(flips: tuple[Flip, ...], expected: tuple[Correction, ...]) -> None:
    assert corrections(Diagnosis(Cause.FLIPPED_BIT, "", (), flips=flips)) == expected


def test_many_flipped_bits() -> None:
    facts = replace(GOOD_FACTS, spots=tuple(block(at, flip=Flip(at * BLOCK, 1)) for at in (2, 4)))
    assert diagnose(facts).summary.startswith("2 single bits are flipped, the first is bit 1 of byte 131072. ")
    assert [flip.offset for flip in diagnose(facts).flips] == [2 * BLOCK, 4 * BLOCK]
