"""Numbers 1, 2, 3, 10 and 12: the protocol is kept, by the server and by those who speak to it."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from tests.conformance.peers import (
    SEPARATOR,
    Endpoint,
    Polling,
    fetch,
    open_polling,
    open_websocket,
    refused_websocket,
    websocket,
)
from tests.hardening.hostile import PACKETS, Attack
from tests.hardening.rounds import CARRIERS, ECHO, config, is_served
from tests.support.client import connected
from tests.support.diary import write_diary
from tests.support.server import Server, serving
from tests.support.wire import Wire, wire


@pytest.fixture(scope="module", params=CARRIERS, name="server")
def _server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that keeps a diary of connections, calls and farewells."""
    folder = tmp_path_factory.mktemp("diary")
    with serving(folder, config=config(request.param), path=[write_diary(folder)]) as server:
        yield server


@pytest.fixture(name="reader")
async def _reader(server: Server) -> AsyncIterator[Wire]:
    """Another client, which reads the diary, and is served throughout."""
    async with wire(server.url) as client:
        yield client


async def _story(reader: Wire, sid: str) -> list[str]:
    """Return what the diary says of a client that has gone."""
    while True:
        seen = (await reader.ask('427["api.diary.read"]'))["data"]
        if any(entry[:2] == ["disconnect", sid] for entry in seen):
            return [entry[0] for entry in seen if entry[1] == sid]


# ------------------------------------------------------------------- 1: the protocol, as it is spoken by the server


@pytest.mark.parametrize(
    ("method", "query", "status", "code"),
    [
        ("GET", {"EIO": "4"}, 400, 0),
        ("GET", {"EIO": "4", "transport": "flashsocket"}, 400, 0),
        ("GET", {"EIO": "4", "transport": "polling", "sid": "nobody"}, 400, 1),
        ("POST", {"EIO": "4", "transport": "polling", "sid": "nobody"}, 400, 1),
        ("POST", {"EIO": "4", "transport": "polling"}, 400, 2),
        ("PUT", {"EIO": "4", "transport": "polling"}, 400, 2),
        ("GET", {"EIO": "4", "transport": "websocket"}, 400, 3),
        ("GET", {"transport": "polling"}, 400, 5),
        ("GET", {"EIO": "3", "transport": "polling"}, 400, 5),
        ("GET", {"EIO": "٤", "transport": "polling"}, 400, 5),
    ],
    ids=str,
)
async def test_1_what_is_refused_is_refused_in_the_protocols_words(
    server: Server, method: str, query: dict[str, str], status: int, code: int
) -> None:
    """An object with the protocol's number for the fault, and a sentence."""
    endpoint = Endpoint.at(server.url)
    answer = await fetch(endpoint, method, endpoint.raw_target(**query))
    assert (answer.status, answer.json["code"]) == (status, code)
    assert set(answer.json) == {"code", "message"}
    assert answer.json["message"]
    assert answer.headers["content-type"].startswith("application/json")
    await is_served(server.url)


@pytest.mark.parametrize(
    "query",
    [{"EIO": "4"}, {"transport": "websocket"}, {"EIO": "4", "transport": "websocket", "sid": "nobody"}],
    ids=["no transport", "no version", "no session"],
)
async def test_1_a_websocket_is_refused_before_it_opens(server: Server, query: dict[str, str]) -> None:
    """With the status of a bad request."""
    endpoint = Endpoint.at(server.url)
    assert await refused_websocket(endpoint, endpoint.raw_target(**query)) == 400
    await is_served(server.url)


async def test_1_a_page_of_nobody_is_refused_in_the_same_words(server: Server) -> None:
    """The number for what is forbidden."""
    endpoint = Endpoint.at(server.url)
    answer = await fetch(endpoint, "GET", endpoint.target("polling"), headers={"Origin": "https://somewhere.example"})
    assert (answer.status, answer.json["code"]) == (403, 4)


async def test_1_stock_clients_are_served(server: Server) -> None:
    """By polling, by websocket, and by one after the other."""
    for transports in (["polling"], ["websocket"], []):
        async with connected(server.url, *transports) as client:
            assert await client.call(ECHO, "hello") == {"data": "hello"}


# ------------------------------------------------------------------- 2: packets that are none

_OWN_STORY = {"a Buffer too many", "an event after leaving"}
"""What begins with something that is served, or leaves by itself."""
BROKEN = [attack for attack in PACKETS if attack.packet and attack.expected == 1008 and attack.name not in _OWN_STORY]


@pytest.mark.parametrize("attack", BROKEN, ids=lambda attack: attack.name)
async def test_2_a_packet_that_is_none_closes_the_connection(server: Server, reader: Wire, attack: Attack) -> None:
    """By websocket: with 1008; one farewell, and no function was called."""
    async with wire(server.url, join=False) as client:
        sid = json.loads(str(await client.join())[2:])["sid"]
        await client.send(*(message for message in attack.messages if isinstance(message, str | bytes)))
        if attack.name == "Buffers that never come":  # which is another matter, until text comes instead
            await client.send(f'427["{ECHO}"]')
        assert await client.closed() == 1008
    assert await _story(reader, sid) == ["connect", "disconnect"]


