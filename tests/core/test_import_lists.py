"""Lists that programs write: SHA256SUMS, pooch registries, aria2 input, URLs, Metalink; and which of them a text is."""

from __future__ import annotations

import codecs

import pytest

from ckptd.core.imports.candidates import Candidate, Skipped
from ckptd.core.imports.formats import Format, decode, recognise
from ckptd.core.imports.lists import read_registry, read_sums
from ckptd.core.imports.metalink import read as read_metalink
from ckptd.core.imports.uris import read_uris
from ckptd.errors import ConfigError

A, B = "a" * 64, "b1" * 32
BASE = "https://h/zoo/"


SUMS = {
    "text mode": f"{A}  a.pth\n{B}  d/b.pth\n",
    "binary mode, upper case, windows": f"{A.upper()} *a.pth\r\n{B} *./d/b.pth\r\n",
    "bsd": f"SHA256 (a.pth) = {A}\nSHA256 (d/b.pth) = {B}\n",
    "comments and blank lines": f"# made by hand\n\n{A}  a.pth\n\n{B}  d//b.pth",
    "the same line twice": f"{A}  a.pth\n{A}  a.pth\n{B}  d/b.pth\n",
}


@pytest.mark.parametrize("row", SUMS)
def test_sums(row: str) -> None:
    found = [(each.url, each.sha256, each.file_name) for each in read_sums(SUMS[row], BASE).candidates]
    assert found == [(f"{BASE}a.pth", A, "a.pth"), (f"{BASE}d/b.pth", B, "b.pth")]
    assert recognise(SUMS[row]) is Format.SHA256SUMS


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("a b%20.pth", "a%20b%2520.pth"),
        ("é?#.pth", "%C3%A9%3F%23.pth"),
        ("a (1).pth", "a%20(1).pth"),
    ],
)
def test_names_of_sums_are_literal(name: str, url: str) -> None:
    assert read_sums(f"{A}  {name}\n", BASE).candidates[0].url == BASE + url


def test_escaped_names_of_sums() -> None:
    assert read_sums(f"\\{A}  a\\\\b.pth\n", BASE).candidates[0].url == f"{BASE}a%5Cb.pth"


WRONG_SUMS = {
    "md5": (f"{'a' * 32}  a.pth", ["line 1", "an MD5", "only a SHA-256"]),
    "sha512": (f"\n{'a' * 128}  a.pth", ["line 2", "a SHA-512"]),
    "bsd of another kind": (f"SHA512-256 (a.pth) = {A}", ["line 1"]),
    "out of the folder": (f"{A}  ../a.pth", ["line 1", "leads out"]),
    "absolute": (f"{A}  /etc/a.pth", ["line 1", "leads out"]),
    "prose": (f"{A}  a.pth\nhello there", ["line 2", "hello there"]),
    "two digests for one file": (f"{A}  a.pth\n{B}  b.pth\n\n{B}  ./a.pth", ["line 4", "a.pth", "line 1"]),
}


@pytest.mark.parametrize("row", WRONG_SUMS)
def test_wrong_sums(row: str) -> None:
    text, words = WRONG_SUMS[row]
    with pytest.raises(ConfigError) as caught:
        read_sums(text, BASE)
    for word in words:
        assert word in caught.value.message


def test_sums_need_a_base() -> None:
    with pytest.raises(ConfigError) as caught:
        read_sums(f"{A}  a.pth", None)
    assert "--base" in caught.value.hint


def test_many_wrong_lines_are_counted() -> None:
    with pytest.raises(ConfigError) as caught:
        read_sums("nonsense\n" * 100, BASE)
    assert len(caught.value.message.splitlines()) == 11
    assert "90 more" in caught.value.message


