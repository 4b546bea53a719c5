"""`ckptd import` and `ckptd add`: from what people have to entries that can be synced; all else stays as it is."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import faults as f
import pytest
from origin import Origin
from workplace import Run, Workplace, sha256, tgz

from ckptd.core.manifest import parse
from ckptd.core.models import Checkpoint

pytestmark = pytest.mark.slow

A, B = tgz(60_000, 1), tgz(60_000, 2)
SECRET = "hunter2"
MINE = """\
# What I want.
[store]
path = "checkpoints"  # here

# The first one.
[[checkpoint]]
name = "mine"
url = "https://example.org/mine.pth"

[sync]
every = "12h"   # often enough
# the end
"""
PAGE = """\
# Zoo

**Strong**: with everything.

Net | Weights
--- | -------
R50 | [ckpt](weights/r50.tar.gz)
R101 | [ckpt](weights/r101.tar.gz), [paper](https://arxiv.org/abs/1512.03385)
"""
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def empty(site: Workplace) -> Workplace:
    """A folder without a manifest."""
    assert not site.manifest.exists()
    return site


@pytest.fixture
def mine(site: Workplace) -> Workplace:
    """A folder with a manifest of one entry."""
    site.manifest.write_text(MINE)
    return site


def checkpoints(site: Workplace) -> list[Checkpoint]:
    return list(parse(site.manifest.read_text()).checkpoints)


def names(site: Workplace) -> list[str]:
    return [each.name for each in checkpoints(site)]


def put(site: Workplace, name: str, text: str) -> str:
    (site.root / name).write_text(text)
    return name


def piped(site: Workplace, text: str, *args: str) -> Run:
    """A run that reads `text` from a pipe."""
    (site.root / "input").write_text(text)
    return site.run(*args, prefix=["sh", "-c", 'cat input | "$0" "$@"'])


def served(origin: Origin) -> str:
    """A page with relative links, on the loopback origin."""
    origin.put("/zoo/weights/r50.tar.gz", A)
    origin.put("/zoo/weights/r101.tar.gz", B)
    return origin.put("/zoo/README.md", PAGE.encode(), content_type="text/plain; charset=utf-8")


# ---- pages


def test_from_a_page_to_proven_files(origin: Origin, empty: Workplace) -> None:
    run = empty.run("import", served(origin)).expect(0)
    assert "added 2 checkpoints to manifest.toml" in run.out
    assert "R50, Strong" in run.out
    assert "1 paper" in run.out
    assert [(each.name, each.description) for each in checkpoints(empty)] == [
        ("r50", "R50, Strong"),
        ("r101", "R101, Strong"),
    ]
    empty.sync().expect(0)
    empty.assert_good("r50", A)
    empty.assert_good("r101", B)


def test_comments_and_order_stay(mine: Workplace) -> None:
    put(mine, "page.md", PAGE)
    mine.run("import", "page.md", "--base", "https://h/zoo", "--tag", "zoo", "--tag", "new", "--unpack").expect(0)
    assert mine.manifest.read_text().startswith(MINE)
    found = checkpoints(mine)
    assert [each.url for each in found[1:]] == [
        "https://h/zoo/weights/r50.tar.gz",
        "https://h/zoo/weights/r101.tar.gz",
    ]
    assert all(each.tags == ("zoo", "new") and each.unpack for each in found[1:])


def test_again_is_nothing_new(mine: Workplace) -> None:
    put(mine, "page.md", PAGE)
    mine.run("import", "page.md", "--base", "https://h/zoo/").expect(0)
    before = mine.manifest.read_bytes()
    run = mine.run("import", "page.md", "--base", "https://h/zoo/").expect(0)
    assert mine.manifest.read_bytes() == before
    assert "already there as r101" in run.out
    assert "nothing new" in run.out


def test_dry_run_writes_nothing(mine: Workplace) -> None:
    put(mine, "page.md", PAGE)
    run = mine.run("import", "page.md", "--base", "https://h/zoo/", "--dry-run").expect(0)
    assert "https://h/zoo/weights/r50.tar.gz" in run.out
    assert "would add 2" in run.out
    assert mine.manifest.read_text() == MINE


def test_dry_run_makes_no_manifest(empty: Workplace) -> None:
    put(empty, "page.md", PAGE)
    before = sorted(path.name for path in empty.root.iterdir())
    empty.run("import", "page.md", "--base", "https://h/zoo/", "--dry-run").expect(0)
    assert sorted(path.name for path in empty.root.iterdir()) == before


def test_match_narrows(mine: Workplace) -> None:
    put(mine, "page.md", PAGE)
    mine.run("import", "page.md", "--base", "https://h/", "--match", "r101*").expect(0)
    assert names(mine) == ["mine", "r101"]
    run = mine.run("import", "page.md", "--base", "https://h/", "--match", "nothing*").expect(2)
    assert "--match" in run.err


def test_json(mine: Workplace) -> None:
    put(mine, "page.md", PAGE + "\n[mine](https://example.org/mine.pth) [two](ftp://h/two.pth)\n")
    run = mine.run("import", "page.md", "--base", "https://h/", "--json", "--tag", "zoo").expect(0)
    report = run.report
    assert [each["state"] for each in report["checkpoints"]] == ["added", "added"]
    assert report["added"][0] == {
        "name": "r50",
        "url": "https://h/weights/r50.tar.gz",
        "mirrors": [],
        "sha256": None,
        "size": None,
        "unpack": False,
        "tags": ["zoo"],
        "description": "R50, Strong",
        "allow_http": False,
    }
    assert [(each["url"], each["name"]) for each in report["skipped"]] == [
        ("ftp://h/two.pth", None),
        ("https://example.org/mine.pth", "mine"),
    ]
    assert report["left_out"] == {"paper": 1}
    assert report["dry_run"] is False


def test_quiet(mine: Workplace) -> None:
    put(mine, "page.md", PAGE)
    run = mine.run("import", "page.md", "--base", "https://h/", "--quiet").expect(0)
    assert (run.out, run.err) == ("", "")
    assert names(mine) == ["mine", "r50", "r101"]


def test_an_html_page_behind_a_redirect(origin: Origin, empty: Workplace) -> None:
    """Relative links stand below where the page was found in the end."""
    origin.put("/v2/zoo/r50.tar.gz", A)
    origin.put("/v2/zoo/", b"<table><tr><td>R50<td><a href=r50.tar.gz>w</a></table>", content_type="text/html")
    origin.on("/zoo", f.redirect("/v2/zoo/"), times=None)
    empty.run("import", origin.url("/zoo")).expect(0)
    assert [each.url for each in checkpoints(empty)] == [origin.url("/v2/zoo/r50.tar.gz")]


def test_a_page_that_comes_at_the_second_attempt(origin: Origin, empty: Workplace) -> None:
    url = served(origin)
    origin.on("/zoo/README.md", f.status(503), times=1)
    origin.on("/zoo/README.md", f.cut(20), skip=1, times=1)
    empty.run("import", url).expect(0)
    assert names(empty) == ["r50", "r101"]


def test_a_page_that_wants_a_token(origin: Origin, site: Workplace) -> None:
    url = served(origin)
    site.auth = {f"127.0.0.1:{origin.port}": {"bearer_env": "ZOO"}}
    site.env["ZOO"] = SECRET
    site.secrets.append(SECRET)
    site.write()
    site.run("import", url).expect(0)
    assert origin.requests("/zoo/README.md")[0].request.header("authorization") == f"Bearer {SECRET}"


# ---- lists


def test_sums_pin(origin: Origin, empty: Workplace) -> None:
    origin.put("/zoo/a.tar.gz", A)
    sums = f"{sha256(A)}  a.tar.gz\n{sha256(A)} *b.tar.gz\n".encode()
    origin.put("/zoo/b.tar.gz", B)
    empty.run("import", origin.put("/zoo/SHA256SUMS", sums, content_type="text/plain")).expect(0)
    run = empty.sync().expect(3)
    assert run.entry("a")["trust"] == "pinned"
    assert run.kind("b") == "integrity"


def test_sums_of_a_file_need_a_base(mine: Workplace) -> None:
    put(mine, "SHA256SUMS", f"{sha256(A)}  a.tar.gz\n")
    run = mine.run("import", "SHA256SUMS").expect(2)
    assert "--base" in run.err
    assert mine.manifest.read_text() == MINE
    mine.run("import", "SHA256SUMS", "--base", "https://h/zoo").expect(0)
    assert checkpoints(mine)[1].url == "https://h/zoo/a.tar.gz"


LISTS = {
    "aria2": ("list.txt", f"https://h/a.pth\thttps://m/a.pth\n  checksum=sha-256={'a' * 64}\n"),
    "pooch": ("registry.txt", f"a.pth sha256:{'a' * 64} https://h/a.pth\n"),
    "metalink": (
        "list.meta4",
        (
            '<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="a.pth"><size>5</size>'
            f'<hash type="sha-256">{"a" * 64}</hash><url>https://h/a.pth</url><url>https://m/a.pth</url></file></metalink>'
        ),
    ),
    "urls": ("list.txt", "https://h/a.pth\n"),
}


@pytest.mark.parametrize("row", LISTS)
def test_lists(mine: Workplace, row: str) -> None:
    name, text = LISTS[row]
    mine.run("import", put(mine, name, text)).expect(0)
    (_, found) = checkpoints(mine)
    assert (found.name, found.url) == ("a", "https://h/a.pth")
    assert found.sha256 == (None if row == "urls" else "a" * 64)
    assert found.mirrors == (("https://m/a.pth",) if row in ("aria2", "metalink") else ())
    assert found.size == (5 if row == "metalink" else None)


def test_standard_input(mine: Workplace) -> None:
    piped(mine, "https://h/a.pth\n", "import", "-").expect(0)
    piped(mine, f"{'a' * 64}  b.pth\n", "import", "-", "--base", "https://h/").expect(0)
    assert names(mine) == ["mine", "a", "b"]


def test_the_format_can_be_said(mine: Workplace) -> None:
    put(mine, "list", "see https://h/a.pth")
    assert "line 1" in mine.run("import", "list", "--format", "urls").expect(2).err
    mine.run("import", "list", "--format", "markdown").expect(0)


# ---- the hub


def hub(origin: Origin, *, kind: str = "models") -> None:
    """A fake of the hub's listing API: a revision, and a list of two pages."""
    api = f"/api/{kind}/org/net"
    lfs = {"oid": sha256(A), "size": len(A), "pointerSize": 134}
    first = [
        {"type": "directory", "path": "big", "oid": "x", "size": 0},
        {"type": "file", "path": "model.safetensors", "oid": "x", "size": len(A), "lfs": lfs},
        {"type": "file", "path": ".gitattributes", "oid": "x", "size": 5},
    ]
    second = [{"type": "file", "path": "big/config.json", "oid": "x", "size": len(B)}]
    tree = f"{api}/tree/{COMMIT}"
    more = f'<{origin.url(tree)}?recursive=true&cursor=abc>; rel="next"'
    origin.put(f"{api}/revision/v1", json.dumps({"sha": COMMIT}).encode(), content_type="application/json")
    origin.put(tree, json.dumps(first).encode(), content_type="application/json", headers=[("Link", more)])
    origin.on(
        tree,
        f.page(json.dumps(second).encode(), content_type="application/json"),
        when=lambda request: "cursor" in request.query,
        times=None,
    )
    origin.put(f"/org/net/resolve/{COMMIT}/model.safetensors", A)
    origin.put(f"/org/net/resolve/{COMMIT}/big/config.json", B)


def test_a_repository_at_a_revision(origin: Origin, empty: Workplace) -> None:
    hub(origin)
    empty.env["HF_ENDPOINT"] = origin.url("")
    run = empty.run("import", "hf://org/net@v1", "--json", "--tag", "hub").expect(0)
    assert [(each["name"], each["size"], each["sha256"]) for each in run.report["added"]] == [
        ("net-model", len(A), sha256(A)),
        ("net-big-config.json", len(B), None),
    ]
    assert all(COMMIT in each["url"] for each in run.report["added"])
    run = empty.sync().expect(0)
    assert run.entry("net-model")["trust"] == "pinned"
    empty.assert_good("net-big-config.json", B)


def test_a_repository_that_is_not_there(origin: Origin, mine: Workplace) -> None:
    mine.env["HF_ENDPOINT"] = origin.url("")
    run = mine.run("import", "hf://org/net").expect(1)
    assert "404" in run.err
    assert "token" in run.err
    assert mine.manifest.read_text() == MINE


def test_a_list_without_an_end(origin: Origin, mine: Workplace) -> None:
    hub(origin)
    tree = f"/api/models/org/net/tree/{COMMIT}"
    origin.on(tree, f.header("Link", f'<{origin.url(tree)}?recursive=true&cursor=abc>; rel="next"'), times=None)
    mine.env["HF_ENDPOINT"] = origin.url("")
    run = mine.run("import", "hf://org/net@v1").expect(1)
    assert "no end" in run.err


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"sha": "main"}'])
def test_a_hub_that_talks_nonsense(origin: Origin, mine: Workplace, body: bytes) -> None:
    origin.put("/api/models/org/net/revision/main", body)
    mine.env["HF_ENDPOINT"] = origin.url("")
    mine.run("import", "hf://org/net").expect(1)
    assert mine.manifest.read_text() == MINE


