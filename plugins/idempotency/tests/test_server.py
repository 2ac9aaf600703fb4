"""Real servers, which are killed: no call that is made again with its key has two effects."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from jackfield import CallError
from jackfield.client import Client, ConnectError, ConnectionLost, connect
from tests.support.plugins import write_plugin
from tests.support.redis import RedisServer
from tests.support.server import serving
from tests.support.waiting import LIMIT, eventually, until

CLIENTS = 4
AT_ONCE = 4
"""Calls that each client has in flight."""
NOT_NOW = ("unavailable", "resource_exhausted", "deadline_exceeded")

CONFIG = """
[server]
transports = ["websocket"]
[plugins]
policy = "listed"
enabled = ["idempotency", "bank"]
[plugins.idempotency]
{where}
lease = 1.0
"""
PLUGIN = """
    import asyncio, os, random, secrets
    from pathlib import Path
    from jackfield import Call, Service, hookimpl

    service = Service("bank")

    def note(*words):
        line = " ".join(map(str, words)) + "\\n"
        with open(os.environ["DIARY"], "ab", buffering=0) as diary:
            diary.write(line.encode())

    async def pause():
        for _ in range(random.randrange(3)):
            await asyncio.sleep(random.random() / 100)

    @service.function
    async def pay(call: Call, data: str) -> str:
        await pause()
        receipt = secrets.token_hex(4)
        note(data, receipt)
        await pause()
        return receipt

    @service.function
    async def wait(call: Call, data: str) -> int:
        note(data, os.getpid())
        while not Path(os.environ["DIARY"] + ".go").exists():
            await asyncio.sleep(0.01)
        return os.getpid()

    @service.function
    async def pid(call: Call) -> int:
        return os.getpid()

    @hookimpl
    def jackfield_services():
        return [service]
