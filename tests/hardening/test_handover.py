"""A server goes, by SIGTERM or SIGKILL, with many clients in the middle of calls; another has its socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import pytest
import socketio

from jackfield import CallError
from jackfield.client import Client, ConnectionLost, connect
from tests.support.client import connected
from tests.support.plugins import write_plugin
from tests.support.server import environment, serving
from tests.support.waiting import until

LEDGER: Final = """
    import asyncio, os
    from jackfield import Call, Service, hookimpl

    service = Service("api.ledger")
    file = open("ledger", "a", buffering=1)

    @service.function
    async def note(call: Call, data: str) -> int:
        file.write(f"{data}\\n")
        await asyncio.sleep(0.001)
        return os.getpid()

    @service.function
    async def who(call: Call) -> int:
        return os.getpid()

    @hookimpl
    def jackfield_services():
        return [service]
"""
SIZES: Final = [pytest.param(24), pytest.param(200, marks=[pytest.mark.full, pytest.mark.timeout(300)])]
CONFIG: Final = '[server]\ndrain_timeout = 10\n[plugins]\ndisabled = ["demo", "files"]\n'


class Books:
    """What clients know of their calls: each is answered, turned away, or lost with its connection."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.refused: set[str] = set()
        self.lost: set[str] = set()
        self.others: list[CallError] = []
        self.servers: dict[int, int] = {}

    async def work(self, number: int, client: Client) -> None:
        """Call one function after the other, for ever."""
        for count in range(10**9):
            name = f"{number}-{count}"
            try:
                self.servers[number] = await client.call("api.ledger.note", name, timeout=30)
                self.answered[name] += 1
            except ConnectionLost:
                self.lost.add(name)
            except CallError as error:
                if error.code == "unavailable":
                    self.refused.add(name)
                    await asyncio.sleep(0)
                else:
                    self.others.append(error)


@pytest.fixture(name="plugins")
def _plugins(tmp_path: Path) -> Path:
    return write_plugin(tmp_path / "p", "ledger", LEDGER, namespaces=["api.ledger"])


@pytest.fixture(name="listener")
def _listener() -> Iterator[socket.socket]:
    """A socket that listens for all servers, as a supervisor holds it."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        os.set_inheritable(listener.fileno(), True)
        yield listener


@contextlib.contextmanager
def served(folder: Path, plugins: Path, listener: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server on the socket."""
    folder.mkdir(exist_ok=True)
    (folder / "jackfield.toml").write_text(CONFIG)
    command = [sys.executable, "-m", "jackfield", "serve", "--json", "--fd", str(listener.fileno())]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment([plugins]),
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=[listener.fileno()],
        )
    try:
        assert process.stdout is not None
        assert process.stdout.readline(), (folder / "log").read_text()
        yield process
    finally:
        process.kill()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


@contextlib.asynccontextmanager
async def working(books: Books, url: str, count: int) -> AsyncIterator[list[Client]]:
    """Connect so many clients, every eighth by polling, and let all of them call until the block ends."""
    async with AsyncExitStack() as stack:
        clients = []
        for number in range(count):
            transports = ["polling"] if number % 8 == 7 else ["websocket"]
            clients.append(await stack.enter_async_context(connect(url, transports=transports)))
        tasks = [asyncio.create_task(books.work(number, client)) for number, client in enumerate(clients)]
        try:
            yield clients
        finally:
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(ended, asyncio.CancelledError)


async def newcomer(url: str, servers: set[int]) -> None:
    """Connect as a stock client does while one server goes: whom that one has accepted it sends away with 503, once."""
    while True:
        try:
            async with connected(url, "websocket") as client:
                answer = await client.call("api.ledger.who")
        except socketio.exceptions.ConnectionError as error:
            if "refused" in str(error.__context__):
                raise
            continue
        if answer.get("data") in servers:
            return
        assert answer["error"]["code"] == "unavailable"


def noted(*folders: Path) -> Counter[str]:
    """Return which calls were run, and how often."""
    return Counter(line for folder in folders for line in (folder / "ledger").read_text().splitlines())


@pytest.mark.parametrize("count", SIZES)
async def test_42_a_server_under_load_hands_its_socket_over(
    tmp_path: Path, plugins: Path, listener: socket.socket, count: int
) -> None:
    """Every call is answered, or was not run; nobody is refused, and all come back to the server that took over.

    The numbers are those of both sides: what clients got answers for, and what the functions wrote down.
    """
    url = "http://{}:{}".format(*listener.getsockname())
    books = Books()
    with contextlib.ExitStack() as servers:  # they outlive the clients, which else would wait for the last answers
        old = servers.enter_context(served(tmp_path / "one", plugins, listener))
        async with working(books, url, count) as clients:
            await until(lambda: len(books.servers) == count)
            assert set(books.servers.values()) == {old.pid}
            new = servers.enter_context(served(tmp_path / "two", plugins, listener))
            old.send_signal(signal.SIGTERM)
            await newcomer(url, {old.pid, new.pid})
            assert await asyncio.to_thread(old.wait, 60) == 0
            await until(lambda: set(books.servers.values()) == {new.pid}, 60)
            assert all(client.connected for client in clients)
            before = books.answered.total()
            await until(lambda: books.answered.total() > before + count, 60)
        was_run = noted(tmp_path / "one", tmp_path / "two")
    assert books.others == []
    assert set(books.answered.values()) == {1}
    assert set(was_run.values()) == {1}
    on_the_old = set(noted(tmp_path / "one"))
    assert on_the_old <= set(books.answered), "a call was run, and its caller was not told"
    assert set(books.answered) <= set(was_run), "a caller was told of a call that was not run"
    assert not books.lost & on_the_old
    assert not books.refused & on_the_old


@pytest.mark.parametrize("count", SIZES)
async def test_43_all_clients_of_a_server_that_was_killed_come_back(tmp_path: Path, plugins: Path, count: int) -> None:
    """SIGKILL under load: what was answered was run, nothing is half-written, and the next start is as any other."""
    books = Books()
    with serving(tmp_path / "s", config=CONFIG, path=[plugins]) as first:
        port = first.url.rpartition(":")[2]
        async with working(books, first.url, count) as clients:
            await until(lambda: len(books.servers) == count)
            first.process.kill()
            first.process.wait(30)
            await until(lambda: not any(client.connected for client in clients))
            with serving(tmp_path / "s", "--port", port, config=CONFIG, path=[plugins]) as second:
                assert {plugin["state"] for plugin in second.plugins.values()} == {"started", "disabled"}
                await until(lambda: set(books.servers.values()) == {second.process.pid}, 60)
                assert all(client.connected for client in clients)
                assert second.stop() == 0
    was_run = noted(tmp_path / "s")
    assert books.others == []
    assert set(books.answered) <= set(was_run)
    assert set(was_run.values()) == {1}
    assert books.lost
