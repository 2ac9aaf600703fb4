"""Socket.IO, version 5: the cases of the protocol's public test suite that are not Engine.IO's.

Clients answer pings, so that a close is a decision of the server's.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.conformance.peers import Endpoint, Socket, open_polling, open_websocket

PLACES = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'


@asynccontextmanager
async def joined(sio: Endpoint, pace: str) -> AsyncIterator[Socket]:
    """Open a websocket that is in the main namespace, past all that the server says by itself."""
    async with open_websocket(sio, pace) as socket:
        await socket.send("40")
        assert str(await socket.receive()).startswith('40{"sid":')
        assert await socket.receive() == '42["auth",{}]'
        yield socket


async def echoes(socket: Socket) -> bool:
    """Tell whether the main namespace serves this client."""
    await socket.send('42["message","still here"]')
    return await socket.receive() == '42["message-back","still here"]'


# ------------------------------------------------------------------- CONNECT


@pytest.mark.parametrize(
    ("connect", "welcome", "auth"),
    [
        ("40", "40", '42["auth",{}]'),
        ('40{"token":"123"}', "40", '42["auth",{"token":"123"}]'),
        ("40/custom,", "40/custom,", '42/custom,["auth",{}]'),
        ("40/custom", "40/custom,", '42/custom,["auth",{}]'),
        ('40/custom,{"token":"abc"}', "40/custom,", '42/custom,["auth",{"token":"abc"}]'),
    ],
)
async def test_a_client_enters_a_namespace(sio: Endpoint, pace: str, connect: str, welcome: str, auth: str) -> None:
    """It is told its id there and nothing else, and then what the application says; `auth` reached the application."""
    async with open_websocket(sio, pace) as socket:
        await socket.send(connect)
        answer = str(await socket.receive())
        assert answer.startswith(welcome + "{")
        told = json.loads(answer.removeprefix(welcome))
        assert list(told) == ["sid"]
        assert isinstance(told["sid"], str)
        assert await socket.receive() == auth


async def test_a_client_enters_a_namespace_by_polling(sio: Endpoint) -> None:
    """The same, without a websocket."""
    session = await open_polling(sio)
    assert (await session.post('40{"token":"123"}')).text == "ok"
    packets = await session.receive()
    if len(packets) == 1:
        packets += await session.receive()
    assert packets[0].startswith('40{"sid":')
    assert packets[1:] == ['42["auth",{"token":"123"}]']


async def test_each_namespace_knows_a_client_by_another_id(sio: Endpoint, pace: str) -> None:
    """And none by the id of its session."""
    async with open_websocket(sio, pace) as socket:
        await socket.send("40", "40/custom,")
        packets = [str(await socket.receive()) for _ in range(4)]
    welcomes = [packet for packet in packets if packet.startswith("40")]
    ids = [json.loads(welcome[welcome.index("{") :])["sid"] for welcome in welcomes]
    assert len(set(ids)) == 2


@pytest.mark.parametrize("connect", ["40/random", "40/random,", '40/random,{"token":"abc"}'])
async def test_an_unknown_namespace_is_refused(sio: Endpoint, pace: str, connect: str) -> None:
    """With the reason as an object; the main namespace stays open to the client."""
    async with open_websocket(sio, pace) as socket:
        await socket.send(connect)
        assert await socket.receive() == '44/random,{"message":"Invalid namespace"}'
        await socket.send("40")
        assert str(await socket.receive()).startswith('40{"sid":')


@pytest.mark.parametrize("first", ["4abc", '42["message"]', "41", "40[]", '40"token"'])
async def test_whoever_does_not_begin_with_connect_is_closed(sio: Endpoint, pace: str, first: str) -> None:
    """A first packet that is no CONNECT, or none at all."""
    async with open_websocket(sio, pace) as socket:
        await socket.send(first)
        assert await socket.closed() == []


async def test_whoever_never_connects_is_closed(sio: Endpoint) -> None:
    """Also a client that answers all pings."""
    async with open_websocket(sio) as socket:
        assert await socket.closed() == []


async def test_whoever_polls_and_never_connects_is_closed(sio: Endpoint) -> None:
    """The same by polling."""
    session = await open_polling(sio)
    while (answer := await session.get()).text == "2":
        assert (await session.post("3")).status in (200, 400)  # 400 if it is closed just then
    assert answer.status == 400 or answer.text == "1"


# ------------------------------------------------------------------- DISCONNECT


async def test_a_client_leaves_the_main_namespace(sio: Endpoint, pace: str) -> None:
    """It hears nothing but pings, and may come back."""
    async with joined(sio, pace) as socket:
        await socket.send("41")
        assert await socket.receive_any() == "2"
        await socket.send("3", "40")
        assert str(await socket.receive()).startswith('40{"sid":')
        assert await socket.receive() == '42["auth",{}]'


@pytest.mark.parametrize("leave", ["41/custom", "41/custom,"])
async def test_leaving_one_namespace_is_not_leaving_another(sio: Endpoint, pace: str, leave: str) -> None:
    """The main one goes on."""
    async with joined(sio, pace) as socket:
        await socket.send("40/custom")
        assert str(await socket.receive()).startswith('40/custom,{"sid":')
        assert await socket.receive() == '42/custom,["auth",{}]'
        await socket.send(leave, '42["message","message to main namespace"]')
        assert await socket.receive() == '42["message-back","message to main namespace"]'


# ------------------------------------------------------------------- events and acknowledgements


@pytest.mark.parametrize(
    ("event", "answer"),
    [
        (['42["message",1,"2",{"3":[true]}]'], ['42["message-back",1,"2",{"3":[true]}]']),
        (
            [f'452-["message",{PLACES}]', b"\1\2\3", b"\4\5\6"],
            [f'452-["message-back",{PLACES}]', b"\1\2\3", b"\4\5\6"],
        ),
        (['42456["message-with-ack",1,"2",{"3":[false]}]'], ['43456[1,"2",{"3":[false]}]']),
        (
            [f'452-789["message-with-ack",{PLACES}]', b"\1\2\3", b"\4\5\6"],
            [f"462-789[{PLACES}]", b"\1\2\3", b"\4\5\6"],
        ),
    ],
    ids=["event", "event with bytes", "acknowledged", "acknowledged with bytes"],
)
async def test_what_a_client_says_comes_back(
    sio: Endpoint, pace: str, event: list[str | bytes], answer: list[str | bytes]
) -> None:
    """As an event or as an acknowledgement, with several arguments, with Buffers behind their header."""
    async with joined(sio, pace) as socket:
        await socket.send(*event)
        assert [await socket.receive() for _ in answer] == answer
        assert await echoes(socket)


async def test_answers_keep_the_order_of_events(sio: Endpoint, pace: str) -> None:
    """Buffers never stand apart from their header, whatever else is said."""
    async with joined(sio, pace) as socket:
        for number in range(3):
            await socket.send(
                f'42["message",{number}]',
                '451-["message",{"_placeholder":true,"num":0}]',
                bytes([number]),
            )
        received = [await socket.receive() for _ in range(9)]
    assert received == [
        part
        for number in range(3)
        for part in (
            f'42["message-back",{number}]',
            '451-["message-back",{"_placeholder":true,"num":0}]',
            bytes([number]),
        )
    ]


@pytest.mark.parametrize(
    "packet",
    ["4abc", "42{}", '42abc["message-with-ack",1,"2",{"3":[false]}]'],
    ids=["unknown type", "payload that is none", "id that is none"],
)
async def test_a_packet_that_is_none_closes_the_connection(sio: Endpoint, pace: str, packet: str) -> None:
    """At once, and nothing that comes after it is served."""
    async with joined(sio, pace) as socket:
        await socket.send(packet, '42["message","too late"]')
        assert await socket.closed() == []
