"""Row 40 for one client: who sends much at once is read in turns with the others, and in the order of what was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.peers import Endpoint, open_polling
from tests.hardening.rounds import CARRIERS, config
from tests.support.plugins import SPIN, write_neighbour, write_plugin
from tests.support.server import Server, serving
from tests.support.waiting import until
from tests.support.wire import Wire, wire

COUNT = 200
HELLO = '427["api.neighbour.hello"]'

TOIL = (
    SPIN
    + """
    import asyncio
    import os
    from contextvars import ContextVar
    from pathlib import Path

    from jackfield import Call, Service, hookimpl

    service = Service("api.toil")
    seen = []
    user = ContextVar("user", default="nobody")

    @service.function
    async def work(call: Call, data: float) -> str:
        spin(data)
        return "done"

    @service.function
    async def who(call: Call) -> str:
        spin(0.003)
        return user.get()

    @service.function
    async def act(call: Call, data: str) -> None:
        user.set(data)
        while True:
            await asyncio.sleep(0.0005)
            await call.emit("tick")

    @service.function
    async def block(call: Call, data: tuple[int, float]) -> None:
        clients, seconds = data
        while sum(call.kernel.stats().connections.values()) < clients:
            await asyncio.sleep(0.01)
        held, loop, (end, other) = asyncio.Event(), asyncio.get_running_loop(), os.pipe()

        def hold():  # where packets are read: timers come next
            loop.remove_reader(end)
            os.close(end)
            os.close(other)
            Path("blocked").touch()
            while not Path("sent").exists():
                time.sleep(0.001)
            time.sleep(seconds)
            held.set()

        loop.add_reader(end, hold)
        os.write(other, b"x")
        await held.wait()

    @service.function
    async def note(call: Call, data: object) -> None:
        seen.append(len(data) if isinstance(data, bytes) else data)

    @service.function
    async def noted(call: Call) -> list[object]:
        return seen

    @service.function
    async def forget(call: Call) -> None:
        seen.clear()

    @hookimpl
    def jackfield_services():
        return [service]