"""


class Place:
    """Where servers run one after the other, which know the same calls; and a diary of the effects."""

    def __init__(self, folder: Path, where: str = "") -> None:
        self._folder = folder
        self._where = where or f'path = "{folder / "idempotency.sqlite3"}"'
        self._diary = folder / "diary"
        self._diary.touch()
        self._plugins = write_plugin(folder / "plugins", "bank", PLUGIN, namespaces=["bank"])
        self._numbers = count()

    @property
    def diary(self) -> list[tuple[str, str]]:
        """The effects: of which call, and with which receipt."""
        lines = (line.split(" ") for line in self._diary.read_text().splitlines())
        return [(name, receipt) for name, receipt in lines]

    def has(self, effects: int) -> bool:
        """Tell whether there are so many effects."""
        return len(self.diary) >= effects

    def go(self) -> None:
        """Let the calls of `wait` end."""
        (self._folder / "diary.go").touch()

    def serving(self, *arguments: str) -> Any:
        """Run a server."""
        return serving(
            self._folder / f"server{next(self._numbers)}",
            *arguments,
            config=CONFIG.format(where=self._where),
            path=[self._plugins],
            env={"DIARY": str(self._diary)},
        )


@pytest.fixture(name="place")
def _place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if getattr(request, "param", "sqlite") == "sqlite":
        return Place(tmp_path)
    redis: RedisServer = request.getfixturevalue("redis")
    return Place(tmp_path, f'redis_url = "{redis.url}"\nredis_prefix = "{tmp_path.name}"')


class Customers:
    """Clients that make each call again, with its key, until they have an answer.

    Args:
        calls: The names of the calls, which are their keys too.
    """

    def __init__(self, calls: list[str]) -> None:
        self._left = calls[::-1]
        self._url = ""
        self._there = asyncio.Event()
        self.receipts: dict[str, str] = {}
        self.unknown: list[str] = []
        self.lost: Counter[str] = Counter()

    def find(self, url: str) -> None:
        """Go to a server from now on."""
        self._url = url
        self._there.set()

    def leave(self) -> None:
        """Go nowhere, until there is a server again."""
        self._there.clear()

    async def run(self) -> None:
        """Make all calls."""
        await asyncio.gather(*(self._customer() for _ in range(CLIENTS)))

    async def _customer(self) -> None:
        mine: list[str] = []
        while self._left or mine:
            await self._there.wait()
            try:
                async with connect(self._url, transports=["websocket"], reconnect=False) as client:
                    while self._left or mine:
                        while self._left and len(mine) < AT_ONCE:
                            mine.append(self._left.pop())
                        ended = await asyncio.gather(*(self._pay(client, call) for call in mine))
                        mine = [call for call, answered in zip(mine, ended, strict=True) if not answered]
                        if mine and not client.connected:
                            break
            except ConnectError:
                await asyncio.sleep(0.01)  # until the next server is there

    async def _pay(self, client: Client, call: str) -> bool:
        """Make a call; tell whether it was answered for good."""
        try:
            self.receipts[call] = str(await client.call("bank.pay", call, meta={"idempotency-key": f"{call:>22}"}))
        except ConnectionLost:
            self.lost[call] += 1
            return False
        except CallError as error:
            if error.code in NOT_NOW:
                return False
            if error.code != "aborted":
                raise
            self.unknown.append(call)
        return True


@pytest.mark.parametrize("place", ["sqlite", "redis"], indirect=True)
@pytest.mark.parametrize(
    ("calls", "kills"), [(80, 2), pytest.param(1000, 20, marks=[pytest.mark.full, pytest.mark.timeout(600)])]
)
async def test_50_killed_at_random_points_each_acked_call_has_one_effect(place: Place, calls: int, kills: int) -> None:
    """And no call has two. Of those that a kill cut short, callers are told that nobody knows."""
    names = [f"call{number}" for number in range(calls)]
    customers = Customers(names)
    shopping = asyncio.create_task(customers.run())
    cut = kills * CLIENTS * AT_ONCE  # so many calls may come to no effect
    for moment in sorted(random.sample(range(1, calls - cut), kills)):
        with place.serving() as server:
            customers.find(server.url)
            await until(partial(place.has, moment))
            customers.leave()
            assert server.stop(signal.SIGKILL) == -signal.SIGKILL
            assert "Traceback" not in server.log
    with place.serving() as server:
        customers.find(server.url)
        async with asyncio.timeout(LIMIT + calls / 10):
            await shopping
        assert "Traceback" not in server.log
    effects = Counter(name for name, _ in place.diary)
    assert {name: number for name, number in effects.items() if number > 1} == {}
    assert dict(place.diary) == {**dict(place.diary), **customers.receipts}
    assert sorted([*customers.receipts, *customers.unknown]) == sorted(names)
    assert len(customers.unknown) <= len(customers.lost) <= cut
    assert customers.lost  # else nobody has tried again


async def test_50_workers_know_the_calls_of_one_another(place: Place) -> None:
    """Of two with one file; and when one of them is killed with a call that it runs, nobody does that again."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(place.serving("--workers", "2"))
        clients: dict[int, Client] = {}
        while len(clients) < 2:
            client = await stack.enter_async_context(connect(server.url, transports=["websocket"], reconnect=False))
            clients.setdefault(int(await client.call("bank.pid")), client)
        (one, first), (_, second) = clients.items()

        def wait(client: Client, name: str) -> asyncio.Task[Any]:
            return asyncio.create_task(client.call("bank.wait", name, meta={"idempotency-key": f"{name:>22}"}))

        cut = wait(first, "cut")
        await until(lambda: place.has(1))
        again = wait(second, "cut")
        os.kill(one, signal.SIGKILL)
        with pytest.raises(ConnectionLost):
            await cut
        with pytest.raises(CallError, match=r"^aborted: "):
            await again
        kept = wait(second, "kept")
        await until(lambda: place.has(2))

        async def other() -> bool:
            """Come to the worker that was started in the place of the other one."""
            client = await stack.enter_async_context(connect(server.url, transports=["websocket"], reconnect=False))
            clients[pid := int(await client.call("bank.pid"))] = client
            return len(clients) == 3 and pid not in (one, *list(clients)[:2])

        await eventually(other)
        waiting = wait(list(clients.values())[2], "kept")
        place.go()
        assert await waiting == await kept != one
        assert Counter(name for name, _ in place.diary) == {"cut": 1, "kept": 1}
