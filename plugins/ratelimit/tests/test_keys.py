"""Whose bucket it is."""

from __future__ import annotations

import pytest

from jackfield_ratelimit.keys import _network


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("no: address", "no: address"),
    ],
)
def test_addresses_of_ipv6_count_by_their_network(address, network):
    """Whoever has one address of a /64 has 2^64 of them."""
    assert _network(address) == network
