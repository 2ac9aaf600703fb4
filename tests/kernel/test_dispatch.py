"""Dispatch without a socket: every call is answered exactly once, whatever becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from jackfield import Call, CallError, Client, Json, Observer, Principal, Proceed, Service, Value, hookimpl
from jackfield._dispatch import Dispatcher
from jackfield._session import Session
from jackfield._settings import Limits
from tests.support.dispatching import Recorder, join, make_dispatcher


def _service(gates: list[asyncio.Future[str]]) -> Service:
    service = Service("api.test")

    @service.function
    async def wait(call: Call, data: int) -> str:
        return await asyncio.shield(gates[data])

    @service.function
    async def stubborn(call: Call, data: int) -> str:
        while True:
            try:
                return await asyncio.shield(gates[data])
            except asyncio.CancelledError:
                if gates[data].done():
                    raise

    @service.function
    async def quick(call: Call) -> str:
        return "done"

    @service.function
    async def inner(call: Call, data: int) -> Any:
        return await call.invoke("api.test.wait", data)

    return service


_FATES = st.sampled_from(["result", "call error", "crash", "cancel", "deadline", "leave running"])


@settings(max_examples=60, deadline=None)
@given(
    fates=st.lists(st.tuples(st.sampled_from(["wait", "stubborn", "inner"]), _FATES), min_size=1, max_size=12),
    order=st.randoms(use_true_random=False),
    leaves=st.booleans(),
)
def test_every_call_is_answered_exactly_once(fates: list[tuple[str, str]], order: Any, leaves: bool) -> None:
    """Results, errors, cancellations and deadlines race in any order; each acknowledgement goes out once, or, when
    the client leaves first, not at all; and nothing is left running."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        gates: list[asyncio.Future[str]] = [loop.create_future() for _ in fates]
        dispatcher = make_dispatcher(_service(gates))
        recorder = Recorder()
        session = await join(dispatcher, recorder)
        try:
            await _race(fates, gates, order, recorder, session, dispatcher if leaves else None)
        finally:
            for gate in gates:
                if not gate.done():
                    gate.set_result("late")
            assert await dispatcher.close(10) == []
        answers = [ack for ack, _ in recorder.acknowledged]
        assert len(answers) == len(set(answers))
        if not leaves:
            assert {n for n, (_, fate) in enumerate(fates) if fate != "leave running"} <= {int(ack) for ack in answers}
            for ack, reply in recorder.acknowledged:
                assert _allowed(fates[int(ack)][1], reply), (fates[int(ack)], reply)

    asyncio.run(run())


async def _race(
    fates: list[tuple[str, str]],
    gates: list[asyncio.Future[str]],
    order: Any,
    recorder: Recorder,
    session: Session,
    leaving: Dispatcher | None,
) -> None:
    for number, (function, fate) in enumerate(fates):
        envelope: dict[str, Any] = {"event": f"api.test.{function}", "data": number, "id": number}
        if fate == "deadline":
            envelope["timeout"] = 1
        session.receive(["event", envelope], b"%d" % number, buffers=False)
    acts = list(range(len(fates)))
    order.shuffle(acts)
    leave_after = order.randrange(len(acts))
    for position, number in enumerate(acts):
        _decide(fates[number][1], gates[number], number, session)
        for _ in range(order.randrange(3)):
            await asyncio.sleep(0)
        if leaving is not None and position == leave_after:
            leaving.disconnect(session, "transport close")
    if leaving is None:
        for number in (n for n, (_, fate) in enumerate(fates) if fate != "leave running"):
            await recorder.reply(b"%d" % number)


def _decide(fate: str, gate: asyncio.Future[str], number: int, session: Session) -> None:
    match fate:
        case "result":
            gate.set_result("here")
        case "call error":
            gate.set_exception(CallError("aborted", "as planned"))
        case "crash":
            gate.set_exception(ValueError("as planned"))
        case "cancel":
            session.receive(["stream", {"id": number, "cancel": True}], None, buffers=False)
    if gate.done():
        gate.exception()  # looked at, so that asyncio does not complain where nobody waited


