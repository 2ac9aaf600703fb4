"""What stands in Redis that no server of ours has said: it is refused, counted, and does nothing."""

from __future__ import annotations

import contextlib
import itertools
import json
import pickle
from typing import Any

import pytest
from hypothesis import strategies as st
from redis.asyncio import Redis

from jackfield_redis.messages import Malformed, decode, encode
from jackfield_redis.seal import Seal
from plugins.redis.tests.nodes import Node, received, two
from tests.support.client import Client
from tests.support.properties import always, damaged, values
from tests.support.redis import RedisServer
from tests.support.waiting import until

KEY = "a key of our own, long enough"
TOPIC = "{jackfield}:rooms"
EMIT: dict[str, Any] = {
    "method": "emit",
    "event": "news",
    "data": ["forged"],
    "binary": False,
    "namespace": "/",
    "room": None,
    "skip_sid": None,
    "callback": None,
    "host_id": "x",
}


def whole(**changes: Any) -> bytes:
    """Return a message as a server would write it, with some changes."""
    return json.dumps({"v": 1, "from": "x", "n": 1, **EMIT, **changes}).encode()


def forged(sid: str) -> dict[str, dict[str, Any]]:
    """Return messages that are right, for a client: whoever they are believed from."""
    to = {"namespace": "/", "host_id": "x", "sid": sid}
    return {
        "emit": EMIT,
        "disconnect": {"method": "disconnect", **to},
        "enter": {"method": "enter_room", **to, "room": "den"},
        "close": {"method": "close_room", "namespace": "/", "host_id": "x", "room": sid},
    }


WRONG = {
    "garbage": b"\x80\x04garbage",
    "nothing": b"{}",
    "a list": b"[]",
    "pickle": pickle.dumps({"v": 1, "from": "x", "n": 1, **EMIT}),
    "another version": whole(v=2),
    "no version": json.dumps({"from": "x", "n": 1, **EMIT}).encode(),
    "python-socketio's own": json.dumps(EMIT).encode(),
    "another method": whole(method="shutdown"),
    "a field more": whole(more=1),
    "a field less": whole()[:-16] + b"}",
    "a number below one": whole(n=0),
    "a number that is a text": whole(n="1"),
    "an event that is none": whole(event=["news"]),
    "data that is none": whole(data="forged"),
    "a room that is none": whole(room={"a": 1}),
    "a callback that is none": whole(callback=[1]),
    "Buffers that are none": whole(binary=True, data=[[{"_placeholder": True, "num": 0}], "§"]),
    "Buffers that are not there": whole(binary=True, data=[[{"_placeholder": True, "num": 7}]]),
    "a Buffer's number that is none": whole(binary=True, data=[[{"_placeholder": True, "num": "0"}], ""]),
    "no arguments": whole(binary=True, data=[]),
    "arguments that are none": whole(binary=True, data=["news"]),
    "no number": whole().replace(b'"forged"', b"NaN"),
    "deep": whole().replace(b'"forged"', b"[" * 100_000 + b"]" * 100_000),
    "huge": whole(data=["x" * (4 * 1024 * 1024)]),
}


async def refuses(redis: RedisServer, node: Node, messages: dict[str, bytes]) -> None:
    """Publish each by hand; the node refuses it."""
    async with Redis.from_url(redis.url) as hand:
        for name, message in messages.items():
            before = node.manager.refused
            assert await hand.publish(TOPIC, message) == 2, name
            await refused(node, before + 1)


async def refused(node: Node, count: int) -> None:
    """Wait until a node has refused so many."""
    await until(lambda: node.manager.refused == count)


async def is_whole(one: Node, another: Node, first: Client, second: Client) -> None:
    """The clients have had nothing and lost nothing, and the nodes are one as before."""
    await one.tell("in the den", room="den")
    await another.tell("end")
    for client in (first, second):
        assert client.sio.connected
        assert await received(client, "end") == []
    await one.tell("for one", room=second.sio.get_sid())
    assert await second.next("news") == "for one"


