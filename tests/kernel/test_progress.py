"""Progress: often enough to be seen, the last state in any case, and nothing after the answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jackfield import Call, EncodeError, Service
from jackfield._json import Json
from jackfield._progress import Progress
from tests.support.dispatching import Recorder, join, make_dispatcher
from tests.support.waiting import until

service = Service("test")


@service.function
async def at_once(call: Call) -> str:
    """Never suspends."""
    for step in range(1000):
        call.progress(step, 1000, f"step {step}")
    return "done"


@service.function
async def waits(call: Call) -> str:
    """Suspends once."""
    call.progress(0.5)
    await asyncio.sleep(0)
    call.progress(1)
    return "done"


@service.function
def in_a_thread(call: Call) -> str:
    """Runs in a worker thread."""
    for step in range(1000):
        call.progress(step)
    return "done"


@service.function
async def mistaken(call: Call) -> str:
    """Says what no JSON can carry."""
    call.progress(float("nan"))
    return "done"


async def _called(function: str, **fields: Any) -> tuple[Any, list[Any]]:
    recorder = Recorder()
    session = await join(make_dispatcher(service), recorder)
    session.receive(["event", {"event": f"test.{function}", **fields}], b"1", buffers=False)
    reply = await recorder.reply(b"1")
    return reply, recorder.emitted


@pytest.mark.parametrize(("function", "last"), [("at_once", 999), ("waits", 1), ("in_a_thread", 999)])
async def test_the_first_and_the_last_are_told(function: str, last: int) -> None:
    """However often a function tells, few frames go out; the last one does, before the answer."""
    reply, emitted = await _called(function, id=5, progress=True)
    assert reply == {"data": "done", "id": 5}
    assert {(event, frame["id"]) for event, frame in emitted} == {("stream", 5)}
    told = [frame["progress"]["done"] for _, frame in emitted]
    assert told == sorted(told)
    assert told[-1] == last
    assert 2 <= len(told) < 100


async def test_who_did_not_ask_is_told_nothing() -> None:
    """The function need not know."""
    assert await _called("at_once", id=5) == ({"data": "done", "id": 5}, [])
    assert await _called("at_once") == ({"data": "done"}, [])


async def test_a_number_that_is_none_is_the_functions_fault() -> None:
    """The caller gets the id of an error in the log."""
    reply, _ = await _called("mistaken", id=5, progress=True)
    assert reply["error"]["code"] == "internal"


async def test_what_comes_late_goes_nowhere() -> None:
    """After the end nothing is sent, whichever thread tells it."""
    sent: list[Json] = []
    progress = Progress(sent.append)
    progress.report(1, None, None)
    progress.report(2, 3, "two")
    progress.end()
    progress.report(3, None, None)
    await asyncio.to_thread(progress.report, 4, None, None)
    await asyncio.sleep(0)
    assert [told.value() for told in sent] == [{"done": 1}, {"done": 2, "total": 3, "message": "two"}]


async def test_what_was_left_out_is_told_a_little_later() -> None:
    """A function that then takes long leaves its caller with its last word."""
    sent: list[Json] = []
    progress = Progress(sent.append)
    for step in range(3):
        progress.report(step, None, None)
    await until(lambda: len(sent) == 2)
    assert [told.value()["done"] for told in sent] == [0, 2]  # type: ignore[index,call-overload]


async def test_a_number_beyond_json_is_refused_where_it_is_said() -> None:
    """NaN and infinities are no progress."""
    progress = Progress(lambda _: None)
    with pytest.raises(EncodeError):
        progress.report(float("inf"), None, None)


@pytest.mark.parametrize("said", [("step 1",), (1, "of 3"), (1, 3, 5)])
async def test_what_is_no_progress_is_refused_where_it_is_said(said: tuple[Any, ...]) -> None:
    """Arguments in the wrong order do not reach the caller."""
    progress = Progress(lambda _: None)
    with pytest.raises(TypeError, match=r"^progress takes "):
        progress.report(*(*said, None, None)[:3])