def _allowed(fate: str, reply: Any) -> bool:
    code = reply.get("error", {}).get("code")
    expected: dict[str, set[str | None]] = {
        "result": {None},
        "call error": {"aborted"},
        "crash": {"internal"},
        "cancel": {"canceled"},
        "deadline": {"deadline_exceeded"},
        "leave running": {None},
    }
    return bool(code in expected[fate])


async def test_a_place_stays_taken_until_the_function_has_ended() -> None:
    """A cancelled call that does not stop is answered, but its place and its id are free only when it has ended."""
    gate: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    dispatcher = make_dispatcher(_service([gate]), limits=Limits(calls=1))
    recorder = Recorder()
    session = await join(dispatcher, recorder)
    session.receive(["event", {"event": "api.test.stubborn", "data": 0, "id": 5}], b"1", buffers=False)
    await asyncio.sleep(0)
    session.receive(["stream", {"id": 5, "cancel": True}], None, buffers=False)
    assert (await recorder.reply(b"1"))["error"]["code"] == "canceled"
    session.receive(["event", {"event": "api.test.quick"}], b"2", buffers=False)
    assert (await recorder.reply(b"2"))["error"] == {
        "code": "resource_exhausted",
        "message": "1 calls of this connection are in flight (limits.calls).",
        "retry_after": 1000,
    }
    gate.set_result("at last")
    while session.running:  # noqa: ASYNC110 - nothing tells of the end, which is a matter of turns of the loop
        await asyncio.sleep(0)
    session.receive(["event", {"event": "api.test.quick", "id": 5}], b"3", buffers=False)
    assert await recorder.reply(b"3") == {"data": "done", "id": 5}


async def test_invoke_stops_at_a_depth() -> None:
    """A function that calls itself without end is stopped by the limit, and its caller told so."""
    service = Service("api.test")

    @service.function
    async def again(call: Call) -> Any:
        return await call.invoke("api.test.again")

    recorder = Recorder()
    session = await join(make_dispatcher(service, limits=Limits(invoke_depth=3)), recorder)
    session.receive(["event", {"event": "api.test.again"}], b"1", buffers=False)
    assert (await recorder.reply(b"1"))["error"] == {
        "code": "resource_exhausted",
        "message": "3 calls stand inside one another (limits.invoke_depth).",
    }


async def test_an_inner_call_has_what_is_left_of_the_time() -> None:
    """`call.invoke` passes on the remaining time, the headers and the caller."""
    service = Service("api.test")
    seen: dict[str, Any] = {}

    @service.function
    async def outer(call: Call) -> Any:
        seen["outer"] = call.deadline
        return await call.invoke("api.test.innermost")

    @service.function
    async def innermost(call: Call) -> str:
        seen.update(inner=call.deadline, meta=call.meta, client=call.client, depth=call.depth)
        return "ok"

    recorder = Recorder()
    session = await join(make_dispatcher(service), recorder)
    session.receive(["event", {"event": "api.test.outer", "meta": {"tenant": "t"}}], b"1", buffers=False)
    assert await recorder.reply(b"1") == {"data": "ok"}
    assert seen == {
        "outer": seen["inner"],
        "inner": seen["inner"],
        "meta": {"tenant": "t"},
        "client": session.client,
        "depth": 1,
    }


async def test_hooks_of_calls_run_in_order_and_see_the_outcome() -> None:
    """Authorize, admit, the observer, the wrapper and the function come in this order; the observer hears the end."""
    service = Service("api.test")
    heard: list[str] = []

    @service.function
    async def work(call: Call) -> str:
        heard.append("function")
        return "result"

    @hookimpl
    def jackfield_authorize(principal: Principal | None, function: Any) -> None:
        heard.append("authorize")

    @hookimpl
    def jackfield_admit(call: Call) -> None:
        heard.append("admit")

    class Watcher(Observer):
        def started(self, call: Call) -> None:
            heard.append("started")

        def ended(self, call: Call, error: CallError | None) -> None:
            heard.append(f"ended {error}")

    @hookimpl
    def jackfield_observe() -> Watcher:
        return Watcher()

    @hookimpl
    async def jackfield_call(call: Call, proceed: Any) -> Any:
        heard.append("before")
        result = await proceed()
        heard.append("after")
        return f"wrapped {result}"

    dispatcher = make_dispatcher(
        service,
        jackfield_authorize=jackfield_authorize,
        jackfield_admit=jackfield_admit,
        jackfield_observe=jackfield_observe,
        jackfield_call=jackfield_call,
    )
    recorder = Recorder()
    session = await join(dispatcher, recorder)
    session.receive(["event", {"event": "api.test.work"}], b"1", buffers=False)
    assert await recorder.reply(b"1") == {"data": "wrapped result"}
    assert heard == ["authorize", "started", "admit", "before", "function", "after", "ended None"]


