"""Which network addresses an image may be fetched from.

Whoever sends items chooses the addresses we connect to, from inside our network. So only addresses
of the public internet are reached, unless a network is allowed by setting. The lists are IANA's
special-purpose registries, kept here because those of Python's `ipaddress` differ by version.
"""

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

Resolve = Callable[[str, int], list[str]]
"""Addresses of a host name, best first; OSError when it has none."""

_SPECIAL_IPV4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network; 0.0.0.0 reaches this machine
        "10.0.0.0/8",
        "100.64.0.0/10",  # behind a carrier's NAT, also some clouds' metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's metadata: a public address that never leaves the host
        "169.254.0.0/16",  # link-local, also most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")  # the rest is local, multicast, embeds IPv4, ...
_SPECIAL_IPV6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # Teredo, which embeds IPv4, and other protocols
        "2001:db8::/32",
        "2002::/16",  # 6to4 embeds IPv4
        "3fff::/20",
    )
)


def is_public(address: Address) -> bool:
    """Return whether an address belongs to a host of the public internet.

    An IPv6 address that leads to an IPv4 one through a gateway (NAT64, 6to4, Teredo) does not: the
    gateway decides where it ends. An IPv4-mapped one is judged as the IPv4 address it is.

    Example:
        >>> is_public(ipaddress.ip_address("1.1.1.1"))
        True
        >>> is_public(ipaddress.ip_address("::ffff:127.0.0.1"))
        False
    """
    address = _unmapped(address)
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    return address in _GLOBAL_IPV6 and not any(address in network for network in _SPECIAL_IPV6)


@dataclass(frozen=True, kw_only=True, slots=True)
class AddressRule:
    """What may be connected to: the public internet, and networks that were allowed."""

    allow: tuple[Network, ...] = ()
    """Networks that may be reached although they are not public."""

    def permits(self, address: Address) -> bool:
        """Return whether an address may be connected to."""
        address = _unmapped(address)
        return is_public(address) or any(address in network for network in self.allow)

    def permitted(self, addresses: list[str]) -> list[str]:
        """Return those of a host's addresses that may be connected to, in order."""
        return [text for text in addresses if self.permits(ipaddress.ip_address(text))]


def parse_networks(text: str) -> tuple[Network, ...]:
    """Parse a list of networks such as "10.0.0.0/8, fd00::/8"; an empty text names none.

    Raises:
        ValueError: a part is no network, or has bits set beyond its prefix.
    """
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host as the system's resolver gives them.

    It also reads the old spellings of IPv4 (`127.1`, `0x7f000001`, `017700000001`), which is why an
    address is judged after this and never by its spelling.

    Raises:
        OSError: the name does not exist, or nobody could be asked.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def _unmapped(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped
