"""Rows 36, 37 and 42: what runs belongs to somebody and ends with them; a server that is told to end does end."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections import Counter
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.client import Client, connected
from tests.support.plugins import write_neighbour, write_plugin
from tests.support.server import Server, serving
from tests.support.waiting import until
from tests.support.wire import Wire, wire

QUICK = "[server]\nstart_timeout = 5\nstop_timeout = 0.5\ndrain_timeout = 0.5\n"
PATIENT = "[server]\nstop_timeout = 0.5\ndrain_timeout = 60\n"
SOON = 20.0
"""Seconds within which a server has ended that has half a second for each step; what waits for something never does."""

WORKING = """
import asyncio, threading, time
from jackfield import Call, CallError, Service, hookimpl

service = Service("api.work")
diary: list[str] = []
blocking: list[bool] = []
released = asyncio.Event()

@service.function
async def wait(call: Call) -> str:
    diary.append("wait began")
    try:
        await released.wait()
        return "released"
    finally:
        diary.append("wait ended")

@service.function(ordered=True)
async def wait_in_turn(call: Call) -> None:
    diary.append("turn began")
    try:
        await asyncio.Event().wait()
    finally:
        diary.append("turn ended")

@service.function(detached=True)
async def wait_detached(call: Call) -> None:
    diary.append("detached began")
    await released.wait()
    diary.append("detached done")

@service.function
def wait_in_a_thread(call: Call) -> None:
    diary.append("thread began")
    while not call.cancelled:
        time.sleep(0.001)
    diary.append("thread ended")

@service.function
async def wait_inside(call: Call) -> None:
    await call.invoke("api.work.wait")

@service.function
async def stay(call: Call) -> None:
    diary.append("stay began")
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

@service.function
def stay_in_a_thread(call: Call) -> None:
    diary.append("stay in a thread began")
    threading.Event().wait()

@service.function
async def ask(call: Call) -> str:
    return await call.client.request("question", timeout=60)

@service.function
async def release(call: Call) -> None:
    released.set()

@service.function
async def clear(call: Call) -> None:
    diary.clear()
    released.clear()

@service.function
async def read(call: Call) -> list[str]:
    return diary

@service.function
async def flood(call: Call) -> None:
    diary.append("flooding")
    for _ in range(200):
        await call.emit("flood", "x" * 100_000)

@service.function
async def census(call: Call) -> list[str]:
    return [task.get_coro().__qualname__ for task in asyncio.all_tasks()]

@service.function
async def threads(call: Call) -> int:
    return threading.active_count()

@service.function
async def quick(call: Call, data: int) -> int:
    await asyncio.sleep(0)
    return data

@service.function
async def fail(call: Call) -> None:
    raise RuntimeError

@service.function
async def use_a_helper(call: Call) -> int:
    return await asyncio.to_thread(len, "four")

@service.function
async def stay_in_a_helper(call: Call) -> None:
    diary.append("stay began")
    await asyncio.to_thread(threading.Event().wait)

async def wait_and_block():
    try:
        await asyncio.Event().wait()
    finally:
        time.sleep(60)

@service.function
async def block_when_cancelled(call: Call) -> None:
    diary.append("wait began")
    await wait_and_block()

@service.function
async def leave_a_blocking_task(call: Call) -> None:
    global task
    task = asyncio.create_task(wait_and_block(), name="leftover")
    diary.append("left a task")

@service.function
async def block_disconnects(call: Call) -> None:
    blocking.append(True)
    diary.append("blocking")

@hookimpl
async def jackfield_disconnect():
    if blocking:
        time.sleep(60)

@service.function
async def leave_a_task(call: Call) -> None:
    global task
    task = asyncio.create_task(stay(call), name="leftover")
    diary.append("left a task")

@service.function
async def leave_a_thread(call: Call) -> None:
    threading.Thread(target=threading.Event().wait, name="left-behind").start()
    diary.append("left a thread")

