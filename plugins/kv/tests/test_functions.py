"""Every function of `api.kv`, called by a client."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from jackfield import CallError, Principal
from jackfield.testing import Client, RunningKernel
from plugins.kv.tests.calls import put
from tests.support.waiting import LIMIT


@pytest.fixture
def jackfield_settings(tmp_path: Path) -> dict[str, object]:
    """A file of its own for each test, and limits that tests come to."""
    return {"path": tmp_path / "kv.sqlite3", "max_value": 5000, "max_watches": 5}


async def refused(client: Client, function: str, data: Any) -> CallError:
    """Return what the server says against a call."""
    if function in ("list", "watch"):
        opened = client.stream(f"api.kv.{function}", data)
        with pytest.raises(CallError) as error:
            await anext(opened)
        return error.value
    with pytest.raises(CallError) as error:
        await client.call(f"api.kv.{function}", data)
    return error.value


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
async def test_what_is_wrong_is_said(jackfield_client, function, data, code, message):
    """In words for the person who reads it."""
    error = await refused(jackfield_client, function, data)
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
async def test_what_does_not_fit_is_named(jackfield_client, function, data, path, message):
    """With the place where it is."""
    error = await refused(jackfield_client, function, data)
    assert error.code == "invalid_argument"
    (detail,) = error.details
    assert (detail["path"], detail["message"][: len(message)]) == (path, message)


async def test_a_value_comes_and_goes(jackfield_client: Client) -> None:
    """With its version, and an expiry if it has one."""
    version = await put(jackfield_client, "a", {"b": [b"\x00", None]})
    entry = {"key": "a", "value": {"b": [b"\x00", None]}, "version": version, "expires": None}
    assert await jackfield_client.call("api.kv.get", {"key": "a"}) == entry
    assert await put(jackfield_client, "a", None, ttl=60) == version + 1
    entry = await jackfield_client.call("api.kv.get", {"key": "a"})
    assert (entry["value"], entry["version"]) == (None, version + 1)
    assert datetime.fromisoformat(entry["expires"]).tzinfo is not None
    assert await jackfield_client.call("api.kv.delete", {"key": "a"}) == {"revision": version + 2}
    assert (await refused(jackfield_client, "get", {"key": "a"})).code == "not_found"


async def test_a_list_comes_in_pages(jackfield_client: Client) -> None:
    """From one key to another, with or without values."""
    for key in ("a/1", "a/2", "a/3", "b"):
        await put(jackfield_client, key, [key])

    async def listed(**data: Any) -> list[tuple[str, Any]]:
        found: Any = jackfield_client.stream("api.kv.list", data or None)
        return [(entry["key"], entry["value"]) async for entry in found]

    assert await listed() == [("a/1", ["a/1"]), ("a/2", ["a/2"]), ("a/3", ["a/3"]), ("b", ["b"])]
    assert await listed(prefix="a/", after="a/1", limit=1) == [("a/2", ["a/2"])]
    assert await listed(prefix="a/", after="a/2", values=False) == [("a/3", None)]


@pytest.mark.jackfield(network=False)
async def test_a_value_expires(jackfield_kernel: RunningKernel, jackfield_client: Client) -> None:
    """When its time is over and not before; those who watch are told within a second."""
    await put(jackfield_client, "a", 1, ttl=60)
    async with jackfield_client.stream("api.kv.watch", {"key": "a"}) as items:
        assert [(await anext(items))["event"] for _ in range(2)] == ["set", "reached"]
        await jackfield_kernel.clock.advance(59)
        assert (await jackfield_client.call("api.kv.get", {"key": "a"}))["value"] == 1
        await jackfield_kernel.clock.advance(1)
        assert (await refused(jackfield_client, "get", {"key": "a"})).code == "not_found"
        await jackfield_kernel.clock.advance(1)
        assert await anext(items) == {"event": "expire", "revision": 2, "key": "a", "value": None, "expires": None}


async def test_only_one_makes_a_key(jackfield_client: Client) -> None:
    """Of many who want to be the first."""
    results = await asyncio.gather(
        *(put(jackfield_client, "lock", number, if_absent=True) for number in range(10)), return_exceptions=True
    )
    assert sorted(str(getattr(result, "code", "done")) for result in results) == ["already_exists"] * 9 + ["done"]


async def test_who_is_slow_holds_up_nobody_and_misses_nothing(jackfield_client: Client) -> None:
    """A client that takes one item at a time, while others write."""
    async with jackfield_client.stream("api.kv.watch", credit=1) as items, asyncio.timeout(LIMIT):
        assert (await anext(items))["event"] == "reached"
        for _ in range(6):
            await asyncio.gather(*(put(jackfield_client, "a", number) for number in range(50)))
        assert [(await anext(items))["revision"] for _ in range(300)] == list(range(1, 301))


async def test_who_reads_nothing_gets_all_in_the_end(jackfield_kernel: RunningKernel, jackfield_client: Client) -> None:
    """What is too much for the line waits in the history."""
    slow = await jackfield_kernel.connect()
    async with slow.stream("api.kv.watch", credit=1000) as items, asyncio.timeout(LIMIT):
        assert (await anext(items))["event"] == "reached"
        slow.stop_reading()
        for _ in range(10):
            await asyncio.gather(*(put(jackfield_client, "a", "x" * 4000) for _ in range(40)))
        slow.read_on()
        assert [(await anext(items))["revision"] for _ in range(400)] == list(range(1, 401))


async def test_a_server_has_so_many_watches(jackfield_kernel: RunningKernel, jackfield_client: Client) -> None:
    """The next one is told so; a client that vanishes makes room."""
    other = await jackfield_kernel.connect()
    async with AsyncExitStack() as stack:
        for client in (other, other, other, jackfield_client, jackfield_client):
            await anext(await stack.enter_async_context(client.stream("api.kv.watch", {"key": "a"})))
        error = await refused(jackfield_client, "watch", {"key": "a"})
        assert error.code == "resource_exhausted"
        assert error.message == "There are 5 watches, and there may be no more (plugins.kv.max_watches)."
        await other.vanish()
        async with asyncio.timeout(LIMIT):  # a stream has its place until its function has ended
            while not await gets_in(jackfield_client):
                pass


async def gets_in(client: Client) -> bool:
    """Tell whether there is a place for a watch."""
    async with client.stream("api.kv.watch", {"key": "a"}) as items:
        try:
            return bool((await anext(items))["event"] == "reached")
        except CallError:
            return False


@pytest.mark.parametrize(
    ("scope", "may"), [("kv:read", {"get", "list", "watch"}), ("kv:write", {"set", "delete"}), ("files:read", set())]
)
@pytest.mark.jackfield(authenticated=True)
async def test_who_may_do_what(jackfield_kernel: RunningKernel, scope: str, may: set[str]) -> None:
    """Reading and writing are two scopes; what nobody may is not there."""
    client = await jackfield_kernel.connect(as_=Principal("ann", scopes=frozenset({scope})))
    found = {
        function: (
            await refused(client, function, {"key": "\n", "value": 1} if function == "set" else {key: "\n"})
        ).code
        for function, key in {"get": "key", "set": "", "delete": "key", "list": "prefix", "watch": "key"}.items()
    }
    assert {function for function, code in found.items() if code == "invalid_argument"} == may
    assert {code for function, code in found.items() if function not in may} <= {"not_found"}
