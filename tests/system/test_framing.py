"""How bodies begin and end on the wire (origins.md 0.1, 0.2, 0.4, 0.5, 4.3): nothing cut passes for whole."""

from __future__ import annotations

import gzip
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faults as f
import pytest
from digests_of import crc32c
from origin import Behaviour, Hold, Origin, Origins, Turn
from workplace import Batch, Workplace, sha256, tgz

A = tgz(260_000, 1)
CRC32C = crc32c(A)
FORGED = tgz(260_000, 666)
CUT = 100_000
PATH = "/a.tar.gz"
BOUND = 20  # requests that a run with `retries = 2` may at most make for one file

CUTS: dict[str, tuple[Behaviour, ...]] = {
    "length, FIN": (f.cut(CUT),),
    "length, RST": (f.cut(CUT, "rst"),),
    "length, FIN right behind the bytes": (f.cut(CUT, after=0),),
    "length, RST right behind the bytes": (f.cut(CUT, "rst", after=0),),
    "length, nothing at all": (f.cut(0),),
    "chunked, no last chunk": (f.chunked(last_chunk=False), f.cut(CUT)),
    "chunked, only the last chunk missing": (f.chunked(last_chunk=False),),
    "chunked, RST": (f.chunked(), f.cut(CUT, "rst")),
}


@pytest.fixture(scope="module")
def cut_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    with Batch(tmp_path_factory.mktemp("once"), CUTS) as batch:
        for row, origin in batch.origin.items():
            origin.put(PATH, A)
            origin.on(PATH, *CUTS[row])
        batch.sync()
        yield batch


@pytest.fixture(scope="module")
def cut_for_ever(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    with Batch(tmp_path_factory.mktemp("forever"), CUTS) as batch:
        for row, origin in batch.origin.items():
            origin.put(PATH, A)
            origin.on(PATH, f.ignores_range(), *CUTS[row], times=None)
        batch.sync()
        yield batch


@pytest.mark.parametrize("row", CUTS)
def test_cut_once_is_mended(cut_once: Batch, row: str) -> None:
    """4.3 rows 1-3: transient; the bytes written are kept."""
    cut_once.assert_good(row, A)


@pytest.mark.parametrize("row", CUTS)
def test_cut_for_ever_is_given_up(cut_for_ever: Batch, row: str) -> None:
    """4.3 rows 1-3 and I5: every answer ends at the same byte; a failure, nothing published."""
    cut_for_ever.assert_failed(row, "network", "origin")
    assert len(cut_for_ever.origin[row].requests()) <= BOUND


def test_chunked_whole_is_good(origin: Origin, site: Workplace) -> None:
    """4.3: chunked framing has an end of its own; no length is needed."""
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.chunked(), times=None)
    site.sync().expect(0)
    site.assert_good("a", A)


# ---- 0.1: no Content-Length, no chunks


def test_close_delimited_and_nothing_known_is_refused(tmp_path: Path) -> None:
    """0.1: a body without length is not committed unless its size is confirmed from somewhere else."""
    ends: dict[str, tuple[Behaviour, ...]] = {"fin": (f.cut(CUT),), "rst": (f.cut(CUT, "rst"),), "whole": ()}
    with Batch(tmp_path, ends) as batch:
        for end, origin in batch.origin.items():
            origin.put(PATH, A)
            origin.on(PATH, f.no_length(), *ends[end], times=None)
        batch.sync()
        for end, origin in batch.origin.items():
            batch.assert_failed(end, "network", "origin")
            assert len(origin.requests()) <= BOUND


CONFIRMED = {
    f"{how}, {confirmed}": (how, confirmed)
    for how in ("fin", "rst", "whole")
    for confirmed in ("size", "sha256", "stored length", "x-goog-hash")
}


@pytest.fixture(scope="module")
def close_delimited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    pins: dict[str, dict[str, Any]] = {"size": {"size": len(A)}, "sha256": {"sha256": sha256(A)}}
    headers = {
        "stored length": [("x-goog-stored-content-length", str(len(A)))],
        "x-goog-hash": [("x-goog-hash", f"crc32c={CRC32C}")],
    }
    with Batch(tmp_path_factory.mktemp("close"), CONFIRMED) as batch:
        for row, (how, confirmed) in CONFIRMED.items():
            batch.origin[row].put(PATH, A, headers=headers.get(confirmed, []))
            batch.origin[row].on(PATH, f.no_length(), times=None)
            if how != "whole":
                batch.origin[row].on(PATH, f.cut(CUT, "rst" if how == "rst" else "fin"))
        batch.sync({row: pins.get(confirmed, {}) for row, (_, confirmed) in CONFIRMED.items()})
        yield batch


