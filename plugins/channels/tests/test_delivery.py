"""Who gets what: in order, once, after the reply, and with a word where something is missing."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from jackfield import Call, CallError, Position, Proceed, hookimpl
from jackfield.testing import Client, serve
from plugins.channels.tests.calls import publish, subscribe
from plugins.channels.tests.cutting import Insider, arrived, cut_at_random
from plugins.channels.tests.following import Follower
from tests.support.judge import Seen, judge
from tests.support.waiting import until
from tests.support.wire import wire


class Slowly:
    """Wraps calls, and lets others go first before a result becomes a reply."""

    @hookimpl
    async def jackfield_call(self, call: Call, proceed: Proceed) -> object:
        result = await proceed()
        for _ in range(5):
            await asyncio.sleep(0)
        return result


@pytest.fixture
def rules() -> list[dict[str, Any]]:
    return [
        {"match": "kept.*", "history": 1000, "publish": True},
        {"match": "short.*", "history": 5, "publish": True, "slow": "skip"},
        {"match": "skip.*", "publish": True, "slow": "skip"},
        {"match": "*", "publish": True},
    ]


@pytest.fixture
def jackfield_settings(tmp_path: Path, rules: list[dict[str, Any]]) -> dict[str, object]:
    return {"path": tmp_path / "channels.sqlite3", "rules": rules, "max_data": 1_000_000}


async def data(client: Client, count: int) -> list[Any]:
    """Return the data of the next publications, which have to be one after the other."""
    events = [await client.next_event("channel") for _ in range(count)]
    offsets = [event["offset"] for event in events]
    assert offsets == list(range(offsets[0], offsets[0] + count))
    return [event["data"] for event in events]


def since(event: dict[str, Any]) -> dict[str, Any]:
    return {"epoch": event["epoch"], "offset": event["offset"]}


@pytest.mark.parametrize("channel", ["kept.a", "open.a"])
async def test_a_publication_reaches_every_subscriber_once(jackfield_kernel, channel):
    """And nobody else; in the order of offsets, whoever publishes; twice subscribed is once."""
    clients = [await jackfield_kernel.connect() for _ in range(10)]
    for client in clients[1:]:
        await subscribe(client, channel)
    await subscribe(clients[1], channel)
    await asyncio.gather(*(publish(client, channel, number) for number, client in enumerate(clients)))
    heard = [await data(client, 10) for client in clients[1:]]
    assert all(one == heard[0] for one in heard)
    assert sorted(heard[0]) == list(range(10))
    await clients[1].call("api.channels.unsubscribe", {"channel": channel})
    await publish(clients[0], channel, "last")
    assert await data(clients[2], 1) == ["last"]
    await subscribe(clients[0], channel)
    await subscribe(clients[1], channel)
    await publish(clients[0], channel, "very last")
    assert await data(clients[0], 1) == await data(clients[1], 1) == ["very last"]


async def test_the_event_is_the_same_for_all(jackfield_client):
    """With Buffers, too."""
    await subscribe(jackfield_client, "kept.a")
    at = await publish(jackfield_client, "kept.a", {"a": b"\x00", "b": None})
    assert await jackfield_client.next_event("channel") == {
        "channel": "kept.a",
        "offset": 1,
        "epoch": at["epoch"],
        "data": {"a": b"\x00", "b": None},
    }


@pytest.mark.parametrize("channel", ["kept.a", "open.a"])
async def test_the_reply_comes_before_what_is_newer(jackfield_settings, channel):
    """On the wire, while others publish without a pause; the first publication is the one after the reply's."""
    insider = Insider()
    neighbours = {"insider": insider, "slowly": Slowly()}
    async with serve("channels", settings=jackfield_settings, neighbours=neighbours, network=True) as kernel:

        async def publish_some() -> Position:
            return [await insider.kernel.publish(channel, "x") for _ in range(40)][-1]

        for _ in range(20):
            async with wire(kernel.url) as client:
                publishing = asyncio.create_task(publish_some())
                await client.send(f'420["event",{{"event":"api.channels.subscribe","data":{{"channel":"{channel}"}}}}]')
                reply = str(await client.receive())
                assert reply.startswith('430[{"data":{"epoch":')
                offset = int(reply.partition('"offset":')[2].partition(",")[0])
                newest = (await publishing).offset
                for number in range(offset + 1, newest + 1):
                    event = str(await client.receive())
                    assert event.startswith(f'42["channel",{{"channel":"{channel}","offset":{number},')


