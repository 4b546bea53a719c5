"""Which hosts are this machine, and which are on a private network, judged by their spelling alone.

Also reads the spellings that `inet_aton` takes and people overlook (127.1, 2130706433, 0x7f.1, wide digits).
Resolves no names: a public name that points to a private address is met where the connection is made.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

# Why each is here: a redirect from the outside has no business there.
PRIVATE_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # "this host": Linux connects to itself
        "10.0.0.0/8",  # RFC 1918
        "100.64.0.0/10",  # RFC 6598, carrier NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, and every cloud's metadata service
        "172.16.0.0/12",  # RFC 1918
        "192.168.0.0/16",  # RFC 1918
        "255.255.255.255/32",  # broadcast
    )
)
PRIVATE_V6 = tuple(
    IPv6Network(network)
    for network in (
        "::/128",  # unspecified: Linux connects to itself
        "::1/128",  # loopback
        "fc00::/7",  # RFC 4193, unique local
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local, retired but still routed inside
    )
)
# IPv6 networks whose last 32 bits are an IPv4 address that is really meant: mapped, NAT64, compatible.
CARRIES_V4 = tuple(IPv6Network(network) for network in ("::ffff:0:0/96", "64:ff9b::/96", "::/96"))

LINK_LOCAL_V4, LINK_LOCAL_V6 = IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10")

_NUMBER = re.compile(r"0x[0-9a-f]{1,40}|[0-9]{1,40}")


class Reach(Enum):
    """From how far away a host can be reached, as far as matters for where a redirect may lead."""

    PUBLIC = "public"
    PRIVATE = "private"  # this machine, and networks that somebody built
    LINK_LOCAL = "link-local"  # this cable alone: the metadata services of clouds, and no file of anybody's


def is_loopback_host(host: str) -> bool:
    """This machine, however it is spelled. Ambiguous spellings are not: being loopback grants something."""
    name = _plain(host)
    if _is_localhost(name):
        return True
    addresses = _addresses(name)
    return bool(addresses) and all(address.is_loopback for address in addresses)


def is_private_host(host: str) -> bool:
    """Loopback, link-local, RFC 1918, unique local, unspecified or carrier NAT. Ambiguous spellings are."""
    name = _plain(host)
    return _is_localhost(name) or any(_is_private(address) for address in _addresses(name))


def reach_of(host: str) -> Reach:
    """Judged by the nearest of its readings where a spelling has several."""
    if any(reach_of_address(address) is Reach.LINK_LOCAL for address in _addresses(_plain(host))):
        return Reach.LINK_LOCAL
    return Reach.PRIVATE if is_private_host(host) else Reach.PUBLIC


def reach_of_address(address: IPv4Address | IPv6Address) -> Reach:
    """Of an address that a name led to. Whatever is not for the whole world (IANA's registries) is private."""
    inner = _carried(address) if isinstance(address, IPv6Address) else None
    address = inner or address
    network = LINK_LOCAL_V4 if isinstance(address, IPv4Address) else LINK_LOCAL_V6
    if address in network:
        return Reach.LINK_LOCAL
    return Reach.PUBLIC if address.is_global and not _is_private(address) else Reach.PRIVATE


def _plain(host: str) -> str:
    """Lower case, without brackets, zone and final dot, as a resolver would see it (NFKC, as in IDNA)."""
    name = unicodedata.normalize("NFKC", host).replace("\u3002", ".").lower().strip("[]")
    return name.partition("%")[0].removesuffix(".")


def _is_localhost(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")  # RFC 6761 section 6.3


def _is_private(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return any(address in network for network in PRIVATE_V4)
    return any(address in network for network in PRIVATE_V6)


def _addresses(name: str) -> tuple[IPv4Address | IPv6Address, ...]:
    """Every address that some reader would take `name` for; none when it is a name."""
    if ":" in name:
        try:
            address = IPv6Address(name)
        except ValueError:
            return ()
        inner = _carried(address)
        return (address,) if inner is None else (inner,)
    readings = (_old_style(name, octal=True), _old_style(name, octal=False))
    return tuple(dict.fromkeys(address for address in readings if address is not None))


def _carried(address: IPv6Address) -> IPv4Address | None:
    if address in PRIVATE_V6[0] or address in PRIVATE_V6[1]:
        return None  # :: and ::1 are themselves, though ::/96 contains them
    if address.sixtofour is not None:
        return address.sixtofour
    if any(address in network for network in CARRIES_V4):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _old_style(name: str, *, octal: bool) -> IPv4Address | None:
    """inet_aton's reading: one to four numbers, the last fills what is left. A leading 0 is octal to some."""
    parts = name.split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    try:
        numbers = [_number(part, octal=octal) for part in parts]
    except ValueError:
        return None
    *heads, tail = numbers
    if any(head > 255 for head in heads) or tail >= 256 ** (4 - len(heads)):
        return None
    value = tail
    for place, head in enumerate(heads):
        value |= head << (24 - 8 * place)
    return IPv4Address(value)


def _number(part: str, *, octal: bool) -> int:
    if part.startswith("0x"):
        return int(part, 16)
    return int(part, 8 if octal and part.startswith("0") else 10)
