"""Functions that call one another with streams: the same rules, and nothing outlives the call that it is a part of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from jackfield import Call, CallError, Service
from tests.support.dispatching import Recorder, join, make_dispatcher
from tests.support.waiting import until


class Stage:
    """A service with one function of each kind, which writes down what becomes of them."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.given = 0
        service = self.service = Service("test")

        @service.function
        async def count(call: Call, data: int) -> AsyncIterator[int]:
            try:
                for n in range(data):
                    self.given += 1
                    yield n
            finally:
                self.ended.append("count")

        @service.function
        async def broken(call: Call) -> AsyncIterator[int]:
            yield 1
            raise CallError("aborted", "in the middle")

        @service.function
        async def total(call: Call, items: AsyncIterator[int]) -> int:
            return sum([item async for item in items])

        @service.function
        async def first(call: Call, items: AsyncIterator[int]) -> int | None:
            async for item in items:
                return item
            return None

        @service.function
        async def double(call: Call, items: AsyncIterator[int]) -> AsyncIterator[int]:
            try:
                async for item in items:
                    yield item * 2
            finally:
                self.ended.append("double")

        @service.function
        async def hang(call: Call) -> AsyncIterator[int]:
            try:
                await asyncio.Event().wait()
                yield 1
            finally:
                await asyncio.sleep(0)
                self.ended.append("hang")

    async def numbers(self, count: int) -> AsyncIterator[int]:
        """Yield numbers, and tell when it is closed."""
        try:
            for n in range(count):
                yield n
        finally:
            self.ended.append("numbers")


@pytest.fixture(name="stage")
def _stage() -> Stage:
    return Stage()


async def _run(stage: Stage, body: Any, **fields: Any) -> Any:
    """Run `body(call)` as the function of a client, and return the reply."""

    async def outer(call: Call) -> Any:
        return await body(call)

    stage.service.function(outer)
    recorder = Recorder()
    session = await join(make_dispatcher(stage.service), recorder)
    session.receive(["event", {"event": "test.outer", **fields}], b"1", buffers=False)
    return await recorder.reply(b"1")


async def test_a_stream_is_iterated_over(stage: Stage) -> None:
    """Each item is given as a client would get it."""

    async def body(call: Call) -> list[object]:
        return [item async for item in call.stream("test.count", 3)]

    assert await _run(stage, body) == {"data": [0, 1, 2]}
    assert stage.ended == ["count"]


async def test_the_inner_function_runs_one_item_ahead(stage: Stage) -> None:
    """It yields no faster than its items are taken."""

    async def body(call: Call) -> list[int]:
        seen = []
        async with aclosing(call.stream("test.count", 1000)) as items:
            async for _ in items:
                await asyncio.sleep(0)
                seen.append(stage.given)
                if len(seen) == 5:
                    break
        return seen

    reply = await _run(stage, body)
    assert max(reply["data"]) <= 7
    assert stage.ended == ["count"]


async def test_items_are_sent_to_a_stream(stage: Stage) -> None:
    """What takes a stream gets what the outer function iterates over, and closes it in any case."""

    async def body(call: Call) -> list[object]:
        return [
            await call.invoke("test.total", items=stage.numbers(4)),
            await call.invoke("test.first", items=stage.numbers(4)),
            [item async for item in call.stream("test.double", items=stage.numbers(3))],
        ]

    assert await _run(stage, body) == {"data": [6, 0, [0, 2, 4]]}
    assert stage.ended == ["numbers", "numbers", "numbers", "double"]


async def test_items_may_come_from_a_list(stage: Stage) -> None:
    """Any iterable will do; what is none is the mistake of who calls, and named there."""

    async def body(call: Call) -> list[Any]:
        with pytest.raises(TypeError, match=r"^items for test\.total are an iterable or an async one, not 5$"):
            await call.invoke("test.total", items=5)  # type: ignore[arg-type]
        return [await call.invoke("test.total", items=[1, 2]), await call.invoke("test.total", items=())]

    assert await _run(stage, body) == {"data": [3, 0]}


@pytest.mark.parametrize(
    ("ask", "code", "message"),
    [
        (lambda call: call.invoke("test.count", 1), "invalid_argument", "gives a stream: call it with stream"),
        (lambda call: call.invoke("test.total", 1), "invalid_argument", "takes a stream: give it items"),
        (lambda call: call.invoke("test.outer", items=_wrong()), "invalid_argument", "takes no stream: give it data"),
        (lambda call: anext(call.stream("test.total", items=_wrong())), "invalid_argument", "gives one result"),
        (lambda call: anext(call.stream("test.count")), "invalid_argument", "does not fit"),
        (lambda call: anext(call.stream("test.nothing")), "not_found", "There is no function 'test.nothing'"),
        (lambda call: call.invoke("test.total", items=_wrong()), "invalid_argument", "Item 2: The data does not fit"),
        (lambda call: call.invoke("test.total", items=_unsendable()), "invalid_argument", "cannot be sent"),
    ],
)
async def test_a_mistake_is_told_as_to_a_client(stage: Stage, ask: Any, code: str, message: str) -> None:
    """The error says which function was called wrongly, and how it is done."""

    async def body(call: Call) -> str:
        with pytest.raises(CallError) as caught:
            await ask(call)
        return str(caught.value)

    reply = await _run(stage, body)
    assert reply["data"].startswith(f"{code}: ")
    assert message in reply["data"]


async def _wrong() -> AsyncIterator[Any]:
    yield 1
    yield "two"


async def _unsendable() -> AsyncIterator[Any]:
    yield object()


async def test_an_error_comes_after_the_items_before_it(stage: Stage) -> None:
    """What was given stays given."""

    async def body(call: Call) -> list[Any]:
        seen: list[Any] = []
        try:
            async for item in call.stream("test.broken"):
                seen.append(item)
        except CallError as error:
            seen.append(error.code)
        return seen

    assert await _run(stage, body) == {"data": [1, "aborted"]}


async def test_the_inner_stream_ends_with_the_outer_call(stage: Stage) -> None:
    """Out of time, the inner function's `finally` has run before the outer's place is free."""

    async def body(call: Call) -> None:
        try:
            async for _ in call.stream("test.hang"):
                pass
        finally:
            stage.ended.append("outer")

    reply = await _run(stage, body, timeout=50)
    assert reply["error"]["code"] == "deadline_exceeded"
    await until(lambda: len(stage.ended) == 2)
    assert stage.ended == ["hang", "outer"]


async def test_a_call_inside_a_stream_without_end_has_its_own_time() -> None:
    """A stream may last for ever; what it calls may not."""
    service = Service("test")

    @service.function
    async def remaining(call: Call) -> float | None:
        return call.remaining()

    @service.function
    async def endless(call: Call) -> AsyncIterator[Any]:
        yield call.remaining()
        yield await call.invoke("test.remaining")

    recorder = Recorder()
    session = await join(make_dispatcher(service), recorder)
    session.receive(["event", {"event": "test.endless", "id": 1}], b"1", buffers=False)
    await until(lambda: len(recorder.emitted) == 3)
    first, second, _ = [frame for _, frame in recorder.emitted]
    assert first == {"id": 1, "data": None}
    assert 29 < second["data"] <= 30
