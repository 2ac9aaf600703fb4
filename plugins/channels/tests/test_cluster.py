"""Two servers are as one, and stay so whatever becomes of Redis, of the network, or of one of them."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Literal

import pytest
import pytest_asyncio

from jackfield import CallError
from jackfield.client import Client, connect
from jackfield.testing import serve
from jackfield_channels.plugin import jackfield_health
from plugins.channels.tests.calls import presence, publish, subscribe
from plugins.channels.tests.cluster import Cluster, Host, bystanders, clustered
from plugins.channels.tests.crowd import Crowd, at_work
from plugins.channels.tests.cutting import Insider, cut_at_random
from plugins.channels.tests.following import position_of
from tests.support.bombs import MIB
from tests.support.judge import Kept, Missed, Seen, judge
from tests.support.proxy import proxied
from tests.support.redis import RedisServer, need_redis
from tests.support.waiting import eventually, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEADLINE = 2.0
"""Seconds after which Redis is taken to be away."""
LATE = 2.0
"""Seconds by which a busy machine may be late."""
UNKNOWN = r"^unavailable: It is not known whether that was done: .* Try again with the same id\.$"
UNUSABLE = r"^unavailable: The channel cannot be read or written now\.$"


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="both")
async def _both(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Servers that all tests have in common; each test has channels of its own."""
    need_redis()
    async with clustered(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest_asyncio.fixture(loop_scope="module", name="cluster")
async def _cluster(both: Cluster) -> AsyncIterator[Cluster]:
    """Two servers that are well, and write nothing into their logs that nobody foresaw."""
    await both.ready()
    yield both
    for host in both.hosts:
        for word in ("Traceback", "never retrieved", "never awaited", " ERROR "):
            assert word not in host.log


def crowds_of(cluster: Cluster, name: str, *, again: bool = True, pause: float = 0.02) -> tuple[Crowd, Crowd]:
    """Return those of a channel with history, and of one without."""
    lasting, passing = (Crowd(cluster.urls, f"{kind}.{name}", again=again, pause=pause) for kind in ("kept", "open"))
    return lasting, passing


async def all_publish(*crowds: Crowd, count: int = 30) -> None:
    """Return when everybody follows, and more was published to each channel."""
    for crowd in crowds:
        await crowd.there()
        await crowd.more(count)


def missed(crowd: Crowd) -> list[Missed]:
    """Return all that followers were told to have missed."""
    return [one for own in crowd.sessions for session in own for one in session.heard if isinstance(one, Missed)]


def stayed(*crowds: Crowd) -> bool:
    """Tell whether no follower has lost its connection."""
    return all(len(own) == 1 for crowd in crowds for own in crowd.sessions)


def recovers_nothing(crowd: Crowd) -> bool:
    """Tell whether just those have recovered who had not missed anything, as it is without history."""
    back = [one for own in crowd.sessions for one in own if one.since is not None and one.position is not None]
    return all(one.recovered is (one.since == one.position) for one in back)


# ------------------------------------------------------------------- without a fault


@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.full)])
async def test_clients_of_two_servers(cluster: Cluster, count: int) -> None:
    """All get all, once and in order, while clients of both publish; also in the order of each publisher."""
    transports = ["polling"] * 5 + ["websocket"] * (count - 10) + ["polling"] * 5
    writers = range(count - 8, count - 2)  # of either server and of either kind
    heard: list[list[dict[str, Any]]] = [[] for _ in transports]
    holes: list[Any] = []
    channels = (f"kept.{count}", f"open.{count}")

    async def write(client: Client, writer: int) -> None:
        for number in range(4):
            for channel in channels:
                await publish(client, channel, [writer, number])

    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                connect(cluster.urls[place % 2], transports=[name], on={"channel": own.append, "missed": holes.append})
            )
            for place, (name, own) in enumerate(zip(transports, heard, strict=True))
        ]
        await asyncio.gather(*(subscribe(client, channel) for client in clients for channel in channels))
        await asyncio.gather(*(write(clients[writer], writer) for writer in writers))
        await until(lambda: all(len(own) >= 48 for own in heard))
    assert holes == []
    for channel in channels:
        found = [[one for one in own if one["channel"] == channel] for own in heard]
        assert all(own == found[0] for own in found)
        assert [one["offset"] for one in found[0]] == list(range(1, 25))
        for writer in writers:
            assert [one["data"][1] for one in found[0] if one["data"][0] == writer] == list(range(4))


# ------------------------------------------------------------------- a server that is killed


async def test_clients_of_a_killed_server_go_on_at_the_other(cluster: Cluster) -> None:
    """And come back later: with history all recover; without it who has missed something is told."""
    lasting, passing = crowds = crowds_of(cluster, "moves")
    async with at_work(*crowds, followers=4):
        for host in cluster.hosts:
            await all_publish(*crowds)
            host.kill()
            await all_publish(*crowds)
            await host.start()
            for crowd in crowds:
                crowd.move()
        await all_publish(*crowds)
        kept, passed = await lasting.settled(), await passing.settled()
    assert lasting.judged(kept) == passing.judged(passed) == []
    assert {one.recovered for own in lasting.sessions for one in own if one.since is not None} == {True}
    assert recovers_nothing(passing)
    assert missed(lasting) == missed(passing) == []  # beyond that: those who are subscribed miss nothing
    # The epoch is Redis's, so a killed server is no reason for another one.
    assert {one.position.epoch for own in passing.sessions for one in own if one.position} == {passed.epoch}


# ------------------------------------------------------------------- 46: Redis is killed


What = Literal["all", "an older copy", "nothing"]


async def redis_is_away(cluster: Cluster, name: str, calls: int, keeps: What) -> list[tuple[Crowd, Kept]]:
    """Kill Redis while all is in use, for so many calls of somebody else; return what became of two channels."""
    lasting, passing = crowds = crowds_of(cluster, name, again=keeps == "all")
    async with bystanders(cluster.urls) as others, at_work(*crowds), AsyncExitStack() as stack:
        interrupted: list[Any] = []
        for url in cluster.urls:
            client = await stack.enter_async_context(connect(url, on={"missed": interrupted.append}))
            await subscribe(client, "kept.*")
        await all_publish(*crowds)
        if keeps == "an older copy":
            cluster.copy()
            await all_publish(*crowds)
        cluster.redis.kill()
        await cluster.without_redis()
        for url in cluster.urls:
            async with connect(url) as client:
                for call in (publish, subscribe):
                    with pytest.raises(CallError, match=UNUSABLE) as error:
                        async with asyncio.timeout(LATE):  # it is at once
                            await call(client, f"kept.{name}")
                    assert error.value.retry_after == 1000
        wanted = [one.answered + calls for one in others]
        await until(lambda: all(one.answered >= count for one, count in zip(others, wanted, strict=True)), limit=300)
        if keeps == "an older copy":
            cluster.go_back()
        elif keeps == "nothing":
            cluster.forget()
        cluster.redis.start()
        await cluster.ready()
        await all_publish(*crowds)
        found = [await lasting.settled(), await passing.settled()]
        await until(lambda: len(interrupted) >= 2)
    assert all(one == {"channel": "kept.*", "epoch": None, "offset": None, "missed": None} for one in interrupted)
    assert stayed(*crowds)
    return list(zip(crowds, found, strict=True))


CALLS = [100, pytest.param(2500, marks=[pytest.mark.full, pytest.mark.timeout(300)])]
"""Each takes a hundredth of a second, and a little."""


@pytest.mark.parametrize("calls", CALLS)
async def test_46_a_killed_redis_loses_nothing_that_it_has_kept(cluster: Cluster, calls: int) -> None:
    """Everybody is there again by itself, and gets what was acknowledged; nothing else has noticed anything."""
    (lasting, kept), (passing, passed) = await redis_is_away(cluster, f"killed{calls}", calls, "all")
    assert lasting.judged(kept) == passing.judged(passed) == []
    assert missed(lasting) == []
    assert lasting.refused != []


@pytest.mark.parametrize("calls", CALLS)
@pytest.mark.parametrize("keeps", ["an older copy", "nothing"])
async def test_46_a_killed_redis_that_has_lost_something_is_told(cluster: Cluster, keeps: What, calls: int) -> None:
    """By another epoch, to each subscriber once; what is new is not taken for what was lost."""
    for crowd, found in await redis_is_away(cluster, f"{keeps.split()[-1]}{calls}", calls, keeps):
        new = [one for one in crowd.acknowledged if one.position.epoch == found.epoch]
        assert judge(crowd.sent, new, crowd.sessions, found, complete=True) == []
        assert judge(crowd.sent, crowd.acknowledged, crowd.sessions) == []
        assert [one.count for one in missed(crowd)] == [None] * len(crowd.followers)
        assert 0 < len(new) < len(crowd.acknowledged)
    assert any("Redis has lost what it had of " in host.log for host in cluster.hosts)


