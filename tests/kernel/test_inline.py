"""Functions that never wait run without a task; who calls them cannot tell the difference."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from jackfield import Call, CallError, Code, FunctionInfo, Observer, Service, Value, hookimpl
from jackfield._pipeline import cannot_suspend
from jackfield._session import Session
from jackfield._settings import Limits
from tests.support.dispatching import Recorder, join, make_dispatcher

EAGER = sys.version_info >= (3, 12)


# ------------------------------------------------------------------- which functions


class _Lock:
    async def __aenter__(self) -> None: ...
    async def __aexit__(self, *args: object) -> None: ...


async def _numbers() -> AsyncIterator[int]:
    yield 1


async def nothing(call: Call) -> None: ...
async def returns(call: Call) -> int:
    return 1


async def raises(call: Call) -> None:
    raise ValueError


async def with_a_generator(call: Call) -> list[int]:
    def inner() -> Any:
        yield 1

    return [*inner(), *(n for n in range(2))]


async def with_a_coroutine_function(call: Call) -> Any:
    async def inner() -> None:
        await asyncio.sleep(0)

    return inner


async def with_a_with(call: Call) -> None:
    with contextlib.suppress(ValueError):
        raise ValueError


async def with_an_async_generator_expression(call: Call) -> Any:
    return (n async for n in _numbers())


async def awaits(call: Call) -> None:
    await asyncio.sleep(0)


async def may_await(call: Call) -> None:
    if call.id:
        await asyncio.sleep(0)


async def awaits_in_the_end(call: Call) -> None:
    try:
        pass
    finally:
        await asyncio.sleep(0)


async def async_for(call: Call) -> None:
    async for _ in _numbers():
        pass


async def async_with(call: Call) -> None:
    async with _Lock():
        pass


async def async_comprehension(call: Call) -> list[int]:
    return [n async for n in _numbers()]


async def awaiting_comprehension(call: Call) -> list[int]:
    return [await asyncio.sleep(0, n) for n in range(2)]


def plain(call: Call) -> None: ...


def _around(function: Callable[[Call], Coroutine[Any, Any, Any]]) -> Callable[[Call], Coroutine[Any, Any, Any]]:
    @functools.wraps(function)
    async def wrapper(call: Call) -> Any:
        return await function(call)

    return wrapper


def _handing_on(function: Callable[[Call], Coroutine[Any, Any, Any]]) -> Callable[[Call], Any]:
    @functools.wraps(function)
    def wrapper(call: Call) -> Any:
        return function(call)

    return wrapper


class _Methods:
    async def method(self, call: Call) -> int:
        return 1

    async def waiting(self, call: Call) -> None:
        await asyncio.sleep(0)

    @staticmethod
    async def static(call: Call) -> int:
        return 1

    @classmethod
    async def of_class(cls, call: Call) -> int:
        return 1

    async def __call__(self, call: Call) -> int:
        return 1


@pytest.mark.parametrize(
    "function",
    [
        nothing,
        returns,
        raises,
        with_a_generator,
        with_a_coroutine_function,
        with_a_with,
        with_an_async_generator_expression,
        _Methods().method,
        _Methods.static,
        _Methods.of_class,
    ],
)
def test_a_function_that_waits_for_nothing_runs_inline(function: Callable[..., object]) -> None:
    """Only its own code counts: what stands inside it waits on its own."""
    assert cannot_suspend(function)


@pytest.mark.parametrize(
    "function",
    [
        awaits,
        may_await,
        awaits_in_the_end,
        async_for,
        async_with,
        async_comprehension,
        awaiting_comprehension,
        plain,
        _numbers,
        _around(returns),
        _handing_on(returns),
        functools.partial(returns),
        _Methods().waiting,
        _Methods(),
    ],
)
def test_a_function_that_may_wait_gets_a_task(function: Callable[..., object]) -> None:
    """So does one that is no plain function or method, because nobody knows what it does."""
    assert not cannot_suspend(function)


# ------------------------------------------------------------------- what a caller sees


async def _connected(service: Service, limits: Limits | None = None, **hooks: Any) -> tuple[Recorder, Session]:
    recorder = Recorder()
    return recorder, await join(make_dispatcher(service, limits=limits, **hooks), recorder)


async def test_an_inline_function_is_answered_before_the_next_turn() -> None:
    """Its reply is there as soon as its call has been received, and it leaves no task behind."""
    service = Service("api.test")

    @service.function
    async def inline(call: Call, data: int) -> int:
        return data

    recorder, session = await _connected(service)
    tasks = asyncio.all_tasks()
    session.receive(["event", {"event": "api.test.inline", "data": 5}], b"1", buffers=False)
    session.receive(["api.test.inline", 6], b"2", buffers=False)
    session.receive(["event", {"event": "api.test.inline", "data": 7, "id": "x"}], b"3", buffers=False)
    session.receive(["event", [{"event": "api.test.inline", "data": n} for n in (8, 9)]], b"4", buffers=False)
    assert recorder.acknowledged == [
        (b"1", {"data": 5}),
        (b"2", {"data": 6}),
        (b"3", {"data": 7, "id": "x"}),
        (b"4", [{"data": 8}, {"data": 9}]),
    ]
    assert asyncio.all_tasks() == tasks


@pytest.mark.skipif(not EAGER, reason="before Python 3.12 a task starts in the loop's next turn")
async def test_a_function_that_does_not_come_to_its_wait_is_answered_at_once_too() -> None:
    """From Python 3.12 a task starts at once, and is over at once if it waits for nothing."""
    service = Service("api.test")

    @service.function
    async def sometimes(call: Call, data: bool) -> bool:
        if data:
            await asyncio.sleep(0)
        return data

    recorder, session = await _connected(service)
    session.receive(["api.test.sometimes", False], b"1", buffers=False)
    assert recorder.acknowledged == [(b"1", {"data": False})]
    session.receive(["api.test.sometimes", True], b"2", buffers=False)
    assert await recorder.reply(b"2") == {"data": True}


_variable: ContextVar[str] = ContextVar("_variable", default="as it was")


@pytest.mark.parametrize("waits", [False, True])
async def test_what_a_function_sets_in_its_context_stays_there(waits: bool) -> None:
    """The next call of the connection sees nothing of it, however it runs; what an observer set is seen."""
    service = Service("api.test")
    seen: list[str] = []
    observed: ContextVar[str] = ContextVar("observed")

    @service.function(name="sets")
    async def inline(call: Call) -> str:
        seen.append(observed.get())
        before = _variable.get()
        _variable.set("changed")
        return before

    @service.function(name="waits")
    async def waiting(call: Call) -> str:
        seen.append(observed.get())
        before = _variable.get()
        _variable.set("changed")
        await asyncio.sleep(0)
        return before

    class Watcher(Observer):
        def started(self, call: Call) -> None:
            observed.set(call.event)

        def ended(self, call: Call, error: CallError | None) -> None:
            seen.append(observed.get())

    event = "api.test.waits" if waits else "api.test.sets"
    recorder, session = await _connected(service, jackfield_observe=hookimpl(_observing(Watcher())))
    for ack in (b"1", b"2"):
        session.receive([event], ack, buffers=False)
        assert await recorder.reply(ack) == {"data": "as it was"}
    assert seen == [event] * 4
    assert _variable.get() == "as it was"


def _observing(watcher: object) -> Callable[[], object]:
    def jackfield_observe() -> object:
        return watcher

    return jackfield_observe


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CallError("aborted", "as planned"), "aborted"),
        (ValueError("as planned"), "internal"),
        (StopIteration("as planned"), "internal"),
        (StopAsyncIteration("as planned"), "internal"),
        (asyncio.CancelledError("as planned"), "internal"),
        (GeneratorExit("as planned"), "internal"),
        (SystemExit("as planned"), "internal"),
        (KeyboardInterrupt("as planned"), "internal"),
        (RecursionError("as planned"), "internal"),
    ],
)
async def test_whatever_a_function_raises_is_answered(waits: bool, error: BaseException, code: str) -> None:
    """Its caller gets an error, an observer hears of the same, and the server lives on."""
    service = Service("api.test")
    heard: list[Any] = []

    @service.function
    async def inline(call: Call) -> None:
        raise error

    @service.function
    async def waiting(call: Call) -> None:
        await asyncio.sleep(0)
        raise error

    class Watcher(Observer):
        def started(self, call: Call) -> None:
            heard.append(call.event)

        def ended(self, call: Call, error: CallError | None) -> None:
            heard.append(error and error.code)

    recorder, session = await _connected(service, jackfield_observe=hookimpl(_observing(Watcher())))
    event = "api.test.waiting" if waits else "api.test.inline"
    session.receive([event], b"1", buffers=False)
    assert (await recorder.reply(b"1"))["error"]["code"] == code
    while session.running:  # noqa: ASYNC110 - nothing tells of the end, which is a matter of turns of the loop
        await asyncio.sleep(0)
    assert heard == [event, code]


@pytest.mark.parametrize("path", ["inline", "inline in an envelope with options", "waiting"])
async def test_calls_are_measured(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whichever way a call takes; a meter that raises is logged, and others are told all the same."""
    service = Service("api.test")
    heard: list[tuple[str, bool, Code | None]] = []

    @service.function
    async def inline(call: Call, data: bool) -> bool:
        if data:
            raise CallError("aborted", "as planned")
        return data

    @service.function
    async def waiting(call: Call, data: bool) -> bool:
        await asyncio.sleep(0)
        return await inline(call, data)

    class Counter(Observer):
        def meter(self, function: FunctionInfo) -> Callable[[float, Code | None], None]:
            def count(seconds: float, code: Code | None) -> None:
                heard.append((function.event, 0 <= seconds < 1000, code))
                raise ValueError("as planned")

            return count

    recorder, session = await _connected(service, jackfield_observe=hookimpl(_observing(Counter())))
    way, _, more = path.partition(" ")
    options: dict[str, Value] = {"timeout": 1000} if more else {}
    for ack, data in ((b"1", False), (b"2", True)):
        session.receive(["event", {"event": f"api.test.{way}", "data": data, **options}], ack, buffers=False)
        assert ("error" in await recorder.reply(ack)) is data
    while session.running:  # noqa: ASYNC110 - nothing tells of the end, which is a matter of turns of the loop
        await asyncio.sleep(0)
    assert heard == [(f"api.test.{way}", True, None), (f"api.test.{way}", True, Code.ABORTED)]
    assert "meter of the observer of plugin test raised ValueError" in caplog.text


