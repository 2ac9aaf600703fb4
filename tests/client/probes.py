"""A plugin whose functions do what a caller has to be ready for."""

from __future__ import annotations

from jackfield.client import Client

PROBE = r"""
    import asyncio
    import os
    from collections.abc import AsyncIterator
    from jackfield import Call, CallError, Handshake, Principal, Service, Value, hookimpl

    service = Service("api.probe")
    seen: dict[str, int] = {}

    moved = asyncio.Event()
    gate = asyncio.Event()

    def count(what: str) -> None:
        seen[what] = seen.get(what, 0) + 1
        moved.set()

    @service.function(requires=())
    async def told(call: Call, data: str) -> int:
        return seen.get(data, 0)

    @service.function(requires=())
    async def reached(call: Call, data: tuple[str, int]) -> None:
        what, times = data
        while seen.get(what, 0) < times:
            moved.clear()
            await moved.wait()

    @service.function(requires=())
    async def wait(call: Call) -> None:
        count("begun")
        try:
            await asyncio.sleep(60)
        finally:
            count("stopped")

    @service.function(requires=())
    async def busy(call: Call) -> None:
        raise CallError("unavailable", "Too many of you.", retry_after=200)

    @service.function(requires=())
    async def meta(call: Call) -> dict[str, str]:
        return dict(call.meta)

    @service.function(requires=())
    async def left(call: Call) -> bool:
        remaining = call.remaining()
        return remaining is not None and remaining < 20

    @service.function(requires=())
    async def tell(call: Call, data: Value) -> Value:
        await call.emit("news", data)
        return await call.client.request("question", data, timeout=5.0)

    @service.function(requires=())
    async def many(call: Call, data: int) -> None:
        for number in range(data):
            await call.emit("number", number)

    @service.function(requires=())
    async def steps(call: Call) -> AsyncIterator[int]:
        number = 0
        try:
            while True:
                count("steps")
                yield number
                number += 1
        finally:
            count("stopped")

    @service.function(requires=())
    async def silent(call: Call) -> AsyncIterator[int]:
        count("begun")
        try:
            await asyncio.sleep(60)
            yield 1
        finally:
            count("stopped")

    @service.function(requires=())
    async def broken(call: Call, data: int) -> AsyncIterator[int]:
        for number in range(data):
            yield number
        raise CallError("aborted", "enough")

    @service.function(requires=())
    async def parts(call: Call, data: int) -> AsyncIterator[bytes]:
        for number in range(data):
            yield bytes([number]) * 10

    @service.function(requires=())
    async def hesitant(call: Call, items: AsyncIterator[str]) -> int:
        count("hesitating")
        await gate.wait()
        async for item in items:
            return 1
        return 0

    @service.function(requires=())
    async def go(call: Call) -> None:
        gate.set()

    @service.function(requires=())
    async def first(call: Call, items: AsyncIterator[Value]) -> Value:
        return await anext(items)

    @service.function(requires=())
    async def deaf(call: Call, items: AsyncIterator[str]) -> None:
        count("begun")
        try:
            await asyncio.sleep(60)
        finally:
            count("stopped")

    @hookimpl
    def jackfield_services():
        return [service]

    @hookimpl
    async def jackfield_authenticate(handshake: Handshake) -> Principal | None:
        if os.path.exists("locked") or handshake.auth.get("token") == "wrong":
            return None
        return Principal("me", scopes=frozenset({"jackfield:operator"}))
"""


async def told(client: Client, what: str) -> int:
    """Return how often something has happened in the server: `begun` or `stopped`."""
    count: int = await client.call("api.probe.told", what)
    return count


async def happened(client: Client, what: str, times: int) -> None:
    """Wait until something has happened so often in the server."""
    await client.call("api.probe.reached", [what, times], timeout=20)
