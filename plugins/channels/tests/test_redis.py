"""Channels in a real Redis: what several servers have in common, and what becomes of it when Redis loses something."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from redis import Redis

from jackfield import CallError, Json, Position
from jackfield.testing import serve
from jackfield_channels.presence import Change, Member
from jackfield_channels.redis_engine import RedisEngine
from jackfield_channels.redis_store import RedisStore
from jackfield_channels.settings import ChannelsSettings
from jackfield_channels.store import Bounds, Keep, Page, Publication, State, join
from plugins.channels.tests.calls import publish, subscribe
from plugins.channels.tests.conftest import age
from tests.support.redis import RedisServer
from tests.support.waiting import until

TEN = Keep(10, 60)
PREFIX = "{jackfield:channels}:"


class Node:
    """One server's part of it, without the server."""

    def __init__(self, url: str, **more: Any) -> None:
        self.told: list[Publication] = []
        self.followed: dict[str, Position | None] = {}
        self.moved: list[tuple[str, Position]] = []
        self.changes: list[tuple[str, Change, Member]] = []
        self.interruptions = 0
        bounds = Bounds(100, 10**9, remember=more.pop("remember", 1000), dedup=more.pop("dedup", 100))
        settings = ChannelsSettings(store="redis", redis_url=SecretStr(url), **more)
        engine = RedisEngine(settings, bounds, lambda: self.followed, self._move, self._change, self._interrupt)
        self.store, self.presence = engine.store, engine.presence

    def _move(self, channel: str, position: Position) -> None:
        if channel in self.followed:
            self.moved.append((channel, position))

    def _change(self, *change: Any) -> None:
        self.changes.append(change)

    def _interrupt(self) -> None:
        self.interruptions += 1

    async def put(self, channel: str = "a", value: int = 0, keep: Keep = TEN) -> Position:
        return await self.store.append(channel, Json(b"%d" % value), keep, None)

    async def kept(self, channel: str = "a") -> tuple[int, list[int]]:
        page = await self.store.read(channel, 0, 100)
        return page.state.floor, [one.position.offset for one in page.publications]

    async def heard(self) -> None:
        """Return when it has heard of everything that was published before."""
        await self.store.state("anything")


@pytest.fixture
def client(redis: RedisServer) -> Iterator[Redis]:
    """Somebody else who can reach Redis, in which nothing is yet."""
    with Redis.from_url(redis.url) as client:
        client.flushall()
        yield client


@pytest.fixture
async def make(redis: RedisServer, client: Redis) -> AsyncIterator[Any]:
    """Makes servers' parts, which the test's end closes."""
    async with AsyncExitStack() as stack:

        async def made(**more: Any) -> Node:
            node = Node(redis.url, **more)
            await node.store.open(node.told.append)
            stack.push_async_callback(node.store.close)
            return node

        yield made


# ------------------------------------------------------------------- publications


async def test_all_servers_are_told_in_one_order(make: Any) -> None:
    """Whichever of them publishes."""
    one, other = await make(), await make()
    for value in range(20):
        await (one if value % 3 else other).put(value=value)
    await one.heard()
    await other.heard()
    assert [at.position.offset for at in one.told] == list(range(1, 21))
    assert one.told == other.told


async def test_what_is_large_is_told_too(make: Any) -> None:
    """Publications of many megabytes, some at once."""
    one, other = await make(max_data=16 * 2**20), await make()
    data = Json(b'{"_placeholder":true,"num":0}', (bytes(15 * 2**20),))
    await asyncio.gather(*(one.store.append("a", data, TEN, None) for _ in range(4)))
    await other.heard()
    assert [at.data for at in other.told] == [data] * 4
    assert (one.interruptions, other.interruptions) == (1, 1)


