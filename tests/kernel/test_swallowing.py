"""Functions that swallow that they are cancelled: their stream is over for all that, and its place is free again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from jackfield import Call, Service
from tests.support.dispatching import Recorder, join, make_dispatcher
from tests.support.waiting import until

service = Service("test")
ended: list[str] = []


@service.function
async def gives(call: Call) -> AsyncIterator[int]:
    """Swallows, and yields on."""
    try:
        while True:
            try:
                yield 1
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass
    finally:
        ended.append("gives")


@service.function
async def takes(call: Call, items: AsyncIterator[int]) -> int:
    """Swallows, and waits on for items."""
    try:
        while True:
            try:
                return len([item async for item in items])
            except asyncio.CancelledError:
                pass
    finally:
        ended.append("takes")


@pytest.mark.parametrize("function", ["gives", "takes"])
@pytest.mark.parametrize("leaves", [False, True], ids=["cancels", "leaves"])
async def test_it_is_closed_all_the_same(function: str, leaves: bool) -> None:
    """A generator is closed where it yields next, and what takes items comes to the end of them."""
    ended.clear()
    recorder = Recorder()
    dispatcher = make_dispatcher(service)
    session = await join(dispatcher, recorder)
    session.receive(["event", {"event": f"test.{function}", "id": 1}], b"1", buffers=False)
    await recorder.reply(b"1")
    await asyncio.sleep(0)
    if leaves:
        dispatcher.disconnect(session, "transport close")
    else:
        session.receive(["stream", {"id": 1, "cancel": True}], None, buffers=False)
    await until(lambda: ended == [function])
    assert not session.running
