"""Numbers 13, 14 and 41: a client that does not read costs a bounded amount, and costs nobody else anything."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.asyncio.client import connect

from tests.conformance.peers import Endpoint, open_polling
from tests.hardening.rounds import CARRIERS, ECHO, config, is_served, stays_flat
from tests.support.bombs import MIB
from tests.support.plugins import write_plugin
from tests.support.server import Server, serving
from tests.support.waiting import until
from tests.support.wire import Wire, wire

SLOW_READER = 4008
SIZE = 200_000
"""Bytes of a message; a few dozen fill what the two kernels keep for a connection, and the backlog."""

FLOOD = """
    from jackfield import Call, Service, hookimpl

    service = Service("api.flood")
    emitted = {}
    farewells = {}

    @service.function
    async def emit(call: Call, data: tuple[int, int]) -> int:
        count, size = data
        for number in range(count):
            await call.emit("flood", [number, "x" * size])
            emitted[call.client.id] = number + 1
        return count

    @service.function
    async def enter(call: Call, data: str) -> None:
        await call.client.join(data)

    @service.function
    async def news(call: Call, data: tuple[int, int, str | None, bool]) -> None:
        number, size, room, volatile = data
        await call.kernel.emit("news", [number, "x" * size], room=room, volatile=volatile)

    @service.function
    async def story(call: Call, data: str) -> tuple[int, str | None]:
        return emitted.get(data, 0), farewells.get(data)

    @hookimpl
    async def jackfield_disconnect(client, reason):
        farewells[client.id] = reason

    @hookimpl
    def jackfield_services():
        return [service]
