"""Numbers 11, 16 and 28: sessions by polling say what became of each request, are not hoarded, and not stolen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.conformance.peers import (
    LIMIT,
    Answer,
    Endpoint,
    Polling,
    Request,
    ask,
    fetch,
    is_refused,
    open_polling,
    open_websocket,
    refused_websocket,
    websocket,
)
from tests.hardening.rounds import CARRIERS, ECHO, config, is_served, stays_flat
from tests.support.client import connected
from tests.support.server import Server, serving
from tests.support.wire import wire

MESSAGE_SIZE = 1_000_000


@pytest.fixture(scope="module", params=CARRIERS, name="server")
def _server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with all its defaults."""
    with serving(tmp_path_factory.mktemp("server"), config=config(request.param)) as server:
        yield server


@pytest.fixture(name="endpoint")
def _endpoint(server: Server) -> Endpoint:
    return Endpoint.at(server.url)


async def _joined(endpoint: Endpoint) -> Polling:
    """Open a session that has connected."""
    session = await open_polling(endpoint)
    assert (await session.post("40")).text == "ok"
    assert (await session.receive())[0].startswith('40{"sid":')
    return session


async def _answers(session: Polling, count: int) -> list[str]:
    """Wait for so many packets."""
    packets: list[str] = []
    while len(packets) < count:
        packets += await session.receive()
    return packets


async def _is_over(session: Polling) -> None:
    """The session is gone, for polls and for more packets."""
    for answer in (await session.get(), await session.post("3")):
        assert (answer.status, answer.json["code"]) == (400, 1)


# ------------------------------------------------------------------- 11: what is posted


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"abc",
        b"\x1e",
        b"4\x1e",
        b"b!!!!",
        b"bAA",
        b"bAA==\n",
        b"bAB==",
        '4"\xff"'.encode("latin-1"),
        b"4\xed\xa0\x80",
        b"4" + b"[" * 100_000,
        b"0",
        b"2probe",
        b"5",
        '42["événement"'.encode(),
    ],
    ids=lambda body: ascii(body[:12]),
)
async def test_11_a_body_that_is_none_is_refused(endpoint: Endpoint, server: Server, body: bytes) -> None:
    """400, and the session is gone: there is no telling what its client takes for said."""
    session = await _joined(endpoint)
    answer = await fetch(endpoint, "POST", session.target, body)
    assert (answer.status, answer.json["code"]) == (400, 3)
    await _is_over(session)
    await is_served(server.url)


async def test_11_a_poll_that_waits_learns_of_a_body_that_is_none(endpoint: Endpoint, server: Server) -> None:
    """It is not left to wait for a session that is gone."""
    session = await _joined(endpoint)
    poll = await session.poll()
    assert (await session.post("abc")).status == 400
    answer = await poll.answer()
    assert answer.status == 400 or answer.text == "1"
    await _is_over(session)
    await is_served(server.url)


async def _chunked(session: Polling, *chunks: bytes) -> Answer:
    """Post a body in chunks, until it ends or the server has answered."""
    endpoint = session.endpoint
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    head = [f"POST {session.target} HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked", "", ""]
    writer.write("\r\n".join(head).encode())
    with contextlib.suppress(ConnectionError):
        for chunk in chunks:
            writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
    return await Request(reader, writer).answer()


async def test_11_chunks_are_delivered(endpoint: Endpoint, server: Server) -> None:
    """A body need not say its length beforehand, and chunks end where they like."""
    session = await _joined(endpoint)
    assert (await _chunked(session, b'420["api.serv', f'ices.test.echo",0]\x1e421["{ECHO}",1]'.encode())).text == "ok"
    assert await _answers(session, 2) == ['430[{"data":0}]', '431[{"data":1}]']
    await is_served(server.url)


async def test_11_a_body_of_the_limit_is_delivered(endpoint: Endpoint, server: Server) -> None:
    """To the byte."""
    session = await _joined(endpoint)
    head, tail = f'420["{ECHO}","', '"]'
    body = head + "x" * (MESSAGE_SIZE - len(head) - len(tail)) + tail
    poll = await session.poll()
    assert (await session.post(body)).text == "ok"
    assert len((await poll.answer()).text) > MESSAGE_SIZE - 100
    await is_served(server.url)


@pytest.mark.parametrize("polled", [False, True])
@pytest.mark.parametrize("size", [MESSAGE_SIZE + 1, 2 * MESSAGE_SIZE])
async def test_11_a_body_beyond_the_limit_is_refused(
    endpoint: Endpoint, server: Server, size: int, polled: bool
) -> None:
    """413 before any of it has come, whether a poll waits or not; the session is gone."""
    session = await _joined(endpoint)
    poll = await session.poll() if polled else None
    request = await ask(endpoint, "POST", session.target, headers={"Content-Length": str(size)})
    assert (await request.answer()).status == 413
    if poll is not None:
        answer = await poll.answer()
        assert answer.status == 400 or answer.text == "1"
    await _is_over(session)
    await is_served(server.url)


