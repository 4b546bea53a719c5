"""`ckptd verify --report`: the page of a real store, in a real browser."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import browser
import pytest
from dom import having, one, parse, text
from origin import Origin
from workplace import Workplace, tgz

pytestmark = pytest.mark.slow

PIECE = 16 * 1024 * 1024
BIG = tgz(2 * PIECE + 500_000, 9)
SMALL = tgz(60_000, 1)
AT = PIECE + 7  # of the flipped bit
COMMAND = '<script src="//evil.example/x.js"></script>'


@pytest.fixture(scope="session")
def chromium(lacking: Callable[[str], None]) -> None:
    if not browser.available():
        lacking("chromium is not installed")


def flip(path: Path, at: int) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 0x10]))
    path.chmod(0o444)


@contextmanager
def holding(path: Path) -> Iterator[int]:
    """A process that has `path` open and is called what nobody should be called; its pid."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", 'exec 3<"$1"; echo; read end', COMMAND, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
    finally:
        process.communicate()


@pytest.fixture
def page(site: Workplace) -> Path:
    """Where the report goes."""
    return site.root / "report.html"


def fill(site: Workplace, origin: Origin, big: bytes = SMALL) -> str:
    """Three checkpoints, one more that was never fetched, and a description to beware of, which is returned."""
    leak = origin.url("/leak")
    hostile = f'<img src="{leak}"><script src="{leak}"></script><link rel="stylesheet" href="{leak}">'
    site.write(
        {"name": "big", "url": origin.put("/big.tar.gz", big), "description": hostile, "tags": ["t1"]},
        {"name": "gone", "url": origin.put("/gone.tgz", SMALL)},
        {"name": "good", "url": origin.put("/good.tgz", SMALL), "description": "fine & well"},
        {"name": "new", "url": origin.put("/new.tgz", SMALL)},
    )
    site.sync("big", "gone", "good").expect(0)
    return hostile


def damage(site: Workplace, at: int = 99) -> None:
    flip(site.file("big"), at)
    site.file("gone").unlink()


def test_a_damaged_store_in_a_browser(chromium: None, origin: Origin, site: Workplace, page: Path) -> None:
    """The whole story is told, the damaged piece marked; what others wrote is text; nothing is asked of the network."""
    hostile = fill(site, origin, BIG)
    damage(site, AT)
    with holding(site.file("big")) as pid:
        site.run("verify", "--report", str(page), invariants=False).expect(3)
    origin.forget()
    seen = browser.look(page)
    assert seen.console == ()
    assert seen.requests == ()
    assert not origin.requests()

    assert text(one(seen.dom, "h1")) == "1 of 4 checkpoints is damaged, 1 is missing and 1 was never fetched."
    assert not list(seen.dom.iter("script"))
    article = next(seen.dom.iter("article"))
    assert hostile in text(article)
    assert f"One bit is flipped: bit 4 of byte {AT}." in text(article)
    (cell,) = (each for each in having(article, "g", cls="cell") if "data-start" in each.attrib)
    assert int(cell.get("data-start", "")) <= AT < int(cell.get("data-end", ""))
    (holder,) = one(one(article, "table", id="holders-1"), "tbody")
    assert text(holder[0]) == str(pid)
    assert COMMAND in text(holder)
    commands = [text(each) for each in seen.dom.iter("pre")]
    assert f"ckptd verify --repair --manifest {site.manifest} big" in commands
    assert f"ckptd sync --manifest {site.manifest} gone" in commands


@pytest.mark.slow
def test_the_commands_on_the_page_do_what_it_says(origin: Origin, site: Workplace, page: Path) -> None:
    """After each of them nothing is left to do, and what was mended is told with its evidence."""
    fill(site, origin)
    damage(site)
    site.run("verify", "--report", str(page), invariants=False).expect(3)
    commands = [text(each).split() for each in parse(page.read_text()).iter("pre")]
    assert len(commands) == 3
    for program, *words in commands:
        assert program == "ckptd"
        report = ["--report", str(page)] if words[0] == "verify" else []
        site.run(*words, *report, cwd=site.home, invariants=False).expect(0)
        if report:
            told = text(next(parse(page.read_text()).iter("article")))
            assert "mended" in told
            (entry,) = (site.state / "quarantine").iterdir()
            assert str(entry) in told
    site.run("verify", "--report", str(page)).expect(0)
    root = parse(page.read_text())
    assert text(one(root, "h1")) == "All 4 checkpoints are intact."
    assert text(one(root, "section", id="todo")).startswith("What to doNothing.")
    assert "The promise is kept" in text(one(root, "section", id="promise"))
    assert "proven bytes took its place" in text(one(root, "table", id="quarantine"))


def test_only_what_is_due(origin: Origin, site: Workplace, page: Path) -> None:
    """`--older-than`: what was not read is not said to have been; `NAME`: the others are counted."""
    fill(site, origin)
    flip(site.file("good"), 99)
    site.verify("good").expect(3)
    site.run("verify", "--older-than", "1d", "big", "gone", "--report", str(page), invariants=False).expect(0)
    root = parse(page.read_text())
    assert text(one(root, "h1")).startswith("Nothing was due")
    assert {text(each) for each in having(root, "span", cls="badge")} == {"not due"}
    assert "1 more in this store, not asked for" in text(one(root, "header"))
    assert "The promise is broken" in text(one(root, "section", id="promise"))


