"""Redirects, credentials, proxies (origins.md 0.7, 2, 4.6): no secret reaches another host, or a log."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urlsplit

import faults as f
import pytest
from origin import Origin, Origins, Turn
from workplace import Batch, Workplace, sha256, tgz

A = tgz(260_000, 1)
CUT = 100_000
PATH = "/a.tar.gz"
TOKEN = "hf_S3cretTokenThatMustNotLeak"
SIGNATURE = "DeadBeefSignature~-_"


# ---- where redirects may lead


def test_redirect_is_followed(tmp_path: Path) -> None:
    """4.6: relative, whatever the code; name and locked URL stay the manifest's."""
    with Batch(tmp_path, ["301", "302", "303", "307", "308"]) as batch:
        for code, origin in batch.origin.items():
            origin.put("/deep/there.bin", A)
            origin.on(PATH, f.redirect("deep/there.bin", int(code)), times=None, method=None)
        batch.sync()
        for code, origin in batch.origin.items():
            batch.assert_good(code, A)
            assert batch.site.file(batch.names[code]).name == "a.tar.gz"
            assert batch.locked(code)["url"] == origin.url(PATH)


def test_redirect_to_another_origin_and_back(origins: Origins, site: Workplace) -> None:
    """4.6: absolute, protocol-relative, over two hosts."""
    one, two = origins.new(), origins.new(host="localhost")
    one.put("/end.tgz", A)
    one.on("/a.tgz", f.redirect(two.url("/b")), times=None, method=None)
    two.on("/b", f.redirect(f"//127.0.0.1:{one.port}/end.tgz"), times=None, method=None)
    site.one(one.url("/a.tgz"))
    site.sync().expect(0)
    site.assert_good("a", A)


SIGNED = [
    "/x%2Fy%27z%7E?Policy=a%2Fb%3D%3D&Signature=p~q%7Er-_&Key-Pair-Id=K%27",
    "/a%20b?x=%2b+%2B&y=%e2%82%ac&z=a;b",
    "/a/./b/..%2e/c?e=",
    "/cas?X-Amz-Credential=A%2F2026%2Fus-east-1&X-Amz-Signature=0f&response=attachment%3B%20filename%3D%22a%22",
]


def test_signed_url_arrives_byte_for_byte(origins: Origins, tmp_path: Path) -> None:
    """0.7: `%2F`, `%27`, `%7E` in a Location reach the server as they stood there (aiohttp#7222, #4307)."""
    cdn = origins.new(host="localhost")
    with Batch(tmp_path, SIGNED) as batch:
        for target, front in batch.origin.items():
            cdn.put(target.partition("?")[0], A)
            front.put(PATH, A)
            front.on(PATH, f.redirect(cdn.url(target)), times=None, method=None)
        batch.sync()
        for target in SIGNED:
            batch.assert_good(target, A)
    assert {x.request.target for x in cdn.requests()} == set(SIGNED)


def test_manifest_url_arrives_byte_for_byte(origin: Origin, site: Workplace) -> None:
    """0.7: a percent-encoded URL of the manifest is asked for as written; its decoded name is the file's."""
    path = "/dir%2Fsub/it%27s%7Ea.tgz"
    site.one(origin.put(path, A) + "?v=%2F")
    site.sync().expect(0)
    site.assert_good("a", A)
    assert {x.request.target for x in origin.requests()} == {path + "?v=%2F"}


def test_redirect_loop_ends(origin: Origin, site: Workplace) -> None:
    """4.3: at most ten, permanent."""
    origin.on("/a.tgz", f.redirect("/b.tgz"), times=None, method=None)
    origin.on("/b.tgz", f.redirect("/a.tgz"), times=None, method=None)
    site.one(origin.url("/a.tgz"))
    run = site.sync().expect(1)
    assert run.kind("a") in {"origin", "policy", "network"}
    assert "redirect" in run.message("a").lower()
    assert len(origin.requests()) <= 24
    site.assert_absent("a")


def test_endless_chain_ends(origin: Origin, site: Workplace) -> None:
    """4.6: bounded though no URL comes twice."""

    def further(turn: Turn) -> None:
        number = int(turn.request.query or "0")
        f.redirect(f"/a.tgz?{number + 1}")(turn)

    origin.on("/a.tgz", further, times=None, method=None)
    site.one(origin.url("/a.tgz"))
    site.sync().expect(1)
    assert len(origin.requests()) <= 24


