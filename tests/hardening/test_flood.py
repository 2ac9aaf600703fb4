"""More connections than there is room for: attack 15."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.hardening.fronts import ANYBODY, HERE, PROXY, Reply, fronted, knock, opened, poll, write_front
from tests.hardening.rounds import CARRIERS, ECHO, config, is_served
from tests.support.server import Server, serving
from tests.support.waiting import until
from tests.support.wire import Wire, wire

OTHER = "127.0.0.3"
BATCH = 100
HELD = 300
"""Connections that come at once, and that are open at the same time."""


@pytest.fixture(scope="module", name="bounded", params=CARRIERS)
def _bounded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with few places; each test leaves all of them free."""
    folder = tmp_path_factory.mktemp("bounded")
    text = config(
        request.param,
        server=f'trusted_proxies = ["{PROXY}"]',
        limits="connections = 6\nconnections_per_address = 4\nconnections_per_principal = 2",
    )
    with serving(folder, config=text + ANYBODY, path=[write_front(folder / "p")]) as server:
        yield server


async def both(url: str, source: str = HERE, headers: dict[str, str] | None = None) -> list[Reply]:
    """Knock by each carrier."""
    return [await poll(url, headers, source=source), await knock(url, headers, source=source)]


def assert_full(replies: list[Reply], limit: str) -> None:
    """Check that both carriers say that there is no room, and when to come again."""
    for reply in replies:
        assert reply.status == 503
        assert int({name.lower(): value for name, value in reply.headers.items()}["retry-after"]) > 0
        assert f"(limits.{limit})" in reply.text


async def is_free(url: str, source: str = HERE) -> None:
    """Wait until there is room again."""
    async with asyncio.timeout(20):
        while True:
            if (await knock(url, source=source)).status == 101:
                return
            await asyncio.sleep(0.02)


async def leave(url: str, sid: str, source: str = HERE) -> None:
    """Close a session by polling."""
    assert (await poll(url, sid=sid, body="1", source=source)).status == 200


@pytest.mark.parametrize("limit", ["connections_per_address", "connections"])
async def test_15_connections_have_an_end(bounded: Server, limit: str) -> None:
    """The next one is answered with 503 and when to come again, whoever is in goes on, and who leaves makes room."""
    url = bounded.url
    async with contextlib.AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(fronted(url)) for _ in range(2)]
        sids = [await opened(url) for _ in range(2)]
        if limit == "connections":
            wires += [await stack.enter_async_context(fronted(url, source=OTHER)) for _ in range(2)]
        source = OTHER if limit == "connections" else HERE
        assert_full(await both(url, source), limit)
        await wires[0].join()
        assert await wires[0].ask(f'427["{ECHO}",1]') == {"data": 1}
        assert (await knock(url, sid=sids[0])).status == 101  # an upgrade is no new connection
        await leave(url, sids[0])
        await is_free(url, source)
        await leave(url, sids[1])
    await is_free(url)


async def test_15_a_proxy_s_clients_are_counted_one_by_one(bounded: Server) -> None:
    """By the address that a trusted proxy names, and with IPv6 by the network."""
    async with contextlib.AsyncExitStack() as stack:
        for number in range(4):
            headers = {"X-Forwarded-For": f"2001:db8::{number}"}
            await stack.enter_async_context(fronted(bounded.url, headers, source=PROXY))
        assert_full(await both(bounded.url, PROXY, {"X-Forwarded-For": "2001:db8::ffff"}), "connections_per_address")
        assert (await knock(bounded.url, {"X-Forwarded-For": "2001:db8:0:1::1"}, source=PROXY)).status == 101
    await is_free(bounded.url)


