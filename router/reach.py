"""What handlers may reach by HTTP: every public address, and of the others what is allowed.

The addresses that a host stands for are looked at, not its name: a name that leads inside is as
good a way in as the address itself. What an IPv6 address holds of IPv4 is looked at, too.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import msgspec

from router.errors import OutOfReach

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

ALLOWED = 'a list of networks and hosts, such as ["10.0.0.0/8", "orders.internal", "*.svc.local"]'

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # a last label like this makes a host an IPv4 address


def _read(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


# Prefixes behind which a gateway, or the system itself, takes the last 32 bits for an IPv4 address.
_TRANSLATED = _read("::ffff:0:0/96", "64:ff9b::/96", "::/96")
_ISATAP = (0x5EFE, 0x0200_5EFE)


_METADATA = "where clouds hand out credentials"
_LOOPBACK = "this machine itself"
_PRIVATE = "a private address"
_SPECIAL = "an address with a special use"
_INSIDE = (_LOOPBACK, _PRIVATE)
# The first that fits. What is missing here and not public either, `ipaddress` knows; but that
# differs from one version of Python to another.
_KINDS: Mapping[str, Sequence[Network]] = {
    _METADATA: _read(  # AWS and most others; its containers; Alibaba; Azure; AWS and Google by IPv6
        *("169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200"),
        *("168.63.129.16", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
    ),
    _LOOPBACK: _read("127.0.0.0/8", "0.0.0.0/8", "::1", "::"),
    "a link-local address": _read("169.254.0.0/16", "fe80::/10"),
    "a multicast address": _read("224.0.0.0/4", "ff00::/8"),
    # With the address space that carriers and networks of containers share.
    _PRIVATE: _read("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
    _SPECIAL: _read(
        *("192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4"),
        *("2001::/23", "2001:db8::/32", "3fff::/20"),  # the first with Teredo, IPv4 inside out
    ),
}
_UNICAST = IPv6Network("2000::/3")  # what of IPv6 is given to anybody at all


class Reach(msgspec.Struct, frozen=True):
    """What may be reached.

    Attributes:
        networks: All in them may be, whatever the host is called; of where clouds hand out
            credentials, only what is a network by itself.
        hosts: Names that may lead to private addresses and to this machine.
        domains: Endings of such names, each with its dot.
    """

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()
    domains: tuple[str, ...] = ()

    def require_host(self, host: str) -> None:
        """Return when ``host`` is written so that everybody reads it in the same way.

        Raises:
            OutOfReach: It is a number, or holds what no name of a host does.
        """
        if ":" in host:
            is_plain = _is_address(host)
        else:
            name = host.lower().removesuffix(".")
            labels = name.split(".")
            is_plain = _is_address(host) if _NUMBER.fullmatch(labels[-1]) else _is_name(labels)
        if not is_plain:
            raise OutOfReach(
                f"the host {host!r} is written in a way that not everybody reads alike: write a "
                "name, an IPv4 address as four decimal numbers, or an IPv6 address"
            )

    def require(self, host: str, addresses: Sequence[str]) -> None:
        """Return when all ``addresses`` of ``host`` may be reached.

        Raises:
            OutOfReach: One may not; says why, and how it could be allowed.
        """
        for text in addresses:
            address = ipaddress.ip_address(text)
            kind = self._find_objection(host, address)
            if kind:
                whose = "" if text == host else f"{host} leads to "
                raise OutOfReach(
                    f"{whose}{text}, {kind}: if handlers are to reach it, add it to `allow` "
                    "beneath [http] in the settings"
                )

    def _find_objection(self, host: str, address: Address) -> str:
        """Return what kind of address that is; empty where it may be reached."""
        inner = find_inner(address)
        if inner is not None:
            objection = self._find_objection(host, inner)
            if objection or any(address in network for network in _TRANSLATED):
                return objection
        kind = name_kind(address)
        if kind == _METADATA:
            is_allowed = ipaddress.ip_network(address) in self.networks
        else:
            is_allowed = any(address in network for network in self.networks)
        return "" if is_allowed or (kind in _INSIDE and self._is_named(host)) else kind

    def _is_named(self, host: str) -> bool:
        name = host.lower().removesuffix(".")
        return name in self.hosts or name.endswith(self.domains)


def make_reach(allow: Sequence[str]) -> Reach:
    """Return what may be reached where ``allow`` is allowed.

    Args:
        allow: Networks (``10.0.0.0/8``, ``::1``), hosts (``orders.internal``), and endings of
            hosts (``*.svc.local``).

    Raises:
        ValueError: One is none of these; says what there may be.
    """
    networks: list[Network] = []
    hosts: set[str] = set()
    domains: list[str] = []
    for text in allow:
        name = text.lower().removesuffix(".")
        if (network := _read_network(text)) is not None:
            networks.append(network)
        elif _is_name(name.removeprefix("*.").split(".")):
            if name.startswith("*."):
                domains.append(name[1:])
            else:
                hosts.add(name)
        else:
            raise ValueError(f"{ALLOWED}: {text!r} is neither")
    return Reach(tuple(networks), frozenset(hosts), tuple(domains))


def find_inner(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to by way of a translation or a tunnel."""
    if isinstance(address, IPv4Address):
        return None
    number = int(address)
    if any(address in network for network in _TRANSLATED):
        is_own = number <= 1  # unspecified and loopback
        return None if is_own else IPv4Address(number & 0xFFFF_FFFF)
    if (number >> 32) & 0xFFFF_FFFF in _ISATAP:
        return IPv4Address(number & 0xFFFF_FFFF)
    return address.sixtofour


def name_kind(address: Address) -> str:
    """Return what kind of address that is, in words; empty for a public one."""
    for kind, networks in _KINDS.items():
        if any(address in network for network in networks):
            return kind
    is_unicast = isinstance(address, IPv4Address) or address in _UNICAST
    return "" if is_unicast and address.is_global and not address.is_reserved else _SPECIAL


def _read_network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def _is_address(host: str) -> bool:
    """Whether it is an address in its common form, without the name of a network card."""
    try:
        return "%" not in host and bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _is_name(labels: Sequence[str]) -> bool:
    is_number = _NUMBER.fullmatch(labels[-1]) is not None
    return not is_number and all(_LABEL.fullmatch(label) for label in labels)