LEADS_NOWHERE = [
    "file:///etc/passwd",
    "ftp://127.0.0.1/x.tgz",
    "data:application/gzip;base64,H4sIAAAAAAAAAwMAAAAAAAAAAAA=",
    "gopher://127.0.0.1/",
    "http://",
    "http://[::1",
    "http://127.0.0.1:99999/",
    "//",
    "",
]


def test_redirect_that_leads_nowhere(tmp_path: Path) -> None:
    """4.3: file:// and other schemes are policy, permanent; garbage is refused; no local file is read."""
    with Batch(tmp_path, LEADS_NOWHERE) as batch:
        for location, origin in batch.origin.items():
            origin.on(PATH, f.redirect(location), times=None, method=None)
        batch.sync()
        for location, origin in batch.origin.items():
            batch.assert_failed(location, "policy", "origin", "network")
            assert len(origin.requests()) <= 24


def test_https_to_http_is_refused(origins: Origins, site: Workplace, tls: ssl.SSLContext, ca_file: Path) -> None:
    """0.7, 4.6: https->http refused, also with a pinned sha256; the plain origin is never asked."""
    site.env["SSL_CERT_FILE"] = str(ca_file)
    secure, plain = origins.new(tls=tls), origins.new()
    plain.put("/a.tgz", A)
    secure.on("/a.tgz", f.redirect(plain.url("/a.tgz")), times=None, method=None)
    site.one(secure.url("/a.tgz"), sha256=sha256(A))
    run = site.sync().expect(1)
    assert run.kind("a") == "policy"
    assert not plain.requests()
    site.assert_absent("a")


def test_http_to_https_is_fine(origins: Origins, site: Workplace, tls: ssl.SSLContext, ca_file: Path) -> None:
    """4.6: upwards it may go."""
    site.env["SSL_CERT_FILE"] = str(ca_file)
    secure, plain = origins.new(tls=tls), origins.new()
    plain.on("/a.tgz", f.redirect(secure.put("/a.tgz", A)), times=None, method=None)
    site.one(plain.url("/a.tgz"))
    site.sync().expect(0)
    site.assert_good("a", A)


def test_location_of_60_kib(origins: Origins, site: Workplace) -> None:
    """4.3: signed Locations are long; lines up to 64 KiB are taken."""
    front, cdn = origins.new(), origins.new()
    cdn.put("/a.tgz", A)
    front.on("/a.tgz", f.redirect(cdn.url(f"/a.tgz?Policy={'x' * 60_000}")), times=None, method=None)
    site.one(front.url("/a.tgz"))
    site.sync().expect(0)
    site.assert_good("a", A)


# ---- loopback, link-local, private: through a proxy, so that the first origin can be public


PRIVATE = [
    "http://127.0.0.1:{port}/x.tgz",
    "http://localhost:{port}/x.tgz",
    "http://[::1]:{port}/x.tgz",
    "http://169.254.169.254/latest/meta-data/x.tgz",
    "http://10.0.0.1/x.tgz",
    "http://192.168.1.1/x.tgz",
    "http://172.16.5.5/x.tgz",
    "http://2130706433:{port}/x.tgz",
    "http://127.1:{port}/x.tgz",
    "http://0x7f000001:{port}/x.tgz",
    "http://[::ffff:127.0.0.1]:{port}/x.tgz",
    "http://0.0.0.0:{port}/x.tgz",
    "http://[fe80::1]/x.tgz",
    "http://[fd00::1]/x.tgz",
]


@pytest.mark.parametrize("way", ["directly", "through the proxy"])
def test_public_origin_may_not_redirect_inwards(origins: Origins, site: Workplace, way: str) -> None:
    """4.6, SSRF, `policy.private_redirects = false`: refused before anything is asked of the inner host.

    Through a proxy as well, where the address is written out: a proxy can be nearer to it than we are.
    """
    proxy, inner = origins.new(), origins.new()
    inner.put("/x.tgz", A)
    site.env["http_proxy"] = proxy.url("")
    locations = {f"m{number}": text.format(port=inner.port) for number, text in enumerate(PRIVATE)}
    if way == "directly":
        site.env["no_proxy"] = ",".join({urlsplit(text).hostname or "" for text in locations.values()})
    for name, location in locations.items():
        proxy.on(f"/{name}.tgz", f.redirect(location), times=None, method=None)
    site.write(
        *({"name": name, "url": f"http://models.example.com/{name}.tgz", "allow_http": True} for name in locations)
    )
    run = site.sync().expect(1)
    kinds = {location: run.kind(name) for name, location in locations.items()}
    assert set(kinds.values()) == {"policy"}, kinds
    asked = {x.request.target for x in proxy.requests()}
    assert asked == {f"http://models.example.com/{name}.tgz" for name in locations}
    assert not inner.requests()