async def test_11_chunks_beyond_the_limit_are_refused(endpoint: Endpoint, server: Server) -> None:
    """413 as soon as they are too much; the session is gone."""
    session = await _joined(endpoint)
    assert (await _chunked(session, *[b"4" + bytes(99_999)] * 11)).status == 413
    await _is_over(session)
    await is_served(server.url)


@pytest.mark.parametrize("count", [1, 10, 16, 17, 64, 100, pytest.param(1_000, marks=pytest.mark.full)])
async def test_11_every_packet_of_a_burst_is_answered(endpoint: Endpoint, server: Server, count: int) -> None:
    """Once each: served, or refused because too many calls are in flight."""
    session = await _joined(endpoint)
    assert (await session.post(*(f'42{number}["{ECHO}",{number}]' for number in range(count)))).text == "ok"
    answers = await _answers(session, count)
    assert {int(answer[2 : answer.index("[")]) for answer in answers} == set(range(count))
    assert len(answers) == count
    assert all('{"data":' in answer or '"resource_exhausted"' in answer for answer in answers)
    await is_served(server.url)


@pytest.mark.parametrize("count", [50, pytest.param(1_000, marks=pytest.mark.full)])
async def test_11_a_stock_client_has_every_event_answered(server: Server, count: int) -> None:
    """However many it sends at once."""
    async with connected(server.url, "polling") as client:
        answers = await asyncio.gather(*(client.call(ECHO, number) for number in range(count)))
        for number, answer in enumerate(answers):
            assert answer == {"data": number} or answer["error"]["code"] == "resource_exhausted"


@pytest.mark.parametrize("packet", ["6", "3"])
async def test_11_a_body_of_many_packets_holds_up_nobody(endpoint: Endpoint, server: Server, packet: str) -> None:
    """While one client's body, hundreds of thousands of packets that say nothing, is taken, another is answered."""
    session = await open_polling(endpoint)
    async with connected(server.url, "websocket") as other:
        posted = asyncio.ensure_future(session.post("\x1e".join([packet] * 400_000)))
        answered = 0
        while not posted.done():
            assert await other.call("api.system.ping") == {"data": "pong"}
            answered += 1
        assert posted.result().text == "ok"
        assert answered > 50


async def test_11_two_polls_end_the_session(endpoint: Endpoint, server: Server) -> None:
    """The one that waits is told so, the other is refused."""
    session = await _joined(endpoint)
    first = await session.poll()
    second = await session.get()
    answer = await first.answer()
    assert (answer.status, answer.text) == (200, "1")
    assert second.status == 400
    await _is_over(session)
    await is_served(server.url)


async def test_11_an_upgraded_session_takes_no_posts(endpoint: Endpoint, server: Server) -> None:
    """They are refused, never swallowed; the session goes on by its websocket."""
    session = await _joined(endpoint)
    async with websocket(endpoint, endpoint.target("websocket", sid=session.opened["sid"])) as socket:
        await socket.send("2probe")
        assert await socket.receive() == "3probe"
        await socket.send("5", f'420["{ECHO}",0]')
        assert await socket.receive() == '430[{"data":0}]'
        assert (await session.post(f'421["{ECHO}",1]')).status == 400
        await socket.send(f'422["{ECHO}",2]')
        assert await socket.receive() == '432[{"data":2}]'
    await is_served(server.url)


@pytest.mark.parametrize("last", ["2probe", "5"], ids=["upgrading", "upgraded"])
async def test_11_a_second_websocket_is_refused(endpoint: Endpoint, server: Server, last: str) -> None:
    """Or closed with nothing said, as stock clients expect; the session goes on by the first."""
    session = await _joined(endpoint)
    target = endpoint.target("websocket", sid=session.opened["sid"])
    async with websocket(endpoint, target) as socket:
        await socket.send("2probe")
        assert await socket.receive() == "3probe"
        if last == "5":
            await socket.send("5", f'420["{ECHO}",0]')
            assert await socket.receive() == '430[{"data":0}]'
        assert await asyncio.gather(*(is_refused(endpoint, target) for _ in range(3))) == [True] * 3
        if last == "2probe":
            await socket.send("5")
        await socket.send(f'421["{ECHO}",1]')
        assert await socket.receive() == '431[{"data":1}]'
    await is_served(server.url)


