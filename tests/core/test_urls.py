"""What may be shown and locked of a URL, what file it names, and where its bytes may come from."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.core.urls import (
    file_name,
    host_label,
    is_loopback_host,
    is_private_host,
    normalise,
    origin_of,
    redact,
    redact_text,
    rewrite,
    strip_for_lock,
)

SIGNED = "https://s3.example/b/f.tgz?X-Amz-Credential=AKIA&X-Amz-Signature=SECRET"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h.example/a/b.tgz", "https://h.example/a/b.tgz"),
        (SIGNED, "https://s3.example/b/f.tgz?..."),
        ("https://h/f?generation=123", "https://h/f?generation=123"),
        ("https://h/f?generation=123&sig=SECRET", "https://h/f?..."),
        ("https://h/f?generation=SECRET", "https://h/f?..."),
        ("https://h/f?", "https://h/f"),
        ("https://h/f#SECRET", "https://h/f"),
        ("https://h/f?a#b?SECRET", "https://h/f?..."),
        ("https://me:SECRET@h:8443/f", "https://h:8443/f"),
        ("https://me:SEC@RET@h/f", "https://h/f"),
        ("https://me:12SEC?RET@h/f", "https://..."),
        ("https://me:SEC/RET@h/f", "https://..."),
        ("http://[::1]:80/f", "http://[::1]:80/f"),
        ("http://[bad/f?SECRET", "http://..."),
        ("hf://org/repo@main/f.bin", "hf://org/repo@main/f.bin"),
        ("socks5://me:SECRET@proxy:1080", "socks5://proxy:1080"),
        ("/path/only?SECRET", "/path/only"),
        ("me:SECRET@h/f", "..."),
        ("https:/me:SECRET@h/f", "..."),
        ("https://h/\x1b[31mred", "https://h/\ufffd[31mred"),
        ("", ""),
    ],
)
def test_redact(url: str, shown: str) -> None:
    assert redact(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"GET {SIGNED} gave 403", "GET https://s3.example/b/f.tgz?... gave 403"),
        (f"cannot connect (url='{SIGNED}').", "cannot connect (url='https://s3.example/b/f.tgz?...')."),
        ("see HTTPS://me:SECRET@h/x, then http://h/y?SECRET", "see HTTPS://h/x, then http://h/y?..."),
        ("at https://h/f?a='SECRET'SECRET'", "at https://h/f?...'"),
        ("https://a/b,https://me:SECRET@c/d", "https://a/b,https://c/d"),
        ("https://p/?to=https://me:SECRET@h/f", "https://p/?...https://h/f"),
        ("status /f?X-Goog-Signature=SECRET&a=1 denied", "status /f?X-Goog-Signature=...&a=1 denied"),
        ("nothing to hide: 3 of 4", "nothing to hide: 3 of 4"),
    ],
)
def test_redact_text(text: str, shown: str) -> None:
    assert redact_text(text) == shown


@settings(deadline=None)
@given(st.text())
def test_redact_never_raises_and_is_stable(text: str) -> None:
    once = redact(text)
    assert redact(once) == once
    redact_text(text)
    strip_for_lock(text)
    host_label(text)


WORD = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=8)
SECRET = st.text("ABCDEF0123456789%+/=:!$'*~-_.", min_size=8, max_size=24).map(lambda text: f"Zz{text}zZ")


@settings(deadline=None)
@given(WORD, SECRET, SECRET, SECRET, st.sampled_from(["(%s)", "'%s'", "at %s.", "<%s>", "%s"]))
def test_no_secret_survives(host: str, password: str, query: str, fragment: str, around: str) -> None:
    plain = password.replace("/", "")
    url = f"https://me:{plain}@{host}.example/f?X-Amz-Signature={query}#{fragment}"
    for shown in (redact(url), redact_text(around % url), strip_for_lock(url)):
        assert not any(secret in shown for secret in (plain, query, fragment))
        assert f"https://{host}.example/f" in shown


@pytest.mark.parametrize(
    ("url", "https"),
    [
        ("https://h/f?x#y", "https://h/f?x#y"),
        ("not a url", "not a url"),
        ("gs://bucket/a/b.tgz", "https://storage.googleapis.com/bucket/a/b.tgz"),
        ("s3://my-bucket/a/b c.tgz", "https://my-bucket.s3.amazonaws.com/a/b%20c.tgz"),
        ("s3://my.bucket/b%20.tgz", "https://s3.amazonaws.com/my.bucket/b%2520.tgz"),
        ("GS://bucket/b.tgz", "https://storage.googleapis.com/bucket/b.tgz"),
        ("gs://b.u_c-k/a b%20ü.tgz", "https://storage.googleapis.com/b.u_c-k/a%20b%2520%C3%BC.tgz"),
        (
            "gs://bucket/f.tgz#1360887759327000",
            "https://storage.googleapis.com/bucket/f.tgz?generation=1360887759327000",
        ),
        ("hf://org/repo/f.bin", "https://huggingface.co/org/repo/resolve/main/f.bin"),
        ("hf://org/repo@v1.0/d/f.bin", "https://huggingface.co/org/repo/resolve/v1.0/d/f.bin"),
        ("hf://org/repo@refs/pr/7/f.bin", "https://huggingface.co/org/repo/resolve/refs%2Fpr%2F7/f.bin"),
        ("hf://org/repo@a%2Fb/f.bin", "https://huggingface.co/org/repo/resolve/a%2Fb/f.bin"),
        ("hf://datasets/org/repo@main/f", "https://huggingface.co/datasets/org/repo/resolve/main/f"),
        ("hf://org/repo/me@home.bin", "https://huggingface.co/org/repo/resolve/main/me%40home.bin"),
    ],
)
def test_normalise(url: str, https: str) -> None:
    assert normalise(url) == https


@pytest.mark.parametrize(
    "url",
    [
        "s3://", "s3://bucket", "s3://bucket/", "s3:///k", "s3://b/../k", "s3://bucket/k?versionId=1",
        "gs://", "gs://bucket", "gs://bucket/", "gs:///o", "gs://me@b/o", "gs://b/o?x=1", "gs://b/o#x",
        "gs://b/../o",
        "hf://org/repo", "hf://org", "hf://org/repo@/f", "hf://org/repo/", "hf://org/repo/a/../f",
        "hf://../../f",
        "hf://org/repo/f?download=true",
    ],
)  # fmt: skip
def test_gs_and_hf_must_be_whole(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        normalise(url)


@pytest.mark.parametrize(
    ("url", "locked"),
    [
        ("https://h/f?download=1", "https://h/f?download=1"),
        ("https://h/f?generation=5", "https://h/f?generation=5"),
        ("https://h/f?versionId=abc&response-content-type=x",
        "https://h/f?versionId=abc&response-content-type=x"),
        ("https://H.example:8443/F", "https://H.example:8443/F"),
        ("gs://b/o#12", "gs://b/o#12"),
        ("hf://org/repo@v1/f", "hf://org/repo@v1/f"),
        ("https://me:pw@h/f", "https://h/f"),
        ("https://h/f?", "https://h/f"),
        ("https://h/f#frag", "https://h/f"),
        *(
            (f"https://h/f?a=1&{name}=SECRET", "https://h/f")
            for name in (
                "X-Amz-Signature", "x-amz-date", "X-Goog-Expires", "Signature", "Expires", "sig", "SIG",
                "token",
                "access_token", "key", "api_key", "Policy", "Key-Pair-Id", "AWSAccessKeyId", "GoogleAccessId",
                "X%2DAmz%2DSignature", "password", "auth",
            )
        ),
        ("https://h/f?a=1;sig=SECRET", "https://h/f"),
    ],
)  # fmt: skip
def test_strip_for_lock(url: str, locked: str) -> None:
    assert strip_for_lock(url) == locked
    assert strip_for_lock(locked) == locked


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://h/a/b.tar.gz", "b.tar.gz"),
        ("https://h/a/b%20c.tgz?download=1#x", "b c.tgz"),
        ("https://h/%C3%BC.bin", "ü.bin"),
        ("https://h/%252e%252e", "%2e%2e"),
        ("gs://bucket/dir/x%20.tgz", "x%20.tgz"),
        ("hf://org/repo@v1/dir/model.bin", "model.bin"),
        ("https://h/" + "a" * 200, "a" * 200),
        ("https://h/tree.tgz", "tree.tgz"),
    ],
)
def test_file_name(url: str, name: str) -> None:
    assert file_name(url) == name


@pytest.mark.parametrize(
    "url",
    [
        "https://h", "https://h/", "https://h/a/", "https://h/.", "https://h/..", "https://h/%2e%2e",
        "https://h/.ckptd",
        "https://h/a%2Fb", "https://h/..%2f..%2fetc%2fpasswd", "https://h/a%5Cb", "https://h/a%00b",
        "https://h/a%0Ab",
        "https://h/a%1b", "https://h/a%E2%80%AEb", "https://h/%ff",
        "https://h/" + "a" * 201, "https://h/" + "%C3%BC" * 101,
        "https://h/tree", "https://h/tr%65e", "gs://b/tree", "gs://b/a\\b", "b.tgz", "", "gs://b",
    ],
)  # fmt: skip
def test_no_file_name(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        file_name(url)


@settings(deadline=None)
@given(st.text(min_size=1))
def test_a_file_name_stays_in_its_folder(segment: str) -> None:
    for url in (f"https://h/d/{segment}", f"gs://bucket/{segment}"):
        try:
            name = file_name(url)
        except ValueError:
            continue
        assert name not in ("", ".", "..", "tree")
        assert not {"/", "\\", "\0", "\n"} & set(name)
        assert len(name.encode()) <= 200


@pytest.mark.parametrize(
    ("url", "origin", "label"),
    [
        ("https://H.Example/f", ("https", "h.example", 443), "h.example"),
        ("HTTP://h/f", ("http", "h", 80), "h"),
        ("https://h:8443/f", ("https", "h", 8443), "h:8443"),
        ("https://h:443/f", ("https", "h", 443), "h"),
        ("http://me:pw@h:80/f", ("http", "h", 80), "h"),
        ("http://[::1]:8000/f", ("http", "::1", 8000), "[::1]:8000"),
        ("gs://b/o", ("https", "storage.googleapis.com", 443), "storage.googleapis.com"),
    ],
)
def test_origin(url: str, origin: tuple[str, str, int], label: str) -> None:
    assert origin_of(url) == origin
    assert host_label(url) == label


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/f",
        "/f",
        "",
        "https:///f",
        "https://h:0/f",
        "https://h:99999/f",
        "https://h:x/f",
        "http://[bad/",
    ],
)
def test_no_origin(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        origin_of(url)
    assert host_label(url) == "unknown host"


LOOPBACK = [
    "localhost", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1", "127.9.9.9", "127.1",
    "2130706433", "0x7f.1", "0x7f000001", "::1", "[::1]", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1",
    "::ffff:7f00:1", "127.0.0.1.", "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021",
]  # fmt: skip
PRIVATE = [
    "10.0.0.1", "010.0.0.1", "0177.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "0xA9FEA9FE", "2852039166", "0.0.0.1", "0", "100.64.0.1", "100.127.255.255", "::",
    "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1",
    "2002:0a00:0001::1", "::192.168.0.1", "192.168.257",
]  # fmt: skip
PUBLIC = [
    "8.8.8.8", "example.org", "localhost.example.org", "notlocalhost", "172.15.0.1", "172.32.0.1",
    "100.63.255.255", "100.128.0.1", "2001:4860:4860::8888", "::ffff:8.8.8.8", "1.2.3.4.5",
    "256.256.256.256", "", "127.0.0.1.example.org", "0x", "127.0.0.999999", "fe80", "deadbeef",
    "10.example",
]  # fmt: skip


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback(host: str) -> None:
    assert is_loopback_host(host)
    assert is_private_host(host)


@pytest.mark.parametrize("host", PRIVATE)
def test_private(host: str) -> None:
    assert is_private_host(host)
    assert not is_loopback_host(host)


@pytest.mark.parametrize("host", PUBLIC)
def test_public(host: str) -> None:
    assert not is_private_host(host)
    assert not is_loopback_host(host)


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_every_spelling_of_an_address_is_judged_alike(address: ipaddress.IPv4Address) -> None:
    spellings = (str(address), str(int(address)), hex(int(address)), f"::ffff:{address}")
    assert len({is_private_host(spelled) for spelled in spellings}) == 1
    if address.is_loopback or (address.is_link_local):
        assert is_private_host(str(address))
    if address.is_global:
        assert not is_private_host(str(address))


@settings(deadline=None)
@given(st.text())
def test_any_host_can_be_asked(host: str) -> None:
    if is_loopback_host(host):
        assert is_private_host(host)


SOURCES = (
    ("https://storage.googleapis.com/", ("https://m1/gcs/", "https://m2/gcs/")),
    ("https://storage.googleapis.com/special/", ("https://m3/",)),
    ("http://h/", ("https://h/",)),
)


@pytest.mark.parametrize(
    ("url", "candidates"),
    [
        (
            "https://storage.googleapis.com/b/f",
            ("https://m1/gcs/b/f", "https://m2/gcs/b/f", "https://storage.googleapis.com/b/f"),
        ),
        ("gs://b/f", ("https://m1/gcs/b/f", "https://m2/gcs/b/f", "https://storage.googleapis.com/b/f")),
        (
            "https://storage.googleapis.com/special/f?x=1",
            ("https://m3/f?x=1", "https://storage.googleapis.com/special/f?x=1"),
        ),
        (
            "HTTPS://Storage.GoogleApis.com/special/F",
            ("https://m3/F", "HTTPS://Storage.GoogleApis.com/special/F"),
        ),
        ("https://storage.googleapis.com/Special/f", None),
        ("https://storage.googleapis.com.evil.example/f", ("https://storage.googleapis.com.evil.example/f",)),
        ("https://other/f", ("https://other/f",)),
        ("http://h/f", ("https://h/f", "http://h/f")),
    ],
)
def test_rewrite(url: str, candidates: tuple[str, ...] | None) -> None:
    found = rewrite(url, SOURCES)
    if candidates is None:  # the path compares with its case, so only the shorter prefix matches
        assert found[0] == "https://m1/gcs/Special/f"
    else:
        assert found == candidates


def test_rewrite_to_itself_is_tried_once() -> None:
    assert rewrite("https://h/f", (("https://h/", ("https://h/", "https://m/")),)) == (
        "https://h/f",
        "https://m/f",
    )
