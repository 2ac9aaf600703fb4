"""The fault matrix of calls: whatever a function does, its caller is answered once and everybody else is served."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Client, connected
from tests.support.plugins import write_neighbour, write_plugin
from tests.support.server import Server, serving

NO_QUARANTINE = {"JACKFIELD_QUARANTINE__FAILURES": "0"}
"""Here plugins fail all the time, and are to be asked again."""

HEAD = """
import asyncio, sys, threading, time
from typing import Any
from pydantic import BaseModel
from jackfield import Call, CallError, Service, hookimpl

service = Service("api.faulty")

class Sum(BaseModel):
    total: int

def endless(depth):
    return endless(depth + 1)

async def leave():
    sys.exit(4)

async def close():
    raise GeneratorExit

@hookimpl
def jackfield_services():
    return [service]

@service.function
async def fine(call: Call) -> str:
    return "fine"
"""

RAISING = {
    # What the function does: what the log says of it.
    "raise RuntimeError('a secret')": "RuntimeError: a secret",
    "raise MemoryError": "MemoryError: ",
    "return 1 / 0": "ZeroDivisionError: division by zero",
    "return endless(0)": "RecursionError: maximum recursion depth exceeded",
    "sys.exit('a secret')": "SystemExit: a secret",
    "raise KeyboardInterrupt": "KeyboardInterrupt: ",
    "raise BaseException('a secret')": "BaseException: a secret",
    "raise GeneratorExit": "GeneratorExit: ",
    "raise StopAsyncIteration": "StopAsyncIteration: ",
    "raise asyncio.CancelledError": "CancelledError: ",
    "raise TimeoutError('a secret')": "TimeoutError: a secret",
    "raise BaseExceptionGroup('a secret', [SystemExit(1)])": "BaseExceptionGroup: a secret (1 sub-exception)",
    "raise CallError('a secret', 'no code')": "ValueError: 'a secret' is none of the sixteen codes: ",
}
COROUTINES = {
    **RAISING,
    "raise StopIteration": "RuntimeError: coroutine raised StopIteration",
    "asyncio.current_task().cancel(); await asyncio.sleep(0)": "CancelledError: ",
    "await asyncio.create_task(leave())": "SystemExit: 4",
    "await asyncio.create_task(close())": "GeneratorExit: ",
    "await asyncio.to_thread(sys.exit, 4)": "SystemExit: 4",
    "await asyncio.wait_for(asyncio.sleep(9), 0.01)": "TimeoutError: ",
}
THREADS = {**RAISING, "raise StopIteration": "RuntimeError: the function raised StopIteration"}
RESULTS = {
    ("int", "'a secret'"): "EncodeError: the result is not what the function promises: "
    "result: Input should be a valid integer, unable to parse string as an integer",
    ("Sum", "{'total': 'a secret', 'more': 1}"): "EncodeError: the result is not what the function promises: "
    "total: Input should be a valid integer, unable to parse string as an integer",
    ("int", "None"): "EncodeError: the result is not what the function promises: "
    "result: Input should be a valid integer",
    ("float", "float('nan')"): "EncodeError: the result is not what the function promises: "
    "result: Input should be a finite number",
    ("Any", "[float('inf')]"): "EncodeError: ",
    ("Any", "object()"): "EncodeError: ",
    ("Any", "leave"): "EncodeError: ",
    ("int", "2 ** 53"): "EncodeError: An integer is beyond ±(2^53−1), which JSON clients cannot hold: "
    "send it as a string.",
    ("Any", "(lambda l: l.append(l) or l)([])"): "EncodeError: ",
}

FUNCTIONS = [
    *[(f"async{number}", "async def", "Any", does, log) for number, (does, log) in enumerate(COROUTINES.items())],
    *[(f"plain{number}", "def", "Any", does, log) for number, (does, log) in enumerate(THREADS.items())],
    *[
        (f"result{number}", "async def", promise, f"return {value}", log)
        for number, ((promise, value), log) in enumerate(RESULTS.items())
    ],
]
"""Name, kind, promised result, body and what the log says, of every function that fails."""

NEVER = {
    "waits": "async def waits(call: Call) -> None:\n    await asyncio.Event().wait()",
    "holds_a_thread": "def holds_a_thread(call: Call) -> None:\n    threading.Event().wait()",
    "swallows": """
async def swallows(call: Call) -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
""",
    "answers_late": """
async def answers_late(call: Call) -> str:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "too late"
""",
    "raises_late": """
