"""What the kernel has for the plugin that offers channels: publications come to it, and it sends to whom it chooses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jackfield import Call, CallError, Client, EncodeError, Json, Kernel, Position, Service, hookimpl
from jackfield._transport import packet
from jackfield.testing import serve
from tests.support.waiting import until


class Offers:
    """A plugin that offers channels, and sends to whom the test says."""

    def __init__(self) -> None:
        self.published: list[tuple[str, object, str | None]] = []
        self.skipped: list[str] = []
        self.kernel: Kernel
        self.clients: dict[str, Client] = {}

    @hookimpl
    async def jackfield_startup(self, kernel: Kernel) -> None:
        self.kernel = kernel

    @hookimpl
    async def jackfield_connect(self, client: Client) -> None:
        self.clients[client.id] = client

    @hookimpl
    async def jackfield_publish(self, kernel: Kernel, channel: str, data: Json, id: str | None) -> Position:
        assert kernel is self.kernel
        if channel == "closed":
            raise CallError("permission_denied", "Nobody publishes here.")
        self.published.append((channel, data.value(), id))
        self.skipped = list(kernel.send(channel, data, self.clients, volatile=channel == "volatile"))
        return Position(len(self.published), "e")


def publishing() -> Service:
    """A plugin that publishes in both ways."""
    service = Service("api.press")

    @service.function
    async def publish(call: Call, data: Any) -> list[Any]:
        channel, value, name = data
        at = await (call.kernel if name else call).publish(channel, value, id=name)
        return [at.offset, at.epoch]

    @service.function
    async def number(call: Call) -> str:
        try:
            await call.publish("news", float("nan"))
        except EncodeError as error:
            return str(error)
        return "published"

    return service


async def test_publications_come_to_the_plugin_that_offers_channels() -> None:
    """Encoded already; its answer and its refusals are those of whoever publishes."""
    offers = Offers()
    async with serve(publishing(), neighbours={"offers": offers}) as kernel:
        client = await kernel.connect()
        assert await client.call("api.press.publish", ["news", {"a": b"\x00"}, None]) == [1, "e"]
        assert await client.call("api.press.publish", ["news", None, "mine"]) == [2, "e"]
        assert offers.published == [("news", {"a": b"\x00"}, None), ("news", None, "mine")]
        assert [await client.next_event("news") for _ in range(2)] == [{"a": b"\x00"}, None]
        with pytest.raises(CallError, match=r"^permission_denied: Nobody publishes here\.$"):
            await client.call("api.press.publish", ["closed", 1, None])
        assert await client.call("api.press.number") == "nan is not a number that JSON has"
        assert len(offers.published) == 2


async def test_without_such_a_plugin_publishing_is_unimplemented() -> None:
    """Also while the server starts."""
    told: list[CallError] = []

    class Early:
        @hookimpl
        async def jackfield_startup(self, kernel: Kernel) -> None:
            with pytest.raises(CallError) as error:
                await kernel.publish("news")
            told.append(error.value)

    async with serve(publishing(), neighbours={"early": Early()}) as kernel:
        client = await kernel.connect()
        with pytest.raises(CallError) as error:
            await client.call("api.press.publish", ["news", 1, None])
    for one in (*told, error.value):
        assert (one.code, one.message) == ("unimplemented", "No plugin in service offers channels.")


async def test_what_is_sent_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many get it; a `Json` is sent as it is."""
    encoded: list[bytes] = []
    event = packet.event

    def count(name: str, payload: Json, ack: int | None = None) -> Any:
        if name == "news":
            encoded.append(payload.text)
        return event(name, payload, ack)

    monkeypatch.setattr(packet, "event", count)
    offers = Offers()
    async with serve(publishing(), neighbours={"offers": offers}) as kernel:
        clients = [await kernel.connect() for _ in range(20)]
        await until(lambda: len(offers.clients) == 20)
        offers.kernel.send("news", Json(b'{"n": 1}'), offers.clients)
        assert [await client.next_event("news") for client in clients] == [{"n": 1}] * 20
    assert encoded == [b'{"n": 1}']


@pytest.mark.parametrize("network", [False, True], ids=["memory", "network"])
async def test_who_does_not_keep_up_is_left_out_and_named(network: bool) -> None:
    """Only where what is sent is volatile; `drained` tells when it reads again."""
    offers = Offers()
    async with serve(publishing(), neighbours={"offers": offers}, network=network) as kernel:
        quick = await kernel.connect()
        slow = await kernel.connect()
        await until(lambda: len(offers.clients) == 2)
        fast_id, slow_id = offers.clients
        slow.stop_reading()
        sent = 0
        while not offers.kernel.send("volatile", "x" * 70_000, [slow_id], volatile=True):
            sent += 1
            await asyncio.sleep(0)
        assert offers.kernel.send("news", "for both", [slow_id, "nobody", fast_id]) == []
        assert await quick.next_event("news") == "for both"
        assert offers.kernel.send("volatile", 1, [fast_id, slow_id], volatile=True) == [slow_id]
        await offers.clients[fast_id].drained()
        waiting = asyncio.create_task(offers.clients[slow_id].drained())
        slow.read_on()
        await waiting
        assert offers.kernel.send("volatile", 2, [fast_id, slow_id], volatile=True) == []
        assert [await quick.next_event("volatile") for _ in range(2)] == [1, 2]
        assert [len(await slow.next_event("volatile")) for _ in range(sent)] == [70_000] * sent
        assert await slow.next_event("volatile") == 2
        assert await slow.next_event("news") == "for both"


async def test_who_is_gone_is_passed_over() -> None:
    """Not counted among those that were left out, either."""
    offers = Offers()
    async with serve(publishing(), neighbours={"offers": offers}) as kernel:
        client = await kernel.connect()
        await until(lambda: offers.clients)
        (gone,) = offers.clients.values()
        waiting = asyncio.create_task(gone.drained())
        await client.vanish()
        await until(lambda: not gone.connected)
        await waiting
        assert offers.kernel.send("news", 1, [gone.id], volatile=True) == []
