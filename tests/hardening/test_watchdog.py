"""Row 35: code of a plugin that holds the event loop is named while it does, and interrupted if it stays."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.client import Client, connected
from tests.support.plugins import write_neighbour, write_plugin
from tests.support.server import Server, environment, serving
from tests.support.waiting import until

HELPERS = """
    import time

    def nap():
        time.sleep(0.5)  # nap
"""

BLOCKING = """
    import asyncio
    import re
    import time
    from functools import partial

    from jackfield import Call, Observer, Service, hookimpl
    from parcel.helpers import nap

    service = Service("api.block")
    planned: set[str] = set()

    def wasteful(function):
        async def wrapper(call: Call) -> str:
            return await function(call)
        return wrapper

    @service.function
    async def at_once(call: Call) -> str:
        time.sleep(0.5)  # at_once
        return "done"

    @service.function
    async def later(call: Call) -> str:
        await asyncio.sleep(0)
        time.sleep(0.5)  # later
        return "done"

    @service.function
    async def helped(call: Call) -> str:
        nap()
        return "done"

    @service.function(name="wrapped")
    @wasteful
    async def inner(call: Call) -> str:
        nap()
        return "done"

    @service.function
    async def stream(call: Call) -> str:
        return "".join([text async for text in call.stream("api.block.items")])

    @service.function
    async def items(call: Call) -> AsyncIterator[str]:
        yield "do"
        time.sleep(0.5)  # items
        yield "ne"

    @service.function
    async def in_background(call: Call) -> str:
        async def work() -> None:
            time.sleep(0.5)  # in_background
        planned.add(asyncio.create_task(work()))
        return "done"

    @service.function
    async def in_callback(call: Call) -> str:
        asyncio.get_running_loop().call_soon(lambda: time.sleep(0.5))  # in_callback
        return "done"

    @service.function
    async def in_c(call: Call) -> str:
        end = time.thread_time() + 0.3
        while time.thread_time() < end:
            sum(range(5_000_000))  # in_c
        return "done"

    @service.function
    async def plan(call: Call, data: str) -> None:
        planned.add(data)

    @service.function
    async def forever(call: Call) -> str:
        while True:  # forever
            pass

    @service.function
    async def forever_later(call: Call) -> str:
        await asyncio.sleep(0)
        while True:  # forever_later
            pass

    @service.function
    async def stubborn(call: Call) -> str:
        for _ in range(4):
            try:
                while True:  # stubborn
                    pass
            except BaseException:
                pass
        return "gives in"

    @service.function
    async def expression(call: Call) -> bool:
        return bool(re.match("(a|a)+$", "a" * 40 + "b"))  # expression

    class Watcher(Observer):
        def started(self, call: Call) -> None:
            if "observer" in planned and call.event == "api.neighbour.hello":
                planned.remove("observer")
                time.sleep(0.5)  # observer

        def ended(self, call: Call, error: object) -> None:
            pass

    @hookimpl
    def jackfield_observe():
        return Watcher()

    @hookimpl
    def jackfield_admit(call):
        if "admit" in planned and call.event == "api.neighbour.hello":
            planned.remove("admit")
            time.sleep(0.5)  # admit

    @hookimpl
    async def jackfield_connect(client):
        if "connect" in planned:
            planned.remove("connect")
            time.sleep(0.5)  # connect
        if "connect forever" in planned:
            planned.remove("connect forever")
            while True:  # connect forever
                pass

    @hookimpl
    def jackfield_services():
        return [service]
"""
BLOCKING = "\n    from collections.abc import AsyncIterator" + BLOCKING

IMPATIENT = "[watchdog]\ninterrupt = 0.6\n[limits]\nloop_lag = 0\n[quarantine]\nblocked = 0\nfailures = 0\n"


class Place:
    """Where a plugin's line is, found by the comment at its end."""

    def __init__(self, folder: Path) -> None:
        self.marks = {
            line.partition("  # ")[2]: f"{file}:{number}"
            for file in folder.rglob("*.py")
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        }

    def __getitem__(self, mark: str) -> str:
        return self.marks[mark]


def _write(folder: Path) -> Path:
    (folder / "parcel").mkdir(parents=True)
    (folder / "parcel/__init__.py").touch()
    write_plugin(folder, "helpers", HELPERS, module="parcel/helpers", target="nobody")
    write_plugin(folder, "block", BLOCKING, module="parcel/plugin", target="parcel.plugin", namespaces=["api.block"])
    return write_neighbour(folder)


