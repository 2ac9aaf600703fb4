"""Number 45: nothing depends on what time it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from tests.conformance.peers import Endpoint, open_polling
from tests.hardening.rounds import CARRIERS, ECHO, config, is_served
from tests.support.client import connected
from tests.support.plugins import write_plugin
from tests.support.server import Server, serving
from tests.support.wire import Wire, wire

HOUR = 3600

CLOCK = """
    import time

    from jackfield import Call, Service, hookimpl

    service = Service("api.clock")
    real = time.time
    offset = 0.0

    @service.function
    async def step(call: Call, data: float) -> None:
        global offset
        offset = data
        time.time = lambda: real() + offset

    @service.function
    async def shows(call: Call) -> float:
        return time.time() - real()

    @hookimpl
    def jackfield_services():
        return [service]
"""


@pytest.fixture(scope="module", params=CARRIERS, name="server")
def _server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose clock a client can put forward and back."""
    folder = tmp_path_factory.mktemp("clock")
    path = write_plugin(folder / "plugins", "clock", CLOCK, namespaces=["api.clock"])
    text = config(request.param, server="ping_interval = 0.3\nping_timeout = 10", limits="connect_timeout = 5")
    with serving(folder, config=text, path=[path]) as server:
        yield server


async def _pinged(client: Wire, count: int) -> None:
    """Wait for pings, and answer them."""
    while count:
        if await client.socket.recv() == "2":
            await client.send("3")
            count -= 1


@pytest.mark.parametrize("step", [HOUR, -HOUR, 365 * 24 * HOUR], ids=["forward", "back", "a year"])
async def test_45_a_step_of_the_clock_disconnects_nobody(server: Server, step: float) -> None:
    """Three pings later all are there: by websocket, by polling, by either one after the other, and on their way in."""
    async with AsyncExitStack() as stack:
        stepper = await stack.enter_async_context(wire(server.url))
        entering = await stack.enter_async_context(wire(server.url, join=False))
        by_websocket = await stack.enter_async_context(wire(server.url))
        members = [await stack.enter_async_context(connected(server.url, *how)) for how in ((), ("polling",))]
        session = await open_polling(Endpoint.at(server.url))
        assert (await session.post("40")).text == "ok"
        await stepper.ask(f'427["api.clock.step",{step}]')
        assert abs((await stepper.ask('427["api.clock.shows"]'))["data"]) > HOUR / 2
        await _pinged(by_websocket, 3)
        assert await by_websocket.ask(f'427["{ECHO}",1]') == {"data": 1}
        assert str(await entering.join()).startswith('40{"sid":')
        for member in members:
            assert await member.call(ECHO, 1) == {"data": 1}
        assert (await session.receive())[0].startswith('40{"sid":')
        assert (await session.post(f'420["{ECHO}",1]')).text == "ok"
        assert await session.receive() == ['430[{"data":1}]']
        await stepper.ask('427["api.clock.step",0]')
        await _pinged(by_websocket, 1)
        for member in members:
            assert await member.call(ECHO, 2) == {"data": 2}
    await is_served(server.url)


@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forward", "back"])
async def test_45_a_step_of_the_clock_changes_no_deadline(server: Server, step: float) -> None:
    """A call with time left ends well, and one whose time is up ends in time."""
    async with wire(server.url) as client:
        pause = '"event":"api.services.test.sleep","data":{"seconds":%s},"timeout":%d'
        await client.send("421" + '["event",{%s}]' % (pause % ("0.5", 20_000)))
        await client.send("422" + '["event",{%s}]' % (pause % ("60", 1_000)))
        await client.ask(f'427["api.clock.step",{step}]')
        assert str(await client.receive()).startswith('431[{"data":')
        assert '"deadline_exceeded"' in str(await client.receive())
        await client.ask('427["api.clock.step",0]')
    await is_served(server.url)