async def test_what_was_missed_comes_first(jackfield_kernel):
    """All of it, in order, and then what is new."""
    one, two = await jackfield_kernel.connect(), await jackfield_kernel.connect()
    await subscribe(two, "kept.a")
    await publish(one, "kept.a", 0)
    last = await two.next_event("channel")
    await two.disconnect()
    for number in range(1, 251):
        await publish(one, "kept.a", number)
    two = await jackfield_kernel.connect()
    answer, at = await asyncio.gather(subscribe(two, "kept.a", since=since(last)), publish(one, "kept.a", 251))
    assert answer["recovered"] is True
    assert answer["replayed"] == answer["offset"] - 1 >= 250
    assert await data(two, 251) == list(range(1, 252))
    assert at["offset"] == 252


async def test_nothing_missed_is_recovered_too(jackfield_kernel):
    """Whether there is a history or not: what counts is that the position is known."""
    client = await jackfield_kernel.connect()
    for channel in ("kept.a", "open.a"):
        before = await subscribe(client, channel)
        again = await subscribe(client, channel, since=since(before))
        assert again == {**before, "recovered": True, "replayed": 0}
        at = await publish(client, channel, "one")
        again = await subscribe(client, channel, since=at)
        assert (again["recovered"], again["replayed"]) == (True, 0)
        await publish(client, channel, "two")
        assert await data(client, 2) == ["one", "two"]


@pytest.mark.parametrize(
    ("channel", "offset", "epoch"),
    [("short.a", 4, None), ("short.a", 11, None), ("short.a", 10, "another"), ("open.a", 9, None)],
)
async def test_what_cannot_be_recovered_is_not_in_part(jackfield_client, channel, offset, epoch):
    """Too old, of the future, of another epoch, without a history: nothing is replayed, and what is new comes."""
    for number in range(10):
        at = await publish(jackfield_client, channel, number)
    answer = await subscribe(jackfield_client, channel, since={"epoch": epoch or at["epoch"], "offset": offset})
    assert answer == {**at, "recovered": False, "replayed": 0}
    await publish(jackfield_client, channel, "new")
    assert await jackfield_client.next_event("channel") == {
        "channel": channel,
        "offset": 11,
        "epoch": at["epoch"],
        "data": "new",
    }


async def test_patterns(jackfield_kernel):
    """Every channel that they stand for, each publication once, with its own channel."""
    one, two = await jackfield_kernel.connect(), await jackfield_kernel.connect()
    answer = await subscribe(one, "orders.*")
    assert answer == {"epoch": None, "offset": None, "recovered": None, "replayed": 0}
    for pattern in ("orders.*", "orders.eu.*", "*", "orders.eu.7"):
        await subscribe(two, pattern)
    for channel in ("orders.7", "orders.eu.7", "orders", "kept.a"):
        await publish(one, channel, channel)

    async def heard(client: Client, count: int) -> list[tuple[str, Any]]:
        events = [await client.next_event("channel") for _ in range(count)]
        return [(event["channel"], event["data"]) for event in events]

    assert await heard(one, 2) == [("orders.7", "orders.7"), ("orders.eu.7", "orders.eu.7")]
    assert await heard(two, 4) == [(name, name) for name in ("orders.7", "orders.eu.7", "orders", "kept.a")]
    await one.call("api.channels.unsubscribe", {"channel": "orders.*"})
    await publish(two, "orders.8")
    await subscribe(one, "orders.*")
    await publish(two, "orders.9", 9)
    assert await heard(one, 1) == [("orders.9", 9)]


async def test_a_pattern_a_second_time_has_no_gap(jackfield_settings):
    """Nothing says where it begins, so nothing may be missing."""
    insider = Insider()
    neighbours = {"slowly": Slowly(), "insider": insider}
    async with serve("channels", settings=jackfield_settings, neighbours=neighbours) as kernel:
        client = await kernel.connect()
        await subscribe(client, "*")
        again = asyncio.create_task(subscribe(client, "*"))
        for number in range(50):
            await insider.kernel.publish("open.a", number)
        await again
        assert await data(client, 50) == list(range(50))


