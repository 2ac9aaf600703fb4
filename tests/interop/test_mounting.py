"""`jackfield.create_app`: under an ASGI server of somebody's choice, and as a part of another application."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

import jackfield
from jackfield._app import App
from tests.interop.places import HERE, javascript
from tests.support.client import connected
from tests.support.plugins import write_plugin
from tests.support.server import START_LIMIT, environment
from tests.support.waiting import until
from tests.support.wire import wire

ECHO = "api.services.test.echo"

APP = """
    import jackfield

    app = jackfield.create_app()
"""
"""What `uvicorn host:app` needs."""

HOST = """
    import asyncio

    import jackfield

    left = asyncio.Event()
    mounted = jackfield.create_app("jackfield.toml")


    async def live(send):
        async with mounted.lifespan():
            await send({"type": "lifespan.startup.complete"})
            await left.wait()


    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            living = asyncio.create_task(live(send))
            await receive()
            left.set()
            await living
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["path"] in ("/health", "/leave"):
            if scope["path"] == "/leave":
                left.set()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"well"})
        elif scope["path"].startswith("/api/"):
            await mounted({**scope, MOUNT}, receive, send)
        else:
            await send({"type": "http.response.start", "status": 418, "headers": []})
            await send({"type": "http.response.body", "body": b""})
"""
"""An application that serves something of its own, and keeps the lifespan to itself."""

MOUNTS = {
    "path-stays": '"root_path": "/api"',
    "path-is-cut": '"root_path": "/api", "path": scope["path"].removeprefix("/api")',
    "path-only": '"path": scope["path"].removeprefix("/api")',
}
"""What hosts make of the path of what is mounted in them."""

DIARY = """
    import asyncio
    from pathlib import Path

    from jackfield import Call, Service, hookimpl

    service = Service("api.diary")

    @service.function
    async def wait(call: Call) -> str:
        Path("waiting").touch()
        while not Path("enough").exists():
            await asyncio.sleep(0.01)
        return "done"

    @hookimpl
    def jackfield_services():
        return [service]

    @hookimpl
    def jackfield_http():
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": f"{scope['root_path']} {scope['path']}".encode()})

        return {"/diary": app}

    @hookimpl
    async def jackfield_startup():
        Path("started").touch()

    @hookimpl
    async def jackfield_shutdown():
        Path("stopped").touch()
"""


@dataclass
class Hosted:
    """An application under uvicorn."""

    url: str
    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def log(self) -> str:
        """What uvicorn and the server have written so far."""
        return (self.folder / "log").read_text()


@contextmanager
def hosted(folder: Path, source: str, *arguments: str, config: str = "", path: Path | None = None) -> Iterator[Hosted]:
    """Run `uvicorn host:app` until the block ends; the source is that of the module `host`."""
    folder.mkdir(exist_ok=True)
    (folder / "host.py").write_text(textwrap.dedent(source))
    (folder / "jackfield.toml").write_text(config)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "host:app", "--port", "0", "--no-use-colors", *arguments],
            cwd=folder,
            env=environment([path] if path else []),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield Hosted("", process, folder)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(START_LIMIT)


async def up(host: Hosted) -> str:
    """Wait until the host listens, and return its address."""
    begins = "Uvicorn running on "

    def address() -> str:
        assert host.process.poll() is None, host.log
        return host.log.partition(begins)[2].partition(" (")[0]

    host.url = await until(address)
    return host.url


async def test_under_uvicorn(tmp_path: Path) -> None:
    """`uvicorn host:app` serves stock clients, and the plugins live as long as it does."""
    path = write_plugin(tmp_path / "p", "diary", DIARY, namespaces=["api.diary"])
    with hosted(tmp_path / "s", APP, path=path) as host:
        url = await up(host)
        assert (tmp_path / "s/started").exists()
        for transports in ((), ("websocket",), ("polling",)):
            async with connected(url, *transports) as client:
                assert await client.call(ECHO, "x" * 900_000) == {"data": "x" * 900_000}
                assert await client.call("api.services.test.reverse", b"abc") == {"data": b"cba"}
                assert client.sio.transport() == (transports[0] if transports else "websocket")
        assert not (tmp_path / "s/stopped").exists()
        host.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(host.process.wait, START_LIMIT)
        assert (tmp_path / "s/stopped").exists()
        assert "Application shutdown complete." in host.log
        assert "Traceback" not in host.log


async def test_the_javascript_client(tmp_path: Path, require_all: bool) -> None:
    """It polls, upgrades and calls."""
    if shutil.which("node") is None or not (HERE / "node_modules/socket.io-client").is_dir():
        (pytest.fail if require_all else pytest.skip)("there is no JavaScript client")
    with hosted(tmp_path, HOST.replace("MOUNT", MOUNTS["path-stays"])) as host:
        url = await up(host)
        seen = await asyncio.to_thread(javascript, url, dict(os.environ), "/api/socket.io")
    assert seen == {"began": "polling", "ended": "websocket", "reversed": "cba"}


@pytest.mark.parametrize("mount", list(MOUNTS))
async def test_in_another_application(tmp_path: Path, mount: str) -> None:
    """Below a path, beside what is the host's, whatever the host makes of the path."""
    path = write_plugin(tmp_path / "p", "diary", DIARY, namespaces=["api.diary"])
    with hosted(tmp_path / "s", HOST.replace("MOUNT", MOUNTS[mount]), path=path) as host:
        url = await up(host)
        for transports in ((), ("websocket",), ("polling",)):
            async with connected(url, *transports, socketio_path="/api/socket.io") as client:
                assert await client.call(ECHO, "hello") == {"data": "hello"}
        async with aiohttp.ClientSession() as session:
            for target, status in (("/health", 200), ("/socket.io/", 418), ("/api/other", 404)):
                async with session.get(url + target) as answer:
                    assert answer.status == status
            for target, text in (("livez", "ok"), ("readyz", "ok")):
                async with session.get(f"{url}/api/{target}") as answer:
                    assert await answer.text() == text
            async with session.get(f"{url}/api/diary/today") as answer:
                root = "" if mount == "path-only" else "/api"
                assert await answer.text() == f"{root}/diary {root}/diary/today"
            async with session.get(f"{url}/api/diary", headers={"X-Forwarded-For": "192.0.2.1"}) as answer:
                assert answer.status == 404
        host.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(host.process.wait, START_LIMIT)
        assert (tmp_path / "s/stopped").exists()


