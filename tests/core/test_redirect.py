"""Where a redirect may lead, and whose token goes along."""

from __future__ import annotations

import pytest

from ckptd.core.hosts import Reach, reach_of
from ckptd.core.models import Auth
from ckptd.core.redirect import LONGEST_CHAIN, credential, inward, target
from ckptd.errors import CkptdError, OriginError, PolicyError

HERE = "https://hub.example/org/repo/resolve/main/m.bin?download=true"
SIGNED = (
    "https://cdn.example/a%2Fb/c~d/e%7Ef/'g'/h%27?X-Amz-Signature=ab%2Bcd%2F%3D&Policy=e~f_-&x=a+b%20c&empty=&y=%C3%BC"
)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        (SIGNED, SIGNED),  # byte for byte: anything else is a 403
        ("/other/m.bin", "https://hub.example/other/m.bin"),
        ("other.bin", "https://hub.example/org/repo/resolve/main/other.bin"),
        ("?a=b", "https://hub.example/org/repo/resolve/main/m.bin?a=b"),
        ("//cdn.example/m.bin", "https://cdn.example/m.bin"),
        ("  https://cdn.example/m.bin\t", "https://cdn.example/m.bin"),
        ("https://cdn.example/a b.bin", "https://cdn.example/a%20b.bin"),
        ("https://cdn.example/m.bin#part", "https://cdn.example/m.bin"),
        ("https://user:secret@cdn.example:8443/m.bin", "https://cdn.example:8443/m.bin"),
        ("https://a@b@cdn.example/m.bin", "https://cdn.example/m.bin"),
        ("HTTPS://cdn.example/m.bin", "https://cdn.example/m.bin"),
        ("https://[2001:db8::1]:8443/m.bin", "https://[2001:db8::1]:8443/m.bin"),
    ],
)
def test_where_it_leads(location: str, url: str) -> None:
    assert target(HERE, location, 0) == url


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        (None, OriginError),
        ("", OriginError),
        ("   ", OriginError),
        ("http://cdn.example/m.bin", PolicyError),  # https must not become http
        ("HTTP://cdn.example/m.bin", PolicyError),
        ("ftp://cdn.example/m.bin", PolicyError),
        ("file:///etc/passwd", PolicyError),
        ("data:text/plain,x", PolicyError),
        ("javascript:alert(1)", PolicyError),
        ("https://cdn.example:99999/m.bin", CkptdError),
        ("https://cdn.example:port/m.bin", CkptdError),
        ("https://[::1/m.bin", CkptdError),
    ],
)
def test_where_nobody_goes(location: str | None, kind: type[CkptdError]) -> None:
    assert isinstance(target(HERE, location, 0), kind)


def test_plain_http_may_stay_so_or_become_better() -> None:
    assert target("http://h/a", "http://h/b", 0) == "http://h/b"
    assert target("http://h/a", "https://h/b", 0) == "https://h/b"


def test_a_chain_ends() -> None:
    assert isinstance(target(HERE, "/next", LONGEST_CHAIN - 1), str)
    assert isinstance(target(HERE, "/next", LONGEST_CHAIN), OriginError)


@pytest.mark.parametrize(
    "location",
    [
        "http://cdn.example/m.bin?X-Amz-Signature=SECRET",
        "ftp://user:SECRET@cdn.example/m.bin",
        "https://user:SECRET@cdn.example:99999/",
    ],
)
def test_what_is_refused_is_not_shown_with_its_secrets(location: str) -> None:
    error = target("https://hub.example/m?token=SECRET", location, 0)
    assert isinstance(error, CkptdError)
    assert "SECRET" not in error.message + error.hint
    ended = target("https://hub.example/m?token=SECRET", "/next", LONGEST_CHAIN)
    assert isinstance(ended, CkptdError)
    assert "SECRET" not in ended.message


HUB, PORT, LOCAL = Auth("Hub.Example", "f"), Auth("hub.example:8443", "f"), Auth("127.0.0.1", "f")
ALL = (HUB, PORT, LOCAL)


@pytest.mark.parametrize(
    ("url", "entry_url", "whose"),
    [
        ("https://hub.example/a", "https://hub.example/b", HUB),
        ("https://HUB.example:443/a", "https://hub.example/b", HUB),
        ("https://hub.example:8443/a", "https://hub.example:8443/b", PORT),
        ("https://hub.example:9443/a", "https://hub.example:9443/b", HUB),  # any port of the entry's own URL
        # after a redirect: another host, port or scheme is another origin (CVE-2022-27774, -27776)
        ("https://cdn.example/a", "https://hub.example/b", None),
        ("https://hub.example/a", "https://elsewhere.example/b", None),
        ("https://hub.example:8443/a", "https://hub.example/b", None),
        ("https://sub.hub.example/a", "https://sub.hub.example/b", None),
        ("https://nothub.example/a", "https://nothub.example/b", None),
        ("https://hub.example.evil/a", "https://hub.example.evil/b", None),
        # in clear text to nobody but this machine
        ("http://hub.example/a", "http://hub.example/b", None),
        ("http://127.0.0.1:8080/a", "http://127.0.0.1:8080/b", LOCAL),
        ("http://127.0.0.1:8080/a", "http://127.0.0.1:9090/b", None),
    ],
)
def test_whose_token_goes_along(url: str, entry_url: str, whose: Auth | None) -> None:
    assert credential(url, entry_url, ALL) == whose


@pytest.mark.parametrize(
    ("begun", "following", "refused"),
    [
        (Reach.PUBLIC, Reach.PUBLIC, False),
        (Reach.PUBLIC, Reach.PRIVATE, True),
        (Reach.PUBLIC, Reach.LINK_LOCAL, True),
        (Reach.PRIVATE, Reach.PUBLIC, False),
        (Reach.PRIVATE, Reach.PRIVATE, False),  # a mirror in the house, a tunnel on this machine
        (Reach.PRIVATE, Reach.LINK_LOCAL, True),  # no file of anybody's is there, but a cloud's credentials are
        (Reach.LINK_LOCAL, Reach.LINK_LOCAL, False),
        (Reach.LINK_LOCAL, Reach.PRIVATE, False),
        (Reach.LINK_LOCAL, Reach.PUBLIC, False),
    ],
)
def test_nobody_is_sent_further_in(begun: Reach, following: Reach, refused: bool) -> None:
    assert inward(begun, following) is refused


@pytest.mark.parametrize(
    ("host", "reach"),
    [
        ("models.example", Reach.PUBLIC),
        ("8.8.8.8", Reach.PUBLIC),
        ("127.0.0.1", Reach.PRIVATE),
        ("localhost", Reach.PRIVATE),
        ("10.0.0.1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE),
        ("fd00::1", Reach.PRIVATE),
        ("169.254.169.254", Reach.LINK_LOCAL),
        ("2852039166", Reach.LINK_LOCAL),  # the same as one number
        ("0xa9.0xfe.0xa9.0xfe", Reach.LINK_LOCAL),
        ("::ffff:169.254.169.254", Reach.LINK_LOCAL),
        ("64:ff9b::a9fe:a9fe", Reach.LINK_LOCAL),
        ("fe80::1%eth0", Reach.LINK_LOCAL),
    ],
)
def test_from_how_far_a_host_can_be_reached(host: str, reach: Reach) -> None:
    assert reach_of(host) is reach