# ---- what cannot be imported


UNUSABLE = {
    "not there": (["nowhere.md"], ["nowhere.md", "No such file"]),
    "a folder": (["."], ["Is a directory"]),
    "no text": (["binary"], ["not text", "ckptd add"]),
    "no links": (["empty.md"], ["no archive", "1 paper"]),
    "an archive": (["https://example.org/a.tar.gz"], ["ckptd add"]),
    "another scheme": (["ftp://example.org/page"], ["https://"]),
    "credentials": ([f"https://u:{SECRET}@example.org/page"], ["credentials"]),
    "a base that is none": (["page.md", "--base", "zoo"], ["--base"]),
    "a tag that is none": (["page.md", "--base", "https://h/", "--tag", "a b"], ["--tag"]),
    "a repository that is none": (["hf://org"], ["hf://organisation"]),
    "only relative links": (["page.md"], ["relative", "--base"]),
    "only secrets": (["secret.md"], ["signed", "[auth"]),
    "nearly a registry": (["registry.txt", "--base", "https://h/"], ["registry.txt: line 2", "b c.pth"]),
    "two digests for one file": (["SHA256SUMS", "--base", "https://h/"], ["line 2", "line 1", "another SHA-256"]),
    "only hosts that cannot be": (["hosts.txt"], ["usable", "line 1"]),
    "a page of hosts that cannot be": (["hosts.md"], ["https://[x]/y.pt is not a usable URL"]),
}


