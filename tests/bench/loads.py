"""What is done to a server that is up: each function puts one load on it, and returns figures."""

from __future__ import annotations

import asyncio
import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import psutil

from tests.bench.flows import Flow
from tests.bench.frames import Request
from tests.bench.generator import (
    LIMIT,
    BenchError,
    Closed,
    Connection,
    Load,
    Open,
    Publisher,
    Subscriber,
    answer_all,
    connect,
    connect_all,
    now,
)
from tests.bench.servers import Running

Figures = dict[str, float]

_OPEN_SLOTS: Final = 32
"""Calls in flight of one connection at a fixed rate; fewer than any server's limit."""
_WINDOW: Final = 16
"""Broadcasts that have not been acknowledged."""
_SETTLED: Final = 64 * 1024
_SETTLING: Final = 5.0


@dataclass
class Window:
    """The time in which is measured, and what it cost both sides."""

    seconds: float = 0.0
    server: float = 0.0
    generator: float = 0.0
    machine: float = 0.0

    def shares(self) -> Figures:
        """Return how busy both were, and everything else on the machine; 1 is one core."""
        return {
            "server_share": self.server / self.seconds,
            "generator_share": self.generator / self.seconds,
            "others_share": max(0.0, self.machine - self.server - self.generator) / self.seconds,
        }


class Busy(Protocol):
    """What uses processor time."""

    @property
    def cpu(self) -> float:
        """Seconds of it so far."""


class Offered(Protocol):
    """What sends something when it is due."""

    def offer(self, due: float) -> None:
        """Take what was due at a moment."""

    def flush(self) -> None:
        """Send what was taken."""


@contextmanager
def measured(server: Busy) -> Iterator[Window]:
    """Measure time and processor time until the block ends; no garbage is collected here meanwhile."""
    window = Window()
    gc.collect()
    gc.disable()
    began, server_began, own_began, machine_began = now(), server.cpu, time.process_time(), _machine()
    try:
        yield window
        window.seconds = now() - began
        window.server = server.cpu - server_began
        window.generator = time.process_time() - own_began
        window.machine = _machine() - machine_began
    finally:
        gc.enable()


def _machine() -> float:
    """Return the seconds of processor time that all processes have used, or were kept from using by other machines."""
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0) + getattr(times, "steal", 0))


def quantiles(latencies: Sequence[float]) -> Figures:
    """Return median, 99th percentile and maximum in milliseconds."""
    ordered = sorted(latencies)
    last = len(ordered) - 1
    return {
        "p50_ms": ordered[math.ceil(last * 0.5)] * 1e3,
        "p99_ms": ordered[math.ceil(last * 0.99)] * 1e3,
        "max_ms": ordered[last] * 1e3,
    }


async def closed(
    server: Running, requests: Sequence[Request], connections: int, warm: float, seconds: float
) -> Figures:
    """Keep a number of calls in flight, each reply sending the next.

    Args:
        server: Which one.
        requests: All calls in flight, shared out evenly among the connections.
        connections: How many there are.
        warm: Seconds before anything is measured.
        seconds: Seconds in which is measured.
    """
    load = Load()
    each = len(requests) // connections
    shares = iter([requests[start : start + each] for start in range(0, len(requests), each)])
    opened = await connect_all(server.url, lambda: Closed(load, next(shares)), connections)
    for connection in opened:
        connection.begin()
    await asyncio.sleep(warm)
    with measured(server) as window:
        load.latencies.clear()
        await asyncio.sleep(seconds)
        latencies = load.latencies[:]
    await answer_all(load, opened)
    close(load, opened)
    return {**_calls(server, load, latencies, window), **window.shares()}


async def side_by_side(
    servers: Sequence[Running], requests: Sequence[Request], connections: int, warm: float, seconds: float
) -> list[Figures]:
    """Put the same load on several servers at the same time, and return the figures of each.

    They share the core, so that whatever else the machine does meets all alike: what their calls cost can be
    compared far more closely than one after the other.
    """
    return await asyncio.gather(*(closed(server, requests, connections, warm, seconds) for server in servers))


async def fixed_rate(
    server: Running, request: Request, connections: int, rate: float, warm: float, seconds: float
) -> Figures:
    """Send calls at a fixed rate, whatever comes back; each counts from the moment at which it was due.

    Args:
        server: Which one.
        request: The call.
        connections: How many share the calls, in turn.
        rate: Calls a second.
        warm: Seconds before anything is measured.
        seconds: Seconds in which is measured.
    """
    load = Load()
    opened = await connect_all(server.url, lambda: Open(load, [request] * _OPEN_SLOTS), connections)
    offer_at(rate, opened, load)
    await asyncio.sleep(warm)
    with measured(server) as window:
        load.latencies.clear()
        await asyncio.sleep(seconds)
        latencies = load.latencies[:]
    await answer_all(load, opened)
    close(load, opened)
    shares = window.shares()
    del shares["generator_share"]  # it spins
    return {"offered": rate, **_calls(server, load, latencies, window), **shares}


