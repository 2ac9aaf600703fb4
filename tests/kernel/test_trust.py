"""Whose word counts about where a request came from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield._settings import ServerSettings
from jackfield._transport.trust import Trust, neighbourhood, plain

PROXY = "10.0.0.1"
CLIENT = "203.0.113.7"


def trust(*proxies: str, hosts: tuple[str, ...] = ()) -> Trust:
    return Trust(ServerSettings(trusted_proxies=proxies, hosts=hosts))


def came(trusted: Trust, peer: str, *headers: tuple[str, str], secure: bool = False) -> tuple[str, bool]:
    return trusted.client(peer, secure, [(name.lower().encode(), value.encode("latin-1")) for name, value in headers])


def test_nobody_is_believed_unless_configured() -> None:
    """The address is that of the connection."""
    headers = [("X-Forwarded-For", CLIENT), ("X-Forwarded-Proto", "https"), ("Forwarded", f"for={CLIENT};proto=https")]
    assert came(trust(), "127.0.0.1", *headers) == ("127.0.0.1", False)
    assert came(trust(PROXY), "10.0.0.2", *headers) == ("10.0.0.2", False)
    assert came(trust(PROXY), "", *headers) == ("", False)


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (CLIENT, CLIENT),
        (f"6.6.6.6, {CLIENT}", CLIENT),
        (f"6.6.6.6, {CLIENT}, 10.0.0.9", CLIENT),
        ("10.0.0.8, 10.0.0.9", "10.0.0.8"),
        (f"{CLIENT}:4711", CLIENT),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("[2001:DB8:0::7]", "2001:db8::7"),
        (f"::ffff:{CLIENT}", CLIENT),
        ("::ffff:10.0.0.9", "10.0.0.9"),
        (f"{CLIENT}, unknown", PROXY),
        (f"{CLIENT}, unknown, 10.0.0.9", "10.0.0.9"),
        ("", PROXY),
        (",", PROXY),
        ("999.1.1.1", PROXY),
        ("localhost", PROXY),
        (", ".join(["10.0.0.3"] * 60), "10.0.0.3"),
    ],
)
def test_x_forwarded_for(value: str, address: str) -> None:
    """The last address that is no trusted proxy's; what cannot be read is where belief ends."""
    assert came(trust("10.0.0.0/8"), PROXY, ("X-Forwarded-For", value)) == (address, False)


def test_x_forwarded_for_in_several_lines() -> None:
    """They are one list; the client's own is the first of it."""
    lines = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", CLIENT)]
    assert came(trust(PROXY), PROXY, *lines)[0] == CLIENT


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"for={CLIENT}", (CLIENT, False)),
        (f"for={CLIENT};proto=https;by=10.0.0.1", (CLIENT, True)),
        (f"For={CLIENT};Proto=HTTPS", (CLIENT, True)),
        ('for="[2001:db8::7]:4711"', ("2001:db8::7", False)),
        (f"for=6.6.6.6;proto=https, for={CLIENT};proto=http", (CLIENT, False)),
        (f"for={CLIENT};proto=https, for=10.0.0.9;proto=http", (CLIENT, True)),
        (f'for="6.6.6.6, for={CLIENT}', (CLIENT, False)),
        ("for=unknown", (PROXY, False)),
        ("for=_hidden", (PROXY, False)),
        ("nonsense", (PROXY, False)),
        (";;==", (PROXY, False)),
    ],
)
def test_forwarded(value: str, expected: tuple[str, bool]) -> None:
    """As RFC 7239 writes it."""
    assert came(trust("10.0.0.0/8"), PROXY, ("Forwarded", value)) == expected


def test_both_headers() -> None:
    """Where they differ one is the client's own, and neither is believed."""
    both = [("X-Forwarded-For", CLIENT), ("X-Forwarded-Proto", "https")]
    assert came(trust(PROXY), PROXY, *both, ("Forwarded", f"for={CLIENT}")) == (CLIENT, True)
    assert came(trust(PROXY), PROXY, *both, ("Forwarded", "for=6.6.6.6")) == (PROXY, False)


