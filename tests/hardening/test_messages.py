"""Number 21: a client that sends too many messages, or too much, is told so, and closed if it goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.hardening.polling import polling
from tests.hardening.rounds import CARRIERS, ECHO, config, is_served
from tests.support.server import Server, serving
from tests.support.wire import Wire, wire

BURST = 20
LIMITS = "message_rate = 4\nbyte_rate = 20_000"
SPENT = [f'42["{ECHO}",null]'] * (BURST - 1)
"""So many messages that nothing is left: CONNECT was one too."""

TOO_MANY = "More than 4 messages a second from one connection (limits.message_rate)."
TOO_MUCH = "More than 20000 bytes a second from one connection (limits.byte_rate)."
FLOOD = 130
"""More messages at once than close the connection: those that pass, 100 that are refused, and some."""


@pytest.fixture(scope="module", name="limited", params=CARRIERS)
def _limited(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("limited"), config=config(request.param, limits=LIMITS)) as server:
        yield server


def event(ack: int, *arguments: Any) -> str:
    return f"42{ack}{json.dumps(arguments)}"


async def answer(client: Wire, start: str) -> Any:
    """Return what is in the next message that begins so."""
    while not (message := str(await client.receive())).startswith(start):
        pass
    return json.loads(message[len(start) :])


def check(error: dict[str, Any], message: str = TOO_MANY) -> None:
    assert 0 < error.pop("retry_after") <= 60_000
    assert error == {"code": "resource_exhausted", "message": message}


async def test_21_past_the_rate_messages_are_refused(limited):
    """Those of the burst are answered, and then none until there is room again; other connections are not concerned."""
    async with wire(limited.url) as client:
        await client.send(*(event(number, ECHO, number) for number in range(BURST + 20)))
        replies = [(await answer(client, f"43{number}"))[0] for number in range(BURST + 20)]
        assert [reply["data"] for reply in replies[: BURST - 1]] == list(range(BURST - 1))
        refused = [reply["error"] for reply in replies if "error" in reply]
        assert len(refused) >= 10
        for error in refused:
            check(error)
        await is_served(limited.url)
        error = (await client.ask(f'427["{ECHO}",1]')).get("error")
        if error is not None:
            await asyncio.sleep(error["retry_after"] / 1000)
            assert await client.ask(f'427["{ECHO}",1]') == {"data": 1}


async def test_21_past_the_bytes_messages_are_refused(limited):
    """One may be larger than what is left, and those after it wait for that."""
    async with wire(limited.url) as client:
        large = "x" * 60_000
        for ack in (1, 2, 3):
            await client.send(event(ack, ECHO, large))
        assert [len((await answer(client, f"43{ack}"))[0].get("data", "")) for ack in (1, 2)] == [60_000, 60_000]
        check((await answer(client, "433"))[0]["error"], TOO_MUCH)


async def test_21_a_flood_closes_the_connection(limited):
    """With 1008, after a hundred refusals; everybody else is served."""
    async with wire(limited.url) as client:
        await client.send(*[event(5, ECHO, None)] * (FLOOD + 100))
        assert await client.closed() == 1008
        await is_served(limited.url)


async def test_21_a_flood_by_polling_closes_the_session(limited):
    """Whatever was in one POST; the first ones are answered by then."""
    async with polling(limited.url) as client:
        assert await client.post(*[event(5, ECHO, None)] * (BURST + 10)) == 200
        replies = [json.loads(str(await client.receive())[3:])[0] for _ in range(BURST + 10)]
        assert sum("error" in reply for reply in replies) >= 5
        check(next(reply["error"] for reply in replies if "error" in reply))
        assert await client.post(*[event(5, ECHO, None)] * FLOOD) == 400
        assert await client.receive() is None
        await is_served(limited.url)


@pytest.mark.parametrize(
    ("packet", "start", "said"),
    [
        ('42["event",{"event":"api.system.ping","id":"seven"}]', '42["message",', {"id": "seven"}),
        ('429["event",{"event":"api.system.ping","id":"eight"}]', "439[", {"id": "eight"}),
        ('42["event",{"event":"api.system.ping"}]', '42["message",', {"event": None}),
        ('429["event",[{"event":"api.system.ping"}]]', "439[", {}),
        ('42["stream",{"id":"feed","credit":1}]', '42["stream",', {"id": "feed"}),
    ],
    ids=["id", "id and acknowledgement", "neither", "batch", "frame"],
)
async def test_21_a_refusal_is_told_where_it_can_be(limited, packet, start, said):
    """By the acknowledgement, the id, or as a message; what was a frame ends its stream."""
    async with wire(limited.url) as client:
        await client.ask('427["event",{"event":"api.services.test.count","id":"feed","credit":0}]')
        await client.send(*SPENT, packet)
        while "resource_exhausted" not in (message := str(await client.receive())) or not message.startswith(start):
            pass
    reply = json.loads(message[message.index("[") :])[-1]
    check(reply.pop("error"))
    assert reply == said


async def test_21_buffers_count_and_are_read_even_so(limited):
    """The event that they belong to is refused as a whole, and the next one is read as what it is."""
    async with wire(limited.url) as client:
        await client.send(*SPENT[:-2])
        buffers = [b"a", b"b", b"c"]
        places = ",".join(f'{{"_placeholder":true,"num":{number}}}' for number in range(3))
        await client.send(f'453-8["{ECHO}",[{places}]]', *buffers)
        check((await answer(client, "438"))[0]["error"])
        await client.send(event(9, ECHO, None))
        check((await answer(client, "439"))[0]["error"])


async def test_21_answers_to_the_server_are_taken(limited):
    """A function that asked the client would wait in vain otherwise; they count all the same."""
    async with wire(limited.url) as client:
        await client.send(event(3, "api.services.test.ask", "who?"))
        question = str(await client.receive())
        number = question[2 : question.index("[")]
        await client.send(*SPENT, event(4, ECHO, None))
        check((await answer(client, "434"))[0]["error"])
        await client.send(f'43{number}["me"]')
        assert (await answer(client, "433"))[0] == {"data": "me"}


async def test_21_who_leaves_and_comes_back_is_the_same(limited):
    """A new CONNECT on the same connection brings no new bucket."""
    async with wire(limited.url) as client:
        await client.send(*SPENT, "41")
        assert str(await client.join()).startswith("40{")
        await client.send(event(3, ECHO, None))
        check((await answer(client, "433"))[0]["error"])


async def test_21_without_a_limit_nobody_counts(server):
    """As it is by default."""
    async with wire(server.url) as client:
        await client.send(*(event(number, ECHO, None) for number in range(2000)))
        for number in range(2000):
            assert await answer(client, f"43{number}") == [{"data": None}]
