"""The plugin that is measured; it is put on a server's path, and is not installed.

What the designs of the functions named after a design and a size do is told in docs/performance.md.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import import_module
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from jackfield import Call, Service, hookimpl

SIZES = tuple(map(int, os.environ.get("BENCH_SIZES", "").split()))
"""Lines of the modules `padded_<lines>` on the path; none but where the designs are measured."""
FUNCTIONS = int(os.environ.get("BENCH_FUNCTIONS", "0"))
"""How many functions `f0`, `f1`, … are registered beside the others."""

service = Service("bench")
fillers = Service("bench.filler")


class TextIn(BaseModel):
    """What the functions take."""

    text: str


class TextOut(BaseModel):
    """What the functions give."""

    text: str


@service.function
async def echo(call: Call, data: TextIn) -> TextOut:
    """Return what was sent."""
    return TextOut(text=data.text)


@service.function
async def echo_once(call: Call, data: TextIn) -> TextOut:
    """Return what was sent, after one turn of the event loop."""
    await asyncio.sleep(0)
    return TextOut(text=data.text)


@service.function
async def echo_bytes(call: Call, data: bytes) -> bytes:
    """Return the Buffer that was sent."""
    return data


@service.function
async def broadcast(call: Call, data: dict[str, Any]) -> None:
    """Send what was sent to every client."""
    await call.kernel.emit("message", data)


class RoomIn(BaseModel):
    """What `subscribe` takes."""

    channel: str


class TellIn(RoomIn):
    """What `publish` takes."""

    data: dict[str, Any]


@service.function
async def subscribe(call: Call, data: RoomIn) -> None:
    """Put the caller into a room."""
    assert call.client is not None
    await call.client.join(data.channel)


@service.function
async def publish(call: Call, data: TellIn) -> None:
    """Send what was sent to those in a room, as an event that looks like a publication."""
    await call.kernel.emit("channel", data.model_dump(), room=data.channel)


class ItemsIn(BaseModel):
    """What `items` takes: how many, and the text of each."""

    count: int
    text: str


class ItemOut(BaseModel):
    """What `items` yields."""

    n: int
    text: str


class GiveIn(BaseModel):
    """What `give` takes: how many Buffers, and the bytes of each."""

    count: int
    size: int


@service.function
async def items(call: Call, data: ItemsIn) -> AsyncIterator[ItemOut]:
    """Yield so many numbered items."""
    for n in range(data.count):
        yield ItemOut(n=n, text=data.text)


@service.function
async def give(call: Call, data: GiveIn) -> AsyncIterator[bytes]:
    """Yield so many Buffers, of four in turn, each filled with its number."""
    blocks = [bytes([fill]) * data.size for fill in range(4)]
    for n in range(data.count):
        yield blocks[n % len(blocks)]


@service.function
async def take(call: Call, items: AsyncIterator[bytes]) -> int:
    """Return how many bytes the Buffers have together."""
    total = 0
    async for block in items:
        total += len(block)
    return total


Design = Callable[[Call, TextIn], Awaitable[TextOut]]


def loaded(name: str) -> Design:
    """Look everything up once."""
    handle = import_module(name).Handler().handle

    async def function(call: Call, data: TextIn) -> TextOut:
        return TextOut(text=handle(data.text))

    return function


def instance(name: str) -> Design:
    """Import once, make the object anew for each call."""
    module = import_module(name)

    async def function(call: Call, data: TextIn) -> TextOut:
        return TextOut(text=module.Handler().handle(data.text))

    return function


def imported(name: str) -> Design:
    """Import the module anew for each call, from its bytecode."""

    async def function(call: Call, data: TextIn) -> TextOut:
        return TextOut(text=_again(name).Handler().handle(data.text))

    return function


def compiled(name: str) -> Design:
    """Import the module anew for each call, from its source, as where no bytecode can be kept."""
    name = f"{name}_source"

    async def function(call: Call, data: TextIn) -> TextOut:
        sys.dont_write_bytecode = True
        try:
            return TextOut(text=_again(name).Handler().handle(data.text))
        finally:
            sys.dont_write_bytecode = False

    return function


def _again(name: str) -> ModuleType:
    sys.modules.pop(name, None)
    return importlib.import_module(name)


for lines in SIZES:
    for design in (loaded, instance, imported, compiled):
        service.function(name=f"{design.__name__}_{lines}")(design(f"padded_{lines}"))
for number in range(FUNCTIONS):

    async def filler(call: Call, data: TextIn) -> TextOut:
        """Return what was sent."""
        return TextOut(text=data.text)

    fillers.function(name=f"f{number}")(filler)


@hookimpl
def jackfield_services() -> list[Service]:
    """Return what is measured."""
    return [service, fillers]
