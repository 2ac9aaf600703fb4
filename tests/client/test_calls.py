"""Calls with one argument and one result."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel

from jackfield import CallError, Code, EncodeError
from jackfield.client import Client, ConnectionLost, connect
from tests.client.deaf import deaf_server
from tests.client.probes import happened, told
from tests.support.server import Server
from tests.support.waiting import until


class Addends(BaseModel):
    """What `add` takes."""

    a: int
    b: int


@dataclass
class Parcel:
    """Data of every sort."""

    day: date
    parts: tuple[bytes, ...]
    sum: Addends


async def test_a_call_returns_the_result(client: Client) -> None:
    """As plain values, with bytes for Buffers."""
    assert await client.call("api.services.test.add", {"a": 1, "b": 2}) == {"sum": 3}
    assert await client.call("api.services.test.reverse", b"abc") == b"cba"
    assert await client.call("api.services.test.echo", {"deep": [b"x", None, 1.5, "ü"]}) == {
        "deep": [b"x", None, 1.5, "ü"]
    }
    assert await client.call("api.system.ping") == "pong"


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_either_transport_will_do(probed: Server, transport: str) -> None:
    """Results and Buffers come over both."""
    async with connect(probed.url, transports=[transport]) as client:
        assert await client.call("api.services.test.reverse", bytes(range(256))) == bytes(range(255, -1, -1))


async def test_models_and_dataclasses_are_data(client: Client) -> None:
    """Whatever a function may return may be sent to one too."""
    assert await client.call("api.services.test.add", Addends(a=1, b=2)) == {"sum": 3}
    parcel = Parcel(date(2026, 1, 2), (b"a", b"b"), Addends(a=1, b=2))
    assert await client.call("api.services.test.echo", parcel) == {
        "day": "2026-01-02",
        "parts": [b"a", b"b"],
        "sum": {"a": 1, "b": 2},
    }


async def test_calls_run_side_by_side(client: Client) -> None:
    """Each gets its own result."""
    results = await asyncio.gather(*(client.call("api.services.test.add", {"a": n, "b": n}) for n in range(50)))
    assert results == [{"sum": 2 * n} for n in range(50)]


@pytest.mark.parametrize("encoding", ["gzip", "base64+gzip", "msgpack", "gzip+msgpack", "json"])
async def test_data_is_packed_and_unpacked(client: Client, encoding: str) -> None:
    """The caller names encodings and sees none."""
    value: Any = {"words": ["much", "much"] * 100, "n": 1}
    assert await client.call("api.services.test.echo", value, encoding=encoding, accept=encoding) == value


async def test_a_result_that_is_not_packed_as_it_says_is_an_error() -> None:
    """It is not repaired."""
    reply = {"data": "aGk=", "encoding": "base64+gzip"}
    async with deaf_server(lambda *_: [("ack", reply)]) as url, connect(url) as client:
        with pytest.raises(CallError, match="invalid_argument: Not valid gzip"):
            await client.call("api.any.thing")


async def test_headers_go_with_the_call(client: Client) -> None:
    """`meta` reaches the function."""
    assert await client.call("api.probe.meta", meta={"tenant": "a"}) == {"tenant": "a"}


async def test_progress_may_be_asked_of_any_function(client: Client) -> None:
    """One that reports none is none the worse."""
    assert await client.call("api.system.ping", progress=lambda *_: None) == "pong"


# ------------------------------------------------------------------- errors


async def test_an_error_of_the_server_is_raised(client: Client) -> None:
    """With all that it says."""
    with pytest.raises(CallError) as caught:
        await client.call("api.services.test.add", {"a": 1})
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.message == "The data does not fit: 1 fault, see details."
    assert caught.value.details == ({"path": ["b"], "type": "missing", "message": "Field required"},)
    with pytest.raises(CallError) as caught:
        await client.call("api.probe.busy")
    assert (caught.value.code, caught.value.retry_after) == (Code.UNAVAILABLE, 200)
    with pytest.raises(CallError) as caught:
        await client.call("api.services.test.crash")
    assert f"(error {caught.value.error_id})" in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), 2**53, object(), {1.5: "x"}], ids=["nan", "large", "object", "key"])
async def test_what_cannot_be_sent_is_not(client: Client, value: object) -> None:
    """The error is the caller's, and the connection goes on."""
    with pytest.raises(EncodeError):
        await client.call("api.services.test.echo", value)
    assert await client.call("api.system.ping") == "pong"


