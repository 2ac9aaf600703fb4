"""Numbers 20, 38, 39 and 52: streams that are opened without end, credit, consumers that stop, and how streams end."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.hardening.rounds import CARRIERS, config, is_served, stays_flat
from tests.hardening.streaming import Id, Talker, say, talking, write_flow
from tests.hardening.test_backpressure import sluggard
from tests.support.bombs import MIB
from tests.support.server import Server, serving
from tests.support.waiting import LIMIT

STREAMS = 60
"""Open streams that one connection may have."""

BACKLOG = 4 * MIB
"""Bytes that may wait for one client."""

# Streams wait for one another in the tests of the large sizes, for longer than `stream_idle` is by default.
SHORT = f"streams = {STREAMS}\nbacklog = {BACKLOG}\nbacklog_timeout = 0.5\nstream_idle = 600\n"
WAYS = ["websocket", pytest.param("polling", marks=pytest.mark.full)]


@pytest.fixture(scope="module", name="plugins")
def _plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flow(tmp_path_factory.mktemp("plugins"))


def _fixture(name: str, limits: str) -> Any:
    @pytest.fixture(scope="module", params=CARRIERS, name=name)
    def start(request: pytest.FixtureRequest, plugins: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
        with serving(
            tmp_path_factory.mktemp(name), config=config(request.param, limits=limits), path=[plugins]
        ) as running:
            yield running

    return start


steady = _fixture("steady", SHORT)
idle = _fixture("idle", "stream_idle = 0.5")


@pytest.fixture(name="watcher")
async def _watcher(request: pytest.FixtureRequest) -> AsyncIterator[Talker]:
    """Somebody else, on the server of the test; the diary is empty."""
    name = next(name for name in ("steady", "idle") if name in request.fixturenames)
    async with talking(request.getfixturevalue(name).url) as watcher, watcher.staying():
        await watcher.call("release")
        await _nothing_runs(watcher)
        await watcher.call("clear")
        yield watcher


async def _read(watcher: Talker, *lines: str) -> list[str]:
    """Wait until the diary has these lines, and return all of it."""
    async with asyncio.timeout(LIMIT):
        while not set(lines) <= set(diary := await watcher.call("read")):
            pass
    return list(diary)


async def _nothing_runs(watcher: Talker) -> None:
    """Wait until the server runs no function but the one that tells this."""
    async with asyncio.timeout(LIMIT):
        while await watcher.call("census"):
            pass


async def _room(talker: Talker, function: str, id: Id, **fields: Any) -> Any:
    """Open a stream as soon as there is a place for it, and return the reply."""
    async with asyncio.timeout(LIMIT):
        while "error" in (reply := await talker.open(function, id, **fields)):
            assert reply["error"]["code"] in ("resource_exhausted", "already_exists"), reply
    return reply


# ------------------------------------------------------------------- 20: opening and cancelling


@pytest.mark.parametrize("way", WAYS)
async def test_20_a_connection_has_so_many_streams(steady: Server, watcher: Talker, way: str) -> None:
    """One more is refused, of whichever kind, until one has ended; calls and other clients are no matter of it."""
    async with talking(steady.url, way) as client:
        for number in range(STREAMS):
            kind = ("count", "hoards", "mirrors")[number % 3]
            assert "stream" in await client.open(kind, number, credit=0)
        for kind in ("count", "drinks", "mirrors"):
            refused = (await client.open(kind, "more"))["error"]
            assert refused.pop("retry_after") > 0
            assert refused["code"] == "resource_exhausted"
            assert f"{STREAMS} streams" in refused["message"]
            assert "limits.streams" in refused["message"]
        await client.is_quiet(*range(STREAMS), "more")
        await is_served(steady.url)
        await client.say(7, cancel=True)
        assert await client.fails(7) == "canceled"
        assert "stream" in await _room(client, "drinks", "more")
    await _read(watcher, *(f"count {number} ended" for number in range(0, STREAMS, 3)), "drinks more ended")


async def test_20_a_cancelled_function_counts_until_it_has_ended(steady: Server, watcher: Talker) -> None:
    """Its caller is answered at once; its place and its id are free when its `finally` has run."""
    async with talking(steady.url) as client:
        for number in range(STREAMS):
            assert "stream" in await client.open("stays", number, credit=1)
            assert await client.items(number, 1) == [1]
            await client.say(number, cancel=True)
            assert await client.fails(number) == "canceled"
        assert (await client.open("upTo", "new", data=0))["error"]["code"] == "resource_exhausted"
        assert (await client.open("upTo", 0, data=0))["error"]["code"] in ("already_exists", "resource_exhausted")
        await client.say(0, cancel=True)
        await client.say(1, credit=5)
        await client.is_quiet(*range(STREAMS))
        assert not [line for line in await watcher.call("read") if "ended" in line]
        await watcher.call("release")
        assert (await _room(client, "upTo", 0, data=0))["stream"] == "server"
        diary = await _read(watcher, *(f"stays {number} ended" for number in range(STREAMS)))
        assert len([line for line in diary if line.endswith("stops")]) == STREAMS


@pytest.mark.parametrize("way", WAYS)
async def test_20_opening_and_cancelling_without_end(steady: Server, watcher: Talker, way: str) -> None:
    """However fast a client does so, no more functions run than streams may be open."""
    async with talking(steady.url, way) as client:
        await client.send(
            *(
                packet
                for number in range(95)
                for packet in (f'421000["event",{{"event":"api.flow.stays","id":{number}}}]', say(number, cancel=True))
            )
        )
        assert await client.ask("still here", event="api.services.test.echo") == {"data": "still here"}
        diary = await watcher.call("read")
        assert len([line for line in diary if line.endswith("began")]) <= STREAMS
        assert not [line for line in diary if line.endswith("ended")]
        await is_served(steady.url)
        await watcher.call("release")


async def test_20_a_client_that_cancels_too_often_is_closed(steady: Server, watcher: Talker) -> None:
    """A hundred cancels do no harm, of what there is and of what is not; a thousand at once are too many."""
    async with talking(steady.url) as client:
        await client.open("count", "mine", credit=1)
        await client.send(*(say(number, cancel=True) for number in range(100)))
        await client.is_quiet(*range(100))
        await client.send(*(say(number, cancel=True) for number in range(1000)))
        await client.closed()
        assert client.carrier.socket.close_code == 1008
    await _read(watcher, "count mine ended")
    await is_served(steady.url)


@pytest.mark.parametrize(("count", "rounds"), [(30, 4), pytest.param(2_000, 10, marks=pytest.mark.full)])
async def test_20_short_streams_leave_nothing(steady: Server, watcher: Talker, count: int, rounds: int) -> None:
    """Thousands of them on one connection, ended in every way: no task stays, and no memory."""
    async with talking(steady.url) as client:

        async def attack() -> None:
            for number in range(count):
                kind = ("upTo", "drinks", "mirrors")[number % 3]
                await client.open(kind, number, data=3 if kind == "upTo" else None)
                await client.say(number, **({"end": True} if number % 64 else {"cancel": True}))
                while not (await client.hear(number)).keys() & {"end", "error"}:
                    pass
            await watcher.call("clear")

        await stays_flat(steady, attack, rounds)
    await _nothing_runs(watcher)


# ------------------------------------------------------------------- 38: credit


@pytest.mark.parametrize("grant", [0, -1, 1.5, "1", True, 2**31, [1], {}, "many"])
async def test_38_a_grant_that_is_none_closes_the_stream(steady: Server, watcher: Talker, grant: Any) -> None:
    """The others of the same connection go on."""
    async with talking(steady.url) as client:
        for id in ("bad", "good"):
            await client.open("count", id, credit=1)
            assert await client.items(id, 1) == [1]
        await client.say("bad", credit=grant)
        assert await client.fails("bad") == "invalid_argument"
        await client.say("good", credit=2)
        assert await client.items("good", 2) == [2, 3]
        await client.is_quiet("bad", "good")
        await _read(watcher, "count bad ended")


@pytest.mark.parametrize("way", WAYS)
async def test_38_an_item_past_the_credit_closes_the_stream(steady: Server, watcher: Talker, way: str) -> None:
    """The last that is allowed is taken, one more is not; the others of the same connection go on."""
    async with talking(steady.url, way) as client:
        await client.open("hoards", "bad")
        await client.open("mirrors", "good")
        await client.send(*(say("bad", data=number) for number in range(client.credit["bad"])))
        await client.is_quiet("bad")
        await client.say("bad", data="one more")
        assert await client.fails("bad") == "resource_exhausted"
        await client.say("good", data="fine")
        assert await client.items("good", 1) == ["fine"]
        await client.is_quiet("bad", "good")
        await _read(watcher, "hoards bad ended")


async def test_38_all_streams_of_a_connection_share_one_buffer(steady: Server, watcher: Talker) -> None:
    """However many there are, no more is promised than `limits.stream_buffer` holds; who has none is served later."""
    async with talking(steady.url) as client:
        for number in range(STREAMS):
            await client.open("hoards" if number else "drinks", number)
        promised = sum(client.credit.values())
        assert 0 < promised <= 16
        await client.send(*(say(number, data=1) for number in range(1, STREAMS) for _ in range(client.credit[number])))
        await client.is_quiet(*range(STREAMS))
        assert sum(client.credit.values()) == promised
        starved = next(number for number in range(STREAMS) if not client.credit[number])
        await client.say(1, cancel=True)
        assert await client.fails(1) == "canceled"
        assert await client.may_send(starved) > 0


# ------------------------------------------------------------------- 39: a consumer that stops


@pytest.mark.parametrize("way", WAYS)
async def test_39_a_function_goes_no_further_than_its_credit(steady: Server, watcher: Talker, way: str) -> None:
    """An endless one with a credit of ten gives exactly ten items, and has made one more that waits."""
    async with talking(steady.url, way) as client:
        await client.open("count", "s", credit=10)
        assert await client.items("s", 10) == list(range(1, 11))
        await client.is_quiet("s")
        assert await watcher.call("howMany", "s") == 11
        await is_served(steady.url)
        await client.is_quiet("s")
        assert await watcher.call("howMany", "s") == 11
        await client.say("s", credit=3)
        assert await client.items("s", 3) == [11, 12, 13]
        await client.is_quiet("s")
        assert await watcher.call("howMany", "s") == 14
        await client.say("s", cancel=True)
        assert await client.fails("s") == "canceled"
        assert "count s ended" in await _read(watcher, "count s ended")


async def test_39_functions_that_wait_cost_no_memory(steady: Server, watcher: Talker) -> None:
    """As many streams of large items as there may be, again and again, whose client takes one of each and no more."""

    async def attack() -> None:
        async with talking(steady.url) as client:
            for number in range(STREAMS):
                await client.open("count", number, data=20_000, credit=1)
                assert await client.items(number, 1) == [[1, "x" * 20_000]]
            await client.is_quiet(*range(STREAMS))
        await _read(watcher, *(f"count {number} ended" for number in range(STREAMS)))
        await watcher.call("clear")

    await stays_flat(steady, attack, 5)


async def test_39_a_stream_that_its_client_leaves_alone_is_closed(idle: Server, watcher: Talker) -> None:
    """After `limits.stream_idle`, where the function waits for credit or for an item that the client may send."""
    async with talking(idle.url) as client:
        await client.open("count", "credit", credit=1)
        await client.open("drinks", "items")
        await client.open("mirrors", "both")
        assert await client.items("credit", 1) == [1]
        for id in ("credit", "items", "both"):
            failed = (await client.hear(id))["error"]
            assert failed["code"] == "deadline_exceeded"
            assert "limits.stream_idle" in failed["message"]
        await _read(watcher, "count credit ended", "drinks items ended", "mirrors both ended")
        for id in ("credit", "items", "both"):
            await client.say(id, credit=1)
        await client.is_quiet("credit", "items", "both")


async def test_39_a_stream_that_waits_for_something_else_is_not_idle(idle: Server, watcher: Talker) -> None:
    """A function may take its time, with credit unused by itself, or for items that the client may not send."""
    async with talking(idle.url) as client:
        await client.open("waits", "slow", credit=5)
        await client.open("drinks", "starved")
        while client.credit["starved"]:  # it gets no more than what others leave, and here that is nothing
            await client.say("starved", cancel=True)
            assert await client.fails("starved") == "canceled"
            hoard = f"hoard {len(client.credit)}"
            await client.open("hoards", hoard)
            await client.send(*(say(hoard, data=0) for _ in range(client.credit[hoard])))
            await _room(client, "drinks", "starved")
        for number in range(3):
            await client.open("count", number, credit=0)
            assert await client.fails(number) == "deadline_exceeded"
        await client.is_quiet(*client.credit)
        await watcher.call("release")
        assert await client.items("slow", 1) == ["released"]
        assert await client.hear("slow") == {"id": "slow", "end": True}
        await client.is_quiet(*client.credit)


FLOOD = [
    f"42{json.dumps(['event', {'event': 'api.flow.count', 'data': 20_000, 'id': number, 'credit': 2**31 - 1}])}"
    for number in range(50)
]
"""Fifty streams of large items, with all the credit of the world."""


async def _drowned(server: Server, watcher: Talker, sid: str) -> int:
    """Wait until a client was closed that has opened the flood and reads no more; return the peak of the memory."""
    peak = 0
    async with asyncio.timeout(LIMIT):
        while (reason := await watcher.call("farewell", sid)) is None:
            peak = max(peak, server.rss)
            await is_served(server.url)
    assert reason == "slow reader"
    diary = await _read(watcher, *(f"count {number} ended" for number in range(50)))
    assert len(diary) == 100
    await watcher.call("clear")
    return peak


async def test_39_a_client_that_stops_reading_stops_its_streams(steady: Server, watcher: Talker) -> None:
    """Little waits for it, whatever credit it gave; it is closed, others are served, and each `finally` runs."""

    async def attack() -> int:
        async with sluggard(steady.url) as client:
            await client.send(*FLOOD)
            return await _drowned(steady, watcher, client.sid)

    await attack()  # the first of its kind costs what every first time costs
    before = steady.rss
    assert await attack() < before + 2 * BACKLOG


async def test_39_a_client_that_stops_polling_stops_its_streams(steady: Server, watcher: Talker) -> None:
    """The same counts for what no poll fetches."""

    async def attack() -> int:
        async with talking(steady.url, "polling") as client:
            sid = await client.call("whoAmI")
            await client.send(*FLOOD)
            return await _drowned(steady, watcher, sid)

    await attack()
    before = steady.rss
    assert await attack() < before + 2 * BACKLOG


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_39_a_million_items_cost_no_memory(steady: Server, watcher: Talker) -> None:
    """A client that takes a thousand at a time has all of them in order, and the server no more memory than before."""
    async with talking(steady.url) as client:
        await client.open("count", "s", credit=1000)
        expected = 0

        async def attack() -> None:
            nonlocal expected
            for _ in range(100):
                await client.say("s", credit=1000)
                assert await client.items("s", 1000) == list(range(expected + 1, expected + 1001))
                expected += 1000

        await stays_flat(steady, attack)


# ------------------------------------------------------------------- 52: in order, once, with one end


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("streams", "size"), [(20, 60), pytest.param(STREAMS, 2_000, marks=pytest.mark.full)])
async def test_52_items_come_once_and_in_order(
    steady: Server, watcher: Talker, way: str, streams: int, size: int
) -> None:
    """Of many streams at a time, each with credit of its own, and with one end after the last item."""
    async with talking(steady.url, way) as client:

        async def take(number: int) -> None:
            window = number % 7 + 1
            got: list[int] = []
            while len(got) < size:
                got += await client.items(number, min(window, size - len(got)))
                await client.say(number, credit=window)
            assert got == list(range(1, size + 1))
            assert await client.hear(number) == {"id": number, "end": True}

        for number in range(streams):
            await client.open("upTo", number, data=size, credit=number % 7 + 1)
        for number in range(streams):
            await take(number)
        await client.is_quiet(*range(streams))
        diary = await watcher.call("read")
        assert sorted(diary) == sorted(
            f"upTo {number} {what}" for number in range(streams) for what in ("began", "ended")
        )


async def _drop(client: Talker) -> None:
    client.carrier.socket.transport.abort()


async def _close(client: Talker) -> None:
    await client.send("1")


async def _leave(client: Talker) -> None:
    await client.send("41")


GOING = [
    pytest.param("websocket", _drop, id="drops its websocket"),
    pytest.param("websocket", _close, id="closes its websocket"),
    pytest.param("websocket", _leave, id="leaves the namespace"),
    pytest.param("polling", _close, id="closes its session"),
    pytest.param("polling", _leave, id="leaves the namespace by polling"),
]


@pytest.mark.parametrize(("way", "go"), GOING)
async def test_52_a_client_that_goes_ends_its_streams(steady: Server, watcher: Talker, way: str, go: Any) -> None:
    """Wherever each of them is: every function is cancelled, and its `finally` runs once."""
    async with talking(steady.url, way) as client:
        await client.open("count", "waits for credit", credit=2)
        await client.items("waits for credit", 2)
        await client.open("waits", "waits for nobody", credit=5)
        await client.open("drinks", "waits for an item")
        await client.open("hoards", "takes no item")
        await client.say("takes no item", data=1)
        await client.open("mirrors", "waits for both", credit=0)
        await client.say("waits for both", data=1)
        await client.is_quiet("waits for both")
        await go(client)
        names = ["count waits for credit", "waits waits for nobody", "drinks waits for an item", "hoards takes no item",
                 "mirrors waits for both"]  # fmt: skip
        diary = await _read(watcher, *(f"{name} ended" for name in names))
        assert sorted(diary) == sorted(f"{name} {what}" for name in names for what in ("began", "ended"))
        await is_served(steady.url)


async def test_52_a_client_that_goes_interrupts_no_cleaning_up(steady: Server, watcher: Talker) -> None:
    """A function that is being stopped already ends in its own time."""
    async with talking(steady.url) as client:
        await client.open("stays", "s", credit=1)
        assert await client.items("s", 1) == [1]
        await client.say("s", cancel=True)
        assert await client.fails("s") == "canceled"
        await client.open("count", "other", credit=0)
    diary = await _read(watcher, "stays s stops", "count other ended")
    assert "stays s ended" not in diary
    await watcher.call("release")
    await _read(watcher, "stays s ended")


async def test_52_nothing_is_resumed(steady: Server, watcher: Talker) -> None:
    """On its next connection a client has no streams; the same id begins anew, at the first item."""
    async with talking(steady.url) as client:
        await client.open("upTo", "s", data=5, credit=2)
        assert await client.items("s", 2) == [1, 2]
    await _read(watcher, "upTo s ended")
    async with talking(steady.url) as client:
        await client.is_quiet("s")
        await client.say("s", credit=2)
        assert await client.fails("s") == "not_found"
        await client.open("upTo", "s", data=5, credit=2)
        assert await client.items("s", 2) == [1, 2]
        await client.is_quiet("s")


async def test_52_what_ended_first_wins(steady: Server, watcher: Talker) -> None:
    """A cancel and the last credit at once, in either order: one end, and nothing after it."""
    async with talking(steady.url) as client:
        for number in range(40):
            await client.open("upTo", number, data=2, credit=1)
            assert await client.items(number, 1) == [1]
            last = [say(number, credit=1), say(number, cancel=True)]
            await client.send(*(last if number % 2 else reversed(last)))
        for number in range(40):
            frames = [await client.hear(number)]
            while "data" in frames[-1]:
                frames.append(await client.hear(number))
            assert frames[-1].get("end") or frames[-1]["error"]["code"] == "canceled"
            assert number % 2 or len(frames) == 1
        await client.is_quiet(*range(40))


QUICK = "[server]\ndrain_timeout = 0.5\nstop_timeout = 0.5\n"


async def test_52_a_server_that_goes_away_ends_its_streams(tmp_path: Path, plugins: Path) -> None:
    """Those that run past the drain end with `unavailable` and a time; each `finally` runs; the server ends with 0."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(serving(tmp_path, config=QUICK, path=[plugins]))
        clients = [await stack.enter_async_context(talking(server.url, way)) for way in ("websocket", "polling")]
        for number, client in enumerate(clients):
            await client.open("count", f"c{number}", credit=1)
            assert await client.items(f"c{number}", 1) == [1]
            await client.open("drinks", f"d{number}")
        server.process.send_signal(signal.SIGTERM)

        async def hear_the_end(number: int, client: Talker) -> None:
            for id in (f"c{number}", f"d{number}"):
                failed = (await client.hear(id))["error"]
                assert failed["code"] == "unavailable"
                assert failed["retry_after"] > 0
            await client.closed()

        await asyncio.gather(*(hear_the_end(number, client) for number, client in enumerate(clients)))
        assert server.stop() == 0
        ended = (tmp_path / "ended").read_text(encoding="utf-8").split("\n")
        assert sorted(filter(None, ended)) == ["count c0", "count c1", "drinks d0", "drinks d1"]


async def test_52_a_stream_may_come_to_its_end_while_the_server_drains(tmp_path: Path, plugins: Path) -> None:
    """Credit is taken and items come, up to the end; a new stream is refused with `unavailable`."""
    patient = "[server]\ndrain_timeout = 60\n"
    async with AsyncExitStack() as stack:
        server = stack.enter_context(serving(tmp_path, config=patient, path=[plugins]))
        client = await stack.enter_async_context(talking(server.url))
        await client.open("upTo", "s", data=4, credit=2)
        await client.open("drinks", "d")
        assert await client.items("s", 2) == [1, 2]
        server.process.send_signal(signal.SIGTERM)
        await client.is_told_to_go()
        refused = await client.open("upTo", "new", data=1)
        assert refused["error"]["code"] == "unavailable"
        await client.say("d", data=1)
        await client.say("d", end=True)
        assert await client.hear("d") == {"id": "d", "end": True, "data": 1}
        await client.say("s", credit=2)
        assert await client.items("s", 2) == [3, 4]
        assert await client.hear("s") == {"id": "s", "end": True}
        await client.closed()
        assert server.stop() == 0
