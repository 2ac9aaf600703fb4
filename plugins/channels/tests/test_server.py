"""A real server: what was acknowledged is there after it was killed, and who was there goes on."""

from __future__ import annotations

import asyncio
import random
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from jackfield import CallError
from jackfield.client import connect
from plugins.channels.tests.calls import history, publish, subscribe
from plugins.channels.tests.crowd import Crowd, at_work
from tests.support.client import connected
from tests.support.judge import judge
from tests.support.redis import free_port
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


async def killed_at_random(folder: Path, rounds: int) -> None:
    """Kill a server again and again while it is used, and judge what became of its two channels."""
    random.seed(rounds)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    lasting, passing = crowds = Crowd([url], "kept.a", again=True), Crowd([url], "open.a", again=False)
    async with at_work(*crowds):
        for turn in range(rounds + 1):
            with serving(folder, "--port", str(port), config=CONFIG) as server:
                for crowd in crowds:
                    await crowd.there(turn)
                    await crowd.more(random.randrange(10, 100))
                if turn < rounds:
                    server.stop(signal.SIGKILL)
                    continue
                found = await lasting.settled()
                await passing.settled()
    assert lasting.judged(found) == []
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


@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.full)])
async def test_many_clients_on_real_connections(tmp_path, count):
    """All get all, once and in order, while ten of them publish; some of them poll."""
    transports = ["websocket"] * (count - 10) + ["polling"] * 10
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