@pytest.mark.parametrize("row", UNUSABLE)
def test_unusable(mine: Workplace, row: str) -> None:
    put(mine, "page.md", PAGE)
    put(mine, "empty.md", "# Zoo\n[p](https://arxiv.org/abs/1.2)\n")
    put(mine, "registry.txt", f"a.pth sha256:{'a' * 64}\nb c.pth {'b' * 64}\nd.pth {'b' * 64}\n")
    put(mine, "SHA256SUMS", f"{'a' * 64}  a.pth\n{'b' * 64}  a.pth\n")
    put(mine, "hosts.txt", "https://[x]/y.pt\n")
    put(mine, "hosts.md", "[w](https://[x]/y.pt)\n")
    put(mine, "secret.md", f"[w](https://h/a.pth?X-Amz-Signature={SECRET})\n")
    (mine.root / "binary").write_bytes(b"\x7fELF\0\0")
    mine.secrets.append(SECRET)
    args, words = UNUSABLE[row]
    run = mine.run("import", *args).expect(2)
    assert run.out == ""
    for word in words:
        assert word in run.err
    assert mine.manifest.read_text() == MINE


def test_a_page_with_a_signed_link_gives_the_others(mine: Workplace) -> None:
    mine.secrets.append(SECRET)
    put(mine, "page.md", f"[a](https://h/a.pth?token={SECRET}) [b](https://h/b.pth) [c](https://u:{SECRET}@h/c.pth)")
    run = mine.run("import", "page.md").expect(0)
    assert names(mine) == ["mine", "b"]
    assert run.err.count("left out") == 2
    assert SECRET not in mine.manifest.read_text()