async def test_a_plugin_publishes_through_the_kernel(jackfield_settings):
    """To whichever channel, whatever the rules say of clients; its mistakes are told like anybody's."""
    insider = Insider()
    async with serve("channels", settings={}, neighbours={"insider": insider}) as kernel:
        client = await kernel.connect()
        await subscribe(client, "news")
        at = await insider.kernel.publish("news", {"n": 1})
        assert at == Position(1, at.epoch)
        assert await insider.kernel.publish("news", 2, id="x") == await insider.kernel.publish("news", 3, id="x")
        assert await data(client, 2) == [{"n": 1}, 2]
        for channel, code in (("a b", "invalid_argument"), ("a.*", "invalid_argument")):
            with pytest.raises(CallError) as error:
                await insider.kernel.publish(channel)
            assert error.value.code == code
        with pytest.raises(CallError, match=r"^resource_exhausted: The publication has 65,538 bytes, and may have"):
            await insider.kernel.publish("news", "x" * 65_536)


async def test_200_subscribers_get_the_same_bytes(jackfield_settings, monkeypatch):
    """What is sent is encoded once, not once for each."""
    sent: list[object] = []
    insider = Insider()
    async with serve("channels", settings=jackfield_settings, neighbours={"insider": insider}) as kernel:
        clients = [await kernel.connect() for _ in range(200)]
        await asyncio.gather(*(subscribe(client, "kept.a") for client in clients[:150]))
        await asyncio.gather(*(subscribe(client, "kept.*") for client in clients[100:]))
        from jackfield._transport.peer import Peer

        offer = Peer.offer

        def noted(self: Peer, message: Any, *, volatile: bool) -> bool:
            sent.append(message)
            return offer(self, message, volatile=volatile)

        monkeypatch.setattr(Peer, "offer", noted)
        await insider.kernel.publish("kept.a", "news")
        assert [(await client.next_event("channel"))["data"] for client in clients] == ["news"] * 200
    assert len(sent) == 200
    assert len({id(one) for one in sent}) == 1


# ------------------------------------------------------------------- slow subscribers

LARGE = "x" * 50_000


async def fill(slow: Client, channel: str, quick: Client) -> None:
    """Publish three times, of which the third is more than the server takes for a client that does not read."""
    slow.stop_reading()
    for _ in range(3):
        await publish(quick, channel, LARGE)
        await quick.next_event("channel")


async def test_who_was_skipped_learns_of_it(jackfield_kernel):
    """When it reads again: up to where, and how much; what is newer comes after that."""
    slow, quick = await jackfield_kernel.connect(), await jackfield_kernel.connect()
    for client in (slow, quick):
        await subscribe(client, "skip.a")
        await subscribe(client, "skip.b")
    await fill(slow, "skip.a", quick)
    for channel in ("skip.a", "skip.b", "skip.a"):
        at = await publish(quick, channel, "small")
        await quick.next_event("channel")
    slow.read_on()
    told = [await slow.next_event("missed") for _ in range(2)]
    assert {one["channel"]: (one["offset"], one["missed"]) for one in told} == {"skip.a": (5, 3), "skip.b": (1, 1)}
    assert all(one["epoch"] == at["epoch"] for one in told if one["channel"] == "skip.a")
    await publish(quick, "skip.a", "next")
    events = [await slow.next_event("channel") for _ in range(3)]
    assert [one["offset"] for one in events] == [1, 2, 6]


async def test_who_was_skipped_gets_what_history_still_has(jackfield_kernel):
    """Without a word if that is all; else it is told how much is lost."""
    slow, quick = await jackfield_kernel.connect(), await jackfield_kernel.connect()
    for client in (slow, quick):
        await subscribe(client, "short.a")
    await fill(slow, "short.a", quick)
    for number in (4, 5, 6):
        await publish(quick, "short.a", number)
    slow.read_on()
    assert (await data(slow, 6))[3:] == [4, 5, 6]
    await fill(slow, "short.a", quick)
    for number in range(10, 20):
        await publish(quick, "short.a", number)
    slow.read_on()
    told = await slow.next_event("missed")
    assert (told["channel"], told["offset"], told["missed"]) == ("short.a", 19, 11)
    await publish(quick, "short.a", "next")
    assert [one["offset"] for one in [await slow.next_event("channel") for _ in range(3)]] == [7, 8, 20]


