"""A plugin of functions that speak to many clients, and of one that has nothing to do with Redis."""

from __future__ import annotations

from jackfield import Call, Service, Value, hookimpl

service = Service("api.meeting")


@service.function
async def join(call: Call, data: str) -> None:
    """Go into a room."""
    assert call.client is not None
    await call.client.join(data)


@service.function
async def leave(call: Call, data: str) -> None:
    """Go out of a room."""
    assert call.client is not None
    await call.client.leave(data)


@service.function
async def ask(call: Call, data: str) -> Value:
    """Ask the client something, and return its answer."""
    assert call.client is not None
    return await call.client.request("question", data)


@service.function
async def tell(call: Call, data: Value) -> str:
    """Tell everybody, on all servers."""
    await call.kernel.emit("news", data)
    return "told"


@service.function
async def echo(call: Call, data: Value) -> Value:
    """Return what came."""
    return data


@hookimpl
def jackfield_services() -> list[Service]:
    """Return the one service."""
    return [service]
