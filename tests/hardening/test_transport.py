"""Numbers 4, 5, 8, 18 and 23: what one connection can make the server hold is bounded, and freed with it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.peers import BINARY, TEXT, Endpoint, frame, open_polling
from tests.hardening.hostile import PLACE
from tests.hardening.rounds import CARRIERS, ECHO, config, is_served, stays_flat
from tests.support.client import connected
from tests.support.plugins import write_plugin
from tests.support.server import Server, serving
from tests.support.waiting import until
from tests.support.wire import Wire, wire

LIMIT = 1_000_000
FRAGMENTS = 1024
CALLS = 64
REQUESTS = 100
CONTINUATION, PING = 0, 9

HOLD = """
    import asyncio
    import gc

    from jackfield import Call, CallError, Service, hookimpl

    service = Service("api.hold")

    @service.function
    async def uncollected(call: Call, data: bool) -> int:
        if data:
            gc.enable()
        else:
            gc.disable()
        return sum(type(found).__name__ == "Session" for found in gc.get_objects())

    @service.function
    async def long(call: Call) -> None:
        await asyncio.sleep(20)

    @service.function
    async def census(call: Call) -> int:
        return len(asyncio.all_tasks())

    @service.function
    async def buffers(call: Call, data: int) -> list[bytes]:
        return [b"x"] * data

    @service.function
    async def sized(call: Call, data: list[int]) -> list[bytes]:
        return [bytes([number]) * size for number, size in enumerate(data)]

    @service.function
    async def ask(call: Call, data: float) -> str:
        try:
            return await call.client.request("question", timeout=data)
        except CallError as error:
            return error.code

    @service.function
    async def ask_often(call: Call, data: tuple[int, float]) -> list[str]:
        count, timeout = data
        asking = (call.client.request("question", timeout=timeout) for _ in range(count))
        answers = await asyncio.gather(*asking, return_exceptions=True)
        return [str(getattr(answer, "code", answer)) for answer in answers]

    @hookimpl
    def jackfield_services():
        return [service]
