"""Who is calling: what a connection says of itself, and what a plugin makes of it."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from jackfield._json import Value


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling, once a plugin has authenticated them.

    Args:
        id: A stable name of the caller, such as a user's or a service's id.
        scopes: What they may do, in the words of the plugin that made the principal.
        expires: When their connection ends unless it is renewed before, in seconds since the epoch; None for never.
    """

    id: str
    scopes: frozenset[str] = frozenset()
    expires: float | None = None

    def __post_init__(self) -> None:
        """Raise `TypeError` for what is half right: it decides who may do what."""
        name, scopes = cast(tuple[object, object], (self.id, self.scopes))
        if not (isinstance(name, str) and name and isinstance(scopes, frozenset) and math.isfinite(self.expires or 0)):
            raise TypeError(f"a principal has an id, a frozenset of scopes, and a time or None, not {self!r:.200}")


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a client showed when it connected.

    Args:
        auth: The `auth` object of the Socket.IO CONNECT packet; empty if the client sent none.
        headers: The HTTP headers of the request that opened the connection, names in lower case.
        address: The client's IP address, or an empty string where there is none (a Unix socket).
        transport: The carrier that the connection began with.
        secure: Whether it came over TLS.
    """

    auth: Mapping[str, Value] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    transport: Literal["polling", "websocket"] = "websocket"
    secure: bool = False

    @property
    def local(self) -> bool:
        """Whether the client is on this machine: a loopback address, and no proxy's header in between."""
        if self.headers.keys() & {"forwarded", "via", "x-forwarded-for", "x-forwarded-proto", "x-real-ip"}:
            return False
        try:
            return ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            return False