LINK_LOCAL = ["http://169.254.169.254/x.tgz", "http://[::ffff:169.254.169.254]/x.tgz", "http://2852039166/x.tgz"]


@pytest.mark.parametrize("allowed", [False, True], ids=["as it is", "allowed"])
def test_nobody_redirects_to_link_local(origins: Origins, site: Workplace, allowed: bool) -> None:
    """4.6: metadata services hold credentials, no files; not even an origin on this machine leads there."""
    front, proxy = origins.new(), origins.new()
    site.env["http_proxy"], site.env["no_proxy"] = proxy.url(""), "127.0.0.1"
    locations = {f"m{number}": location for number, location in enumerate(LINK_LOCAL)}
    for name, location in locations.items():
        front.on(f"/{name}.tgz", f.redirect(location), times=None, method=None)
    policy = {"private_redirects": True} if allowed else {}
    site.write(*({"name": name, "url": front.url(f"/{name}.tgz")} for name in locations), policy=policy)
    run = site.sync().expect(1)
    kinds = {location: run.kind(name) for name, location in locations.items()}
    assert ("policy" in kinds.values()) is not allowed, kinds
    assert len(set(kinds.values())) == 1
    assert bool(proxy.requests()) is allowed


def test_private_redirects_can_be_allowed(origins: Origins, site: Workplace) -> None:
    """`policy.private_redirects = true`."""
    proxy, inner = origins.new(), origins.new()
    site.env["http_proxy"] = proxy.url("")
    site.env["no_proxy"] = "127.0.0.1"
    proxy.on("/a.tgz", f.redirect(inner.put("/x.tgz", A)), times=None, method=None)
    site.write(
        {"name": "a", "url": "http://models.example.com/a.tgz", "allow_http": True},
        policy={"private_redirects": True},
    )
    site.sync().expect(0)
    site.assert_good("a", A)
    assert inner.requests()


def test_proxy_from_the_environment(origin: Origin, site: Workplace) -> None:
    """Proxies from the environment; the request carries the whole URL, resumes too."""
    site.env["http_proxy"] = origin.url("")
    origin.put("/a.tgz", A)
    origin.on("/a.tgz", f.cut(CUT))
    site.one("http://models.example.com/a.tgz", allow_http=True)
    site.sync().expect(0)
    site.assert_good("a", A)
    assert {x.request.target for x in origin.requests()} == {"http://models.example.com/a.tgz"}


def test_no_proxy_is_honoured(origins: Origins, site: Workplace) -> None:
    """`no_proxy` keeps a host from the proxy."""
    proxy, origin = origins.new(), origins.new()
    site.env |= {"http_proxy": proxy.url(""), "no_proxy": "127.0.0.1,localhost"}
    site.one(origin.put("/a.tgz", A))
    site.sync().expect(0)
    site.assert_good("a", A)
    assert not proxy.requests()


# ---- plain http


def test_plain_http_needs_a_reason(origin: Origin, site: Workplace) -> None:
    """Contract, `allow_http`: plain http needs this, or a sha256; nothing is asked without."""
    site.env["http_proxy"] = origin.url("")
    origin.put("/a.tgz", A)
    site.one("http://models.example.com/a.tgz")
    site.run("sync", "--json").expect(1, 2)
    assert not origin.requests()
    site.one("http://models.example.com/a.tgz", sha256=sha256(A))
    site.sync().expect(0)
    site.assert_good("a", A)


# ---- credentials


def authorised(site: Workplace, ca_file: Path, hub: Origin, *, how: str = "env") -> None:
    """Give the site a token for `hub`, whose port is not the usual one and so stands in the key."""
    site.secrets.append(TOKEN)
    site.env["SSL_CERT_FILE"] = str(ca_file)
    key: dict[str, str] = {"bearer_env": "HF_TOKEN"}
    if how == "env":
        site.env["HF_TOKEN"] = TOKEN
    else:
        secret = site.root / "token"
        secret.write_text(TOKEN + "\n")
        secret.chmod(0o600)
        key = {"bearer_file": str(secret)}
    site.auth = {f"{hub.host}:{hub.port}": key}


