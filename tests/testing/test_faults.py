"""Clients and neighbours that behave badly, in memory as over a network."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jackfield import Call, CallError, Service, hookimpl
from jackfield.client import ConnectError, ConnectionLost
from jackfield.testing import RunningKernel, serve
from tests.support.waiting import until
from tests.testing.plugins import echo_service

both = pytest.mark.parametrize("network", [False, True], ids=["memory", "network"])


def held(kernel: RunningKernel) -> int:
    """How many calls of the plugin run, streams among them."""
    return kernel.kernel.stats().plugins["echo"].calls


@both
async def test_a_client_that_vanishes_says_no_good_bye(network: bool) -> None:
    """Its calls end on both sides; the function of the server is cancelled."""
    cancelled: list[str] = []
    service = Service("api.echo")

    @service.function
    async def linger(call: Call) -> None:
        """Take for ever."""
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.append(call.event)
            raise

    async with serve(service, network=network) as kernel:
        client = await kernel.connect()
        call = asyncio.create_task(client.call("api.echo.linger"))
        await until(lambda: held(kernel))
        await client.vanish()
        with pytest.raises(ConnectionLost):
            await call
        assert not client.connected
        await until(lambda: cancelled == ["api.echo.linger"])
        with pytest.raises(RuntimeError, match=r"^this client is not connected$"):
            await client.vanish()


@both
async def test_a_client_that_vanished_may_come_back(network: bool) -> None:
    """By itself, if it was connected so."""
    async with serve(echo_service(), network=network) as kernel:
        client = await kernel.connect(reconnect=True)
        await client.vanish()
        assert await client.call("api.echo.echo", "again") == "again"


@both
async def test_a_client_that_does_not_read_holds_its_stream_up(network: bool) -> None:
    """The items wait at the server; when it reads on, all of them come, in order."""
    async with serve(echo_service(), network=network, config={"limits": {"streams": 4}}) as kernel:
        client, other = await kernel.connect(), await kernel.connect()
        stream = client.stream("api.echo.numbers", 2000, credit=2000)
        async with stream:
            first = await anext(stream)
            client.stop_reading()
            await until(lambda: held(kernel) == 1)
            assert await other.call("api.echo.echo", "x") == "x"
            assert held(kernel) == 1  # twenty megabytes do not fit between the two
            client.read_on()
            items = [first, *[item async for item in stream]]
        assert items == [number.to_bytes(10_000, "big") for number in range(2000)]
        assert held(kernel) == 0


async def test_a_client_that_never_reads_is_cut_off() -> None:
    """After `limits.backlog_timeout`."""
    gone: list[str] = []

    class Watching:
        @hookimpl
        async def jackfield_disconnect(self, reason: str) -> None:
            gone.append(reason)

    async with serve(
        echo_service(), neighbours={"watching": Watching()}, config={"limits": {"backlog_timeout": 10}}
    ) as kernel:
        client = await kernel.connect()
        async with client.stream("api.echo.numbers", 2000, credit=2000) as stream:
            await anext(stream)
            client.stop_reading()
            await kernel.clock.advance(9)
            assert gone == []
            await kernel.clock.advance(3)
            assert gone == ["slow reader"]
            client.read_on()
            with pytest.raises(ConnectionLost):
                async for _ in stream:
                    pass


async def test_a_deadline_passes() -> None:
    """Without anybody waiting for it: the server says so."""
    async with serve(echo_service()) as kernel:
        client = await kernel.connect()
        call = asyncio.create_task(client.call("api.echo.wait", 100, timeout=20))
        await kernel.clock.advance(19)
        assert not call.done()
        await kernel.clock.advance(1)
        with pytest.raises(CallError, match=r"^deadline_exceeded: api\.echo\.wait did not end in time\.$"):
            await call


@both
async def test_a_server_that_drains_takes_no_calls(network: bool) -> None:
    """Those that run end well; clients are told, and new ones are turned away."""
    async with serve(echo_service(), network=network) as kernel:
        client = await kernel.connect()
        call = asyncio.create_task(client.call("api.echo.ask", "to be answered"))
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def think(_: Any) -> str:
            return await answer

        client.on("question", think)
        await until(lambda: held(kernel))
        await kernel.drain()
        assert (await client.next_event("server"))["state"] == "draining"
        with pytest.raises(CallError, match=r"^unavailable: The server is going away\.$"):
            await client.call("api.echo.echo", "x")
        with pytest.raises(ConnectError):
            await kernel.connect()
        answer.set_result("in time")
        assert await call == "in time"


@both
async def test_a_message_that_is_too_large_ends_the_connection(network: bool) -> None:
    """As the server's limit says."""
    async with serve(echo_service(), config={"limits": {"message_size": 10_000}}, network=network) as kernel:
        client = await kernel.connect()
        assert await client.call("api.echo.echo", "x" * 9_000) == "x" * 9_000
        with pytest.raises(ConnectionLost, match=r"limits\.message_size"):
            await client.call("api.echo.echo", "x" * 20_000)
