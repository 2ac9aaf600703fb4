"""Speak with a running server, as any other Python client does: through `jackfield.client`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from jackfield._errors import CallError, Code
from jackfield._settings import ServerSettings
from jackfield.client._caller import Caller, calling
from jackfield.client._errors import ConnectionLost, NobodyThere, Refused
from jackfield.client._place import Place

CONNECT_LIMIT: Final = 2.0
"""Seconds that a server has to accept the connection."""
HANDSHAKE_LIMIT: Final = 8.0
"""Seconds until it has let the client in; it may have to ask somebody who that is."""
_HERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - nothing listens because of this

Listener: TypeAlias = Callable[[str, Any], None]
"""Told of every event that the server emits."""


@dataclass(frozen=True, slots=True)
class Target:
    """What the command line says of the server to speak with.

    Attributes:
        config: The configuration file.
        url: The address, if it was given.
        token: Who is calling.
    """

    config: Path | None = None
    url: str | None = None
    token: str | None = None


def place(target: Target, settings: ServerSettings) -> Place:
    """Return where the server is: at the address that was given, or else where the configuration says.

    Raises:
        NobodyThere: The configuration leaves the port to the system, or says a Unix socket.
    """
    if target.url is not None:
        parts = urlsplit(target.url)
        return _place(f"{parts.scheme}://{parts.netloc}", parts.path or settings.path, target.token)
    if settings.unix is not None:
        raise NobodyThere("server.unix is set, and commands speak over TCP only", "give an address with --url")
    if settings.port == 0:
        raise NobodyThere("server.port is 0, so nobody knows where the server is", "give its address with --url")
    host = _HERE.get(settings.host, settings.host)
    scheme = "http" if settings.tls_certificate is None else "https"
    host = f"[{host}]" if ":" in host else host
    return _place(f"{scheme}://{host}:{settings.port}", settings.path, target.token)


@asynccontextmanager
async def connected(at: Place, listener: Listener | None = None) -> AsyncIterator[Caller]:
    """Connect to a server, by websocket or, if that is not to be had, by polling.

    Args:
        at: Where it is.
        listener: Told of every event that the server emits.

    Raises:
        ConnectError: No connection came about.
    """
    async with calling(at, reconnect=False, handlers={"*": listener} if listener else {}) as caller:
        yield caller


def explained(error: CallError, at: Place) -> str:
    """Return one line about a server that could not be asked."""
    if isinstance(error, Refused):
        return refusal(error, at.url)
    if isinstance(error, ConnectionLost):
        return "the server closed the connection before it answered"
    return error.message


def refusal(error: CallError, who: str) -> str:
    """Return one line about a server that does not let us in."""
    hint = " (say who you are with --token or --token-file)" if error.code is Code.UNAUTHENTICATED else ""
    return f"{who} refuses the connection: {str(error).removesuffix('.')}{hint}"


def _place(url: str, path: str, token: str | None) -> Place:
    return Place(url, path, token, knock=CONNECT_LIMIT, limit=HANDSHAKE_LIMIT)
