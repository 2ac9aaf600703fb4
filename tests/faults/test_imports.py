"""A call imports nothing: what is needed is loaded before the server is ready."""

from __future__ import annotations

import base64
import gzip
import time
from pathlib import Path
from typing import Any

from tests.support.client import Client, connected
from tests.support.plugins import write_plugin
from tests.support.server import serving
from tests.support.wire import wire

WATCHING = """
    import asyncio, sys, time
    from typing import Any
    from jackfield import Call, Service, hookimpl
    from pydantic import BaseModel

    service = Service("api.watching")
    seen: list[tuple[float, str]] = []
    def watch(event, arguments):
        # A traceback parses the line that it marks; that is no module.
        if event in ("import", "compile", "exec") and "<unknown>" not in arguments:
            seen.append((time.time(), f"{event} {arguments[0]!r:.200}"))

    class Event(BaseModel):
        time: float
        what: str

    @service.function
    async def report(call: Call) -> list[Event]:
        return [Event(time=when, what=what) for when, what in seen]

    @service.function
    async def imports(call: Call) -> None:
        import this_is_no_module

    @service.function
    async def helper(call: Call) -> int:
        return await asyncio.to_thread(len, "four")

    @service.function
    async def nonsense(call: Call) -> int:
        return "none"

    @service.function
    async def anything(call: Call, data: Any) -> Any:
        return [data, object()]

    @hookimpl
    def jackfield_services():
        return [service]

    @hookimpl
    async def jackfield_startup():
        sys.addaudithook(watch)
"""

DEMO = "api.services.test"


async def test_no_call_imports_anything(tmp_path: Path) -> None:
    """Hundreds of calls of every sort, by every carrier, and not one import, compilation or execution of a module."""
    write_plugin(tmp_path / "p", "watching", WATCHING, namespaces=["api.watching"])
    with serving(tmp_path / "s", path=[tmp_path / "p"], config="[quarantine]\nfailures = 0") as server:
        ready = time.time()
        for transports in (["websocket"], ["polling"], ["polling", "websocket"]):
            async with connected(server.url, *transports) as client:
                await _calls_of_every_sort(client)
        async with wire(server.url) as raw:
            await raw.send("42[")
            assert await raw.closed() == 1008
        async with connected(server.url, "websocket") as client:
            assert await _seen(client, ready) == []
            assert (await client.call("api.watching.imports"))["error"]["code"] == "internal"
            assert await _seen(client, ready) == ["import 'this_is_no_module'"]


async def _seen(client: Client, since: float) -> list[str]:
    return [event["what"] for event in (await client.call("api.watching.report"))["data"] if event["time"] > since]


async def _calls_of_every_sort(client: Client) -> None:
    async def answer(question: str) -> str:
        return question.upper()

    client.sio.on("question", answer)
    text = b'"packed"'
    calls: list[tuple[dict[str, Any], str | None]] = [
        ({"event": "api.system.plugins"}, None),
        ({"event": "api.system.info"}, None),
        ({"event": "api.system.functions", "data": {"pattern": "*"}}, None),
        ({"event": "api.system.describe", "data": {"event": f"{DEMO}.greet"}}, None),
        ({"event": f"{DEMO}.testFunc", "data": "You`re welcome"}, None),
        ({"event": f"{DEMO}.echo", "data": {"text": "ünïcode \u2603", "list": [1, 2.5, None, True]}}, None),
        ({"event": f"{DEMO}.echo", "data": {"buffer": b"\x00\x01"}}, None),
        ({"event": f"{DEMO}.reverse", "data": b"abc"}, None),
        ({"event": f"{DEMO}.digest", "data": b"abc"}, None),
        ({"event": f"{DEMO}.add", "data": {"a": 1, "b": 2}}, None),
        ({"event": f"{DEMO}.add", "data": {"a": "one", "c": 2}}, "invalid_argument"),
        ({"event": f"{DEMO}.greet", "data": {"name": "Ada", "born": "1815-12-10"}}, None),
        ({"event": f"{DEMO}.greet", "data": {"name": "", "born": "yesterday"}}, "invalid_argument"),
        ({"event": f"{DEMO}.inTurn", "data": {"seconds": 0}}, None),
        ({"event": f"{DEMO}.background", "data": {"seconds": 0}}, None),
        ({"event": f"{DEMO}.addAll", "data": [1, 2, 3]}, None),
        ({"event": f"{DEMO}.ask", "data": "what?"}, None),
        ({"event": f"{DEMO}.fail"}, "failed_precondition"),
        ({"event": f"{DEMO}.crash"}, "internal"),
        ({"event": f"{DEMO}.sleep", "data": {"seconds": 9}, "timeout": 20}, "deadline_exceeded"),
        ({"event": "api.watching.helper"}, None),
        ({"event": "api.watching.nonsense"}, "internal"),
        ({"event": "api.watching.anything"}, "internal"),
        ({"event": f"{DEMO}.eccho"}, "not_found"),
        ({"event": "nothing.like.it"}, "not_found"),
        ({"event": "no path"}, "invalid_argument"),
        ({"evnt": "api.system.ping"}, "invalid_argument"),
        ({"event": f"{DEMO}.echo", "data": gzip.compress(text), "encoding": "gzip", "accept": "gzip"}, None),
        ({"event": f"{DEMO}.echo", "data": base64.b64encode(text).decode(), "encoding": "base64+json"}, None),
        ({"event": f"{DEMO}.echo", "data": b"\xa6packed", "encoding": "msgpack", "accept": "base64+msgpack"}, None),
        ({"event": f"{DEMO}.echo", "data": "x", "accept": "zstd"}, None),
        ({"event": f"{DEMO}.echo", "data": b"x", "encoding": "bytes", "accept": "bytes"}, None),
        ({"event": f"{DEMO}.echo", "data": b"no gzip", "encoding": "gzip"}, "invalid_argument"),
        ({"event": f"{DEMO}.echo", "data": "x", "encoding": "rot13"}, "unimplemented"),
        ({"event": f"{DEMO}.echo", "data": "x" * 300_000}, None),
    ]
    for _ in range(3):
        for envelope, code in calls:
            reply = await client.send(envelope)
            assert reply.get("error", {}).get("code") == code, (envelope, reply)
        replies = await client.send([{"event": "api.system.ping"}, "nonsense", {"event": f"{DEMO}.crash"}])
        assert [reply.get("error", {}).get("code") for reply in replies] == [None, "invalid_argument", "internal"]
        assert await client.send('{"event":"api.system.ping"}') == {"data": "pong"}
        assert await client.send(gzip.compress(b'{"event":"api.system.ping"}')) == {"data": "pong"}
        assert await client.send(None, event="api.system.ping") == {"data": "pong"}
        assert await client.next("message") == "You`re welcome"  # from testFunc
        await client.emit({"event": f"{DEMO}.fail"})
        assert (await client.next("message"))["event"] == f"{DEMO}.fail"
        await client.emit({"event": f"{DEMO}.sleep", "data": {"seconds": 9}, "id": 1})
        await client.emit({"id": 1, "cancel": True}, event="stream")
        assert (await client.next("message"))["error"]["code"] == "canceled"
