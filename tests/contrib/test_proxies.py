"""contrib/nginx and contrib/haproxy: the real programs, in front of two real servers."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import socketio

from tests.contrib.proxies import (
    CHECK,
    CONTRIB,
    FILES,
    LIMIT,
    Proxy,
    address_of,
    free_port,
    is_up,
    node,
    program,
    proxying,
    session_ids,
    visitor,
)
from tests.hardening.polling import polling
from tests.interop.places import HERE, javascript
from tests.support.client import connected
from tests.support.server import Server
from tests.support.waiting import eventually, until
from tests.support.wire import wire

REVERSE = "api.services.test.reverse"
ECHO = "api.services.test.echo"
WHERE = "api.where.here"


@pytest.fixture(scope="session", params=["nginx", "haproxy"], name="kind")
def _kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session", name="executable")
def _executable(kind: str, require_all: bool) -> str:
    return program(kind, require_all)


@pytest.fixture(scope="module", name="servers")
def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Two servers for all tests that leave them as they were."""
    folder = tmp_path_factory.mktemp("servers")
    trust = 'trusted_proxies = ["127.0.0.1"]'
    with node(folder / "a", server=trust) as a, node(folder / "b", server=trust) as b:
        yield a, b


@pytest_asyncio.fixture(loop_scope="module", scope="module", name="proxy")
async def _proxy(kind: str, executable: str, servers: tuple[Server, Server], tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("proxy")
    with proxying(kind, executable, folder / "p", *map(address_of, servers)) as proxy:
        await is_up(proxy)
        yield proxy


async def where(client: Any) -> dict[str, Any]:
    """Return what the server that a client is connected to tells of itself and of the client."""
    return dict((await client.call(WHERE))["data"])


def test_the_file_is_valid(kind: str, executable: str, tmp_path: Path) -> None:
    """So the program itself says, of the file as it is but for addresses and paths."""
    arguments = FILES[kind](tmp_path, free_port(), ["127.0.0.1:8001", "127.0.0.1:8002"])
    done = subprocess.run(
        [executable, CHECK[kind], *arguments], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.lower()


@pytest.mark.parametrize("transports", [(), ("websocket",), ("polling",)], ids=["upgrade", "websocket", "polling"])
async def test_clients(proxy: Proxy, transports: tuple[str, ...]) -> None:
    """Stock clients call, small and large, with every carrier; one that polls stays with its server."""
    async with connected(proxy.url, *transports) as client:
        assert await client.call(REVERSE, b"abc") == {"data": b"cba"}
        assert await client.call(ECHO, "x" * 900_000) == {"data": "x" * 900_000}
        assert len({(await where(client))["pid"] for _ in range(10)}) == 1
        assert client.sio.transport() == (transports[0] if transports else "websocket")


def test_the_javascript_client(proxy: Proxy, require_all: bool) -> None:
    """It begins by polling and goes on by websocket."""
    if shutil.which("node") is None or not (HERE / "node_modules/socket.io-client").is_dir():
        (pytest.fail if require_all else pytest.skip)("there is no JavaScript client")
    assert javascript(proxy.url, dict(os.environ)) == {"began": "polling", "ended": "websocket", "reversed": "cba"}


@pytest.mark.parametrize("transports", [("websocket",), ("polling",)], ids=["websocket", "polling"])
async def test_both_servers_have_clients(
    proxy: Proxy, servers: tuple[Server, Server], transports: tuple[str, ...]
) -> None:
    """Websockets are shared out, and so are clients that poll from different addresses."""
    async with AsyncExitStack() as stack:
        seen = set()
        for number in range(2, 14):
            session = await stack.enter_async_context(visitor(number))
            client = await stack.enter_async_context(connected(proxy.url, *transports, http_session=session))
            seen.add((await where(client))["pid"])
        assert seen == {server.process.pid for server in servers}


async def test_the_address_is_the_clients_own_whatever_it_says(proxy: Proxy) -> None:
    """The server learns the address that the proxy sees, and what it speaks."""
    lies = {"X-Forwarded-For": "6.6.6.6", "X-Real-IP": "6.6.6.6", "Forwarded": "for=6.6.6.6", "X-Forwarded-Host": "no"}
    async with visitor(7) as session, connected(proxy.url, http_session=session, headers=lies) as client:
        told = await where(client)
    assert told["shown"] == {"x-forwarded-for": "127.0.0.7", "x-forwarded-proto": "http"}
    assert told["address"] == "127.0.0.7"


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/readyz?verbose", "/healthz", "/metrics", "/socket.iox/"])
async def test_nothing_else_is_passed_on(proxy: Proxy, path: str) -> None:
    """It is not there for those outside."""
    async with aiohttp.ClientSession() as session, session.get(proxy.url + path) as response:
        assert response.status == 404
        assert "content-type" not in response.headers or "json" not in response.headers["content-type"]


async def test_too_large_a_message_is_refused(proxy: Proxy, kind: str, servers: tuple[Server, Server]) -> None:
    """By websocket by the server, by polling at the same size by nginx; no server is taken for dead because of it."""
    async with wire(proxy.url) as client:
        await client.send(f'427["{ECHO}","{"x" * 1_100_000}"]')
        assert await client.closed() == 1009
    async with polling(proxy.url) as session:
        host, port = proxy.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        target = f"/socket.io/?EIO=4&transport=polling&sid={session.sid}"
        writer.write(f"POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000001\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 413 ")
        assert ("Server: nginx" in head) == (kind == "nginx")
        writer.close()
    await test_both_servers_have_clients(proxy, servers, ("websocket",))


async def test_session_ids_are_not_logged(proxy: Proxy) -> None:
    """They are secrets."""
    async with connected(proxy.url, "polling") as client:
        await where(client)

    await until(lambda: '"POST /socket.io/" 200' in proxy.access.read_text(encoding="utf-8"))
    assert session_ids(proxy.access.read_text(encoding="utf-8")) == []


class Newcomers:
    """Clients that come one after the other, so many seconds apart, as long as they are asked to."""

    def __init__(self, url: str, *transports: str, pause: float = 0.01) -> None:
        self.pids: list[int] = []
        self._url = url
        self._transports = transports
        self._pause = pause
        self._enough = asyncio.Event()
        self._task = asyncio.create_task(self._come())

    async def _come(self) -> None:
        while not self._enough.is_set():
            async with connected(self._url, *self._transports) as client:
                self.pids.append((await where(client))["pid"])
            with suppress(TimeoutError):
                await asyncio.wait_for(self._enough.wait(), self._pause)

    async def served_by(self, pid: int, count: int = 3) -> None:
        """Wait until so many in a row were served by a server; a single one that was refused is an error."""

        def look() -> bool:
            if self._task.done():
                self._task.result()
            return self.pids[-count:] == [pid] * count

        await until(look)

    async def stop(self) -> None:
        """Let the last one finish."""
        self._enough.set()
        await self._task


async def test_a_server_that_drains(kind: str, executable: str, tmp_path: Path) -> None:
    """Calls that run end, its clients come back to the other server, and who comes while it drains is served."""
    a_folder, b_folder = tmp_path / "a", tmp_path / "b"
    async with AsyncExitStack() as stack:
        a, b = stack.enter_context(node(a_folder)), stack.enter_context(node(b_folder))
        proxy = stack.enter_context(proxying(kind, executable, tmp_path / "p", address_of(a), address_of(b)))
        await is_up(proxy)
        refused: list[Any] = []
        regular = socketio.AsyncClient(reconnection_delay=0.05, reconnection_delay_max=0.1)
        regular.on("connect_error", refused.append)
        await regular.connect(proxy.url)
        first = (await regular.call(WHERE))["data"]["pid"]
        leaving, folder, staying = (a, a_folder, b) if first == a.process.pid else (b, b_folder, a)
        running = asyncio.create_task(regular.call("api.where.wait", timeout=LIMIT))
        await until((folder / "begun").exists)
        told: list[Any] = []
        regular.on("server", told.append)
        leaving.process.terminate()
        await until(lambda: told)
        newcomers = Newcomers(proxy.url)
        await newcomers.served_by(staying.process.pid)
        (folder / "enough").touch()
        assert await running == {"data": "done"}
        await until(lambda: leaving.process.poll() == 0)
        await until(lambda: regular.connected)
        assert (await regular.call(WHERE, timeout=LIMIT))["data"]["pid"] == staying.process.pid
        await newcomers.stop()
        assert refused == []
        await regular.disconnect()


@pytest.mark.full
@pytest.mark.parametrize("transports", [(), ("websocket",), ("polling",)], ids=["upgrade", "websocket", "polling"])
async def test_a_server_that_is_killed(kind: str, executable: str, tmp_path: Path, transports: tuple[str, ...]) -> None:
    """Whoever comes is served by the other one from the first moment, and by both when it is back."""
    port = str(free_port())
    async with AsyncExitStack() as stack:
        b = stack.enter_context(node(tmp_path / "b"))
        a = stack.enter_context(node(tmp_path / "a", "--port", port))
        proxy = stack.enter_context(proxying(kind, executable, tmp_path / "p", address_of(a), address_of(b)))
        await is_up(proxy)
        a.process.kill()
        a.process.wait(LIMIT)
        for number in range(2, 14):
            session = await stack.enter_async_context(visitor(number))
            async with connected(proxy.url, *transports, http_session=session) as client:
                assert {(await where(client))["pid"] for _ in range(5)} == {b.process.pid}
        if transports == ("websocket",):
            again = stack.enter_context(node(tmp_path / "again", "--port", port))
            newcomers = Newcomers(proxy.url, *transports, pause=0.1)
            await until(lambda: again.process.pid in newcomers.pids, 60)
            await newcomers.stop()


@pytest.mark.parametrize(
    "transports",
    [
        pytest.param((), id="upgrade", marks=pytest.mark.full),
        pytest.param(("websocket",), id="websocket", marks=pytest.mark.full),
        pytest.param(("polling",), id="polling"),
    ],
)
async def test_all_servers_are_started_anew_at_once(
    kind: str, executable: str, tmp_path: Path, transports: tuple[str, ...]
) -> None:
    """Whoever comes when they are back is served, soon after nobody was."""
    ports = [str(free_port()) for _ in range(2)]
    with ExitStack() as second_lives:
        with ExitStack() as first_lives:
            proxy = second_lives.enter_context(
                proxying(kind, executable, tmp_path / "p", *(f"127.0.0.1:{port}" for port in ports))
            )
            for port in ports:
                first_lives.enter_context(node(tmp_path / f"first{port}", "--port", port))
            await is_up(proxy)
            await eventually(partial(_served, proxy, *transports))
        async with aiohttp.ClientSession() as session:
            for transport in ("polling", "websocket") * 3:
                async with session.get(f"{proxy.url}/socket.io/?EIO=4&transport={transport}") as answer:
                    assert answer.status in {502, 503}
        for port in ports:
            second_lives.enter_context(node(tmp_path / f"second{port}", "--port", port))
        await eventually(partial(_served, proxy, *transports))


async def _served(proxy: Proxy, *transports: str) -> bool:
    """Tell whether a client can connect, and whoever does is served by one server, the next one too."""
    try:
        async with connected(proxy.url, *transports) as client:
            assert len({(await where(client))["pid"] for _ in range(5)}) == 1
    except socketio.exceptions.ConnectionError:
        return False
    return True


def test_the_servers_are_named_alike_everywhere() -> None:
    """What has to be changed is where the head of each file says."""
    nginx = (CONTRIB / "nginx/jackfield.conf").read_text(encoding="utf-8")
    haproxy = (CONTRIB / "haproxy/haproxy.cfg").read_text(encoding="utf-8")
    for template, times in ((nginx, 3), (haproxy, 1)):
        assert template.count("10.0.0.11:8000") == template.count("10.0.0.12:8000") == times