@pytest.mark.parametrize("json_too", [False, True])
def test_no_network(origin: Origin, mine: Workplace, json_too: bool) -> None:
    url = served(origin)
    origin.refuse()
    run = mine.run("import", url, *(["--json"] if json_too else [])).expect(1)
    assert "refused" in run.err
    if json_too:
        assert run.report["error"]["kind"] == "network"
    assert mine.manifest.read_text() == MINE


def test_a_page_that_is_gone(origin: Origin, mine: Workplace) -> None:
    assert "404" in mine.run("import", origin.url("/gone.md")).expect(1).err


def test_a_page_without_an_end(origin: Origin, mine: Workplace) -> None:
    served(origin)
    origin.on("/zoo/README.md", f.says_length(40 * 1024 * 1024))
    assert "32 MiB" in mine.run("import", origin.url("/zoo/README.md")).expect(2).err


def test_a_page_that_does_not_say_its_length(origin: Origin, mine: Workplace) -> None:
    url = served(origin)
    origin.on("/zoo/README.md", f.no_length())
    assert "cut short" in mine.run("import", url).expect(0).err


# ---- add


def test_add(mine: Workplace) -> None:
    run = mine.run(
        "add", "https://h/zoo/a.tar.gz", "--name", "big", "--sha256", "A" * 64, "--size", "1.5 kB", "--tag", "t",
        "--mirror", "https://m/a.tar.gz", "--mirror", "https://n/a.tar.gz", "--description", 'the "big" one',
        "--unpack",
    ).expect(0)  # fmt: skip
    assert "added 1 checkpoint to manifest.toml" in run.out
    assert mine.manifest.read_text().startswith(MINE)
    assert checkpoints(mine)[1] == Checkpoint(
        "big",
        "https://h/zoo/a.tar.gz",
        "a.tar.gz",
        ("https://m/a.tar.gz", "https://n/a.tar.gz"),
        "a" * 64,
        1500,
        unpack=True,
        tags=("t",),
        description='the "big" one',
    )


