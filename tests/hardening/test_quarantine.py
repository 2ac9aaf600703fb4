"""Quarantine while the server runs: what fails, hangs or is taken out by hand, and its way back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Client, connected
from tests.support.plugins import write_neighbour, write_plugin
from tests.support.server import Server, serving
from tests.support.waiting import until

CONFIG = """
[quarantine]
failures = 4
window = 20.0
retry = 0.2
max_retry = 1.0
trials = 2
blocked = 0.6
"""

FAILING = """
    from collections.abc import AsyncIterator
    from pathlib import Path
    from jackfield import Call, CallError, Service, hookimpl

    service = Service("api.failing")

    @service.function
    async def work(call: Call) -> str:
        if not Path("healed").exists():
            raise RuntimeError("a secret")
        return "done"

    @service.function
    async def refuse(call: Call) -> str:
        raise CallError("failed_precondition", "not today")

    @service.function
    async def numbers(call: Call) -> AsyncIterator[int]:
        if not Path("healed").exists():
            raise RuntimeError("a secret")
        for number in range(3):
            yield number

    @hookimpl
    def jackfield_services():
        return [service]
"""
HANGING = """
    import asyncio
    from pathlib import Path
    from jackfield import Call, Service, hookimpl

    service = Service("api.hanging")

    async def never():
        await asyncio.Event().wait()

    @service.function(timeout=0.3)
    async def work(call: Call) -> str:
        if not Path("healed").exists():
            await never()
        return "done"

    @hookimpl
    def jackfield_services():
        return [service]
"""


BLOCKING = """
    import time
    from pathlib import Path
    from jackfield import Call, Service, hookimpl

    service = Service("api.blocking")

    @service.function
    async def work(call: Call) -> str:
        if not Path("healed").exists():
            time.sleep(0.5)
        return "done"

    @hookimpl
    def jackfield_services():
        return [service]
"""


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[Server]:
    plugins = write_neighbour(tmp_path / "p")
    write_plugin(plugins, "failing", FAILING, namespaces=["api.failing"])
    write_plugin(plugins, "hanging", HANGING, namespaces=["api.hanging"])
    write_plugin(plugins, "blocking", BLOCKING, namespaces=["api.blocking"])
    with serving(tmp_path / "s", path=[plugins], config=CONFIG) as server:
        yield server


@asynccontextmanager
async def busy(server: Server) -> AsyncIterator[list[Any]]:
    """Call the neighbour all the time, and give the answers that are not what they ought to be."""
    wrong: list[Any] = []
    count = 0

    async def ask(client: Client) -> None:
        nonlocal count
        while True:
            answer = await client.call("api.neighbour.hello")
            count += 1
            if answer != {"data": "still here"}:
                wrong.append(answer)

    async with connected(server.url, "websocket") as client:
        asking = asyncio.create_task(ask(client))
        try:
            yield wrong
        finally:
            before = count
            await until(lambda: count > before or asking.done())
            asking.cancel()


async def row(client: Client, plugin: str) -> dict[str, Any]:
    rows = (await client.call("api.system.plugins"))["data"]
    return next(row for row in rows if row["name"] == plugin)


async def called_until(client: Client, event: str, wanted: Any) -> dict[str, Any]:
    """Call until the answer has the wanted data or code, and return it."""
    async with asyncio.timeout(20):
        while True:
            answer: dict[str, Any] = await client.call(event)
            if wanted in (answer.get("data"), answer.get("error", {}).get("code")):
                return answer


@pytest.mark.parametrize(
    ("plugin", "fault", "code", "place"),
    [
        ("failing", "RuntimeError in api.failing.work", "internal", "plugin_failing.py:11"),
        ("hanging", "api.hanging.work did not end in time; it was at", "deadline_exceeded", "plugin_hanging.py:9"),
    ],
)
async def test_what_fails_is_taken_out_and_let_back_in(
    server: Server, tmp_path: Path, plugin: str, fault: str, code: str, place: str
) -> None:
    """The place is named, callers know when to come back, the neighbour notices nothing, and trials let it back in."""
    async with busy(server) as wrong, connected(server.url, "websocket") as client:
        event = f"api.{plugin}.work"
        assert (await client.call(event))["error"]["code"] == code
        answer = await called_until(client, event, "unavailable")
        wait = answer["error"].pop("retry_after")
        message = f"{event}: the plugin {plugin} is quarantined: too many of its calls have failed."
        assert answer == {"error": {"code": "unavailable", "message": message}}
        assert 0 < wait <= 1000
        found = await row(client, plugin)
        assert (found["state"], found["kind"]) == ("quarantined", "CallsFailed")
        assert found["reason"].startswith("4 of 4 calls failed within 20 s, the last: ")
        assert fault in found["reason"]
        assert place in found["reason"]
        assert f"plugin {plugin} is quarantined: {found['reason']}" in server.log
        while f"plugin {plugin} stays quarantined: the trial failed" not in server.log:
            await client.call(event)
        (tmp_path / "s/healed").touch()
        assert await called_until(client, event, "done") == {"data": "done"}
        await called_until(client, event, "done")
        await until(lambda: f"plugin {plugin} is back in service" in server.log)
        found = await row(client, plugin)
        assert (found["state"], found["reason"]) == ("started", None)
        assert await client.call(event) == {"data": "done"}
    assert wrong == []


async def test_35_what_blocks_the_loop_is_taken_out_and_let_back_in(server: Server, tmp_path: Path) -> None:
    """The function that holds the event loop is named with its line; the neighbour's calls all succeed meanwhile."""
    async with busy(server) as wrong, connected(server.url, "websocket") as client:
        answer = await called_until(client, "api.blocking.work", "unavailable")
        message = "api.blocking.work: the plugin blocking is quarantined: it has held up the server."
        assert answer["error"]["message"] == message
        found = await row(client, "blocking")
        assert (found["state"], found["kind"]) == ("quarantined", "LoopBlocked")
        assert f"at last in api.blocking.work ({tmp_path / 'p/plugin_blocking.py'}:11)" in found["reason"]
        while "plugin blocking stays quarantined: the trial failed: api.blocking.work" not in server.log:
            await client.call("api.blocking.work")
        (tmp_path / "s/healed").touch()
        for _ in range(2):
            await called_until(client, "api.blocking.work", "done")
        await until(lambda: "plugin blocking is back in service" in server.log)
    assert wrong == []


