"""Streams: items that the server gives, items that the client sends, and both."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from jackfield import CallError, Code, EncodeError
from jackfield.client import Client, ConnectionLost, Stream, connect
from tests.client.deaf import deaf_server
from tests.client.probes import happened, told
from tests.support.proxy import proxied
from tests.support.server import Server
from tests.support.waiting import until

COUNT = "api.services.test.count"
TOTAL = "api.services.test.total"
SHOUT = "api.services.test.shout"


class Number(BaseModel):
    """What `total` takes."""

    n: int


class Source:
    """Items that say what becomes of them: an async generator's every step."""

    def __init__(self, *items: Any, endless: bool = False, error: Exception | None = None) -> None:
        self._items = items
        self._endless = endless
        self._error = error
        self.pulled = 0
        self.closed = False

    async def run(self) -> AsyncIterator[Any]:
        """Yield the items."""
        try:
            while True:
                for item in self._items:
                    self.pulled += 1
                    yield item
                    await asyncio.sleep(0)
                if self._error is not None:
                    raise self._error
                if not self._endless:
                    return
        finally:
            self.closed = True


async def collected(client: Client, event: str, *arguments: Any, **options: Any) -> list[Any]:
    """Return all items of a stream."""
    return [item async for item in client.stream(event, *arguments, **options)]


async def take(stream: Stream, into: list[Any]) -> None:
    """Put the items into a list, one by one, so that those before an error are there."""
    async for item in stream:
        into.append(item)


def kept(client: Client) -> dict[int, Any]:
    """Return what the client keeps of its calls."""
    assert client._caller._link is not None
    return dict(client._caller._link._exchanges)


# ------------------------------------------------------------------- what the server gives


@pytest.mark.parametrize("credit", [1, 2, 3, 16, 1000])
async def test_items_come_in_order_and_end(client: Client, credit: int) -> None:
    """However few the server may be ahead."""
    assert await collected(client, COUNT, {"to": 50}, credit=credit) == [{"n": n} for n in range(1, 51)]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_streams_run_side_by_side(probed: Server, transport: str) -> None:
    """Over either transport, each with its own items."""
    async with connect(probed.url, transports=[transport]) as client:
        assert await collected(client, SHOUT, items=["x"] * 100) == ["X"] * 100
        streams = [collected(client, COUNT, {"to": 20 + n}) for n in range(10)]
        assert [len(items) for items in await asyncio.gather(*streams)] == [20 + n for n in range(10)]


async def test_a_stream_of_nothing_ends(client: Client) -> None:
    """There is no item, and no error."""
    assert await collected(client, COUNT, {"to": 0}) == []


async def test_buffers_are_items(client: Client) -> None:
    """Nested ones too."""
    assert await collected(client, "api.probe.parts", 3) == [b"\x00" * 10, b"\x01" * 10, b"\x02" * 10]


async def test_items_are_packed_and_unpacked(client: Client) -> None:
    """The caller names encodings and sees none."""
    assert await collected(client, COUNT, {"to": 3}, accept="gzip+msgpack") == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert await client.call(TOTAL, items=[{"n": 1}, {"n": 2}], encoding="base64+gzip") == {"sum": 3, "count": 2}


async def test_the_server_is_no_further_ahead_than_it_may(client: Client) -> None:
    """Credit comes back as items are taken, half a window at a time; nothing is held beyond it."""
    before = await told(client, "steps")
    async with client.stream("api.probe.steps", credit=10) as stream:
        exchange = stream._exchange
        assert exchange is not None
        await until(lambda: len(exchange._items) == 10)
        await happened(client, "steps", before + 11)  # the server holds one item that it may not send yet
        assert [await anext(stream) for _ in range(4)] == [0, 1, 2, 3]
        assert await told(client, "steps") == before + 11
        assert await anext(stream) == 4
        await happened(client, "steps", before + 16)
        assert await told(client, "steps") == before + 16
        await until(lambda: len(exchange._items) == 10)


