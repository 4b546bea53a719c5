"""What to do for a checkpoint: every row of the decision, and that doing it settles the matter."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.core.models import Checkpoint, LockEntry, Trust
from ckptd.core.plan import (
    Action,
    Amiss,
    Check,
    Conflict,
    Fetch,
    Found,
    Keep,
    Relock,
    decide,
    decide_update,
    expectation,
    relocked,
)
from ckptd.core.proof import Proven, prove
from ckptd.core.urls import strip_for_lock

A, B = "a" * 64, "b" * 64
URL = "https://h/m.bin"
ASKED = Checkpoint("m", URL, "m.bin")
PINNED = replace(ASKED, sha256=A)
SIZED = replace(ASKED, size=7)
ENTRY = LockEntry("m", URL, 7, A, Trust.WITNESSED, ("x-goog-hash:md5",))
BY_PIN = replace(ENTRY, trust=Trust.PINNED, witnesses=("manifest-sha256", "x-goog-hash:md5"))
PROVEN = Found(7, A, unchanged=True)
TOUCHED = Found(7, A)
MOVED = replace(ASKED, url="https://other/m.bin")

ROWS: dict[str, tuple[Checkpoint, LockEntry | None, Found | None, type[Action], bool | None]] = {
    # nothing is there
    "new": (ASKED, None, None, Fetch, False),
    "new, pinned": (PINNED, None, None, Fetch, False),
    "locked, and gone": (ASKED, ENTRY, None, Fetch, False),
    # there and locked
    "as it should be": (ASKED, ENTRY, PROVEN, Keep, None),
    "touched": (ASKED, ENTRY, TOUCHED, Check, False),
    "never seen by this state": (ASKED, ENTRY, Found(7), Check, False),
    "unchanged, and known to be something else": (ASKED, ENTRY, Found(7, B, unchanged=True), Check, False),
    "too short": (ASKED, ENTRY, Found(6, A, unchanged=True), Fetch, True),
    "too long": (ASKED, ENTRY, Found(8), Fetch, True),
    # manifest and lock
    "a pin was added": (PINNED, ENTRY, PROVEN, Relock, None),
    "a pin was added, and the file touched": (PINNED, ENTRY, TOUCHED, Check, False),
    "the pin is in the lock": (PINNED, BY_PIN, PROVEN, Keep, None),
    "the pin was taken out": (ASKED, BY_PIN, PROVEN, Relock, None),
    "another pin": (replace(ASKED, sha256=B), ENTRY, PROVEN, Conflict, None),
    "another pin, and nothing there": (replace(ASKED, sha256=B), ENTRY, None, Conflict, None),
    "another size": (replace(ASKED, size=8), ENTRY, PROVEN, Conflict, None),
    "the size is pinned": (SIZED, ENTRY, PROVEN, Keep, None),
    "another URL": (MOVED, ENTRY, PROVEN, Fetch, False),
    "another URL, pinned": (replace(MOVED, sha256=A), BY_PIN, PROVEN, Relock, None),
    "only the signature in the URL differs": (
        replace(ASKED, url=URL + "?X-Amz-Signature=z"),
        ENTRY,
        PROVEN,
        Keep,
        None,
    ),
    # there and not locked
    "published, then stopped": (ASKED, None, PROVEN, Check, True),
    "published, then stopped, then touched": (ASKED, None, TOUCHED, Check, True),
    "put there by hand": (ASKED, None, Found(7), Fetch, False),
    "put there by hand, pinned": (PINNED, None, Found(7), Check, True),
    "put there by hand, of another size": (SIZED, None, Found(6), Fetch, True),
    "put there by hand, of the right size": (SIZED, None, Found(7), Fetch, False),
    "pinned, of another size": (replace(PINNED, size=7), None, Found(6, A, unchanged=True), Fetch, True),
}


@pytest.mark.parametrize("row", ROWS)
def test_every_row(row: str) -> None:
    checkpoint, entry, found, kind, detail = ROWS[row]
    action = decide(checkpoint, entry, found)
    assert type(action) is kind
    if isinstance(action, Check):
        assert action.adopt == detail
    if isinstance(action, Fetch):
        assert action.mends == detail


@pytest.mark.parametrize("row", ROWS)
def test_what_is_damaged_may_be_kept(row: str) -> None:
    """Then a locked file of the wrong size is told, and everything else is as ever."""
    checkpoint, entry, found, kind, detail = ROWS[row]
    action = decide(checkpoint, entry, found, keep=True)
    if kind is Fetch and detail and entry is not None:
        assert isinstance(action, Amiss)
        assert not action.missing
        assert "verify --repair m" in action.hint
    else:
        assert action == decide(checkpoint, entry, found)


WATCHED = replace(ASKED, in_place="/data/m.bin")
WATCHING: dict[str, tuple[Checkpoint, LockEntry | None, Found | None, type[Action], bool | None]] = {
    # the last is `adopt` of Check, `missing` of Amiss
    "not there": (WATCHED, None, None, Amiss, True),
    "locked, and gone": (WATCHED, ENTRY, None, Amiss, True),
    "new": (WATCHED, None, Found(7), Check, True),
    "new, pinned": (replace(WATCHED, sha256=A), None, Found(7), Check, True),
    "new, of another size": (replace(WATCHED, size=7), None, Found(6), Amiss, False),
    "as it should be": (WATCHED, ENTRY, PROVEN, Keep, None),
    "touched": (WATCHED, ENTRY, TOUCHED, Check, False),
    "too short": (WATCHED, ENTRY, Found(6, A, unchanged=True), Amiss, False),
    "another URL": (replace(WATCHED, url="https://other/m.bin"), ENTRY, PROVEN, Check, False),
    "a pin was added": (replace(WATCHED, sha256=A), ENTRY, PROVEN, Relock, None),
    "another pin": (replace(WATCHED, sha256=B), ENTRY, PROVEN, Conflict, None),
}


@pytest.mark.parametrize("row", WATCHING)
def test_what_is_watched_in_place_is_never_fetched(row: str) -> None:
    checkpoint, entry, found, kind, detail = WATCHING[row]
    action = decide(checkpoint, entry, found)
    assert decide(checkpoint, entry, found, keep=True) == action
    assert type(action) is kind
    if isinstance(action, Check):
        assert action.adopt == detail
    if isinstance(action, Amiss):
        assert action.missing == detail
        assert "/data/m.bin" in action.message
        assert "take in_place out" in action.hint


@pytest.mark.parametrize(
    ("checkpoint", "found", "kind"),
    [
        (ASKED, None, Fetch),
        (ASKED, PROVEN, Fetch),
        (WATCHED, None, Amiss),
        (WATCHED, PROVEN, Check),
        (WATCHED, Found(8), Check),
        (replace(WATCHED, size=7), Found(8), Amiss),
    ],
    ids=["new", "there", "watched, gone", "watched", "watched, another size", "watched, not the pinned size"],
)
def test_an_update_fetches_or_reads(checkpoint: Checkpoint, found: Found | None, kind: type[Action]) -> None:
    assert type(decide_update(checkpoint, found)) is kind


def test_reasons_are_for_people() -> None:
    short = decide(ASKED, ENTRY, Found(6))
    assert isinstance(short, Fetch)
    assert "6 bytes instead of 7" in short.reason
    conflict = decide(replace(ASKED, sha256=B), ENTRY, PROVEN)
    assert isinstance(conflict, Conflict)
    assert A in conflict.message
    assert B in conflict.message


# --- doing it settles the matter -------------------------------------------------------------------------------------


def done(checkpoint: Checkpoint, entry: LockEntry | None, action: Action, seen: tuple[str, ...]) -> LockEntry | None:
    """The lock entry after `action`, as `service.fetch` does it, when the bytes turn out to be right."""
    if isinstance(action, Keep | Conflict):
        return entry
    if isinstance(action, Relock):
        assert entry is not None
        return relocked(checkpoint, entry)
    expected = expectation(checkpoint, entry)
    digests = {"sha256": bytes.fromhex(A)}
    proof = prove(expected, 7, digests, ())
    assert isinstance(proof, Proven)
    if seen and not expected.pinned and isinstance(action, Fetch):
        proof = Proven(A, Trust.WITNESSED, tuple(sorted({*proof.witnesses, *seen})))
    return LockEntry("m", strip_for_lock(checkpoint.url), 7, A, proof.trust, proof.witnesses)


checkpoints = st.builds(
    Checkpoint,
    name=st.just("m"),
    url=st.sampled_from([URL, URL + "?X-Amz-Signature=z", "https://other/m.bin", "gs://bucket/m.bin"]),
    file_name=st.just("m.bin"),
    sha256=st.sampled_from([None, A, B]),
    size=st.sampled_from([None, 7, 8]),
)
LABELS = [(), ("x-goog-hash:md5",), ("repr-digest:sha-256", "x-goog-hash:md5")]
labels = st.sampled_from(LABELS)
entries = st.none() | st.builds(
    LockEntry,
    name=st.just("m"),
    url=st.sampled_from([URL, "https://other/m.bin"]),
    size=st.just(7),
    sha256=st.just(A),
    trust=st.sampled_from(Trust),
    witnesses=st.sampled_from([*LABELS, ("manifest-sha256",), ("manifest-sha256", "x-goog-hash:md5")]),
)
files = st.none() | st.builds(
    Found, size=st.sampled_from([6, 7]), sha256=st.sampled_from([None, A, B]), unchanged=st.booleans()
)


@settings(deadline=None, max_examples=150)
@given(checkpoints, entries, files, labels)
def test_after_doing_it_there_is_nothing_to_do(
    checkpoint: Checkpoint, entry: LockEntry | None, found: Found | None, seen: tuple[str, ...]
) -> None:
    if entry is None:  # the bytes turn out to be right: 7 of them, with digest A
        checkpoint = replace(checkpoint, sha256=checkpoint.sha256 and A, size=checkpoint.size and 7)
    action = decide(checkpoint, entry, found)
    after = done(checkpoint, entry, action, seen)
    following = decide(checkpoint, after, PROVEN if not isinstance(action, Conflict) else found)
    if isinstance(action, Conflict):
        assert following == action
    else:
        assert isinstance(following, Keep), (action, after)


PIN_GONE = "proof.py prove: `trust_of` is asked before the locked witnesses are merged in, and a locked `pinned` is not"


def test_a_pin_taken_out_means_the_same_whether_the_file_was_touched_or_not() -> None:
    """The same bytes, the same lock, the same manifest: the same entry."""
    by_reading = done(ASKED, BY_PIN, decide(ASKED, BY_PIN, TOUCHED), ())
    assert by_reading == relocked(ASKED, BY_PIN)


# --- what must come out ----------------------------------------------------------------------------------------------


def test_pin_before_lock_before_first_use() -> None:
    assert expectation(PINNED, replace(ENTRY, sha256=B)).sha256 == A
    assert expectation(PINNED, ENTRY).pinned
    by_lock = expectation(ASKED, ENTRY)
    assert (by_lock.sha256, by_lock.size, by_lock.pinned) == (A, 7, False)
    first = expectation(SIZED, None)
    assert (first.sha256, first.size, first.digest_known) == (None, 7, False)


@pytest.mark.parametrize(
    ("entry", "checkpoint", "trust", "witnesses"),
    [
        (ENTRY, PINNED, Trust.PINNED, ("manifest-sha256", "x-goog-hash:md5")),
        (BY_PIN, ASKED, Trust.WITNESSED, ("x-goog-hash:md5",)),
        (replace(BY_PIN, witnesses=("manifest-sha256",)), ASKED, Trust.FIRST_USE, ()),
        (ENTRY, ASKED, Trust.WITNESSED, ("x-goog-hash:md5",)),
    ],
)
def test_what_the_lock_should_read(
    entry: LockEntry, checkpoint: Checkpoint, trust: Trust, witnesses: tuple[str, ...]
) -> None:
    again = relocked(checkpoint, entry)
    assert (again.trust, again.witnesses) == (trust, witnesses)
    assert (again.sha256, again.size, again.pieces) == (entry.sha256, entry.size, entry.pieces)
    assert relocked(checkpoint, again) == again