"""


def _fixture(name: str, seconds: float) -> Any:
    @pytest.fixture(scope="module", params=CARRIERS, name=name)
    def start(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        """A server whose functions take long, and ask their callers; Buffers have so many seconds to arrive."""
        folder = tmp_path_factory.mktemp("hold")
        path = write_plugin(folder / "plugins", "hold", HOLD, namespaces=["api.hold"])
        limits = f"buffers_timeout = {seconds}"
        with serving(folder, config=config(request.param, limits=limits), path=[path]) as server:
            yield server

    return start


server = _fixture("server", 0.5)
patient = _fixture("patient", 5)


def _fragments(pieces: list[bytes], opcode: int = TEXT, *, unfinished: bool = False) -> bytes:
    """Return the frames of one message."""
    last = len(pieces) - 1
    return b"".join(
        frame(piece, CONTINUATION if number else opcode, final=number == last and not unfinished)
        for number, piece in enumerate(pieces)
    )


async def _write(client: Wire, octets: bytes) -> None:
    """Send bytes as they are, for as long as the server takes them."""
    transport = client.socket.transport
    for start in range(0, len(octets), 64 * 1024):
        transport.write(octets[start : start + 64 * 1024])
        await until(lambda: transport.is_closing() or transport.get_write_buffer_size() < 256 * 1024)
        if transport.is_closing():
            return


async def _is_cut_off(client: Wire, code: int) -> None:
    """Wait for the close; of what is cut off while much of it is on its way, the code is lost with the connection."""
    assert await client.closed() in (code, 1006)
    await client.socket.wait_closed()


# ------------------------------------------------------------------- 4: the size of a message


def _text(size: int) -> bytes:
    """Return a call of so many bytes."""
    head, tail = f'427["{ECHO}","', '"]'
    return (head + "x" * (size - len(head) - len(tail)) + tail).encode()


@pytest.mark.parametrize("pieces", [1, 10, FRAGMENTS])
async def test_4_a_message_of_the_limit_is_served(server: Server, pieces: int) -> None:
    """Whole, or in fragments."""
    message = _text(LIMIT)
    size = -(-LIMIT // pieces)
    async with wire(server.url) as client:
        client.socket.transport.write(_fragments([message[at : at + size] for at in range(0, LIMIT, size)]))
        while not str(answer := await client.receive()).startswith("437["):
            pass
        assert len(answer) > LIMIT - 100
    await is_served(server.url)


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
@pytest.mark.parametrize("pieces", [1, 2, 1_000])
async def test_4_one_byte_more_is_too_much(server: Server, opcode: int, pieces: int) -> None:
    """Finished or not: 1009 as soon as it is more than the limit."""
    size = -(-(LIMIT + 1) // pieces)
    message = b"4" + b"x" * (size * pieces - 1)
    for unfinished in (False, True):
        async with wire(server.url) as client:
            octets = [message[at : at + size] for at in range(0, len(message), size)]
            client.socket.transport.write(_fragments(octets, opcode, unfinished=unfinished))
            assert await client.closed() == 1009
    await is_served(server.url)


async def test_4_what_is_announced_is_not_waited_for(server: Server) -> None:
    """A frame whose length is too much is refused before any of it has come."""
    async with wire(server.url) as client:
        client.socket.transport.write(b"\x81\xff" + (LIMIT + 1).to_bytes(8) + bytes(4))
        assert await client.closed() == 1009
    async with wire(server.url) as client:
        client.socket.transport.write(_fragments([b"4" + bytes(LIMIT - 1)], BINARY, unfinished=True))
        client.socket.transport.write(b"\x80\xfe" + (1_000).to_bytes(2) + bytes(4 + 1_000))
        assert await client.closed() == 1009
    await is_served(server.url)


@pytest.mark.parametrize(
    ("clients", "size"),
    [(3, 3 * LIMIT), pytest.param(20, 20 * LIMIT, marks=[pytest.mark.full, pytest.mark.timeout(300)])],
)
async def test_4_memory_does_not_grow_with_what_is_too_large(server: Server, clients: int, size: int) -> None:
    """Finished and unfinished, from many clients at once."""
    piece = 60_000

    async def attack(*, unfinished: bool) -> None:
        async with wire(server.url) as client:
            await _write(client, _fragments([b"x" * piece] * (size // piece), unfinished=unfinished))
            await _is_cut_off(client, 1009)

    async def attacks() -> None:
        await asyncio.gather(*(attack(unfinished=number % 2 == 0) for number in range(clients)))

    await stays_flat(server, attacks)


async def test_4_memory_does_not_grow_with_what_is_never_finished(server: Server) -> None:
    """Twenty clients leave a message of nearly the limit unfinished, and hang up."""

    async def attack() -> None:
        async with wire(server.url) as client:
            client.socket.transport.write(frame(b"4" + bytes(LIMIT - 100), TEXT, final=False))
            await (await client.socket.ping())  # the answer says that all of it was read
            client.socket.transport.abort()

    async def attacks() -> None:
        await asyncio.gather(*(attack() for _ in range(20)))

    await stays_flat(server, attacks)


# ------------------------------------------------------------------- 5: fragments


async def test_5_many_fragments_are_served(server: Server) -> None:
    """As many as are allowed, with pings between them, again and again."""
    message = [bytes([byte]) for byte in f'427["{ECHO}",1]'.encode()]
    message += [b""] * (FRAGMENTS - len(message))
    octets = b"".join(
        frame(piece, CONTINUATION if number else TEXT, final=number == FRAGMENTS - 1) + frame(b"", PING)
        for number, piece in enumerate(message)
    )
    async with wire(server.url) as client:
        for _ in range(3):
            client.socket.transport.write(octets)
            assert await client.receive() == '437[{"data":1}]'
    await is_served(server.url)


@pytest.mark.parametrize("piece", [b"", b"x"], ids=["empty", "one byte"])
@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
async def test_5_one_fragment_more_is_too_many(server: Server, piece: bytes, opcode: int) -> None:
    """Whatever is in them, finished or not."""
    for unfinished in (False, True):
        async with wire(server.url) as client:
            client.socket.transport.write(_fragments([piece] * (FRAGMENTS + 1), opcode, unfinished=unfinished))
            assert await client.closed() == 1008
    await is_served(server.url)


@pytest.mark.parametrize("piece", [b"", b"x"], ids=["empty", "one byte"])
@pytest.mark.parametrize("count", [10_000, pytest.param(1_000_000, marks=[pytest.mark.full, pytest.mark.timeout(300)])])
async def test_5_memory_does_not_grow_with_fragments(server: Server, piece: bytes, count: int) -> None:
    """Very many of them are not read to their end."""
    octets = frame(b"4", TEXT, final=False) + frame(piece, CONTINUATION, final=False) * count

    async def attack() -> None:
        async with wire(server.url) as client:
            await _write(client, octets)
            await _is_cut_off(client, 1008)

    await stays_flat(server, attack)


# ------------------------------------------------------------------- 8: Buffers


def _places(count: int) -> str:
    return ",".join(PLACE.replace("0", str(number)) for number in range(count))


async def test_8_ten_buffers_go_both_ways(server: Server) -> None:
    """As many as stock clients read."""
    async with wire(server.url) as client:
        await client.send(f'4510-7["{ECHO}",[{_places(10)}]]', *(bytes([number]) for number in range(10)))
        assert await client.receive() == f'4610-7[{{"data":[{_places(10)}]}}]'
        assert [await client.receive() for _ in range(10)] == [bytes([number]) for number in range(10)]
    async with connected(server.url, "polling") as client:
        data = [bytes([number]) for number in range(10)]
        assert await client.call(ECHO, data) == {"data": data}
    await is_served(server.url)


async def test_8_buffers_keep_their_order_whatever_their_sizes(server: Server) -> None:
    """Small ones and large ones are written in different ways, and many of either go out in one turn."""
    sizes = [1, 9_000, 0, 70_000, 300_000, 3, 8_192, 8_193, 200_000, 40]
    asked = json.dumps(sizes)
    calls = 20
    async with wire(server.url) as client:
        await client.send(*(f'42{7 + number}["api.hold.sized",{asked}]' for number in range(calls)))
        for number in range(calls):
            assert await client.receive() == f'4610-{7 + number}[{{"data":[{_places(10)}]}}]'
            assert [await client.receive() for _ in sizes] == [bytes([n]) * size for n, size in enumerate(sizes)]
    await is_served(server.url)


async def test_8_eleven_go_neither_way(server: Server) -> None:
    """From a client they close the connection; a function that returns them has failed, and its caller goes on."""
    async with wire(server.url) as client:
        assert (await client.ask('427["api.hold.buffers",11]'))["error"]["code"] == "resource_exhausted"
        assert await client.ask(f'427["{ECHO}",1]') == {"data": 1}
        await client.send(f'4511-7["{ECHO}",[{_places(11)}]]')
        assert await client.closed() == 1008
    await is_served(server.url)


@pytest.mark.parametrize("sent", [0, 1])
async def test_8_buffers_that_never_come_close_the_connection(server: Server, sent: int) -> None:
    """In half a second, as configured, though every ping is answered."""
    async with wire(server.url) as client:
        await client.send(f'452-7["{ECHO}",[{_places(2)}]]', *[b"x"] * sent)
        assert await client.closed() == 1008
    await is_served(server.url)


async def test_8_buffers_that_never_come_close_the_session(server: Server) -> None:
    """The same by polling."""
    session = await open_polling(Endpoint.at(server.url))
    assert (await session.post("40")).text == "ok"
    assert (await session.receive())[0].startswith('40{"sid":')
    assert (await session.post(f'452-7["{ECHO}",[{_places(2)}]]', "bAA==")).text == "ok"
    answer = await session.get()
    assert answer.status == 400 or answer.text == "1"
    assert (await session.get()).status == 400
    await is_served(server.url)


async def test_8_buffers_that_come_are_not_timed_any_more(server: Server) -> None:
    """Who has sent them all stays, by when somebody is closed who has not."""
    async with wire(server.url) as client, wire(server.url) as late:
        await client.send(f'451-7["{ECHO}",{PLACE}]', b"x")
        assert [await client.receive() for _ in range(2)] == [f'461-7[{{"data":{PLACE}}}]', b"x"]
        await late.send(f'451-7["{ECHO}",{PLACE}]')
        assert await late.closed() == 1008
        assert await client.ask(f'427["{ECHO}",1]') == {"data": 1}


@pytest.mark.parametrize("first", [f'451-7["{ECHO}",{PLACE}]', b"\0", "40{", '451-{"_placeholder":true,"num":0}'])
async def test_8_buffers_before_connect_close_the_connection(server: Server, first: str | bytes) -> None:
    """Nothing is kept of whoever has not come in."""
    async with wire(server.url, join=False) as client:
        await client.send(first)
        assert await client.closed() == 1008
    await is_served(server.url)


async def test_8_memory_does_not_grow_with_buffers_that_wait(server: Server) -> None:
    """Nine of ten, 100 kB each, over either carrier; half of the clients hang up, the others are closed."""
    await _buffers_wait(server, 10)


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_8_memory_does_not_grow_with_very_many_buffers_that_wait(patient: Server) -> None:
    """Those of a hundred clients, which take their time to send so much."""
    await _buffers_wait(patient, 100)


async def _buffers_wait(server: Server, clients: int) -> None:
    packet = f'4510-7["{ECHO}",[{_places(10)}]]'
    buffers = [bytes(100_000)] * 9

    async def by_websocket(*, wait: bool) -> None:
        async with wire(server.url) as client:
            await client.send(packet, *buffers)
            if wait:
                assert await client.closed() == 1008
            else:
                await (await client.socket.ping())
                client.socket.transport.abort()

    async def by_polling() -> None:
        session = await open_polling(Endpoint.at(server.url))
        await session.post("40")
        await session.receive()
        assert (await session.post(packet)).text == "ok"
        for _ in range(7):
            await session.post("b" + "A" * 133_336)  # refused if the time of the first is over
        while (await session.get()).status == 200:
            pass

    async def attacks() -> None:
        attackers = itertools.chain.from_iterable(
            (by_websocket(wait=True), by_websocket(wait=False), by_polling()) for _ in range(clients // 3)
        )
        await asyncio.gather(*attackers)

    await stays_flat(server, attacks)


@pytest.mark.parametrize("leaves", [True, False], ids=["hangs up", "is closed"])
async def test_8_buffers_that_waited_are_let_go_with_their_client(server: Server, leaves: bool) -> None:
    """No reference cycle keeps a session that is over until the garbage collector comes by."""
    async with wire(server.url) as watcher:
        before = await watcher.ask('427["api.hold.uncollected",false]')

        async def come_and_go() -> None:
            async with wire(server.url) as client:
                await client.send(f'4510-7["{ECHO}",[{_places(10)}]]', bytes(1000))
                if leaves:
                    client.socket.transport.abort()
                else:
                    assert await client.closed() == 1008

        await asyncio.gather(*(come_and_go() for _ in range(10)))
        while await watcher.ask('427["api.hold.uncollected",false]') != before:  # noqa: ASYNC110 - each is a question
            await asyncio.sleep(0.01)
        await watcher.ask('427["api.hold.uncollected",true]')


# ------------------------------------------------------------------- 18: calls in flight


async def _census(watcher: Wire) -> int:
    return int((await watcher.ask('427["api.hold.census"]'))["data"])


@pytest.mark.parametrize("count", [2_000, pytest.param(30_000, marks=[pytest.mark.full, pytest.mark.timeout(600)])])
async def test_18_calls_past_the_limit_are_refused_at_once(server: Server, count: int) -> None:
    """The server reads on and answers; it runs no more tasks than calls may be in flight, and none for who is gone."""
    async with wire(server.url) as watcher:
        before = await _census(watcher)

        async def attack() -> None:
            async with wire(server.url) as client:
                client.socket.transport.write(b"".join(frame(b'42["api.hold.long"]', TEXT) for _ in range(CALLS)))
                refused = 0
                for first in range(0, count, 1_000):
                    calls = range(first, first + 1_000)
                    await client.send(*(f'42{number}["api.hold.long"]' for number in calls))
                    for number in calls:
                        answer = str(await client.receive())
                        assert answer.startswith(f"43{number}[")
                        refused += json.loads(answer[answer.index("[") :])[0]["error"]["code"] == "resource_exhausted"
                assert refused == count
                assert await _census(watcher) <= before + CALLS + 8
            while await _census(watcher) > before + 2:
                pass

        await stays_flat(server, attack)


async def test_18_an_ended_call_makes_room(server: Server) -> None:
    """The limit is on calls in flight, not on calls."""
    pause = '42["api.services.test.sleep",{"seconds":0.2}]'
    async with wire(server.url) as client:
        calls = [pause.replace("42", f"42{number}", 1) for number in range(100, 100 + CALLS)]
        client.socket.transport.write(b"".join(frame(call.encode(), TEXT) for call in [*calls, f'427["{ECHO}",1]']))
        assert "resource_exhausted" in str(await client.receive())
        for _ in calls:
            assert '"seconds":0.2' in str(await client.receive())
        assert await client.ask(f'427["{ECHO}",1]') == {"data": 1}
    await is_served(server.url)


# ------------------------------------------------------------------- 23: requests to a client


async def _ask_often(client: Wire, count: int, timeout: float) -> list[str]:
    answer: Any = await client.ask(f'427["api.hold.ask_often",[{count},{timeout}]]')
    return list(answer["data"])


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=[pytest.mark.full, pytest.mark.timeout(300)])])
async def test_23_a_request_that_timed_out_leaves_nothing(server: Server, count: int) -> None:
    """Neither its place, of which there are a hundred, nor memory."""
    async with wire(server.url) as client:

        async def attack() -> None:
            for _ in range(0, count, REQUESTS):
                assert await _ask_often(client, REQUESTS, 0.001) == ["deadline_exceeded"] * REQUESTS

        await stays_flat(server, attack)
        await client.send('428["api.hold.ask",20]')
        while not (question := str(await client.receive())).endswith('["question",null]'):
            pass
        await client.send(f'43{question[2 : question.index("[")]}["because"]')
        assert await client.receive() == '438[{"data":"because"}]'


async def test_23_a_hundred_requests_may_wait(server: Server) -> None:
    """One more is refused at once, to the function that asks, not to the client."""
    async with wire(server.url) as client:
        answers = await _ask_often(client, REQUESTS + 1, 0.2)
        assert sorted(answers) == ["deadline_exceeded"] * REQUESTS + ["resource_exhausted"]
        assert await client.ask(f'427["{ECHO}",1]') == {"data": 1}
    await is_served(server.url)


async def test_23_an_answer_that_comes_too_late_is_ignored(server: Server) -> None:
    """It answers no other request."""
    async with wire(server.url) as client:
        await client.send('428["api.hold.ask",0.001]')
        question = str(await client.receive())
        assert await client.receive() == '438[{"data":"deadline_exceeded"}]'
        await client.send(f'43{question[2 : question.index("[")]}["late"]')
        assert await _ask_often(client, 1, 0.01) == ["deadline_exceeded"]
    await is_served(server.url)


async def test_23_a_client_that_goes_answers_nothing(server: Server) -> None:
    """Its requests end with it, and leave no task."""
    async with wire(server.url) as watcher:
        before = await _census(watcher)
        async with wire(server.url) as client:
            await client.send('427["api.hold.ask_often",[100,60]]')
            for _ in range(REQUESTS):
                assert "question" in str(await client.receive())
            client.socket.transport.abort()
        while await _census(watcher) > before:
            pass
    await is_served(server.url)