async def test_a_slow_consumer_is_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was taken is granted again after some time, before half of the credit is used up."""
    granted: list[int] = []

    def answer(event: str, argument: dict[str, Any]) -> list[tuple[str, Any]]:
        if event == "event":
            items = [("stream", {"id": argument["id"], "data": n}) for n in range(16)]
            return [("ack", {"id": argument["id"], "stream": "server"}), *items]
        granted.extend([argument["credit"]] if "credit" in argument else [])
        return []

    async with deaf_server(answer) as url, connect(url) as client, client.stream("api.any.thing") as stream:
        assert [await anext(stream) for _ in range(3)] == [0, 1, 2]
        monkeypatch.setattr("jackfield.client._exchange.GRANT_AGE", 0.0)
        assert await anext(stream) == 3
        await until(lambda: granted == [4])
        assert await anext(stream) == 4
        await until(lambda: granted == [4, 1])
        monkeypatch.undo()
        assert [await anext(stream) for _ in range(8)] == list(range(5, 13))
        await until(lambda: granted == [4, 1, 8])


async def test_an_endless_stream_costs_a_slow_consumer_no_memory(client: Client) -> None:
    """Thousands of items go through, and never more than the credit wait."""
    most = 0
    async with client.stream(COUNT, credit=8) as stream:
        async for item in stream:
            assert stream._exchange is not None
            most = max(most, len(stream._exchange._items))
            if item["n"] % 100 == 0:
                await asyncio.sleep(0.005)
            if item["n"] == 3_000:
                break
    assert most <= 8
    assert kept(client) == {}


async def test_several_may_take_from_one_stream(client: Client) -> None:
    """Each item goes to one of them; the stream is opened once."""
    stream = client.stream(COUNT, {"to": 40})
    halves: list[list[Any]] = [[], []]
    await asyncio.gather(*(take(stream, half) for half in halves))
    assert sorted(item["n"] for half in halves for item in half) == list(range(1, 41))


async def test_items_before_an_error_are_delivered(client: Client) -> None:
    """Then the error is raised, and after that there is nothing."""
    stream = client.stream("api.probe.broken", 5)
    items: list[Any] = []
    with pytest.raises(CallError, match=r"^aborted: enough$"):
        await take(stream, items)
    assert items == [0, 1, 2, 3, 4]
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_what_cannot_be_opened_raises_where_it_is_opened(client: Client) -> None:
    """At the beginning of the block, or with the first item."""
    with pytest.raises(CallError, match="not_found"):
        async with client.stream("api.probe.nothing"):
            pytest.fail("there is no such function")
    with pytest.raises(CallError, match="invalid_argument"):
        await anext(client.stream(COUNT, {"to": "far"}))
    stream = client.stream("api.probe.nothing")
    with pytest.raises(CallError, match="not_found"):
        await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert kept(client) == {}


async def test_a_stream_has_a_deadline_for_its_whole_life(client: Client) -> None:
    """What came before it is delivered."""
    items: list[Any] = []
    with pytest.raises(CallError, match="deadline_exceeded"):
        await take(client.stream(COUNT, {"pause": 0.05}, timeout=0.5), items)
    assert items[0] == {"n": 1}


async def test_a_lost_connection_ends_streams(probed: Server) -> None:
    """After what came before, and at once."""
    async with proxied(probed.url) as (url, proxy), connect(url, reconnect=False) as client:
        stream = client.stream("api.probe.steps", credit=3)
        assert await anext(stream) == 0
        exchange = stream._exchange
        assert exchange is not None
        await until(lambda: len(exchange._items) == 2)
        proxy.cut()
        await until(lambda: exchange.ended)
        assert [await anext(stream), await anext(stream)] == [1, 2]
        with pytest.raises(ConnectionLost, match="The connection was lost before the stream ended"):
            await anext(stream)


# ------------------------------------------------------------------- leaving early


async def test_leaving_the_block_cancels(client: Client) -> None:
    """The function is stopped at the server."""
    stopped = await told(client, "stopped")
    async with client.stream("api.probe.steps") as stream:
        assert await anext(stream) == 0
    await happened(client, "stopped", stopped + 1)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert kept(client) == {}


async def test_leaving_the_loop_cancels(client: Client) -> None:
    """A stream that nobody holds any more is cancelled when it is collected."""
    stopped = await told(client, "stopped")
    async for item in client.stream("api.probe.steps"):
        if item == 3:
            break
    gc.collect()
    await happened(client, "stopped", stopped + 1)
    assert kept(client) == {}


async def test_closing_a_stream_cancels(client: Client) -> None:
    """Once is enough, twice does no harm, and before it is opened nothing happens."""
    stopped = await told(client, "stopped")
    stream = client.stream("api.probe.steps")
    assert await anext(stream) == 0
    await stream.aclose()
    await stream.aclose()
    await happened(client, "stopped", stopped + 1)
    unopened = client.stream("api.probe.steps")
    await unopened.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(unopened)


async def test_a_cancelled_task_cancels_the_stream_of_its_block(client: Client) -> None:
    """The function is stopped at the server."""
    stopped = await told(client, "stopped")

    async def consume() -> None:
        async with client.stream("api.probe.silent") as stream:
            await anext(stream)

    begun = await told(client, "begun")
    task = asyncio.create_task(consume())
    await happened(client, "begun", begun + 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await happened(client, "stopped", stopped + 1)


async def test_waiting_for_an_item_may_be_given_up(client: Client) -> None:
    """The stream goes on where it was."""
    ready = asyncio.Event()

    async def words() -> AsyncIterator[str]:
        await ready.wait()
        yield "a"

    async with client.stream(SHOUT, items=words()) as stream:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 0.01)
        ready.set()
        assert await anext(stream) == "A"


# ------------------------------------------------------------------- what the client sends


async def test_items_of_every_sort_are_sent(client: Client) -> None:
    """Plain and async iterables, generators, models."""

    def generator() -> Iterator[Number]:
        yield from (Number(n=n) for n in range(100))

    assert await client.call(TOTAL, items=[{"n": 1}, {"n": 2}]) == {"sum": 3, "count": 2}
    assert await client.call(TOTAL, items=generator()) == {"sum": 4950, "count": 100}
    assert await client.call(TOTAL, items=Source(Number(n=5)).run()) == {"sum": 5, "count": 1}
    assert await client.call(TOTAL, items=[]) == {"sum": 0, "count": 0}


async def test_both_ways(client: Client) -> None:
    """Each item is answered while others are still to come."""
    ready = asyncio.Event()

    async def words() -> AsyncIterator[str]:
        yield "a"
        await ready.wait()
        yield "b"

    async with client.stream(SHOUT, items=words()) as stream:
        assert await anext(stream) == "A"
        ready.set()
        assert await anext(stream) == "B"
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    assert await collected(client, SHOUT, items=["x"] * 500) == ["X"] * 500


async def test_the_source_is_pulled_as_far_as_the_server_lets_it(client: Client) -> None:
    """One item ahead of the credit, and no further."""
    source = Source("x", endless=True)
    task = asyncio.create_task(client.call("api.probe.hesitant", items=source.run()))
    await happened(client, "hesitating", 1)
    await until(lambda: source.pulled > 1)
    before = -1
    while before != source.pulled:
        before = source.pulled
        await client.call("api.system.ping")
    assert before < 1_000
    await client.call("api.probe.go")
    assert await task == 1
    assert source.closed


async def test_the_upload_ends_when_the_call_does(client: Client) -> None:
    """A result that comes early is a result; the source is closed by then."""
    source = Source({"n": 1}, endless=True)
    assert await client.call("api.probe.first", items=source.run()) == {"n": 1}
    assert source.closed


async def test_the_source_is_closed_when_the_call_fails(client: Client) -> None:
    """Whether it was opened or not."""
    for event in (TOTAL, "api.probe.nothing"):
        source = Source("no number", endless=True)
        with pytest.raises(CallError):
            await client.call(event, items=source.run())
        assert source.closed or source.pulled == 0


async def test_the_source_is_closed_when_the_task_is_cancelled(client: Client) -> None:
    """By the time the task has ended."""
    begun, stopped = await told(client, "begun"), await told(client, "stopped")
    source = Source("x", endless=True)
    task = asyncio.create_task(client.call("api.probe.deaf", items=source.run()))
    await happened(client, "begun", begun + 1)
    await until(lambda: source.pulled)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.closed
    await happened(client, "stopped", stopped + 1)


async def test_an_error_of_the_source_cancels_the_call_and_is_raised(client: Client) -> None:
    """As it is, to whoever waits for the call."""
    stopped = await told(client, "stopped")
    source = Source("a", "b", error=RuntimeError("the disk is gone"))
    with pytest.raises(RuntimeError, match="the disk is gone"):
        await client.call("api.probe.deaf", items=source.run())
    await happened(client, "stopped", stopped + 1)
    with pytest.raises(RuntimeError, match="the disk is gone"):
        await collected(client, SHOUT, items=Source("a", error=RuntimeError("the disk is gone")).run())
    with pytest.raises(EncodeError):
        await client.call(TOTAL, items=[object()])
    assert kept(client) == {}


async def test_an_error_while_the_source_is_closed_is_raised(client: Client) -> None:
    """Though there may be a result: nobody else would hear of it."""

    async def stubborn() -> AsyncIterator[dict[str, int]]:
        try:
            while True:
                yield {"n": 1}
                await asyncio.sleep(0)
        finally:
            raise RuntimeError("the file cannot be closed")

    with pytest.raises(RuntimeError, match="the file cannot be closed"):
        await client.call("api.probe.first", items=stubborn())
    assert kept(client) == {}


async def test_an_item_that_does_not_fit_is_an_error_of_the_server(client: Client) -> None:
    """With the fault's place."""
    with pytest.raises(CallError) as caught:
        await client.call(TOTAL, items=[{"n": 1}, {"n": "x"}])
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.details[0]["path"] == ["n"]