async def test_15_a_principal_s_connections_have_an_end(bounded: Server) -> None:
    """The next one is refused with `resource_exhausted`; another principal is let in, and who leaves makes room."""
    async with contextlib.AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(fronted(bounded.url)) for _ in range(3)]
        for one in wires[:2]:
            assert str(await one.join('{"name":"ann"}')).startswith("40{")
        refusal = str(await wires[2].join('{"name":"ann"}'))
        assert refusal.startswith('44{"message":"You have 2 connections, and may have no more')
        assert '"code":"resource_exhausted"' in refusal
        assert str(await wires[2].join('{"name":"bob"}')).startswith("40{")
        await wires[0].send("41")
        async with fronted(bounded.url) as another:
            assert str(await joined(another, "ann")).startswith("40{")
    await is_free(bounded.url)


async def joined(client: Wire, name: str) -> str:
    """Connect as somebody; a server that has not read yet that another one left says so, three times at the most."""
    for _ in range(3):
        answer = str(await client.join(f'{{"name":"{name}"}}'))
        if answer.startswith("40{"):
            break
    return answer


@pytest.mark.carrier
async def test_15_connects_have_a_rate(tmp_path: Path) -> None:
    """Past it clients are told when to come again; who is in does not notice, and later there is room again."""
    with serving(tmp_path, config=config("picows", limits="connects = 5")) as server:
        async with wire(server.url) as client:
            start = time.monotonic()
            replies = [reply for pair in await asyncio.gather(*(both(server.url) for _ in range(20))) for reply in pair]
            served = [reply for reply in replies if reply.status != 503]
            assert len(served) <= 5 + 5 * (time.monotonic() - start)
            for reply in replies:
                if reply.status == 503:
                    assert_full([reply], "connects")
            assert len(served) < len(replies)
            assert await client.ask(f'427["{ECHO}",1]') == {"data": 1}
        await is_free(server.url)
        lines = [line for line in server.log.splitlines() if "limits.connects" in line]
        assert 1 <= len(lines) <= 1 + time.monotonic() - start


# ------------------------------------------------------------------- the process has no more file descriptors


@pytest.fixture(name="scarce", params=["uvloop", "asyncio"])
def _scarce(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server that may have few file descriptors more than it has, and an admin listener."""
    (tmp_path / "without").mkdir()
    (tmp_path / "without/uvloop.py").write_text("raise ImportError")
    path = [tmp_path / "without"] if request.param == "asyncio" else []
    with serving(tmp_path, config='[server]\nadmin = "127.0.0.1:0"\n', path=path) as server:
        most = psutil.Process(server.process.pid).num_fds() + 32 + 40
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (most, most))
        yield server


async def livez(url: str) -> int:
    """Return the status of a probe."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/livez") as response:
        return response.status


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.full)])
async def test_15_no_file_descriptors(scarce: Server, count: int) -> None:
    """Connections are refused, the probes are not; the log says why once a second; later all is as before."""
    port = int(scarce.url.rpartition(":")[2])
    start = time.monotonic()
    loop = asyncio.get_running_loop()
    async with wire(scarce.url) as client:
        held: list[socket.socket] = []
        try:
            for _ in range(count // BATCH):
                while len(held) >= HELD:
                    held.pop(0).close()
                held += (batch := [socket.socket() for _ in range(BATCH)])
                for attacker in batch:
                    attacker.setblocking(False)
                await asyncio.gather(*(loop.sock_connect(attacker, ("127.0.0.1", port)) for attacker in batch))
                assert await livez(scarce.ready["admin"]) == 200
                assert await client.ask(f'427["{ECHO}",1]') == {"data": 1}
            await until(lambda: "connections are refused: the process may have" in scarce.log)
            answers = [await loop.sock_recv(held[-1], 1000)]
            assert answers[0].startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 5\r\n" in answers[0]
        finally:
            for attacker in held:
                attacker.close()
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(aiohttp.ClientError, OSError):
                    if await livez(scarce.url) == 200:
                        break
                await asyncio.sleep(0.02)
        await is_served(scarce.url)
        assert await client.ask(f'427["{ECHO}",1]') == {"data": 1}
    lines = scarce.log.splitlines()
    assert sum("connections are refused" in line for line in lines) <= 1 + time.monotonic() - start
    assert len(lines) <= 5 + 2 * (time.monotonic() - start)
    assert "Traceback" not in scarce.log
