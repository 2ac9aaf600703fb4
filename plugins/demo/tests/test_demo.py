"""Every function of `api.services.test`, called by an ordinary client."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from tests.support.client import Client, connected
from tests.support.server import Server

NAMESPACE = "api.services.test"


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
async def test_a_function_answers(server: Server, function: str, data: object, result: object) -> None:
    """Each function gives what its documentation says."""
    async with connected(server.url) as client:
        assert await client.call(f"{NAMESPACE}.{function}", data) == {"data": result}


async def test_test_func_emits_what_it_returns(server: Server) -> None:
    """`testFunc` also sends its argument to the caller as `message`."""
    async with connected(server.url) as client:
        await client.call(f"{NAMESPACE}.testFunc", "hi")
        assert await client.next("message") == "hi"


async def test_fail_answers_with_its_own_error(server: Server) -> None:
    """`fail` answers with the code that its author chose, and the caller's words."""
    async with connected(server.url) as client:
        reply = await client.call(f"{NAMESPACE}.fail", "as agreed")
        assert reply == {"error": {"code": "failed_precondition", "message": "as agreed"}}
        reply = await client.call(f"{NAMESPACE}.fail")
        assert reply["error"]["message"] == "This function always fails, on purpose."


async def test_crash_tells_the_caller_an_id_and_the_log_the_rest(server: Server) -> None:
    """`crash` answers with an id, which stands in the log beside the exception."""
    async with connected(server.url) as client:
        error = (await client.call(f"{NAMESPACE}.crash"))["error"]
        assert error["code"] == "internal"
        assert "crashed" not in str(error)
        assert error["error_id"] in server.log
        assert "the demonstration crashed, as it was asked to" in server.log


async def test_ask_returns_the_clients_answer(server: Server) -> None:
    """`ask` sends the event `question` and returns what the client acknowledges it with."""
    async with connected(server.url) as client:
        client.sio.on("question", lambda text: f"{text}: 42")
        assert await client.call(f"{NAMESPACE}.ask", "the answer") == {"data": "the answer: 42"}


async def test_in_turn_runs_one_at_a_time_in_the_order_of_arrival(server: Server) -> None:
    """Calls of an ordered function end in the order in which they came, however long each takes."""
    async with connected(server.url, "websocket") as client:
        ended: list[float] = []

        async def pause(seconds: float) -> None:
            await client.call(f"{NAMESPACE}.inTurn", {"seconds": seconds})
            ended.append(seconds)

        async with asyncio.TaskGroup() as group:
            for seconds in (0.2, 0.1, 0.0):
                group.create_task(pause(seconds))
        assert ended == [0.2, 0.1, 0.0]


async def _frames(client: Client, count: int) -> list[dict[str, object]]:
    """Return the next frames of the stream 1, without its id."""
    frames = [await client.next("stream") for _ in range(count)]
    assert all(frame.pop("id") == 1 for frame in frames)
    return frames


async def test_count_counts_as_far_as_it_is_asked(server: Server) -> None:
    """`count` is a server stream, from 1 to a number."""
    async with connected(server.url) as client:
        assert await client.call(f"{NAMESPACE}.count", {"to": 3, "pause": 0.001}, id=1) == {"id": 1, "stream": "server"}
        assert await _frames(client, 4) == [{"data": {"n": 1}}, {"data": {"n": 2}}, {"data": {"n": 3}}, {"end": True}]


async def test_count_goes_on_until_it_is_cancelled(server: Server) -> None:
    """Without a number it has no end, and gives what there is credit for."""
    async with connected(server.url) as client:
        await client.call(f"{NAMESPACE}.count", id=1, credit=2)
        assert await _frames(client, 2) == [{"data": {"n": 1}}, {"data": {"n": 2}}]
        await client.emit({"id": 1, "cancel": True}, event="stream")
        [ended] = await _frames(client, 1)
        assert "canceled" in str(ended["error"])


async def test_total_adds_what_it_is_sent(server: Server) -> None:
    """`total` is a client stream."""
    async with connected(server.url) as client:
        opened = await client.call(f"{NAMESPACE}.total", id=1)
        assert (opened["stream"], opened["credit"] > 0) == ("client", True)
        for frame in ({"data": {"n": 40}}, {"data": {"n": 2}}, {"end": True}):
            await client.emit({"id": 1, **frame}, event="stream")
        assert await _frames(client, 1) == [{"end": True, "data": {"sum": 42, "count": 2}}]


async def test_shout_answers_each_item(server: Server) -> None:
    """`shout` is a stream both ways."""
    async with connected(server.url) as client:
        opened = await client.call(f"{NAMESPACE}.shout", id=1)
        assert opened["stream"] == "both"
        await client.emit({"id": 1, "data": "hello"}, event="stream")
        assert await _frames(client, 1) == [{"data": "HELLO"}]
        await client.emit({"id": 1, "end": True}, event="stream")
        assert await _frames(client, 1) == [{"end": True}]


async def test_work_tells_how_far_it_is(server: Server) -> None:
    """`work` reports its progress to a caller that wants to know; the last state in any case."""
    async with connected(server.url) as client:
        reply = await client.call(f"{NAMESPACE}.work", {"steps": 3, "seconds": 0}, id=1, progress=True)
        assert reply == {"data": {"steps": 3}, "id": 1}
        first, last = await _frames(client, 2)
        assert first == {"progress": {"done": 1, "total": 3, "message": "step 1 is done"}}
        assert last == {"progress": {"done": 3, "total": 3, "message": "step 3 is done"}}