async def test_the_end_of_the_client_closes_the_sources(probed: Server) -> None:
    """By the time the block is left, whoever may hold the stream."""
    source = Source("x", endless=True)
    async with connect(probed.url) as client:
        stream = client.stream(SHOUT, items=source.run())
        assert await anext(stream) == "X"
    assert source.closed
    with pytest.raises(ConnectionLost):
        await take(stream, [])


async def test_a_stream_that_is_dropped_closes_its_source(client: Client) -> None:
    """It is cancelled when it is collected."""
    source = Source("x", endless=True)
    async for _ in client.stream(SHOUT, items=source.run()):
        break
    gc.collect()
    await until(lambda: source.closed)
    assert kept(client) == {}


# ------------------------------------------------------------------- kinds and progress


@pytest.mark.parametrize(
    ("event", "options", "way", "message"),
    [
        (COUNT, {}, "call", "gives a stream and takes no items: iterate over client.stream(event, data)"),
        (TOTAL, {}, "call", "takes a stream and has one result: await client.call(event, items=…)"),
        (TOTAL, {}, "stream", "takes a stream and has one result: await client.call(event, items=…)"),
        (SHOUT, {}, "stream", "takes a stream and gives one: iterate over client.stream(event, items=…)"),
        ("api.system.ping", {}, "stream", "has one result and takes no items: await client.call(event, data)"),
        (
            "api.system.ping",
            {"items": [1]},
            "call",
            "has one result and takes no items: await client.call(event, data)",
        ),
    ],
)
async def test_a_function_of_another_kind_says_how_it_is_called(
    client: Client, event: str, options: dict[str, Any], way: str, message: str
) -> None:
    """It is cancelled, and nothing is kept of it."""
    with pytest.raises(CallError) as caught:
        await (client.call(event, **options) if way == "call" else collected(client, event, **options))
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.message == f"{event} {message}."
    assert kept(client) == {}


