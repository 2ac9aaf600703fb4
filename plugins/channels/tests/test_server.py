"""A real server: what was acknowledged is there after it was killed, and who was there goes on."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from jackfield import CallError, Position
from jackfield.client import ConnectError, ConnectionLost, connect
from plugins.channels.tests.calls import history, publish, subscribe
from plugins.channels.tests.following import Follower, kept, position_of
from tests.support.client import connected
from tests.support.judge import Seen, Session, judge
from tests.support.server import serving
from tests.support.waiting import until

CONFIG = """
[plugins]
policy = "listed"
enabled = ["channels"]

[[plugins.channels.rules]]
match = "kept.*"
history = 100_000
ttl = 3600
publish = true

[[plugins.channels.rules]]
match = "*"
publish = true
"""


def free_port() -> int:
    """Return a port that nothing listens on just now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Crowd:
    """Publishers, and followers who come back, of one channel.

    Args:
        url: The server's.
        channel: The channel.
        again: Whether publishers try until they are told that it is done. A server that has forgotten the ids of a
            killed one would publish twice.
    """

    def __init__(self, url: str, channel: str, *, again: bool) -> None:
        self.sent: set[object] = set()
        self.acknowledged: list[Seen] = []
        self.followers: list[Follower] = []
        self.stop = False
        self._url = url
        self._channel = channel
        self._again = again

    async def publish(self, number: int) -> None:
        """Publish one value after the other, over any number of connections."""
        value, left = 0, False
        while not self.stop or left:
            with suppress(ConnectionLost, ConnectError):
                async with connect(self._url, reconnect=False) as client:
                    while not self.stop or left:
                        if not left:
                            value += 1
                        name = f"{number}-{value}"
                        self.sent.add(name)
                        left = self._again
                        at = await publish(client, self._channel, name, id=name)
                        self.acknowledged.append(Seen(position_of(at), name))
                        left = False

    async def more(self, count: int) -> None:
        """Return when so much more was acknowledged."""
        wanted = len(self.acknowledged) + count
        await until(lambda: len(self.acknowledged) >= wanted)

    async def there(self, turn: int) -> None:
        """Return when each follower is subscribed, at the server of this turn."""
        await until(lambda: all(len(own) > turn and own[-1].position is not None for own in self.sessions))

    async def arrive(self, position: Position) -> None:
        """Return when all followers are there."""
        await until(lambda: all(one.position == position for one in self.followers))

    @property
    def sessions(self) -> list[list[Session]]:
        """Those of each follower."""
        return [follower.sessions for follower in self.followers]

    async def follow(self) -> None:
        """Follow the channel, over any number of connections."""
        follower = Follower(self._channel)
        self.followers.append(follower)
        while True:
            with suppress(ConnectionLost, ConnectError):
                async with connect(self._url, reconnect=False, on=follower.begin()) as client:
                    await follower.subscribe(client)
                    await until(lambda: not client.connected, limit=3600)
            if follower.sessions[-1].position is None:
                follower.sessions.pop()


async def killed_at_random(folder: Path, rounds: int) -> None:
    """Kill a server again and again while it is used, and judge what became of its two channels."""
    random.seed(rounds)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    lasting, passing = crowds = Crowd(url, "kept.a", again=True), Crowd(url, "open.a", again=False)
    async with asyncio.TaskGroup() as group:
        writers = [group.create_task(crowd.publish(number)) for crowd in crowds for number in range(4)]
        followers = [group.create_task(crowd.follow()) for crowd in crowds for _ in range(3)]
        for turn in range(rounds + 1):
            with serving(folder, "--port", str(port), config=CONFIG) as server:
                for crowd in crowds:
                    await crowd.there(turn)
                    await crowd.more(random.randrange(10, 100))
                if turn < rounds:
                    server.stop(signal.SIGKILL)
                    continue
                for crowd in crowds:
                    crowd.stop = True
                await asyncio.wait(writers)
                async with connect(server.url) as client:
                    found = await kept(client, "kept.a")
                await lasting.arrive(Position(found.top, found.epoch))
                for follower in followers:
                    follower.cancel()
    assert judge(lasting.sent, lasting.acknowledged, lasting.sessions, found, complete=True) == []
    assert judge(passing.sent, passing.acknowledged, passing.sessions) == []
    # Nothing is lost where there is history, so all recover; without it all begin anew, in another epoch.
    for crowd, recovered in ((lasting, True), (passing, False)):
        assert {one.recovered for own in crowd.sessions for one in own if one.since is not None} == {recovered}


async def test_51_what_was_acknowledged_outlives_a_kill(tmp_path):
    """It is in the history, once, and each follower has got it, once and in order.

    49 beside it: without history nothing comes twice or late, and a server that has forgotten where it was says so.
    """
    await killed_at_random(tmp_path, 2)


@pytest.mark.full
async def test_51_killed_again_and_again(tmp_path):
    """As often as in a bad week."""
    await killed_at_random(tmp_path, 20)


@pytest.mark.full
async def test_a_restart_forgets_nothing(tmp_path):
    """Ended as it should be, with two transports and a plain client; a lost file is another epoch, and is said."""
    with serving(tmp_path, config=CONFIG) as server:
        async with connected(server.url, "polling") as client:
            assert (await client.call("api.channels.subscribe", {"channel": "kept.a"}))["data"]["offset"] == 0
            at = (await client.call("api.channels.publish", {"channel": "kept.a", "data": b"\x00"}))["data"]
            assert await client.next("channel") == {"channel": "kept.a", **at, "data": b"\x00"}
        # Another server beside it says that it cannot have the file, and serves the rest.
        config = f'{CONFIG}\n[plugins.channels]\npath = "{tmp_path}/channels.sqlite3"\n'
        with serving(tmp_path / "other", config=config) as other:
            assert other.plugins["channels"]["state"] == "quarantined"
            assert "another server has it, and one file is for one server" in other.plugins["channels"]["reason"]
        assert server.stop() == 0
    since = {"epoch": at["epoch"], "offset": 0}
    with serving(tmp_path, config=CONFIG) as server:
        async with connected(server.url, "websocket") as client:
            reply = await client.call("api.channels.subscribe", {"channel": "kept.a", "since": since})
            assert reply["data"] == {**at, "recovered": True, "replayed": 1}
            assert (await client.next("channel"))["data"] == b"\x00"
        assert server.stop() == 0
    for path in tmp_path.glob("channels.sqlite3*"):
        path.unlink()
    with serving(tmp_path, config=CONFIG) as server:
        async with connect(server.url) as client:
            answer = await subscribe(client, "kept.a", since=since)
            assert (answer["recovered"], answer["offset"]) == (False, 0)
            assert answer["epoch"] != at["epoch"]
            with pytest.raises(CallError, match=r"the epoch is .* now: what was before is lost"):
                await history(client, "kept.a", since=since)


async def test_200_clients_on_real_connections(tmp_path):
    """All get all, once and in order, while ten of them publish; some of them poll."""
    transports = ["websocket"] * 190 + ["polling"] * 10
    heard: list[list[Any]] = [[] for _ in transports]
    with serving(tmp_path, config=CONFIG) as server:
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(connect(server.url, transports=[name], on={"channel": own.append}))
                for name, own in zip(transports, heard, strict=True)
            ]
            await asyncio.gather(*(subscribe(client, "kept.a") for client in clients))
            await asyncio.gather(*(publish(clients[-1 - number % 10], "kept.a", number) for number in range(30)))
            await until(lambda: all(len(own) >= 30 for own in heard))
    assert all([one["offset"] for one in own] == list(range(1, 31)) for own in heard)
    assert all(own == heard[0] for own in heard)