def test_registry() -> None:
    text = f"# pooch\na.pth sha256:{A}\nd/b.pth {B} https://g/x/b.pth\nc.pth md5:{'c' * 32}\n"
    found = read_registry(text, BASE)
    assert [(each.url, each.sha256) for each in found.candidates] == [
        (f"{BASE}a.pth", A),
        ("https://g/x/b.pth", B),
        (f"{BASE}c.pth", None),
    ]
    assert len(found.notes) == 1
    assert recognise(text) is Format.POOCH


@pytest.mark.parametrize(
    ("text", "base", "word"),
    [
        (f"a.pth {A}", None, "--base"),
        (f"a.pth {'a' * 32}", BASE, "32 digits"),
        (f"a.pth {A} b.pth", None, "not a whole URL"),
        (f"../a.pth {A}", BASE, "leads out"),
        ("a.pth", BASE, "line 1"),
        (f'"a b.pth {A}', BASE, "line 1"),
        (f"a.pth {A} https://[x]/a.pth", None, "line 1.*usable"),
        (f"a.pth {A}\na.pth {B}", BASE, "line 2.*line 1"),
    ],
)
def test_wrong_registry(text: str, base: str | None, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        read_registry(text, base)


QUOTED = {
    "double quotes": ('"a b.pth"', "a%20b.pth"),
    "single quotes": ("'a b.pth'", "a%20b.pth"),
    "a backslash": ("a\\ b.pth", "a%20b.pth"),
    "a quote that stays open": ("it's.pth", "it's.pth"),
}


@pytest.mark.parametrize("row", QUOTED)
def test_names_in_quotes(row: str) -> None:
    name, url = QUOTED[row]
    text = f"{name} sha256:{A} https://g/x/y.pth\n{name} {A}\n"
    found = read_registry(text, BASE).candidates
    assert [(each.url, each.sha256) for each in found] == [("https://g/x/y.pth", A), (BASE + url, A)]
    assert recognise(text) is Format.POOCH


def test_short_digests_of_other_kinds_are_no_pins() -> None:
    found = read_registry(f"a.pth xxh64:{'a' * 16}\nb.pth {B}\n", BASE)
    assert [each.sha256 for each in found.candidates] == [None, B]


NEARLY = {
    "a registry": (f"a.pth sha256:{A}\nb c.pth {B}\nd.pth {B}\n", Format.POOCH),
    "a registry with prose": (f"a.pth sha256:{A}\nd.pth {B}\nfiles of the zoo\n", Format.POOCH),
    "digests": (f"{A}  a.pth\n{A[1:]}  b.pth\n{B}  c.pth\n", Format.SHA256SUMS),
    "urls": ("https://h/a.pth\nnot a url\n", Format.ARIA2),
    "a page that ends with digests": (f"# Zoo\nSome words.\n{A}  a.pth\nAnd more.\nAnd more.\n", Format.MARKDOWN),
    "a page with urls": ("Take these:\nhttps://h/a.pth\nhttps://h/b.pth\n", Format.MARKDOWN),
    "a page of urls and what they are": ("https://h/a.pth\nhttps://h/b.pth is the other\n", Format.MARKDOWN),
}


@pytest.mark.parametrize("row", NEARLY)
def test_nearly_a_list(row: str) -> None:
    text, wanted = NEARLY[row]
    assert recognise(text, "list.txt") is wanted


def test_aria2_input() -> None:
    text = (
        "# with mirrors\n"
        f"https://h/a.pth\thttps://m/a.pth\tftp://f/a.pth\n  checksum=sha-256={A.upper()}\n  out=dir/one.pth\n"
        "  header=Authorization: Bearer hunter2\n  http-passwd=hunter2\n"
        "https://h/b.pth\n\tchecksum=md5=abcdef\n"
        "magnet:?xt=urn:btih:x\n"
    )
    found = read_uris(text)
    assert found.candidates == (
        Candidate("https://h/a.pth", ("https://m/a.pth",), A, file_name="one.pth"),
        Candidate("https://h/b.pth"),
    )
    assert found.skipped == (
        Skipped("ftp://f/a.pth", "cannot be fetched from there"),
        Skipped("magnet:", "cannot be fetched from there"),
    )
    assert "hunter2" not in repr(found)
    assert recognise(text) is Format.ARIA2


def test_a_list_of_urls() -> None:
    text = "https://h/a\n\n  gs://b/o.zip\n# no\nhf://o/r@v/m.bin\nhttps://h/a\n"
    assert [each.url for each in read_uris(text).candidates] == ["https://h/a", "gs://b/o.zip", "hf://o/r@v/m.bin"]
    assert recognise(text) is Format.ARIA2


def test_words_between_urls_are_told() -> None:
    found = read_uris("https://h/a\nthe other one\nhttps://h/b\nhttp-passwd=hunter2\n")
    assert found.candidates == (Candidate("https://h/a"), Candidate("https://h/b"))
    assert [note.partition(":")[0] for note in found.notes] == ["line 2", "line 4"]
    assert "hunter2" not in repr(found)


def test_hosts_that_cannot_be_are_told() -> None:
    found = read_uris("https://[x]/a.pth\nhttps://h/b.pth\thttps://[::1/b.pth\n")
    assert found.candidates == (Candidate("https://h/b.pth"),)
    assert [each.reason[-8:] for each in found.skipped] == ["(line 1)", "(line 2)"]


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "https://h/a b",
        " out=x",
        "https://h/a\nhttps://h/b c",
        "https://h/a\n checksum=sha-256=zz",
        f"https://h/a\n checksum=sha-256={'a' * 63}",
        "https://h/a\n checksum=zz",
        f"https://h/a\n checksum=sha-256={A}\nhttps://h/a\n checksum=sha-256={B}",
    ],
)
def test_wrong_list_of_urls(text: str) -> None:
    with pytest.raises(ConfigError, match=r"line [123]"):
        read_uris(text)


