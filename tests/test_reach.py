"""Tests of `router.reach`: no address inside is reached by any spelling, but for those allowed."""

import ipaddress

import pytest

from router.errors import OutOfReach
from router.reach import Reach, make_reach

INSIDE = [
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "::1", "::"),  # noqa: S104
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fd12::1", "fc00::"),
    *("169.254.169.254", "169.254.0.1", "fe80::1", "fd00:ec2::254", "100.100.100.200"),
    *("168.63.129.16", "169.254.170.2", "fd20:ce::254"),
    *("224.0.0.1", "239.255.255.255", "255.255.255.255", "240.0.0.1", "ff02::1"),
    *("192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1"),
    *("2001:db8::1", "3fff::1", "100::1", "fec0::1", "4000::1", "64:ff9b:1::1", "2001::1"),
    # The same by way of a translation or a tunnel.
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0"),
    *("::127.0.0.1", "::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1"),
    *("2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::"),
    *("2600::5efe:10.0.0.1", "2600::200:5efe:127.0.0.1"),
]
OUTSIDE = [
    *("8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "198.20.0.1", "2600::1", "2a00:1450::1"),
    *("::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "2600::5efe:8.8.8.8"),
]


@pytest.mark.parametrize("address", INSIDE)
def test_no_address_inside_is_reached(address: str) -> None:
    """Whatever is not a public address is refused, by its name too, and it is told what to do."""
    for host in (address, "host.example"):
        with pytest.raises(OutOfReach, match=r"add it to `allow` beneath \[http\]"):
            Reach().require(host, [address])


@pytest.mark.parametrize("address", OUTSIDE)
def test_public_addresses_are_reached(address: str) -> None:
    """What everybody can reach, handlers can too."""
    Reach().require("host.example", [address])


def test_one_address_inside_is_enough_to_refuse_a_host() -> None:
    """A host with a public address and one inside is refused: it is not left to chance."""
    with pytest.raises(OutOfReach, match=r"host.example leads to 10.0.0.1, a private address"):
        Reach().require("host.example", ["8.8.8.8", "10.0.0.1"])


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "127.1", "127.0.1", "0", "0x"),
        *("127.0.0.1.", "1.2.3.4.5", "256.0.0.1", "01.2.3.4", "127.0.0.0x1", "a.1", "1.2.3"),
        *("127.0.0.1%00.example", "%31%32%37.0.0.1", "a b", "", ".", "..", "a..b", "a@b", "a/b"),
        *("fe80::1%25eth0", "fe80::1%eth0", "::1::", "[::1]", "-a", "a-.example", "a" * 64, "ü"),
    ],
)
def test_odd_spellings_are_refused_before_they_are_looked_up(host: str) -> None:
    """What one program reads as one host and the next as another is refused, even if allowed."""
    with pytest.raises(OutOfReach, match="not everybody reads alike"):
        make_reach(["0.0.0.0/0", "::/0"]).require_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "a",
        "Host.Example",
        "host.example.",
        "xn--tda.example",
        "1a.example",
        "a_b",
        "1.1.1.1",
        "::1",
    ],
)
def test_common_spellings_are_taken(host: str) -> None:
    """Names, in capitals or with a last dot, and addresses in their common form are."""
    Reach().require_host(host)


@pytest.mark.parametrize(
    ("allowed", "host", "address"),
    [
        ("10.0.0.0/8", "orders.internal", "10.1.2.3"),
        ("10.0.0.0/8", "10.1.2.3", "10.1.2.3"),
        ("10.0.0.0/8", "orders.internal", "::ffff:10.1.2.3"),
        ("10.0.0.0/8", "orders.internal", "64:ff9b::10.1.2.3"),
        ("fd12::/16", "orders.internal", "fd12::7"),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("orders.internal", "orders.internal", "10.1.2.3"),
        ("orders.internal", "ORDERS.internal.", "127.0.0.1"),
        ("Orders.Internal.", "orders.internal", "fd12::7"),
        ("*.svc.local", "a.b.svc.local", "10.1.2.3"),
        ("169.254.169.254", "169.254.169.254", "169.254.169.254"),
        ("169.254.0.0/16", "printer", "169.254.7.7"),
        ("224.0.0.0/4", "group", "224.0.0.1"),
    ],
)
def test_what_is_allowed_is_reached(allowed: str, host: str, address: str) -> None:
    """A network opens its addresses, a host or an ending the private ones that it leads to."""
    with pytest.raises(OutOfReach):
        Reach().require(host, [address])
    make_reach([allowed]).require(host, [address])


@pytest.mark.parametrize(
    ("allowed", "host", "address"),
    [
        ("10.0.0.0/8", "host", "11.0.0.1 127.0.0.1"),
        ("10.0.0.0/8", "host", "::ffff:192.168.0.1"),
        ("orders.internal", "xorders.internal", "10.1.2.3"),
        ("orders.internal", "a.orders.internal", "10.1.2.3"),
        ("*.svc.local", "svc.local", "10.1.2.3"),
        ("*.svc.local", "asvc.local", "10.1.2.3"),
        # A name of one's own that leads to where clouds hand out credentials is no name to trust.
        ("orders.internal", "orders.internal", "169.254.169.254"),
        ("orders.internal", "orders.internal", "fd00:ec2::254"),
        ("orders.internal", "orders.internal", "::ffff:169.254.169.254"),
        ("orders.internal", "orders.internal", "169.254.7.7"),
        ("orders.internal", "orders.internal", "224.0.0.1"),
        # Nor does a wide network mean them.
        ("0.0.0.0/0", "host", "169.254.169.254"),
        ("100.64.0.0/10", "host", "100.100.100.200"),
        ("fc00::/7", "host", "fd00:ec2::254"),
    ],
)
def test_what_is_allowed_opens_nothing_else(allowed: str, host: str, address: str) -> None:
    """Neighbours, namesakes, and where clouds hand out credentials stay closed."""
    with pytest.raises(OutOfReach):
        make_reach([allowed]).require(host, address.split())


@pytest.mark.parametrize("entry", ["", "*", "*.", "http://a", "a/b", "10.0.0.1/8", "10", "a:80"])
def test_a_slip_in_the_list_is_refused(entry: str) -> None:
    """What is no network, host or ending is told with what may stand there."""
    with pytest.raises(ValueError, match=r"a list of networks and hosts.* is neither"):
        make_reach([entry])


def test_every_address_is_judged_as_the_system_reads_it() -> None:
    """Whole networks are refused to their last address, and their neighbours are not."""
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"):
        network = ipaddress.ip_network(text)
        for address in (network[0], network[-1]):
            with pytest.raises(OutOfReach):
                Reach().require("host", [str(address)])
        Reach().require("host", [str(network[0] - 1), str(network[-1] + 1)])
