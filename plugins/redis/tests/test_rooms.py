"""Two servers that are one: events and rooms reach the clients of both, once and in order."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from jackfield import _json as kernel_json
from jackfield._transport.rooms import LocalDelivery
from plugins.redis.tests.nodes import nodes, received, two
from tests.support.client import connected
from tests.support.redis import RedisServer
from tests.support.waiting import until
from tests.support.wire import wire

KEYS = ["a key of our own, long enough"]


@pytest.mark.parametrize("keys", [[], KEYS], ids=["open", "sealed"])
async def test_what_one_tells_the_clients_of_both_get_once_and_in_order(redis: RedisServer, keys: list[str]) -> None:
    """Whichever tells it."""
    async with two(redis.url, keys=keys) as (one, another, first, second):
        for number in range(100):
            await one.tell(number)
        await one.tell("end")
        for client in (first, second):
            assert await received(client, "end") == list(range(100))
        await another.tell("back")
        assert [await first.next("news"), await second.next("news")] == ["back", "back"]
        assert all(client.received["news"].empty() for client in (first, second))
        assert (one.manager.refused, another.manager.refused) == (0, 0)


async def test_what_many_tell_at_once_keeps_the_order_of_each(redis: RedisServer) -> None:
    """Of one server and of both; nothing is lost, and nothing comes twice."""

    async def tell(node: Any, who: str) -> None:
        for number in range(100):
            await node.tell([who, number])

    async with two(redis.url) as (one, another, first, second):
        await asyncio.gather(tell(one, "a"), tell(one, "b"), tell(another, "c"))
        for node in (one, another):
            await node.tell("end")
        for client in (first, second):
            got = await received(client, "end") + await received(client, "end")
            assert len(got) == 300
            for who in ("a", "b", "c"):
                assert [number for name, number in got if name == who] == list(range(100))


VALUES: list[Any] = [
    *("hello", "ÿ😀", None, True, 2**53 - 1, [], [1, [2]], {"a": 1.5}, {"_placeholder": 1}),
    *(b"only", b"", [b"\x00\xff", {"a": b""}]),
]


async def test_what_is_told_arrives_as_it_is(redis: RedisServer) -> None:
    """Buffers too, on both servers."""
    async with two(redis.url, keys=KEYS) as (one, _, first, second):
        for value in VALUES:
            await one.tell(value)
        await one.tell("end")
        for client in (first, second):
            assert await received(client, "end") == VALUES


async def test_rooms_reach_over_both_servers(redis: RedisServer) -> None:
    """A room has clients of both; `enter_room`, `leave_room` and `close_room` work wherever the client is."""
    async with two(redis.url) as (one, another, first, second):
        sid = second.sio.get_sid()
        for client in (first, second):
            await client.call("api.meeting.join", "den")
        await one.tell("both", room="den")
        assert [await first.next("news"), await second.next("news")] == ["both", "both"]
        await one.border.leave_room(sid, "den")
        await until(lambda: "den" not in another.border.manager.rooms["/"])
        await one.border.enter_room(sid, "attic")
        await until(lambda: "attic" in another.border.manager.rooms["/"])
        for node in (one, another):
            await node.tell("first", room="den")
            assert await first.next("news") == "first"
            await node.tell("second", room="attic")
            assert await second.next("news") == "second"
        await one.border.close_room("attic")
        await another.border.close_room("den")
        await until(lambda: not {"attic", "den"} & {*one.border.manager.rooms["/"], *another.border.manager.rooms["/"]})
        for node in (one, another):
            await node.tell("nobody", room="den")
            await node.tell("nobody", room="attic")
            await node.tell("everybody")
            assert [await first.next("news"), await second.next("news")] == ["everybody", "everybody"]


@pytest.mark.parametrize("answer", ["yes", b"\x00bytes", [b"", {"a": b"b"}]], ids=repr)
async def test_a_client_of_either_server_is_asked(redis: RedisServer, answer: Any) -> None:
    """python-socketio's `call` gets the answer, Buffers too, and not that of the kernel's own requests."""
    async with two(redis.url) as (one, another, first, _):

        async def reply(data: str) -> Any:
            return answer if data == "call" else data

        first.sio.on("question", reply)
        sid = first.sio.get_sid()
        for node in (one, another):
            called, asked = await asyncio.gather(
                node.border.call("question", "call", to=sid), first.call("api.meeting.ask", "request")
            )
            assert called == answer
            assert asked == {"data": "request"}


@pytest.mark.parametrize("asked", [0, 1])
async def test_a_client_is_disconnected_from_either_server(redis: RedisServer, asked: int) -> None:
    """It is told so."""
    async with two(redis.url) as (one, another, first, second):
        gone = asyncio.Event()
        first.sio.on("disconnect", lambda reason: gone.set())
        await (one, another)[asked].border.disconnect(first.sio.get_sid())
        await asyncio.wait_for(gone.wait(), 20)
        await one.tell("still there")
        assert await second.next("news") == "still there"


async def test_it_is_encoded_once_a_server(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many clients each has."""
    encoded: list[object] = []
    dumps = kernel_json.dumps

    def count(value: object) -> kernel_json.Json:
        encoded.append(value)
        return dumps(value)

    async with nodes(redis.url, redis.url) as (one, another), AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(wire(node.url)) for node in (one, another) for _ in range(3)]
        monkeypatch.setattr(kernel_json, "dumps", count)
        await one.tell("hello")
        for client in clients:
            assert await client.receive() == '42["news","hello"]'
        assert encoded == ["hello", ["news", "hello"], ["news", "hello"]]


@pytest.mark.parametrize("volatile", [True, False])
async def test_the_other_servers_hear_that_it_is_volatile(
    redis: RedisServer, volatile: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that there too nobody is closed for not reading it."""
    told: list[tuple[Any, bool]] = []
    deliver = LocalDelivery.deliver

    async def keep(self: Any, *args: Any, volatile: bool) -> None:
        told.append((self, volatile))
        await deliver(self, *args, volatile=volatile)

    monkeypatch.setattr(LocalDelivery, "deliver", keep)
    async with two(redis.url) as (one, another, _, second):
        await one.kernel.emit("news", "hello", volatile=volatile)
        assert await second.next("news") == "hello"
        assert told == [(one.manager, volatile), (another.manager, volatile)]


async def test_servers_of_another_prefix_are_others(redis: RedisServer) -> None:
    """They share Redis, and nothing else."""
    async with two(redis.url) as (one, _, first, second), nodes(redis.url, prefix="others") as (other,):
        await other.tell("others")
        await one.tell("ours")
        assert [await first.next("news"), await second.next("news")] == ["ours", "ours"]


async def test_what_is_too_large_is_told_to_the_clients_here(redis: RedisServer, caplog: Any) -> None:
    """The others get what comes after it, and the log says which setting it is."""
    async with two(redis.url, message_size=2048) as (one, _, first, second):
        reply = await first.call("api.meeting.tell", "x" * 3000)
        assert reply["error"]["code"] == "unavailable"
        assert await first.next("news") == "x" * 3000
        await one.tell("small")
        assert await second.next("news") == "small"
    assert "bytes, and plugins.redis.message_size is 2048" in caplog.text


async def test_without_an_address_a_server_is_for_itself() -> None:
    """It has no manager, and says nothing of Redis."""
    async with nodes("") as (one,), connected(one.url, "websocket") as client:
        assert type(one.manager) is LocalDelivery
        await one.tell("here")
        assert await client.next("news") == "here"
        status, text = await one.ready()
        assert status == 200
        assert "health/redis" not in text