@hookimpl
def jackfield_services():
    return [service]
"""


def write_working(folder: Path) -> Path:
    """Write the plugin `work`, and the neighbour."""
    write_plugin(folder, "work", WORKING, namespaces=["api.work"])
    return write_neighbour(folder)


@pytest.fixture(scope="module", name="plugins")
def _plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_working(tmp_path_factory.mktemp("plugins"))


@pytest.fixture(scope="module", name="server")
def _server(plugins: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # Engine.IO keeps a task for each session that is gone until its next ping would be due.
    config = f"{QUICK}ping_interval = 0.5\n"
    with serving(tmp_path_factory.mktemp("server"), config=config, path=[plugins]) as server:
        yield server


async def _read(client: Client, *lines: str) -> None:
    """Wait until each of the lines stands in the diary."""
    while not set(lines) <= set((await client.call("api.work.read"))["data"]):
        assert client.sio.connected


# ------------------------------------------------------------------- 36: nothing is left behind


async def test_36_a_thousand_calls_leave_no_task(server: Server) -> None:
    """Calls that end well, fail, time out, are cancelled or lose their client leave neither a task nor a thread."""
    async with connected(server.url, "websocket") as watcher:
        await watcher.call("api.work.clear")
        before = Counter((await watcher.call("api.work.census"))["data"])
        for round_ in range(20):
            async with wire(server.url) as leaving:
                for number in range(10):
                    await leaving.send(f'42{number}["event",{{"event":"api.work.wait"}}]')
                    await leaving.send(f'42["event",{{"event":"api.work.wait_inside","id":{number}}}]')
                    await leaving.send('42["event",{"event":"api.work.wait_in_turn"}]')
                await leaving.send('421["event",{"event":"api.work.wait_in_a_thread"}]')
                await _read(watcher, "wait began", "turn began", "thread began")
            async with connected(server.url, *(["websocket"] if round_ % 2 else ["polling"])) as staying:
                batch: list[dict[str, Any]] = [{"event": "api.work.quick", "data": number} for number in range(14)]
                batch += [{"event": "api.work.fail"}, {"event": "api.work.quick"}, {"event": "api.work.nothing"}]
                batch += [
                    {"event": "api.work.wait", "timeout": 1},
                    {"event": "api.work.wait_in_a_thread", "timeout": 1},
                ]
                assert len(await staying.send(batch)) == len(batch)

        async def now() -> Counter[str]:
            return Counter((await watcher.call("api.work.census"))["data"])

        while (after := await now()) != before:
            assert watcher.sio.connected, after - before
        assert (await watcher.call("api.work.threads"))["data"] < 20


async def test_36_a_caller_that_goes_takes_its_calls_along(server: Server) -> None:
    """Calls of a client that left are cancelled: their `finally` runs, threads can see it; what is detached goes on."""
    async with connected(server.url, "websocket") as watcher:
        await watcher.call("api.work.clear")
        async with wire(server.url) as leaving:
            for name in ("wait_inside", "wait_in_turn", "wait_in_a_thread", "wait_detached"):
                await leaving.send(f'42["event",{{"event":"api.work.{name}"}}]')
            await _read(watcher, "wait began", "turn began", "thread began", "detached began")
        await _read(watcher, "wait ended", "turn ended", "thread ended")
        assert "detached done" not in (await watcher.call("api.work.read"))["data"]
        await watcher.call("api.work.release")
        await _read(watcher, "detached done")


async def test_36_a_client_that_is_cut_off_is_gone_too(server: Server) -> None:
    """The same where a connection breaks without a word."""
    async with connected(server.url, "websocket") as watcher:
        await watcher.call("api.work.clear")
        async with wire(server.url) as leaving:
            await leaving.send('42["event",{"event":"api.work.wait"}]')
            await _read(watcher, "wait began")
            leaving.socket.transport.abort()
            await _read(watcher, "wait ended")


async def test_36_survivors_are_named_at_the_stop(tmp_path: Path, plugins: Path) -> None:
    """What does not end when the server does is cancelled, and named in the log where that does not help."""
    with serving(tmp_path, config=QUICK, path=[plugins]) as server:
        async with wire(server.url) as client:
            for name in ("stay", "stay_in_a_thread", "leave_a_task", "wait_detached"):
                await client.send(f'42["event",{{"event":"api.work.{name}"}}]')
            async with connected(server.url, "websocket") as watcher:
                await _read(watcher, "stay began", "stay in a thread began", "left a task", "detached began")
        assert await end(server) == 0
        log = server.log
        assert "a call of api.work.stay did not end and is abandoned" in log
        assert "a call of api.work.stay_in_a_thread did not end and is abandoned" in log
        assert "the task leftover does not end and is abandoned" in log
        assert "wait_detached" not in log


async def test_36_a_well_behaved_plugin_is_not_named(tmp_path: Path, plugins: Path) -> None:
    """Calls that have ended, in threads of either kind, leave nothing to warn of."""
    with serving(tmp_path, config=QUICK, path=[plugins]) as server:
        async with wire(server.url) as client:
            assert await client.ask('427["api.work.use_a_helper"]') == {"data": 4}
            assert await client.ask('427["api.services.test.digest","x"]') != {}
        assert await end(server) == 0
        assert "abandoned" not in server.log


# ------------------------------------------------------------------- 42: SIGTERM


async def end(server: Server) -> int:
    """Send SIGTERM, and return the exit status that has to be there soon."""
    server.process.send_signal(signal.SIGTERM)
    return await ended(server)


async def ended(server: Server) -> int:
    """Return the exit status that has to be there soon."""
    await until(lambda: server.process.poll() is not None, SOON)
    return server.process.wait()


async def told_until_closed(client: Wire) -> tuple[list[str | bytes], int]:
    """Return what the server says up to the end, and the close code."""
    messages = []
    try:
        while True:
            messages.append(await client.receive())
    except ConnectionClosed:
        return messages, client.socket.close_code or 0


def goodbye(messages: Sequence[str | bytes]) -> None:
    """Check that the one event `server` is there, and no Socket.IO DISCONNECT."""
    events = [json.loads(str(message)[2:]) for message in messages if str(message).startswith("42")]
    assert [name for name, _ in events] == ["server"]
    assert events[0][1]["state"] == "draining"
    assert 500 <= events[0][1]["reconnect_in"] <= 5000
    assert not [message for message in messages if str(message).startswith("41")]


class Poller:
    """A client of the polling carrier, request by request."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = f"{url}/socket.io/?EIO=4&transport=polling"

    async def open(self) -> None:
        """Do the handshake, and connect to the namespace `/`."""
        opened = await self.poll()
        self._url += f"&sid={json.loads(opened[0][1:])['sid']}"
        await self.post("40")
        assert (await self.poll())[0].startswith("40{")

    async def poll(self) -> list[str]:
        """Return the packets of one poll; it is parked until there are any."""
        async with self._http.get(self._url) as response:
            assert response.status == 200
            return (await response.text()).split("\x1e")

    async def park(self, watcher: Wire) -> asyncio.Task[list[str]]:
        """Begin a poll that waits in the server, and return what will end when it does."""
        poll = asyncio.ensure_future(self.poll())
        while "RequestResponseCycle.run_asgi" not in (await watcher.ask('427["api.work.census"]'))["data"]:
            assert not poll.done()
        return poll

    async def told_until_closed(self, parked: Awaitable[list[str]]) -> tuple[list[str], str]:
        """Return what polls bring, from one that is parked to the end, and the last packet by itself."""
        *packets, last = await parked
        while last != "1":
            packets.append(last)
            *more, last = await self.poll()
            packets.extend(more)
        return packets, last

    async def post(self, *packets: str) -> None:
        """Send packets."""
        async with self._http.post(self._url, data="\x1e".join(packets)) as response:
            assert response.status == 200


