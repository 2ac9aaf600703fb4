"""Bulkheads: one plugin, or one function, does not take what all need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.client import Client, connected
from tests.support.plugins import write_neighbour, write_plugin
from tests.support.server import Server, serving

SLOW = """
    import asyncio
    import threading
    from collections.abc import AsyncIterator
    from jackfield import Call, Service, hookimpl

    service = Service("api.slow")
    most = running = 0
    held = asyncio.Event()
    thread_held = threading.Event()

    @service.function
    async def hold(call: Call) -> str:
        global most, running
        running += 1
        most = max(most, running)
        try:
            await held.wait()
        finally:
            running -= 1
        return "held"

    @service.function
    def hold_a_thread(call: Call) -> str:
        thread_held.wait()
        return "held"

    @service.function
    async def let_go(call: Call) -> int:
        held.set()
        thread_held.set()
        return most

    @service.function
    async def quick(call: Call) -> str:
        return "quick"

    @service.function
    async def state(call: Call) -> list[int]:
        stats = call.kernel.stats().plugins["slow"]
        return [stats.calls, stats.queued, stats.streams]

    @service.function
    async def ticks(call: Call) -> AsyncIterator[int]:
        yield 1
        await held.wait()

    @hookimpl
    def jackfield_services():
        return [service]
"""
CONFIG = """
[bulkhead]
plugin_calls = 5
plugin_queue = 3
[[bulkhead.rules]]
functions = ["api.slow.hold", "api.slow.ticks"]
calls = 2
queue = 2
"""


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[Server]:
    plugins = write_neighbour(tmp_path / "p")
    write_plugin(plugins, "slow", SLOW, namespaces=["api.slow"])
    with serving(tmp_path / "s", path=[plugins], config=CONFIG) as server:
        yield server


@pytest.fixture(name="client")
async def _client(server: Server) -> AsyncIterator[Client]:
    async with connected(server.url, "websocket") as client:
        yield client


async def state(client: Client, wanted: list[int]) -> None:
    """Wait until so many calls run, wait, and stream; the one that asks counts for none, it never suspends."""
    async with asyncio.timeout(20):
        while (await client.call("api.slow.state"))["data"] != wanted:
            pass


async def test_calls_past_the_places_wait_and_those_past_the_queue_are_refused(client: Client) -> None:
    """Two run, two wait, the fifth is told when to come back; others of the plugin, and its neighbour, go on."""
    held = [asyncio.ensure_future(client.call("api.slow.hold", None, id=number)) for number in range(4)]
    await state(client, [2, 2, 0])
    assert await client.call("api.slow.hold") == {
        "error": {
            "code": "resource_exhausted",
            "message": "2 calls of api.slow.hold run, and 2 wait (bulkhead.rules).",
            "retry_after": 1000,
        }
    }
    assert await client.call("api.slow.quick") == {"data": "quick"}
    assert await client.call("api.neighbour.hello") == {"data": "still here"}
    # One that waits is cancelled, and another takes its place in the queue.
    await client.emit({"id": 3, "cancel": True}, event="stream")
    assert (await held[3])["error"]["code"] == "canceled"
    await state(client, [2, 1, 0])
    late = await client.call("api.slow.hold", timeout=50)
    assert late["error"]["code"] == "deadline_exceeded"
    await state(client, [2, 1, 0])
    assert await client.call("api.slow.let_go") == {"data": 2}
    assert [answer["data"] for answer in await asyncio.gather(*held[:3])] == ["held"] * 3
    await state(client, [0, 0, 0])


async def test_a_plugin_has_its_own_places(client: Client) -> None:
    """Its functions share them, those in worker threads too."""
    names = ["hold", "hold", *["hold_a_thread"] * 6]
    held = [asyncio.ensure_future(client.call(f"api.slow.{name}")) for name in names]
    await state(client, [5, 3, 0])
    answer = await client.call("api.slow.hold_a_thread")
    message = "5 calls of the plugin slow run, and 3 wait (bulkhead.plugin_calls, bulkhead.plugin_queue)."
    assert (answer["error"]["code"], answer["error"]["message"]) == ("resource_exhausted", message)
    assert await client.call("api.neighbour.hello") == {"data": "still here"}
    await client.call("api.slow.let_go")
    assert [answer["data"] for answer in await asyncio.gather(*held)] == ["held"] * 8


async def test_streams_count_only_where_a_rule_says_so(client: Client) -> None:
    """A stream past its places is opened as soon as one is free."""
    for number in range(2):
        assert "stream" in await client.call("api.slow.ticks", None, id=number, credit=5)
    third = asyncio.ensure_future(client.call("api.slow.ticks", None, id=2, credit=5))
    await state(client, [2, 1, 3])
    await client.call("api.slow.let_go")
    assert "stream" in await third
    ends = 0
    while ends < 3:
        ends += bool((await client.next("stream")).get("end"))
    await state(client, [0, 0, 0])


async def test_a_client_that_goes_gives_its_places_back(server: Server, client: Client) -> None:
    """Those that run, and those that wait."""
    async with connected(server.url, "websocket") as other:
        for number in range(4):
            await other.emit({"event": "api.slow.hold", "id": number})
        await state(client, [2, 2, 0])
    await state(client, [0, 0, 0])
    await client.call("api.slow.let_go")
    assert await client.call("api.slow.hold") == {"data": "held"}
