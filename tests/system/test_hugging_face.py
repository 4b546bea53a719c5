"""The Hugging Face Hub: which commit bytes came from is locked, and asked for again (origins.md 2)."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import faults as f
import pytest
from hub import SIGNATURE, Hub, git_blob
from origin import Hold, Origin, Origins
from workplace import Workplace, sha256, tgz, wait_until

pytestmark = pytest.mark.slow

A, B = tgz(300_000, 1), tgz(300_000, 2)
FILE = "weights/model.tar.gz"
TOKEN = "hf_s3cret"  # of a hub that is not there
SMALL = b'{"hidden_size": 768}\n'


@pytest.fixture
def hub(origins: Origins, site: Workplace) -> Hub:
    """A hub whose main has the file A, and which wants to know who asks."""
    made = Hub(origins)
    site.secrets += [TOKEN, SIGNATURE]
    site.env["HF_TOKEN"] = TOKEN
    site.auth = {f"127.0.0.1:{made.front.port}": {"bearer_env": "HF_TOKEN"}}
    made.commit({FILE: A})
    return made


@pytest.fixture
def elsewhere(site: Workplace, origins: Origins, tmp_path: Path) -> Iterator[Callable[[], Workplace]]:
    """Makes another machine: the same manifest and lock, and an empty store."""
    made: list[Workplace] = []

    def machine() -> Workplace:
        place = Workplace(tmp_path / f"machine{len(made)}", origins.made)
        place.secrets, place.env, place.auth = site.secrets, site.env, site.auth
        shutil.copy(site.manifest, place.manifest)
        shutil.copy(site.lock_path, place.lock_path)
        made.append(place)
        return place

    yield machine
    for place in made:
        place.finish()


def bearers(origin: Origin) -> set[str | None]:
    return {each.request.header("authorization") for each in origin.requests()}


# ---- the first fetch


def test_the_commit_is_locked(hub: Hub, site: Workplace) -> None:
    """`hf://org/repo@revision/path`: witnessed, its commit in the lock; the token stays at the hub."""
    url = f"hf://{hub.folder}@main/{FILE}"
    site.write({"name": "a", "url": url}, sources={"https://huggingface.co/": [hub.front.url("/")]})
    site.sync().expect(0)
    site.assert_good("a", A)
    entry = site.lock["a"]
    assert (entry["url"], entry["trust"], entry["witnesses"]) == (url, "witnessed", ["x-linked-etag"])
    assert entry["revision"] == hub.revisions["main"]
    assert bearers(hub.front) == {f"Bearer {TOKEN}"}
    assert bearers(hub.cdn) == {None}
    exported = json.loads(site.run("export", "--format", "json").expect(0).out)
    assert hub.revisions["main"] in json.dumps(exported)


def test_a_lock_that_was_lost_names_the_same_commit(hub: Hub, site: Workplace) -> None:
    """What was published and not locked is locked by the next run as the first would have."""
    site.one(hub.url(FILE))
    site.sync().expect(0)
    before = site.lock_path.read_bytes()
    site.lock_path.unlink()
    hub.commit({FILE: B})
    assert site.sync().expect(0).entry("a")["bytes_fetched"] == 0
    assert site.lock_path.read_bytes() == before


def test_where_no_commit_is_locked(hub: Hub, origin: Origin, site: Workplace) -> None:
    """A revision that is a commit stays put; an address of another form, or a commit that is none, says nothing."""
    commit = hub.revisions["main"]
    odd = Hub.url(hub, FILE, "odd")
    hub.revisions["odd"] = "0" * 39
    hub.commits["0" * 39] = {FILE: A}
    site.write(
        {"name": "fixed", "url": hub.url(FILE, commit)},
        {"name": "odd", "url": odd},
        {"name": "plain", "url": origin.put("/a.tar.gz", A, headers=[("X-Repo-Commit", commit)])},
    )
    site.sync().expect(0)
    assert set(site.lock) == {"fixed", "odd", "plain"}
    assert not [name for name, entry in site.lock.items() if "revision" in entry]


def test_other_bytes_than_the_hub_names(hub: Hub, site: Workplace) -> None:
    """The CDN's bytes against X-Linked-Etag: an integrity failure, nothing published, no commit locked."""
    hub.cdn.on(hub.object(A), f.flip(1234), times=None)
    site.one(hub.url(FILE))
    run = site.sync().expect(3)
    assert "x-linked-etag" in run.message("a")
    site.assert_absent("a")