@pytest.mark.parametrize(
    ("size", "readers"),
    [
        (4 * 2**20, 100),
        pytest.param(16 * 2**20, 50, marks=pytest.mark.full),
        pytest.param(2**20, 2000, marks=pytest.mark.full),
    ],
)
async def test_many_read_what_is_large(make: Any, client: Redis, size: int, readers: int) -> None:
    """As when all subscribers come back at once: Redis is not taken for away, because it has so much to do."""
    node = await make(max_data=size)
    data = Json(b"0", (bytes(size - 1),))
    await node.store.append("a", data, TEN, None)

    async def read() -> bool:
        found: Page = await node.store.read("a", 0, 100)
        return found.publications[0].data == data

    assert all(await asyncio.gather(*(read() for _ in range(readers))))
    assert node.store.trouble() is None


async def test_a_channel_that_has_subscribers_is_known_on(make: Any, client: Redis) -> None:
    """From one look to the next, however short the time is after which others are forgotten."""
    node = await make(remember=1)
    node.followed["a"] = at = await node.put(keep=Keep(0, 1))
    for _ in range(2):
        age(client, 30)
        await node.store.sweep()
    assert await node.put() == Position(2, at.epoch)


async def test_no_time_is_too_short(make: Any) -> None:
    """For ids and history, as the settings allow it."""
    node = await make(dedup=0.0001)
    at = await node.store.append("a", Json(b"1"), Keep(10, 0.0001), "id")
    await node.heard()
    assert [one.position for one in node.told] == [at]


async def test_a_channel_that_rests_is_forgotten(make: Any, client: Redis) -> None:
    """So long after its history; one that has subscribers, or is asked for, is known on."""
    node = await make(remember=1000)
    epochs = {name: (await node.put(name, keep=Keep(1, 2000))).epoch for name in ("used", "asked", "old")}
    node.followed["used"] = None
    for seconds in (1500, 999, 999):
        age(client, seconds)
        await node.store.sweep()
        assert (await node.store.state("asked")).epoch == epochs["asked"]
    found = {name: await node.store.state(name) for name in epochs}
    assert {name: state.epoch == epochs[name] for name, state in found.items()} == {
        "used": True,
        "asked": True,
        "old": False,
    }
    assert {name: (state.top, state.floor) for name, state in found.items()} == {
        "used": (1, 1),
        "asked": (1, 1),
        "old": (0, 0),
    }


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), min_size=1, max_size=8), size=st.integers(1, 20)
)
async def test_what_has_expired_is_never_read(
    make: Any, client: Redis, steps: list[tuple[int, int]], size: int
) -> None:
    """However many at once have: what is left is what a model has left."""
    client.flushall()
    node = await make()
    top = 0
    model: list[tuple[int, int]] = []
    for count, seconds in steps:
        for _ in range(count):
            top = (await node.put(keep=Keep(size, 60))).offset
            model = [*model, (top, 60)][-size:]
        age(client, seconds)
        model = [(offset, left - seconds) for offset, left in model if left > seconds]
        kept = [offset for offset, _ in model]
        assert await node.kept() == (kept[0] - 1 if kept else top, kept)


async def test_a_channel_that_keeps_nothing_any_more_has_no_hole(make: Any) -> None:
    """As after a change of its rule: what was kept goes with the first publication that is not."""
    node = await make()
    await node.put()
    at = await node.put(keep=Keep(0, 60))
    assert await node.store.state("a") == State(at.epoch, 2, 2)
    await node.put()
    assert await node.kept() == (2, [3])


async def test_what_redis_has_refused_has_no_offset(make: Any, client: Redis) -> None:
    """Or somebody would be told of having missed what nobody has published."""
    node = await make()
    at = await node.put()
    client.delete(f"{PREFIX}log:a")
    client.set(f"{PREFIX}log:a", "somebody else's")
    for _ in range(3):
        with pytest.raises(CallError, match=r"^unavailable: "):
            await node.put()
    client.delete(f"{PREFIX}log:a")
    assert await node.put() == Position(2, at.epoch)


# ------------------------------------------------------------------- what Redis loses


async def test_a_lost_history_is_told_by_the_floor(make: Any, client: Redis) -> None:
    """As when Redis needs the room: offsets go on."""
    node = await make()
    at = await node.put()
    client.delete(f"{PREFIX}log:a")
    assert await node.store.state("a") == State(at.epoch, 1, 1)


