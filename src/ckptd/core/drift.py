"""Does an origin still serve what is locked? What is known of the locked bytes + an answer -> a verdict. No I/O.

The best evidence decides: a published digest, the size, the name that the origin gives to a version (generation,
version id, strong ETag: RFC 9110 section 8.8.3), and last what may change without the bytes (weak ETag, Last-Modified).
An alarm is raised only by what may mean other bytes, was said twice, and cannot be an old copy in a cache on the way.
Nothing here proves bytes: only a download does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ckptd.core import httpdate, sniff, witness
from ckptd.core.models import LockEntry, Witness
from ckptd.core.response import Sameness, Validator, compare, number
from ckptd.core.urls import redact_text

SECURE = frozenset({"sha256", "sha512"})  # RFC 9530 section 5; the others find damage and prove no identity
LONGEST_VALUE = 200  # characters of a header's value that are shown


class State(StrEnum):
    """What `ckptd drift` says of a checkpoint."""

    SAME = "same"
    CHANGED = "changed"
    GONE = "gone"
    UNKNOWN = "unknown"

    @property
    def exit_status(self) -> int:
        """The contract's: drift is 4, what cannot be had or told is 1."""
        return {State.SAME: 0, State.CHANGED: 4}.get(self, 1)


class Evidence(StrEnum):
    """What a verdict stands on, best first."""

    DIGEST = "digest"
    SIZE = "size"
    GENERATION = "generation"
    VERSION = "version"
    ETAG = "etag"
    WEAK_ETAG = "weak-etag"
    DATE = "last-modified"
    NONE = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the locked bytes. `validator` is what the asked source said when they were fetched."""

    file_name: str
    size: int
    digests: Mapping[str, bytes]  # by algorithm; sha256 always
    validator: Validator | None = None
    fetched_at: float | None = None  # POSIX seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """What a source said of the file it serves; with `error`, why it said nothing."""

    status: int = 0
    size: int | None = None  # bytes
    validator: Validator = field(default_factory=Validator)
    witnesses: tuple[Witness, ...] = ()
    content_type: str = ""
    coding: str = ""  # its body would be coded though none was asked for: its ETag may be that of the coded bytes
    commit: str = ""  # X-Repo-Commit of the Hugging Face Hub
    age: int = 0  # seconds that it has been in a cache on the way (RFC 9111 section 5.1)
    cached: bool = False
    error: str = ""
    kind: str = "network"  # of the error, as `--json` names it
    hint: str = ""

    @property
    def speaks(self) -> bool:
        """Whether it speaks of the file, and not of why there is none."""
        sized = self.status == 416 and self.size is not None  # an empty file, asked for its first byte
        return not self.error and (self.status in {200, 206} or sized)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be made of an answer."""

    state: State
    reason: str
    evidence: Evidence = Evidence.NONE
    notes: tuple[str, ...] = ()
    kind: str = "origin"
    hint: str = ""
    calm: bool = False  # nothing failed and nothing is known to have changed: no reason to call anybody

    @property
    def exit_status(self) -> int:
        """What it comes to for the exit status."""
        return 0 if self.calm else self.state.exit_status

    @property
    def decisive(self) -> bool:
        """Whether the source spoke of the file at all, in terms that could be compared."""
        return self.state in {State.SAME, State.CHANGED} or self.evidence is not Evidence.NONE


@dataclass(frozen=True, slots=True)
class Facts:
    """One side of what is shown: empty strings where nothing was said."""

    size: int | None = None
    etag: str = ""
    generation: str = ""
    version: str = ""
    last_modified: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)  # hex, by algorithm


def judge(known: Known, answer: Answer, now: float) -> Verdict:
    """What one answer means; `now` in POSIX seconds. A CHANGED needs a second answer: `confirmed`."""
    refusal = _refusal(answer)
    if refusal is not None:
        return refusal
    verdict = _by_evidence(known, answer)
    if verdict.state is not State.CHANGED:
        return verdict
    page = sniff.impostor(known.file_name, b"", answer.content_type, digest_known=False)
    if page is not None:
        return Verdict(State.UNKNOWN, f"it {page}")
    if answer.coding and verdict.evidence is Evidence.ETAG:
        reason = f"its answer is coded ({answer.coding}) though none was asked for, so its ETag is of other bytes"
        return replace(verdict, state=State.UNKNOWN, reason=reason)
    if stale(known, answer, now):
        reason = "a cache on the way answers with an older version than the locked one"
        return replace(verdict, state=State.UNKNOWN, reason=reason, hint="ask again later", calm=True)
    return verdict


def confirmed(known: Known, first: Answer, second: Answer, now: float) -> Verdict:
    """What a source says that was asked twice, because its first answer said CHANGED."""
    one, two = judge(known, first, now), judge(known, second, now)
    if two.state is State.CHANGED and _alike(first, second):
        return two
    then = "it named a third version" if two.state is State.CHANGED else two.reason
    reason = f"two answers in a row disagree: {one.reason}; then {then}"
    return Verdict(State.UNKNOWN, reason, one.evidence, kind=two.kind, hint="ask again later")