async def test_calls_start_in_the_order_of_their_arrival() -> None:
    """Each function begins before a later one of its kind does; one that waits lets later ones end before it."""
    service = Service("api.test")
    begun: list[int] = []
    gate = asyncio.Event()

    @service.function
    async def inline(call: Call, data: int) -> int:
        begun.append(data)
        return data

    @service.function
    async def waiting(call: Call, data: int) -> int:
        begun.append(data)
        await gate.wait()
        return data

    recorder, session = await _connected(service)
    for number in range(6):
        name = "inline" if number % 2 else "waiting"
        session.receive([f"api.test.{name}", number], b"%d" % number, buffers=False)
    gate.set()
    for number in range(6):
        assert await recorder.reply(b"%d" % number) == {"data": number}
    for kind in (0, 1):
        assert [n for n in begun if n % 2 == kind] == [n for n in range(6) if n % 2 == kind]
    if EAGER:
        assert begun == list(range(6))


def _gated() -> tuple[Service, asyncio.Event]:
    """Make a service with a function that waits for the event, and one that does not wait."""
    service = Service("api.test")
    gate = asyncio.Event()

    @service.function
    async def inline(call: Call) -> str:
        return "done"

    @service.function
    async def waiting(call: Call) -> str:
        await gate.wait()
        return "done"

    return service, gate