@pytest.mark.parametrize("said", [None, "2probe", "2nothing", "4hello", "3", b"x"], ids=str)
async def test_11_a_websocket_that_gives_up_changes_nothing(
    endpoint: Endpoint, server: Server, said: str | bytes | None
) -> None:
    """The session goes on by polling, and another websocket may take over."""
    session = await _joined(endpoint)
    target = endpoint.target("websocket", sid=session.opened["sid"])
    async with websocket(endpoint, target) as socket:
        if said is not None:
            await socket.send(said)
            if said == "2probe":
                assert await socket.receive() == "3probe"
            else:
                assert await socket.closed() == []
    assert (await session.post(f'420["{ECHO}",0]')).text == "ok"
    while (packets := await session.receive()) == ["6"]:
        pass
    assert packets == ['430[{"data":0}]']
    async with websocket(endpoint, target) as socket:
        await socket.send("2probe")
        assert await socket.receive() == "3probe"
        await socket.send("5", f'421["{ECHO}",1]')
        assert await socket.receive() == '431[{"data":1}]'
    await is_served(server.url)


async def test_11_memory_does_not_grow_with_refused_bodies(endpoint: Endpoint, server: Server) -> None:
    """Large and malformed ones, each of a session of its own."""

    async def attack() -> None:
        for _ in range(5):
            session = await _joined(endpoint)
            with contextlib.suppress(ConnectionError):  # the answer may be lost with what it cuts off
                await _chunked(session, *[b"4" + bytes(99_999)] * 11)
            session = await _joined(endpoint)
            assert (await session.post("4" + "[" * 500_000)).status == 400

    await stays_flat(server, attack)


# ------------------------------------------------------------------- 16: sessions that nobody uses