def test_the_file(origin: Origin, site: Workplace, page: Path) -> None:
    """Anybody may read it, whatever the umask; it replaces an older one; a link is followed; nothing else is left."""
    fill(site, origin)
    real = site.root / "real.html"
    real.write_text("old")
    page.symlink_to(real)
    before = set(site.root.iterdir())
    run = site.run("verify", "--json", "good", "--report", str(page), umask=0o077).expect(0)
    assert json.loads(run.out)["report"] == str(real)
    assert stat.S_IMODE(real.stat().st_mode) == 0o644
    assert page.is_symlink()
    assert text(one(parse(real.read_text()), "h1")) == "good is intact."
    assert set(site.root.iterdir()) == before


@pytest.mark.parametrize("json_", [False, True], ids=["text", "json"])
def test_a_report_that_cannot_be_written(origin: Origin, site: Workplace, *, json_: bool) -> None:
    """The verdicts are told all the same; the exit status is the worst of both."""
    fill(site, origin)
    flip(site.file("good"), 99)
    nowhere = str(site.root / ("r" * 300))  # a name that no filesystem takes
    flags = ["--json"] if json_ else []
    for name, verdict, status in (("good", "corrupt", 3), ("big", "intact", 5)):
        run = site.run("verify", *flags, name, "--report", nowhere, invariants=False).expect(status)
        assert "cannot write the report" in run.err
        assert verdict in run.out
        if json_:
            assert run.report["exit"] == status
            assert run.report["error"]["kind"] == "storage"
            assert run.report["report"] is None


@pytest.mark.parametrize("what", ["manifest", "lock", "store", "state", "folder", "pipe"])
def test_what_is_no_place_for_a_report(origin: Origin, site: Workplace, what: str) -> None:
    """Refused before a byte is read (2), and left as it is."""
    fill(site, origin)
    pipe = site.root / "pipe"
    os.mkfifo(pipe)
    wanted = {
        "manifest": site.manifest,
        "lock": site.root / "home" / ".." / "manifest.lock",
        "store": site.store / "big" / "report.html",
        "state": site.state / "report.html",
        "folder": site.home,
        "pipe": pipe,
    }[what]
    before = (site.manifest.read_bytes(), site.lock_path.read_bytes(), pipe.is_fifo())
    run = site.run("verify", "--report", str(wanted)).expect(2)
    assert "--report" in run.err
    assert run.out == ""
    assert (site.manifest.read_bytes(), site.lock_path.read_bytes(), pipe.is_fifo()) == before


# --- the page in a browser -------------------------------------------------------------------------------------------


def test_the_browser_would_tell(chromium: None, origin: Origin, tmp_path: Path) -> None:
    """What the tests above do not see can be seen: a request, a script, an error, a style that the policy forbids."""
    leaky = tmp_path / "leaky.html"
    policy = "<meta http-equiv='Content-Security-Policy' content=\"style-src 'none'\">"
    image = origin.url("/leak.png")
    leaky.write_text(f'<!DOCTYPE html>{policy}<style>a {{}}</style><img src="{image}"><script>nosuch()</script>')
    seen = browser.look(leaky)
    assert seen.requests == (image,)
    assert any("nosuch is not defined" in line for line in seen.console)
    assert any("Content Security Policy" in line for line in seen.console)


MEASURE = """<script>
const page = document.documentElement, late = [...document.querySelectorAll("td, dd, pre, h1 span")];
const sticksOut = each => each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).display != "inline";
document.title = JSON.stringify({
  wide: page.scrollWidth - page.clientWidth,
  cut: late.filter(sticksOut).length,
  paper: getComputedStyle(document.body).backgroundColor,
  row: getComputedStyle(document.querySelector("tbody tr")).display,
});
</script>"""


@pytest.mark.slow
def test_it_fits_a_phone_and_a_desk_by_day_and_by_night(
    chromium: None, origin: Origin, site: Workplace, page: Path
) -> None:
    """Nothing sticks out at 360 or 1200 pixels, with names as long as they may be; dark where that is preferred."""
    names = ["a" * 128, "b_" * 64]
    site.write(*({"name": name, "url": origin.put(f"/{name[:90]}.tgz", SMALL)} for name in names))
    site.sync().expect(0)
    flip(site.file(names[0]), 99)
    site.run("verify", "--report", str(page), invariants=False).expect(3)
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    copy = page.with_name("copy.html")
    copy.write_text(html.replace("</body>", f"{MEASURE}</body>"))

    def measured(*flags: str) -> dict[str, object]:
        seen = browser.look(copy, *flags)
        assert seen.console == ()
        found: dict[str, object] = json.loads(text(one(one(seen.dom, "head"), "title")))
        return found

    phone = measured("--window-size=360,800")
    desk = measured("--window-size=1200,1600")
    night = measured("--window-size=1200,1600", "--blink-settings=preferredColorScheme=0")
    for found in (phone, desk, night):
        assert (found["wide"], found["cut"]) == (0, 0)
    assert (phone["row"], desk["row"]) == ("block", "table-row")
    assert desk["paper"] == "rgb(250, 249, 245)"
    assert night["paper"] == "rgb(22, 24, 26)"
