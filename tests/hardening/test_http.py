"""Number 17: a request is small, and comes in time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.conformance.peers import LIMIT, Endpoint, fetch, open_polling
from tests.hardening.rounds import CARRIERS, config, is_served, stays_flat
from tests.support.server import Server, serving
from tests.support.waiting import until

HEADER = 64 * 1024
LINES = 100
CLOSED = 0


@pytest.fixture(scope="module", params=CARRIERS, name="server")
def _server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that waits half a second for a request."""
    text = config(request.param, limits="request_timeout = 0.5")
    with serving(tmp_path_factory.mktemp("http"), config=text) as server:
        yield server


@pytest.fixture(name="endpoint")
def _endpoint(server: Server) -> Endpoint:
    return Endpoint.at(server.url)


class Caller:
    """A TCP connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._reader = reader

    async def status(self) -> int:
        """Wait for the answer, and return its status; `CLOSED` if the connection ends without one."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(LIMIT):
                line = await self._reader.readline()
                return int(line.split()[1]) if line else CLOSED
        return CLOSED

    async def ended(self) -> None:
        """Wait until the server has closed the connection."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(LIMIT):
                while await self._reader.read(65_536):
                    pass

    async def trickle(self, octets: bytes) -> int:
        """Send a byte now and then, and return the status of the answer, as `status` does."""
        status = asyncio.ensure_future(self.status())
        remaining = iter(octets * 1_000)

        def send() -> bool:
            self.writer.write(bytes([next(remaining)]))
            return status.done()

        await until(send)
        return await status


@asynccontextmanager
async def calling(endpoint: Endpoint) -> AsyncIterator[Caller]:
    """Connect, and say nothing yet."""
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    try:
        yield Caller(reader, writer)
    finally:
        writer.transport.abort()


def _request(endpoint: Endpoint, *lines: str, kind: str = "polling", upgrade: bool = False) -> bytes:
    """Return a handshake with so many lines of header beside what it needs."""
    needed = [f"GET {endpoint.target(kind)} HTTP/1.1", "Host: localhost"]
    if upgrade:
        needed += ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
        needed += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    return "\r\n".join([*needed, *lines, "", ""]).encode()


KINDS = [pytest.param("polling", False, 200, id="polling"), pytest.param("websocket", True, 101, id="websocket")]


# ------------------------------------------------------------------- what is too large


@pytest.mark.parametrize(("kind", "upgrade", "served"), KINDS)
async def test_17_a_header_has_a_size(
    endpoint: Endpoint, server: Server, kind: str, upgrade: bool, served: int
) -> None:
    """Nearly 64 KiB are served, more are not, whether in one line or in many."""
    # The library of the ASGI carrier takes no line of more than 8 KiB.
    long_line = 431 if upgrade and server.ready["websocket"] == "asgi" else served
    for size, lines, status in (
        (HEADER - 1_000, 1, long_line),
        (HEADER - 8_000, 80, served),
        (HEADER, 1, 431),
        (HEADER, 80, 431),
        (10 * HEADER, 1, 431),
    ):
        more = [f"X-Line-{number}: " + "x" * (size // lines) for number in range(lines)]
        async with calling(endpoint) as caller:
            caller.writer.write(_request(endpoint, *more, kind=kind, upgrade=upgrade))
            assert (size, lines, await caller.status()) == (size, lines, status)
    await is_served(server.url)


@pytest.mark.parametrize(("kind", "upgrade", "served"), KINDS)
async def test_17_a_header_has_a_number_of_lines(
    endpoint: Endpoint, server: Server, kind: str, upgrade: bool, served: int
) -> None:
    """A hundred are served, one more is not, however short."""
    own = _request(endpoint, kind=kind, upgrade=upgrade).count(b"\r\n") - 2
    for count, status in ((LINES, served), (LINES + 1, 431), (20 * LINES, 431)):
        async with calling(endpoint) as caller:
            more = [f"X{number}: " for number in range(count - own)]
            caller.writer.write(_request(endpoint, *more, kind=kind, upgrade=upgrade))
            assert (count, await caller.status()) == (count, status)
    await is_served(server.url)


async def test_17_a_target_has_a_size(endpoint: Endpoint, server: Server) -> None:
    """What counts for the header counts for the line before it."""
    async with calling(endpoint) as caller:
        caller.writer.write(f"GET /socket.io/?EIO=4&transport=polling&x={'x' * HEADER} HTTP/1.1\r\n\r\n".encode())
        assert await caller.status() in (414, 431)
    await is_served(server.url)


@pytest.mark.parametrize("size", [2 * 1024 * 1024, pytest.param(50 * 1024 * 1024, marks=pytest.mark.full)])
@pytest.mark.parametrize(
    "line", [b"x" * 1_000, b"X: y\r\n", b" \r\n"], ids=["one line", "many lines", "a line that goes on"]
)
async def test_17_memory_does_not_grow_with_headers(endpoint: Endpoint, server: Server, size: int, line: bytes) -> None:
    """A header without an end is not read to its end."""

    async def attack() -> None:
        async with calling(endpoint) as caller:
            caller.writer.write(b"GET /socket.io/ HTTP/1.1\r\nX: ")
            status = asyncio.ensure_future(caller.status())
            with contextlib.suppress(ConnectionError):
                for _ in range(0, size, 65_536):
                    caller.writer.write(line * (65_536 // len(line)))
                    await caller.writer.drain()
                    if status.done():
                        break
            assert await status in (400, 431, CLOSED)

    await stays_flat(server, attack)


# ------------------------------------------------------------------- what comes too slowly

UNFINISHED: dict[str, Callable[[Endpoint], bytes]] = {
    "nothing": lambda _: b"",
    "half a line": lambda _: b"GET /socket.io/?EIO",
    "half a header": lambda endpoint: _request(endpoint)[:-2],
    "half an upgrade": lambda endpoint: _request(endpoint, kind="websocket", upgrade=True)[:-2],
}


@pytest.mark.parametrize("name", UNFINISHED)
async def test_17_an_unfinished_request_is_given_up(endpoint: Endpoint, server: Server, name: str) -> None:
    """After half a second, as configured, the connection is closed."""
    async with calling(endpoint) as caller:
        caller.writer.write(UNFINISHED[name](endpoint))
        assert await caller.status() in (408, CLOSED)
        await caller.ended()
    await is_served(server.url)


async def test_17_a_header_that_comes_a_byte_at_a_time_is_given_up(endpoint: Endpoint, server: Server) -> None:
    """It is the whole header that has half a second."""
    async with calling(endpoint) as caller:
        caller.writer.write(_request(endpoint)[:-2])
        assert await caller.trickle(b"X: yyyyyyyyyyyyyyyy\r\n") in (408, CLOSED)
        await caller.ended()
    await is_served(server.url)


async def test_17_a_later_request_has_no_more_time(endpoint: Endpoint, server: Server) -> None:
    """A connection that was served once is no better."""
    async with calling(endpoint) as caller:
        caller.writer.write(_request(endpoint))
        assert await caller.status() == 200
        caller.writer.write(_request(endpoint)[:-2])
        await caller.ended()
    await is_served(server.url)


@pytest.mark.parametrize("body", [b"", b"4", b"4" + b"x" * 500])
async def test_17_a_body_that_does_not_come_is_given_up(endpoint: Endpoint, server: Server, body: bytes) -> None:
    """The request is refused, and the session of its client is closed."""
    session = await open_polling(endpoint)
    async with calling(endpoint) as caller:
        head = f"POST {session.target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
        caller.writer.write(head.encode() + body)
        assert await caller.status() in (408, CLOSED)
        await caller.ended()
    assert (await session.get()).status == 400
    await is_served(server.url)


async def test_17_a_body_that_comes_a_byte_at_a_time_is_given_up(endpoint: Endpoint, server: Server) -> None:
    """Half a second, and then a kilobyte a second, is what a body must keep up with."""
    session = await open_polling(endpoint)
    async with calling(endpoint) as caller:
        head = f"POST {session.target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n4"
        caller.writer.write(head.encode())
        assert await caller.trickle(b"x") in (408, CLOSED)
        await caller.ended()
    await is_served(server.url)


async def test_17_a_body_in_pieces_is_served(endpoint: Endpoint, server: Server) -> None:
    """What comes in time may come in pieces."""
    session = await open_polling(endpoint)
    async with calling(endpoint) as caller:
        head = f"POST {session.target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n"
        for octet in head.encode() + b"40":
            caller.writer.write(bytes([octet]))
            await caller.writer.drain()
        assert await caller.status() == 200
    assert (await session.receive())[0].startswith('40{"sid":')
    await is_served(server.url)


async def test_17_a_poll_may_wait_longer_than_a_request(endpoint: Endpoint, server: Server) -> None:
    """The time is that of the request, not of its answer: a poll outlives a request that was given up after it."""
    session = await open_polling(endpoint)
    poll = await session.poll()
    async with calling(endpoint) as caller:
        await caller.ended()
    assert (await session.post("40")).text == "ok"
    assert (await poll.answer()).text.startswith('40{"sid":')
    await is_served(server.url)


@pytest.mark.parametrize("count", [50, pytest.param(400, marks=pytest.mark.full)])
async def test_17_many_who_say_nothing_are_given_up(endpoint: Endpoint, server: Server, count: int) -> None:
    """Others are served meanwhile, and memory stays."""

    async def attack() -> None:
        async with contextlib.AsyncExitStack() as stack:
            callers = [await stack.enter_async_context(calling(endpoint)) for _ in range(count)]
            assert (await fetch(endpoint, "GET", endpoint.target("polling"))).status == 200
            await asyncio.gather(*(caller.ended() for caller in callers))

    await stays_flat(server, attack)