async def _join(session: Polling) -> str:
    assert (await session.post("40")).text == "ok"
    return str(json.loads((await session.receive())[0][2:])["sid"])


@pytest.mark.parametrize("attack", BROKEN, ids=lambda attack: attack.name)
async def test_2_a_packet_that_is_none_closes_the_session(server: Server, reader: Wire, attack: Attack) -> None:
    """By polling: the request is refused, the session is gone; one farewell, and no function was called."""
    session = await open_polling(Endpoint.at(server.url))
    sid = await _join(session)
    packets = [message for message in attack.messages if isinstance(message, str | bytes)]
    encoded = [packet if isinstance(packet, str) else f"b{b64encode(packet).decode()}" for packet in packets]
    assert (await session.post(*encoded, f'427["{ECHO}"]')).status == 400
    assert (await session.get()).status == 400
    assert await _story(reader, sid) == ["connect", "disconnect"]


@pytest.mark.parametrize("packet", ["0", "1x", "2", "3x", "5", "6x", "7", "a", "{", "\0", "٤2[]"], ids=ascii)
async def test_2_an_engine_io_packet_that_is_none_closes_too(server: Server, reader: Wire, packet: str) -> None:
    """Also one that only a server sends, or one that belongs to another moment."""
    async with wire(server.url, join=False) as client:
        sid = json.loads(str(await client.join())[2:])["sid"]
        await client.send(packet, f'427["{ECHO}"]')
        assert await client.closed() in (1002, 1008)
    assert await _story(reader, sid) == ["connect", "disconnect"]


_HEADS = st.sampled_from(["", "0", "4", "40", "41", "42", "43", "44", "45", "46", "42٣", "42²"])
_RESTS = st.text('0123456789-/,[]{}":abenult\\ €\U0001f600')
_PACKETS = st.lists(st.builds(str.__add__, _HEADS, _RESTS), min_size=1, max_size=3)


async def _say(url: str, packets: list[str]) -> int:
    """Say something, and return the close code; 0 if the connection stays."""
    async with wire(url) as client:
        try:
            await client.send(*packets)
            await client.ask(f'427["{ECHO}"]')
        except ConnectionClosed:
            return client.socket.close_code or 0
        return 0


@pytest.mark.parametrize("examples", [50, pytest.param(3_000, marks=[pytest.mark.full, pytest.mark.timeout(600)])])
def test_2_whatever_is_said_is_taken_or_closes(server: Server, examples: int) -> None:
    """Nothing else becomes of text that looks like packets, and the next client is served."""

    @settings(max_examples=examples, deadline=None)
    @given(_PACKETS)
    def holds(packets: list[str]) -> None:
        assert asyncio.run(_say(server.url, packets)) in (0, 1000, 1002, 1008)

    holds()
    asyncio.run(is_served(server.url))


# ------------------------------------------------------------------- 3: who never connects


