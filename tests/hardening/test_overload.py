"""Row 40: a server with more to do than it can turns new clients and calls away, and does what it has begun."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest
import socketio

from jackfield.client import connect
from tests.hardening.rounds import CARRIERS
from tests.support.client import Client, connected
from tests.support.plugins import SPIN, write_neighbour, write_plugin
from tests.support.server import Server, serving
from tests.support.waiting import LIMIT, until
from tests.support.wire import Wire, wire

BUSY = (
    SPIN
    + """
    import asyncio
    from collections.abc import AsyncIterator

    from jackfield import Call, Service, hookimpl

    service = Service("api.busy")

    @service.function
    async def work(call: Call, data: float) -> str:
        spin(data)
        return "done"

    @service.function
    async def nap(call: Call, data: float) -> str:
        time.sleep(data)
        return "done"

    @service.function
    async def ticks(call: Call) -> AsyncIterator[int]:
        number = 0
        while True:
            yield number
            number += 1
            await asyncio.sleep(0.01)

    @service.function
    async def hoard(call: Call, data: int) -> str:
        hoarded = b"x" * data
        await call.client.request("enough?", len(hoarded), timeout=60)
        return "done"

    @hookimpl
    def jackfield_services():
        return [service]
"""
)

HELLO = '["api.neighbour.hello"]'
NOBODY_LEAVES = "[quarantine]\nfailures = 0\nblocked = 0\n"
OVERLOADED = "overloaded: new clients and calls are turned away: it is late by"
OVER = "no longer overloaded: new clients and calls are taken again"


def _config(carrier: str, limits: str) -> str:
    return f'{NOBODY_LEAVES}[server]\nwebsocket = "{carrier}"\n[limits]\n{limits}\n'


@pytest.fixture(scope="module", name="path")
def _path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("overload")
    write_plugin(folder, "busy", BUSY, namespaces=["api.busy"])
    return write_neighbour(folder)


@pytest.fixture(scope="module", name="server", params=CARRIERS)
def _server(request: pytest.FixtureRequest, path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    config = _config(request.param, "loop_lag = 0.05")
    with serving(tmp_path_factory.mktemp("s"), path=[path], config=config) as server:
        yield server


class Flood:
    """Keeps so many calls waiting on each of its connections, whatever it is answered.

    Args:
        seconds: What each call costs the server.
        waiting: How many calls.

    Attributes:
        answers: How many calls were answered with what: `done`, or the code of an error.
        errors: The last error.
    """

    def __init__(self, seconds: float, waiting: int) -> None:
        self.answers: Counter[str] = Counter()
        self.errors: dict[str, str] = {}
        self._packet = f'["api.busy.work",{seconds}]'
        self._waiting = waiting

    async def keep_calling(self, connection: Wire) -> None:
        """Call, until it is cancelled."""
        for _ in range(self._waiting):
            await connection.send(f"427{self._packet}")
        while True:
            answer = str(await connection.socket.recv())  # however long it takes
            if answer == "2":
                await connection.send("3")
                continue
            code = re.search(r'"code":"(\w+)"', answer)
            self.answers[code[1] if code else "done"] += 1
            if code:
                self.errors[code[1]] = answer
            await connection.send(f"427{self._packet}")


@asynccontextmanager
async def _flooding(url: str, connections: int, seconds: float, waiting: int) -> AsyncIterator[Flood]:
    flood = Flood(seconds, waiting)
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(wire(url)) for _ in range(connections)]
        tasks = [asyncio.create_task(flood.keep_calling(connection)) for connection in wires]
        try:
            yield flood
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert [end for end in ends if not isinstance(end, asyncio.CancelledError)] == []
            for connection in wires:  # nobody reads what stands before the server's good-bye
                connection.socket.transport.abort()


async def _until(ask: Callable[[], Awaitable[object]], wanted: object) -> None:
    """Ask until the answer is the one that is wanted."""
    async with asyncio.timeout(LIMIT):
        while await ask() != wanted:  # noqa: ASYNC110 - it is the server that is waited for
            await asyncio.sleep(0.02)


def _asked(client: Client) -> asyncio.Event:
    """Return what lets the client answer that it is enough."""
    enough = asyncio.Event()

    async def wait(size: int) -> None:
        await enough.wait()

    client.sio.on("enough?", wait)
    return enough


async def _is_served(url: str) -> bool:
    """Tell whether a new client is let in, and its call answered."""
    try:
        async with connected(url, "websocket") as client:
            return bool(await client.call("api.neighbour.hello") == {"data": "still here"})
    except socketio.exceptions.ConnectionError:
        return False


async def _poll(url: str) -> tuple[int, bool]:
    """Try to open a session by polling; return the status, and whether it is said when to come again."""
    address = f"{url}/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession() as session, session.get(address) as answer:
        return answer.status, answer.headers.get("Retry-After", "").isdigit()


async def _websocket(url: str) -> tuple[int, bool]:
    """Try to open a websocket; return the same."""
    async with aiohttp.ClientSession() as session:
        try:
            await (await session.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket")).close()
        except aiohttp.WSServerHandshakeError as error:
            headers: Mapping[str, str] = error.headers or {}
            return error.status, headers.get("Retry-After", "").isdigit()
    return 101, False


async def _readiness(url: str) -> tuple[int, bool]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/readyz?verbose") as answer:
        text = await answer.text()
        return answer.status, "[-]event loop failed: it is late by" in text


async def test_40_new_clients_and_calls_are_turned_away_while_there_is_too_much_to_do(server: Server) -> None:
    """By both carriers, with a time to come again; who is connected stays, and soon after it is over all are served."""
    async with _flooding(server.url, 2, 0.002, 50) as flood:
        await until(lambda: flood.answers["unavailable"])
        await _until(lambda: _poll(server.url), (503, True))
        await _until(lambda: _websocket(server.url), (503, True))
        await _until(lambda: _readiness(server.url), (503, True))
        served = flood.answers["done"]
        await until(lambda: flood.answers["done"] > served)
        assert re.search(r'"message":"The server is overloaded\.".*"retry_after":\d+', flood.errors["unavailable"])
        assert set(flood.answers) == {"done", "unavailable"}
    await _until(lambda: _is_served(server.url), True)
    await _until(lambda: _readiness(server.url), (200, False))
    assert OVERLOADED in server.log
    await until(lambda: OVER in server.log)


@pytest.mark.full
async def test_40_what_has_begun_goes_on(server: Server) -> None:
    """A stream gives its items, and a call that waits is answered."""
    async with connect(server.url) as client, connected(server.url, "websocket") as other:
        enough = _asked(other)
        call = asyncio.create_task(other.call("api.busy.hoard", 1))
        async with client.stream("api.busy.ticks") as stream, _flooding(server.url, 2, 0.002, 50) as flood:
            first = await anext(stream)
            await until(lambda: flood.answers["unavailable"])
            assert [await anext(stream) for _ in range(5)] == [first + n for n in range(1, 6)]
            enough.set()
            assert await call == {"data": "done"}
    await _until(lambda: _is_served(server.url), True)


@pytest.mark.carrier
async def test_40_too_much_memory_turns_away_too(path: Path, tmp_path: Path) -> None:
    """Past four fifths of `limits.memory`, until it has been given back."""
    with serving(tmp_path, path=[path], config=_config("auto", "memory = 400_000_000")) as server:
        assert server.rss < 200_000_000
        async with connected(server.url, "websocket") as client:
            enough = _asked(client)
            call = asyncio.create_task(client.call("api.busy.hoard", 300_000_000))
            await _until(lambda: _poll(server.url), (503, True))
            reply = await client.call("api.neighbour.hello")
            assert reply["error"]["code"] == "unavailable"
            assert reply["error"]["retry_after"] > 0
            assert re.search(r"turned away: [\d,]+ bytes are in use \(limits\.memory\)", server.log)
            enough.set()
            assert await call == {"data": "done"}
            await _until(lambda: client.call("api.neighbour.hello"), {"data": "still here"})
        assert await _is_served(server.url)


@pytest.mark.full
async def test_40_lag_that_is_traced_to_a_plugin_is_no_overload(path: Path, tmp_path: Path) -> None:
    """The callers of other plugins are not turned away for it."""
    with serving(tmp_path, path=[path], config=_config("auto", "loop_lag = 0.25")) as server:
        async with connected(server.url, "websocket") as client:
            for _ in range(6):
                assert await client.call("api.busy.nap", 0.6) == {"data": "done"}
                assert await client.call("api.neighbour.hello") == {"data": "still here"}
        assert "overloaded" not in server.log


class _Offer:
    """Calls that come at a rate, whatever becomes of those before them.

    Args:
        url: Where.
        seconds: What each costs the server.
    """

    _CLIENTS = 20

    def __init__(self, url: str, seconds: float) -> None:
        self.answers: Counter[str] = Counter()
        self._url = url
        self._call = f'["api.busy.work",{seconds}]'

    async def keep(self, rate: float, end: Callable[[], bool]) -> None:
        """Send so many calls a second, by many clients in turn, until the end."""
        async with AsyncExitStack() as stack:
            wires = [await stack.enter_async_context(wire(self._url)) for _ in range(self._CLIENTS)]
            reading = [asyncio.create_task(self._read(each)) for each in wires]
            loop = asyncio.get_running_loop()
            start, sent = loop.time(), 0
            while not end():
                while sent < (loop.time() - start) * rate:
                    await wires[sent % self._CLIENTS].send(f"427{self._call}")
                    sent += 1
                await asyncio.sleep(0.002)
            for task in reading:
                task.cancel()
            ends = await asyncio.gather(*reading, return_exceptions=True)
            assert [each for each in ends if not isinstance(each, asyncio.CancelledError)] == []

    async def _read(self, connection: Wire) -> None:
        while True:
            answer = str(await connection.socket.recv())
            if answer == "2":
                await connection.send("3")
            else:
                code = re.search(r'"code":"(\w+)"', answer)
                self.answers[code[1] if code else "done"] += 1


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seconds", [0.002, 0.0002])
async def test_40_three_times_as_much_as_can_be_done_lessens_nothing(
    path: Path, tmp_path: Path, seconds: float
) -> None:
    """Four fifths at least of what a server does that is just busy, for each second of its processor."""
    config = _config("auto", "loop_lag = 0.25")
    with serving(tmp_path, path=[path], config=config) as server:
        process = psutil.Process(server.process.pid)

        def used() -> float:
            return float(sum(process.cpu_times()[:2]))

        start = used()
        async with _flooding(server.url, 4, seconds, 1) as busy:
            await until(lambda: used() - start > 5, 60)
        peak = busy.answers["done"] / (used() - start)
        assert set(busy.answers) == {"done"}

        start, spent, offer = used(), 0.0, _Offer(server.url, seconds)

        def enough() -> bool:
            nonlocal spent
            spent = used() - start
            return spent > 20

        await offer.keep(3 / seconds, enough)
        assert set(offer.answers) == {"done", "unavailable"}
        assert offer.answers["done"] / spent >= 0.8 * peak
        await _until(lambda: _is_served(server.url), True)