class Written(BaseModel):
    """A model that is written in another way than it is read."""

    day: int = Field(serialization_alias="on")
    picture: bytes = b""


async def test_what_stands_around_a_call_may_give_another_calls_reply() -> None:
    """It sees what the caller sent, as that came, and how the result is written, and may return that another time."""
    service = Service("api.test")
    kept: dict[str, Json] = {}
    seen: list[object] = []

    @service.function
    async def write(call: Call, data: int) -> Written:
        await asyncio.sleep(0)
        return Written(day=data, picture=b"x")

    @service.function
    async def large(call: Call) -> int:
        return 2**60

    @service.function
    async def items(call: Call) -> AsyncIterator[int]:
        yield 1

    @hookimpl
    async def jackfield_call(call: Call, proceed: Proceed, data: Value, encode: Any) -> object:
        seen.append(data)
        if encode is None:
            return await proceed()
        if call.event not in kept:
            kept[call.event] = encode(await proceed())
        return kept[call.event]

    recorder = Recorder()
    session = await join(make_dispatcher(service, jackfield_call=jackfield_call), recorder)
    expected = {"on": 7, "picture": b"x"}
    for ack, data in ((b"1", "7"), (b"2", 8)):
        session.receive(["event", {"event": "api.test.write", "data": data}], ack, buffers=False)
        assert await recorder.reply(ack) == {"data": expected}
    session.receive(
        ["event", {"event": "api.test.write", "data": "7", "encoding": "json", "id": 1}], b"3", buffers=False
    )
    assert await recorder.reply(b"3") == {"data": expected, "id": 1}
    session.receive(["event", {"event": "api.test.large", "accept": "msgpack"}], b"4", buffers=False)
    assert msgpack.unpackb((await recorder.reply(b"4"))["data"]) == 2**60
    session.receive(["event", {"event": "api.test.large"}], b"5", buffers=False)
    assert (await recorder.reply(b"5"))["error"]["code"] == "internal"
    session.receive(["event", {"event": "api.test.items", "id": 2}], b"6", buffers=False)
    assert await recorder.reply(b"6") == {"id": 2, "stream": "server"}
    assert seen[:5] == ["7", 8, "7", None, None]


async def test_what_takes_headers_stands_around_calls_that_have_some() -> None:
    """Others go as if it were not there: without a task, where the function waits for nothing."""
    service = Service("api.test")
    heard: list[object] = []
    here = asyncio.current_task()

    @service.function
    async def work(call: Call, data: int) -> bool:
        return asyncio.current_task() is here

    @service.function
    async def outer(call: Call, data: int) -> Any:
        return await call.invoke("api.test.work", data)

    @service.function
    async def items(call: Call) -> AsyncIterator[bool]:
        yield True

    @hookimpl
    async def jackfield_call(call: Call, proceed: Proceed, data: Value, meta: Any) -> object:
        heard.append((call.event, call.depth, data, meta))
        return await proceed()

    recorder = Recorder()
    session = await join(make_dispatcher(service, jackfield_call=jackfield_call), recorder)
    variants: list[dict[str, Any]] = [{}, {"id": 1, "meta": {}}, {"meta": {"a": "b"}}]
    for ack, more in zip((b"1", b"2", b"3"), variants, strict=True):
        session.receive(["event", {"event": "api.test.work", "data": 7, **more}], ack, buffers=False)
        assert (await recorder.reply(ack))["data"] is not bool(more.get("meta"))
    assert heard == [("api.test.work", 0, 7, {"a": "b"})]
    heard.clear()
    session.receive(["event", {"event": "api.test.outer", "data": 8, "meta": {"c": "d"}}], b"4", buffers=False)
    assert (await recorder.reply(b"4"))["data"] is False
    assert heard == [("api.test.outer", 0, 8, {"c": "d"}), ("api.test.work", 1, 8, {"c": "d"})]
    heard.clear()
    session.receive(["event", {"event": "api.test.outer", "data": 9}], b"5", buffers=False)
    await recorder.reply(b"5")
    session.receive(["event", {"event": "api.test.items", "id": 2}], b"6", buffers=False)
    await recorder.reply(b"6")
    assert heard == []
    session.receive(["event", {"event": "api.test.items", "id": 3, "meta": {"e": "f"}}], b"7", buffers=False)
    await recorder.reply(b"7")
    await asyncio.sleep(0)
    assert heard == [("api.test.items", 0, None, {"e": "f"})]