def overall(said: Sequence[tuple[str, Verdict]]) -> tuple[int, Verdict]:
    """Which of the sources (label and verdict, in the order of trying) speaks for the checkpoint, and the verdict.

    The first that says something of the file does, as with `sync`; who cannot be reached, has nothing to compare, or no
    longer has the file, is passed over. So a checkpoint is GONE only when every source says so, and a mirror that
    still has the locked bytes does not hide that the source before it serves others. Notes tell what the others said.
    """
    index = next((at for at, (_, each) in enumerate(said) if each.decisive), None)
    if index is None:
        index = next((at for at, (_, each) in enumerate(said) if each.state is not State.GONE), 0)
    verdict = said[index][1]
    others = [(label, each) for at, (label, each) in enumerate(said) if at != index]
    notes = [
        f"{label} still serves what is locked" if each.state is State.SAME else f"{label}: {each.reason}"
        for label, each in others
    ]
    return index, replace(verdict, notes=(*verdict.notes, *notes))


# --- evidence ----------------------------------------------------------------------------------------------------


def _refusal(answer: Answer) -> Verdict | None:
    if answer.speaks:
        return None
    if answer.error:
        return Verdict(State.UNKNOWN, answer.error, kind=answer.kind, hint=answer.hint)
    if answer.status in {404, 410}:
        hint = "what is here is kept; find where it moved, and whether it wants a token"
        return Verdict(State.GONE, f"it is no longer there (answered {answer.status})", hint=hint)
    token = answer.status in {401, 403}
    hint = 'it may want a token: see [auth."host"] in the manifest' if token else "ask again later"
    return Verdict(State.UNKNOWN, f"it answered {answer.status}", hint=hint)


def _by_evidence(known: Known, answer: Answer) -> Verdict:
    by_digest = _by_digest(known, answer)
    if by_digest is not None:
        return by_digest
    if answer.size is not None and answer.size != known.size:
        return Verdict(State.CHANGED, f"it has {answer.size} bytes now, locked are {known.size}", Evidence.SIZE)
    if known.validator is None:
        return Verdict(State.UNKNOWN, "nothing was recorded to compare with")
    return _by_version(known.validator, answer) or _by_metadata(known.validator, answer)


def _by_digest(known: Known, answer: Answer) -> Verdict | None:
    comparable = [each for each in answer.witnesses if each.algorithm in known.digests]
    secure = [each for each in comparable if each.algorithm in SECURE]
    deciding = secure or comparable
    if not deciding:
        return None
    wrong = witness.disagreement(comparable, known.digests)
    against = [each for each in deciding if each in wrong]
    if not against:
        if not secure and answer.size not in {None, known.size}:
            return None  # a checksum may agree by chance, a size does not differ by chance
        notes = [_rewritten(known.validator, answer, "rewritten with the same bytes")]
        notes += [f"its {each.source} differs, though its {deciding[0].source} is right" for each in wrong]
        reason = f"it publishes the locked {deciding[0].algorithm}"
        return Verdict(State.SAME, reason, Evidence.DIGEST, tuple(filter(None, notes)))
    if len(against) < len(deciding):
        named = " and ".join(sorted({each.source for each in deciding}))
        return Verdict(State.UNKNOWN, f"its digests contradict each other ({named})", Evidence.DIGEST)
    reason = f"it publishes another {against[0].algorithm} ({against[0].source})"
    return Verdict(State.CHANGED, reason, Evidence.DIGEST, _contradicted(known.validator, answer, against))


def _contradicted(known: Validator | None, answer: Answer, against: Sequence[Witness]) -> tuple[str, ...]:
    """Another digest for what the origin calls the same version: one of its two statements is wrong."""
    if known is None:
        return ()
    if compare(replace(known, identity=""), replace(answer.validator, identity="")) is not Sameness.SAME:
        return ()
    named = " and ".join(sorted({each.source for each in against}))
    return (f"it still names the same version as when that was locked, and contradicts its own {named}",)


def _by_version(known: Validator, answer: Answer) -> Verdict | None:
    """By the names that origins give to bytes: any that is equal proves more than others that differ."""
    new = answer.validator
    named = (
        (Evidence.GENERATION, "generation", known.generation, new.generation),
        (Evidence.VERSION, "version id", known.version, new.version),
        (Evidence.ETAG, "strong ETag", known.etag if known.strong else "", new.etag if new.strong else ""),
    )
    both = [row for row in named if row[2] and row[3]]
    for evidence, word, old, now in both:
        if old == now:
            note = _rewritten(known, answer, "only its metadata changed")
            return Verdict(State.SAME, f"its {word} is the recorded one", evidence, (note,) if note else ())
    if both:
        evidence, word, *_ = both[-1]
        return Verdict(
            State.CHANGED, f"its {word} is another: only a download can tell whether its bytes are", evidence
        )
    return None


