"""`jackfield serve --workers` with channels that are one process's own: it says so, and what to set."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from tests.support.client import Client, connected
from tests.support.plugins import write_plugin
from tests.support.redis import need_redis, redis_server
from tests.support.server import serving

CONFIG = """
[server]
transports = ["websocket"]

[plugins]
policy = "listed"
enabled = ["channels", {others}]

[plugins.channels]
store = {store}

[[plugins.channels.rules]]
match = "*"
history = 10
publish = true
"""
WHO = """
    import os

    from jackfield import Call, Service, hookimpl

    service = Service("api.who")

    @service.function
    async def pid(call: Call) -> int:
        return os.getpid()

    @hookimpl
    def jackfield_services():
        return [service]
"""
TOLD = (
    "each of the 2 workers has channels of its own: who is connected to one gets nothing of what is published at "
    'another; set plugins.channels.store = "redis", or run one process'
)


def test_a_file_is_refused(tmp_path: Path) -> None:
    """The first worker would have it, and the others nothing."""
    with serving(tmp_path, "--workers", "2", config=CONFIG.format(others="", store='"sqlite"')) as server:
        channels = server.plugins["channels"]
    assert channels["state"] == "quarantined"
    assert channels["reason"].startswith(
        "RuntimeError: the file of history is for one process, and --workers makes 2: "
        'set plugins.channels.store = "redis", or run one process ('
    )
    assert not (tmp_path / "channels.sqlite3").exists()


def test_memory_is_warned_of(tmp_path: Path) -> None:
    """It serves, for who knows what that means; one process has nothing to be warned of."""
    config = CONFIG.format(others="", store='"memory"')
    with serving(tmp_path / "2", "--workers", "2", config=config) as server:
        assert server.plugins["channels"]["state"] == "started"
        assert TOLD in server.log
    with serving(tmp_path / "1", config=config) as server:
        assert "workers" not in server.log


async def test_redis_makes_them_one(tmp_path: Path) -> None:
    """Clients of either worker get what is published at one."""
    need_redis()
    path = write_plugin(tmp_path / "plugins", "who", WHO, namespaces=["api.who"])
    with redis_server(tmp_path) as redis:
        config = CONFIG.format(others='"who"', store=f'"redis"\nredis_url = "{redis.url}"')
        with serving(tmp_path, "--workers", "2", config=config, path=[path]) as server:
            async with AsyncExitStack() as stack:
                clients: dict[int, Client] = {}
                while len(clients) < 2:  # the second one may be up later
                    async with AsyncExitStack() as this:
                        client = await this.enter_async_context(connected(server.url, "websocket"))
                        pid = (await client.call("api.who.pid"))["data"]
                        if pid not in clients:
                            clients[pid] = client
                            await stack.enter_async_context(this.pop_all())
                one, other = clients.values()
                for client in (one, other):
                    await client.call("api.channels.subscribe", {"channel": "orders"})
                at = (await one.call("api.channels.publish", {"channel": "orders", "data": 1}))["data"]
                for client in (one, other):
                    assert await client.next("channel") == {"channel": "orders", **at, "data": 1}
            assert "workers" not in server.log