async def test_42_idle_clients_are_told_and_closed(tmp_path: Path, plugins: Path) -> None:
    """Websockets get the event `server` and close with 1012; a parked poll gets it, and an Engine.IO close."""
    with serving(tmp_path, config=QUICK, path=[plugins]) as server:
        async with AsyncExitStack() as stack:
            sockets = [await stack.enter_async_context(wire(server.url)) for _ in range(3)]
            silent = await stack.enter_async_context(wire(server.url, join=False))
            poller = Poller(await stack.enter_async_context(aiohttp.ClientSession()), server.url)
            await poller.open()
            told = asyncio.ensure_future(poller.told_until_closed(await poller.park(sockets[0])))
            rests = [asyncio.ensure_future(told_until_closed(client)) for client in (*sockets, silent)]
            assert await end(server) == 0
            for messages, code in [await rest for rest in rests[:3]]:
                goodbye(messages)
                assert code == 1012
            assert await rests[3] == ([], 1012)
            packets, last = await told
            goodbye(packets)
            assert last == "1"


@pytest.mark.full
async def test_42_a_stock_client_comes_back(tmp_path: Path, plugins: Path) -> None:
    """It takes the end for a lost connection, and connects again to the server that is started next."""
    sio = socketio.AsyncClient(reconnection_delay=0.1, reconnection_delay_max=0.2)
    told: list[dict[str, Any]] = []
    sio.on("server", told.append)
    with serving(tmp_path / "one", config=QUICK, path=[plugins]) as server:
        await sio.connect(server.url)
        first = sio.get_sid()
        assert await end(server) == 0
        await until(lambda: told and not sio.connected)
    port = server.url.rpartition(":")[2]
    with serving(tmp_path / "two", "--port", port, config=QUICK, path=[plugins]):
        await until(lambda: sio.connected)
        assert sio.get_sid() != first
        assert await sio.call("api.neighbour.hello") == {"data": "still here"}
        await sio.disconnect()