def test_add_several(empty: Workplace) -> None:
    empty.run("add", "https://h/a.pth", "gs://b/b.zip", "hf://o/r@v/model.bin", "https://h/a.pth").expect(0)
    assert names(empty) == ["a", "b", "r-model"]


def test_add_again_is_said_and_no_error(mine: Workplace) -> None:
    run = mine.run("add", "https://EXAMPLE.org/mine.pth", "https://h/a.pth").expect(0)
    assert "already there as mine" in run.out
    assert names(mine) == ["mine", "a"]
    run = mine.run("add", "https://h/a.pth", "--sha256", "a" * 64).expect(0)
    assert "already there as a, without this sha256" in run.out


WRONG_ADDS = {
    "no address": (["a.pth"], ["a.pth", "https://"]),
    "no file": (["https://h/"], ["file name"]),
    "credentials": ([f"https://u:{SECRET}@h/a.pth"], ["password", "[auth"]),
    "a signature": ([f"https://h/a.pth?X-Goog-Signature={SECRET}&x=1"], ["signed"]),
    "a mirror's signature": (["https://h/a.pth", "--mirror", f"https://h/b?sig={SECRET}"], ["signed"]),
    "plain http": (["http://h/a.pth"], ["plain http", "--allow-http"]),
    "one of several": (["https://h/a.pth", "nonsense"], ["nonsense"]),
    "a short digest": (["https://h/a.pth", "--sha256", "abc"], ["--sha256"]),
    "no size": (["https://h/a.pth", "--size", "big"], ["--size"]),
    "no name": (["https://h/a.pth", "--name", "a/b"], ["--name"]),
    "somebody's name": (["https://h/a.pth", "--name", "Mine"], ["already belongs to"]),
    "one name for two": (["https://h/a.pth", "https://h/b.pth", "--name", "x"], ["single URL"]),
    "a repository": (["hf://org/net"], ["hf://"]),
    "a host that cannot be": (["https://\u2100.org/x.pt"], ["usable"]),
    "a host in wrong brackets": (["https://[x]/y.pt"], ["usable"]),
    "half an address": (["https://[::1/y.pt"], ["usable"]),
    "a line end in it": (["https://h/a\nb.pth"], ["control characters"]),
    "nothing": ([], ["URL"]),
}