async def test_a_root_path(tmp_path: Path) -> None:
    """`uvicorn --root-path`, for a proxy that takes a prefix off."""
    with hosted(tmp_path, APP, "--root-path", "/api") as host:
        async with connected(await up(host)) as client:
            assert await client.call(ECHO, "hello") == {"data": "hello"}


async def test_the_end_of_the_lifespan(tmp_path: Path) -> None:
    """Calls that run end, then connections are closed with 1012; the host may go on without it."""
    path = write_plugin(tmp_path / "p", "diary", DIARY, namespaces=["api.diary"])
    source = HOST.replace("MOUNT", MOUNTS["path-only"])
    with hosted(tmp_path / "s", source, path=path) as host:
        url = await up(host)
        async with aiohttp.ClientSession() as session, wire(f"{url}/api") as client:
            await client.send('427["api.diary.wait"]')
            await until((tmp_path / "s/waiting").exists)
            async with session.get(f"{url}/leave") as answer:
                assert answer.status == 200
            assert str(await client.receive()).startswith('42["server",{"state":"draining"')
            (tmp_path / "s/enough").touch()
            assert await client.receive() == '437[{"data":"done"}]'
            assert await client.closed() == 1012
            await until((tmp_path / "s/stopped").exists)
            async with session.get(f"{url}/health") as answer:
                assert await answer.text() == "well"


async def test_limits_are_those_of_the_settings(tmp_path: Path) -> None:
    """The host allows longer messages; what the settings do not allow is closed with 1009."""
    with hosted(tmp_path, APP) as host:
        async with wire(await up(host)) as client:
            await client.send(f'427["{ECHO}","{"x" * 1_000_000}"]')
            assert await client.closed() == 1009
        async with wire(host.url) as client:
            await client.send('451-7["api.services.test.reverse",{"_placeholder":true,"num":0}]', bytes(1_000_001))
            assert await client.closed() == 1009


async def test_a_plugin_that_does_not_start(tmp_path: Path) -> None:
    """With `plugins.strict` the host does not start, and says why."""
    source = (
        "from jackfield import hookimpl\n\n@hookimpl\nasync def jackfield_startup():\n    raise OSError('no disk')\n"
    )
    path = write_plugin(tmp_path / "p", "weak", source)
    with hosted(tmp_path / "s", APP, config="[plugins]\nstrict = true", path=path) as host:
        assert await asyncio.to_thread(host.process.wait, START_LIMIT) == 3
        assert "plugin weak is quarantined: OSError: no disk" in host.log
        assert "Application startup failed. Exiting." in host.log


async def test_settings_with_a_fault(tmp_path: Path) -> None:
    """They are told when the application is made."""
    file = tmp_path / "jackfield.toml"
    file.write_text("[server]\nprot = 1\n")
    with pytest.raises(jackfield.JackfieldError) as caught:
        jackfield.create_app(file)
    assert str(caught.value) == f"server.prot: there is no such key; did you mean server.port? ({file})"


async def test_a_lifespan_in_the_hosts_own_loop(tmp_path: Path) -> None:
    """It leaves the host's tasks alone, ends calls that run, and cannot begin twice."""
    app = make(tmp_path)
    clock = asyncio.create_task(asyncio.Event().wait())
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    async with app.lifespan():
        assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert not clock.done()
    clock.cancel()
    with pytest.raises(RuntimeError, match="has begun before"):
        async with app.lifespan():
            pass


async def test_a_client_outside_the_lifespan(tmp_path: Path) -> None:
    """The host's author is told what is missing."""

    async def nothing() -> dict[str, object]:
        return {}

    async def nowhere(event: object) -> None:
        pass

    with pytest.raises(RuntimeError, match=r"holds `async with app\.lifespan\(\):` while it serves"):
        await make(tmp_path)({"type": "http", "path": "/socket.io/"}, nothing, nowhere)


def make(folder: Path) -> App:
    """Return an application with no settings but the defaults."""
    (folder / "jackfield.toml").write_text("")
    return jackfield.create_app(folder / "jackfield.toml")