@pytest.fixture(scope="module", name="place")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(_write(tmp_path_factory.mktemp("watchdog") / "p"))


@pytest.fixture(scope="module", name="server")
def _server(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = Path(place["nap"]).parents[1]
    with serving(tmp_path_factory.mktemp("s"), path=[path], config=IMPATIENT) as server:
        yield server


@pytest.fixture(name="client")
async def _client(server: Server) -> AsyncIterator[Client]:
    async with connected(server.url, "websocket") as client:
        yield client


async def _named(server: Server, what: str, where: str) -> None:
    """Wait for the two lines in the log: that it blocks, and that it did."""
    blocks = rf"plugin block blocks the event loop, for \d+\.\d s so far: {re.escape(f'{what} at {where}')}\n"
    blocked = rf"plugin block gave the event loop back after \d+\.\d\d s: {re.escape(f'{what} at {where}')}\n"
    await until(lambda: re.search(f"{blocks}(?:.*\n)*.*{blocked}", server.log))
    async with connected(server.url, "websocket") as other:
        assert await other.call("api.neighbour.hello") == {"data": "still here"}


@pytest.mark.parametrize(
    ("function", "what", "mark"),
    [
        ("at_once", "api.block.at_once", "at_once"),
        ("later", "api.block.later", "later"),
        ("helped", "api.block.helped", "nap"),
        ("wrapped", "api.block.wrapped", "nap"),
        ("stream", "api.block.items", "items"),
        ("in_background", "in_background.<locals>.work", "in_background"),
        ("in_callback", "in_callback.<locals>.<lambda>", "in_callback"),
        ("in_c", "api.block.in_c", "in_c"),
    ],
)
async def test_35_a_function_that_blocks_is_named(
    server: Server, client: Client, place: Place, function: str, what: str, mark: str
) -> None:
    """With the plugin, what it is, the file and the line, whether or not it has a task; its caller is answered."""
    assert await client.call(f"api.block.{function}") == {"data": "done"}
    await _named(server, what, place[mark])


@pytest.mark.parametrize(
    ("hook", "what"),
    [("connect", "jackfield_connect"), ("admit", "jackfield_admit"), ("observer", "Watcher.started")],
)
async def test_35_a_hook_that_blocks_is_named(
    server: Server, client: Client, place: Place, hook: str, what: str
) -> None:
    """It is the plugin of the hook that is named, and not the one whose function is called."""
    await client.call("api.block.plan", hook)
    async with connected(server.url, "websocket") as other:
        assert await other.call("api.neighbour.hello") == {"data": "still here"}
    await _named(server, what, place[hook])


@pytest.mark.parametrize("function", ["forever", "forever_later", "expression"])
async def test_35_a_function_that_never_comes_back_is_interrupted(
    server: Server, client: Client, place: Place, function: str
) -> None:
    """Its caller gets `internal`, the log says why, and everybody else is served."""
    reply = await client.call(f"api.block.{function}")
    assert reply["error"]["code"] == "internal"
    line = next(line for line in server.log.splitlines() if reply["error"]["error_id"] in line)
    assert re.search(
        rf"api\.block\.{function} failed, .*: it held the event loop for \d+\.\d s and was interrupted \(watchdog", line
    )
    await until(lambda: f"and was interrupted: api.block.{function} at {place[function]}" in server.log)
    assert await client.call("api.neighbour.hello") == {"data": "still here"}


async def test_35_a_hook_that_never_comes_back_is_interrupted(server: Server, client: Client, place: Place) -> None:
    """Nobody waits for it, and the client whose coming it was told of is served."""
    await client.call("api.block.plan", "connect forever")
    async with connected(server.url, "websocket") as other:
        assert await other.call("api.neighbour.hello") == {"data": "still here"}
    await until(lambda: f"and was interrupted: jackfield_connect at {place['connect forever']}" in server.log)
    assert await client.call("api.neighbour.hello") == {"data": "still here"}


async def test_35_who_swallows_the_interruption_is_interrupted_again(server: Server, client: Client) -> None:
    """As often as it takes."""
    assert await client.call("api.block.stubborn") == {"data": "gives in"}
    await until(lambda: "and was interrupted: api.block.stubborn" in server.log)
    assert await client.call("api.neighbour.hello") == {"data": "still here"}


@pytest.mark.full
async def test_35_a_server_that_was_stopped_blames_nobody(tmp_path: Path) -> None:
    """As a laptop that was closed, or a debugger, stops the process; nobody has held the loop."""
    with serving(tmp_path, path=[write_neighbour(tmp_path / "p")]) as server:
        async with connected(server.url, "websocket") as client:
            process = psutil.Process(server.process.pid)
            process.suspend()
            end = time.monotonic() + 2.0
            await until(lambda: process.status() == psutil.STATUS_STOPPED and time.monotonic() > end)
            process.resume()
            assert await client.call("api.neighbour.hello") == {"data": "still here"}
        assert server.stop() == 0
        assert "event loop" not in server.log
        assert "overloaded" not in server.log


@pytest.mark.full
async def test_35_a_plugin_that_blocks_too_long_is_taken_out_of_service(place: Place, tmp_path: Path) -> None:
    """It alone; operators are told for how long it has held the loop, and where."""
    path = Path(place["nap"]).parents[1]
    with serving(tmp_path, path=[path]) as server:
        async with connected(server.url, "websocket") as client:
            replies = [await client.call("api.block.at_once") for _ in range(4)]
            assert replies[-1]["error"]["code"] == "unavailable"
            assert "quarantined" in replies[-1]["error"]["message"]
            assert await client.call("api.neighbour.hello") == {"data": "still here"}
        text = rf"it held the event loop for \d\.\d s, at last in api\.block\.at_once \({re.escape(place['at_once'])}\)"
        assert re.search(rf"plugin block is quarantined: {text}", server.log)


async def test_35_nobody_looks_where_it_is_switched_off(place: Place, tmp_path: Path) -> None:
    """`threshold = 0`: a plugin may block the loop, and no thread watches."""
    path = Path(place["nap"]).parents[1]
    with serving(tmp_path, path=[path], config="[watchdog]\nthreshold = 0\n") as server:
        async with connected(server.url, "websocket") as client:
            assert await client.call("api.block.at_once") == {"data": "done"}
        assert server.stop() == 0
        assert "event loop" not in server.log


@pytest.mark.full
async def test_35_a_process_that_cannot_be_helped_ends(place: Place, tmp_path: Path) -> None:
    """With status 70 and the stacks of all threads, where that was asked for; the supervisor starts another worker."""
    path = Path(place["nap"]).parents[1]
    config = '[server]\ntransports = ["websocket"]\n[watchdog]\ninterrupt = 0\nexit_after = 1\n'
    with serving(tmp_path, "--workers", "2", path=[path], config=config) as server:
        async with connected(server.url, "websocket") as client:
            await client.emit({"event": "api.block.forever"})
            await until(lambda: "has ended with status 70; another follows" in server.log)
        log = server.log
        assert re.search(r"has not come round for \d\.\d s \(watchdog\.exit_after\): api\.block\.forever at ", log)
        assert "of plugin block holds it; the process ends" in log
        assert re.search(r"Thread 0x\w+ .*\(most recent call first\):\n(?:  .*\n)*  File .* in forever\n", log)
        async with connected(server.url, "websocket") as client:
            assert await client.call("api.neighbour.hello") == {"data": "still here"}
        assert server.stop() == 0


HOST = """
import asyncio, sys, threading

import jackfield
from uvicorn import Config, Server

app = jackfield.create_app()
server = Server(Config(app, host="127.0.0.1", port=0, lifespan="on", log_level="warning"))

async def serve():
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await serving

thread = threading.Thread(target=asyncio.run, args=[serve()])
thread.start()
sys.stdin.read()
server.should_exit = True
thread.join()
"""


async def test_35_the_loop_of_a_host_is_watched_in_any_thread(place: Place, tmp_path: Path) -> None:
    """Where it is not the main one, nothing can be interrupted, but everything is named."""
    (tmp_path / "jackfield.toml").write_text(IMPATIENT, encoding="utf-8")
    path = Path(place["nap"]).parents[1]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(  # noqa: ASYNC220 - only its start blocks
            [sys.executable, "-c", HOST],
            cwd=tmp_path,
            env=environment([path]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            url = f"http://127.0.0.1:{int(process.stdout.readline())}"
            async with connected(url, "websocket") as client:
                assert await client.call("api.block.at_once") == {"data": "done"}
                text = f"api.block.at_once at {place['at_once']}"
                await until(lambda: text in (tmp_path / "log").read_text(encoding="utf-8"))
            process.communicate(timeout=20)
            assert process.returncode == 0
        finally:
            process.kill()