@pytest.fixture(scope="module", params=CARRIERS, name="narrow")
def _narrow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that waits for CONNECT for a second, from fifty clients at a time."""
    text = config(request.param, limits="pending = 50\nconnect_timeout = 1")
    with serving(tmp_path_factory.mktemp("narrow"), config=text) as server:
        yield server


async def _handshake(endpoint: Endpoint) -> Answer:
    return await fetch(endpoint, "GET", endpoint.target("polling"))


async def _crowd(endpoint: Endpoint, count: int) -> list[int]:
    """Begin so many sessions, a few at a time, and return the statuses of the answers."""
    statuses: list[int] = []
    for _ in range(0, count, 50):
        statuses += [answer.status for answer in await asyncio.gather(*(_handshake(endpoint) for _ in range(50)))]
    return statuses


async def _room(server: Server) -> None:
    """Wait until others are let in again: when those before them connected, or were given up."""
    async with asyncio.timeout(6 * LIMIT):
        while True:
            with contextlib.suppress(InvalidStatus):
                await is_served(server.url)
                return


async def test_16_past_the_limit_clients_are_asked_to_come_later(narrow: Server) -> None:
    """503 with a time, by either carrier, until those that never connected are given up; members are served."""
    endpoint = Endpoint.at(narrow.url)
    await _room(narrow)
    async with wire(narrow.url) as member:
        statuses = await _crowd(endpoint, 100)
        assert set(statuses) == {200, 503}
        assert statuses.count(200) <= 50
        answer = await _handshake(endpoint)
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) > 0
        assert await refused_websocket(endpoint, endpoint.target("websocket")) == 503
        assert await member.ask(f'427["{ECHO}",1]') == {"data": 1}
        await _room(narrow)


async def test_16_who_has_connected_is_no_half_open_session(narrow: Server) -> None:
    """More clients than may be pending at once come one after the other, and stay."""
    endpoint = Endpoint.at(narrow.url)
    await _room(narrow)
    async with contextlib.AsyncExitStack() as stack:
        members = [await stack.enter_async_context(wire(narrow.url)) for _ in range(60)]
        assert [await member.ask(f'427["{ECHO}",1]') for member in members] == [{"data": 1}] * 60
        sessions = [await _joined(endpoint) for _ in range(60)]
        assert len({session.opened["sid"] for session in sessions}) == 60
    await is_served(narrow.url)


async def test_16_who_goes_leaves_room(narrow: Server) -> None:
    """A websocket that was closed is not waited for."""
    endpoint = Endpoint.at(narrow.url)
    await _room(narrow)
    for _ in range(200):
        async with websocket(endpoint, endpoint.target("websocket")) as socket:
            assert str(await socket.receive())[:2] == "0{"
    await is_served(narrow.url)


@pytest.mark.parametrize("rounds", [5, pytest.param(10, marks=pytest.mark.full)])
async def test_16_memory_does_not_grow_with_half_open_websockets(narrow: Server, rounds: int) -> None:
    """A crowd after the other, each given up in its time."""
    endpoint = Endpoint.at(narrow.url)

    async def idle() -> bool:
        try:
            async with open_websocket(endpoint) as socket:
                return await socket.closed() == []
        except InvalidStatus as refused:
            return refused.response.status_code == 503

    async def attack() -> None:
        await _room(narrow)
        assert all(await asyncio.gather(*(idle() for _ in range(60))))

    await stays_flat(narrow, attack, rounds)


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_16_memory_does_not_grow_with_half_open_sessions(narrow: Server) -> None:
    """The same by polling."""
    endpoint = Endpoint.at(narrow.url)

    async def attack() -> None:
        assert 503 in await _crowd(endpoint, 100)
        await _room(narrow)

    await _room(narrow)
    await stays_flat(narrow, attack)


@pytest.mark.full
@pytest.mark.timeout(300)
@pytest.mark.parametrize("carrier", ["picows", "asgi"])
async def test_16_ten_thousand_half_open_sessions_are_gone_in_time(tmp_path: Path, carrier: str) -> None:
    """A thousand are let in by default, and no more until these were given up."""
    with serving(tmp_path, config=config(carrier)) as server:  # of its own: others would find it full for a while
        async with wire(server.url) as member:
            statuses = await _crowd(Endpoint.at(server.url), 10_000)
            assert 503 in statuses
            assert await member.ask(f'427["{ECHO}",1]') == {"data": 1}
        await _room(server)


# ------------------------------------------------------------------- 28: a session of somebody else

OWN = {"Authorization": "Bearer own"}
OTHERS = [{}, {"Authorization": "Bearer other"}, {"Authorization": ""}]


async def _guarded(endpoint: Endpoint) -> str:
    """Open a session with an `Authorization`, and return its target."""
    answer = await fetch(endpoint, "GET", endpoint.target("polling"), headers=OWN)
    sid = answer.text.partition('"sid":"')[2].partition('"')[0]
    target = endpoint.target("polling", sid=sid)
    assert (await fetch(endpoint, "POST", target, b"40", headers=OWN)).text == "ok"
    assert (await fetch(endpoint, "GET", target, headers=OWN)).text.startswith('40{"sid":')
    return target


@pytest.mark.parametrize("headers", OTHERS, ids=["none", "another", "empty"])
async def test_28_a_session_is_of_who_began_it(endpoint: Endpoint, server: Server, headers: dict[str, str]) -> None:
    """Neither a poll, nor a post, nor a websocket is served without what the handshake showed; the owner goes on."""
    target = await _guarded(endpoint)
    for answer in (
        await fetch(endpoint, "GET", target, headers=headers),
        await fetch(endpoint, "POST", target, b"41", headers=headers),
        await fetch(endpoint, "POST", target, b"abc", headers=headers),
    ):
        assert (answer.status, answer.json["code"]) == (403, 4)
    upgrade = target.replace("transport=polling", "transport=websocket")
    assert await refused_websocket(endpoint, upgrade, headers=headers) == 403
    assert (await fetch(endpoint, "POST", target, f'420["{ECHO}",0]'.encode(), headers=OWN)).text == "ok"
    assert (await fetch(endpoint, "GET", target, headers=OWN)).text == '430[{"data":0}]'
    async with websocket(endpoint, upgrade, headers=OWN) as socket:
        await socket.send("2probe")
        assert await socket.receive() == "3probe"
        await socket.send("5", f'421["{ECHO}",1]')
        assert await socket.receive() == '431[{"data":1}]'
    await is_served(server.url)


async def test_28_the_poll_of_the_owner_is_not_ended_by_another(endpoint: Endpoint, server: Server) -> None:
    """A second poll ends a session only if it is the owner's."""
    target = await _guarded(endpoint)
    poll = await ask(endpoint, "GET", target, headers=OWN)
    assert (await fetch(endpoint, "GET", target)).status == 403
    assert (await fetch(endpoint, "POST", target, f'420["{ECHO}",0]'.encode(), headers=OWN)).text == "ok"
    assert (await poll.answer()).text == '430[{"data":0}]'
    await is_served(server.url)


async def test_28_ids_are_not_to_be_guessed(endpoint: Endpoint, server: Server) -> None:
    """They are long, and none is like another."""
    ids = [(await open_polling(endpoint)).opened["sid"] for _ in range(50)]
    assert len({sid[:8] for sid in ids}) == len({sid[-8:] for sid in ids}) == 50
    assert min(map(len, ids)) >= 20
    await is_served(server.url)


async def test_28_the_id_of_a_session_is_told_to_nobody_else(endpoint: Endpoint, server: Server) -> None:
    """What a client is called in its namespace does not open its session."""
    async with wire(server.url, join=False) as client:
        public = str(await client.join()).partition('"sid":"')[2].partition('"')[0]
        assert (await fetch(endpoint, "GET", endpoint.target("polling", sid=public))).json["code"] == 1
        assert await client.ask(f'427["{ECHO}",1]') == {"data": 1}