async def test_a_lost_count_is_another_epoch(make: Any, client: Redis) -> None:
    """And nothing of the old one is left."""
    node = await make()
    at = await node.put()
    node.followed["a"] = at
    client.delete(f"{PREFIX}meta:a")
    await node.store.sweep()
    await node.heard()
    ((_, now),) = node.moved
    assert now.offset == 0
    assert now.epoch != at.epoch
    assert await node.kept() == (0, [])


async def test_an_epoch_that_changes_during_a_subscription_does_not_change_back(
    make: Any, client: Redis, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the answer has come before, and is looked at afterwards: nobody goes back to what is lost."""
    kept = {"match": "*", "history": 10, "publish": True}
    node = await make()
    state = RedisStore.state
    holes: list[tuple[str, str]] = []
    heard: list[tuple[str, str]] = []

    async def late(self: RedisStore, channel: str) -> State:
        found = await state(self, channel)
        client.flushall()
        await node.put()
        await until(lambda: holes)
        return found

    def follow(name: str) -> dict[str, Any]:
        return {
            "missed": lambda told: holes.append((name, told["epoch"])),
            "channel": lambda told: heard.append((name, told["data"])),
        }

    async with serve("channels", settings={"store": "redis", "redis_url": redis.url, "rules": [kept]}) as kernel:
        one, other = await kernel.connect(on=follow("one")), await kernel.connect(on=follow("other"))
        await subscribe(one, "a")
        old = await publish(one, "a", "first")
        monkeypatch.setattr(RedisStore, "state", late)
        assert (await subscribe(other, "a"))["epoch"] == old["epoch"]
        await until(lambda: len(holes) == 2)
        new = await publish(one, "a", "next")
        await until(lambda: len(heard) == 3)
    assert holes == [("one", new["epoch"]), ("other", new["epoch"])]
    assert heard == [("one", "first"), ("one", "next"), ("other", "next")]


async def test_an_older_copy_is_another_epoch(make: Any, client: Redis) -> None:
    """Of which the servers know that have seen more: as after a failover, or a restart from yesterday's snapshot."""
    node = await make()
    await node.put()
    old: Any = client.dump(f"{PREFIX}meta:a")
    at = await node.put()
    node.followed["a"] = at
    client.restore(f"{PREFIX}meta:a", 0, old, replace=True)
    await node.store.sweep()
    await node.heard()
    ((_, now),) = node.moved
    assert now.offset == 0
    assert now.epoch != at.epoch
    assert (await node.put()).offset == 1
    assert await node.kept() == (0, [1])


async def test_a_new_connection_looks_how_far_channels_are(make: Any, client: Redis) -> None:
    """Before anything is published through it."""
    node, other = await make(), await make()
    node.followed["a"] = await node.put()
    assert node.interruptions == 1  # before it was there for the first time
    client.client_kill_filter(_type="pubsub")
    at = await _published(other)
    await until(lambda: node.interruptions > 1 and ("a", at) in node.moved)


async def test_who_has_a_pattern_before_redis_is_there_is_told(redis: RedisServer, client: Redis) -> None:
    """That nobody knows how much was published until then by other servers."""
    redis.pause()
    try:
        async with serve("channels", settings={"store": "redis", "redis_url": redis.url}) as kernel:
            follower = await kernel.connect()
            await subscribe(follower, "*")
            redis.resume()
            told = await follower.next_event("missed")
            assert told == {"channel": "*", "epoch": None, "offset": None, "missed": None}
    finally:
        redis.resume()


async def _published(node: Node) -> Position:
    """Publish as soon as that can be done."""
    while True:
        try:
            return await node.put()
        except CallError:
            await until(lambda: node.store.trouble() is None)


async def test_a_redis_that_refuses_is_told_of_once(make: Any, client: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """Here for want of memory: calls are unavailable, and it heals by itself."""
    node = await make()
    at = await node.put()
    client.config_set("maxmemory", 1)
    try:
        for _ in range(2):
            with pytest.raises(CallError, match=r"^unavailable: The channel cannot be read or written now\.$"):
                await node.put()
        assert "maxmemory" in str(node.store.trouble())
    finally:
        client.config_set("maxmemory", 0)
    assert await node.put() == Position(2, at.epoch)
    assert node.store.trouble() is None
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


async def test_who_does_not_publish_is_told_nothing_of_ids(make: Any, redis: RedisServer) -> None:
    """It can ask again, whatever has become of its question."""
    node = await make()
    await node.heard()
    redis.pause()
    try:
        answers = await asyncio.gather(node.store.read("a", 0, 1), node.store.state("a"), return_exceptions=True)
    finally:
        redis.resume()
    assert [str(answer) for answer in answers] == ["unavailable: The channel cannot be read or written now."] * 2


async def test_a_redis_that_refuses_some_is_told_of_once_too(
    make: Any, client: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """A full one still reads, and that is no reason to take it for well."""
    node = await make()
    await node.put()
    client.config_set("maxmemory", 1)
    try:
        for _ in range(3):
            for keep in (TEN, Keep(0, 60)):
                with pytest.raises(CallError):
                    await node.put(keep=keep)
            assert await node.kept() == (0, [1])
            assert "maxmemory" in str(node.store.trouble())
        with pytest.raises(CallError):
            await node.store.sweep()
    finally:
        client.config_set("maxmemory", 0)
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


async def test_a_redis_that_refused_is_tried_again_by_itself(make: Any, client: Redis) -> None:
    """A server that is not ready gets no calls, which could find it out."""
    node = await make()
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(CallError):
            await node.put()
    finally:
        client.config_set("maxmemory", 0)
    assert node.store.trouble() is not None
    await node.store.sweep()
    assert node.store.trouble() is None


# ------------------------------------------------------------------- who else writes into Redis


NEWS = f"{PREFIX}news"
KEY, NEXT = "a key of sixteen or more", "the key that comes after it"


@pytest.mark.parametrize(
    "forged",
    [
        b"garbage",
        b"\xff" * 100,
        join([b"a", b"e"]),
        join([b"a", b"e", b"one", join([b"1"])]),
        join([b"\xff", b"e", b"1", join([b"1"])]),
        join([b"a", b"e", b"-1", b""]),
        join([b"a", b"e", b"1", b"\x00\x00\x00\x09x"]),
    ],
)
async def test_48_what_makes_no_sense_is_refused(
    make: Any, client: Redis, caplog: pytest.LogCaptureFixture, forged: bytes
) -> None:
    """By every topic; what comes after it is taken."""
    node = await make()
    for topic in (NEWS, f"{PREFIX}presence", node.store._link.own):
        client.publish(topic, forged)
    await node.put()
    await node.heard()
    assert [one.position.offset for one in node.told] == [1]
    assert node.changes == []
    assert "it is none of our servers'" in caplog.text


async def test_48_what_has_no_seal_is_refused(make: Any, client: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """With keys nobody can make up what was published, or who is there; what was published can be repeated only."""
    node, stranger = await make(redis_keys=[KEY]), await make()
    await stranger.put()
    stranger.presence.enter("a", Member("c", None, 1))
    at = await node.put()
    await node.heard()
    assert at.offset == 2
    assert [one.position.offset for one in node.told] == [2]
    assert node.changes == []
    assert (await node.presence.members("a"))[1] == []
    assert "it is none of our servers'" in caplog.text
    page = await node.store.read("a", 0, 100)
    assert page.publications == []  # a history ends where one of it is forged, as if no more was kept
    assert [one.position.offset for one in (await node.store.read("a", 1, 100)).publications] == [2]


async def test_48_a_seal_is_for_one_channel(make: Any, client: Redis) -> None:
    """What was published to one is no publication of another one."""
    node = await make(redis_keys=[KEY])
    await node.put("a")
    found: Any = client.xrange(f"{PREFIX}log:a")
    ((_, fields),) = found
    client.publish(NEWS, join([b"b", b"e", b"1", fields[b"body"]]))
    await node.heard()
    assert [one.channel for one in node.told] == ["a"]


async def test_48_keys_are_changed_without_a_gap(make: Any) -> None:
    """The new one is known everywhere before it seals."""
    steps = ([KEY], [KEY, NEXT], [NEXT, KEY], [NEXT])
    nodes = [await make(redis_keys=keys) for keys in steps]
    for old, new in pairwise(nodes):
        old.told.clear()
        new.told.clear()
        ats = [await old.put(), await new.put()]
        for node in (old, new):
            await node.heard()
            assert [one.position for one in node.told][-2:] == ats


async def test_48_a_history_ends_where_it_makes_no_sense(make: Any, client: Redis, redis: RedisServer) -> None:
    """Who needs more of it is told what is missing, and gets what comes next."""
    kept = {"match": "*", "history": 10, "publish": True}
    settings = {"store": "redis", "redis_url": redis.url, "rules": [kept]}
    async with serve("channels", settings=settings) as kernel:
        follower = await kernel.connect()
        at, _ = await publish(follower, "a"), await publish(follower, "a")
        client.delete(f"{PREFIX}log:a")
        client.xadd(f"{PREFIX}log:a", {"expires": 2**50, "body": b"garbage"}, id="2-0")
        answer = await subscribe(follower, "a", since=at)
        assert (answer["recovered"], answer["replayed"]) == (True, 1)
        assert await follower.next_event("missed") == {**at, "channel": "a", "offset": 2, "missed": 1}
        await publish(follower, "a", "next")
        assert (await follower.next_event("channel"))["data"] == "next"


async def test_48_the_log_is_not_filled_by_strangers(
    make: Any, client: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """However much they say."""
    node, stranger = await make(redis_keys=[KEY]), await make()
    for _ in range(50):
        await stranger.put()
    await node.heard()
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


# ------------------------------------------------------------------- presence


async def test_all_servers_know_who_is_there(make: Any) -> None:
    """And are told who comes and goes, once."""
    one, other = await make(), await make()
    ann, bob = Member("c1", "ann", {"name": "Ann"}), Member("c2", None, None)
    one.presence.enter("a", ann)
    one.presence.enter("a", Member("c1", "ann", "otherwise"))
    other.presence.enter("a", bob)
    other.presence.leave("a", "nobody")
    await other.heard()
    count, members = await one.presence.members("a")
    assert count == 2
    assert sorted(member.client for member in members) == ["c1", "c2"]
    assert Member("c1", "ann", "otherwise") in members
    one.presence.leave("a", "c1")
    await one.heard()
    assert await other.presence.members("a") == (1, [bob])
    await other.heard()
    assert sorted(one.changes, key=repr) == sorted(other.changes, key=repr)
    assert [(change, member) for _, change, member in one.changes if member.client == "c1"] == [
        ("join", ann),
        ("leave", Member("c1", "ann", "otherwise")),
    ]


async def test_so_many_members_are_listed(make: Any) -> None:
    """With more nobody is told who comes and goes."""
    node = await make(max_members=2)
    for number in range(4):
        node.presence.enter("a", Member(f"c{number}", None, None))
    count, members = await node.presence.members("a")
    assert (count, len(members)) == (4, 2)
    for number in range(4):
        node.presence.leave("a", f"c{number}")
    await node.heard()
    assert [change for _, change, _ in node.changes] == ["join", "join", "leave", "leave", "leave"]


async def test_47_members_of_a_server_that_has_gone_go_too(make: Any, client: Redis) -> None:
    """After half a minute at the most, since each server says every five seconds that it is there."""
    one, other = await make(), await make()
    for channel in ("a", "b"):
        one.presence.enter(channel, Member("c1", None, None))
    other.presence.enter("a", Member("c2", None, None))
    await one.presence.sweep()
    await other.presence.sweep()
    assert (await other.presence.members("a"))[0] == 2
    age(client, 14)
    await other.presence.sweep()
    assert (await other.presence.members("a"))[0] == 2
    age(client, 2)
    await other.presence.sweep()
    assert await other.presence.members("a") == (1, [Member("c2", None, None)])
    assert await other.presence.members("b") == (0, [])
    await other.heard()
    assert sorted((channel, member.client) for channel, change, member in other.changes if change == "leave") == [
        ("a", "c1"),
        ("b", "c1"),
    ]
    # It was only cut off, and comes back: what is true by now holds.
    one.presence.leave("b", "c1")
    client.client_kill_filter(_type="pubsub")
    await until(lambda: one.interruptions > 1 and one.store.trouble() is None)
    await until(lambda: other.interruptions > 1 and other.store.trouble() is None)
    assert (await other.presence.members("a"))[0] == 2
    assert (await other.presence.members("b"))[0] == 0


async def test_47_all_members_of_a_server_that_has_gone_go_at_once(make: Any, client: Redis) -> None:
    """However many these are."""
    one, other = await make(max_members=3000), await make(max_members=3000)
    for number in range(2500):
        one.presence.enter("a", Member(f"c{number}", None, None))
    await one.presence.sweep()
    await one.store.close()
    age(client, 16)
    await other.presence.sweep()
    assert await other.presence.members("a") == (0, [])
    assert client.smembers(f"{PREFIX}servers") == {other.store._link.id.encode()}


async def test_47_members_of_a_server_that_was_held_up_come_back(make: Any, client: Redis) -> None:
    """It says too late that it is there, as after a suspended machine, and has never lost its connection."""
    one, other = await make(), await make()
    ann, bob = Member("c1", "ann", 1), Member("c2", "bob", 2)
    one.presence.enter("a", ann)
    other.presence.enter("a", bob)
    for node in (one, other):
        await node.presence.sweep()
    age(client, 16)
    await other.presence.sweep()
    assert await other.presence.members("a") == (1, [bob])
    await one.presence.sweep()
    assert (await other.presence.members("a"))[0] == 2
    assert one.interruptions == 1


async def test_members_that_redis_has_lost_come_back(make: Any, client: Redis) -> None:
    """With all that it had."""
    node = await make()
    ann = Member("c1", "ann", 1)
    node.presence.enter("a", ann)
    await node.presence.sweep()
    client.flushall()
    await node.presence.sweep()
    assert await node.presence.members("a") == (1, [ann])


async def test_members_that_redis_has_refused_come_later(make: Any, client: Redis) -> None:
    """When it has room for them; that it has none is not an error that nobody foresaw."""
    node = await make()
    ann = Member("c1", "ann", 1)
    client.config_set("maxmemory", 1)
    try:
        node.presence.enter("a", ann)
        with pytest.raises(CallError, match=r"^unavailable: "):
            await node.presence.sweep()
        assert await node.presence.members("a") == (0, [])
    finally:
        client.config_set("maxmemory", 0)
    await node.presence.sweep()
    assert await node.presence.members("a") == (1, [ann])


async def test_what_was_over_while_redis_was_away_is_forgotten(make: Any, client: Redis, redis: RedisServer) -> None:
    """Whoever has left meanwhile is no member, whoever has come is one."""
    node = await make()
    node.presence.enter("a", Member("c1", None, None))
    node.presence.enter("a", Member("c2", None, None))
    assert (await node.presence.members("a"))[0] == 2
    redis.pause()
    try:
        with pytest.raises(CallError, match=r"^unavailable: It is not known now who is there\.$"):
            await node.presence.members("a")
        node.presence.leave("a", "c1")
        node.presence.enter("a", Member("c3", None, {"n": 1}))
    finally:
        redis.resume()
    await until(lambda: node.store.trouble() is None)
    count, members = await node.presence.members("a")
    assert count == 2
    assert {member.client: member.data for member in members} == {"c2": None, "c3": {"n": 1}}
