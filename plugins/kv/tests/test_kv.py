"""The store of one server: the limits of its settings, its file, its broom."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import aclosing, asynccontextmanager, closing

import pytest

from jackfield_kv import kv as module
from jackfield_kv import tables
from jackfield_kv.faults import Away, BadKey, NotFound, TooMuch
from jackfield_kv.kv import Kv
from jackfield_kv.settings import KvSettings
from jackfield_kv.store import Bounds, Change, Order
from jackfield_kv.values import unpack
from jackfield_kv.watches import Wanted
from tests.support.waiting import LIMIT, until


@asynccontextmanager
async def opened(path, **settings):
    kv = await Kv.open(KvSettings(path=path / "kv.sqlite3", **settings))
    try:
        yield kv
    finally:
        await kv.close()


async def listed(kv, prefix="", after="", limit=None, *, values=True):
    async with aclosing(kv.list(prefix, after, limit, values=values)) as entries:
        return [(entry.key, entry.value and unpack(entry.value)) async for entry in entries]


async def changes(kv, after, number):
    """Return the next changes of all keys."""
    found: list[Change] = []
    async with aclosing(kv.watch(Wanted(""), after)) as items:
        while len(found) < number:
            item = await anext(items)
            if isinstance(item, Change):
                found.append(item)
    return found


async def test_a_key_may_have_so_many_bytes(tmp_path):
    """And not one more, wherever a key is given."""
    async with opened(tmp_path, max_key=4) as kv:
        await kv.set("éé", 1)
        assert (await kv.get("éé")).version == 1
        assert await listed(kv, "éé", "éé") == []
        refused = r"'ééx' is refused: it has 5 bytes in UTF-8, and may have 4 \(plugins\.kv\.max_key\)\.$"
        for call in (kv.get("ééx"), kv.set("ééx", 1), kv.delete("ééx"), listed(kv, "ééx"), listed(kv, "", "ééx")):
            with pytest.raises(BadKey, match=refused):
                await call
        for wanted in (Wanted("ééx"), Wanted("ééx", exact=True)):
            with pytest.raises(BadKey, match=refused):
                kv.watch(wanted, None)


async def test_a_value_may_have_so_many_bytes(tmp_path):
    """Of its JSON text, and of its Buffers with where they belong."""
    async with opened(tmp_path, max_value=20) as kv:
        await kv.set("a", "x" * 18)
        await kv.set("b", b"x" * 6)
        refused = r"^The value has 21 bytes, and may have 20 \(plugins\.kv\.max_value\)\.$"
        for value in ("x" * 19, "é" * 9 + "x", b"x" * 7):
            with pytest.raises(TooMuch, match=refused):
                await kv.set("a", value)
        assert await listed(kv) == [("a", "x" * 18), ("b", b"x" * 6)]


async def test_listing_goes_on_where_it_ended(tmp_path, monkeypatch):
    """However many keys the store gives at once."""
    monkeypatch.setattr(module, "MANY", 3)
    async with opened(tmp_path) as kv:
        for number in range(10):
            await kv.set(f"{number}", number)
        assert await listed(kv) == [(f"{number}", number) for number in range(10)]
        assert await listed(kv, limit=4) == [(f"{number}", number) for number in range(4)]
        assert await listed(kv, after="3", limit=4, values=False) == [(f"{number}", None) for number in range(4, 8)]
        assert await listed(kv, after="7", limit=4) == [("8", 8), ("9", 9)]


async def test_the_file_is_made_by_the_first_call(tmp_path):
    """Whoever only starts the server finds no file that they did not ask for."""
    async with opened(tmp_path):
        await asyncio.sleep(0)
        assert list(tmp_path.iterdir()) == []
    async with opened(tmp_path) as kv:
        with pytest.raises(NotFound):
            await kv.get("a")
        assert (tmp_path / "kv.sqlite3").exists()
    async with opened(tmp_path) as kv:
        await kv.set("a", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["kv.sqlite3"]  # closed, it is one file


async def test_the_broom_sweeps(tmp_path, monkeypatch):
    """Whoever watches hears of what has expired, though nobody asks for it."""
    monkeypatch.setattr(module, "_SWEEP", 0.01)
    async with opened(tmp_path) as kv, asyncio.timeout(LIMIT):
        await kv.set("a", 1, 0.001)
        assert [(change.event, change.revision) for change in await changes(kv, 0, 2)] == [("set", 1), ("expire", 2)]


async def test_the_broom_outlives_what_goes_wrong(tmp_path, monkeypatch, caplog):
    """A store that is away is no news to it; anything else is, and it goes on."""
    monkeypatch.setattr(module, "_SWEEP", 0.01)
    async with opened(tmp_path) as kv:
        store = kv._store
        errors: list[Exception] = [Away("away"), ValueError("a mistake")]
        sweep, swept = store.sweep, asyncio.Event()

        async def fail():
            if errors:
                raise errors.pop(0)
            swept.set()
            return await sweep()

        monkeypatch.setattr(store, "sweep", fail)
        async with asyncio.timeout(LIMIT):
            await swept.wait()
    assert [record.message for record in caplog.records] == ["values whose time is over could not be removed"]


async def test_a_file_outlives_its_server(tmp_path):
    """With values, versions, history, and what is to expire."""
    async with opened(tmp_path) as kv:
        await kv.set("a", 1)
        await kv.set("b", 2, 0.001)
    async with opened(tmp_path) as kv, asyncio.timeout(LIMIT):
        assert [(change.event, change.revision) for change in await changes(kv, 1, 2)] == [("set", 2), ("expire", 3)]
        assert await listed(kv) == [("a", 1)]
        assert await kv.set("a", 2, if_version=1) == 4


async def test_many_begin_with_a_new_file(tmp_path):
    """As the workers of one server do: one makes it, and all have it."""

    def use(path, number):
        with closing(tables.connect(path)) as database, database:
            return tables.Writer(database, Bounds(10, 100, 10)).set(Order(f"{number}", b"1"))

    for name in ("one", "two", "three"):
        versions = await asyncio.gather(*(asyncio.to_thread(use, tmp_path / name, number) for number in range(5)))
        assert sorted(versions) == [1, 2, 3, 4, 5]


def make_foreign(path):
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE theirs (n)")
    database.close()


def make_newer(path):
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 2")
    database.close()


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: path.write_text("no database " * 100), "'kv.sqlite3': file is not a database"),
        (
            make_foreign,
            "'kv.sqlite3': it belongs to something else than this version of jackfield-kv: user_version is 0, not 1",
        ),
        (
            make_newer,
            "'kv.sqlite3': it belongs to something else than this version of jackfield-kv: user_version is 2, not 1",
        ),
        (lambda path: path.mkdir(), "'kv.sqlite3': unable to open database file"),
    ],
)
async def test_a_file_of_something_else_is_not_touched(tmp_path, monkeypatch, make, problem):
    """The server says so at its start."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "kv.sqlite3"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(sqlite3.Error) as refused:
        await Kv.open(KvSettings())
    assert str(refused.value) == f"plugins.kv.path, {problem}"
    assert (path.read_bytes() if path.is_file() else b"") == before


