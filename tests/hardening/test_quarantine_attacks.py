"""What clients try with the quarantine: to take a plugin out for others, to keep it out, to have it back too early."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import pytest

from tests.support.client import Client, connected
from tests.support.plugins import write_plugin
from tests.support.server import Server, serving
from tests.support.waiting import until

CONFIG = """
[quarantine]
failures = 3
window = 60.0
retry = 0.1
max_retry = 0.1
trials = 2
[bulkhead]
plugin_calls = 4
plugin_queue = 20
[[bulkhead.rules]]
functions = "api.victim.few"
calls = 1
queue = 10
"""
VICTIM = """
    import asyncio
    from collections.abc import AsyncIterator
    from pathlib import Path
    from jackfield import Call, Service, Value, hookimpl

    service = Service("api.victim")
    inside = []

    async def done():
        pass

    @service.function
    async def work(call: Call, data: int = 0) -> str:
        await done()
        if not Path("healed").exists():
            raise RuntimeError("a secret")
        return "done"

    @service.function
    async def wait(call: Call) -> str:
        await asyncio.Event().wait()
        return "never"

    @service.function(timeout=1)
    async def few(call: Call, data: float) -> str:
        await asyncio.sleep(data)
        return "done"

    @service.function(timeout=1, ordered=True)
    async def inTurn(call: Call, data: float) -> str:
        await asyncio.sleep(data)
        return "done"

    @service.function(timeout=1)
    async def total(call: Call, items: AsyncIterator[int]) -> int:
        return sum([item async for item in items])

    @service.function(timeout=1)
    async def ask(call: Call) -> Value:
        return await call.client.request("question")

    @service.function(timeout=1)
    async def errand(call: Call) -> Value:
        return await call.invoke("api.victim.ask")

    @service.function(timeout=10)
    async def outer(call: Call) -> Value:
        inside.append(call)
        while len(inside) < 4:  # until there is no place left
            await asyncio.sleep(0.01)
        return await call.invoke("api.victim.inner")

    @service.function
    async def inner(call: Call) -> str:
        await done()
        return "inner"

    @hookimpl
    def jackfield_services():
        return [service]
"""


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[Server]:
    plugins = write_plugin(tmp_path / "p", "victim", VICTIM, namespaces=["api.victim"])
    with serving(tmp_path / "s", path=[plugins], config=CONFIG) as server:
        yield server


@pytest.fixture(name="client")
async def _client(server: Server) -> AsyncIterator[Client]:
    async with connected(server.url, "websocket") as client:
        yield client


async def state(client: Client) -> str:
    rows = (await client.call("api.system.plugins"))["data"]
    return str(next(row for row in rows if row["name"] == "victim")["state"])


async def take_out(client: Client) -> None:
    for _ in range(3):
        assert (await client.call("api.victim.work"))["error"]["code"] == "internal"
    assert await state(client) == "quarantined"


async def tried(server: Server, client: Client, count: int, cancel: bool = False, **fields: Any) -> None:
    """Make a call that becomes the trial of that number."""
    async with asyncio.timeout(20):
        while server.log.count("is tried with a call") < count:
            call = asyncio.ensure_future(client.call(id=count, **fields))
            if cancel:
                await until(partial(_begun, server, call, count))
                if not call.done():
                    await client.emit({"id": count, "cancel": True}, event="stream")
            assert "error" in await call


def _begun(server: Server, call: asyncio.Future[Any], count: int) -> bool:
    return call.done() or server.log.count("is tried with a call") == count


@pytest.mark.parametrize(
    "fields",
    [
        {"event": "api.victim.work", "data": "no number"},
        {"event": "api.victim.work", "data": 1, "encoding": "base64"},
        {"event": "api.victim.wait", "timeout": 1},
        {"event": "api.victim.wait", "cancel": True},
    ],
)
async def test_calls_that_show_nothing_let_it_not_back_in(
    server: Server, client: Client, fields: dict[str, Any]
) -> None:
    """Bad data, tiny timeouts and calls that are cancelled at once are no trials that went well."""
    await take_out(client)
    for count in range(1, 5):
        await tried(server, client, count, **fields)
    assert await state(client) == "quarantined"
    (Path(server.log_file).parent / "healed").touch()
    await back_in(client)


async def test_a_trial_whose_client_goes_keeps_it_not_out(server: Server, client: Client) -> None:
    """Nobody waits an hour for a trial that nobody waits for."""
    await take_out(client)
    async with connected(server.url, "websocket") as other:
        async with asyncio.timeout(20):
            while "is tried with a call" not in server.log:
                await other.emit({"event": "api.victim.wait", "id": 1, "timeout": 3_600_000})
                await other.call("api.system.ping")
    (Path(server.log_file).parent / "healed").touch()
    await back_in(client)


async def back_in(client: Client) -> None:
    async with asyncio.timeout(20):
        while await state(client) != "started":
            await client.call("api.victim.work")


@pytest.mark.parametrize(
    ("event", "data", "count"),
    [
        ("api.victim.few", 0.8, 6),  # the others wait for the only place
        ("api.victim.inTurn", 0.8, 6),  # the others wait for their turn
        ("api.victim.total", None, 6),  # no item ever comes
        ("api.victim.ask", None, 6),  # nobody answers
        ("api.victim.errand", None, 6),  # nobody answers what another function asks
    ],
)
async def test_time_that_others_take_is_nobodys_fault(client: Client, event: str, data: Any, count: int) -> None:
    """Calls whose time goes by in a queue, or with waiting for their client, do not take the plugin out."""
    client.sio.on("question", handler=never)
    await asyncio.gather(*(client.call(event, data, id=number) for number in range(count)))
    ended = 0
    while event.endswith("total") and ended < count:
        ended += (await client.next("stream")).get("error", {}).get("code") == "deadline_exceeded"
    assert await state(client) == "started"


async def never(_: object) -> None:
    await asyncio.Event().wait()


async def test_calls_inside_others_do_not_wait_for_those(client: Client) -> None:
    """As many calls as there are places, each with a call inside it, are all answered."""
    answers = await asyncio.gather(*(client.call("api.victim.outer", id=number) for number in range(8)))
    assert answers == [{"data": "inner", "id": number} for number in range(8)]
    assert await state(client) == "started"


async def test_36_what_is_hard_to_unpack_is_no_fault_of_a_plugin(tmp_path: Path) -> None:
    """Neither one call that takes long, nor many of which each takes a part of what holds the loop for too long."""
    plugins = write_plugin(tmp_path / "p", "victim", VICTIM, namespaces=["api.victim"])
    config = CONFIG.replace("[quarantine]", "[quarantine]\nblocked = 0.1")
    config += "[watchdog]\nthreshold = 0.05\n[limits]\nmessage_size = 16_000_000\nunpacked_size = 16_000_000\n"
    heavy = gzip.compress(msgpack.packb([[number] for number in range(200_000)]))  # which is no number
    with serving(tmp_path / "s", path=[plugins], config=config) as server:
        async with connected(server.url, "websocket") as client:
            calls = (client.call("api.victim.work", heavy, encoding="gzip+msgpack") for _ in range(4))
            answers = await asyncio.gather(*calls)
            assert {answer["error"]["code"] for answer in answers} == {"invalid_argument"}
            assert await state(client) == "started"
        assert "plugin victim is quarantined" not in server.log