@pytest.mark.parametrize("row", WRONG_ADDS)
def test_wrong_adds(mine: Workplace, row: str) -> None:
    mine.secrets.append(SECRET)
    args, words = WRONG_ADDS[row]
    run = mine.run("add", *args).expect(2)
    for word in words:
        assert word in run.err
    assert mine.manifest.read_text() == MINE


def test_plain_http_on_request(mine: Workplace) -> None:
    mine.run("add", "http://h/a.pth", "--allow-http").expect(0)
    assert checkpoints(mine)[1].allow_http


# ---- the manifest's file


def test_a_broken_manifest_is_not_touched(mine: Workplace) -> None:
    mine.manifest.write_text(MINE + "x = = 1\n")
    run = mine.run("add", "https://h/a.pth").expect(2)
    assert "manifest.toml:" in run.err
    assert mine.manifest.read_text() == MINE + "x = = 1\n"


def test_an_entry_that_the_manifest_cannot_have(mine: Workplace) -> None:
    """The whole new text is parsed before it is written: here the lock would lie in the checkpoint's folder."""
    text = '[store]\npath = "c"\nlock = "c/a/manifest.lock"\n'
    mine.manifest.write_text(text)
    run = mine.run("add", "https://h/a.pth").expect(2)
    assert 'folder of checkpoint "a"' in run.err
    assert mine.manifest.read_text() == text


@pytest.mark.parametrize("mode", [0o640, 0o664, 0o600])
def test_the_mode_stays(mine: Workplace, mode: int) -> None:
    mine.manifest.chmod(mode)
    mine.run("add", "https://h/a.pth").expect(0)
    assert stat.S_IMODE(mine.manifest.stat().st_mode) == mode


def test_owner_and_group_stay(mine: Workplace) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(mine.manifest, 12345, 23456)
    mine.run("add", "https://h/a.pth").expect(0)
    assert (mine.manifest.stat().st_uid, mine.manifest.stat().st_gid) == (12345, 23456)


def test_a_link_stays_a_link(mine: Workplace) -> None:
    real = mine.root / "real" / "m.toml"
    real.parent.mkdir()
    mine.manifest.rename(real)
    mine.manifest.symlink_to(Path("real") / "m.toml")
    mine.run("add", "https://h/a.pth").expect(0)
    assert mine.manifest.is_symlink()
    assert real.read_text().startswith(MINE)
    assert names(mine) == ["mine", "a"]
    assert [path.name for path in real.parent.iterdir()] == ["m.toml"]


def test_a_manifest_named_elsewhere(empty: Workplace) -> None:
    (empty.root / "etc").mkdir()
    empty.run("add", "https://h/a.pth", "--manifest", "etc/m.toml").expect(0)
    empty.run("status", "--manifest", "etc/m.toml").expect(0)
    assert not empty.manifest.exists()
    run = empty.run("add", "https://h/a.pth", "--manifest", "no/such/m.toml").expect(2)
    assert "folder" in run.err
    run = empty.run("add", "https://h/a.pth", "--manifest", "etc").expect(2)
    assert "directory" in run.err


def test_those_who_add_at_once_lose_nothing(empty: Workplace) -> None:
    running = [empty.start("add", f"https://h/{number}/net{number}.pth") for number in range(6)]
    for each in running:
        each.wait().expect(0)
    assert sorted(names(empty)) == [f"net{number}" for number in range(6)]


def test_the_file_of_a_manifest_that_cannot_be_written(mine: Workplace) -> None:
    # Root may write everywhere, unless it is without these capabilities.
    plain = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    mine.root.chmod(0o555)
    try:
        run = mine.run("add", "https://h/a.pth", prefix=plain).expect(5)
    finally:
        mine.root.chmod(0o755)
    assert "cannot write" in run.err
    assert mine.manifest.read_text() == MINE
