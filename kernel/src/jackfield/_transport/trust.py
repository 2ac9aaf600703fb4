"""What is believed of a request: where it came from, and under which name the server was asked.

A header says what its sender likes. Those of proxies count only where a proxy that is trusted has sent them, and each
of them has added the address that it saw at the end, so they are read from there.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from jackfield._settings import UNIX, ServerSettings

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_FOR: Final = b"x-forwarded-for"
_PROTO: Final = b"x-forwarded-proto"
_STANDARD: Final = b"forwarded"
_PAIR: Final = re.compile(r'\s*([A-Za-z-]+)=(?:"([^"]*)"|([^\s;,"]*))\s*')
_SECURE: Final = ("https", "wss")
_LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
_MOST: Final = 50
"""Hops that are read; a chain of proxies is much shorter."""


class Trust:
    """Whom one server believes.

    Args:
        settings: Its proxies, and its names.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._hosts = frozenset(host.lower() for host in settings.hosts)
        self._unix = UNIX in settings.trusted_proxies
        self._networks = [ipaddress.ip_network(proxy) for proxy in settings.trusted_proxies if proxy != UNIX]

    def client(self, address: str, secure: bool, headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, bool]:
        """Return the address of a request's client, and whether it came over TLS.

        Args:
            address: Who has connected; empty on a Unix socket.
            secure: Whether that was over TLS.
            headers: Names, in lower case, and values.
        """
        peer = plain(address)
        if not self._networks and not self._unix:
            return peer, secure
        if not self._trusts(peer):
            return peer, secure
        lines: dict[bytes, list[str]] = {}
        for name, value in headers:
            if name in (_FOR, _PROTO, _STANDARD):
                lines.setdefault(name, []).append(value.decode("latin-1"))
        standard = _forwarded(lines.get(_STANDARD, ()))
        protos = _listed(lines.get(_PROTO, ()))
        usual = [(hop, "") for hop in _listed(lines.get(_FOR, ()))]
        found, index = self._walk(peer, usual or standard)
        if usual and standard and self._walk(peer, standard)[0] != found:
            return peer, secure  # one of the two is the client's own word, and nobody knows which
        proto = standard[-index][1] if standard and not usual and index else ""
        if protos:
            proto = protos[-index] if index and len(protos) == len(usual) else protos[-1]
        return found, proto.lower() in _SECURE if proto else secure

    def serves(self, host: str | None) -> bool:
        """Tell whether the server may be asked under this name, the value of a `Host` header."""
        return not self._hosts or (host is not None and self._listed(host))

    def is_own_name(self, host: str | None) -> bool:
        """Tell whether a program on this machine asks the server by a name that leads nowhere else.

        A page that was led here under its own name (DNS rebinding) does not.
        """
        if host is None:
            return True
        name = _name(host)
        return name in _LOCAL_NAMES or name.endswith(".localhost") or self._listed(host)

    def _listed(self, host: str) -> bool:
        return host.lower() in self._hosts or _name(host) in self._hosts

    def _trusts(self, address: str) -> bool:
        if not address:
            return self._unix
        parsed = _parse(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def _walk(self, peer: str, hops: Sequence[tuple[str, str]]) -> tuple[str, int]:
        """Return the first address from the end that is no trusted proxy's, and how far from the end it stands."""
        found, index = peer, 0
        while self._trusts(found) and index < min(len(hops), _MOST):
            parsed = _parse(hops[-index - 1][0])
            if parsed is None:
                break
            found, index = str(parsed), index + 1
        return found, index


def plain(address: str) -> str:
    """Return an address as it is written; one of IPv4 that came in a socket of IPv6 as one of IPv4."""
    parsed = _parse(address) if ":" in address else None
    return address if parsed is None else str(parsed)


def neighbourhood(address: str) -> str:
    """Return what one client can have of addresses: one of IPv4, or the /64 network of one of IPv6."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))


def _parse(text: str) -> Address | None:
    """Return an address, written with a port or without."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _listed(lines: Iterable[str]) -> list[str]:
    return [item.strip() for line in lines for item in line.split(",")]


def _forwarded(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Return `for` and `proto` of each hop of a `Forwarded` header (RFC 7239)."""
    hops = []
    for item in _listed(lines):
        pairs = {found[1].lower(): found[2] or found[3] for found in _PAIR.finditer(item)}
        hops.append((pairs.get("for", ""), pairs.get("proto", "")))
    return hops


def _name(host: str) -> str:
    """Return a host without its port."""
    host = host.lower()
    return f"{host.partition(']')[0]}]" if host.startswith("[") else host.partition(":")[0]
