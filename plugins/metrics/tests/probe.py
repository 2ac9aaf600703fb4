"""A plugin of functions that end in every way."""

from __future__ import annotations

import asyncio
import time

from jackfield import Call, CallError, Service

service = Service("api.probe")


@service.function
async def ok(call: Call) -> str:
    """Answer at once."""
    return "ok"


@service.function
async def fail(call: Call, data: str) -> None:
    """Fail with the code that the caller wants."""
    raise CallError(data, "as asked")


@service.function
async def crash(call: Call) -> None:
    """Fail by accident."""
    raise RuntimeError("as asked")


@service.function
async def wait(call: Call) -> None:
    """Never end."""
    await asyncio.get_running_loop().create_future()


@service.function
async def nap(call: Call) -> None:
    """Take a little while."""
    await asyncio.sleep(0.06)


@service.function
async def block(call: Call) -> None:
    """Keep the event loop to itself."""
    time.sleep(0.3)  # noqa: ASYNC251 - that is what it is for


@service.function
def threaded(call: Call) -> str:
    """Answer from a thread."""
    return "from a thread"


@service.function
async def inner(call: Call) -> object:
    """Call another function."""
    return await call.invoke("api.probe.ok")