async def test_46_a_server_starts_without_redis(cluster: Cluster) -> None:
    """It serves what needs none, says that it is not ready, and is when Redis comes."""
    host = cluster.hosts[1]
    cluster.redis.kill()
    host.kill()
    await host.start()
    await cluster.without_redis()
    async with connect(host.url) as client:
        assert await client.call("api.system.ping") == "pong"
        with pytest.raises(CallError, match=UNUSABLE):
            await subscribe(client, "kept.start")
        cluster.redis.start()
        await cluster.ready()
        assert (await subscribe(client, "kept.start"))["offset"] == 0


# ------------------------------------------------------------------- 47: Redis is frozen, slow, or cut off


@pytest.mark.parametrize(
    "calls",
    [
        100,
        pytest.param(500, marks=pytest.mark.full),
        pytest.param(2000, marks=[pytest.mark.full, pytest.mark.timeout(300)]),
    ],
)
async def test_47_what_a_frozen_redis_was_asked_is_done_once(cluster: Cluster, calls: int) -> None:
    """Who publishes is told in time that nobody knows; whoever tries again with the same id publishes once."""
    name = f"kept.frozen{calls}"
    lasting, passing = crowds = crowds_of(cluster, f"frozen{calls}")
    async with bystanders(cluster.urls) as others, at_work(*crowds), AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(url)) for url in cluster.urls]
        await all_publish(*crowds)
        cluster.redis.pause()
        try:
            wanted = [one.answered + calls for one in others]
            lasting.sent.add("frozen")
            async with asyncio.timeout(DEADLINE + LATE):
                told = await asyncio.gather(
                    *(publish(client, name, "frozen", id="frozen") for client in clients),
                    *(subscribe(client, name) for client in clients),
                    *(presence(client, name) for client in clients),
                    return_exceptions=True,
                )
            refused = [one for one in told if isinstance(one, CallError)]
            assert [one.code for one in refused] == ["unavailable"] * 6
            await cluster.without_redis()
            await until(
                lambda: all(one.answered >= count for one, count in zip(others, wanted, strict=True)), limit=300
            )
        finally:
            cluster.redis.resume()
        await cluster.ready()
        at = [position_of(await publish(client, name, "frozen", id="frozen")) for client in clients]
        assert at[0] == at[1]
        lasting.acknowledged.append(Seen(at[0], "frozen"))
        await all_publish(*crowds)
        kept, passed = await lasting.settled(), await passing.settled()
    assert lasting.judged(kept) == passing.judged(passed) == []
    assert len(set(kept.values.values())) == len(kept.values)
    assert missed(lasting) == []
    assert stayed(*crowds)
    # Something was under way when Redis stopped.
    assert any("Try again with the same id." in one.message for one in refused + lasting.refused + passing.refused)


async def test_47_a_slow_redis_is_none_that_is_away(cluster: Cluster) -> None:
    """Within its time; one that is slower than that is."""
    lasting, passing = crowds = crowds_of(cluster, "slow")
    async with at_work(*crowds):
        await all_publish(*crowds)
        for host in cluster.hosts:
            host.way.delay = 0.1
        await all_publish(*crowds, count=10)
        assert lasting.refused == passing.refused == []
        for host in cluster.hosts:
            host.way.delay = 2 * DEADLINE
        try:
            await cluster.without_redis()
        finally:
            for host in cluster.hosts:
                host.way.delay = 0
        await cluster.ready()
        await all_publish(*crowds)
        kept, passed = await lasting.settled(), await passing.settled()
    assert lasting.judged(kept) == passing.judged(passed) == []
    assert missed(lasting) == []
    assert stayed(*crowds)


@contextmanager
def cut_off(host: Host, *, silent: bool) -> Iterator[None]:
    """Take the way to Redis away from one server; silently, as a network that is broken somewhere else."""
    if silent:
        host.way.stall()
    else:
        host.way.open = False
        host.way.cut()
    try:
        yield
    finally:
        host.way.open = True
        host.way.go_on()


@pytest.mark.parametrize(
    ("silent", "count"),
    [(False, 200), (True, 200), pytest.param(True, 10_000, marks=[pytest.mark.full, pytest.mark.timeout(300)])],
)
async def test_47_the_other_server_goes_on(cluster: Cluster, silent: bool, count: int) -> None:
    """While one is cut off; its subscribers get everything when it is back, without having noticed."""
    well, ill = cluster.hosts
    lasting, passing = crowds = crowds_of(cluster, f"cut{silent}{count}")
    async with bystanders(cluster.urls) as others, at_work(*crowds):
        await all_publish(*crowds)
        with cut_off(ill, silent=silent):
            await ill.says(503, "health/channels failed: the store cannot be used: ")
            async with connect(ill.url) as client:
                with pytest.raises(CallError, match=UNUSABLE):
                    await publish(client, "kept.cut")
            wanted = len(lasting.acknowledged) + count
            await until(lambda: len(lasting.acknowledged) >= wanted, limit=120)
            answered = others[1].answered
            await until(lambda: others[1].answered > answered)
            await well.says(200, "health/channels ok")
        await cluster.ready()
        await all_publish(*crowds)
        kept, passed = await lasting.settled(), await passing.settled()
    assert lasting.judged(kept) == passing.judged(passed) == []
    assert missed(lasting) == []
    assert stayed(*crowds)


