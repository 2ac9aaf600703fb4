"""Time under control."""

from __future__ import annotations

import asyncio
import logging
import time
from time import monotonic as by_name

import pytest

from jackfield import Call, Principal, Service
from jackfield.testing import Clock, SetupError, serve
from tests.testing.plugins import echo_service


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


async def test_timers_run_at_their_time_in_their_order(clock: Clock) -> None:
    """Those that a timer sets included, each seeing the time for which it was set."""
    seen: list[tuple[str, float]] = []
    start = asyncio.get_running_loop().time()

    async def tick(name: str, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            seen.append((name, round(asyncio.get_running_loop().time() - start)))

    tasks = [asyncio.create_task(tick("three", 300)), asyncio.create_task(tick("two", 200))]
    await clock.advance(650)
    assert seen == [("two", 200), ("three", 300), ("two", 400), ("three", 600), ("two", 600)]
    for task in tasks:
        task.cancel()
    clock.restore()


async def test_all_clocks_move_and_are_given_back(clock: Clock) -> None:
    """`time.time`, `time.monotonic` and their nanoseconds, and the event loop's."""
    loop = asyncio.get_running_loop()

    def read() -> list[float]:
        return [time.time(), time.monotonic(), time.time_ns() / 1e9, time.monotonic_ns() / 1e9, loop.time()]

    def passed() -> list[float]:
        return [round(now - was, -1) for now, was in zip(read(), before, strict=True)]

    before = read()
    await clock.advance(1000)
    await clock.advance(0)
    assert passed() == [1000] * 5
    assert by_name() - before[1] < 500  # of a package that the clock does not know
    clock.restore()
    assert passed() == [0] * 5


async def test_time_does_not_go_back(clock: Clock) -> None:
    """Nor to its end."""
    for seconds in (-1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=r"^time passes by a number of seconds of 0 or more, not "):
            await clock.advance(seconds)


async def test_what_never_rests_is_not_waited_for(clock: Clock) -> None:
    """A task that always has something to do."""

    async def spin() -> None:
        for _ in range(1_000_000):
            await asyncio.sleep(0)

    task = asyncio.create_task(spin())
    await clock.advance(1)
    task.cancel()
    clock.restore()


async def test_debug_mode_does_not_take_a_jump_for_a_slow_callback(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing was slow."""
    asyncio.get_running_loop().set_debug(True)
    await clock.advance(100)
    asyncio.get_running_loop().set_debug(False)
    clock.restore()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_loop_with_a_time_of_its_own_is_told() -> None:
    """uvloop's time does not move."""
    uvloop = pytest.importorskip("uvloop")
    loop = uvloop.new_event_loop()
    try:
        with pytest.raises(SetupError) as raised:
            loop.run_until_complete(Clock().advance(1))
    finally:
        loop.close()
    assert str(raised.value) == (
        "uvloop.Loop keeps a time of its own, which cannot be moved: run this test on the event loop of asyncio"
    )


async def test_on_a_port_time_cannot_be_moved() -> None:
    """The message says what to write."""
    async with serve(echo_service(), network=True) as kernel:
        with pytest.raises(SetupError) as raised:
            await kernel.clock.advance(1)
    assert str(raised.value) == (
        "time cannot be moved for a kernel on a real port, whose packets need real time: leave the test in memory "
        "(@pytest.mark.jackfield(network=False), or serve(…, network=False))"
    )


async def test_the_kernel_lives_through_a_day() -> None:
    """Clients answer its pings, and nothing of it tires."""
    async with serve(echo_service()) as kernel:
        client = await kernel.connect()
        await kernel.clock.advance(86_400)
        assert client.connected
        assert await client.call("api.echo.echo", "x") == "x"
    assert time.monotonic() - by_name() < 1


async def test_a_principals_time_ends() -> None:
    """In seconds since the epoch, which move too."""
    async with serve(echo_service(), authenticated=True) as kernel:
        client = await kernel.connect(as_=Principal("ann", expires=time.time() + 3600))
        await kernel.clock.advance(3500)
        assert client.connected
        await kernel.clock.advance(200)
        assert not client.connected


async def test_a_plugin_that_imported_a_clock_by_name_sees_it_move() -> None:
    """As the modules of its package do."""
    service = Service("api.time")

    @service.function
    async def now(call: Call) -> float:
        """Tell the time."""
        return by_name()

    async with serve(service) as kernel:
        client = await kernel.connect()
        before = await client.call("api.time.now")
        await kernel.clock.advance(5000)
        assert round(await client.call("api.time.now") - before, -1) == 5000
