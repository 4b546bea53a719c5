"""The daemon's page in a real browser: what it shows, that it stays up to date, that it does no harm."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import devtools
import faults as f
import pytest
from devtools import Tab, browser
from origin import Hold, Origin
from served import Served
from workplace import Workplace, tgz, wait_until

pytestmark = pytest.mark.slow

A, B = tgz(60_000, 1), tgz(70_000, 2)
LIVE = "document.getElementById('live').dataset.state === 'live'"
HOSTILE = "</script><script>window.harmed = 1</script><img src=x onerror='window.harmed = 2'>"


@pytest.fixture
def served(site: Workplace) -> Iterator[Served]:
    found = Served(site)
    yield found
    if found.running is not None and found.running.running:
        found.stop()


@pytest.fixture
async def new(lacking: Callable[[str], None]) -> AsyncIterator[Callable[[], Awaitable[Tab]]]:
    """Call it for a new page."""
    if devtools.program() is None:
        lacking("chromium is not installed")
    async with browser() as made:
        yield made


def entry(origin: Origin, name: str, body: bytes = A, **keys: Any) -> dict[str, Any]:
    return {"name": name, "url": origin.put(f"/{name}.tar.gz", body), **keys}


def begin(served: Served, *entries: dict[str, Any]) -> str:
    """Start the daemon, wait until all is there; the page's address."""
    served.write(*entries)
    served.start()
    wait_until(lambda: set(served.states().values()) == {"present"}, what="all is there")
    return f"http://127.0.0.1:{served.port}/"


def text(selector: str) -> str:
    return f"document.querySelector({selector!r})?.innerText ?? ''"


def says(selector: str, words: str) -> str:
    return f"({text(selector)}).includes({words!r})"


async def test_it_is_whole_and_harmless(origin: Origin, served: Served, new: Callable[[], Awaitable[Tab]]) -> None:
    address = begin(served, entry(origin, "a", description=HOSTILE), entry(origin, "b", B))
    tab = await new()
    await tab.screen(1200, 900)
    await tab.open(address)
    await tab.until(LIVE)
    assert await tab.run(text("h1")) == "All 2 checkpoints are here and verified."
    assert await tab.run("window.harmed") is None
    assert HOSTILE in await tab.run(text("#row-a"))
    assert await tab.run("getComputedStyle(document.querySelector('.pair')).display") == "grid"  # the style is in force
    assert tab.console == []
    assert {each.partition("?")[0] for each in tab.requests} == {address, f"{address}events"}
    roles = await tab.ask("Accessibility.getFullAXTree")
    names = [(node["role"]["value"], node.get("name", {}).get("value")) for node in roles["nodes"] if "role" in node]
    assert ("heading", "All 2 checkpoints are here and verified.") in names
    assert ("button", "Copy the path of b") in names
    assert [role for role, _ in names].count("row") == 3
    assert all(name for role, name in names if role in {"button", "link", "progressbar", "image", "table"})


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_it_fits_a_phone(origin: Origin, served: Served, new: Callable[[], Awaitable[Tab]], dark: bool) -> None:
    long = "axial_swidernet_1_1_4.5_imagenet1k_strong_training_strategy"
    address = begin(served, entry(origin, long, description="word " * 30, tags=["imagenet1k", "strong"]))
    tab = await new()
    await tab.screen(360, 740, dark=dark, phone=True)
    await tab.open(address)
    assert await tab.run("document.documentElement.scrollWidth") <= 360
    background = await tab.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 3 * 128) is dark


async def test_it_stays_up_to_date(origin: Origin, served: Served, new: Callable[[], Awaitable[Tab]]) -> None:
    address = begin(served, entry(origin, "a"))
    tab = await new()
    await tab.open(address)
    await tab.until(LIVE)
    await tab.run("window.same = true")
    hold = Hold()
    served.write(entry(origin, "a"), entry(origin, "big", tgz(3_000_000, 5)))
    origin.on("/big.tar.gz", f.hold(1_000_000, hold))
    served.reload()
    try:
        await tab.until(says("h1", "1 of 2 checkpoints are here."))
        await tab.until("document.querySelector('progress')?.value > 0.2")
        await tab.until(says("#now", "big"))
        await tab.until(says("#row-big", "at work"))
        assert await tab.run("document.body.className") == "tone-note"
    finally:
        hold.release()
    await tab.until(says("h1", "All 2 checkpoints are here and verified."))
    await tab.until(says("#row-big", "here"))
    await tab.until("document.querySelector('progress') === null")
    await tab.until(says("#say", "All 2 checkpoints are here and verified"))  # for who cannot see it
    assert "All 2" in await tab.run("document.title")
    assert await tab.run("document.body.className") == "tone-good"
    assert await tab.run("window.same") is True  # it was never loaded again
    assert tab.console == []