async def test_what_an_author_refuses_is_no_fault(server: Server) -> None:
    """Errors raised on purpose, bad arguments and calls cut short by their callers count for nothing."""
    async with connected(server.url, "websocket") as client:
        for _ in range(10):
            assert (await client.call("api.failing.refuse"))["error"]["code"] == "failed_precondition"
            assert (await client.call("api.failing.refuse", "data"))["error"]["code"] == "invalid_argument"
            assert (await client.call("api.hanging.work", timeout=5))["error"]["code"] == "deadline_exceeded"
        assert (await row(client, "failing"))["state"] == "started"
        assert (await row(client, "hanging"))["state"] == "started"


async def test_streams_fail_and_are_tried_too(server: Server, tmp_path: Path) -> None:
    """A stream that breaks counts as a call does, and one that works lets the plugin back in."""
    async with connected(server.url, "websocket") as client:
        for number in range(4):
            await client.call("api.failing.numbers", id=number)
            assert (await client.next("stream"))["error"]["code"] == "internal"
        assert (await row(client, "failing"))["state"] == "quarantined"
        (tmp_path / "s/healed").touch()
        for number in range(2):
            async with asyncio.timeout(20):
                while "error" in await client.call("api.failing.numbers", id=10 + number):
                    pass
            assert [(await client.next("stream")).get("data") for _ in range(4)] == [0, 1, 2, None]
        await until(lambda: "plugin failing is back in service" in server.log)
        assert (await row(client, "failing"))["state"] == "started"


GATE = """
    from pathlib import Path
    from jackfield import hookimpl

    @hookimpl
    def jackfield_admit(call):
        if Path("broken").exists() and call.event == "api.neighbour.hello":
            raise RuntimeError("a secret")
"""


async def test_a_hook_that_fails_is_blamed_on_its_own_plugin(tmp_path: Path) -> None:
    """A plugin whose calls fail in the hook of another is not taken out for it; the other is."""
    plugins = write_plugin(write_neighbour(tmp_path / "p"), "gate", GATE)
    with serving(tmp_path / "s", path=[plugins], config=CONFIG) as server:
        (tmp_path / "s/broken").touch()
        async with connected(server.url, "websocket") as client:
            for _ in range(6):
                assert (await client.call("api.neighbour.hello"))["error"]["code"] == "internal"
            found = await row(client, "gate")
            assert (found["state"], found["kind"]) == ("quarantined", "CallsFailed")
            (tmp_path / "s/broken").unlink()
            assert await client.call("api.neighbour.hello") == {"data": "still here"}
            assert (await row(client, "neighbour"))["state"] == "started"


async def test_an_operator_can_force_either(server: Server) -> None:
    """By hand a plugin stays out until it is released; a client that is on this machine is an operator."""
    async with busy(server) as wrong, connected(server.url, "websocket") as client:
        assert await client.call("api.system.quarantine", {"plugin": "failing", "reason": "hotfix 12"}) == {
            "data": None
        }
        answer = await client.call("api.failing.refuse")
        assert answer["error"]["code"] == "unavailable"
        assert answer["error"]["message"].endswith("an operator has taken it out of service.")
        found = await row(client, "failing")
        assert (found["state"], found["kind"], found["reason"]) == ("quarantined", "ByHand", "hotfix 12")
        assert found["hint"] == "jackfield plugins release failing"
        assert await client.call("api.system.release", {"plugin": "failing"}) == {"data": None}
        assert (await client.call("api.failing.refuse"))["error"]["code"] == "failed_precondition"
        again = await client.call("api.system.release", {"plugin": "failing"})
        assert again == {"error": {"code": "failed_precondition", "message": "The plugin failing is in service."}}
        nobody = await client.call("api.system.release", {"plugin": "nobody"})
        assert nobody == {"error": {"code": "not_found", "message": "There is no plugin 'nobody'."}}
    assert wrong == []