@pytest.mark.parametrize(
    ("hops", "proto", "secure"),
    [
        (CLIENT, "https", True),
        (CLIENT, "HTTPS", True),
        (CLIENT, "wss", True),
        (CLIENT, "http", False),
        (CLIENT, "https, http", False),
        (f"{CLIENT}, 10.0.0.9", "https, http", True),
        (f"6.6.6.6, {CLIENT}, 10.0.0.9", "https, http, http", False),
        (CLIENT, "", False),
    ],
)
def test_x_forwarded_proto(hops: str, proto: str, secure: bool) -> None:
    """What was said of the client's own connection."""
    headers = [("X-Forwarded-For", hops), ("X-Forwarded-Proto", proto)]
    assert came(trust("10.0.0.0/8"), PROXY, *headers) == (CLIENT, secure)


def test_a_proxy_may_speak_tls_itself() -> None:
    """Where it says nothing of it, its connection is what counts."""
    assert came(trust(PROXY), PROXY, ("X-Forwarded-For", CLIENT), secure=True) == (CLIENT, True)
    headers = [("X-Forwarded-For", CLIENT), ("X-Forwarded-Proto", "http")]
    assert came(trust(PROXY), PROXY, *headers, secure=True) == (CLIENT, False)


def test_a_unix_socket() -> None:
    """Its clients have no address, and are trusted by name."""
    assert came(trust("unix"), "", ("X-Forwarded-For", CLIENT)) == (CLIENT, False)
    assert came(trust("unix"), PROXY, ("X-Forwarded-For", CLIENT)) == (PROXY, False)


def test_a_socket_of_both_families() -> None:
    """An address of IPv4 that came in one of IPv6 is one of IPv4."""
    assert came(trust(PROXY), f"::ffff:{PROXY}", ("X-Forwarded-For", CLIENT)) == (CLIENT, False)
    assert came(trust(), f"::ffff:{CLIENT}") == (CLIENT, False)
    assert plain("fe80::1%eth0") == "fe80::1%eth0"


@given(
    st.lists(st.tuples(st.sampled_from(["X-Forwarded-For", "Forwarded", "X-Forwarded-Proto"]), st.text(max_size=60)))
)
def test_nothing_that_is_sent_breaks_it(headers: list[tuple[str, str]]) -> None:
    """Whatever the headers hold, there is an answer."""
    lines = [(name.lower().encode(), value.encode("utf-8", "replace")) for name, value in headers]
    address, secure = trust("10.0.0.0/8").client(PROXY, False, lines)
    assert address
    assert secure in (True, False)


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("example.com", True),
        ("EXAMPLE.com", True),
        ("example.com:8000", True),
        ("other.com:81", True),
        ("other.com", False),
        ("other.com:82", False),
        ("[::1]:8000", True),
        ("[::1]", True),
        ("evil.example.com", False),
        ("example.com.evil", False),
        ("", False),
        (None, False),
    ],
)
def test_the_names_of_the_server(host: str | None, served: bool) -> None:
    """A name is served on every port, unless it is listed with one."""
    assert trust(hosts=("example.com", "other.com:81", "[::1]")).serves(host) is served
    assert trust().serves(host)


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("localhost:9000", True),
        ("127.0.0.1", True),
        ("[::1]:9000", True),
        ("app.localhost", True),
        (None, True),
        ("evil.com:9000", False),
        ("localhost.evil.com", False),
        ("listed.com", True),
    ],
)
def test_names_of_this_machine(host: str | None, own: bool) -> None:
    """Those that no page of somebody else can have."""
    assert trust(hosts=("listed.com",)).is_own_name(host) is own


def test_neighbours() -> None:
    """Who has one address of IPv6 has all of its network."""
    assert neighbourhood("192.0.2.1") == "192.0.2.1"
    assert neighbourhood("2001:db8::1") == neighbourhood("2001:db8::ffff:1") != neighbourhood("2001:db8:0:1::1")
    assert neighbourhood("fe80::1%eth0") == "fe80::/64"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trusted_proxies", "10.0.0.1/8"),
        ("trusted_proxies", "proxy"),
        ("trusted_proxies", "*"),
        ("hosts", "http://example.com"),
        ("hosts", "*"),
        ("hosts", "a b"),
        ("cors_origins", "null"),
        ("cors_origins", "example.com"),
        ("cors_origins", "https://example.com/"),
        ("cors_origins", "https://*.example.com"),
    ],
)
def test_what_cannot_be_configured(key: str, value: str) -> None:
    """What would match nothing, or everything, is refused at the start."""
    with pytest.raises(ValueError, match=key):
        ServerSettings.model_validate({key: [value]})