async def test_an_encoding_that_there_is_not_is_refused_here(client: Client) -> None:
    """Before anything is sent."""
    with pytest.raises(CallError, match=r"unimplemented: Unknown encoding 'brotli'\. Supported: "):
        await client.call("api.services.test.echo", 1, encoding="brotli")


async def test_a_call_that_cannot_be_meant_is_refused_here(client: Client) -> None:
    """Arguments that contradict one another, and numbers that are none."""
    with pytest.raises(TypeError, match="data and items exclude each other"):
        await client.call("api.services.test.echo", 1, items=[1])
    with pytest.raises(TypeError, match="items are many, and str is one: put it in a list"):
        await client.call("api.services.test.echo", items="word")
    with pytest.raises(TypeError, match="items are an iterable or an async iterable, not int"):
        await client.call("api.services.test.echo", items=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout is a number of seconds above 0, not 0"):
        await client.call("api.services.test.echo", timeout=0)
    with pytest.raises(ValueError, match="timeout is a number of seconds above 0, not inf"):
        await client.call("api.services.test.echo", timeout=float("inf"))
    with pytest.raises(TypeError, match="timeout is a number of seconds, not '1'"):
        await client.call("api.services.test.echo", timeout="1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="credit is a number of items from 1 to 2147483647, not 0"):
        client.stream("api.services.test.echo", credit=0)
    with pytest.raises(TypeError, match="credit is a number of items, not '1'"):
        client.stream("api.services.test.echo", credit="1")  # type: ignore[arg-type]


async def test_progress_is_told_to_a_plain_function(client: Client) -> None:
    """A coroutine function would never be awaited, and what cannot be called would fail with the first report."""

    async def tell(done: float, total: float | None, message: str | None) -> None:
        """Do nothing."""

    class Teller:
        async def __call__(self, done: float, total: float | None, message: str | None) -> None:
            """Do nothing."""

    for progress in (tell, Teller(), functools.partial(tell)):
        with pytest.raises(TypeError, match="progress is a plain function, which is not awaited"):
            await client.call("api.services.test.work", progress=progress)
        with pytest.raises(TypeError, match="progress is a plain function, which is not awaited"):
            client.stream("api.services.test.shout", items=[], progress=progress)
    with pytest.raises(TypeError, match=r"progress is a function \(done, total, message\), not True"):
        await client.call("api.services.test.work", progress=True)  # type: ignore[arg-type]


MANY: list[Any] = [b"x"] * 11


async def test_more_buffers_than_a_message_carries_are_refused_here(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """As data, as an item and as an answer; the server would close the connection, with all that runs over it."""
    reason = "it holds 11 Buffers, and a message carries 10"
    with pytest.raises(EncodeError, match=reason):
        await client.call("api.services.test.echo", MANY)
    with pytest.raises(EncodeError, match=reason):
        await client.call("api.services.test.total", items=[MANY])
    client.on("question", lambda data: MANY)
    assert await client.call("api.probe.tell", 7) is None
    assert reason in caplog.text
    assert await client.call("api.services.test.echo", MANY[1:]) == MANY[1:]
    assert await client.call("api.services.test.echo", MANY, encoding="msgpack", accept="msgpack") == MANY


@pytest.mark.parametrize(
    ("transport", "reason"),
    [
        ("websocket", "a message was larger than the server's limits.message_size; it sent 1020002 bytes last"),
        ("polling", "it sent 1020002 bytes last, perhaps more than the server's limits.message_size"),
    ],
)
async def test_a_connection_that_is_lost_for_a_large_message_says_so(
    probed: Server, transport: str, reason: str
) -> None:
    """With the size of what was sent last, be it data or an item."""
    big = "x" * 1_020_000
    async with connect(probed.url, transports=[transport]) as client:
        with pytest.raises(ConnectionLost) as caught:
            await client.call("api.services.test.echo", big)
        assert caught.value.message == f"The connection was lost before the call was answered: {reason}."
    async with connect(probed.url, transports=[transport]) as client:
        with pytest.raises(ConnectionLost) as caught:
            await client.call("api.probe.deaf", items=["x", big])
        assert caught.value.message == f"The connection was lost before the stream ended: {reason}."


# ------------------------------------------------------------------- deadlines and cancellation


async def test_the_server_keeps_the_deadline(client: Client) -> None:
    """It is told the time that the call has."""
    with pytest.raises(CallError, match=r"deadline_exceeded: api\.services\.test\.sleep did not end in time"):
        await client.call("api.services.test.sleep", {"seconds": 60}, timeout=0.1)
    assert await client.call("api.probe.left", timeout=10)


async def test_the_client_keeps_the_deadline_of_a_server_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A little later than the server should have, so that the server's own word is heard where there is one."""
    async with deaf_server() as url, connect(url, reconnect=False) as client:
        monkeypatch.setattr("jackfield.client._caller.PATIENCE", 0.05)
        with pytest.raises(CallError, match=r"^deadline_exceeded: The server did not answer within 0\.1 s\.$"):
            await client.call("api.any.thing", timeout=0.1)


async def test_a_cancelled_task_cancels_its_call(client: Client) -> None:
    """The function is stopped at the server."""
    begun, stopped = await told(client, "begun"), await told(client, "stopped")
    task = asyncio.create_task(client.call("api.probe.wait"))
    await happened(client, "begun", begun + 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await happened(client, "stopped", stopped + 1)


async def test_nothing_is_kept_of_a_call(client: Client) -> None:
    """However it ended."""
    await client.call("api.system.ping")
    task = asyncio.create_task(client.call("api.probe.wait"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(CallError):
        await client.call("api.probe.busy")
    assert client._caller._link is not None
    assert client._caller._link._exchanges == {}


# ------------------------------------------------------------------- what the server emits


async def test_events_are_heard_in_order(client: Client) -> None:
    """Each name has its handler; `*` has the rest."""
    numbers: list[int] = []
    rest: list[tuple[str, Any]] = []
    client.on("number", numbers.append)
    client.on("*", lambda event, data: rest.append((event, data)))
    await client.call("api.probe.many", 100)
    await client.call("api.services.test.testFunc", "hi")
    await until(lambda: rest)
    assert numbers == list(range(100))
    assert rest == [("message", "hi")]


async def test_what_a_handler_returns_answers_the_server(client: Client) -> None:
    """Plain functions and coroutine functions alike, models and Buffers included."""
    client.on("question", lambda data: Addends(a=1, b=data))
    assert await client.call("api.probe.tell", 7) == {"a": 1, "b": 7}

    async def answer(data: Any) -> bytes:
        await asyncio.sleep(0)
        return bytes([data])

    client.on("question", answer)
    assert await client.call("api.probe.tell", 7) == b"\x07"


async def test_a_question_that_nobody_hears_is_answered_with_nothing(client: Client) -> None:
    """The function does not wait in vain."""
    assert await client.call("api.probe.tell", 7) is None


async def test_a_handler_that_fails_is_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """It answers with nothing, and the connection goes on."""

    def fail(data: object) -> None:
        raise RuntimeError(f"no {data}")

    client.on("question", fail)
    assert await client.call("api.probe.tell", 7) is None
    assert [record.message for record in caplog.records] == ["the handler of the event 'question' failed"]
    assert "RuntimeError: no 7" in caplog.text


async def test_the_frames_of_streams_are_not_for_handlers(client: Client) -> None:
    """The event `stream` is the client's own."""
    with pytest.raises(ValueError, match="'stream' carries the frames of the calls' streams"):
        client.on("stream", print)


# ------------------------------------------------------------------- the end


async def test_the_end_of_the_client_ends_its_calls(probed: Server) -> None:
    """What is in flight ends with ConnectionLost, and so does a call made later."""
    async with connect(probed.url) as client:
        begun = await told(client, "begun")
        task = asyncio.create_task(client.call("api.probe.wait"))
        await happened(client, "begun", begun + 1)
    with pytest.raises(ConnectionLost, match="The connection was lost before the call was answered"):
        await task
    with pytest.raises(ConnectionLost, match="The client was closed"):
        await client.call("api.system.ping")
    assert not client.connected