@pytest.fixture(scope="module", params=CARRIERS, name="hasty")
def _hasty(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that waits a second for CONNECT, and pings several times meanwhile."""
    text = config(request.param, server="ping_interval = 0.2\nping_timeout = 5", limits="connect_timeout = 1")
    with serving(tmp_path_factory.mktemp("hasty"), config=text) as server:
        yield server


async def test_3_who_never_connects_is_closed(hasty: Server) -> None:
    """Though it answers every ping; who has connected before it stays."""
    async with wire(hasty.url) as member, wire(hasty.url, join=False) as idle:
        assert await idle.closed() in (1000, 1008)
        assert await member.ask(f'427["{ECHO}",1]') == {"data": 1}


async def test_3_pings_go_on_until_then(hasty: Server) -> None:
    """Each comes after its interval, however long clients may take to answer."""
    pings = 0
    async with wire(hasty.url, join=False) as idle:
        async for message in idle.socket:
            pings += message == "2"
            await idle.send("3")
    assert pings >= 3
    await is_served(hasty.url)


async def test_3_who_polls_and_never_connects_is_closed(hasty: Server) -> None:
    """The same by polling."""
    session = await open_polling(Endpoint.at(hasty.url))
    while (answer := await session.get()).text == "2":
        assert (await session.post("3")).status in (200, 400)
    assert answer.status == 400 or answer.text == "1"
    await is_served(hasty.url)


async def test_3_an_upgrade_is_no_connect(hasty: Server) -> None:
    """A session that has moved to a websocket has no more time than another."""
    endpoint = Endpoint.at(hasty.url)
    session = await open_polling(endpoint)
    async with websocket(endpoint, endpoint.target("websocket", sid=session.opened["sid"])) as socket:
        await socket.send("2probe")
        assert await socket.receive() == "3probe"
        await socket.send("5")
        assert await socket.closed() == []
    await is_served(hasty.url)


async def test_3_a_refusal_is_no_connect(hasty: Server) -> None:
    """A namespace that there is not does not count either."""
    async with open_websocket(Endpoint.at(hasty.url)) as socket:
        await socket.send("40/admin,")
        assert str(await socket.receive()).startswith("44/admin,")
        assert await socket.closed() == []
    await is_served(hasty.url)


# ------------------------------------------------------------------- 10: acknowledgements


async def test_10_a_hundred_acknowledgements_that_nobody_asked_for_are_ignored(server: Server) -> None:
    """One more closes the connection."""
    async with wire(server.url) as client:
        await client.send(*(f"43{number}[]" for number in range(100)))
        assert await client.ask(f'427["{ECHO}",1]') == {"data": 1}
        await client.send("4399[]")
        assert await client.closed() == 1008
    await is_served(server.url)


@pytest.mark.parametrize(
    "answers",
    [
        ["430[1]", "43{id}[2]"],
        ["43{id}[2]", "43{id}[3]", "43{id}[]"],
        ["43{other}[1]", "439007199254740991[1]", "43{id}[2]"],
        ['461-0[{{"_placeholder":true,"num":0}}]', b"x", "43{id}[2]"],
    ],
    ids=["zero", "repeated", "foreign", "zero with a Buffer"],
)
async def test_10_only_the_answer_that_was_asked_for_counts(server: Server, answers: list[str | bytes]) -> None:
    """What nobody asked for damages nothing: this answer arrives once, and so does the next."""
    async with wire(server.url) as client:
        for _ in range(3):
            await client.send('427["api.services.test.ask","why?"]')
            question = str(await client.receive())
            assert question.startswith("42")
            asked = question[2 : question.index("[")]
            for answer in answers:
                other = int(asked) + 1
                await client.send(answer.format(id=asked, other=other) if isinstance(answer, str) else answer)
            assert await client.receive() == '437[{"data":2}]'
        assert await client.ask(f'427["{ECHO}",1]') == {"data": 1}
    await is_served(server.url)


@pytest.mark.parametrize("ack", ["9" * 17, str(2**53), "²", "٣", "-1", "1.0", "+1"])
async def test_10_an_id_that_is_none_closes(server: Server, ack: str) -> None:
    """In what is acknowledged, and in what is to be."""
    for packet in (f"43{ack}[]", f'42{ack}["{ECHO}"]'):
        async with wire(server.url) as client:
            await client.send(packet)
            assert await client.closed() == 1008
    await is_served(server.url)


async def test_10_the_largest_id_is_acknowledged(server: Server) -> None:
    """As it came."""
    async with wire(server.url) as client:
        await client.send(f'42{2**53 - 1}["{ECHO}",1]')
        assert await client.receive() == f'43{2**53 - 1}[{{"data":1}}]'


# ------------------------------------------------------------------- 12: order


async def _all_answered(receive: Any, count: int) -> None:
    """Wait for as many answers as calls were made."""
    while count:
        count -= str(await receive()).startswith("437[")


@pytest.mark.parametrize("count", [60, pytest.param(3_000, marks=pytest.mark.full)])
async def test_12_calls_start_in_the_order_of_arrival(server: Server, reader: Wire, count: int) -> None:
    """Though each takes another time."""
    async with wire(server.url) as client:
        for first in range(0, count, 60):  # of 64 that may be in flight
            numbers = range(first, first + 60)
            await client.send(*(f'427["api.diary.note",{number}]' for number in numbers))
            await _all_answered(client.receive, 60)
            assert (await reader.ask('427["api.diary.noted"]'))["data"] == list(numbers)


async def test_12_calls_by_polling_start_in_the_order_of_arrival(server: Server, reader: Wire) -> None:
    """In one request, and in one after the other."""
    session = await open_polling(Endpoint.at(server.url))
    await _join(session)
    for packets in ([range(30), range(30, 60)], [range(60)]):
        for numbers in packets:
            assert (await session.post(*(f'427["api.diary.note",{number}]' for number in numbers))).text == "ok"
        answers: list[str] = []
        while len(answers) < 60:
            answers += await session.receive()
        assert (await reader.ask('427["api.diary.noted"]'))["data"] == list(range(60))


async def test_12_the_upgrade_loses_nothing_and_changes_no_order(server: Server) -> None:
    """Three hundred events around it: each arrives once, one after the other."""
    endpoint = Endpoint.at(server.url)
    session = await open_polling(endpoint)
    await _join(session)
    came: list[str] = []

    async def say(numbers: range) -> None:
        for number in numbers:
            assert (await session.post(f'42["api.diary.count",{number}]')).text == "ok"

    async def poll() -> None:
        while (answer := await session.get()).text != "6":
            assert answer.status == 200
            came.extend(answer.text.split(SEPARATOR))

    async with websocket(endpoint, endpoint.target("websocket", sid=session.opened["sid"])) as socket:
        polling = asyncio.create_task(poll())
        saying = asyncio.create_task(say(range(100)))
        await socket.send("2probe")
        assert await socket.receive_any() == "3probe"
        await polling
        await saying
        await socket.send("5")
        for first in range(100, 300, 50):  # of 64 that may be in flight
            await socket.send(*(f'42["api.diary.count",{number}]' for number in range(first, first + 50)))
            while len(came) < first + 50:
                came.append(str(await socket.receive()))
    assert came == [f'42["count",{number}]' for number in range(300)]
    await is_served(server.url)