async def test_what_stands_around_a_call_may_let_it_run_on_without_its_client() -> None:
    """As a function does that its author declared detached."""
    service = Service("api.test")
    gate, ended = asyncio.Event(), asyncio.Event()

    @service.function
    async def work(call: Call) -> None:
        await gate.wait()
        assert not call.cancelled
        ended.set()

    @hookimpl
    async def jackfield_call(call: Call, proceed: Proceed) -> object:
        call.detached = True
        return await proceed()

    dispatcher = make_dispatcher(service, jackfield_call=jackfield_call)
    session = await join(dispatcher, Recorder())
    session.receive(["event", {"event": "api.test.work"}], b"1", buffers=False)
    await asyncio.sleep(0)
    dispatcher.disconnect(session, "transport close")
    gate.set()
    async with asyncio.timeout(20):
        await ended.wait()
    await dispatcher.close(10)


def _make(kind: Any) -> Any:
    def jackfield_observe() -> Any:
        return kind()

    return jackfield_observe


async def test_an_observer_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The call is answered, and the log names the plugin."""
    service = Service("api.test")

    @service.function
    async def work(call: Call) -> str:
        return "result"

    class Broken(Observer):
        def started(self, call: Call) -> None:
            raise ValueError("no")

        def ended(self, call: Call, error: CallError | None) -> None:
            raise ValueError("no")

    recorder = Recorder()
    session = await join(make_dispatcher(service, jackfield_observe=hookimpl(_make(Broken))), recorder)
    session.receive(["event", {"event": "api.test.work"}], b"1", buffers=False)
    assert await recorder.reply(b"1") == {"data": "result"}
    assert "started of the observer of plugin test raised ValueError" in caplog.text


async def test_a_client_is_heard_to_come_before_it_is_heard_to_go() -> None:
    """However slow a connect hook is, the disconnect hook runs after it, exactly once."""
    heard: list[str] = []
    gate = asyncio.Event()

    @hookimpl
    async def jackfield_connect(client: Client) -> None:
        await gate.wait()
        heard.append("connect")

    @hookimpl
    async def jackfield_disconnect(client: Client, reason: str) -> None:
        heard.append(f"disconnect: {reason}, connected {client.connected}")

    dispatcher = make_dispatcher(jackfield_connect=jackfield_connect, jackfield_disconnect=jackfield_disconnect)
    session = await join(dispatcher, Recorder())
    dispatcher.disconnect(session, "transport close")
    dispatcher.disconnect(session, "twice")
    gate.set()
    await dispatcher.close(10)
    assert heard == ["connect", "disconnect: transport close, connected False"]


async def test_what_a_caller_may_not_call_looks_like_nothing() -> None:
    """A denied function is `not_found`, word for word as one that does not exist, and is never suggested."""
    service = Service("api.test")

    @service.function
    async def secret(call: Call) -> str:
        return "hidden"

    @hookimpl
    def jackfield_authorize(function: Any) -> bool:
        return bool(function.event != "api.test.secret")

    recorder = Recorder()
    session = await join(make_dispatcher(service, jackfield_authorize=jackfield_authorize), recorder)
    for ack, event in ((b"1", "api.test.secret"), (b"2", "api.test.secre")):
        session.receive(["event", {"event": event}], ack, buffers=False)
        assert (await recorder.reply(ack))["error"] == {
            "code": "not_found",
            "message": f"There is no function {event!r}.",
        }