async def test_a_folder_that_is_not_there_is_a_mistake(tmp_path):
    """It is not made: a mistyped path would be a store without values."""
    with pytest.raises(FileNotFoundError) as refused:
        await Kv.open(KvSettings(path=tmp_path / "absent" / "kv.sqlite3"))
    assert str(refused.value) == f"there is no folder {str(tmp_path / 'absent')!r} for plugins.kv.path: make it"


async def test_a_file_that_another_program_holds(tmp_path, monkeypatch, caplog):
    """What cannot be written is refused, reading goes on, and the log says once that it began and that it is over."""
    monkeypatch.setattr(tables, "_BUSY", 0.01)
    monkeypatch.setattr(module, "_SWEEP", 0.01)
    async with opened(tmp_path) as kv:
        assert await kv.set("a", 1) == 1
        other = sqlite3.connect(tmp_path / "kv.sqlite3", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            with pytest.raises(Away, match=r"^The store cannot be used now; nothing was changed\.$"):
                await kv.set("a", 2)
        assert kv.trouble() == "database is locked"
        assert (await kv.get("a")).version == 1
        other.close()
        await until(lambda: kv.trouble() is None)  # though nobody writes
        assert await kv.set("a", 2) == 2
    assert [record.message.removeprefix(str(tmp_path)) for record in caplog.records] == [
        "/kv.sqlite3 (writing) cannot be reached (database is locked): calls are answered with unavailable",
        "/kv.sqlite3 (writing) is back",
    ]