@pytest.mark.parametrize("row", CONFIRMED)
def test_close_delimited_with_a_confirmation(close_delimited: Batch, row: str) -> None:
    """0.1 and the short 200 of section 1: confirmed from elsewhere it is good; cut, it is fetched again."""
    close_delimited.assert_good(row, A)


def test_close_delimited_on_resume(origin: Origin, site: Workplace) -> None:
    """0.1: the rest comes as a 206 without Content-Length; its Content-Range says how long it must be."""
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.cut(CUT))
    origin.on(PATH, f.no_length(), f.cut(50_000), resume=True)
    site.sync().expect(0)
    site.assert_good("a", A)


@pytest.mark.parametrize("pinned", [False, True], ids=["nothing known", "size pinned"])
def test_tls_that_ends_without_close_notify(
    origins: Origins, site: Workplace, tls: ssl.SSLContext, ca_file: Path, pinned: bool
) -> None:
    """0.1: TLS cut short without close_notify is not an end."""
    site.env["SSL_CERT_FILE"] = str(ca_file)
    origin = origins.new(tls=tls)
    pins: dict[str, Any] = {"size": len(A)} if pinned else {}
    site.one(origin.put(PATH, A), **pins)
    origin.on(PATH, f.no_length(), f.cut(CUT), times=2 if pinned else None)
    run = site.sync()
    if pinned:
        run.expect(0)
        site.assert_good("a", A)
    else:
        run.expect(1)
        site.assert_absent("a")


def test_tls_with_lengths_cut_and_resumed(
    origins: Origins, site: Workplace, tls: ssl.SSLContext, ca_file: Path
) -> None:
    """4.3 row 1 over TLS, under our own CA given by SSL_CERT_FILE."""
    site.env["SSL_CERT_FILE"] = str(ca_file)
    origin = origins.new(tls=tls)
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.cut(CUT))
    site.sync().expect(0)
    site.assert_good("a", A)
    assert origin.body_bytes() == len(A)


def test_unknown_certificate_is_refused_at_once(origins: Origins, site: Workplace, tls: ssl.SSLContext) -> None:
    """7, error classes: TLS certificate errors are permanent; no request is made."""
    origin = origins.new(tls=tls)
    site.one(origin.put(PATH, A))
    run = site.sync().expect(1)
    assert run.kind("a") in {"network", "origin", "policy"}
    assert "certificate" in run.message("a").lower()
    assert not origin.requests()
    site.assert_absent("a")


# ---- 0.2: coded bodies


def test_coded_body_is_refused(origin: Origin, site: Workplace) -> None:
    """0.2: `Content-Encoding: gzip` though identity was asked; no such body is kept, decoded or not."""
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.gzip_coded(), times=None)
    site.sync().expect(1)
    site.assert_absent("a")


def test_coded_body_once(origin: Origin, site: Workplace) -> None:
    """0.2: a single coded answer is gone around."""
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.gzip_coded())
    site.sync().expect(0)
    site.assert_good("a", A)


LABELS: dict[str, tuple[dict[str, str], bool]] = {  # headers; whether the file is pinned
    "gzip": ({"Content-Encoding": "gzip"}, False),
    "x-gzip": ({"Content-Encoding": "x-gzip"}, False),
    "gzip, pinned": ({"Content-Encoding": "gzip"}, True),
    "passthrough that nobody asked for": (
        {"Content-Encoding": "gzip", "x-goog-stored-content-encoding": "gzip", "x-goog-hash": f"crc32c={CRC32C}"},
        False,
    ),
}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    """Archives whose name ends as they are coded, labelled so; the first answer is cut."""
    with Batch(tmp_path_factory.mktemp("labelled"), LABELS) as batch:
        for row, origin in batch.origin.items():
            origin.put(PATH, A)
            origin.on(PATH, *(f.header(name, value) for name, value in LABELS[row][0].items()), times=None, method=None)
            origin.on(PATH, f.cut(CUT))
        batch.sync({row: {"sha256": sha256(A)} for row, (_, pinned) in LABELS.items() if pinned})
        yield batch


