"""Pages, portals and other things that are not the file (origins.md 4.6, engines.md row "HTML 200 page")."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import faults as f
import pytest
from origin import Behaviour, Origin, Turn
from workplace import Batch, Workplace, sha256, tgz

A = tgz(260_000, 1)
CUT = 100_000
PATH = "/a.tar.gz"

XML = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Anonymous caller</Message></Error>"
PAGES: dict[str, Behaviour] = {
    "sign-in page": f.page(),
    "sign-in page called gzip": f.page(content_type="application/gzip"),
    "sign-in page without a type": f.page(content_type=""),
    "XML error with 200": f.page(XML, content_type="application/xml"),
    "JSON error with 200": f.page(b'{"error": "quota"}', content_type="application/json"),
    "empty body": f.page(b"", content_type="application/gzip"),
    "one byte": f.page(b"\x1f", content_type="application/gzip"),
    "a zip": f.page(b"PK\x03\x04" + bytes(5000), content_type="application/zip"),
    "a bare tar": f.page(bytes(10240), content_type="application/gzip"),
    "a page as long as the file": f.page(f.HTML.ljust(len(A))),
    "gzip with another method": f.page(b"\x1f\x8b\x07" + A[3:], content_type="application/gzip"),
    "204": f.status(204, body=b""),
    "201 with the file": f.page(A, status=201, content_type="application/gzip"),
    "203 with a page": f.page(status=203),
    "511 portal": f.page(status=511),
    "300 without Location": f.status(300, body=A),
    "302 without Location": f.status(302, body=A),
}


def impostors(root: Path, times: int | None) -> Iterator[Batch]:
    """All rows in one run; the first answer is the impostor, or every one is."""
    with Batch(root, PAGES) as batch:
        for row, origin in batch.origin.items():
            origin.put(PATH, A)
            origin.on(PATH, PAGES[row], times=times)
        batch.sync()
        yield batch


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    yield from impostors(tmp_path_factory.mktemp("once"), 1)


@pytest.fixture(scope="module")
def for_ever(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    yield from impostors(tmp_path_factory.mktemp("forever"), None)


@pytest.mark.parametrize("row", PAGES)
def test_impostor_once(once: Batch, row: str) -> None:
    """4.6: refused before a byte of it counts; where it may be a passing fault, the file comes in the end."""
    if once.entry(row)["error"] is None:
        once.assert_good(row, A)
    else:
        once.assert_failed(row, "origin", "network")


@pytest.mark.parametrize("row", PAGES)
def test_impostor_for_ever(for_ever: Batch, row: str) -> None:
    """4.6: given up, nothing published, nothing locked, few requests."""
    for_ever.assert_failed(row, "origin", "network")
    assert len(for_ever.origin[row].requests()) < 12


def test_after_all_impostors_the_next_run_is_good(origin: Origin, site: Workplace) -> None:
    """4.6: nothing of an impostor is left that the next run could trip over."""
    names = {f"page{number}": page for number, page in enumerate(PAGES.values())}
    site.write(
        *({"name": name, "url": origin.put(f"/{name}.tgz", A)} for name in names),
        transfer={"downloads": 32, "retries": 1},
    )
    for name, page in names.items():
        origin.on(f"/{name}.tgz", page, times=None)
    site.sync().expect(1)
    origin.calm()
    site.sync().expect(0)
    for name in names:
        site.assert_good(name, A)


@pytest.mark.parametrize("row", ["sign-in page", "sign-in page called gzip", "a page as long as the file"])
def test_impostor_answers_the_resume(origin: Origin, site: Workplace, row: str) -> None:
    """engines 2, "HTML 200 page answers the range request": not appended, and what was there is not lost."""
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.cut(CUT))
    rule = origin.on(PATH, PAGES[row], resume=True)
    site.sync().expect(0)
    site.assert_good("a", A)
    assert rule.fired


def test_impostor_as_206(origin: Origin, site: Workplace) -> None:
    """engines finding 6 and aria2#1115: an error page inside the file; a 206 text/html is not the rest."""
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.cut(CUT))

    def behave(turn: Turn) -> None:
        turn.reply.body = memoryview(f.HTML.ljust(len(turn.reply.body)))
        turn.reply.set("Content-Type", "text/html")

    rule = origin.on(PATH, behave, resume=True)
    site.sync().expect(0)
    site.assert_good("a", A)
    assert rule.fired


def test_html_with_a_pin_is_judged_by_the_pin(origin: Origin, site: Workplace) -> None:
    """4.6: text/html is refused with no pinned hash; pinned, it is what the operator wants."""
    page = f.HTML * 500
    url = origin.put("/model.html", page, content_type="text/html")
    site.one(url, sha256=sha256(page))
    site.sync().expect(0)
    site.assert_good("a", page)