def tokens(origin: Origin) -> set[str | None]:
    return {x.request.header("authorization") for x in origin.requests()}


@pytest.mark.parametrize("how", ["env", "file"])
def test_token_goes_to_its_host_alone(
    origins: Origins, site: Workplace, tls: ssl.SSLContext, ca_file: Path, how: str
) -> None:
    """Contract, [auth]: sent to that host alone, on every request, resumes included."""
    hub, other = origins.new(tls=tls, host="localhost"), origins.new(tls=tls)
    authorised(site, ca_file, hub, how=how)
    site.write({"name": "a", "url": hub.put("/a.tgz", A)}, {"name": "b", "url": other.put("/b.tgz", A)})
    hub.on("/a.tgz", f.cut(CUT))
    site.sync("--verbose").expect(0)
    assert tokens(hub) == {f"Bearer {TOKEN}"}
    assert tokens(other) == {None}


@pytest.mark.parametrize("to", ["another host", "another port"])
def test_token_does_not_follow_a_redirect(
    origins: Origins, site: Workplace, tls: ssl.SSLContext, ca_file: Path, to: str
) -> None:
    """0.7, engines finding 11, curl CVE-2022-27774/27776: not to another host, nor to another port of it."""
    hub = origins.new(tls=tls, host="localhost")
    cdn = origins.new(tls=tls, host="127.0.0.1" if to == "another host" else "localhost")
    authorised(site, ca_file, hub)
    hub.on("/a.tgz", f.redirect(cdn.put("/x", A)), times=None, method=None)
    cdn.on("/x", f.cut(CUT))
    site.one(hub.url("/a.tgz"))
    site.sync().expect(0)
    site.assert_good("a", A)
    assert tokens(hub) == {f"Bearer {TOKEN}"}
    assert tokens(cdn) == {None}


def test_token_follows_a_relative_redirect(
    origins: Origins, site: Workplace, tls: ssl.SSLContext, ca_file: Path
) -> None:
    """2: a renamed repository redirects relatively; the token stays with its host."""
    hub = origins.new(tls=tls, host="localhost")
    authorised(site, ca_file, hub)
    hub.put("/new.tgz", A)
    hub.on("/a.tgz", f.redirect("/new.tgz"), times=None, method=None)
    site.one(hub.url("/a.tgz"))
    site.sync().expect(0)
    assert tokens(hub) == {f"Bearer {TOKEN}"}


def test_token_does_not_come_back_after_a_detour(
    origins: Origins, site: Workplace, tls: ssl.SSLContext, ca_file: Path
) -> None:
    """4.6: the other host may send us back; whatever then is sent, the detour saw nothing."""
    hub, other = origins.new(tls=tls, host="localhost"), origins.new(tls=tls)
    authorised(site, ca_file, hub)
    hub.put("/end.tgz", A)
    hub.on("/a.tgz", f.redirect(other.url("/hop")), times=None, method=None)
    other.on("/hop", f.redirect(hub.url("/end.tgz")), times=None, method=None)
    site.one(hub.url("/a.tgz"))
    site.sync().expect(0)
    assert tokens(other) == {None}


@pytest.mark.parametrize("status", [401, 403, 500])
def test_token_is_in_no_message(
    origins: Origins, site: Workplace, tls: ssl.SSLContext, ca_file: Path, status: int
) -> None:
    """I4: an origin that refuses and quotes our token back; it stands nowhere."""
    hub = origins.new(tls=tls, host="localhost")
    authorised(site, ca_file, hub)
    site.write({"name": "a", "url": hub.put("/a.tgz", A)}, transfer={"retries": 1})
    hub.on("/a.tgz", f.status(status, body=f"bad token Bearer {TOKEN}".encode()), times=None, method=None)
    site.sync("--verbose").expect(1)
    site.run("status", "--json")