async def test_progress_is_told(client: Client) -> None:
    """Of any kind of call that reports it."""
    seen: list[tuple[float, float | None, str | None]] = []
    work = {"steps": 3, "seconds": 0.3}
    await client.call("api.services.test.work", work, progress=lambda *told: seen.append(told))
    assert seen[-1] == (3, 3, "step 3 is done")


async def test_an_error_in_the_progress_callback_ends_the_call(client: Client) -> None:
    """It is raised to whoever waits."""

    def fail(*_: object) -> None:
        raise RuntimeError("no paper")

    with pytest.raises(RuntimeError, match="no paper"):
        await client.call("api.services.test.work", {"steps": 3, "seconds": 3}, progress=fail)
    assert kept(client) == {}


# ------------------------------------------------------------------- servers that do not keep to it


def opening(*frames: dict[str, Any]) -> Any:
    """Return what a server says that opens a stream and sends these frames."""

    def answer(event: str, argument: dict[str, Any]) -> list[tuple[str, Any]]:
        if event != "event":
            return []
        said = [("stream", {"id": argument["id"], **frame}) for frame in frames]
        return [("ack", {"id": argument["id"], "stream": "server"}), *said]

    return answer


async def test_items_beyond_the_credit_are_refused() -> None:
    """They would fill the memory of a client that is slow."""
    async with (
        deaf_server(opening(*({"data": n} for n in range(4)))) as url,
        connect(url) as client,
        client.stream("api.any.thing", credit=3) as stream,
    ):
        exchange = stream._exchange
        assert exchange is not None
        await until(lambda: exchange.ended)
        assert [await anext(stream) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(CallError, match=r"^internal: The server sent more items than it was asked for\.$"):
            await anext(stream)


async def test_what_comes_after_the_end_is_ignored() -> None:
    """A stream ends once."""
    late: list[dict[str, Any]] = [
        {"end": True},
        {"data": 2},
        {"error": {"code": "internal", "message": "late"}},
        {"credit": 1},
    ]
    async with deaf_server(opening({"data": 1}, *late)) as url, connect(url) as client:
        assert await collected(client, "api.any.thing") == [1]
        assert await collected(client, "api.any.thing") == [1]


async def test_nothing_of_a_stream_comes_before_it_is_open() -> None:
    """A call that was not opened is ended by its reply alone."""

    def answer(event: str, argument: dict[str, Any]) -> list[tuple[str, Any]]:
        frames: list[dict[str, Any]] = [{"data": 1}, {"end": True}, {"error": {}}]
        early = [("stream", {"id": argument["id"], **frame}) for frame in frames]
        return [*early, ("ack", {"id": argument["id"], "data": "reply"})]

    async with deaf_server(answer) as url, connect(url) as client:
        assert await client.call("api.any.thing") == "reply"


async def test_frames_that_mean_nothing_are_ignored() -> None:
    """They are of no call, or of a later protocol."""
    odd: list[dict[str, Any]] = [
        {"id": 99, "data": 1},
        {"id": True, "data": 1},
        {"id": "1", "data": 1},
        {"later": 1},
        {"progress": 3},
    ]
    async with deaf_server(opening(*odd, {"data": 1}, {"end": True})) as url, connect(url) as client:
        assert await collected(client, "api.any.thing") == [1]


async def test_an_item_that_is_not_packed_as_it_says_ends_the_stream() -> None:
    """After the items before it."""
    frames = ({"data": 1}, {"data": "aGk=", "encoding": "base64+gzip"})
    async with deaf_server(opening(*frames)) as url, connect(url) as client:
        stream = client.stream("api.any.thing")
        assert await anext(stream) == 1
        with pytest.raises(CallError, match="invalid_argument: Not valid gzip"):
            await anext(stream)


async def test_progress_that_is_no_number_is_none() -> None:
    """What is told is what the types say."""
    frames: list[dict[str, Any]] = [
        {"progress": {"done": "far", "total": True, "message": 3}},
        {"progress": {}},
        {"progress": {"done": 1.5, "total": 3}},
    ]
    seen: list[tuple[float, float | None, str | None]] = []
    async with deaf_server(opening(*frames, {"end": True})) as url, connect(url) as client:
        assert await collected(client, "api.any.thing", progress=lambda *told: seen.append(told)) == []
    assert seen == [(0, None, "3"), (0, None, None), (1.5, 3, None)]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_much_is_sent_in_requests_that_the_server_takes(server: Server, transport: str) -> None:
    """What waits to be sent goes in portions; together it would be more than one request may carry."""
    texts = [letter * 400_000 for letter in "abcdefgh"]
    async with connect(server.url, transports=[transport]) as client:
        shouted = await asyncio.gather(*(client.call("api.services.test.echo", text) for text in texts))
        assert shouted == texts
        assert await collected(client, SHOUT, items=texts) == [text.upper() for text in texts]