def test_right_bytes_called_html_with_a_pin(origin: Origin, site: Workplace) -> None:
    """4.6: a server that mislabels the pinned archive does no harm."""
    site.one(origin.put(PATH, A, content_type="text/html"), sha256=sha256(A))
    site.sync().expect(0)
    site.assert_good("a", A)


def test_file_that_is_no_archive(origin: Origin, site: Workplace) -> None:
    """4.6: the magic is asked of .gz, .tgz and .tar.gz only; a .bin may begin as it likes."""
    body = b"\x00\x01\x02" * 50_000
    site.one(origin.put("/model.bin", body, content_type="application/octet-stream"))
    site.sync().expect(0)
    site.assert_good("a", body)


def test_page_for_a_file_that_is_no_archive(origin: Origin, site: Workplace) -> None:
    """4.6: never let an HTML body set size or hash in the lock."""
    site.one(origin.put("/model.bin", A))
    origin.on("/model.bin", f.page(), times=None)
    site.sync().expect(1)
    site.assert_absent("a")


NAMES = [
    "attachment; filename=../../etc/passwd",
    "attachment; filename*=UTF-8''..%2f..%2fetc%2fcron.d%2fx",
    "attachment; filename=/tmp/evil.tar.gz",
    'attachment; filename="-rf"',
    'attachment; filename="."',
    'attachment; filename=""',
    'attachment; filename="other.tar.gz"',
]


def test_content_disposition_names_nothing(tmp_path: Path) -> None:
    """4.6: the store name comes only from the manifest; the header is ignored."""
    with Batch(tmp_path, NAMES) as batch:
        for value, origin in batch.origin.items():
            origin.put(PATH, A, headers=[("Content-Disposition", value)])
        batch.sync()
        batch.site.check_invariants()
        for value, name in batch.names.items():
            batch.assert_good(value, A)
            assert batch.site.file(name).name == "a.tar.gz"
            assert batch.entry(value)["path"] == str(batch.site.file(name))


def test_control_characters_of_an_error_page_are_escaped(origin: Origin, site: Workplace) -> None:
    """1, Errors: the XML code and message may be shown, control characters may not."""
    evil = b"<Error><Code>AccessDenied</Code><Message>\x1b[2J\x07boo\x1b]0;pwned\x07</Message></Error>"
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.page(evil, status=403, content_type="application/xml"), times=None)
    run = site.sync().expect(1)
    plain = site.run("sync").expect(1)
    assert not {"\x1b", "\x07"} & set(run.err + run.message("a") + plain.out + plain.err)
    assert len(origin.requests()) < 6


def test_permanent_refusals_are_not_hammered(tmp_path: Path) -> None:
    """1, Errors: permanent in one run; the message names the status; one request, or two."""
    with Batch(tmp_path, ["401", "403", "404", "410", "451"]) as batch:
        for status, origin in batch.origin.items():
            origin.put(PATH, A)
            origin.on(PATH, f.status(int(status)), times=None, method=None)
        batch.sync()
        for status, origin in batch.origin.items():
            batch.assert_failed(status, "origin")
            assert status in batch.message(status)
            assert len(origin.requests()) <= 2


EMPTY: dict[str, tuple[dict[str, str], tuple[Behaviour, ...], bool]] = {  # pins, how it comes, whether it is taken
    "nothing is known": ({}, (), False),
    "nothing is known, chunked": ({}, (f.chunked(),), False),
    "nothing is known, no length": ({}, (f.no_length(),), False),
    "its sha256": ({"sha256": sha256(b"")}, (), True),
    "its sha256, chunked": ({"sha256": sha256(b"")}, (f.chunked(),), True),
}


@pytest.mark.parametrize("row", EMPTY)
def test_an_empty_body_is_a_file_only_if_somebody_said_so(origin: Origin, site: Workplace, row: str) -> None:
    """Nobody publishes empty checkpoints; a status of 200 alone must not lock one."""
    pins, behaviours, taken = EMPTY[row]
    site.one(origin.put("/a.bin", b""), "a", **pins)
    origin.on("/a.bin", *behaviours, times=None)
    run = site.sync().expect(0 if taken else 1)
    if taken:
        site.assert_good("a", b"")
    else:
        assert run.kind("a") == "origin"
        site.assert_absent("a")


def test_an_empty_body_once(origin: Origin, site: Workplace) -> None:
    """It is gone around, as a page is."""
    site.one(origin.put("/a.bin", A))
    origin.on("/a.bin", f.page(b"", content_type="application/octet-stream"))
    site.sync().expect(0)
    site.assert_good("a", A)