def offer_at(rate: float, connections: Sequence[Offered], load: Load) -> None:
    """Offer connections something in turn, so often a second, until the load is stopped."""
    loop = asyncio.get_running_loop()
    began, sent = now(), 0

    def pace() -> None:
        """Spin: a timer of the event loop is a millisecond late, which is longer than most calls take."""
        nonlocal sent
        due = int((now() - began) * rate)
        for number in range(sent, due):
            connections[number % len(connections)].offer(began + number / rate)
        if due > sent:
            for connection in connections:
                connection.flush()
        sent = max(sent, due)
        if not load.stopped:
            loop.call_soon(pace)

    pace()


async def broadcast(server: Running, request: Request, data: Any, subscribers: int, seconds: float) -> Figures:
    """Broadcast as fast as broadcasts are acknowledged, and see that every copy arrives."""
    load = Load()
    opened: list[Connection] = []
    opened += await connect_all(server.url, lambda: Subscriber(load, data), subscribers)
    publisher_load = Load()
    publisher = await connect(server.url, lambda: Publisher(publisher_load, [request] * _WINDOW))
    with measured(server) as window:
        publisher.begin()
        await asyncio.sleep(seconds)
        await answer_all(publisher_load, [publisher])
        wanted = len(publisher_load.latencies) * subscribers
        end = now() + LIMIT
        while load.delivered < wanted and not load.errors and now() < end:  # noqa: ASYNC110 - counts have no event
            await asyncio.sleep(0.001)
    if load.delivered != wanted:
        load.fail(f"{load.delivered} copies arrived of {wanted}")
    close(load, [*opened, publisher])
    if publisher_load.errors:
        raise BenchError(f"{server.target.title}: {publisher_load.problem}")
    if not load.delivered:
        raise BenchError(f"{server.target.title} broadcast nothing: {load.problem}")
    return {
        "rate": load.delivered / window.seconds,
        "cpu_us": window.server / load.delivered * 1e6,
        "count": load.delivered,
        "errors": load.errors,
        **window.shares(),
    }


async def flowing(
    server: Running,
    make: Callable[[Load], Flow],
    connections: int,
    warm: float,
    seconds: float,
    unit: float = 1.0,
) -> Figures:
    """Keep a stream going on each connection, one after the other, and count what gets through.

    Args:
        server: Which one.
        make: Makes a connection with its streams.
        connections: How many there are.
        warm: Seconds before anything is measured.
        seconds: Seconds in which is measured.
        unit: How much an item counts.
    """
    load = Load()
    opened = await connect_all(server.url, partial(make, load), connections)
    for flow in opened:
        flow.begin()
    await asyncio.sleep(warm)
    with measured(server) as window:
        before = sum(flow.moved for flow in opened)
        await asyncio.sleep(seconds)
        moved = (sum(flow.moved for flow in opened) - before) * unit
    await answer_all(load, opened)
    close(load, opened)
    server.check()
    if not moved:
        raise BenchError(f"{server.target.title} streamed nothing: {load.problem or 'nothing came'}")
    return {
        "rate": moved / window.seconds,
        "cpu_us": window.server / moved * 1e6,
        "count": moved / unit,
        "errors": load.errors,
        **window.shares(),
    }


async def connecting(server: Running, count: int) -> Figures:
    """Open connections and join each, some at a time."""
    load = Load()
    warm = await connect_all(server.url, partial(Connection, load), 50)
    with measured(server) as window:
        opened = await connect_all(server.url, partial(Connection, load), count)
    close(load, [*warm, *opened])
    return {
        "rate": count / window.seconds,
        "cpu_us": window.server / count * 1e6,
        "count": count,
        "errors": load.errors,
        **window.shares(),
    }


async def idle(server: Running, counts: Sequence[int]) -> dict[int, Figures]:
    """Return the memory of an idle connection, at each of the growing numbers of connections."""
    load = Load()
    close(load, await connect_all(server.url, partial(Connection, load), 100))
    before = await _settled(server)
    opened: list[Connection] = []
    found = {}
    for count in counts:
        opened += await connect_all(server.url, partial(Connection, load), count - len(opened))
        found[count] = {"kib": (await _settled(server) - before) / count / 1024, "errors": float(load.errors)}
    close(load, opened)
    return found


async def first_answer(server: Running, request: Request) -> None:
    """Connect, and have one call answered."""
    load = Load()
    connection = await connect(server.url, lambda: Closed(load, [request]))
    connection.begin()
    await answer_all(load, [connection])
    close(load, [connection])
    if load.errors:
        raise BenchError(f"{server.target.title}: {load.problem}")


def _calls(server: Running, load: Load, latencies: Sequence[float], window: Window) -> Figures:
    server.check()
    if not latencies:
        raise BenchError(f"{server.target.title} answered nothing: {load.problem or 'no reply came'}")
    return {
        "rate": len(latencies) / window.seconds,
        "cpu_us": window.server / len(latencies) * 1e6,
        **quantiles(latencies),
        "count": len(latencies),
        "errors": load.errors,
    }


async def _settled(server: Running) -> int:
    """Return the server's memory once it does not change any more."""
    end = now() + _SETTLING
    last = server.rss
    while now() < end:
        await asyncio.sleep(0.3)
        latest = server.rss
        if abs(latest - last) < _SETTLED:
            return latest
        last = latest
    return last


def close(load: Load, connections: Sequence[Connection]) -> None:
    """End connections, and tell the first of what went wrong on them."""
    for connection in connections:
        connection.close()
    if load.problem:
        print(f"  ! {load.errors} errors, the first: {load.problem}", flush=True)
