"""Servers that have their limits in common through Redis, and what becomes of them without it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from urllib.request import urlopen

import pytest
from pydantic import ValidationError
from redis.asyncio import Redis

from jackfield_ratelimit.settings import RatelimitSettings
from plugins.ratelimit.tests import counting
from plugins.ratelimit.tests.limiting import limited
from tests.support.client import Client, connected
from tests.support.redis import RedisServer
from tests.support.server import Server
from tests.support.waiting import eventually, until

BURST = 20
AHEAD = 5
"""A quarter of the burst: so many calls each server lets in before the other one knows."""

OWN = "api.counter.own"
RULES = """
rules = [
    {{ functions = "api.counter.own", rate = 0.001, burst = 20 }},
    {{ functions = "api.counter.other", per = "connection", rate = 0.001, burst = 2 }},
]
redis_url = "{url}"
"""
AWAY = "Redis cannot be used"
BACK = "Redis is back"


@pytest.fixture(scope="module", name="pair")
def _pair(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Two servers on one Redis."""
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(limited(tmp_path_factory.mktemp(name), RULES.format(url=redis.url)))
            for name in ("one", "two")
        )
        yield one, two


async def let_in(*clients: Client, event: str = OWN) -> int:
    """Call side by side until nobody is let in for a long time; return how many calls were.

    Who was only ahead of what the other server knows comes again when it is told to.
    """

    async def insist(client: Client) -> int:
        passed = 0
        while True:
            reply = await client.call(event)
            if "error" not in reply:
                passed += 1
            elif reply["error"]["retry_after"] < 1000:
                await asyncio.sleep(reply["error"]["retry_after"] / 1000)
            else:
                return passed

    return sum(await asyncio.gather(*(insist(client) for client in clients)))


def says(server: Server, text: str) -> bool:
    return text in server.log


def health(url: str) -> str:
    with urlopen(f"{url}/readyz?verbose", timeout=20) as response:
        return str(response.read().decode())


def feels(server: Server, text: str) -> bool:
    """Tell whether its health says so; probes that come soon after one another get the same answer."""
    return text in health(server.url)


async def test_two_servers_have_one_limit(pair):
    """Whoever has two connections has no more for that than what each server may let in ahead."""
    one, two = pair
    async with (
        connected(one.url, "websocket", auth={"name": "ann"}) as first,
        connected(two.url, "websocket", auth={"name": "ann"}) as second,
        connected(two.url, "websocket", auth={"name": "bea"}) as other,
    ):
        assert BURST <= await let_in(first, second) <= BURST + AHEAD
        assert await let_in(first, second) == 0
        assert await let_in(other) == BURST  # who is alone has all of it
        assert await let_in(first, event="api.counter.other") == 2
        assert await let_in(second, event="api.counter.other") == 2  # connections are not shared
    assert feels(one, "limits hold over all servers together")


async def test_what_one_server_let_in_the_other_knows(pair):
    """One after the other: of a bucket that one has emptied, the other lets in no more than it may ahead."""
    one, two = pair
    async with (
        connected(one.url, "websocket", auth={"name": "cas"}) as first,
        connected(two.url, "websocket", auth={"name": "cas"}) as second,
    ):
        assert await let_in(first) == BURST
        assert await let_in(second) <= AHEAD
        # What was too much is paid for: a token for each, and one for the call.
        debt = (await second.call(OWN))["error"]["retry_after"]
        assert debt > 900_000


async def test_without_redis_each_server_is_alone(pair, redis):
    """Calls go on, the log has one line, and what was let in is not forgotten when Redis is back and knows nothing."""
    one, two = pair
    async with (
        connected(one.url, "websocket", auth={"name": "dot"}) as first,
        connected(two.url, "websocket", auth={"name": "dot"}) as second,
        connected(one.url, "websocket", auth={"name": "eli"}) as third,
        connected(two.url, "websocket", auth={"name": "eli"}) as fourth,
        connected(one.url, "websocket", auth={"name": "fin"}) as fifth,
        connected(two.url, "websocket", auth={"name": "fin"}) as sixth,
    ):
        assert await let_in(first, second) >= BURST
        redis.kill()
        try:
            for server, client in ((one, third), (two, fourth)):
                assert "data" in await client.call(OWN)  # somebody has to ask before anybody misses it
                await until(partial(says, server, AWAY))
                await until(partial(feels, server, f"{AWAY} ("))
            # A token that one of them was about to tell of may be lost with Redis, no call is.
            assert await let_in(third, fourth) == 2 * BURST - 2
            assert await let_in(first) == 0
        finally:
            redis.start()
        for server in pair:
            await until(partial(says, server, BACK))
        assert await let_in(first, third) == 0
        assert BURST <= await let_in(fifth, sixth) <= BURST + AHEAD
    for server in pair:
        assert server.log.count(AWAY) == 1
        assert server.log.count("Traceback") == 0
        assert "hunter2" not in server.log


