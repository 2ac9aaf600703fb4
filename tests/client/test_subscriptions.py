"""Channels as the client has them: gone on with after a lost connection, and never with a hole unsaid."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from jackfield import Call, CallError, Kernel, Service, hookimpl
from jackfield.client import ConnectionLost, Publication, Subscription
from jackfield.testing import RunningKernel, serve
from tests.support.waiting import LIMIT, until

RULES = [
    {"match": "kept.*", "history": 10_000, "publish": True},
    {"match": "short.*", "history": 2, "publish": True},
    {"match": "guarded.*", "history": 10, "ask": "api.guard.may"},
    {"match": "closed.*", "subscribe": False},
    {"match": "skip.*", "slow": "skip"},
]


class Publisher:
    """Has the kernel, and publishes with it."""

    kernel: Kernel

    @hookimpl
    async def jackfield_startup(self, kernel: Kernel) -> None:
        self.kernel = kernel

    async def publish(self, channel: str, *data: object) -> None:
        """Publish one after the other."""
        for one in data:
            await self.kernel.publish(channel, one)


class Guard:
    """Lets clients in as long as the test wants it."""

    def __init__(self) -> None:
        self.says: list[bool | CallError] = []

    def service(self) -> Service:
        service = Service("api.guard")

        @service.function
        async def may(call: Call, data: dict[str, str]) -> bool:
            said = self.says.pop(0)
            if isinstance(said, CallError):
                raise said
            return said

        return service


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Come back at once."""
    monkeypatch.setattr("jackfield.client._caller._FIRST_DELAY", 0.02)


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture
def guard() -> Guard:
    return Guard()


@pytest.fixture(params=[False], ids=["memory"])
async def kernel(
    request: pytest.FixtureRequest, publisher: Publisher, guard: Guard, tmp_path: Path
) -> AsyncIterator[RunningKernel]:
    neighbours = {"publisher": publisher, "guard": guard.service()}
    settings = {"rules": RULES, "store": "memory"}
    async with serve("channels", settings=settings, neighbours=neighbours, network=request.param) as running:
        yield running


both = pytest.mark.parametrize("kernel", [False, True], ids=["memory", "network"], indirect=True)


async def take(subscription: Subscription, count: int) -> list[Any]:
    """Return the data of the next publications, which have to follow one another."""
    async with asyncio.timeout(LIMIT):
        found: list[Publication] = [await anext(subscription) for _ in range(count)]
    offsets = [one.position.offset for one in found]
    assert offsets == list(range(offsets[0], offsets[0] + count))
    assert subscription.position == found[-1].position
    return [one.data for one in found]


@both
async def test_publications_are_iterated_over(kernel, publisher):
    """In order, until the block ends; then the server sends no more of them."""
    client = await kernel.connect()
    async with client.subscribe("kept.a") as publications:
        start = publications.position
        assert start.offset == 0
        await publisher.publish("kept.a", 1, {"b": b"\x00"}, None)
        assert await take(publications, 3) == [1, {"b": b"\x00"}, None]
    heard: list[Any] = []
    client.on("channel", heard.append)
    await publisher.publish("kept.a", 2)
    async with client.subscribe("kept.a", since=start) as publications:
        assert await take(publications, 4) == [1, {"b": b"\x00"}, None, 2]
    assert heard == []


@both
async def test_a_lost_connection_loses_nothing(kernel, publisher):
    """What is published meanwhile comes first."""
    client = await kernel.connect(reconnect=True)
    async with client.subscribe("kept.a") as publications:
        for number in range(0, 50, 10):
            await publisher.publish("kept.a", *range(number, number + 5))
            assert await take(publications, 3) == [number, number + 1, number + 2]
            await client.vanish()
            await publisher.publish("kept.a", *range(number + 5, number + 10))
            assert await take(publications, 7) == list(range(number + 3, number + 10))


@pytest.mark.parametrize("channel", ["short.a", "open.a"])
async def test_what_is_lost_is_said_once(kernel, publisher, channel):
    """And iterated further, it goes on with what is new."""
    client = await kernel.connect(reconnect=True)
    async with client.subscribe(channel) as publications:
        await publisher.publish(channel, 1)
        assert await take(publications, 1) == [1]
        await client.vanish()
        await publisher.publish(channel, 2, 3, 4)
        await until(lambda: client.connected)
        with pytest.raises(CallError) as error:
            await take(publications, 1)
        assert (error.value.code, error.value.message) == (
            "data_loss",
            f"Publications of '{channel}' up to 4 are missing and cannot be had: read the state of things anew, "
            "and iterate further.",
        )
        assert publications.position.offset == 4
        await publisher.publish(channel, 5)
        assert await take(publications, 1) == [5]


