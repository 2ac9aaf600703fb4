"""Where a server is, and whether anybody is there."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from jackfield._errors import Code
from jackfield.client._errors import ConnectError, NobodyThere
from jackfield.client._token import Token

_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}
TRANSPORTS: Final = ("websocket", "polling")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is, and how to be let in.

    Attributes:
        url: Its address, without a path.
        path: The path of its Socket.IO endpoint.
        token: Who is calling, or what tells it anew for each connection.
        auth: What is shown in the place of a token.
        transports: What to try, one after the other.
        headers: What every request shows, such as cookies that a proxy wants.
        ssl: How to check the server's certificate.
        knock: Seconds that it has to accept a connection.
        limit: Seconds until it has let the client in; it may have to ask somebody who that is.
    """

    url: str
    path: str = "/socket.io"
    token: Token | None = None
    transports: Sequence[str] = TRANSPORTS
    headers: Mapping[str, str] = field(default_factory=dict)
    ssl: ssl.SSLContext | None = None
    knock: float = 10.0
    limit: float = 10.0
    auth: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError(
                f"{self.url!r} is no address of a server, such as http://127.0.0.1:8000; a path goes in path="
            )
        if isinstance(self.transports, str):
            raise TypeError(f"transports are a list, such as ['websocket'], not {self.transports!r}")
        if not self.transports or not set(self.transports) <= set(TRANSPORTS):
            raise ValueError(f"transports are some of {TRANSPORTS}, not {self.transports!r}")


def need_client() -> None:
    """See that python-socketio has what it needs to be a client.

    Raises:
        ConnectError: aiohttp is not installed.
    """
    try:
        import aiohttp  # noqa: F401
    except ImportError:
        raise ConnectError(
            "speaking with a server needs aiohttp",
            'pip install "jackfield[standard]"',
            code=Code.FAILED_PRECONDITION,
        ) from None


async def knock(place: Place) -> None:
    """See whether anything listens, before a client library is imported to find out.

    Raises:
        NobodyThere: Nothing does.
    """
    parts = urlsplit(place.url)
    try:
        async with asyncio.timeout(place.knock):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or _PORTS[parts.scheme])
    except (OSError, UnicodeError):  # TimeoutError is an OSError
        raise NobodyThere(f"no server answers at {place.url}", "start one with jackfield serve") from None
    writer.close()