async def test_it_comes_back_when_the_daemon_does(
    origin: Origin, served: Served, new: Callable[[], Awaitable[Tab]]
) -> None:
    address = begin(served, entry(origin, "a"))
    tab = await new()
    await tab.open(address)
    await tab.until(LIVE)
    served.stop()
    await tab.until(says("#live", "not live"))
    assert "/a.tar.gz" in await tab.run(text("#path-a"))  # what was known stays
    served.write(entry(origin, "a"), entry(origin, "b", B))
    served.start()
    await tab.until(LIVE)
    await tab.until(says("#row-b", "here"))


async def test_paths_are_copied(origin: Origin, served: Served, new: Callable[[], Awaitable[Tab]]) -> None:
    address = begin(served, entry(origin, "a"))
    path = str(served.site.file("a"))
    tab = await new()
    await tab.ask(
        "Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"], origin=address[:-1]
    )
    await tab.open(address)
    await tab.until(LIVE)
    await tab.ask("Page.bringToFront")
    await tab.run("document.querySelector('#copy-a').click()")
    await tab.until(says("#copy-a", "Copied"))
    assert await tab.run("navigator.clipboard.readText()") == path
    # Over plain http from elsewhere browsers have no clipboard to offer: the older way is left.
    await tab.open(address)
    await tab.run("Object.defineProperty(navigator, 'clipboard', {value: undefined}); 0")
    await tab.run("document.addEventListener('copy', () => { window.copied = getSelection().toString(); }); 0")
    await tab.run("document.querySelector('#copy-a').click()")
    await tab.until(says("#copy-a", "Copied"))
    assert await tab.run("window.copied") == path
    await tab.until("document.querySelector('#copy-a').innerText === 'Copy'")


async def test_what_is_marked_is_left_alone(origin: Origin, served: Served, new: Callable[[], Awaitable[Tab]]) -> None:
    address = begin(served, entry(origin, "a"), entry(origin, "b", B))
    tab = await new()
    await tab.open(address)
    await tab.until(LIVE)
    await tab.run("getSelection().selectAllChildren(document.querySelector('#path-a')); 0")
    await tab.run("document.querySelector('#copy-b').focus()")
    changed = [{**entry(origin, name, body), "description": "a new text"} for name, body in (("a", A), ("b", B))]
    served.write(*changed)
    served.reload()
    await tab.until(says("#row-b", "a new text"))
    assert await tab.run("document.activeElement.id") == "copy-b"  # replaced under the reader's hands
    assert await tab.run("getSelection().toString()") == str(served.site.file("a"))
    assert "a new text" not in await tab.run(text("#row-a"))
    await tab.run("getSelection().removeAllRanges()")
    await tab.until(says("#row-a", "a new text"))


async def test_a_checkpoint_is_found_by_a_part_of_its_name(
    origin: Origin, served: Served, new: Callable[[], Awaitable[Tab]]
) -> None:
    address = begin(served, *(entry(origin, f"model{number}", tags=["odd"] * (number % 2)) for number in range(9)))
    tab = await new()
    await tab.open(address)
    await tab.until(LIVE)
    visible = (
        "[...document.querySelectorAll('#checkpoints tbody tr')].filter((row) => !row.hidden).map((row) => row.id)"
    )
    assert len(await tab.run(visible)) == 9
    await tab.run("document.querySelector('#find').focus()")
    await tab.ask("Input.insertText", text="odd MODEL3")
    assert await tab.run(visible) == ["row-model3"]
    served.write(*(entry(origin, f"model{number}", tags=["odd"]) for number in range(10)))
    served.reload()
    await tab.until("document.querySelector('#row-model9') !== null")
    assert await tab.run(visible) == ["row-model3"]  # a new table, the same question
    assert await tab.run("document.activeElement.value") == "odd MODEL3"


async def test_without_a_script_it_is_complete(
    origin: Origin, served: Served, new: Callable[[], Awaitable[Tab]]
) -> None:
    address = begin(served, entry(origin, "a"), *(entry(origin, f"model{number}") for number in range(8)))
    tab = await new()
    await tab.ask("Emulation.setScriptExecutionDisabled", value=True)
    await tab.open(address)
    assert str(served.site.file("a")) in await tab.run(text("#row-a"))
    assert await tab.run("[...document.querySelectorAll('button, input')].every((each) => each.offsetParent === null)")
    assert "as of" in await tab.run(text("#live"))
    assert tab.requests == [address]


async def test_many_checkpoints(origin: Origin, served: Served, new: Callable[[], Awaitable[Tab]]) -> None:
    """Five hundred are drawn, and the table does not come a second time."""
    address = begin(
        served, *({"name": f"m{n:03}", "url": origin.put(f"/m{n:03}.bin", b"x" * (n + 1))} for n in range(500))
    )
    tab = await new()
    await tab.open(address)
    await tab.until(LIVE)
    assert await tab.run("document.querySelectorAll('#checkpoints tbody tr').length") == 500
    with served.watch() as watcher:
        version = await tab.run("document.body.dataset.have")
        assert len(str(watcher.news())) > 100_000
    with served.watch(f"/events?have={version}") as watcher:
        assert "all" not in watcher.news()["parts"]
