"""Tests for addresses.py, against Python's own `ipaddress` and known special addresses."""

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from catalog.images.addresses import AddressRule, is_public, parse_networks, resolve

NONE_ALLOWED = AddressRule()


def public(text):
    return is_public(ipaddress.ip_address(text))


@given(st.ip_addresses())
@example(ipaddress.ip_address("fec0::1"))  # site-local, which `is_global` calls global
@example(ipaddress.ip_address("224.0.0.1"))
def test_whatever_python_knows_to_be_special_is_not_public(address):
    special = (
        not address.is_global
        or address.is_multicast
        or address.is_reserved
        or address.is_link_local
        or address.is_loopback
        or address.is_unspecified
        or getattr(address, "is_site_local", False)
    )
    if special and getattr(address, "ipv4_mapped", None) is None:
        assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_no_more_ipv4_addresses_are_refused_than_python_calls_special(address):
    more = parse_networks("168.63.129.16/32, 192.0.0.0/24, 192.88.99.0/24, 224.0.0.0/4")
    if address.is_global and not any(address in network for network in more):
        assert is_public(address)


@given(st.ip_addresses(v=4))
@example(ipaddress.ip_address("127.0.0.1"))
@example(ipaddress.ip_address("169.254.169.254"))
def test_ipv4_inside_ipv6_is_never_more_public_than_by_itself(address):
    number = int(address)
    assert public(f"::ffff:{address}") == is_public(address)
    for gateway in ("::", "64:ff9b::", "64:ff9b:1::", "2001::", "2002::", "fe80::5efe:0:0"):
        base = int(ipaddress.ip_address(gateway))
        assert not is_public(ipaddress.IPv6Address(base | number))
    assert not is_public(ipaddress.IPv6Address(0x2002 << 112 | number << 80))  # 6to4 as it is used


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.31.255.255",
        "192.0.0.192",
        "192.168.0.1",
        "198.19.0.1",
        "239.255.255.250",
        "255.255.255.255",
        "::",
        "::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
    ],
)
def test_special_addresses_are_refused(text):
    assert not public(text)
    assert NONE_ALLOWED.permitted([text]) == []


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "100.63.255.255", "172.32.0.0", "2606:4700::1111", "::ffff:9.9.9.9"]
)
def test_public_addresses_are_permitted(text):
    assert NONE_ALLOWED.permitted([text]) == [text]


def test_of_a_hosts_addresses_only_the_permitted_remain_in_order():
    found = ["10.0.0.1", "9.9.9.9", "::1", "1.1.1.1"]
    assert NONE_ALLOWED.permitted(found) == ["9.9.9.9", "1.1.1.1"]


def test_an_allowed_network_is_permitted_and_nothing_beside_it():
    rule = AddressRule(allow=parse_networks("10.1.0.0/16,fd00::/8"))
    assert rule.permitted(["10.1.255.255", "10.2.0.0", "fd00::1", "fc00::1"]) == [
        "10.1.255.255",
        "fd00::1",
    ]
    assert rule.permitted(["::ffff:10.1.0.1", "::ffff:10.2.0.1"]) == ["::ffff:10.1.0.1"]


def test_networks_are_read_from_a_list():
    assert parse_networks("") == ()
    assert parse_networks(" 10.0.0.0/8 , ::1,") == (
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("::1/128"),
    )


@pytest.mark.parametrize("text", ["10.0.0.1/8", "localhost", "10.0.0.0/33"])
def test_what_is_no_network_is_refused(text):
    with pytest.raises(ValueError, match=text.split("/")[0]):
        parse_networks(text)


@pytest.mark.parametrize("spelling", ["127.1", "0x7f000001", "2130706433", "017700000001", "0"])
def test_old_spellings_of_this_machine_are_judged_by_what_they_resolve_to(spelling):
    found = resolve(spelling, 80)  # answered by the C library without a name server
    assert found in (["127.0.0.1"], ["0.0.0.0"])
    assert NONE_ALLOWED.permitted(found) == []