async def test_47_members_of_a_server_that_is_cut_off_expire(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are told, as if they had gone; when the server is back, so are they."""
    monkeypatch.setattr("jackfield_channels.redis_presence._LIFE", 1000)
    monkeypatch.setattr("jackfield_channels.hub._SWEEP", 0.2)
    settings = {"store": "redis", "redis_prefix": "expiry", "rules": [{"match": "*", "presence": True, "joins": True}]}
    async with (
        proxied(redis.url) as (url, way),
        serve("channels", settings={**settings, "redis_url": redis.url}) as well,
        serve("channels", settings={**settings, "redis_url": url}) as ill,
    ):
        stays, goes = await well.connect(), await ill.connect()
        await subscribe(stays, "a")
        await subscribe(goes, "a", data="me")
        joined = await stays.next_event("presence")
        assert (joined["event"], joined["data"]) == ("join", "me")
        assert (await presence(stays, "a"))["count"] == 2
        way.stall()
        assert await stays.next_event("presence") == {**joined, "event": "leave"}
        assert [one["client"] for one in (await presence(stays, "a"))["members"]] != [joined["client"]]
        assert (await presence(stays, "a"))["count"] == 1
        with pytest.raises(CallError, match=r"^unavailable: It is not known now who is there\.$"):
            await presence(goes, "a")
        way.go_on()
        assert await stays.next_event("presence") == joined
        assert (await presence(stays, "a"))["count"] == 2


@pytest.mark.full
@pytest.mark.timeout(180)
@pytest.mark.parametrize("killed", [True, False], ids=["killed", "cut off"])
async def test_47_members_of_a_server_expire_within_half_a_minute(cluster: Cluster, killed: bool) -> None:
    """With the times that real servers have."""
    well, ill = cluster.hosts
    changes: list[dict[str, Any]] = []
    channel = f"kept.members{killed}"
    async with AsyncExitStack() as stack:
        stays = await stack.enter_async_context(connect(well.url, on={"presence": changes.append}))
        goes = await stack.enter_async_context(connect(ill.url, reconnect=False))
        await subscribe(stays, channel)
        await subscribe(goes, channel, data="me")
        await until(lambda: len(changes) == 1)
        if killed:
            ill.kill()
        else:
            stack.enter_context(cut_off(ill, silent=True))
        await until(lambda: len(changes) == 2, limit=30)
        assert [one["event"] for one in changes] == ["join", "leave"]
        assert (await presence(stays, channel))["count"] == 1
    if killed:
        await ill.start()


@pytest.mark.full
@pytest.mark.timeout(180)
async def test_47_memory_stays_flat_while_redis_is_away(cluster: Cluster) -> None:
    """Though publishers and subscribers go on asking."""
    sizes: list[list[int]] = []
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(url)) for url in cluster.urls for _ in range(4)]
        cluster.redis.pause()
        stack.callback(cluster.redis.resume)
        await cluster.without_redis()
        for number in range(30):
            until_then = asyncio.get_running_loop().time() + 1
            while asyncio.get_running_loop().time() < until_then:
                calls = [publish(client, f"kept.flat{number}", "x" * 10_000, id=str(number)) for client in clients]
                calls += [subscribe(client, f"kept.flat{number}") for client in clients]
                told = await asyncio.gather(*calls, return_exceptions=True)
                assert {getattr(one, "code", one) for one in told} == {"unavailable"}
            sizes.append([host.server.rss for host in cluster.hosts])
    for early, late in zip(sizes[2], sizes[-1], strict=True):
        assert late <= early + 8 * MIB, [[size // MIB for size in both] for both in sizes]


# ------------------------------------------------------------------- 49, 50, 51: whatever happens


@asynccontextmanager
async def _server_fails(host: Host) -> AsyncIterator[None]:
    host.kill()
    yield
    await host.start()


@asynccontextmanager
async def _way_fails(host: Host) -> AsyncIterator[None]:
    with cut_off(host, silent=random.random() < 0.5):
        yield


@asynccontextmanager
async def _redis_fails(redis: RedisServer) -> AsyncIterator[None]:
    if random.random() < 0.5:
        redis.kill()
        yield
        redis.start()
    else:
        redis.pause()
        yield
        redis.resume()


@pytest.fixture
def seed() -> int:
    """What chance begins with; pytest shows it where a test fails."""
    seed = int(os.environ.get("TESTS_SEED") or random.randrange(10**9))
    print(f"TESTS_SEED={seed}")
    random.seed(seed)
    return seed


async def shaken(cluster: Cluster, name: str, rounds: int) -> None:
    """Let faults happen at random, one or two at once, while all is in use; judge what became of two channels."""
    lasting, passing = crowds = crowds_of(cluster, name)
    faults = [
        *(partial(_server_fails, host) for host in cluster.hosts),
        *(partial(_way_fails, host) for host in cluster.hosts),
        partial(_redis_fails, cluster.redis),
    ]
    async with at_work(*crowds):
        for _ in range(rounds):
            await all_publish(*crowds, count=random.randrange(10, 50))
            async with AsyncExitStack() as stack:
                for fault in random.sample(faults, random.choice([1, 1, 2])):
                    await stack.enter_async_context(fault())
                    await asyncio.sleep(random.choice([0, 0.1, 1]))
                random.choice(crowds).move()
                await asyncio.sleep(random.choice([0, 0.5, 3]))
        await cluster.ready()
        await all_publish(*crowds)
        kept, passed = await lasting.settled(), await passing.settled()
    assert lasting.judged(kept) == passing.judged(passed) == []
    assert len(set(kept.values.values())) == len(kept.values)
    assert {one.value for one in lasting.acknowledged} <= set(kept.values.values())
    assert missed(lasting) == []
    assert {one.recovered for own in lasting.sessions for one in own if one.since is not None} <= {True}
    assert recovers_nothing(passing)


@pytest.mark.usefixtures("seed")
async def test_51_whatever_happens_what_was_acknowledged_is_there(cluster: Cluster) -> None:
    """Once, in its place, and all get it. 49, 50 beside it: without history nothing comes twice, and holes are told."""
    await shaken(cluster, "shaken", 3)


@pytest.mark.full
@pytest.mark.timeout(590)
@pytest.mark.usefixtures("seed")
async def test_51_whatever_happens_again_and_again(cluster: Cluster) -> None:
    """As often as in a bad year."""
    await shaken(cluster, "very.shaken", 25)


# ------------------------------------------------------------------- 19, 44: clients that are cut off


async def cut_from_two(redis: RedisServer, rounds: int, *, network: bool) -> list[str]:
    """Cut a follower off, which comes back to either of two servers; return what was promised and not kept."""
    settings = {
        "store": "redis",
        "redis_url": redis.url,
        "redis_prefix": f"cut{rounds}{network}",
        "rules": [{"match": "kept.*", "history": 1000, "publish": True}],
    }
    async with AsyncExitStack() as stack:
        insiders = [Insider(), Insider()]
        kernels = [
            await stack.enter_async_context(
                serve("channels", settings=settings, neighbours={"insider": one}, network=network)
            )
            for one in insiders
        ]
        return await cut_at_random(kernels, insiders, rounds, "kept.a")


async def test_44_cut_at_random_points_all_comes_from_either_server(redis: RedisServer) -> None:
    """Every session goes on exactly where the last one ended, wherever that was."""
    assert await cut_from_two(redis, 50, network=False) == []


async def test_48_a_server_with_another_key_is_said_where_the_operator_looks(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Either says which setting it is, and the log has one line a minute, however much is published."""
    settings = {
        "store": "redis",
        "redis_url": redis.url,
        "redis_prefix": "keys",
        "rules": [{"match": "*", "publish": True}],
    }
    async with (
        serve("channels", settings={**settings, "redis_keys": ["the key of this server"]}) as one,
        serve("channels", settings={**settings, "redis_keys": ["the key of that server"]}) as two,
    ):
        for _ in range(3):
            await publish(await one.connect(), "a")

        async def said() -> bool:
            told = await jackfield_health(two.kernel)
            return told == "3 messages were refused: " + (
                "a server has other plugins.channels.redis_keys, or somebody else publishes there; see the log"
            )

        await eventually(said)
        assert await jackfield_health(one.kernel) is None
    assert caplog.text.count("refused what came by {keys}:news") == 1


@pytest.mark.full
@pytest.mark.timeout(300)
@pytest.mark.parametrize("network", [False, True], ids=["memory", "network"])
async def test_44_cut_at_a_thousand_random_points(redis: RedisServer, network: bool) -> None:
    """As large as the hardening list has it, on real connections too."""
    assert await cut_from_two(redis, 1000, network=network) == []