async def test_an_inline_function_takes_no_place_but_needs_one() -> None:
    """Any number of them is answered one after the other; where all places are taken they are refused as others are."""
    service, gate = _gated()
    recorder, session = await _connected(service, Limits(calls=1))
    for number in range(5):
        session.receive(["api.test.inline"], b"%d" % number, buffers=False)
        assert recorder.acknowledged[number] == (b"%d" % number, {"data": "done"})
    session.receive(["event", {"event": "api.test.waiting", "id": 7}], b"5", buffers=False)
    session.receive(["api.test.inline"], b"6", buffers=False)
    assert (await recorder.reply(b"6"))["error"]["code"] == "resource_exhausted"
    gate.set()
    assert await recorder.reply(b"5") == {"data": "done", "id": 7}


async def test_an_id_in_flight_is_refused_to_an_inline_function_too() -> None:
    """An id is unique among the calls in flight, whatever runs under it."""
    service, gate = _gated()
    recorder, session = await _connected(service)
    session.receive(["event", {"event": "api.test.waiting", "id": 7}], b"1", buffers=False)
    session.receive(["event", {"event": "api.test.inline", "id": 7}], b"2", buffers=False)
    assert (await recorder.reply(b"2"))["error"] == {
        "code": "already_exists",
        "message": "A call with the id 7 is in flight.",
    }
    gate.set()
    assert await recorder.reply(b"1") == {"data": "done", "id": 7}
    while session.running:  # noqa: ASYNC110 - nothing tells of the end, which is a matter of turns of the loop
        await asyncio.sleep(0)
    session.receive(["event", {"event": "api.test.inline", "id": 7}], b"3", buffers=False)
    assert await recorder.reply(b"3") == {"data": "done", "id": 7}