async def is_sent_elsewhere(url: str) -> None:
    """Come too late, by polling and by websocket: the status is one that makes proxies ask another server."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/socket.io/?EIO=4&transport=polling") as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "5")
        assert await response.json() == {"code": 3, "message": "The server is going away"}
    with pytest.raises(InvalidStatus) as refused:
        async with wire(url):
            pass
    assert refused.value.response.status_code == 503


async def test_42_running_calls_finish_and_new_ones_are_turned_away(tmp_path: Path, plugins: Path) -> None:
    """A call that runs is answered; a new call and a client that connects are told when to come back, a new one 503."""
    with serving(tmp_path, config=PATIENT, path=[plugins]) as server:
        async with wire(server.url) as client, wire(server.url, join=False) as newcomer:
            await client.send('42123["event",{"event":"api.work.ask"}]')
            assert await client.receive() == '421["question",null]'
            server.process.send_signal(signal.SIGTERM)
            goodbye([await client.receive()])
            for call in ('"api.neighbour.hello"', '"event",{"event":"api.work.release"}'):
                refused = (await client.ask(f"427[{call}]"))["error"]
                assert 500 <= refused.pop("retry_after") <= 5000
                assert refused == {"code": "unavailable", "message": "The server is going away."}
            refused = json.loads(str(await newcomer.join()).removeprefix("44"))
            assert 500 <= refused["data"].pop("retry_after") <= 5000
            assert refused == {"message": "The server is going away.", "data": {"code": "unavailable"}}
            await is_sent_elsewhere(server.url)
            assert server.process.poll() is None
            await client.send('431["because"]')
            assert await told_until_closed(client) == (['43123[{"data":"because"}]'], 1012)
        assert await ended(server) == 0


async def test_42_a_call_that_outlives_the_drain_is_answered(tmp_path: Path, plugins: Path) -> None:
    """Past `drain_timeout` it is cancelled, and its caller told `unavailable`: by websocket, by polling, in a batch."""
    with serving(tmp_path, config=QUICK, path=[plugins]) as server:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(wire(server.url))
            poller = Poller(await stack.enter_async_context(aiohttp.ClientSession()), server.url)
            await poller.open()
            await client.send('428["event",[{"event":"api.work.wait"},{"event":"api.neighbour.hello"}]]')
            await poller.post('429["event",{"event":"api.work.wait_in_a_thread"}]')
            parked = await poller.park(client)
            server.process.send_signal(signal.SIGTERM)
            goodbye(await parked)
            rest, last = await poller.told_until_closed(asyncio.ensure_future(poller.poll()))
            messages, code = await told_until_closed(client)
            goodbye(messages[:1])
            waited, greeted = json.loads(str(messages[1]).removeprefix("438"))[0]
            [late] = json.loads(rest[0].removeprefix("439"))
            for reply in (waited, late):
                assert 500 <= reply["error"].pop("retry_after") <= 5000
                assert reply == {"error": {"code": "unavailable", "message": "The server is going away."}}
            assert (greeted, code, last) == ({"data": "still here"}, 1012, "1")
        assert await ended(server) == 0


async def test_42_a_second_sigterm_does_not_wait(tmp_path: Path, plugins: Path) -> None:
    """The calls that run are answered `unavailable` at once, however long the drain was to take."""
    with serving(tmp_path, config=PATIENT, path=[plugins]) as server:
        async with wire(server.url) as client:
            await client.send('421["event",{"event":"api.work.wait"}]')
            assert await client.ask('427["event",{"event":"api.neighbour.hello"}]') == {"data": "still here"}
            server.process.send_signal(signal.SIGTERM)
            goodbye([await client.receive()])
            server.process.send_signal(signal.SIGTERM)
            messages, code = await told_until_closed(client)
            assert json.loads(str(messages[-1]).removeprefix("431"))[0]["error"]["code"] == "unavailable"
            assert code == 1012
        assert await ended(server) == 0


async def test_42_ctrl_c_drains_as_sigterm_does(tmp_path: Path, plugins: Path) -> None:
    """SIGINT: the same goodbye, the same status."""
    with serving(tmp_path, config=QUICK, path=[plugins]) as server:
        async with wire(server.url) as client:
            server.process.send_signal(signal.SIGINT)
            messages, code = await told_until_closed(client)
            goodbye(messages)
            assert code == 1012
        assert await ended(server) == 0


CALLS = [
    "wait",
    pytest.param("wait_in_a_thread", marks=pytest.mark.full),
    pytest.param("wait_detached", marks=pytest.mark.full),
    pytest.param("stay", marks=pytest.mark.full),
    "stay_in_a_thread",
    pytest.param("stay_in_a_helper", marks=pytest.mark.full),
    "block_when_cancelled",
    pytest.param("block_disconnects", marks=pytest.mark.full),
    "leave_a_task",
    pytest.param("leave_a_blocking_task", marks=pytest.mark.full),
    pytest.param("leave_a_thread", marks=pytest.mark.full),
    pytest.param("flood", marks=pytest.mark.full),
]


@pytest.mark.parametrize("name", CALLS)
async def test_42_no_call_delays_the_end(tmp_path: Path, plugins: Path, name: str) -> None:
    """Whatever a function does, or leaves behind, the server ends in time, with status 0."""
    with serving(tmp_path, config=QUICK, path=[plugins]) as server:
        async with wire(server.url) as client, wire(server.url) as watcher:
            await client.send(f'42["event",{{"event":"api.work.{name}"}}]')
            while not (await watcher.ask('427["api.work.read"]'))["data"]:
                assert server.process.poll() is None
            server.process.send_signal(signal.SIGTERM)
            # The client reads nothing any more, so that what `flood` sent is still in the server.
            assert await ended(server) == 0
            client.socket.transport.abort()


HALF = {
    "says nothing": b"",
    "half a request": b"GET /socket.io/?EIO=4 HTTP/1.1\r\nHost:",
    "half a body": b"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n4",
}


async def test_42_no_client_delays_the_end(tmp_path: Path, plugins: Path) -> None:
    """Clients that are in the middle of something, or of nothing, are cut off."""
    with serving(tmp_path, config=QUICK, path=[plugins]) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with ExitStack() as stack:
            for half in HALF.values():
                stack.enter_context(socket.create_connection((host, int(port)))).sendall(half)
            async with wire(server.url) as client:
                assert await client.ask('427["event",{"event":"api.neighbour.hello"}]') == {"data": "still here"}
            assert await end(server) == 0


# ------------------------------------------------------------------- 37: stop hooks


STOP = "import asyncio, sys, time\nfrom jackfield import hookimpl\n@hookimpl\nasync def jackfield_shutdown():\n"

WELL_BEHAVED = """
    from pathlib import Path
    from jackfield import hookimpl

    @hookimpl
    async def jackfield_shutdown():
        Path("stopped").touch()
