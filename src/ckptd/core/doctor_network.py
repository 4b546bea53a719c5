"""What `doctor` says of the way to the origins: certificates, proxies, tokens, answers. Facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from shlex import quote

from ckptd.core.doctor import Area, Finding, listed
from ckptd.core.picture import plural
from ckptd.core.units import format_duration

AREA = Area("network", status=1)
OTHERS_READ, OTHERS_MAY = 0o004, 0o077
SLACK, LARGEST_SKEW = 300.0, 86400.0  # seconds; beyond the latter certificates stop being valid
CREDENTIALS = "/run/credentials/"  # where systemd puts them, for the unit alone
ANSWERED = frozenset({200, 206})
UNSIGNED = frozenset({400, 401, 403})  # what is said to an address without the signature that it takes


@dataclass(frozen=True, slots=True)
class Authorities:
    """The certificates that are trusted: where they come from, how many there are, or why none can be read."""

    source: str
    count: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the manifest: for which host, where it comes from, the mode of its file, why it cannot be used."""

    host: str
    where: str
    mode: int | None = None  # None: it does not come from a file, or that is not there
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """What one place answered to a HEAD and to a GET of one byte. `url` is fit to be shown; 0 is no answer.

    `names` are the checkpoints that have it among their sources, `skew` how far our clock is ahead of its, in seconds.
    """

    label: str
    url: str
    names: tuple[str, ...]
    head: int = 0
    get: int = 0
    problem: str = ""
    hint: str = ""
    skew: float | None = None
    signed: bool = False  # what was asked for takes an address that a command gives, and was asked for without

    @property
    def answers(self) -> bool:
        """Whether bytes are to be had from it, as far as can be told."""
        return self.get in ANSWERED or (self.signed and self.get in UNSIGNED)


@dataclass(frozen=True, slots=True)
class Network:
    """Facts. `origins` None: nobody was asked, and `why`; `unasked` more of them were left out."""

    authorities: Authorities
    proxies: tuple[tuple[str, str], ...] = ()  # scheme and URL, fit to be shown
    no_proxy: str = ""
    tokens: tuple[Token, ...] = ()
    origins: tuple[Origin, ...] | None = None
    unasked: int = 0
    why: str = ""
    problem: str = ""  # that kept us from asking


def judge(facts: Network) -> list[Finding]:
    """Everything there is to say of the network."""
    findings = [_authorities(facts.authorities), _proxies(facts)]
    findings += [_token(token) for token in facts.tokens]
    if facts.problem:
        return [
            *findings,
            AREA.bad("origins", f"no origin could be asked: {facts.problem}", "mend that first", status=2),
        ]
    if facts.origins is None:
        return [*findings, AREA.unknown("origins", f"no origin was asked: {facts.why}")]
    served = {name for origin in facts.origins if origin.answers for name in origin.names}
    findings += [_origin(origin, served) for origin in facts.origins]
    if facts.unasked:
        findings.append(
            AREA.unknown("origins", f"{facts.unasked} more were not asked, to be done in time", "ckptd drift")
        )
    findings += _clock([origin.skew for origin in facts.origins if origin.skew is not None])
    return findings


def _authorities(facts: Authorities) -> Finding:
    if facts.problem:
        text = f"the certificates of {facts.source} cannot be used: {facts.problem}"
        return AREA.bad("ca", text, "mend or unset SSL_CERT_FILE; apt-get install ca-certificates")
    if not facts.count:
        return AREA.bad("ca", "no certificate is trusted: https will fail", "apt-get install ca-certificates")
    return AREA.ok("ca", f"{plural(facts.count, 'certificate')} trusted, from {facts.source}")


def _proxies(facts: Network) -> Finding:
    if not facts.proxies:
        return AREA.ok("proxy", "no proxy is set in the environment")
    said = listed((f"{scheme} by {url}" for scheme, url in facts.proxies), most=5)
    return AREA.ok("proxy", said + (f"; but not for {facts.no_proxy}" if facts.no_proxy else ""))


def _token(token: Token) -> Finding:
    name, what = f"token-{token.host}", f"the token for {token.host}"
    if token.problem and token.where.startswith(CREDENTIALS):
        text = f"{what} in {token.where} can only be read by the service itself"
        return AREA.unknown(name, text, "systemctl status ckptd; journalctl -u ckptd")
    if token.problem:
        mend = "put the token where the manifest says, for the user that runs ckptd to read, or take the table out"
        return AREA.bad(name, token.problem, mend, status=2)
    if token.mode is not None and token.mode & OTHERS_READ:
        text = f"{what} in {token.where} can be read by everybody (mode {token.mode:04o})"
        return AREA.warn(name, text, f"chmod 0400 {quote(token.where)}, and have the token replaced by a new one")
    return AREA.ok(name, f"{what} is there, from {token.where}")


def _origin(origin: Origin, served: set[str]) -> Finding:
    """What it answers; it is only bad where a checkpoint can be had from nowhere else."""
    name = f"origin-{origin.label}"
    lonely = [each for each in origin.names if each not in served]
    fault, mend = _fault(origin)
    if origin.signed and origin.get in UNSIGNED:
        return AREA.ok(name, f"{origin.label} answers; what it serves takes signed addresses, so no more was asked")
    if not fault:
        head = "" if origin.head in ANSWERED else f" (to HEAD it says {origin.head or 'nothing'})"
        return AREA.ok(name, f"{origin.label} answers, and serves ranges{head}")
    if origin.answers:
        return AREA.warn(name, fault, mend)
    if lonely:
        return AREA.bad(name, f"{fault}; nobody else has {listed(lonely)}", mend)
    return AREA.warn(name, f"{fault}; other sources answer", mend)


def _fault(origin: Origin) -> tuple[str, str]:
    label, url = origin.label, quote(origin.url)
    if origin.problem:
        return origin.problem, origin.hint or f"curl -sSI {url}; look at names (DNS), proxy, firewall"
    match origin.get:
        case 206:
            return "", ""
        case 200:
            return f"{label} serves no ranges: what is cut begins again, on one connection", "take a mirror: [sources]"
        case 401 | 403:
            mend = f'give it a token: [auth."{label}"] bearer_file; or see whether the URL has expired'
            return f"{label} answers {origin.get} for {origin.url}: not without credentials", mend
        case 404 | 410:
            return f"{label} answers {origin.get} for {origin.url}", f"ckptd drift {quote(origin.names[0])}"
        case 429 | 503:
            return f"{label} is busy: it answers {origin.get}", "ckptd doctor, later"
        case _:
            return f"{label} answers {origin.get} for {origin.url}", f"curl -sSI {url}"


def _clock(skews: list[float]) -> Iterator[Finding]:
    """What the origins' clocks say of ours. One may be wrong; of several the one in the middle counts."""
    if not skews:
        return
    skew = sorted(skews)[len(skews) // 2]
    mend = "timedatectl set-ntp true, or set the clock by hand"
    text = f"the clock is {format_duration(abs(skew))} {'ahead of' if skew > 0 else 'behind'} the origins'"
    if abs(skew) > LARGEST_SKEW:
        yield AREA.bad("clock", f"{text}: certificates will look invalid", mend, status=5)
    elif abs(skew) > SLACK:
        yield AREA.warn("clock", text, mend)
    else:
        yield AREA.ok("clock", "the clock agrees with the origins'")