async def raises_late(call: Call) -> str:
    try:
        await asyncio.Event().wait()
    finally:
        raise RuntimeError("too late")
""",
}


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("calls")
    source = HEAD
    for name, kind, result, body, _ in FUNCTIONS:
        source += f"\n@service.function\n{kind} {name}(call: Call) -> {result}:\n    {body}\n"
    for text in NEVER.values():
        source += f"\n@service.function\n{text.strip()}\n"
    write_plugin(folder / "p", "faulty", source, namespaces=["api.faulty"])
    write_neighbour(folder / "p")
    config = '[plugins]\ndisabled = ["demo"]\n'
    with serving(folder / "s", path=[folder / "p"], config=config, env=NO_QUARANTINE) as server:
        yield server


@pytest.fixture(name="client")
async def _client(server: Server) -> AsyncIterator[Client]:
    async with connected(server.url, "websocket") as client:
        yield client


@pytest.mark.parametrize(
    ("name", "log"),
    [pytest.param(name, log, id=f"{kind}: {body}") for name, kind, _, body, log in FUNCTIONS],
)
async def test_what_fails_is_answered_and_logged(client: Client, server: Server, name: str, log: str) -> None:
    """The caller gets `internal` and an id, and nothing of the cause; the log gets the cause under the same id."""
    event = f"api.faulty.{name}"
    answer = await client.call(event, id=1)
    error_id = answer["error"].pop("error_id")
    message = f"Something went wrong in the server (error {error_id})."
    assert answer == {"error": {"code": "internal", "message": message}, "id": 1}
    assert f"{event} failed, error_id {error_id}: {log}" in server.log
    await _all_is_well(client)


@pytest.mark.parametrize("name", NEVER)
async def test_what_never_returns_is_answered_in_time(client: Client, server: Server, name: str) -> None:
    """Past its deadline a call is answered `deadline_exceeded`, once, whatever its function does with that."""
    event = f"api.faulty.{name}"
    answer = await client.call(event, timeout=50)
    assert answer == {"error": {"code": "deadline_exceeded", "message": f"{event} did not end in time."}}
    await _all_is_well(client)


async def test_all_of_them_at_once(client: Client, server: Server) -> None:
    """In one batch each is answered in its place, and so is the neighbour among them."""
    names = [name for name, *_ in FUNCTIONS][:40]
    events = [event for name in names for event in (f"api.faulty.{name}", "api.neighbour.hello")]
    answers: list[dict[str, Any]] = []
    for start in range(0, len(events), 50):
        answers += await client.send([{"event": event} for event in events[start : start + 50]])
    assert [answer.get("error", {}).get("code", answer.get("data")) for answer in answers] == [
        "internal",
        "still here",
    ] * len(names)


def test_a_task_of_a_plugin_does_not_end_the_server(tmp_path: Path) -> None:
    """`sys.exit()` in a plugin's own task, or in a callback, is logged; the server goes on and ends with status 0."""
    source = """
        import asyncio, sys
        from jackfield import hookimpl

        async def leave():
            sys.exit(5)

        @hookimpl
        async def jackfield_startup():
            global task
            asyncio.get_running_loop().call_later(0.01, sys.exit, 6)
            task = asyncio.create_task(leave())
            await asyncio.sleep(0.05)
    """
    write_plugin(tmp_path / "p", "leaving", source)
    with serving(tmp_path / "s", path=[tmp_path / "p"], env=NO_QUARANTINE) as server:
        assert server.plugins["leaving"]["state"] == "started"
        assert server.stop() == 0
        assert server.log.count("a task or a callback of a plugin raised SystemExit; the server goes on") == 2


def test_without_uvloop_too(tmp_path: Path) -> None:
    """The same holds on asyncio's own event loop."""
    script = """
import asyncio, sys
sys.modules["uvloop"] = None
from jackfield import _process

class Kernel:
    async def serve(self, ready, fd=None):
        asyncio.get_running_loop().call_soon(sys.exit, 3)
        await asyncio.sleep(0.01)
        ready()

_process.run(Kernel(), lambda: print("still here"))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "still here\n")
    assert "a task or a callback of a plugin raised SystemExit; the server goes on" in done.stderr


async def _all_is_well(client: Client) -> None:
    """The connection stands, the plugin and its neighbour answer, and nobody was told anything beside."""
    assert await client.call("api.faulty.fine") == {"data": "fine"}
    assert await client.call("api.neighbour.hello") == {"data": "still here"}
    assert dict(client.received) == {}
