"""Engine.IO, version 4: the cases of the protocol's public test suite.

All clients answer pings unless they say otherwise, so that a close is a decision of the server's and never a session
that was given up.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.conformance.peers import (
    CLOSE,
    Endpoint,
    fetch,
    frame,
    is_refused,
    open_polling,
    open_websocket,
    websocket,
)
from tests.conformance.server import MAX_PAYLOAD, PING_INTERVAL, PING_TIMEOUT


def _settings(opened: dict[str, Any]) -> dict[str, Any]:
    """Return what a handshake says, without the session's id, which is to be a text."""
    sid = opened.pop("sid")
    assert isinstance(sid, str)
    assert sid
    return opened


def _announced(upgrades: list[str]) -> dict[str, Any]:
    return {
        "upgrades": upgrades,
        "pingInterval": PING_INTERVAL * 1000,
        "pingTimeout": PING_TIMEOUT * 1000,
        "maxPayload": MAX_PAYLOAD,
    }


# ------------------------------------------------------------------- the handshake


async def test_a_session_opens_by_polling(endpoint: Endpoint) -> None:
    """The answer names the session, the upgrade, the times of pings in milliseconds, and the largest payload."""
    answer = await fetch(endpoint, "GET", endpoint.target("polling"))
    assert (answer.status, answer.text[0]) == (200, "0")
    assert _settings(json.loads(answer.text[1:])) == _announced(["websocket"])


async def test_a_session_opens_by_websocket(endpoint: Endpoint) -> None:
    """The first message says the same, save that there is nothing to upgrade to."""
    async with websocket(endpoint, endpoint.target("websocket")) as socket:
        message = await socket.receive_any()
        assert message[0] == "0"
        assert _settings(json.loads(message[1:])) == _announced([])


@pytest.mark.parametrize("version", [{}, {"EIO": "abc"}, {"EIO": ""}], ids=["none", "letters", "empty"])
async def test_another_version_is_refused(endpoint: Endpoint, version: dict[str, str]) -> None:
    """`EIO` has to be there, and be a version that is spoken."""
    answer = await fetch(endpoint, "GET", endpoint.raw_target(transport="polling", **version))
    assert (answer.status, answer.json["code"]) == (400, 5)
    assert await is_refused(endpoint, endpoint.raw_target(transport="websocket", **version))


@pytest.mark.parametrize("transport", [{}, {"transport": "abc"}, {"transport": ""}], ids=["none", "letters", "empty"])
async def test_an_unknown_transport_is_refused(endpoint: Endpoint, transport: dict[str, str]) -> None:
    """`transport` has to be there, and be one that is spoken; there is no default."""
    target = endpoint.raw_target(EIO="4", **transport)
    answer = await fetch(endpoint, "GET", target)
    assert (answer.status, answer.json["code"]) == (400, 0)
    assert await is_refused(endpoint, target)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_only_get_opens_a_session(endpoint: Endpoint, method: str) -> None:
    """Any other method is a bad request."""
    answer = await fetch(endpoint, method, endpoint.target("polling"))
    assert (answer.status, answer.json["code"]) == (400, 2)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_session_is_refused(endpoint: Endpoint, method: str) -> None:
    """Over both carriers."""
    answer = await fetch(endpoint, method, endpoint.target("polling", sid="nobody"))
    assert (answer.status, answer.json["code"]) == (400, 1)
    assert await is_refused(endpoint, endpoint.target("websocket", sid="nobody"))


# ------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    "packets",
    [["4hello"], ["4test1", "4test2", "4test3"], ["4hello", "bAQIDBA=="], ["bAQIDBA==", "4€", "4"]],
    ids=["one", "several", "text and bytes", "bytes and text"],
)
async def test_messages_come_back_by_polling(echo: Endpoint, packets: list[str]) -> None:
    """One request may hold several, of both kinds; their order is kept."""
    session = await open_polling(echo)
    answer = await session.post(*packets)
    assert (answer.status, answer.text) == (200, "ok")
    received: list[str] = []
    while len(received) < len(packets):
        received += await session.receive()
    assert received == packets