METALINK = f"""\
<?xml version="1.0" encoding="ISO-8859-1"?>
<metalink xmlns="urn:ietf:params:xml:ns:metalink">
  <file name="zoo/one.pth">
    <identity>Net</identity><version>2</version>
    <size>12345</size>
    <hash type="sha-1">{"c" * 40}</hash>
    <hash type="sha-256">{A.upper()}</hash>
    <pieces length="10" type="sha-256"><hash>{B}</hash></pieces>
    <url>https://last/one.pth</url>
    <url priority="2" location="de">https://second/one.pth</url>
    <url priority="1">https://first/one.pth</url>
    <url priority="1">ftp://first/one.pth</url>
    <metaurl mediatype="torrent">https://h/one.torrent</metaurl>
  </file>
  <file name="two.pth"><description> The
    other </description><hash type="md5">{"d" * 32}</hash><url>https://h/two.pth</url></file>
  <file name="three.pth"><url>ftp://h/three.pth</url></file>
</metalink>
"""


def test_metalink() -> None:
    found = read_metalink(METALINK)
    assert found.candidates == (
        Candidate(
            "https://first/one.pth",
            ("https://second/one.pth", "https://last/one.pth"),
            A,
            12345,
            "one.pth",
            title="Net 2",
            description="Net 2",
        ),
        Candidate("https://h/two.pth", file_name="two.pth", description="The other"),
    )
    assert [each.url for each in found.skipped] == ["ftp://first/one.pth", "ftp://h/three.pth"]
    assert len(found.notes) == 2
    assert recognise(METALINK, "list.xml") is Format.METALINK