@pytest.mark.parametrize("row", LABELS)
def test_a_label_of_the_file_itself(labelled: Batch, row: str) -> None:
    """0.2: servers name an archive's own coding; its bytes are kept as they come, never decoded, never spliced."""
    labelled.assert_good(row, A)
    assert len(labelled.origin[row].requests(method="GET")) < 8


def test_a_label_of_the_file_itself_is_no_drift(labelled: Batch) -> None:
    """0.2: what `sync` took, `drift` knows again."""
    run = labelled.site.run("drift", "--json").expect(0)
    assert {each["state"] for each in run.report["checkpoints"]} == {"same"}


def test_plain_parts_of_a_coded_body_are_not_spliced(origin: Origin, site: Workplace) -> None:
    """0.2 and 4.1: whole bodies are coded, parts are not, and one strong ETag is on both: begun again instead."""
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.header("Content-Encoding", "gzip"), times=None, ranged=False)
    origin.on(PATH, f.flip(CUT + 10), times=None, ranged=True)  # other bytes, of the same number
    origin.on(PATH, f.cut(CUT))
    site.sync().expect(0)
    site.assert_good("a", A)
    assert len(origin.requests()) > 2


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_coded_body_that_is_not_what_is_pinned(origin: Origin, site: Workplace, framing: str) -> None:
    """0.2: what a proxy coded is refused as that; it is no damage, and nothing of it is kept."""
    site.one(origin.put("/a.bin", A), sha256=sha256(A))
    spoil = (f.gzip_coded(), f.chunked()) if framing == "chunked" else (f.gzip_coded(),)
    origin.on("/a.bin", *spoil, times=None)
    run = site.sync().expect(1)
    assert "coded body (gzip)" in run.message("a")
    site.assert_absent("a")


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_gcs_decompressive_transcoding(origin: Origin, site: Workplace, framing: str) -> None:
    """1, transcoding: the stored bytes are asked for with `Accept-Encoding: gzip`, kept raw, proven."""
    tar = gzip.decompress(A)

    def transcode(turn: Turn) -> None:
        reply = turn.reply
        if "gzip" in (turn.request.header("accept-encoding") or ""):
            reply.set("Content-Encoding", "gzip")
            if framing == "chunked":
                f.chunked()(turn)
        else:
            reply.status, reply.body = 200, memoryview(tar)
            f.chunked()(turn)
            f.drop("ETag", "Content-Range")(turn)

    stored = [
        ("x-goog-stored-content-encoding", "gzip"),
        ("x-goog-stored-content-length", str(len(A))),
        ("x-goog-hash", f"crc32c={CRC32C}"),
        ("x-goog-generation", "1700000000000001"),
    ]
    site.one(origin.put(PATH, A, headers=stored))
    origin.on(PATH, transcode, times=None)
    site.sync().expect(0)
    site.assert_good("a", A)


# ---- 0.4: origins that never end


@pytest.mark.slow
def test_header_deadline(tmp_path: Path) -> None:
    """0.4: there is a deadline for the header however lively the origin is; once, it is mended."""
    behaviours = {
        "header never ends": f.endless(b"X", b"HTTP/1.1 200 OK\r\nX-Long: "),
        "endless 100 Continue": f.endless(b"HTTP/1.1 100 Continue\r\n\r\n"),
        "silence": f.hold(-1, Hold()),
        "endless header lines": f.endless(b"X-More: y\r\n", b"HTTP/1.1 200 OK\r\n"),
    }
    with Batch(tmp_path, behaviours) as batch:
        for row, origin in batch.origin.items():
            origin.put(PATH, A)
            origin.on(PATH, behaviours[row])
        batch.sync()
        for row in behaviours:
            batch.assert_good(row, A)