async def test_who_was_skipped_in_a_pattern_learns_of_it(jackfield_kernel):
    """How much, in all channels together."""
    slow, quick = await jackfield_kernel.connect(), await jackfield_kernel.connect()
    for client in (slow, quick):
        await subscribe(client, "skip.*")
    await fill(slow, "skip.a", quick)
    await publish(quick, "skip.b", "small")
    slow.read_on()
    assert await slow.next_event("missed") == {"channel": "skip.*", "epoch": None, "offset": None, "missed": 2}
    await publish(quick, "skip.b", "next")
    assert [(await slow.next_event("channel"))["offset"] for _ in range(3)] == [1, 2, 2]


async def test_who_does_not_read_is_disconnected_where_nothing_may_be_skipped(jackfield_settings):
    """As with all that a client is sent; when it comes back, it gets what it missed."""
    async with serve("channels", settings=jackfield_settings, config={"limits": {"backlog": 200_000}}) as kernel:
        slow, quick = await kernel.connect(), await kernel.connect()
        for client in (slow, quick):
            await subscribe(client, "kept.a")
        await publish(quick, "kept.a", "first")
        last = await slow.next_event("channel")
        slow.stop_reading()
        for _ in range(10):
            await publish(quick, "kept.a", LARGE)
            assert await quick.next_event("channel")
        slow.read_on()
        await until(lambda: not slow.connected)
        back = await kernel.connect()
        answer = await subscribe(back, "kept.a", since=since(last))
        assert (answer["recovered"], answer["replayed"]) == (True, 10)
        assert await data(back, 10) == [LARGE] * 10


async def test_a_large_recovery_waits_for_the_client(jackfield_settings):
    """More than may wait for a client comes as it reads, and what is published meanwhile comes after it."""
    async with serve("channels", settings=jackfield_settings, config={"limits": {"backlog": 200_000}}) as kernel:
        one, two = await kernel.connect(), await kernel.connect()
        start = await subscribe(two, "kept.a")
        await two.call("api.channels.unsubscribe", {"channel": "kept.a"})
        for _ in range(30):
            await publish(one, "kept.a", LARGE)
        assert (await subscribe(two, "kept.a", since=since(start)))["replayed"] == 30
        two.stop_reading()
        for number in range(5):
            await publish(one, "kept.a", number)
        two.read_on()
        assert (await data(two, 35))[30:] == list(range(5))


# ------------------------------------------------------------------- cut at random


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_44_cut_at_random_points_all_comes_or_it_is_said(jackfield_settings, store):
    """Every session goes on exactly where the last one ended, or says that it does not."""
    insider = Insider()
    settings = {**jackfield_settings, "store": store}
    async with serve("channels", settings=settings, neighbours={"insider": insider}) as kernel:
        assert await cut_at_random([kernel], [insider], 40, "kept.a") == []


@pytest.mark.full
@pytest.mark.parametrize("network", [False, True], ids=["memory", "network"])
async def test_44_cut_at_a_thousand_random_points(jackfield_settings, network):
    """As large as the hardening list has it, on real connections too."""
    insider = Insider()
    async with serve(
        "channels", settings=jackfield_settings, neighbours={"insider": insider}, network=network
    ) as kernel:
        assert await cut_at_random([kernel], [insider], 1000, "kept.a") == []


async def test_49_without_history_nothing_comes_twice_or_late(jackfield_settings):
    """At most once, in order; holes are only where a connection was lost, and then it is said."""
    insider = Insider()
    async with serve("channels", settings=jackfield_settings, neighbours={"insider": insider}) as kernel:
        followers = [Follower("open.a") for _ in range(5)]
        sent: list[int] = []
        acknowledged: list[Seen] = []
        async with AsyncExitStack() as stack:
            for turn in range(4):
                clients = []
                for follower in followers:
                    client = await stack.enter_async_context(await kernel.connect(on=follower.begin()))
                    await follower.subscribe(client)
                    clients.append(client)
                for _ in range(50):
                    sent.append(len(sent))
                    acknowledged.append(Seen(await insider.kernel.publish("open.a", sent[-1]), sent[-1]))
                    if len(sent) % 10 == turn:
                        await clients.pop().vanish() if clients else None
                for client, follower in zip(clients, followers, strict=False):
                    await arrived(follower, acknowledged[-1].position)
                    await client.disconnect()
    assert judge(sent, acknowledged, [follower.sessions for follower in followers]) == []
    assert {session.recovered for one in followers for session in one.sessions} == {None, True, False}
