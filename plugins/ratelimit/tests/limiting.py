"""A server with the plugin and one that says who is calling: whoever shows a name is that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.plugins import write_plugin
from tests.support.server import Server, serving

COUNTER = """
    from collections.abc import AsyncIterator

    from jackfield import Call, CallError, Handshake, Principal, Service, hookimpl

    counter = Service("api.counter")
    deep = Service("api.counter.deep")

    @counter.function
    async def own(call: Call) -> str:
        return "in"

    @counter.function
    async def other(call: Call) -> str:
        return "in"

    @counter.function
    async def each(call: Call) -> str:
        return "in"

    @counter.function
    async def refilled(call: Call) -> str:
        return "in"

    @counter.function
    async def inner(call: Call) -> str:
        return "in"

    @counter.function
    async def outer(call: Call, data: str) -> list[str]:
        said = []
        for _ in range(4):
            try:
                said.append(str(await call.invoke(data)))
            except CallError as error:
                said.append(error.code)
        return said

    @counter.function
    async def stream(call: Call) -> AsyncIterator[int]:
        yield 1

    @deep.function
    async def first(call: Call) -> str:
        return "in"

    @deep.function
    async def second(call: Call) -> str:
        return "in"

    @hookimpl
    def jackfield_services():
        return [counter, deep]
"""
"""Functions that say that the call was let in."""

DOOR = """
    from jackfield import Handshake, Principal, hookimpl

    @hookimpl
    async def jackfield_authenticate(handshake: Handshake) -> Principal | None:
        name = str(handshake.auth.get("name", ""))
        return Principal(name, scopes=frozenset(str(handshake.auth.get("scopes", "")).split())) if name else None
"""
"""Whoever shows a name has it, with the scopes that they show."""


@contextmanager
def limited(folder: Path, settings: str, *, door: bool = True) -> Iterator[Server]:
    """Run a server with settings of the plugin; with a `door` clients have to show a name."""
    names = ["counter", *(["door"] if door else [])]
    path = folder / "plugins"
    write_plugin(path, "counter", COUNTER, namespaces=["api.counter", "api.counter.deep"])
    write_plugin(path, "door", DOOR)
    listed = ", ".join(f'"{name}"' for name in ["ratelimit", "system", *names])
    config = f'[plugins]\npolicy = "listed"\nenabled = [{listed}]\n[plugins.ratelimit]\n{settings}\n'
    if door:
        config += '[[access.rules]]\nfunctions = "*"\n'
    with serving(folder / "server", config=config, path=[path]) as server:
        yield server