async def test_another_epoch_is_said(kernel, publisher):
    """There nobody knows what is missing, and the offset says nothing of what was before."""
    client = await kernel.connect()
    async with client.subscribe("open.a") as publications:
        await publisher.publish("open.a", 1)
        assert await take(publications, 1) == [1]
        await kernel.kernel.emit("channel", {"channel": "open.a", "offset": 1, "epoch": "another", "data": 2})
        with pytest.raises(
            CallError, match=r"^data_loss: .* may be missing and cannot be had, for it has another epoch: "
        ):
            await take(publications, 1)
        assert await take(publications, 1) == [2]


async def test_who_was_skipped_is_told(kernel, publisher):
    """As the server says it."""
    client, quick = await kernel.connect(), await kernel.connect()
    async with client.subscribe("skip.a") as publications, quick.subscribe("skip.a") as others:
        client.stop_reading()
        await publisher.publish("skip.a", "x" * 60_000, "x" * 60_000, "left out")
        await take(others, 3)
        client.read_on()
        assert len(await take(publications, 2)) == 2
        with pytest.raises(CallError, match=r"^data_loss: Publications of 'skip.a' up to 3 are missing"):
            await take(publications, 1)
        await publisher.publish("skip.a", "new")
        assert await take(publications, 1) == ["new"]


async def test_who_iterates_slowly_holds_little(kernel, publisher):
    """What does not fit is asked for again when it is wanted, while more comes."""
    client = await kernel.connect()
    async with client.subscribe("kept.a") as publications:
        await publisher.publish("kept.a", *range(3500))
        await client.call("api.channels.history", {"channel": "kept.a", "limit": 1})  # all has come by now
        assert len(publications._ready) == 1000
        publishing = asyncio.create_task(publisher.publish("kept.a", *range(3500, 4500)))
        assert await take(publications, 4500) == list(range(4500))
        await publishing


async def test_who_may_not_is_told(kernel, publisher, guard):
    """At once, or when the client comes back; a server that is not available is asked again."""
    client = await kernel.connect(reconnect=True)
    with pytest.raises(CallError, match=r"^permission_denied: You may not subscribe to 'closed.a'"):
        async with client.subscribe("closed.a"):
            pass
    guard.says = [True, CallError("unavailable", "Not now.", retry_after=1), True, False]
    async with client.subscribe("guarded.a") as publications:
        await client.vanish()
        await publisher.publish("guarded.a", 1)
        assert await take(publications, 1) == [1]
        await client.vanish()
        for _ in range(2):
            with pytest.raises(CallError, match=r"^permission_denied: You may not subscribe to 'guarded.a'"):
                await take(publications, 1)


async def test_a_client_that_does_not_come_back(kernel, publisher):
    """Gives out what has come, and then says why there is no more."""
    client = await kernel.connect()
    async with client.subscribe("kept.a") as publications:
        await publisher.publish("kept.a", 1, 2)
        await client.call("api.channels.history", {"channel": "kept.a"})
        await client.vanish()
        assert await take(publications, 2) == [1, 2]
        with pytest.raises(ConnectionLost):
            await take(publications, 1)


async def test_an_event_of_another_plugin_goes_to_the_handler(kernel, publisher):
    """Though it is called as those of channels are, and its argument is like none of theirs."""
    client = await kernel.connect()
    heard: list[Any] = []
    strange: list[Any] = [{"channel": ["kept.a"]}, {"channel": {}}, ["kept.a"], None]
    client.on("channel", heard.append)
    async with client.subscribe("kept.a") as publications:
        for data in strange:
            await publisher.kernel.emit("channel", data)
        await publisher.publish("kept.a", 1)
        assert await take(publications, 1) == [1]
    assert heard == strange


async def test_one_channel_is_iterated_over_once(kernel, publisher):
    """Others, and what is subscribed to by hand, are beside it."""
    client = await kernel.connect()
    heard: list[Any] = []
    client.on("channel", heard.append)
    await client.call("api.channels.subscribe", {"channel": "open.*"})
    async with client.subscribe("kept.a") as one, client.subscribe("kept.b") as two:
        with pytest.raises(ValueError, match=r"this client is subscribed to 'kept.a' already"):
            async with client.subscribe("kept.a"):
                pass
        await publisher.publish("kept.a", 1)
        await publisher.publish("kept.b", 2)
        await publisher.publish("open.a", 3)
        assert (await take(one, 1), await take(two, 1)) == ([1], [2])
        await until(lambda: heard)
    assert [event["data"] for event in heard] == [3]
    with pytest.raises(ValueError, match=r"'kept\.\*' is a pattern, which has no position"):
        client.subscribe("kept.*")