async def test_an_inline_function_may_be_called_from_another() -> None:
    """By `call.invoke`, and by a task that it starts itself; each sees its own context and its own error."""
    service = Service("api.test")
    started: list[asyncio.Task[Any]] = []

    @service.function
    async def outer(call: Call) -> list[Any]:
        with pytest.raises(CallError, match="as planned"):
            await call.invoke("api.test.fails")
        return [await call.invoke("api.test.inline", n) for n in range(2)]

    @service.function
    async def inline(call: Call, data: int) -> list[Any]:
        return [data, call.depth, call.remaining() is not None]

    @service.function
    async def fails(call: Call) -> None:
        raise CallError("aborted", "as planned")

    @service.function
    async def starts(call: Call) -> None:
        started.append(asyncio.get_running_loop().create_task(_invoking(call)))

    async def _invoking(call: Call) -> Any:
        return await call.invoke("api.test.inline", 5)

    recorder, session = await _connected(service)
    session.receive(["api.test.outer"], b"1", buffers=False)
    assert await recorder.reply(b"1") == {"data": [[0, 1, True], [1, 1, True]]}
    session.receive(["api.test.starts"], b"2", buffers=False)
    assert await recorder.reply(b"2") == {"data": None}
    assert await started[0] == [5, 1, True]


async def test_a_call_that_was_abandoned_in_its_first_step_is_cancelled_at_its_first_wait() -> None:
    """A function whose own first step ends its connection does not run on for ever."""
    service = Service("api.test")
    sessions: list[Session] = []
    heard: list[str] = []

    @service.function
    async def leaves(call: Call) -> None:
        sessions[0].close()
        try:
            await asyncio.Event().wait()
        finally:
            heard.append(f"over, cancelled {call.cancelled}")

    recorder, session = await _connected(service)
    sessions.append(session)
    session.receive(["api.test.leaves"], b"1", buffers=False)
    while session.running:  # noqa: ASYNC110 - nothing tells of the end, which is a matter of turns of the loop
        await asyncio.sleep(0)
    assert heard == ["over, cancelled True"]
    assert recorder.acknowledged == []


async def test_a_sender_waits_for_a_client_that_does_not_read() -> None:
    """`call.emit` comes back once the client has read; without a backlog it takes no turn of the loop."""
    service = Service("api.test")

    @service.function
    async def emits(call: Call) -> None:
        await call.emit("news", 1)

    recorder, session = await _connected(service)
    recorder.reads.clear()
    session.receive(["api.test.emits"], b"1", buffers=False)
    await asyncio.sleep(0)
    assert recorder.emitted == []
    recorder.reads.set()
    assert await recorder.reply(b"1") == {"data": None}
    assert recorder.emitted == [("news", 1)]
    emitting = session.client.emit("news", 2)
    with pytest.raises(StopIteration):
        emitting.send(None)
    assert recorder.emitted == [("news", 1), ("news", 2)]


async def test_a_client_joins_rooms_and_leaves_them() -> None:
    """The connection is told; of a client that has gone it is not."""
    recorder, session = await _connected(Service("api.test"))
    await session.client.join("a")
    await session.client.join("b")
    await session.client.leave("a")
    assert recorder.rooms == {"b"}
    session.close()
    await session.client.join("c")
    assert recorder.rooms == {"b"}