@pytest.mark.slow
def test_header_deadline_for_ever(origin: Origin, site: Workplace) -> None:
    """0.4, I5: an origin that never finishes a header is given up."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, transfer={"retries": 1})
    origin.on(PATH, f.endless(b"HTTP/1.1 100 Continue\r\n\r\n"), times=None)
    run = site.sync().expect(1)
    assert run.kind("a") == "network"
    assert len(origin.requests()) <= BOUND


def test_stall_mid_body_is_resumed(origin: Origin, site: Workplace) -> None:
    """4.3 "stall": the bytes written are kept, the connection is given up, the rest is asked for."""
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.hold(CUT, Hold()))
    site.sync().expect(0)
    site.assert_good("a", A)
    assert [x for x in origin.requests() if x.range and x.range[0] > 0], "it began again"


@pytest.mark.slow
def test_slow_drip_is_a_stall(origin: Origin, site: Workplace) -> None:
    """0.4: a byte now and then keeps a read timeout alive; the minimum rate ends it."""
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.pace(1, 0.05), times=2)
    site.sync().expect(0)
    site.assert_good("a", A)


# ---- 0.5: stray responses on a kept-alive connection


def forged(body: bytes, *headers: str) -> bytes:
    """A whole response that nobody asked for."""
    lines = ["HTTP/1.1 200 OK", "Content-Type: application/gzip", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def six(origin: Origin, site: Workplace, *, pinned: bool = False) -> dict[str, bytes]:
    """Six small checkpoints, one after the other, so that one connection could serve them all."""
    bodies = {f"m{number}": tgz(50_000, 10 + number) for number in range(6)}
    entries: list[dict[str, object]] = [
        {"name": name, "url": origin.put(f"/{name}.tgz", body)} for name, body in bodies.items()
    ]
    if pinned:
        for entry, body in zip(entries, bodies.values(), strict=True):
            entry["sha256"] = sha256(body)
    site.write(*entries, transfer={"downloads": 1, "connections": 1, "connections_per_host": 1, "retries": 4})
    return bodies


BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("what", ["a file", "a 400"])
def test_stray_response_in_the_same_packet(origin: Origin, site: Workplace, what: str) -> None:
    """0.5, 4.3: what follows a body is no answer to anything."""
    bodies = six(origin, site)
    origin.on("*", f.stray(forged(FORGED) if what == "a file" else BAD_REQUEST, "same packet"), times=None)
    site.sync().expect(0)
    for name, body in bodies.items():
        site.assert_good(name, body)


def test_stray_response_while_the_connection_waits(origin: Origin, site: Workplace) -> None:
    """0.5, aiohttp#13656: it meets a connection that is kept for later, and must not answer the next request."""
    bodies = six(origin, site)
    origin.on("/m1.tgz", f.later(503, "1"), f.stray(forged(FORGED), "later"))
    site.sync().expect(0)
    for name, body in bodies.items():
        site.assert_good(name, body)


def test_stray_file_one_request_later_against_a_pin(origin: Origin, site: Workplace) -> None:
    """0.5: it answers the next request, and the pin refuses it; asked again, the right file comes."""
    bodies = six(origin, site, pinned=True)
    origin.on("/m1.tgz", f.stray(forged(FORGED), "next request"))
    site.sync().expect(0)
    for name, body in bodies.items():
        site.assert_good(name, body)


def test_stray_400_one_request_later(origin: Origin, site: Workplace) -> None:
    """0.5: most strays are 400s (nginx, Azure Front Door); on a connection used before, one proves nothing."""
    bodies = six(origin, site)
    origin.on("*", f.stray(BAD_REQUEST, "next request"), times=None)
    site.sync().expect(0)
    for name, body in bodies.items():
        site.assert_good(name, body)


def test_stray_file_one_request_later(origin: Origin, site: Workplace) -> None:
    """0.5, 7: nothing is pinned and nothing in the answer tells it from the right one: a connection of its own
    for what cannot be checked is what avoids it."""
    bodies = six(origin, site)
    origin.on("*", f.stray(forged(FORGED), "next request"), times=None)
    site.sync().expect(0)
    for name, body in bodies.items():
        site.assert_good(name, body)