async def test_a_redis_without_room_is_one_line_until_it_has_some(pair, redis):
    """That it still answers is no sign that it counts."""
    one, _ = pair
    before = one.log.count(AWAY)
    async with connected(one.url, "websocket", auth={"name": "hal"}) as client, Redis.from_url(redis.url) as admin:
        await admin.config_set("maxmemory", 1)
        try:
            assert "data" in await client.call(OWN)
            await until(lambda: one.log.count(AWAY) > before)
            refusals = (await admin.info("errorstats"))["errorstat_OOM"]["count"]

            async def refused_again() -> bool:
                return bool((await admin.info("errorstats"))["errorstat_OOM"]["count"] > refusals)

            await eventually(refused_again)
            await until(partial(feels, one, f"{AWAY} (command not allowed when used memory > 'maxmemory'"))
            assert one.log.count(BACK) == before
        finally:
            await admin.config_set("maxmemory", 0)
        await until(lambda: one.log.count(BACK) > before)
    assert one.log.count(AWAY) == before + 1


async def test_a_redis_that_says_nothing_holds_up_nobody(pair, redis):
    """It is taken for gone after half a second; calls are answered all the while."""
    one, _ = pair
    before = one.log.count(AWAY)
    async with connected(one.url, "websocket", auth={"name": "gus"}) as client:
        redis.pause()
        try:
            assert "data" in await client.call(OWN)
            await until(lambda: one.log.count(AWAY) > before)
            assert await let_in(client) >= BURST - 1 - AHEAD
        finally:
            redis.resume()
        await until(lambda: one.log.count(BACK) > before)
        assert await let_in(client) == 0


async def test_a_wrong_password_is_no_redis(redis, jackfield_serve, caplog):
    """The server limits by itself, says why, and does not say the password."""
    rules = [{"functions": OWN, "rate": 0.001, "burst": BURST}]
    settings = {"rules": rules, "redis_url": redis.url.replace("hunter2", "hunter3")}
    caplog.set_level("INFO")  # as in a server's log
    async with jackfield_serve(
        "ratelimit", settings=settings, neighbours={"counter": counting}, network=True
    ) as kernel:
        assert f"{AWAY} (invalid username-password pair" in caplog.text
        async with connected(kernel.url, "websocket") as client:
            assert await let_in(client) == BURST
        told = await asyncio.to_thread(health, kernel.url)
        assert f"{AWAY} (invalid username-password pair" in told
    assert "hunter" not in caplog.text + told


async def test_an_address_that_is_none_is_a_mistake(jackfield_serve, caplog):
    """The plugin is quarantined with the reason, in which there is nothing of the password."""
    settings = {"rules": [{"rate": 1}], "redis_url": "redis://:hunter2/3@127.0.0.1:6379"}
    caplog.set_level("INFO")
    async with jackfield_serve("ratelimit", settings=settings, strict=False) as kernel:
        plugin = kernel.plugin
    assert (plugin.state, plugin.kind) == ("quarantined", "SettingsError")
    assert "it is no address of Redis, such as redis://:password@host:6379/0" in plugin.reason
    assert "hunter" not in caplog.text + repr(plugin)


@pytest.mark.parametrize("url", ["", "localhost:6379", "http://localhost", "redis://localhost:port", "redis://[::1"])
def test_addresses_are_looked_at(url):
    """An empty one is none, as from a variable that is not set."""
    if not url:
        assert RatelimitSettings.model_validate({"redis_url": url}).redis_url is None
        return
    with pytest.raises(ValidationError, match="it is no address of Redis"):
        RatelimitSettings.model_validate({"redis_url": url})


def test_a_missing_package_is_named(monkeypatch):
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "jackfield_redis", None)
    with pytest.raises(ValidationError, match=r'pip install "jackfield-ratelimit\[redis\]"'):
        RatelimitSettings.model_validate({"redis_url": "redis://localhost"})
    assert RatelimitSettings.model_validate({}).redis_url is None
