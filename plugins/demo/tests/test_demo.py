"""Every function of `api.services.test`, called by a client."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from jackfield import CallError
from jackfield.testing import Client, RunningKernel, assert_plugin_contract

NAMESPACE = "api.services.test"


def test_it_keeps_the_contract() -> None:
    """What every plugin owes to the server that installs it."""
    assert_plugin_contract("demo", project=Path(__file__).parent)


@pytest.mark.parametrize(
    ("function", "data", "result"),
    [
        ("testFunc", "You`re welcome", "You`re welcome"),
        ("echo", {"deep": [1, b"\x00\x01", None]}, {"deep": [1, b"\x00\x01", None]}),
        ("add", {"a": 1, "b": 2}, {"sum": 3}),
        ("greet", {"name": "Ada", "born": "1815-12-10"}, {"text": "Good morning Ada!"}),
        ("reverse", b"abc", b"cba"),
        ("digest", b"abc", {"sha256": hashlib.sha256(b"abc").hexdigest(), "size": 3}),
        ("sleep", {"seconds": 0}, {"seconds": 0.0}),
        ("inTurn", {"seconds": 0}, {"seconds": 0.0}),
        ("background", {"seconds": 0}, {"seconds": 0.0}),
        ("addAll", [1, 2, 3], 6),
    ],
)
async def test_a_function_answers(jackfield_client: Client, function: str, data: object, result: object) -> None:
    """Each function gives what its documentation says."""
    assert await jackfield_client.call(f"{NAMESPACE}.{function}", data) == result


async def test_test_func_emits_what_it_returns(jackfield_client: Client) -> None:
    """`testFunc` also sends its argument to the caller as `message`."""
    await jackfield_client.call(f"{NAMESPACE}.testFunc", "hi")
    assert await jackfield_client.next_event("message") == "hi"


async def test_fail_answers_with_its_own_error(jackfield_client: Client) -> None:
    """`fail` answers with the code that its author chose, and the caller's words."""
    with pytest.raises(CallError, match=r"^failed_precondition: as agreed$"):
        await jackfield_client.call(f"{NAMESPACE}.fail", "as agreed")
    with pytest.raises(CallError, match=r"^failed_precondition: This function always fails, on purpose\.$"):
        await jackfield_client.call(f"{NAMESPACE}.fail")


async def test_crash_tells_the_caller_an_id_and_the_log_the_rest(
    jackfield_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """`crash` answers with an id, which stands in the log beside the exception."""
    with pytest.raises(CallError, match=r"^internal: ") as raised:
        await jackfield_client.call(f"{NAMESPACE}.crash")
    assert "crashed" not in str(raised.value)
    assert raised.value.error_id is not None
    assert raised.value.error_id in caplog.text
    assert "the demonstration crashed, as it was asked to" in caplog.text


async def test_ask_returns_the_clients_answer(jackfield_client: Client) -> None:
    """`ask` sends the event `question` and returns what the client acknowledges it with."""
    jackfield_client.on("question", lambda text: f"{text}: 42")
    assert await jackfield_client.call(f"{NAMESPACE}.ask", "the answer") == "the answer: 42"


@pytest.mark.jackfield(network=False)
async def test_ask_gives_up_on_a_client_that_says_nothing(
    jackfield_kernel: RunningKernel, jackfield_client: Client
) -> None:
    """After five seconds."""

    async def think(_: str) -> None:
        await asyncio.get_running_loop().create_future()

    jackfield_client.on("question", think)
    call = asyncio.create_task(jackfield_client.call(f"{NAMESPACE}.ask", "the answer"))
    await jackfield_kernel.clock.advance(5)
    with pytest.raises(CallError, match=r"^deadline_exceeded: The client did not answer 'question' within 5 s\.$"):
        await call


@pytest.mark.jackfield(network=False)
async def test_in_turn_runs_one_at_a_time_in_the_order_of_arrival(
    jackfield_kernel: RunningKernel, jackfield_client: Client
) -> None:
    """Calls of an ordered function end in the order in which they came, however long each takes."""
    ended: list[float] = []

    async def pause(seconds: float) -> None:
        await jackfield_client.call(f"{NAMESPACE}.inTurn", {"seconds": seconds})
        ended.append(seconds)

    async with asyncio.TaskGroup() as group:
        for seconds in (8.0, 4.0, 0.0):
            group.create_task(pause(seconds))
        await jackfield_kernel.clock.advance(9)
        assert ended == [8.0]
        await jackfield_kernel.clock.advance(3)
    assert ended == [8.0, 4.0, 0.0]


async def test_count_counts_as_far_as_it_is_asked(jackfield_client: Client) -> None:
    """`count` is a server stream, from 1 to a number."""
    numbers = jackfield_client.stream(f"{NAMESPACE}.count", {"to": 3, "pause": 0.001})
    assert [number async for number in numbers] == [{"n": 1}, {"n": 2}, {"n": 3}]


async def test_count_goes_on_until_it_is_cancelled(jackfield_kernel: RunningKernel, jackfield_client: Client) -> None:
    """Without a number it has no end; when the caller has enough, nothing of it goes on."""
    async with jackfield_client.stream(f"{NAMESPACE}.count", credit=2) as numbers:
        assert [await anext(numbers) for _ in range(50)] == [{"n": n} for n in range(1, 51)]
        assert jackfield_kernel.kernel.stats().plugins["demo"].streams == 1
    await jackfield_client.call(f"{NAMESPACE}.echo")  # by then the cancellation has arrived
    assert jackfield_kernel.kernel.stats().plugins["demo"].streams == 0


async def test_total_adds_what_it_is_sent(jackfield_client: Client) -> None:
    """`total` is a client stream."""
    items = [{"n": 40}, {"n": 2}]
    assert await jackfield_client.call(f"{NAMESPACE}.total", items=items) == {"sum": 42, "count": 2}


async def test_shout_answers_each_item(jackfield_client: Client) -> None:
    """`shout` is a stream both ways."""
    texts = jackfield_client.stream(f"{NAMESPACE}.shout", items=["hello", "you"])
    assert [text async for text in texts] == ["HELLO", "YOU"]


async def test_work_tells_how_far_it_is(jackfield_client: Client) -> None:
    """`work` reports its progress to a caller that wants to know; the last state in any case."""
    told: list[Any] = []

    def hear(*progress: Any) -> None:
        told.append(progress)

    work = {"steps": 3, "seconds": 0}
    assert await jackfield_client.call(f"{NAMESPACE}.work", work, progress=hear) == {"steps": 3}
    assert told == [(1, 3, "step 1 is done"), (3, 3, "step 3 is done")]