"""

STOPS = {
    # What the stop hook does: what the log says.
    "hangs": ("await asyncio.sleep(60)", "plugin {name} did not stop within 0.5 s and is abandoned"),
    "blocks": ("time.sleep(60)", "plugin {name} did not stop within 0.5 s and is abandoned"),
    "loops": ("while True: pass", "plugin {name} did not stop within 0.5 s and is abandoned"),
    "stays": (
        "\n    while True:\n        try:\n            await asyncio.sleep(60)\n"
        "        except asyncio.CancelledError:\n            pass",
        "plugin {name} did not stop within 0.5 s and is abandoned",
    ),
    "raises": ("raise OSError('no disk')", "plugin {name} failed to stop"),
    "times_out": ("await asyncio.wait_for(asyncio.sleep(60), 0.01)", "plugin {name} failed to stop"),
    "exits": ("sys.exit(5)", "plugin {name} failed to stop"),
    "cancels": ("raise asyncio.CancelledError", "plugin {name} failed to stop"),
    "closes": ("raise GeneratorExit", "plugin {name} failed to stop"),
}


def test_37_a_stop_that_goes_wrong_changes_nothing(tmp_path: Path) -> None:
    """Whatever stop hooks do, the others run, the status is 0, it is soon over, and the log names who is to blame."""
    for name, (code, _) in STOPS.items():
        write_plugin(tmp_path / "p", name, f"{STOP}    {code}\n", requires=["jackfield", "jackfield-diary"])
    write_plugin(tmp_path / "p", "diary", WELL_BEHAVED)
    with serving(tmp_path / "s", config=QUICK, path=[tmp_path / "p"]) as server:
        assert {plugin["state"] for plugin in server.plugins.values()} == {"started"}
        assert server.stop(limit=SOON + 4) == 0
        for name, (_, told) in STOPS.items():
            assert told.format(name=name) in server.log
        assert "OSError: no disk" in server.log
        assert "the task shutdown:stays does not end and is abandoned" in server.log
    assert (tmp_path / "s/stopped").exists()


@pytest.mark.full
def test_37_a_stop_that_cannot_be_interrupted(tmp_path: Path) -> None:
    """A stop hook that holds the loop and catches everything ends the process even so: status 0, and its name."""
    source = """
        import time
        from jackfield import hookimpl

        @hookimpl
        async def jackfield_shutdown():
            while True:
                try:
                    time.sleep(60)
                except BaseException:
                    pass
    """
    write_plugin(tmp_path / "p", "stubborn", source)
    with serving(tmp_path / "s", config=QUICK, path=[tmp_path / "p"]) as server:
        assert server.stop() == 0
        assert server.log.splitlines()[-1] == (
            "jackfield: the task shutdown:stubborn does not come back and cannot be interrupted; "
            "the server ends without it."
        )