def test_a_small_file(hub: Hub, site: Workplace, elsewhere: Callable[[], Workplace]) -> None:
    """Its ETag is a git blob id, which is no SHA-256 and vouches for nothing; its commit is locked all the same."""
    hub.commit({"config.json": SMALL})
    assert len(git_blob(SMALL)) == 40
    site.one(hub.url("config.json"))
    site.sync().expect(0)
    assert site.lock["a"]["trust"] == "first-use"
    assert site.lock["a"]["revision"] == hub.revisions["main"]
    other = elsewhere()
    other.sync().expect(0)
    assert hub.path("config.json", site.lock["a"]["revision"]) in hub.asked()
    other.run("drift", "--json").expect(0)  # by its ETag, though it came from the other address


# ---- signatures that run out


def test_a_signature_that_runs_out_in_the_middle(hub: Hub, site: Workplace) -> None:
    """The hub is asked for another, and the download goes on where it was."""
    hub.uses, hub.cut = 1, 100_000
    site.one(hub.url(FILE))
    run = site.sync().expect(0)
    site.assert_good("a", A)
    assert run.entry("a")["bytes_fetched"] == len(A) == hub.cdn.body_bytes() - refused_bytes(hub)
    refused = [each for each in hub.cdn.requests() if each.status == 403]
    assert len(refused) == len(hub.asked()) - 1 > 0  # each costs one question
    assert bearers(hub.front) == {f"Bearer {TOKEN}"}
    assert bearers(hub.cdn) == {None}


def refused_bytes(hub: Hub) -> int:
    return sum(each.sent for each in hub.cdn.requests() if each.status == 403)


def test_main_moves_while_a_signature_runs_out(hub: Hub, site: Workplace) -> None:
    """Two versions are never joined: the new one comes whole, and its commit is locked."""
    hub.uses, hub.cut = 1, 100_000
    hub.cdn.on(hub.object(A), f.then(lambda: hub.commit({FILE: B})))
    site.one(hub.url(FILE))
    site.sync().expect(0)
    site.assert_good("a", B)
    assert site.lock["a"]["revision"] == hub.revisions["main"]


# ---- main moves on


def test_another_machine_gets_the_locked_bytes(hub: Hub, site: Workplace, elsewhere: Callable[[], Workplace]) -> None:
    """Nobody there asks what main means now; the lock stays as it is."""
    site.one(hub.url(FILE))
    site.sync().expect(0)
    commit = hub.revisions["main"]
    hub.commit({FILE: B})
    hub.front.forget()
    other = elsewhere()
    other.run("sync", "--locked", "--json").expect(0)
    other.assert_good("a", A)
    assert set(hub.asked()) == {hub.path(FILE, commit)}
    assert bearers(hub.front) == {f"Bearer {TOKEN}"}
    assert bearers(hub.cdn) == {None}
    assert other.lock_path.read_bytes() == site.lock_path.read_bytes()


def test_a_download_of_the_locked_commit_goes_on(hub: Hub, site: Workplace, elsewhere: Callable[[], Workplace]) -> None:
    """Stopped in the middle, it goes on at the commit, though main has other bytes of the same size."""
    site.write({"name": "a", "url": hub.url(FILE)}, transfer={"stall_timeout": "30s"})
    site.sync().expect(0)
    hub.commit({FILE: B})
    other, hold = elsewhere(), Hold()
    hub.cdn.on(hub.object(A), f.hold(200_000, hold))
    running = other.start("sync")
    wait_until(lambda: partial_bytes(other) == 200_000, what="the download stands still")
    running.signal(signal.SIGTERM)
    running.wait()
    hold.release()
    run = other.sync().expect(0)
    other.assert_good("a", A)
    assert run.entry("a")["bytes_reused"] == 200_000
    assert run.entry("a")["bytes_fetched"] == len(A) - 200_000


def partial_bytes(place: Workplace) -> int:
    return sum(path.stat().st_size for path in (place.state / "partials").glob("*.part"))


def test_drift_and_update_ask_what_main_means(hub: Hub, site: Workplace) -> None:
    site.one(hub.url(FILE))
    site.sync().expect(0)
    before = site.lock_path.read_bytes()
    hub.commit({FILE: B})
    run = site.run("drift", "--json").expect(4)
    assert "x-linked-etag" in run.message("a")
    site.sync().expect(0)
    assert site.lock_path.read_bytes() == before
    site.run("update", "a", "--json").expect(0)
    site.assert_good("a", B)
    assert site.lock["a"]["revision"] == hub.revisions["main"]
    site.run("drift", "--json").expect(0)