@pytest.mark.slow
def test_stray_partial_response_is_not_believed(origin: Origin, site: Workplace) -> None:
    """0.5: asked `bytes=10-`, got the answer to something else of the same length: not written."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, transfer={"connections": 1})
    origin.on(PATH, f.cut(CUT))
    other = b"".join(
        [
            b"HTTP/1.1 206 Partial Content\r\nContent-Type: application/gzip\r\n",
            f"Content-Range: bytes 0-9999/{len(A)}\r\nContent-Length: 10000\r\n\r\n".encode(),
            A[:10_000],
        ]
    )
    origin.on(PATH, f.sends(0, 9_999, from_asked=True), f.stray(other, "next request"), times=None, resume=True)
    site.sync().expect(0)
    site.assert_good("a", A)


# ---- malformed heads


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode()


MALFORMED = {
    "two lengths": head("HTTP/1.1 200 OK", f"Content-Length: {len(A)}", "Content-Length: 10") + A,
    "length and chunked": head("HTTP/1.1 200 OK", "Content-Length: 10", "Transfer-Encoding: chunked")
    + b"5\r\nhello\r\n0\r\n\r\n",
    "negative length": head("HTTP/1.1 200 OK", "Content-Length: -5") + A,
    "enormous length": head("HTTP/1.1 200 OK", f"Content-Length: {'9' * 30}") + A,
    "garbage status line": b"\x16\x03\x01 not http at all\r\n\r\n" + A,
    "no status line, the file itself": A,
    "bad chunk size": head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"zz\r\n" + A,
    "header line of 300 KB": head("HTTP/1.1 200 OK", f"X-Big: {'x' * 300_000}", f"Content-Length: {len(A)}") + A,
    "nothing": b"",
}


def malformed(root: Path, times: int | None) -> Iterator[Batch]:
    with Batch(root, MALFORMED) as batch:
        for row, origin in batch.origin.items():
            origin.put(PATH, A)
            origin.on(PATH, f.raw(MALFORMED[row]), times=times)
        batch.sync()
        yield batch


@pytest.fixture(scope="module")
def malformed_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    yield from malformed(tmp_path_factory.mktemp("once"), 1)


@pytest.fixture(scope="module")
def malformed_for_ever(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    yield from malformed(tmp_path_factory.mktemp("forever"), None)


@pytest.mark.parametrize("row", MALFORMED)
def test_malformed_once(malformed_once: Batch, row: str) -> None:
    """4.3: a malformed answer is transient."""
    if row == "enormous length" and malformed_once.entry(row)["error"] is not None:
        malformed_once.assert_failed(row, "policy")  # read as a number it is beyond `max_size`
    else:
        malformed_once.assert_good(row, A)


@pytest.mark.parametrize("row", MALFORMED)
def test_malformed_for_ever(malformed_for_ever: Batch, row: str) -> None:
    """4.3: a few times, then a failure, which is not told as "the origin said 400"."""
    malformed_for_ever.assert_failed(row, "network", "origin", "policy")
    assert not re.search(r"\b400\b", malformed_for_ever.message(row))
    assert len(malformed_for_ever.origin[row].requests()) <= BOUND


def test_early_hints(origin: Origin, site: Workplace) -> None:
    """4.3: 103 Early Hints, then 200."""
    site.one(origin.put(PATH, A))
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    origin.on(PATH, f.before(hints * 3), times=None)
    site.sync().expect(0)
    site.assert_good("a", A)


def test_keepalive_closed_under_the_request(origin: Origin, site: Workplace) -> None:
    """4.3, last row: the origin hangs up instead of answering on a connection it kept alive."""
    names = [f"m{number}" for number in range(4)]
    site.write(
        *({"name": name, "url": origin.put(f"/{name}.tgz", A)} for name in names),
        transfer={"downloads": 1, "connections": 1, "connections_per_host": 1},
    )
    origin.on("/m1.tgz", f.raw(b""))
    site.sync().expect(0)
    for name in names:
        site.assert_good(name, A)


# ---- too much


def test_body_beyond_max_size_by_its_length(origin: Origin, site: Workplace) -> None:
    """`transfer.max_size`: refused by the header, no body read."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, transfer={"max_size": 50_000})
    origin.on(PATH, f.pace(20_000, 0.05), times=None)
    run = site.sync().expect(1)
    assert run.kind("a") == "policy"
    site.assert_absent("a")
    assert len(origin.requests()) <= 3
    assert origin.body_bytes() < len(A)


def test_endless_body_is_bounded(origin: Origin, site: Workplace) -> None:
    """I5: a chunked body without end stops at `max_size`; the disk is not filled."""
    endless = f.endless(
        b"10000\r\n" + b"x" * 65536 + b"\r\n",
        head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"2\r\n\x1f\x8b\r\n1\r\n\x08\r\n",
    )
    site.write({"name": "a", "url": origin.put(PATH, A)}, transfer={"max_size": "1 MiB"})
    origin.on(PATH, endless, times=None)
    site.sync().expect(1)
    site.assert_absent("a")
    assert site.state_bytes() < 8_000_000


def test_size_pin_that_disagrees_with_the_header(origin: Origin, site: Workplace) -> None:
    """`size` in the manifest is a pin: another length is refused before the body is read whole."""
    site.one(origin.put(PATH, A), size=len(A) - 1)
    site.sync().expect(1, 3)
    site.assert_absent("a")
