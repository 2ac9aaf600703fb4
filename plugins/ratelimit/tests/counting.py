"""A plugin of functions that say that the call was let in."""

from __future__ import annotations

from collections.abc import AsyncIterator

from jackfield import Call, CallError, Service, hookimpl

counter = Service("api.counter")
deep = Service("api.counter.deep")


async def _let_in(call: Call) -> str:
    """Say that the call was let in."""
    return "in"


for _name in ("own", "other", "each", "refilled", "inner"):
    counter.function(name=_name)(_let_in)
for _name in ("first", "second"):
    deep.function(name=_name)(_let_in)


@counter.function
async def outer(call: Call, data: str) -> list[str]:
    """Call another function four times, and tell what became of it."""
    said = []
    for _ in range(4):
        try:
            said.append(str(await call.invoke(data)))
        except CallError as error:
            said.append(error.code)
    return said


@counter.function
async def stream(call: Call) -> AsyncIterator[int]:
    """Yield one item."""
    yield 1


@hookimpl
def jackfield_services() -> list[Service]:
    """Return both services."""
    return [counter, deep]
