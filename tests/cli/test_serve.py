"""`jackfield serve` with workers, and with a socket that is handed over."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from tests.cli.shell import Shell
from tests.support.client import connected
from tests.support.plugins import write_plugin
from tests.support.server import START_LIMIT, Server, environment, launch, serving
from tests.support.waiting import until
from tests.support.wire import wire

WEBSOCKET_ONLY = '[server]\ntransports = ["websocket"]\n'
WHO = """
    import asyncio
    import os
    from pathlib import Path

    from jackfield import Call, Service, hookimpl

    if Path("spoiled").exists():
        raise ImportError("it is spoiled")

    service = Service("api.who")

    @service.function
    async def pid(call: Call) -> int:
        return os.getpid()

    @service.function
    async def wait(call: Call) -> str:
        Path("waiting").touch()
        while not Path("enough").exists():
            await asyncio.sleep(0.01)
        return "{answer}"

    @hookimpl
    def jackfield_services():
        return [service]
"""


def write_who(folder: Path, answer: str = "done") -> Path:
    """Write a plugin whose functions tell which process answers, and wait until the file `enough` is there."""
    return write_plugin(folder, "who", WHO.replace("{answer}", answer), namespaces=["api.who"])


def workers(server: Server) -> set[int]:
    """Return the processes that serve."""
    return {child.pid for child in psutil.Process(server.process.pid).children()}


async def two_workers(server: Server, but: int = 0) -> set[int]:
    """Wait until two processes serve, beside one that has been ended, and return them."""
    return await until(lambda: found if len(found := workers(server) - {but}) == 2 else set())


def faults(log: str) -> list[str]:
    """Return the faults that a log names, without where they are."""
    return [line.removeprefix("✗ ").partition(" (")[0] for line in log.splitlines() if line.startswith("✗ ")]


async def pid(url: str) -> int:
    """Return the process that answers a new client."""
    async with wire(url) as client:
        return int((await client.ask('427["api.who.pid"]'))["data"])


async def test_workers_share_a_socket(tmp_path: Path) -> None:
    """Both are processes of their own, either serves alone, and one that dies is named and replaced."""
    path = write_who(tmp_path / "p")
    with serving(tmp_path / "s", "--workers", "2", config=WEBSOCKET_ONLY, path=[path]) as server:
        assert {plugin["state"] for plugin in server.ready["plugins"]} == {"started"}
        first = await two_workers(server)
        assert await pid(server.url) in first
        dead, alive = sorted(first)
        os.kill(alive, signal.SIGSTOP)  # what it would accept waits
        answers = {asyncio.create_task(pid(server.url)) for _ in range(4)}
        done, waiting = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
        assert {task.result() for task in done} == {dead}
        os.kill(alive, signal.SIGCONT)
        await asyncio.gather(*waiting)
        os.kill(dead, signal.SIGKILL)
        second = await two_workers(server, but=dead)
        assert alive in second
        assert f"worker {dead} was ended by SIGKILL; another follows in 0.5 s" in server.log
        assert await pid(server.url) in second
        assert server.stop() == 0
    assert not any(map(psutil.pid_exists, second))


@pytest.mark.parametrize("how", [("--workers", "2"), ("--dev",)], ids=["workers", "dev"])
async def test_nothing_outlives_a_parent_that_is_killed(tmp_path: Path, how: tuple[str, ...]) -> None:
    """What it has started ends as it would by SIGTERM, so the port is free for the next one."""
    path = write_who(tmp_path / "p")
    with serving(tmp_path / "s", *how, config=WEBSOCKET_ONLY, path=[path]) as server:
        found = await until(lambda: found if len(found := workers(server)) == len(how) else set())
        async with wire(server.url) as client:
            server.process.kill()
            assert str(await client.receive()).startswith('42["server",{"state":"draining"')
            assert await client.closed() == 1012
        await until(lambda: not any(map(psutil.pid_exists, found)))


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_workers_drain(tmp_path: Path, number: int) -> None:
    """The signal is for all: calls that run end, then connections are closed with 1012 and the status is 0."""
    path = write_who(tmp_path / "p")
    with serving(tmp_path / "s", "--workers", "2", config=WEBSOCKET_ONLY, path=[path]) as server:
        async with wire(server.url) as client:
            await client.send('427["api.who.wait"]')
            await until((tmp_path / "s/waiting").exists)
            server.process.send_signal(number)
            assert str(await client.receive()).startswith('42["server",{"state":"draining"')
            (tmp_path / "s/enough").touch()
            assert await client.receive() == '437[{"data":"done"}]'
            assert await client.closed() == 1012
        assert server.stop() == 0


@pytest.mark.full
async def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    """It goes to the workers as the first did, and what still runs is told."""
    path = write_who(tmp_path / "p")
    with serving(tmp_path / "s", "--workers", "2", config=WEBSOCKET_ONLY, path=[path]) as server:
        async with wire(server.url) as client:
            await client.send('427["api.who.wait"]')
            await until((tmp_path / "s/waiting").exists)
            server.process.terminate()
            assert str(await client.receive()).startswith('42["server",{"state":"draining"')
            server.process.terminate()
            while (message := str(await client.receive())).startswith('42["server"'):
                pass
            assert message.startswith('437[{"error":{"code":"unavailable"')
            assert await client.closed() == 1012
        assert server.stop() == 0


@pytest.mark.full
async def test_workers_are_replaced_one_after_the_other(tmp_path: Path) -> None:
    """SIGHUP: every worker is a new one, whoever comes is served, and what cannot start replaces nothing."""
    path = write_who(tmp_path / "p")
    config = f"{WEBSOCKET_ONLY}\n[plugins]\nstrict = true"
    with serving(tmp_path / "s", "--workers", "2", config=config, path=[path]) as server:
        first = await two_workers(server)
        server.process.send_signal(signal.SIGHUP)
        seen = set()
        while not (len(now := workers(server)) == 2 and not now & first):
            try:
                seen.add(await pid(server.url))
            except (AssertionError, KeyError, ConnectionClosed):  # let in by one that was told to end just then
                seen.add(await pid(server.url))
        assert seen & first
        assert await pid(server.url) in now
        (tmp_path / "s/spoiled").touch()
        server.process.send_signal(signal.SIGHUP)
        await until(lambda: "a new worker could not start; the others go on as they were" in server.log)
        assert workers(server) == now
        assert await pid(server.url) in now
        assert server.stop() == 0


@pytest.mark.full
def test_workers_that_cannot_start(tmp_path: Path) -> None:
    """Status 3, and the reason is told once."""
    path = write_who(tmp_path / "p")
    (tmp_path / "s").mkdir()
    (tmp_path / "s/spoiled").touch()
    config = f"{WEBSOCKET_ONLY}\n[plugins]\nstrict = true"
    process, log = launch(tmp_path / "s", "--workers", "3", config=config, path=[path])
    out, _ = process.communicate(timeout=START_LIMIT)
    assert (process.returncode, out) == (3, b"")
    assert faults(log.read_text()) == ["plugin who is quarantined: ImportError: it is spoiled"]


@pytest.mark.full
async def test_a_worker_that_cannot_be_replaced(tmp_path: Path) -> None:
    """It ends all of them, as it would have from the start."""
    path = write_who(tmp_path / "p")
    config = f"{WEBSOCKET_ONLY}\n[plugins]\nstrict = true"
    with serving(tmp_path / "s", "--workers", "2", config=config, path=[path]) as server:
        first = await two_workers(server)
        (tmp_path / "s/spoiled").touch()
        os.kill(await pid(server.url), signal.SIGKILL)  # who answers is up
        assert await asyncio.to_thread(server.process.wait, START_LIMIT) == 3
        assert faults(server.log) == ["plugin who is quarantined: ImportError: it is spoiled"]
    assert not any(map(psutil.pid_exists, first))


def test_workers_and_polling(shell: Shell) -> None:
    """They do not go together, and the fault says what does."""
    done = shell("serve", "--workers", "2")
    assert (done.status, done.out) == (3, "")
    assert done.err == (
        "✗ --workers 2: the requests of a client that polls would meet a different worker each time; set "
        'server.transports = ["websocket"], or run one server for each port behind a proxy that keeps each client '
        "with one of them\n"
    )


def test_the_number_of_workers_is_no_setting(shell: Shell) -> None:
    """Who sets the variable wants workers, and would get none."""
    done = shell("serve", "--port", "0", env={"JACKFIELD_WORKERS": "2"})
    assert (done.status, done.out) == (3, "")
    assert done.err == "✗ JACKFIELD_WORKERS is no setting: jackfield serve --workers tells its processes by it\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--fd", "3", "--port", "0"), "--fd excludes --host and --port: the socket is bound already."),
        (("--dev", "--workers", "2"), "--dev runs one worker, and excludes --workers."),
    ],
)
def test_options_that_exclude_each_other(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    """That is a wrong command."""
    done = shell("serve", *arguments)
    assert done.status == 2
    assert done.err.endswith(f"Error: {said}\n")


def _serve(folder: Path, fds: Sequence[int], *arguments: str) -> subprocess.Popen[bytes]:
    (folder / "jackfield.toml").write_text(WEBSOCKET_ONLY, encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, "-m", "jackfield", "serve", *arguments],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=fds,
    )


@pytest.mark.parametrize("more", [(), ("--workers", "2"), ("--dev",)], ids=["alone", "workers", "dev"])
async def test_a_socket_that_is_handed_over(tmp_path: Path, more: tuple[str, ...]) -> None:
    """`--fd` listens on it, whatever the settings say; with `--ready-fd` nothing is said on standard output."""
    reading, writing = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        fds = (listener.fileno(), writing)
        process = _serve(tmp_path, fds, "--fd", str(fds[0]), "--ready-fd", str(fds[1]), *more)
        os.close(writing)
    with process, os.fdopen(reading, encoding="utf-8") as pipe:
        try:
            [line] = await asyncio.to_thread(pipe.readlines)
            assert json.loads(line)["url"] == url
            async with connected(url, "websocket") as client:
                assert await client.call("api.services.test.echo", 1) == {"data": 1}
        finally:
            process.terminate()
            out, _ = process.communicate(timeout=START_LIMIT)
    assert (process.returncode, out) == (0, b"")


async def test_a_unix_socket_that_is_handed_over(tmp_path: Path) -> None:
    """Its file is that of whoever made it, and stays."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        process = _serve(tmp_path, [listener.fileno()], "--fd", str(listener.fileno()), "--json")
    with process:
        assert process.stdout is not None
        assert json.loads(await asyncio.to_thread(process.stdout.readline))["url"] == f"unix:{tmp_path / 'socket'}"
        process.terminate()
    assert process.returncode == 0
    assert (tmp_path / "socket").is_socket()


