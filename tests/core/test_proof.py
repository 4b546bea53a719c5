"""Whether bytes are what was promised, by whom, and what several wrong answers amount to."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from ckptd.core.models import LockEntry, Trust, Witness
from ckptd.core.plan import Expectation
from ckptd.core.proof import (
    Mismatch,
    Promise,
    Proven,
    admissible,
    after_mismatches,
    coded_on_the_way,
    prove,
    prove_announced,
    prove_size,
    still_vouched,
)
from ckptd.errors import CkptdError, DriftError, IntegrityError, OriginError, PolicyError

BODY = b"the bytes"
DIGESTS = {"sha256": hashlib.sha256(BODY).digest(), "md5": hashlib.md5(BODY, usedforsecurity=False).digest()}
HEX = DIGESTS["sha256"].hex()
OTHER = "f" * 64
GOOD = Witness("x-goog-hash:md5", "md5", DIGESTS["md5"])
BAD = Witness("x-goog-hash:md5", "md5", b"\0" * 16)
BAD_SHA = Witness("repr-digest:sha-256", "sha256", b"\0" * 32)
UNKNOWN = Witness("x-goog-hash:crc32c", "crc32c", b"\0" * 4)
ENTRY = LockEntry("m", "https://h/m", len(BODY), HEX, Trust.FIRST_USE)
NOTHING = Expectation()
PIN = Expectation(HEX, None, pinned=True)
LOCKED = Expectation(HEX, len(BODY), locked=ENTRY)
BY_WITNESS = replace(ENTRY, trust=Trust.WITNESSED, witnesses=("x-goog-hash:md5",))
BY_PIN = replace(ENTRY, trust=Trust.PINNED, witnesses=("manifest-sha256", "x-goog-hash:md5"))

PROVEN = [
    (NOTHING, (), Trust.FIRST_USE, ()),
    (NOTHING, (GOOD,), Trust.WITNESSED, ("x-goog-hash:md5",)),
    (NOTHING, (UNKNOWN,), Trust.FIRST_USE, ()),  # what was not computed vouches for nothing
    (PIN, (), Trust.PINNED, ("manifest-sha256",)),
    (PIN, (GOOD,), Trust.PINNED, ("manifest-sha256", "x-goog-hash:md5")),
    (LOCKED, (), Trust.FIRST_USE, ()),
    (LOCKED, (GOOD,), Trust.WITNESSED, ("x-goog-hash:md5",)),  # trust may rise
    # Equal bytes keep what was once vouched for.
    (replace(LOCKED, locked=BY_WITNESS), (), Trust.WITNESSED, ("x-goog-hash:md5",)),
    (replace(PIN, locked=BY_WITNESS), (), Trust.PINNED, ("manifest-sha256", "x-goog-hash:md5")),
    (
        replace(LOCKED, locked=BY_PIN),
        (),
        Trust.WITNESSED,
        ("x-goog-hash:md5",),
    ),
    (replace(LOCKED, locked=replace(BY_PIN, witnesses=("manifest-sha256",))), (), Trust.FIRST_USE, ()),
]


@pytest.mark.parametrize(("expected", "witnesses", "trust", "labels"), PROVEN)
def test_proven(expected: Expectation, witnesses: tuple[Witness, ...], trust: Trust, labels: tuple[str, ...]) -> None:
    assert prove(expected, len(BODY), DIGESTS, witnesses) == Proven(HEX, trust, labels)


def test_an_update_forgets_no_witness_of_the_same_bytes() -> None:
    proof = prove(NOTHING, len(BODY), DIGESTS, ())
    assert isinstance(proof, Proven)
    assert still_vouched(proof, None) == still_vouched(proof, replace(BY_WITNESS, sha256=OTHER)) == proof
    assert still_vouched(proof, BY_WITNESS) == Proven(HEX, Trust.WITNESSED, ("x-goog-hash:md5",))
    assert still_vouched(proof, BY_PIN) == Proven(HEX, Trust.WITNESSED, ("x-goog-hash:md5",))  # the pin is gone


@pytest.mark.parametrize(
    ("expected", "witnesses", "promise", "said"),
    [
        (replace(PIN, sha256=OTHER), (), Promise.PIN, "the manifest says"),
        (replace(LOCKED, sha256=OTHER), (), Promise.LOCK, "the lock says"),
        (NOTHING, (BAD,), Promise.WITNESS, "x-goog-hash:md5 says"),
        (LOCKED, (BAD,), Promise.WITNESS, "x-goog-hash:md5 says"),
        (PIN, (BAD,), Promise.WITNESS, "x-goog-hash:md5 says"),
        (NOTHING, (GOOD, BAD_SHA), Promise.WITNESS, "repr-digest:sha-256 says"),
        # the order of belief: the pin is named, whoever else disagrees
        (replace(PIN, sha256=OTHER), (BAD,), Promise.PIN, "the manifest says"),
        (replace(NOTHING, size=5), (), Promise.PIN, "the manifest asks for 5"),
        (replace(LOCKED, size=5), (), Promise.LOCK, "locked are 5"),
        (replace(PIN, size=5, locked=ENTRY), (), Promise.PIN, "the manifest asks for 5"),
    ],
)
def test_not_what_was_promised(
    expected: Expectation, witnesses: tuple[Witness, ...], promise: Promise, said: str
) -> None:
    found = prove(expected, len(BODY), DIGESTS, witnesses)
    assert isinstance(found, Mismatch)
    assert found.promise is promise
    assert said in found.message


def test_a_wrong_size_is_known_before_a_byte_is_fetched() -> None:
    assert prove_size(NOTHING, 5) is None
    assert prove_size(LOCKED, len(BODY)) is None
    assert prove_size(PIN, 5) is None
    assert prove_size(LOCKED, 5) is not None


LINKED = Witness("x-linked-etag", "sha256", bytes.fromhex(OTHER))


@pytest.mark.parametrize(
    ("expected", "witnesses", "promise"),
    [
        (NOTHING, (LINKED,), None),
        (LOCKED, (), None),
        (LOCKED, (replace(LINKED, value=DIGESTS["sha256"]),), None),
        (LOCKED, (BAD_SHA, BAD), None),  # whoever sends these may have made them up on the way
        (LOCKED, (BAD, LINKED), Promise.LOCK),
        (PIN, (LINKED,), Promise.PIN),
    ],
)
def test_what_the_hub_announces(expected: Expectation, witnesses: tuple[Witness, ...], promise: Promise | None) -> None:
    found = prove_announced(expected, witnesses)
    assert (found and found.promise) == promise
    assert found is None or found.actual == OTHER


def wrong(promise: Promise, actual: str = "x") -> Mismatch:
    return Mismatch(promise, "not it", actual)


@pytest.mark.parametrize(
    ("found", "sources", "kind"),
    [
        ([wrong(Promise.LOCK)], 1, None),  # once more: it may have been the way here
        ([wrong(Promise.LOCK), wrong(Promise.LOCK)], 1, DriftError),
        ([wrong(Promise.LOCK), wrong(Promise.LOCK, "y")], 1, IntegrityError),
        ([wrong(Promise.PIN), wrong(Promise.PIN)], 1, IntegrityError),
        ([wrong(Promise.WITNESS), wrong(Promise.WITNESS)], 1, IntegrityError),
        ([wrong(Promise.LOCK)] * 2, 3, None),  # one mirror has not been asked
        ([wrong(Promise.LOCK)] * 3, 3, DriftError),
        ([wrong(Promise.LOCK), wrong(Promise.LOCK, "y"), wrong(Promise.LOCK)], 3, IntegrityError),
    ],
)
def test_what_several_wrong_answers_amount_to(
    found: list[Mismatch], sources: int, kind: type[CkptdError] | None
) -> None:
    error = after_mismatches("m", found, sources)
    assert error is None if kind is None else type(error) is kind
    if isinstance(error, DriftError):
        assert "ckptd update m" in error.hint


FIRST, SEEN, PINNED = (Proven(HEX, trust, ()) for trust in (Trust.FIRST_USE, Trust.WITNESSED, Trust.PINNED))


@pytest.mark.parametrize(
    ("proof", "require", "confirmed", "expected", "kind"),
    [
        (FIRST, Trust.FIRST_USE, True, NOTHING, None),
        # nothing said where the body ends: a cut connection looks complete
        (FIRST, Trust.FIRST_USE, False, NOTHING, OriginError),
        (FIRST, Trust.FIRST_USE, False, LOCKED, None),
        (SEEN, Trust.FIRST_USE, False, NOTHING, None),
        (PINNED, Trust.FIRST_USE, False, PIN, None),
        # the operator's demand
        (FIRST, Trust.WITNESSED, True, NOTHING, PolicyError),
        (FIRST, Trust.PINNED, True, NOTHING, PolicyError),
        (SEEN, Trust.WITNESSED, True, NOTHING, None),
        (SEEN, Trust.PINNED, True, NOTHING, PolicyError),
        (PINNED, Trust.PINNED, True, PIN, None),
    ],
)
def test_what_may_be_published(
    proof: Proven, require: Trust, confirmed: bool, expected: Expectation, kind: type[CkptdError] | None
) -> None:
    error = admissible(proof, require, confirmed=confirmed, expected=expected)
    assert error is None if kind is None else type(error) is kind
    assert error is None or error.hint


def test_a_body_that_was_coded_on_the_way_is_no_damage() -> None:
    """Neither the origin's bytes nor the lock are to blame: it is told as the refusal that it is."""
    found = wrong(Promise.LOCK)
    assert coded_on_the_way(found, "") is found
    told = after_mismatches("a", [coded_on_the_way(found, "gzip")] * 2, 1)
    assert isinstance(told, OriginError)
    assert "coded body (gzip)" in told.message