HEAD = '<metalink xmlns="urn:ietf:params:xml:ns:metalink">'
WRONG_METALINKS = {
    "not well-formed": (f"{HEAD}<file>", "well-formed"),
    "version 3": ('<metalink version="3.0" xmlns="http://www.metalinker.org/"/>', "version 3"),
    "something else": ("<html/>", "html"),
    "an entity": (
        f'<!DOCTYPE metalink [<!ENTITY x SYSTEM "file:///etc/passwd">]>{HEAD}&x;</metalink>',
        "document type",
    ),
    "an entity without a type": (f"{HEAD}<file name='a'>&x;</file></metalink>", "well-formed"),
    "a short digest": (
        f'{HEAD}<file name="a"><hash type="sha-256">abc</hash><url>https://h/a</url></file></metalink>',
        "line 1: .*SHA-256",
    ),
    "two digests": (
        (
            f'{HEAD}<file name="a"><hash type="sha-256">{A}</hash><url>https://h/a</url></file>'
            f'<file name="b"><hash type="sha-256">{B}</hash><url>https://h/a</url></file></metalink>'
        ),
        '"b".*another SHA-256',
    ),
    "nothing": ("", "well-formed"),
    "too deep": (HEAD + "<file>" * 5000, "well-formed"),
}


@pytest.mark.parametrize("row", WRONG_METALINKS)
def test_wrong_metalink(row: str) -> None:
    text, words = WRONG_METALINKS[row]
    with pytest.raises(ConfigError, match=words):
        read_metalink(text)


def test_a_url_of_metalink_that_cannot_be() -> None:
    text = f'{HEAD}<file name="a"><url>https://[x]/a</url><url>https://h/a</url></file></metalink>'
    found = read_metalink(text)
    assert [each.url for each in found.candidates] == ["https://h/a"]
    assert ["usable" in each.reason for each in found.skipped] == [True]


@pytest.mark.parametrize(
    ("size", "found"), [("1", 1), ("0", None), ("-1", None), ("9" * 30, None), ("1 KB", None), ("\u0661", None)]
)
def test_sizes_of_metalink(size: str, found: int | None) -> None:
    text = f'{HEAD}<file name="a"><size>{size}</size><url>https://h/a</url></file></metalink>'
    assert read_metalink(text).candidates[0].size == found


@pytest.mark.parametrize(
    ("name", "media_type", "text", "wanted"),
    [
        ("README.md", "", "", Format.MARKDOWN),
        ("README.md", "text/html; charset=utf-8", "# hello", Format.MARKDOWN),
        ("README.md", "text/html", "<!DOCTYPE html><p>", Format.HTML),
        ("/zoo/", "text/html", "<p>", Format.HTML),
        ("/zoo", "", "<!-- x --><!-- y -->\n<HTML><p>", Format.HTML),
        ("/zoo", "text/plain", "hello\nhttps://h/a.pth", Format.MARKDOWN),
        ("SHA256SUMS", "", "nonsense", Format.SHA256SUMS),
        ("a.sha256", "", "nonsense", Format.SHA256SUMS),
        ("a.meta4", "", "nonsense", Format.METALINK),
        ("a.txt", "application/metalink4+xml", "nonsense", Format.METALINK),
        ("a.txt", "", "", Format.MARKDOWN),
    ],
)
def test_recognise(name: str, media_type: str, text: str, wanted: Format) -> None:
    assert recognise(text, name, media_type) is wanted


def test_a_run_of_comments_costs_no_more_than_its_length() -> None:
    assert recognise("<!---->" * 500) is Format.MARKDOWN


@pytest.mark.parametrize(
    ("data", "media_type", "text"),
    [
        ("é".encode(), "", "é"),
        (codecs.BOM_UTF8 + "é".encode(), "text/html; charset=latin-1", "é"),
        (codecs.BOM_UTF16_LE + "é".encode("utf-16-le"), "", "é"),
        ("é".encode("latin-1"), "text/html; charset=ISO-8859-1", "é"),
        (b'<meta charset="iso-8859-7">\xe4', "", '<meta charset="iso-8859-7">δ'),
        (b"\xe9\x80", "text/html; charset=nonsense", "é€"),
        (b"\xe9\x81", "", "é\x81"),
    ],
)
def test_decode(data: bytes, media_type: str, text: str) -> None:
    assert decode(data, media_type) == text


def test_what_is_no_text() -> None:
    with pytest.raises(ValueError, match="not text"):
        decode(b"\x7fELF\0")