@pytest.mark.parametrize("more", [(), ("--workers", "2"), ("--dev",)], ids=["alone", "workers", "dev"])
def test_a_port_that_is_taken(tmp_path: Path, more: tuple[str, ...]) -> None:
    """The fault says how to take another one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = _serve(tmp_path, [], "--port", port, *more)
        out, err = process.communicate(timeout=START_LIMIT)
    assert (process.returncode, out) == (3, b"")
    assert err.decode().splitlines()[-1] == (
        f"✗ cannot listen on 127.0.0.1:{port}: Address already in use (server.host, server.port)"
        "   → stop what listens there, or take another port: --port 0 takes a free one"
    )


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("closed", "Bad file descriptor"),
        ("file", "Socket operation on non-socket"),
        ("datagrams", "it is no socket for TCP or a Unix stream"),
    ],
)
def test_a_descriptor_that_cannot_be_listened_on(tmp_path: Path, kind: str, said: str) -> None:
    """The fault says what it is."""
    with open(tmp_path / "file", "w") as file, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        fd = {"file": file.fileno(), "datagrams": datagrams.fileno(), "closed": 99}[kind]
        process = _serve(tmp_path, [] if kind == "closed" else [fd], "--fd", str(fd))
        out, err = process.communicate(timeout=START_LIMIT)
    assert (process.returncode, out) == (3, b"")
    assert err.decode() == f"✗ cannot listen on descriptor {fd}: {said} (--fd)\n"
