"""contrib/systemd: the units hold what systemd asks of them, and the server does what they promise."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jackfield._settings import ServerSettings
from tests.contrib.proxies import LIMIT, free_port, replaced
from tests.contrib.units import COMMAND, CONFIGURATION, UNITS, activate, command, seconds, setting, start
from tests.support.client import connected
from tests.support.server import START_LIMIT, environment, serving
from tests.support.waiting import until

ECHO = "api.services.test.echo"


@pytest.fixture(name="units")
def _units(tmp_path: Path, require_all: bool) -> list[str]:
    """The units as they are, but with a command that is there."""
    if shutil.which("systemd-analyze") is None:
        (pytest.fail if require_all else pytest.skip)("there is no systemd-analyze")
    text = (UNITS / "jackfield.service").read_text(encoding="utf-8")
    (tmp_path / "jackfield.service").write_text(replaced(text, (COMMAND, sys.executable)), encoding="utf-8")
    shutil.copy(UNITS / "jackfield.socket", tmp_path)
    return [str(tmp_path / "jackfield.service"), str(tmp_path / "jackfield.socket")]


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=LIMIT, check=False, env=environment()
    )


def test_the_units_are_valid(units: list[str]) -> None:
    """So systemd says, without a warning."""
    done = analyze("verify", *units)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_service_is_exposed_little(units: list[str]) -> None:
    """At most 1.5 of 10, as systemd counts."""
    done = analyze("security", "--offline=yes", "--no-pager", "--threshold=15", units[0])
    assert done.returncode == 0, done.stdout


def test_the_times_fit_together() -> None:
    """systemd waits for longer than the server may take, and starts anew what found itself hanging."""
    settings = ServerSettings()
    assert seconds("jackfield.service", "TimeoutStopSec") > settings.drain_timeout + 2 * settings.stop_timeout
    assert seconds("jackfield.service", "TimeoutStartSec") > 2 * settings.start_timeout
    assert setting("jackfield.service", "RestartForceExitStatus") == "70"


@contextmanager
def listening() -> Iterator[socket.socket]:
    """Listen as systemd does for the unit of the socket, but on a free port."""
    host, _ = setting("jackfield.socket", "ListenStream").split(":")
    with socket.socket() as listener:
        listener.bind((host, 0))
        listener.listen(int(setting("jackfield.socket", "Backlog")))
        yield listener


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"http://{host}:{port}"


@contextmanager
def notified(address: str) -> Iterator[socket.socket]:
    """Hear what services say, as systemd does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(address)
        heard.settimeout(START_LIMIT)
        yield heard


@pytest.mark.full
async def test_a_restart_refuses_nobody(tmp_path: Path) -> None:
    """A client that comes while there is no server waits, and is served by the next one; each says when it is ready."""
    (tmp_path / "jackfield.toml").write_text("")
    told = str(tmp_path / "n")
    with listening() as listener, notified(told) as heard:
        url = url_of(listener)
        first = activate(listener.fileno(), tmp_path, {"NOTIFY_SOCKET": told})
        try:
            assert await asyncio.to_thread(heard.recv, 4096) == f"READY=1\nSTATUS={url}".encode()
            async with connected(url) as client:
                assert await client.call(ECHO, 1) == {"data": 1}
            first.terminate()
            await until(lambda: first.poll() is not None)
            assert first.returncode == 0, (tmp_path / "output.log").read_text()
        finally:
            first.kill()
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        await writer.drain()
        second = activate(listener.fileno(), tmp_path, {"NOTIFY_SOCKET": told})
        try:
            assert (await asyncio.wait_for(reader.readline(), START_LIMIT)).split()[1] == b"200"
            assert (await asyncio.to_thread(heard.recv, 4096)).startswith(b"READY=1\n")
        finally:
            writer.close()
            second.terminate()
            second.wait(LIMIT)


@pytest.mark.full
async def test_systemd_hands_the_socket_over(tmp_path: Path, require_all: bool) -> None:
    """Its own program listens, and starts the command of the unit when the first client comes."""
    program = shutil.which("systemd-socket-activate")
    if program is None:
        (pytest.fail if require_all else pytest.skip)("there is no systemd-socket-activate")
    (tmp_path / "jackfield.toml").write_text("")
    port = free_port()
    process = start([program, "--listen", f"127.0.0.1:{port}", *command(tmp_path / "jackfield.toml")], tmp_path)
    try:
        await until(lambda: "Listening on" in (tmp_path / "output.log").read_text())
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        await writer.drain()
        assert (await asyncio.wait_for(reader.readline(), START_LIMIT)).split()[1] == b"200"
        writer.close()
        async with connected(f"http://127.0.0.1:{port}") as client:
            assert await client.call(ECHO, 1) == {"data": 1}
    finally:
        process.terminate()
        assert process.wait(LIMIT) == 0


@pytest.mark.full
async def test_workers_leave_it_to_their_parent_to_say(tmp_path: Path) -> None:
    """That the server is ready is said once; an abstract address does too."""
    address = f"jackfield-test-{os.getpid()}"
    config = '[server]\ntransports = ["websocket"]\n'
    with notified(f"\0{address}") as heard:
        with serving(tmp_path, "--workers", "2", config=config, env={"NOTIFY_SOCKET": f"@{address}"}) as server:
            assert heard.recv(4096) == f"READY=1\nSTATUS={server.url}".encode()
            assert server.stop() == 0
        heard.settimeout(0)
        with pytest.raises(BlockingIOError):
            heard.recv(4096)


@pytest.mark.parametrize("address", ["/nowhere/there", pytest.param("x" * 200, marks=pytest.mark.full)])
def test_nobody_listens(tmp_path: Path, address: str) -> None:
    """The server serves, and says that it could not be said."""
    with serving(tmp_path, env={"NOTIFY_SOCKET": address}) as server:
        assert server.stop() == 0
        assert "cannot be told that it is ready (NOTIFY_SOCKET=" in server.log


def test_what_has_to_be_changed_is_where_the_head_says() -> None:
    """The paths that an operator chooses stand in one line."""
    text = (UNITS / "jackfield.service").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if COMMAND in line and not line.startswith("#")] == [
        f"ExecStart={COMMAND} serve --fd 3 --config {CONFIGURATION}"
    ]