async def test_messages_that_wait_come_in_one_payload(echo: Endpoint) -> None:
    """Of what was sent together nothing is left to the next poll."""
    session = await open_polling(echo)
    assert (await session.post("4test1", "4test2", "4test3")).text == "ok"
    assert await session.receive() == ["4test1", "4test2", "4test3"]


@pytest.mark.parametrize("message", ["4hello", b"\1\2\3\4", "4", "4€", b"", b"\0" * 70_000], ids=repr)
async def test_a_message_comes_back_by_websocket(echo: Endpoint, pace: str, message: str | bytes) -> None:
    """Text with its type before it, bytes as they are."""
    async with open_websocket(echo, pace) as socket:
        await socket.send(message)
        assert await socket.receive() == message


async def test_messages_keep_their_order_by_websocket(echo: Endpoint, pace: str) -> None:
    """Text and bytes in turn."""
    messages: list[str | bytes] = ["41", b"2", "43", b"4", "45"]
    async with open_websocket(echo, pace) as socket:
        await socket.send(*messages)
        assert [await socket.receive() for _ in messages] == messages


async def test_a_packet_that_is_none_closes_the_session_by_polling(echo: Endpoint) -> None:
    """The request is refused, and the session is gone."""
    session = await open_polling(echo)
    assert (await session.post("abc")).status == 400
    assert (await session.get()).status == 400


async def test_a_packet_that_is_none_closes_the_session_by_websocket(echo: Endpoint, pace: str) -> None:
    """What came before it is served, what comes after it is not."""
    async with open_websocket(echo, pace) as socket:
        await socket.send("abc", "4hello")
        assert await socket.closed() == []


async def test_two_polls_at_once_close_the_session(echo: Endpoint) -> None:
    """The poll that waits is told, the other is refused, and the session is gone."""
    session = await open_polling(echo)
    first = await session.poll()
    second = await session.get()
    answer = await first.answer()
    assert (answer.status, answer.text) == (200, "1")
    assert second.status in (400, 500)  # the JavaScript server's is 500
    assert (await session.get()).status == 400


# ------------------------------------------------------------------- pings


async def test_polls_bring_pings(endpoint: Endpoint) -> None:
    """A client that answers them stays."""
    session = await open_polling(endpoint)
    for _ in range(3):
        answer = await session.get()
        assert (answer.status, answer.text) == (200, "2")
        assert (await session.post("3")).status == 200


async def test_a_websocket_brings_pings(endpoint: Endpoint) -> None:
    """A client that answers them stays."""
    async with open_websocket(endpoint) as socket:
        for _ in range(2):
            assert await socket.receive_any() == "2"
            await socket.send("3")
        assert await socket.receive_any() == "2"


async def test_who_does_not_answer_pings_is_closed_by_websocket(endpoint: Endpoint) -> None:
    """One ping, and then the end."""
    async with open_websocket(endpoint) as socket:
        assert await socket.closed(silent=True) == ["2"]


async def test_who_does_not_answer_pings_is_forgotten_by_polling(endpoint: Endpoint) -> None:
    """Whether it polls or not: by when a session that was opened later is closed, it is gone."""
    session = await open_polling(endpoint)
    async with open_websocket(endpoint) as later:
        await later.closed(silent=True)
    assert (await session.get()).status == 400


async def test_polling_is_no_answer_to_a_ping(endpoint: Endpoint) -> None:
    """A client that polls on and never answers is gone in the same time."""
    session = await open_polling(endpoint)
    assert (await session.get()).text == "2"
    async with open_websocket(endpoint) as later:
        poll = await session.poll()
        await later.closed(silent=True)
    await poll.answer()
    assert (await session.get()).status == 400


# ------------------------------------------------------------------- the end