"""


@pytest.fixture(scope="module", name="plugins")
def _plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plugin(tmp_path_factory.mktemp("plugins"), "flood", FLOOD, namespaces=["api.flood"])


def _fixture(name: str, *, server: str = "", limits: str = "") -> Any:
    @pytest.fixture(scope="module", params=CARRIERS, name=name)
    def start(request: pytest.FixtureRequest, plugins: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
        text = config(request.param, server=server, limits=limits)
        with serving(tmp_path_factory.mktemp(name), config=text, path=[plugins]) as running:
            yield running

    return start


patient = _fixture("patient", limits="backlog_timeout = 600")
hasty = _fixture("hasty", limits="backlog_timeout = 0.5\nconnect_timeout = 1")
pinging = _fixture("pinging", server="ping_interval = 1\nping_timeout = 1", limits="backlog_timeout = 600")


class Sluggard(Wire):
    """A client that has connected, and does not read on until it is told to."""

    sid: str
    tcp: socket.socket

    async def wake(self) -> None:
        """Read on."""
        self.socket.transport.resume_reading()

    def sip(self, size: int = 1) -> bool:
        """Read a byte, or some; tell whether the connection is over. Nothing else can be read afterwards."""
        try:
            return self.tcp.recv(size) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True


@asynccontextmanager
async def sluggard(url: str) -> AsyncIterator[Sluggard]:
    """Connect a client that does not read; its system keeps a few kilobytes for it."""
    endpoint = Endpoint.at(url)
    tcp = socket.socket()
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    tcp.setblocking(False)
    await asyncio.get_running_loop().sock_connect(tcp, (endpoint.host, endpoint.port))
    address = f"ws://{endpoint.host}:{endpoint.port}{endpoint.target('websocket')}"
    async with connect(address, sock=tcp, compression=None, ping_interval=None, max_size=None) as connection:
        client = Sluggard(connection)
        client.tcp = tcp
        await client.receive()
        client.sid = json.loads(str(await client.join())[2:])["sid"]
        connection.transport.pause_reading()
        try:
            yield client
        finally:
            connection.transport.abort()


@pytest.fixture(name="others")
async def _others(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[Server], Awaitable[Wire]]]:
    """Connect other clients, which read."""
    async with AsyncExitStack() as stack:

        async def another(server: Server) -> Wire:
            return await stack.enter_async_context(wire(server.url))

        yield another


async def _story(watcher: Wire, sid: str) -> tuple[int, str | None]:
    """Return how many messages were emitted to a client, and why it has gone, if it has."""
    emitted, farewell = (await watcher.ask(f'427["api.flood.story","{sid}"]'))["data"]
    return emitted, farewell


async def _gone(watcher: Wire, sid: str, meanwhile: Callable[[], object] = lambda: None) -> tuple[int, str]:
    """Wait until a client has gone, and return how many messages were emitted to it, and why."""
    async with asyncio.timeout(30):
        while True:
            emitted, farewell = await _story(watcher, sid)
            if farewell is not None:
                return emitted, farewell
            meanwhile()


async def _stalled(server: Server, client: Sluggard, watcher: Wire) -> int:
    """Wait until no more is emitted to a client, though others are served, and return how many messages were."""
    before = 0
    while not before or before != (await _story(watcher, client.sid))[0]:
        before = (await _story(watcher, client.sid))[0]
        await is_served(server.url)
    return before


async def _news(
    watcher: Wire, number: int, *, size: int = SIZE, room: str | None = None, volatile: bool = False
) -> None:
    """Have something sent to everybody, or to a room; the watcher, who gets it too, has read it."""
    await watcher.send(f'427["api.flood.news",{json.dumps([number, size, room, volatile])}]')
    expected = {f'42["news",[{number},', '437[{"data"'} if room is None else {'437[{"data"'}
    while expected:
        message = str(await watcher.receive())
        expected -= {start for start in expected if message.startswith(start)}


# ------------------------------------------------------------------- 13: what waits for one client


async def test_13_a_function_waits_for_a_client_that_does_not_read(hasty: Server, others: Any) -> None:
    """It goes no further than what may wait; in half a second, as configured, the client is closed and told why."""
    watcher = await others(hasty)
    async with sluggard(hasty.url) as client:
        before = hasty.rss
        await client.send(f'42["api.flood.emit",[1000,{SIZE}]]')
        emitted, farewell = await _gone(watcher, client.sid)
        assert hasty.rss <= before + 16 * MIB
        assert (0 < emitted < 100, farewell) == (True, "slow reader")
        await client.wake()
        assert await client.closed() == SLOW_READER
    await is_served(hasty.url)


async def test_13_answering_pings_is_not_reading(hasty: Server, others: Any) -> None:
    """A client that goes on talking is closed all the same."""
    watcher = await others(hasty)
    async with sluggard(hasty.url) as client:
        await client.send(f'42["api.flood.emit",[1000,{SIZE}]]')
        pong = b"\x81\x81\0\0\0\x003"
        assert (await _gone(watcher, client.sid, lambda: client.socket.transport.write(pong)))[1] == "slow reader"
        await client.wake()
        assert await client.closed() == SLOW_READER
    await is_served(hasty.url)


@pytest.mark.full
async def test_13_a_byte_now_and_then_is_not_reading(hasty: Server, others: Any) -> None:
    """A client that sips has no more time than one that does not read at all."""
    watcher = await others(hasty)
    async with sluggard(hasty.url) as client:
        await client.send(f'42["api.flood.emit",[1000,{SIZE}]]')
        assert (await _gone(watcher, client.sid, client.sip))[1] == "slow reader"
        await until(lambda: client.sip(1_000_000))
    await is_served(hasty.url)


async def test_13_a_client_that_reads_on_in_time_misses_nothing(patient: Server, others: Any) -> None:
    """The function goes on where it waited."""
    watcher = await others(patient)
    async with sluggard(patient.url) as client:
        await client.send(f'428["api.flood.emit",[100,{SIZE}]]')
        assert await _stalled(patient, client, watcher) < 100
        await client.wake()
        numbers = [json.loads(str(await client.receive())[2:])[1][0] for _ in range(100)]
        assert numbers == list(range(100))
        assert await client.receive() == '438[{"data":100}]'
        assert await client.ask(f'427["{ECHO}",1]') == {"data": 1}


@pytest.mark.parametrize("room", [None, "den"], ids=["everybody", "a room"])
async def test_13_who_does_not_read_news_is_closed(patient: Server, others: Any, room: str | None) -> None:
    """As soon as more waits for it than may, however much time it would have; everybody else gets all of it."""
    watcher, reader = await others(patient), await others(patient)
    async with sluggard(patient.url) as client:
        for member in (reader, client):
            await member.send('42["api.flood.enter","den"]')
        await reader.ask(f'427["{ECHO}"]')
        farewell = None
        number = 0
        while farewell is None:
            assert number < 200, "forty megabytes, and still not too much"
            await _news(watcher, number, room=room)
            assert str(await reader.receive()).startswith(f'42["news",[{number},')
            farewell = (await _story(watcher, client.sid))[1]
            number += 1
        assert farewell == "slow reader"
        await client.wake()
        assert await client.closed() == SLOW_READER
    await is_served(patient.url)


async def test_13_volatile_news_pass_a_client_by_that_does_not_read(patient: Server, others: Any) -> None:
    """It stays, and has missed some when it reads on; what it gets is in order."""
    watcher, reader = await others(patient), await others(patient)
    async with sluggard(patient.url) as client:
        for number in range(60):
            await _news(watcher, number, volatile=True)
            assert str(await reader.receive()).startswith(f'42["news",[{number},')
        await client.wake()
        await client.send(f'427["{ECHO}",1]')
        got = []
        while (message := str(await client.receive())) != '437[{"data":1}]':
            got.append(json.loads(message[2:])[1][0])
        assert got == list(range(len(got)))
        assert 0 < len(got) < 60
        await _news(watcher, 60, volatile=True)
        assert str(await client.receive()).startswith('42["news",[60,')


async def test_13_what_a_poll_does_not_fetch_is_bounded_too(patient: Server, others: Any) -> None:
    """A client that polls no more is closed when more waits for it than may."""
    watcher = await others(patient)
    session = await open_polling(Endpoint.at(patient.url))
    await session.post("40")
    sid = json.loads((await session.receive())[0][2:])["sid"]
    await session.post(f'42["api.flood.emit",[1000,{SIZE}]]')
    for number in range(8):
        await _news(watcher, number)
    emitted, farewell = await _gone(watcher, sid)
    assert (emitted < 10, farewell) == (True, "slow reader")
    answer = await session.get()
    assert answer.status == 400 or answer.text == "1"
    await is_served(patient.url)


async def test_13_a_function_waits_for_a_client_that_does_not_poll(hasty: Server, others: Any) -> None:
    """And in half a second, as configured, the session is closed."""
    watcher = await others(hasty)
    session = await open_polling(Endpoint.at(hasty.url))
    await session.post("40")
    sid = json.loads((await session.receive())[0][2:])["sid"]
    await session.post(f'42["api.flood.emit",[1000,{SIZE}]]')
    emitted, farewell = await _gone(watcher, sid)
    assert (emitted < 10, farewell) == (True, "slow reader")
    await is_served(hasty.url)


@pytest.mark.parametrize(
    ("clients", "count", "rounds"),
    [(3, 100, 6), pytest.param(100, 1_000, 10, marks=[pytest.mark.full, pytest.mark.timeout(600)])],
)
async def test_13_memory_stays_whatever_is_not_read(
    hasty: Server, others: Any, clients: int, count: int, rounds: int
) -> None:
    """Rounds of clients that are to get very much and read nothing."""
    watcher = await others(hasty)
    before = hasty.rss
    peak = before

    def look() -> None:
        nonlocal peak
        peak = max(peak, hasty.rss)

    async def attack() -> None:
        async with AsyncExitStack() as stack:
            slow = [await stack.enter_async_context(sluggard(hasty.url)) for _ in range(clients)]
            for client in slow:
                await client.send(f'42["api.flood.emit",[{count},{SIZE}]]')
            for client in slow:
                assert (await _gone(watcher, client.sid, look))[1] == "slow reader"

    await stays_flat(hasty, attack, rounds)
    assert peak <= before + clients * 2 * MIB + 16 * MIB


# ------------------------------------------------------------------- 14: closed means freed


def _is_connected(server: Server, client: Sluggard) -> bool:
    """Tell whether the server has the connection to a client."""
    port = client.tcp.getsockname()[1]
    there = psutil.Process(server.process.pid).net_connections("tcp")
    return port in [getattr(connection.raddr, "port", None) for connection in there]


async def _is_freed(server: Server, client: Sluggard) -> None:
    """Wait until the server has no connection to a client any more, though the client never reads that this is so."""
    await until(lambda: not _is_connected(server, client))


async def _fill(server: Server, client: Sluggard, watcher: Wire) -> None:
    """Have a client sent more than it will ever read, until the function that does so waits."""
    assert _is_connected(server, client)
    await client.send(f'42["api.flood.emit",[1000,{SIZE}]]')
    await _stalled(server, client, watcher)


async def test_14_a_slow_reader_is_cut_off(hasty: Server, others: Any) -> None:
    """The connection ends though the client never reads of it."""
    watcher = await others(hasty)
    async with sluggard(hasty.url) as client:
        await _fill(hasty, client, watcher)
        assert (await _gone(watcher, client.sid))[1] == "slow reader"
        await _is_freed(hasty, client)
    await is_served(hasty.url)


@pytest.mark.parametrize(
    "packet",
    ["4abc", "1", "41", f"42{'x' * 1_000_000}"],
    ids=["breaks the protocol", "closes", "leaves and stays", "says too much"],
)
async def test_14_who_is_closed_is_cut_off(hasty: Server, others: Any, packet: str) -> None:
    """Whatever the reason, also with very much unread."""
    watcher = await others(hasty)
    async with sluggard(hasty.url) as client:
        await _fill(hasty, client, watcher)
        await client.send(packet)
        await _gone(watcher, client.sid)
        await _is_freed(hasty, client)
    await is_served(hasty.url)


async def test_14_who_answers_no_ping_is_cut_off(pinging: Server, others: Any) -> None:
    """The ping could not even be sent."""
    watcher = await others(pinging)
    async with sluggard(pinging.url) as client:
        await _fill(pinging, client, watcher)
        assert (await _gone(watcher, client.sid))[1] == "ping timeout"
        await _is_freed(pinging, client)
    await is_served(pinging.url)


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_14_memory_comes_back_while_they_are_still_there(hasty: Server, others: Any) -> None:
    """Ten rounds of clients that are closed, never read it, and never hang up."""
    watcher = await others(hasty)
    async with AsyncExitStack() as stack:

        async def attack() -> None:
            slow = [await stack.enter_async_context(sluggard(hasty.url)) for _ in range(5)]
            for client in slow:
                await _fill(hasty, client, watcher)
            for client in slow:
                assert (await _gone(watcher, client.sid))[1] == "slow reader"
                await _is_freed(hasty, client)

        await stays_flat(hasty, attack)


# ------------------------------------------------------------------- 41: everybody else


@pytest.mark.parametrize("count", [20, pytest.param(1_000, marks=[pytest.mark.full, pytest.mark.timeout(300)])])
async def test_41_one_who_does_not_read_costs_nobody_anything(patient: Server, others: Any, count: int) -> None:
    """Each of the others gets each message once, in order, before and after that one is closed."""
    watcher = await others(patient)
    readers = [await others(patient) for _ in range(count)]
    for reader in readers:
        await reader.ask('427["api.flood.enter","hall"]')
    size = SIZE if count < 100 else SIZE // 4
    async with sluggard(patient.url) as client:
        await client.send('42["api.flood.enter","hall"]')
        number = 0
        last = None
        while number != last:
            assert number < 1_000, "and still not too much"
            await _news(watcher, number, size=size, room="hall")
            for message in await asyncio.gather(*(reader.receive() for reader in readers)):
                assert str(message).startswith(f'42["news",[{number},')
            if last is None and (await _story(watcher, client.sid))[1] is not None:
                last = number + 5
            number += 1
        assert (await _story(watcher, client.sid))[1] == "slow reader"
    assert await asyncio.gather(*(reader.ask(f'427["{ECHO}",1]') for reader in readers)) == [{"data": 1}] * count