"""
)


@pytest.fixture(scope="module", params=CARRIERS, name="server")
def _server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("toil")
    write_plugin(folder / "plugins", "toil", TOIL, namespaces=["api.toil"])
    path = write_neighbour(folder / "plugins")
    with serving(folder, config=config(request.param, limits="loop_lag = 0"), path=[path]) as server:
        yield server


def _work(seconds: float) -> list[str]:
    """Return the packets of so many calls, numbered from 100."""
    return [f'42{100 + number}["api.toil.work",{seconds}]' for number in range(COUNT)]


def _written(client: Wire, *messages: str | bytes, close: bool = False) -> None:
    """Send messages in one write, so that all of them are there before the first is read."""
    protocol = client.socket.protocol
    for message in messages:
        if isinstance(message, bytes):
            protocol.send_binary(message)
        else:
            protocol.send_text(message.encode())
    if close:
        protocol.send_close(1000)
    client.socket.transport.write(b"".join(protocol.data_to_send()))


async def _answered(client: Wire, last: str, done: list[str]) -> None:
    while not done or done[-1] != last:
        done.append(str(await client.receive()).partition("[")[0])


async def test_40_who_calls_much_at_once_does_not_hold_up_the_others(server: Server) -> None:
    """Another client is answered while the calls of the first, much work in one write, still run."""
    async with wire(server.url) as eager, wire(server.url) as other:
        done: list[str] = []
        _written(eager, *_work(0.003))
        reading = asyncio.create_task(_answered(eager, f"43{99 + COUNT}", done))
        for _ in range(5):
            assert await other.ask(HELLO) == {"data": "still here"}
        assert len(done) < COUNT
        await reading
        assert done == [f"43{100 + number}" for number in range(COUNT)]


async def test_40_a_post_of_much_does_not_hold_up_the_others(server: Server) -> None:
    """The same by polling."""
    session = await open_polling(Endpoint.at(server.url))
    await session.post("40")
    assert str((await session.receive())[0]).startswith("40{")
    async with wire(server.url) as other:
        posting = asyncio.create_task(session.post(*_work(0.003)))
        for _ in range(5):
            assert await other.ask(HELLO) == {"data": "still here"}
        assert not posting.done()
        assert (await posting).text == "ok"
        answers: list[str | bytes] = []
        while len(answers) < COUNT:
            answers += await session.receive()
        assert [str(answer).partition("[")[0] for answer in answers] == [f"43{100 + number}" for number in range(COUNT)]


@pytest.mark.parametrize("leaves", [False, True], ids=["closes", "hangs up"])
async def test_40_what_waits_for_its_turn_keeps_its_order(server: Server, leaves: bool) -> None:
    """Text, Buffers and the close come after the work before them, even of a client that has hung up meanwhile."""
    place = '{"_placeholder":true,"num":0}'
    notes: list[str | bytes] = [
        '42["api.toil.note",1]',
        f'451-["api.toil.note",{place}]',
        b"12345",
        '42["api.toil.note",2]',
    ]
    async with wire(server.url) as watcher:
        await watcher.ask('427["api.toil.forget"]')
        async with wire(server.url) as client:
            _written(client, *_work(0.001), *notes, *notes, close=not leaves)
            if leaves:
                client.socket.transport.write_eof()
                assert await client.closed() == 1006
            else:
                assert await client.closed() == 1000
        wanted = {"data": [1, 5, 2] * 2}
        while (noted := await watcher.ask('427["api.toil.noted"]')) != wanted:
            assert len(noted["data"]) < len(wanted["data"]), json.dumps(noted)
            await asyncio.sleep(0.01)


async def test_40_who_waits_for_a_turn_is_not_read_in_the_context_of_another(server: Server) -> None:
    """What the function of one client sets in its context, and sends, is nothing to the calls of others."""
    async with wire(server.url) as actor, wire(server.url) as one, wire(server.url) as other:
        await actor.send('427["api.toil.act","alice"]')
        assert str(await actor.receive()).startswith('42["tick"')
        answers: list[str] = []
        for _ in range(8):
            for client in (one, other):
                _written(client, *['421["api.toil.who"]'] * 10)
            for client in (one, other):
                answers += [str(await client.receive()) for _ in range(10)]
        assert set(answers) == {'431[{"data":"nobody"}]'}
        actor.socket.transport.abort()


@pytest.mark.carrier
async def test_40_many_clients_with_little_each_are_no_overload(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Four clients always have something to read, and nobody waits long: no call is turned away."""
    folder = tmp_path_factory.mktemp("little")
    write_plugin(folder / "plugins", "toil", TOIL, namespaces=["api.toil"])
    with serving(folder, config=config("auto", limits="loop_lag = 1.5"), path=[folder / "plugins"]) as server:

        async def always() -> None:
            async with wire(server.url) as client:
                _written(client, *['421["api.toil.work",0.001]'] * 60)
                for _ in range(800):
                    assert await client.receive() == '431[{"data":"done"}]'
                    await client.send('421["api.toil.work",0.001]')

        await asyncio.gather(*(always() for _ in range(4)))
        assert "overloaded" not in server.log


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_40_what_the_server_has_not_read_yet_is_not_late(tmp_path: Path, carrier: str) -> None:
    """A function holds the event loop until the time of two others is over, whose packets came before."""
    write_plugin(tmp_path / "plugins", "toil", TOIL, namespaces=["api.toil"])
    limits = "loop_lag = 0\nconnect_timeout = 1\nbuffers_timeout = 1"
    with serving(tmp_path, config=config(carrier, limits=limits), path=[tmp_path / "plugins"]) as server:
        async with wire(server.url) as client:
            announced = '451-7["api.toil.note",{"_placeholder":true,"num":0}]'
            _written(client, '428["api.toil.block",[2,1.1]]', announced)
            async with wire(server.url, join=False) as newcomer:
                await until((tmp_path / "blocked").exists)
                _written(newcomer, "40")
                _written(client, b"12345")
                (tmp_path / "sent").touch()
                assert str(await newcomer.receive()).startswith('40{"sid":')
                assert {await client.receive() for _ in range(2)} == {'438[{"data":null}]', '437[{"data":null}]'}