async def test_a_client_closes_by_polling(endpoint: Endpoint) -> None:
    """The poll that waits is answered with nothing, and the session is gone."""
    session = await open_polling(endpoint)
    poll = await session.poll()
    assert (await session.post("1")).status == 200
    answer = await poll.answer()
    assert (answer.status, answer.text) == (200, "6")
    assert (await session.get()).status == 400


async def test_a_client_closes_by_websocket(endpoint: Endpoint, pace: str) -> None:
    """The server closes the websocket, without waiting for the next ping to go unanswered."""
    async with open_websocket(endpoint, pace) as socket:
        await socket.send("1")
        assert await socket.closed() == []


@pytest.mark.parametrize("code", [None, 1000, 1001, 3000, 4999])
async def test_the_close_of_a_client_is_answered(endpoint: Endpoint, code: int | None) -> None:
    """With its own code, or with none where it gave none; browsers that read another one raise errors."""
    async with open_websocket(endpoint) as socket:
        payload = b"" if code is None else code.to_bytes(2)
        socket.connection.transport.write(frame(payload, CLOSE))
        assert await socket.closed() == []
        assert socket.connection.close_code in ({1000, 1005} if code is None else {1000, code})


# ------------------------------------------------------------------- the upgrade


async def test_a_session_moves_from_polling_to_a_websocket(echo: Endpoint, pace: str) -> None:
    """The probe is answered, the poll that waits is ended with nothing, and messages go by the websocket."""
    session = await open_polling(echo)
    async with websocket(echo, echo.target("websocket", sid=session.opened["sid"]), pace) as socket:
        await socket.send("2probe")
        assert await socket.receive_any() == "3probe"
        poll = await session.get()
        assert (poll.status, poll.text) == (200, "6")
        await socket.send("5", "4hello")
        assert await socket.receive() == "4hello"


async def test_a_session_that_moved_stays(endpoint: Endpoint) -> None:
    """Its pings come by the websocket."""
    session = await open_polling(endpoint)
    async with websocket(endpoint, endpoint.target("websocket", sid=session.opened["sid"])) as socket:
        await socket.send("2probe")
        assert await socket.receive_any() == "3probe"
        await socket.send("5")
        for _ in range(2):
            assert await socket.receive_any() == "2"
            await socket.send("3")


async def _stays(endpoint: Endpoint, socket: Any) -> None:
    """The session that has moved is served as before."""
    if endpoint.path == "/engine.io":
        await socket.send("4hello")
        assert await socket.receive() == "4hello"
    else:
        await socket.send("40")
        assert str(await socket.receive()).startswith('40{"sid":')


async def test_a_session_that_moved_has_no_polls(endpoint: Endpoint, pace: str) -> None:
    """A poll is refused, and the session goes on."""
    session = await open_polling(endpoint)
    async with websocket(endpoint, endpoint.target("websocket", sid=session.opened["sid"]), pace) as socket:
        await socket.send("2probe", "5")
        assert await socket.receive() == "3probe"
        assert (await session.get()).status == 400
        await _stays(endpoint, socket)


async def test_a_session_that_moved_has_one_websocket(endpoint: Endpoint, pace: str) -> None:
    """Another one is refused or closed with nothing said, and the session goes on."""
    session = await open_polling(endpoint)
    target = endpoint.target("websocket", sid=session.opened["sid"])
    async with websocket(endpoint, target, pace) as socket:
        await socket.send("2probe", "5")
        assert await socket.receive() == "3probe"
        assert await is_refused(endpoint, target)
        await _stays(endpoint, socket)


async def test_a_session_that_is_moving_has_one_websocket(endpoint: Endpoint) -> None:
    """Another one is refused, the first is not disturbed."""
    session = await open_polling(endpoint)
    target = endpoint.target("websocket", sid=session.opened["sid"])
    async with websocket(endpoint, target) as socket:
        await socket.send("2probe")
        assert await socket.receive() == "3probe"
        assert await asyncio.gather(*(is_refused(endpoint, target) for _ in range(3))) == [True] * 3
        await socket.send("5")
        await _stays(endpoint, socket)
