"""Calls that the server makes for somebody: with the rights that they have, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel

from jackfield import Call, CallError, Principal, Service, Value
from jackfield.testing import serve

ANN = Principal("ann", scopes=frozenset({"read"}))
BOB = Principal("bob")


class Sum(BaseModel):
    """Two numbers."""

    a: int
    b: int = 1


class Stage:
    """A service, and what becomes of its calls."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        service = self.service = Service("test")

        @service.function(requires="read")
        async def who(call: Call) -> list[Any]:
            assert call.client is None
            return [call.principal and call.principal.id, call.depth, await call.invoke("test.inner")]

        @service.function(requires="read")
        async def inner(call: Call) -> str | None:
            return None if call.principal is None else call.principal.id

        @service.function(requires="write", visible=True)
        async def seen(call: Call) -> None: ...

        @service.function(requires=())
        async def add(call: Call, data: Sum) -> int:
            call.progress(data.a, 2)
            call.progress(data.b, message="b")
            return data.a + data.b

        @service.function(requires=())
        async def size(call: Call, data: bytes) -> int:
            return len(data)

        @service.function(requires=())
        async def count(call: Call) -> AsyncIterator[int]:
            yield 1

        @service.function(requires=(), timeout=0.001)
        async def hang(call: Call) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                self.ended.append("hang")


@pytest.fixture(name="stage")
def _stage() -> Stage:
    return Stage()


async def test_a_call_has_the_rights_of_whom_it_is_for(stage: Stage) -> None:
    """And so have the calls inside it; what they may not call is not there."""
    async with serve(stage.service, authenticated=True) as kernel:
        ann, bob = (kernel.kernel.on_behalf_of(who) for who in (ANN, BOB))
        assert await ann.invoke("test.who") == ["ann", 0, "ann"]
        assert ann.check("test.who").event == "test.who"
        for refused in (bob.check, ann.check):
            with pytest.raises(CallError, match=r"^permission_denied: You may not call this function: it requires wri"):
                refused("test.seen")
        with pytest.raises(CallError, match=r"^not_found: There is no function 'test.who'"):
            bob.check("test.who")
        with pytest.raises(CallError, match=r"^not_found: There is no function 'test.who'"):
            await bob.invoke("test.who")


async def test_nobody_is_not_the_plugin_itself(stage: Stage) -> None:
    """A call for one who did not have to say who they are has no rights where callers have to."""
    async with serve(stage.service) as kernel:
        nobody = kernel.kernel.on_behalf_of(None)
        assert await nobody.invoke("test.who") == [None, 0, None]
    async with serve(stage.service, authenticated=True) as kernel:
        assert await kernel.kernel.invoke("test.who") == [None, 0, None]
        nobody = kernel.kernel.on_behalf_of(None)
        for event in ("test.who", "test.add", "test.absent"):
            with pytest.raises(
                CallError, match=r"^unauthenticated: Nobody has said who this call is for, and callers "
            ):
                nobody.check(event)
            with pytest.raises(CallError, match=r"^unauthenticated: "):
                await nobody.invoke(event)


@pytest.mark.parametrize(
    ("event", "data", "message"),
    [
        ("test.absent", None, "not_found: There is no function 'test.absent'."),
        ("test.add", {"a": "x"}, "invalid_argument: "),
        ("test.add", None, "invalid_argument: "),
        ("test.size", 5, "invalid_argument: "),
        ("test.add", {"a": float("nan")}, "invalid_argument: The data for test.add cannot be sent: "),
        ("test.count", None, "invalid_argument: test.count is a stream, and only a function with one result will do."),
    ],
)
async def test_what_is_wrong_is_found_before_the_call(stage: Stage, event: str, data: object, message: str) -> None:
    """And by the call in the same words."""
    async with serve(stage.service, authenticated=True) as kernel:
        ann = kernel.kernel.on_behalf_of(ANN)
        with pytest.raises(CallError) as checked:
            ann.check(event, data)
        with pytest.raises(CallError) as called:
            await ann.invoke(event, data)
        assert str(checked.value).startswith(message)
        assert str(checked.value) == str(called.value)
        assert checked.value.details == called.value.details


async def test_progress_is_heard(stage: Stage) -> None:
    """The first word at once, and the last one before the result."""
    heard: list[Value] = []
    async with serve(stage.service) as kernel:
        nobody = kernel.kernel.on_behalf_of(None)
        assert await nobody.invoke("test.add", {"a": 1, "b": 2}, progress=heard.append) == 3
        assert heard == [{"done": 1, "total": 2}, {"done": 2, "message": "b"}]
        assert await nobody.invoke("test.add", {"a": 1}) == 2
        assert await nobody.invoke("test.size", b"abc") == 3


async def test_it_may_take_longer_than_a_client_may_ask_for(stage: Stage) -> None:
    """Only the timeout given here counts, and what runs is ended in any case."""
    async with serve(stage.service, config={"limits": {"max_timeout": 0.001}}) as kernel:
        nobody = kernel.kernel.on_behalf_of(None)
        with pytest.raises(CallError, match=r"^deadline_exceeded: "):
            await nobody.invoke("test.hang")
        assert stage.ended == ["hang"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await nobody.invoke("test.hang", timeout=3600)
        assert stage.ended == ["hang", "hang"]


async def test_a_server_that_goes_away_accepts_nothing(stage: Stage) -> None:
    """So that nobody begins what would be cut off."""
    async with serve(stage.service) as kernel:
        nobody = kernel.kernel.on_behalf_of(None)
        nobody.accept()
        await kernel.drain()
        with pytest.raises(CallError, match=r"^unavailable: The server is going away\."):
            nobody.accept()
