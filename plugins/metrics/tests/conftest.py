"""A server with the plugin, and what reads its metrics."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.plugins import write_plugin
from tests.support.server import Server, serving

PROBE = """
    import asyncio
    import time

    from jackfield import Call, CallError, Service, hookimpl

    service = Service("api.probe")
    gate = asyncio.Event()

    @service.function
    async def ok(call: Call) -> str:
        return "ok"

    @service.function
    async def fail(call: Call, data: str) -> None:
        raise CallError(data, "as asked")

    @service.function
    async def crash(call: Call) -> None:
        raise RuntimeError("as asked")

    @service.function
    async def wait(call: Call) -> None:
        await gate.wait()

    @service.function
    async def nap(call: Call) -> None:
        await asyncio.sleep(0.06)

    @service.function
    async def block(call: Call) -> None:
        time.sleep(0.3)

    @service.function
    def threaded(call: Call) -> str:
        return "from a thread"

    @service.function
    async def inner(call: Call) -> str:
        return await call.invoke("api.probe.ok")

    @hookimpl
    def jackfield_services():
        return [service]
"""
BROKEN = "import no_such_module"
CONFIG = """
[quarantine]
blocked = 0
[[bulkhead.rules]]
functions = "api.probe.wait"
calls = 1
queue = 10
"""


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("metrics")
    write_plugin(folder / "plugins", "probe", PROBE, namespaces=["api.probe"])
    write_plugin(folder / "plugins", "broken", BROKEN, namespaces=["api.broken"])
    with serving(folder / "server", path=[folder / "plugins"], config=CONFIG) as server:
        yield server
