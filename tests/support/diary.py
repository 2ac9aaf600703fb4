"""A plugin that writes down who comes, calls and goes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.support.plugins import write_plugin

_DIARY: Final = """
    import asyncio

    from jackfield import Call, Observer, Service, hookimpl

    service = Service("api.diary")
    seen = []
    numbers = []

    @service.function
    async def read(call: Call) -> list[list[str]]:
        return seen

    @service.function
    async def note(call: Call, data: int) -> int:
        numbers.append(data)
        await asyncio.sleep(data * 7 % 5 / 1000)
        return data

    @service.function
    async def count(call: Call, data: int) -> None:
        await call.emit("count", data)

    @service.function
    async def noted(call: Call) -> list[int]:
        noted = numbers.copy()
        numbers.clear()
        return noted

    class Watcher(Observer):
        def started(self, call):
            if call.event != "api.diary.read":
                seen.append(["call", call.client.id, call.event])

        def ended(self, call, error):
            pass

    @hookimpl
    async def jackfield_connect(client):
        seen.append(["connect", client.id])

    @hookimpl
    async def jackfield_disconnect(client, reason):
        seen.append(["disconnect", client.id, reason])

    @hookimpl
    def jackfield_observe():
        return Watcher()

    @hookimpl
    def jackfield_services():
        return [service]
"""


def write_diary(folder: Path) -> Path:
    """Write the plugin `diary` and return what has to be on `sys.path` to find it."""
    return write_plugin(folder / "plugins", "diary", _DIARY, namespaces=["api.diary"])
