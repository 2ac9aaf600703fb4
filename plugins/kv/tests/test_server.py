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
enabled = ["kv", "system"]
[plugins.kv]
path = "{path}"
max_value = 5000
history = 2000
max_watches = 5
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


async def refused(client, function, data):
    """Return what the server says against a call."""
    if function in ("list", "watch"):
        opened = client.stream(f"api.kv.{function}", data)
        with pytest.raises(CallError) as error:
            await anext(opened)
        return error.value
    with pytest.raises(CallError) as error:
        await client.call(f"api.kv.{function}", data)
    return error.value


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
    assert (await refused(one, "get", {"key": "values/ada"})).code == "not_found"


@pytest.mark.parametrize(
    ("function", "data", "code", "message"),
    [
        ("get", {"key": ""}, "invalid_argument", "The key '' is refused: it is empty."),
        (
            "set",
            {"key": "a\0", "value": 1},
            "invalid_argument",
            "The key 'a\\x00' is refused: it holds a control charac",
        ),
        ("delete", {"key": "x" * 513}, "invalid_argument", "The key 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ("list", {"prefix": "\x7f"}, "invalid_argument", "The prefix '\\x7f' is refused: it holds a control character"),
        ("watch", {"key": "\n"}, "invalid_argument", "The key '\\n' is refused: it holds a control character, '\\n'."),
        ("watch", {"key": ""}, "invalid_argument", "The key '' is refused: it is empty."),
        (
            "watch",
            {"after": 2**53 - 1},
            "out_of_range",
            "There is no revision 9007199254740991 yet, the newest one is ",
        ),
        ("get", {"key": "nobody"}, "not_found", "'nobody' has no value."),
        ("delete", {"key": "nobody"}, "not_found", "'nobody' has no value."),
        (
            "set",
            {"key": "a", "value": "x" * 4999},
            "resource_exhausted",
            "The value has 5,001 bytes, and may have 5,000 ",
        ),
        (
            "set",
            {"key": "n", "value": 1, "if_version": 7},
            "aborted",
            "'n' has no value now, and the version 7 was expected; ",
        ),
        (
            "set",
            {"key": "n", "value": 1, "if_version": 0},
            "aborted",
            "'n' has no value now, and the version 0 was expected; ",
        ),
    ],
)
async def test_what_is_wrong_is_said(clients, function, data, code, message):
    """In words for the person who reads it."""
    error = await refused(clients[0], function, data)
    assert (error.code, error.message[: len(message)]) == (code, message)


@pytest.mark.parametrize(
    ("function", "data", "path", "message"),
    [
        ("set", {"key": "a", "value": 1, "ttl": -1}, ["ttl"], "Input should be greater than 0"),
        ("set", {"key": "a", "value": 1, "ttl": 0}, ["ttl"], "Input should be greater than 0"),
        ("set", {"key": "a", "value": 1, "ttl": 1e9}, ["ttl"], "Input should be less than or equal to 315360000"),
        ("set", {"key": "a"}, ["value"], "Field required"),
        ("set", {"key": 5, "value": 1}, ["key"], "Input should be a valid string"),
        (
            "set",
            {"key": "a", "value": 1, "if_version": -1},
            ["if_version"],
            "Input should be greater than or equal to 0",
        ),
        ("set", {"key": "a", "value": 1, "if_version": "x"}, ["if_version"], "Input should be a valid integer, unable"),
        ("set", {"key": "a", "value": 1, "if_verson": 1}, ["if_verson"], "Extra inputs are not permitted"),
        (
            "set",
            {"key": "a", "value": 1, "if_version": 1, "if_absent": True},
            [],
            "Value error, give either if_version or if_absent",
        ),
        ("watch", {"key": "a", "prefix": "a"}, [], "Value error, give either key or prefix"),
        ("list", {"limit": 0}, ["limit"], "Input should be greater than or equal to 1"),
    ],
)
async def test_what_does_not_fit_is_named(clients, function, data, path, message):
    """With the place where it is."""
    error = await refused(clients[0], function, data)
    assert error.code == "invalid_argument"
    (detail,) = error.details
    assert (detail["path"], detail["message"][: len(message)]) == (path, message)


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


async def test_who_is_slow_holds_up_nobody_and_misses_nothing(clients):
    """A client that takes one item at a time, while another one writes."""
    one, two = clients
    async with one.stream("api.kv.watch", {"prefix": "slow/"}, credit=1) as items, asyncio.timeout(LIMIT):
        assert (await anext(items))["event"] == "reached"
        versions = []
        for _ in range(6):
            versions += await asyncio.gather(*(put(two, "slow/a", number) for number in range(50)))
        heard = [await anext(items) for _ in range(300)]
        assert [item["revision"] for item in heard] == sorted(versions)


async def test_a_watch_goes_on_where_it_broke(clients, pair):
    """Of a client that lost its connection, at the other server."""
    one, two = clients
    async with connect(pair[0].url) as client, client.stream("api.kv.watch", {"key": "broken"}) as items:
        reached = (await anext(items))["revision"]
    versions = [await put(one, "broken", number) for number in range(3)]
    async with two.stream("api.kv.watch", {"key": "broken", "after": reached}) as items, asyncio.timeout(LIMIT):
        heard = [await anext(items) for _ in range(4)]
    assert [item["revision"] for item in heard if item["event"] == "set"] == versions


async def gets_in(client):
    """Tell whether there is a place for a watch."""
    async with client.stream("api.kv.watch", {"key": "many"}) as items:
        try:
            return (await anext(items))["event"] == "reached"
        except CallError:
            return False


async def test_a_server_has_so_many_watches(clients):
    """The next one is told so, and there is room when one has ended."""
    async with AsyncExitStack() as stack, asyncio.timeout(LIMIT):
        for _ in range(5):
            items = await stack.enter_async_context(clients[0].stream("api.kv.watch", {"key": "many"}))
            await anext(items)
        error = await refused(clients[0], "watch", {"key": "many"})
        assert error.code == "resource_exhausted"
        assert error.message == "There are 5 watches, and there may be no more (plugins.kv.max_watches)."
    async with asyncio.timeout(LIMIT):  # a stream has its place until its function has ended
        while not await gets_in(clients[0]):
            pass


async def test_the_stock_client_needs_nothing_else(pair):
    """Plain Socket.IO, over polling."""
    async with connected(pair[0].url, "polling") as client:
        assert "version" in (await client.call("api.kv.set", {"key": "stock", "value": b"\x00"}))["data"]
        assert (await client.call("api.kv.get", {"key": "stock"}))["data"]["value"] == b"\x00"
        assert await client.call("api.kv.list", {"prefix": "stock"}, id=1) == {"id": 1, "stream": "server"}
        assert (await client.next("stream"))["data"]["key"] == "stock"
        assert await client.next("stream") == {"id": 1, "end": True}


async def test_who_may_do_what(clients):
    """Reading and writing are two scopes."""
    functions = await clients[0].call("api.system.functions", {"pattern": "api.kv.*"})
    assert {function["event"]: function["requires"] for function in functions} == {
        "api.kv.get": ["kv:read"],
        "api.kv.list": ["kv:read"],
        "api.kv.watch": ["kv:read"],
        "api.kv.set": ["kv:write"],
        "api.kv.delete": ["kv:write"],
    }