def test_equal_bytes_keep_an_equal_lock(hub: Hub, site: Workplace) -> None:
    """A repository moves on for many reasons: neither a sync nor an update of the same bytes names a new commit."""
    site.one(hub.url(FILE))
    site.sync().expect(0)
    before = site.lock_path.read_bytes()
    hub.commit({FILE: A, "README.md": b"# net\n"})
    site.run("drift", "--json").expect(0)
    shutil.rmtree(site.store / "a")
    site.sync().expect(0)
    site.run("update", "a", "--json").expect(0)
    site.assert_good("a", A)
    assert site.lock_path.read_bytes() == before


def test_a_lock_without_commit_stays_without(hub: Hub, site: Workplace) -> None:
    """As it was written before there was one; `ckptd update` adds it."""
    site.one(hub.url(FILE))
    site.sync().expect(0)
    lines = site.lock_path.read_text().splitlines(keepends=True)
    site.lock_path.write_text("".join(line for line in lines if not line.startswith("revision")))
    before = site.lock_path.read_bytes()
    shutil.rmtree(site.store / "a")
    site.sync().expect(0)
    assert site.lock_path.read_bytes() == before
    site.run("update", "a", "--json").expect(0)
    assert site.lock["a"]["revision"] == hub.revisions["main"]


def test_a_new_url_has_its_own_commit(hub: Hub, site: Workplace) -> None:
    site.one(hub.url(FILE))
    site.sync().expect(0)
    first = hub.revisions["main"]
    second = hub.commit({FILE: A}, "v2")
    site.one(hub.url(FILE, "v2"))
    site.sync().expect(0)
    assert site.lock["a"]["revision"] == second != first


# ---- the commit is gone


def test_the_plain_address_remains(hub: Hub, site: Workplace, elsewhere: Callable[[], Workplace]) -> None:
    """A history that was squashed: main still has the locked bytes."""
    site.one(hub.url(FILE))
    site.sync().expect(0)
    gone = hub.revisions["main"]
    hub.commit({FILE: A})
    hub.forget(gone)
    hub.front.forget()
    other = elsewhere()
    other.sync().expect(0)
    other.assert_good("a", A)
    assert hub.asked() == [hub.path(FILE, gone), hub.path(FILE)]
    assert other.lock_path.read_bytes() == site.lock_path.read_bytes()


def test_the_locked_bytes_are_nowhere(hub: Hub, site: Workplace, elsewhere: Callable[[], Workplace]) -> None:
    """That is drift, and the hub says so before a byte comes."""
    site.one(hub.url(FILE))
    site.sync().expect(0)
    gone = hub.revisions["main"]
    hub.commit({FILE: B})
    hub.forget(gone)
    hub.cdn.forget()
    other = elsewhere()
    run = other.sync().expect(4)
    assert sha256(B) in run.message("a")
    assert run.entry("a")["bytes_fetched"] == 0
    assert other.lock_path.read_bytes() == site.lock_path.read_bytes()
    assert not list((other.store / "a").glob("*"))


def test_damage_is_mended_from_the_locked_commit(hub: Hub, site: Workplace) -> None:
    site.one(hub.url(FILE))
    site.sync().expect(0)
    hub.commit({FILE: B})
    path = site.file("a")
    path.chmod(0o644)
    data = bytearray(A)
    data[100_000:100_900] = bytes(900)
    path.write_bytes(data)
    before = site.lock_path.read_bytes()
    run = site.run("verify", "--repair", "--json").expect(0)
    assert run.entry("a")["state"] == "repaired"
    assert 0 < run.entry("a")["bytes_fetched"] < len(A)
    site.assert_good("a", A)
    assert site.lock_path.read_bytes() == before


def test_a_commit_that_is_none(hub: Hub, site: Workplace) -> None:
    """The lock is read strictly."""
    site.one(hub.url(FILE))
    site.sync().expect(0)
    text = site.lock_path.read_text()
    site.lock_path.write_text(text.replace(hub.revisions["main"], "main"))
    run = site.sync().expect(2)
    assert "revision" in run.err
    site.lock_path.write_text(text)