def test_token_goes_neither_to_a_source_nor_to_a_mirror(
    origins: Origins, site: Workplace, tls: ssl.SSLContext, ca_file: Path
) -> None:
    """Contract, [auth]: sent to that host alone; what stands in for the host is another host."""
    hub, source, mirror = origins.new(tls=tls, host="localhost"), origins.new(tls=tls), origins.new(tls=tls)
    authorised(site, ca_file, hub)
    mirror.put("/m/a.tgz", A)
    site.write(
        {"name": "a", "url": hub.url("/hub/a.tgz"), "mirrors": [mirror.url("/m/a.tgz")]},
        sources={hub.url("/hub/"): [source.url("/")]},
    )
    site.sync().expect(0)
    site.assert_good("a", A)
    assert source.requests()
    assert mirror.requests()
    assert tokens(source) | tokens(mirror) == {None}
    assert tokens(hub) <= {f"Bearer {TOKEN}"}


def test_netrc_is_not_read(origin: Origin, site: Workplace) -> None:
    """0.7 and 1, Errors: any Authorization on a public object is a 401; `.netrc` is none of ours."""
    netrc = site.home / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password NetrcPassword\n")
    netrc.chmod(0o600)
    site.env["NETRC"] = str(netrc)
    site.one(origin.put("/a.tgz", A))
    site.sync().expect(0)
    assert tokens(origin) == {None}


def test_missing_token_is_said(origin: Origin, site: Workplace) -> None:
    """[auth]: a variable that is not set, a file that is not there: named, before the origin is bothered."""
    for key, value in (("bearer_env", "NO_SUCH_TOKEN"), ("bearer_file", "/no/such/file")):
        site.write({"name": "a", "url": origin.put("/a.tgz", A)}, auth={"127.0.0.1": {key: value}})
        run = site.sync().expect(1, 2)
        assert value in run.out + run.err
    assert tokens(origin) <= {None}


def test_signed_query_stands_nowhere(origins: Origins, site: Workplace) -> None:
    """I4: no signed query in output, lock or state, whether all goes well or the CDN refuses."""
    site.secrets.append(SIGNATURE)
    front, cdn = origins.new(), origins.new(host="localhost")
    target = f"{cdn.put('/x', A)}?X-Amz-Signature={SIGNATURE}&Expires=1"
    front.on("/a.tgz", f.redirect(target), times=None, method=None)
    cdn.on("/x", f.status(403), times=None)
    site.one(front.url("/a.tgz"))
    site.sync("--verbose").expect(1)
    cdn.calm()
    cdn.on("/x", f.cut(CUT, "rst"))
    site.sync("--verbose").expect(0)
    site.assert_good("a", A)


def test_signed_query_of_the_manifest_stands_nowhere_else(origin: Origin, site: Workplace) -> None:
    """Contract, Lock: `url` as in the manifest: no credentials, no signed query."""
    site.secrets.append(SIGNATURE)
    url = f"{origin.put('/a.tgz', A)}?X-Amz-Signature={SIGNATURE}&X-Amz-Expires=3600"
    site.one(url)
    origin.on("/a.tgz", f.status(503), times=1)
    site.sync("--verbose").expect(0)
    site.assert_good("a", A)
    site.run("status", "--json").expect(0)
    site.verify().expect(0)


def test_userinfo_of_the_manifest_stands_nowhere_else(origin: Origin, site: Workplace) -> None:
    """Contract: secrets appear in no output; userinfo in a URL is refused, or used and never shown."""
    site.secrets.append("Us3rinfoPassword")
    origin.put("/a.tgz", A)
    site.one(f"http://me:Us3rinfoPassword@127.0.0.1:{origin.port}/a.tgz")
    site.run("sync", "--verbose").expect(0, 1, 2)
    site.run("status").expect(0, 1, 2)


def test_expired_signature_is_resolved_again(origins: Origins, site: Workplace) -> None:
    """2: 403 in mid-download means resolve again and go on from the same offset, not "forbidden"."""
    front, cdn = origins.new(), origins.new(host="localhost")
    cdn.put("/x", A)
    issued: list[str] = []

    def resolve(turn: Turn) -> None:
        issued.append(f"sig{len(issued)}")
        f.redirect(f"{cdn.url('/x')}?sig={issued[-1]}")(turn)

    front.on("/a.tgz", resolve, times=None, method=None)
    cdn.on("/x", f.cut(CUT))
    cdn.on("/x", f.status(403), times=None, skip=1, when=lambda request: request.query == "sig=sig0")
    site.one(front.url("/a.tgz"))
    site.sync().expect(0)
    site.assert_good("a", A)
    assert cdn.body_bytes() <= len(A) + 10_000, "it did not go on from the same offset"
