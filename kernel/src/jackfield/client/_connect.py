"""The way in: `connect`."""

from __future__ import annotations

import ssl as tls
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from jackfield.client._caller import Handler, calling
from jackfield.client._client import Client
from jackfield.client._place import TRANSPORTS, Place
from jackfield.client._token import Token
from jackfield.client._values import check_seconds


@asynccontextmanager
async def connect(  # noqa: PLR0913 - each is independent of the others
    url: str,
    *,
    token: Token | None = None,
    on: Mapping[str, Handler] | None = None,
    path: str = "/socket.io",
    transports: Sequence[str] = TRANSPORTS,
    headers: Mapping[str, str] | None = None,
    ssl: tls.SSLContext | None = None,
    reconnect: bool = True,
    timeout: float = 10.0,
) -> AsyncIterator[Client]:
    """Connect to a server, and disconnect when the block is left.

    When the connection is lost, what is in flight ends with `ConnectionLost` at once, and nothing is sent again:
    whether it was run, nobody knows. The client comes back by itself, after half a second and then ever longer; calls
    that are made meanwhile wait for it. It stays away where the server no longer recognises the token.

    Args:
        url: The server's address, such as `https://api.example.org`.
        token: Who is calling, for servers that ask; or a function, plain or `async def`, that returns a fresh token.
            It is asked at each connection, and before the token ends; the server is then shown the new one on the
            same connection.
        on: Handlers by event, as for `Client.on`; given here they miss nothing of what the server emits first.
        path: The path of the server's Socket.IO endpoint.
        transports: `websocket`, `polling` or both, which are tried one after the other.
        headers: What every request of the connection shows, such as what a proxy wants.
        ssl: How to check the server's certificate.
        reconnect: Whether to come back when the connection is lost.
        timeout: Seconds that the server has to let the client in.

    Raises:
        ConnectError: No connection came about: nobody there, not let in (with the code that the server gave), no
            jackfield server, or aiohttp is missing.
        ValueError: The address or a transport is none, or the time is not above 0.
        TypeError: The transports are no list, or the time is no number.

    Example:
        async with connect("http://127.0.0.1:8000") as client:
            print(await client.call("api.services.test.add", {"a": 1, "b": 2}))
    """
    check_seconds(timeout)
    place = Place(url, path, token, transports, dict(headers or {}), ssl, timeout, timeout)
    async with calling(place, reconnect=reconnect, handlers=on or {}) as caller:
        yield Client(caller)