@pytest.mark.parametrize("keys", [[], [KEY]], ids=["open", "sealed"])
async def test_48_what_is_no_message_does_nothing(
    redis: RedisServer, keys: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """With keys and without; it is counted where the operator looks, and the log has one line a minute."""
    async with two(redis.url, keys=keys) as (one, another, first, second):
        seal = Seal(keys)
        await refuses(redis, one, {name: seal.close(wrong, TOPIC.encode()) for name, wrong in WRONG.items()})
        await refused(another, len(WRONG))
        await is_whole(one, another, first, second)
        said = f"[+]health/redis ok: {len(WRONG)} messages were refused: a server has other plugins.redis.keys"
        assert said in (await one.ready())[1]
    assert caplog.text.count("a message from Redis is refused: it is malformed") == 2  # one of each server
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("how", ["no seal", "another key", "another place", "changed"])
async def test_48_what_has_no_seal_of_ours_does_nothing(redis: RedisServer, how: str) -> None:
    """However right it is: nobody is disconnected, sent something, or put into a room."""
    ours, theirs, place = Seal([KEY]), Seal(["a key of somebody else"]), TOPIC.encode()
    seals = {
        "no seal": lambda content: content,
        "another key": lambda content: theirs.close(content, place),
        "another place": lambda content: ours.close(content, b"{jackfield}:elsewhere"),
        "changed": lambda content: ours.close(content, place)[:-1] + b" ",
    }
    async with two(redis.url, keys=[KEY]) as (one, another, first, second):
        right = forged(second.sio.get_sid())
        found = {name: seals[how](encode("x", 1, message)) for name, message in right.items()}
        await refuses(redis, another, found)
        await is_whole(one, another, first, second)
        async with Redis.from_url(redis.url) as hand:  # with the right one it would have been believed
            await hand.publish(TOPIC, ours.close(encode("x", 1, right["emit"]), place))
            assert await second.next("news") == "forged"


async def test_48_what_is_said_again_does_nothing(redis: RedisServer) -> None:
    """A message that somebody has heard and repeats is refused by those who have heard it."""
    async with two(redis.url, keys=[KEY]) as (one, another, first, second), Redis.from_url(redis.url) as hand:
        async with hand.pubsub() as ear:
            await ear.subscribe(TOPIC)
            await ear.get_message(timeout=20)
            for number in range(3):
                await one.tell(number)
            heard = [await ear.get_message(timeout=20) for _ in range(3)]
            assert [await second.next("news") for _ in range(3)] == [0, 1, 2]
            for number, message in enumerate(heard):
                assert message is not None
                await hand.publish(TOPIC, message["data"])
                await refused(another, number + 1)
        await one.tell("end")
        assert await received(second, "end") == []
        assert await received(first, "end") == [0, 1, 2]


async def test_48_a_key_is_changed_without_a_gap(redis: RedisServer) -> None:
    """Servers with the old one, with both, and with the new one: each step of two follows the one before."""
    new = "another key of ours, long enough"
    steps = [[KEY], [KEY, new], [new, KEY], [new]]
    for before, after in itertools.pairwise(steps):
        async with two(redis.url, keys=before) as (one, _, _, _), two(redis.url, keys=after) as (another, _, first, _):
            await one.tell("from before")
            assert await first.next("news") == "from before"
            await another.tell("from after")
            assert await first.next("news") == "from after"
            assert (one.manager.refused, another.manager.refused) == (0, 0)
    async with two(redis.url, keys=[KEY]) as (one, _, _, _), two(redis.url, keys=[new]) as (another, _, first, _):
        await one.tell("not of ours")
        await refused(another, 1)
        await another.tell("end")
        assert await received(first, "end") == []


# ------------------------------------------------------------------- the bytes by themselves


@always(event=st.text(max_size=20), arguments=st.lists(values, max_size=3), number=st.integers(1, 2**62))
def test_48_what_is_encoded_is_decoded(event: str, arguments: list[Any], number: int) -> None:
    """Whatever is told; an answer with its Buffers."""
    told = {"method": "callback", "host_id": "h", "sid": "s", "namespace": event, "id": 1, "args": tuple(arguments)}
    found = decode(encode("x", number, told))
    assert found == {"v": 1, "from": "x", "n": number, **told, "args": arguments, "binary": False}


@always(few=300, many=20_000, content=st.binary() | damaged(st.sampled_from([whole(), *WRONG.values()][:8])))
def test_48_bytes_are_a_message_or_malformed(content: bytes) -> None:
    """And nothing else, whatever they are."""
    with contextlib.suppress(Malformed):
        assert decode(content)["v"] == 1


@always(keys=st.lists(st.text(min_size=1), min_size=1, max_size=3, unique=True), content=st.binary(), place=st.binary())
def test_48_each_key_opens_and_no_other(keys: list[str], content: bytes, place: bytes) -> None:
    """For the place that it was sealed for."""
    for key in keys:
        sealed = Seal([key]).close(content, place)
        assert Seal(keys).open(sealed, place) == content
        assert Seal(keys).open(sealed, place + b"x") is None
        assert Seal([f"{key}x"]).open(sealed, place) is None
        assert Seal(keys).open(sealed[:-1], place) is None
    assert Seal([]).open(Seal([]).close(content, place), place) == content
