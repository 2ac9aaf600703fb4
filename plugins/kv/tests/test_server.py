"""Real servers: two that have one file, and clients of both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack

import msgpack
import pytest

from jackfield import CallError
from jackfield.client import connect
from plugins.kv.tests.calls import counted, put
from tests.support.client import connected
from tests.support.server import Server, serving
from tests.support.waiting import LIMIT

CONFIG = """
[plugins]
policy = "listed"
enabled = ["kv"]
[plugins.kv]
path = "{path}"
"""


@pytest.fixture(scope="module", name="pair")
def _pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Two servers on one file."""
    folder = tmp_path_factory.mktemp("kv")
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(serving(folder / name, config=CONFIG.format(path=folder / "kv.sqlite3")))
            for name in ("one", "two")
        )
        yield one, two
        for server in (one, two):
            assert "Traceback" not in server.log


@pytest.fixture(name="clients")
async def _clients(pair):
    """A client of each."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connect(server.url)) for server in pair]


async def test_a_value_and_its_buffers(clients):
    """What one server has acknowledged, the other one gives."""
    one, two = clients
    value = {"name": "Ada", "picture": b"\x00\xff\n", "more": [None, True, -1, 1.5, [b""], {"": b"x"}]}
    version = await put(one, "values/ada", value)
    entry = {"key": "values/ada", "value": value, "version": version, "expires": None}
    assert await two.call("api.kv.get", {"key": "values/ada"}) == entry
    assert [item async for item in two.stream("api.kv.list", {"prefix": "values/"})] == [entry]
    assert [item async for item in two.stream("api.kv.list", {"prefix": "values/", "values": False})] == [
        {**entry, "value": None}
    ]
    assert (await two.call("api.kv.delete", {"key": "values/ada", "if_version": version}))["revision"] > version
    with pytest.raises(CallError, match=r"^not_found: "):
        await one.call("api.kv.get", {"key": "values/ada"})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2**60, "The value holds the integer 1152921504606846976, and may hold ±(2^53−1); send it as a text."),
        ([b""] * 11, "The value has 11 Buffers, and may have 10: make one of several."),
        (
            [{"_placeholder": True}, b""],
            "A value with Buffers has a field '_placeholder', which clients would take for one of them.",
        ),
    ],
)
async def test_what_only_messagepack_carries_is_refused(pair, value, message):
    """A value that not every client could be sent would be an error of the server for all who ask for it."""
    packed = msgpack.packb({"key": "odd", "value": value})
    async with connected(pair[0].url, "websocket") as client:
        reply = await client.call("api.kv.set", packed, encoding="msgpack")
    assert reply == {"error": {"code": "invalid_argument", "message": message}}


async def test_many_clients_count_without_a_loss(pair):
    """Each reads, adds, and sets what it has read if it is still so; at two servers."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(pair[number % 2].url)) for number in range(8)]
        assert len(set(await counted(clients))) == 80
        assert (await clients[1].call("api.kv.get", {"key": "count"}))["value"] == 80


async def test_only_one_makes_a_key(clients):
    """Of many who want to be the first; that is a lock, with a time after which it is free again."""
    results = await asyncio.gather(
        *(put(clients[number % 2], "lock", number, if_absent=True, ttl=60) for number in range(10)),
        return_exceptions=True,
    )
    errors = [result for result in results if isinstance(result, CallError)]
    assert len(errors) == 9
    assert {error.code for error in errors} == {"already_exists"}


async def test_a_watch_hears_of_both_servers(clients):
    """What there is, what comes, what goes, and what expires; each once, in order."""
    one, two = clients
    await put(one, "w/a", "old")
    async with one.stream("api.kv.watch", {"prefix": "w/"}) as items, asyncio.timeout(LIMIT):
        assert (await anext(items))["value"] == "old"
        assert (await anext(items))["event"] == "reached"
        versions = [await put(two, "w/a", "new"), await put(one, "w/b", b"\x00", ttl=0.05)]
        revision = (await two.call("api.kv.delete", {"key": "w/a"}))["revision"]
        heard = [await anext(items) for _ in range(4)]
        assert [(item["event"], item["key"], item["value"]) for item in heard if item["event"] != "expire"] == [
            ("set", "w/a", "new"),
            ("set", "w/b", b"\x00"),
            ("delete", "w/a", None),
        ]
        revisions = [item["revision"] for item in heard]
        assert [*versions, revision] == [item["revision"] for item in heard if item["event"] != "expire"]
        assert revisions == sorted(set(revisions))
        assert [item["key"] for item in heard if item["event"] == "expire"] == ["w/b"]
        assert heard[1]["expires"] is not None


async def test_a_watch_goes_on_where_it_broke(clients, pair):
    """Of a client that lost its connection, at the other server."""
    one, two = clients
    async with connect(pair[0].url) as client, client.stream("api.kv.watch", {"key": "broken"}) as items:
        reached = (await anext(items))["revision"]
    versions = [await put(one, "broken", number) for number in range(3)]
    async with two.stream("api.kv.watch", {"key": "broken", "after": reached}) as items, asyncio.timeout(LIMIT):
        heard = [await anext(items) for _ in range(4)]
    assert [item["revision"] for item in heard if item["event"] == "set"] == versions


async def test_the_stock_client_needs_nothing_else(pair):
    """Plain Socket.IO, over polling."""
    async with connected(pair[0].url, "polling") as client:
        assert "version" in (await client.call("api.kv.set", {"key": "stock", "value": b"\x00"}))["data"]
        assert (await client.call("api.kv.get", {"key": "stock"}))["data"]["value"] == b"\x00"
        assert await client.call("api.kv.list", {"prefix": "stock"}, id=1) == {"id": 1, "stream": "server"}
        assert (await client.next("stream"))["data"]["key"] == "stock"
        assert await client.next("stream") == {"id": 1, "end": True}