def _by_metadata(known: Validator, answer: Answer) -> Verdict:
    """By what may change, or stay, without the bytes: good enough to be calm, never for an alarm."""
    new = answer.validator
    rows = (
        (Evidence.WEAK_ETAG, "ETag", known.etag.removeprefix("W/"), new.etag.removeprefix("W/")),
        (Evidence.DATE, "date", known.last_modified, new.last_modified),
    )
    for evidence, word, old, now in rows:
        if old and now and old != now:
            reason = f"only its {word} changed, which says nothing about its bytes"
            hint = "`ckptd update NAME` fetches it and compares, if that is worth a download"
            return Verdict(State.UNKNOWN, reason, evidence, hint=hint, calm=True)
        if old and now and answer.size is not None:
            return Verdict(State.SAME, f"its size and {word} are the recorded ones", evidence)
    return Verdict(State.UNKNOWN, "it says nothing that could be compared with what was recorded")


def _rewritten(known: Validator | None, answer: Answer, word: str) -> str:
    """What changed although the bytes did not; empty when nothing did."""
    if known is None:
        return ""
    new = answer.validator
    rows = (
        ("generation", known.generation, new.generation),
        ("version", known.version, new.version),
        ("etag", known.etag, new.etag),
        ("last-modified", known.last_modified, new.last_modified),
    )
    changed = [label for label, was, now in rows if was and now and was != now]
    return f"{word} ({', '.join(changed)} changed)" if changed else ""


def stale(known: Known, answer: Answer, now: float) -> bool:
    """Whether an answer speaks of an older version than the locked one, as caches do for a while (RFC 9111).

    An object store's generations only grow, so a lower one is old news wherever it comes from. A date may go back when
    somebody restores a file, so it counts only from a cache; so does an answer that is older than our own fetch.
    """
    old = known.validator or Validator()
    locked, served = number(old.generation), number(answer.validator.generation)
    if locked is not None and served is not None and locked != served:
        return served < locked
    if not answer.cached:
        return False
    before, after = httpdate.parse(old.last_modified), httpdate.parse(answer.validator.last_modified)
    if before is not None and after is not None and before != after:
        return after < before
    return known.fetched_at is not None and now - answer.age < known.fetched_at


def _alike(first: Answer, second: Answer) -> bool:
    """Whether two answers name the same other version."""
    digests = {each.algorithm: each.value for each in first.witnesses}
    sizes = {first.size, second.size} - {None}
    return (
        len(sizes) < 2
        and not witness.disagreement(second.witnesses, digests)
        and compare(first.validator, second.validator) is not Sameness.CHANGED
    )


# --- what is shown -----------------------------------------------------------------------------------------------


def locked_facts(known: Known) -> Facts:
    """The old side."""
    return _facts(
        known.size, known.validator or Validator(), {name: each.hex() for name, each in known.digests.items()}
    )


def origin_facts(answer: Answer) -> Facts:
    """The new side. Of several digests by one algorithm the last is shown."""
    return _facts(answer.size, answer.validator, {each.algorithm: each.value.hex() for each in answer.witnesses})


def _facts(size: int | None, validator: Validator, digests: Mapping[str, str]) -> Facts:
    texts = (validator.etag, validator.generation, validator.version, validator.last_modified)
    etag, generation, version, date = (redact_text(text[:LONGEST_VALUE]) for text in texts)
    return Facts(size, etag, generation, version, date, dict(sorted(digests.items())))


def pairs(old: Facts, new: Facts) -> tuple[tuple[str, str, str], ...]:
    """(what, locked, now) for people: everything that both sides or the origin alone say, in a fixed order."""
    rows = [
        ("size", "" if old.size is None else f"{old.size} bytes", "" if new.size is None else f"{new.size} bytes"),
        *((name, old.digests.get(name, ""), new.digests[name]) for name in new.digests),
        ("etag", old.etag, new.etag),
        ("generation", old.generation, new.generation),
        ("version", old.version, new.version),
        ("last-modified", old.last_modified, new.last_modified),
    ]
    return tuple(row for row in rows if row[1] or row[2])


# --- trust -------------------------------------------------------------------------------------------------------


def vouchers(known: Known, answers: Sequence[Answer]) -> tuple[str, ...]:
    """The sorted labels of the witnesses that agree with the locked bytes; none where any disagrees."""
    found = [each for answer in answers for each in answer.witnesses]
    return () if witness.disagreement(found, known.digests) else witness.agreed(found, known.digests)


def promoted(entry: LockEntry, labels: Sequence[str]) -> LockEntry:
    """`entry` with these witnesses, and the trust that they give it. Never less trust, never another digest."""
    trust = min(entry.trust, witness.trust_of(pinned=False, agreed=labels), key=lambda each: each.rank)
    return replace(entry, trust=trust, witnesses=tuple(sorted({*entry.witnesses, *labels})))
