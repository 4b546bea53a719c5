"""`ckptd drift` (CONTRACT.md): asks without downloading, tells content from metadata, never alarms on a stale cache."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faults as f
import pytest
from digests_of import crc32c, md5
from digests_of import sha256 as b64_sha256
from origin import LAST_MODIFIED, Behaviour, Origin, Origins
from workplace import Batch, Run, Workplace, sha256, tgz

from ckptd.store.owner import Owner

pytestmark = pytest.mark.slow

A = tgz(260_000, 1)
B = tgz(260_000, 2)  # of the same length
LONGER = tgz(300_000, 3)
PATH = "/a.tar.gz"
EARLIER, LATER = "Sun, 01 Dec 2019 00:00:00 GMT", "Thu, 02 Jan 2020 00:00:00 GMT"
TOKEN = "hf_S3cretTokenThatMustNotLeak"
GENERATION = "x-goog-generation"


def goog(body: bytes, generation: int = 0) -> list[tuple[str, str]]:
    """What an object store says of `body`."""
    said = [("x-goog-hash", f"crc32c={crc32c(body)}"), ("x-goog-hash", f"md5={md5(body)}")]
    return [*said, (GENERATION, str(1_700_000_000_000_000 + generation))] if generation else said


Change = Callable[[Origin], object]


def put(body: bytes, **keys: Any) -> Change:
    return lambda origin: origin.put(PATH, body, **keys)


def script(*behaviours: Behaviour, **keys: Any) -> Change:
    """The same from now on; to HEAD and GET unless `method` says otherwise."""
    return lambda origin: origin.on(PATH, *behaviours, **{"times": None, "method": None, **keys})


def both(*changes: Change) -> Change:
    def do(origin: Origin) -> None:
        for change in changes:
            change(origin)

    return do


CACHE = (f.header("Age", "3449"), f.header("X-Cache", "HIT"))

# What is there when it is locked, what happens then, and what drift says: state, error.kind, evidence.
ROWS: dict[str, tuple[Change, Change, str, str | None, str]] = {
    "nothing": (put(A), put(A), "same", None, "etag"),
    "other bytes": (put(A), put(B), "changed", "drift", "etag"),
    "other bytes of another length": (put(A), put(LONGER), "changed", "drift", "size"),
    "other bytes, HEAD refused": (
        put(A),
        both(put(B), script(f.status(405), method="HEAD")),
        "changed",
        "drift",
        "etag",
    ),
    "nothing, HEAD refused": (put(A), script(f.status(403), method="HEAD"), "same", None, "etag"),
    "nothing, HEAD says length 0": (
        put(A),
        script(f.header("Content-Length", "0"), method="HEAD"),
        "same",
        None,
        "etag",
    ),
    "HEAD refused and Range ignored": (
        put(A),
        both(script(f.status(501), method="HEAD"), script(f.ignores_range(), method="GET")),
        "same",
        None,
        "etag",
    ),
    "new ETag, same bytes, same digest": (
        put(A, headers=goog(A)),
        put(A, headers=goog(A), etag='"new"', last_modified=LATER),
        "same",
        None,
        "digest",
    ),
    "new generation, same bytes": (
        put(A, headers=goog(A, 1)),
        put(A, headers=goog(A, 2), etag='"new"'),
        "same",
        None,
        "digest",
    ),
    "new generation, other bytes": (
        put(A, headers=goog(A, 1)),
        put(B, headers=goog(B, 2)),
        "changed",
        "drift",
        "digest",
    ),
    "same ETag, other digest": (
        put(A, etag='"v"', headers=goog(A)),
        put(B, etag='"v"', headers=goog(B)),
        "changed",
        "drift",
        "digest",
    ),
    "published sha256": (
        put(A),
        put(A, etag='"new"', headers=[("Repr-Digest", f"sha-256=:{b64_sha256(A)}:")]),
        "same",
        None,
        "digest",
    ),
    "new date alone": (put(A, etag=None), put(A, etag=None, last_modified=LATER), "unknown", None, "last-modified"),
    "new weak ETag alone": (put(A, etag='W/"1"'), put(A, etag='W/"2"'), "unknown", None, "weak-etag"),
    "same weak ETag": (put(A, etag='W/"1"'), put(A, etag='W/"1"'), "same", None, "weak-etag"),
    "nothing to compare": (
        put(A, etag=None, last_modified=None),
        put(B, etag=None, last_modified=None),
        "unknown",
        "origin",
        "",
    ),
    "older in a cache": (
        put(A),
        both(put(LONGER, last_modified=EARLIER), script(*CACHE)),
        "unknown",
        None,
        "size",
    ),
    "lower generation": (
        put(A, headers=goog(A, 2)),
        put(LONGER, headers=goog(LONGER, 1)),
        "unknown",
        None,
        "digest",
    ),
    "older once, then as locked": (
        put(A),
        both(put(A), script(f.header("ETag", '"old"'), times=1)),
        "unknown",
        "origin",
        "etag",
    ),
    "another ETag each time": (put(A), script(f.changing_etags()), "unknown", "origin", "etag"),
    "newer in a cache": (put(A), both(put(B, last_modified=LATER), script(*CACHE)), "changed", "drift", "etag"),
    "gone": (put(A), lambda origin: origin.remove(PATH), "gone", "origin", ""),
    "410": (put(A), script(f.status(410)), "gone", "origin", ""),
    "HEAD alone says gone": (put(A), script(f.status(404), method="HEAD"), "same", None, "etag"),
    "forbidden": (put(A), script(f.status(403)), "unknown", "origin", ""),
    "busy": (put(A), script(f.later(503, "3600")), "unknown", "origin", ""),
    "a sign-in page": (put(A), script(f.page()), "unknown", "origin", ""),
    "not HTTP": (put(A), script(f.raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")), "unknown", "network", ""),
    "down": (put(A), lambda origin: origin.stop(), "unknown", "network", ""),
}
EXIT = {"same": 0, "changed": 4, "gone": 1, "unknown": 1}


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    """Every row locked as it was, then changed, then asked about; `result` is what drift said."""
    with Batch(tmp_path_factory.mktemp("drift"), ROWS) as batch:
        for row, (before, *_) in ROWS.items():
            before(batch.origin[row])
        batch.sync()
        assert batch.result.status == 0, batch.result
        before_drift = snapshot(batch.site)
        for row, (_, after, *_) in ROWS.items():
            batch.origin[row].forget()
            after(batch.origin[row])
        batch.result = batch.site.run("drift", "--json", timeout=120, invariants=False)
        assert snapshot(batch.site) == before_drift, "drift wrote something"
        yield batch


def snapshot(site: Workplace) -> dict[str, bytes]:
    files = [site.lock_path, *(path for path in site.store.rglob("*") if path.is_file())]
    return {str(path): path.read_bytes() for path in files}


def details(run: Run, name: str) -> dict[str, Any]:
    found: dict[str, Any] = run.report["details"][name]
    return found


@pytest.mark.parametrize("row", ROWS)
def test_what_drift_says(batch: Batch, row: str) -> None:
    _, _, state, kind, evidence = ROWS[row]
    assert batch.entry(row)["state"] == state, batch.entry(row)
    assert batch.kind(row) == kind
    assert details(batch.result, batch.names[row])["evidence"] == evidence
    assert batch.entry(row)["bytes_fetched"] == 0


@pytest.mark.parametrize("row", ROWS)
def test_no_body_is_downloaded(batch: Batch, row: str) -> None:
    """One byte at most of a file; where a server cannot help sending it whole, the connection is closed."""
    asked = batch.origin[row].requests()
    assert len(asked) <= 4
    for one in asked:
        assert one.request.method == "HEAD" or one.request.header("range") == "bytes=0-0"
        assert one.request.header("cache-control") == "no-cache"
        if one.status == 206:
            assert one.sent <= 1


def test_exit_is_the_worst(batch: Batch) -> None:
    """Contract: of several, drift (4) comes before what could not be told (1)."""
    assert batch.result.status == 4


def test_old_and_new_stand_in_the_report(batch: Batch) -> None:
    found = details(batch.result, batch.names["new generation, other bytes"])
    assert found["locked"]["generation"] == "1700000000000001"
    assert found["origin"]["generation"] == "1700000000000002"
    assert found["locked"]["digests"]["sha256"] == sha256(A)
    assert found["locked"]["digests"]["md5"] != found["origin"]["digests"]["md5"]
    assert found["locked"]["size"] == found["origin"]["size"] == len(A)
    assert found["locked"]["last_modified"] == LAST_MODIFIED


def test_notes_tell_what_is_behind_it(batch: Batch) -> None:
    (note,) = batch.entry("new ETag, same bytes, same digest")["notes"]
    assert "rewritten with the same bytes" in note
    (note,) = batch.entry("same ETag, other digest")["notes"]
    assert "contradicts" in note
    (note,) = batch.entry("older in a cache")["notes"]
    assert "cache" in note
    assert "disagree" in batch.message("older once, then as locked")
    assert "update" in batch.message("other bytes")
    assert "download" in batch.message("other bytes")


def test_the_same_bytes_under_two_names_are_found(batch: Batch) -> None:
    """Every row has the same bytes: one finding, that names all of them."""
    (found,) = batch.result.report["findings"]
    assert found["kind"] == "same-bytes"
    assert len(found["names"]) == len(ROWS)


# ---- for people, one at a time


@pytest.fixture
def locked(origin: Origin, site: Workplace) -> Workplace:
    """`a` is locked with body A."""
    site.one(origin.put(PATH, A))
    site.sync().expect(0)
    origin.forget()
    return site


def test_same_is_quiet(locked: Workplace) -> None:
    run = locked.run("drift").expect(0)
    assert run.out == "drift: 1 same\n"
    assert run.err == ""
    assert "same" in locked.run("drift", "--verbose", "a").expect(0).out


CALM = [
    (put(A), both(put(LONGER, last_modified=EARLIER), script(f.header("Age", "5000"))), "a cache on the way"),
    (put(A, headers=goog(A, 2)), put(LONGER, headers=goog(LONGER, 1)), "a cache on the way"),
    (put(A, etag=None), put(A, etag=None, last_modified=LATER), "says nothing about its bytes"),
]


@pytest.mark.parametrize(("before", "after", "says"), CALM, ids=["aged", "older generation", "date"])
def test_nobody_is_called_for_an_old_copy_or_a_new_date(
    origin: Origin, site: Workplace, before: Change, after: Change, says: str
) -> None:
    """`ckptd drift || alert`: 0, with a line that says what is known and what is not; --quiet says nothing."""
    before(origin)
    site.one(origin.url(PATH))
    site.sync().expect(0)
    after(origin)
    run = site.run("drift").expect(0)
    assert says in run.out
    assert "drift: 1 unknown" in run.out
    run = site.run("drift", "--quiet").expect(0)
    assert run.out + run.err == ""


def test_old_stands_beside_new(origin: Origin, locked: Workplace) -> None:
    origin.put(PATH, LONGER, etag='"v2"')
    run = locked.run("drift").expect(4)
    lines = run.out.splitlines()
    assert lines[0].startswith("a: changed: ")
    assert "ckptd update a" in lines[1]
    assert any("size" in line and str(len(A)) in line and str(len(LONGER)) in line for line in lines)
    assert any("etag" in line and '"v2"' in line for line in lines)
    assert lines[-1] == "drift: 1 changed"
    quiet = locked.run("drift", "--quiet").expect(4)
    assert quiet.out == ""
    assert "a: changed" in quiet.err


def test_update_accepts_what_drift_reported(origin: Origin, locked: Workplace) -> None:
    """And afterwards the name has a past, which is told."""
    origin.put(PATH, LONGER)
    locked.run("drift", "a").expect(4)
    locked.run("update", "a").expect(0)
    run = locked.run("drift", "--json", "a").expect(0)
    (found,) = run.report["findings"]
    assert (found["kind"], found["sha256"]) == ("history", [sha256(A), sha256(LONGER)])


def test_one_name_within_another(origin: Origin, site: Workplace) -> None:
    """The history of `a` is nothing to `ab`, and that of `ab` is found."""
    site.write(
        {"name": "a", "url": origin.put("/a", b"one" * 100)}, {"name": "ab", "url": origin.put("/ab", b"2" * 300)}
    )
    site.sync().expect(0)
    assert site.run("drift", "ab", "--json").expect(0).entry("ab")["state"] == "same"


def test_not_locked(origin: Origin, site: Workplace) -> None:
    site.one(origin.put(PATH, A))
    run = site.run("drift", "--json").expect(1)
    assert run.entry("a")["state"] == "unknown"
    assert "not locked" in run.message("a")
    assert not origin.requests()
    assert not site.store.exists()


def test_without_the_ledger_size_and_digests_decide(origin: Origin, locked: Workplace) -> None:
    for path in locked.state.iterdir():
        if path.name.startswith("state.db") or path.suffix.startswith(".db") or ".sqlite" in path.name:
            path.unlink()
    run = locked.run("drift", "--json", invariants=False).expect(1)
    assert "nothing was recorded" in run.message("a")
    origin.put(PATH, LONGER)
    locked.run("drift", invariants=False).expect(4)
    origin.put(PATH, A, headers=[("Repr-Digest", f"sha-256=:{b64_sha256(A)}:")])
    locked.run("drift", invariants=False).expect(0)


# ---- several sources


def two(origins: Origins, site: Workplace) -> tuple[Origin, Origin]:
    main, mirror = origins.new(), origins.new(host="localhost")
    site.one(main.put(PATH, A), mirrors=[mirror.put(PATH, A)])
    site.sync().expect(0)
    return main, mirror


def test_the_mirror_is_asked_when_the_origin_is_down(origins: Origins, site: Workplace) -> None:
    """It said nothing when the bytes were fetched, so only a digest can tell."""
    main, mirror = two(origins, site)
    main.stop()
    run = site.run("drift", "--json").expect(1)
    assert run.kind("a") == "network"
    mirror.put(PATH, A, headers=[("Repr-Digest", f"sha-256=:{b64_sha256(A)}:")])
    run = site.run("drift", "--json").expect(0)
    assert any("refused" in note for note in run.entry("a")["notes"])


def test_gone_but_for_a_mirror(origins: Origins, site: Workplace) -> None:
    """It can still be had; that its own URL is gone is said all the same. Gone everywhere is gone."""
    main, mirror = two(origins, site)
    main.remove(PATH)
    mirror.put(PATH, A, headers=[("Repr-Digest", f"sha-256=:{b64_sha256(A)}:")])
    run = site.run("drift", "--json").expect(0)
    assert run.entry("a")["state"] == "same"
    assert any("404" in note for note in run.entry("a")["notes"])
    mirror.remove(PATH)
    assert site.run("drift", "--json").expect(1).entry("a")["state"] == "gone"


def test_a_mirror_does_not_hide_a_change(origins: Origins, site: Workplace) -> None:
    main, mirror = two(origins, site)
    main.put(PATH, LONGER)
    mirror.put(PATH, A, headers=[("Repr-Digest", f"sha-256=:{b64_sha256(A)}:")])
    run = site.run("drift", "--json").expect(4)
    assert any("still serves what is locked" in note for note in run.entry("a")["notes"])
    assert [each["state"] for each in details(run, "a")["sources"]] == ["changed", "same"]


def test_sources_are_rewritten_as_for_sync(origins: Origins, site: Workplace) -> None:
    main, near = origins.new(), origins.new(host="localhost")
    site.write({"name": "a", "url": main.put(PATH, A)}, sources={main.url("/"): [near.url("/")]})
    near.put(PATH, A)
    site.sync().expect(0)
    main.forget()
    site.run("drift").expect(0)
    assert not main.requests()
    near.put(PATH, LONGER)
    site.run("drift").expect(4)
    assert main.requests()


# ---- the Hugging Face Hub, and tokens


def hub(origins: Origins, site: Workplace, tls: ssl.SSLContext, ca_file: Path) -> tuple[Origin, Origin, str]:
    """A hub that wants a token and redirects to a CDN, which must never see it."""
    front, cdn = origins.new(tls=tls, host="localhost"), origins.new(tls=tls)
    site.secrets += [TOKEN, "S1gnature"]
    site.env |= {"SSL_CERT_FILE": str(ca_file), "HF_TOKEN": TOKEN}
    site.auth = {f"localhost:{front.port}": {"bearer_env": "HF_TOKEN"}}
    blob = cdn.put("/xet/object", A, etag=f'"{sha256(B)}"')  # 64 digits that are no SHA-256 of ours
    target = f"{blob}?Signature=S1gnature"
    path = "/org/repo/resolve/main/model.tar.gz"
    linked = [("X-Linked-Etag", f'"{sha256(A)}"'), ("X-Linked-Size", str(len(A))), ("X-Repo-Commit", "c0ffee")]
    front.on(path, f.redirect(target, 302, *linked), times=None, method=None)
    return front, cdn, front.url(path)


def test_linked_etag_on_the_redirect(origins: Origins, site: Workplace, tls: ssl.SSLContext, ca_file: Path) -> None:
    """The redirect's digest decides: the CDN's ETag is another value, and may change as it likes."""
    front, cdn, url = hub(origins, site, tls, ca_file)
    site.one(url)
    site.sync().expect(0)
    front.forget()
    cdn.forget()
    cdn.put("/xet/object", A, etag='"quite another"')
    cdn.on("/xet/object", f.header("Age", "99999999"), times=None, method=None)
    run = site.run("drift", "--json").expect(0)
    assert details(run, "a")["evidence"] == "digest"
    assert details(run, "a")["sources"][0]["commit"] == "c0ffee"
    assert {each.request.header("authorization") for each in front.requests()} == {f"Bearer {TOKEN}"}
    assert {each.request.header("authorization") for each in cdn.requests()} == {None}
    assert {each.request.method for each in cdn.requests()} == {"HEAD"}

    front.calm()
    linked = [("X-Linked-Etag", f'"{sha256(B)}"'), ("X-Linked-Size", str(len(B)))]
    front.on("*", f.redirect(cdn.url("/xet/object?Signature=S1gnature"), 302, *linked), times=None, method=None)
    run = site.run("drift", "--json").expect(4)
    assert "x-linked-etag" in run.message("a")
    assert details(run, "a")["origin"]["digests"]["sha256"] == sha256(B)


def test_a_signature_for_get_alone(origins: Origins, site: Workplace, tls: ssl.SSLContext, ca_file: Path) -> None:
    """HEAD on a signed URL is 403: GET of one byte goes all the way again, and the token stays at home."""
    front, cdn, url = hub(origins, site, tls, ca_file)
    site.one(url)
    site.sync().expect(0)
    front.forget()
    cdn.forget()
    cdn.on("/xet/object", f.status(403), times=None, method="HEAD")
    site.run("drift", "--json").expect(0)
    assert [each.request.method for each in front.requests()] == ["HEAD", "GET"]
    assert {each.request.header("authorization") for each in cdn.requests()} == {None}
    assert all(each.sent <= 1 for each in cdn.requests(method="GET"))


# ---- trust


def test_a_witness_that_appears_later(origin: Origin, locked: Workplace) -> None:
    """It is noted; `--promote` writes it into the lock, and nothing else."""
    origin.put(PATH, A, headers=[("Repr-Digest", f"sha-256=:{b64_sha256(A)}:")])
    before = locked.lock["a"]
    run = locked.run("drift", "--json").expect(0)
    (note,) = run.entry("a")["notes"]
    assert "--promote a" in note
    assert locked.lock["a"] == before
    run = locked.run("drift", "--promote", "--json").expect(0)
    assert run.entry("a")["trust"] == "witnessed"
    (note,) = run.entry("a")["notes"]
    assert "from first-use to witnessed" in note
    assert locked.lock["a"] == {**before, "trust": "witnessed", "witnesses": ["repr-digest:sha-256"]}
    after = locked.lock_path.read_bytes()
    assert "notes" not in locked.run("drift", "--promote", "--json").expect(0).entry("a")
    assert locked.lock_path.read_bytes() == after
    locked.sync("--locked").expect(0)


def test_a_pinned_entry_stays_pinned(origin: Origin, site: Workplace) -> None:
    site.one(origin.put(PATH, A), sha256=sha256(A))
    site.sync().expect(0)
    origin.put(PATH, A, headers=[("Repr-Digest", f"sha-256=:{b64_sha256(A)}:")])
    site.run("drift", "--promote").expect(0)
    assert site.lock["a"]["trust"] == "pinned"
    assert site.lock["a"]["witnesses"] == ["manifest-sha256", "repr-digest:sha-256"]


def test_what_disagrees_promotes_nothing(origin: Origin, locked: Workplace) -> None:
    before = locked.lock_path.read_bytes()
    said = [
        ("Repr-Digest", f"sha-256=:{b64_sha256(A)}:"),
        ("Digest", f"SHA-256={b64_sha256(B)}"),
    ]
    origin.put(PATH, A, headers=said)
    run = locked.run("drift", "--promote", "--json").expect(1)
    assert "contradict" in run.message("a")
    assert locked.lock_path.read_bytes() == before


def test_promotion_waits_for_nobody(origin: Origin, locked: Workplace) -> None:
    """Somebody else owns the store: what was asked is told, the lock is left alone, exit 6."""
    origin.put(PATH, A, headers=[("Repr-Digest", f"sha-256=:{b64_sha256(A)}:")])
    before = locked.lock_path.read_bytes()
    with Owner(locked.state):
        run = locked.run("drift", "--promote", "--json").expect(6)
    assert run.entry("a")["state"] == "same"
    assert "in use" in run.err
    assert locked.lock_path.read_bytes() == before
    origin.put(PATH, A)
    with Owner(locked.state):
        locked.run("drift", "--promote").expect(0)  # there is nothing to write
