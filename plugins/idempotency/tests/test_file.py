"""The file of the keys and replies, and what is wrong with it."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest

from jackfield import CallError, JackfieldError
from jackfield_idempotency import sqlite_store, tables
from jackfield_idempotency.plugin import jackfield_health
from plugins.idempotency.tests.effects import KEY, keyed
from tests.support.waiting import eventually, until


@pytest.fixture(name="place")
def _place(tmp_path):
    """In a file, whatever else there is."""
    return {"path": tmp_path / "idempotency.sqlite3"}


async def refusal(serve_shop, **settings):
    """Return why the plugin does not start."""
    with pytest.raises(JackfieldError) as error:
        async with serve_shop(**settings):
            pass
    return str(error.value)


async def test_a_file_comes_with_the_first_key(serve_shop, tmp_path):
    """Whoever has none makes none."""
    async with serve_shop(lease=0.5) as kernel:
        client = await kernel.connect()
        assert await client.call("shop.buy") == 1
        with pytest.raises(CallError, match=r"^invalid_argument: "):
            await keyed(client, "buy", key="")
        assert not list(tmp_path.iterdir())
        assert await keyed(client, "buy") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["idempotency.sqlite3"]


async def test_it_tells_nobody_a_key(serve_shop, place):
    """Nor who called, nor with which data; the reply is there."""
    async with serve_shop() as kernel:
        assert await keyed(await kernel.connect(), "give", ["hunter2"]) == ["hunter2"]
    content = place["path"].read_bytes()
    assert KEY.encode() not in content
    assert content.count(b"hunter2") == 1


async def test_what_cannot_be_the_file_is_said_at_the_start(serve_shop, tmp_path, monkeypatch):
    """With the setting, and what to do."""
    absent = tmp_path / "absent"
    assert f"there is no folder {str(absent)!r} for plugins.idempotency.path: make it" in await refusal(
        serve_shop, path=absent / "file"
    )
    assert f"plugins.idempotency.path, {str(tmp_path)!r}: unable to open database file" in await refusal(
        serve_shop, path=tmp_path
    )
    (tmp_path / "text").write_text("no database" * 100)
    assert "file is not a database" in await refusal(serve_shop, path=tmp_path / "text")
    with closing(sqlite3.connect(tmp_path / "other")) as database:
        database.execute("CREATE TABLE other (x)")
    other = f"plugins.idempotency.path, {str(tmp_path / 'other')!r}: it belongs to something else than this version of "
    assert other + "jackfield-idempotency: user_version is 0, not 1" in await refusal(
        serve_shop, path=tmp_path / "other"
    )
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    assert f"nothing can be written into {str(tmp_path)!r}, the folder of plugins.idempotency.path" in await refusal(
        serve_shop, path=tmp_path / "new"
    )


async def test_a_disk_that_is_full(serve_shop, effects, monkeypatch, caplog):
    """No call with a key is done, others are; the plugin is not well, and the log has one line."""
    connect = tables.connect

    def small(path):
        database = connect(path)
        database.execute("PRAGMA max_page_count = 30")
        return database

    monkeypatch.setattr(sqlite_store, "connect", small)
    async with serve_shop() as kernel:
        client = await kernel.connect()

        async def fill() -> None:
            while True:
                number = effects.done["give"]
                assert await keyed(client, "give", "x" * 10_000, key=f"{KEY}{number}") == "x" * 10_000

        for _ in range(2):
            with pytest.raises(CallError, match=r"^unavailable: Idempotency-keys cannot be looked up now, so the call"):
                await fill()
            with pytest.raises(RuntimeError, match=r"cannot be done: database or disk is full$"):
                await jackfield_health(kernel.kernel)
        done = effects.done["give"]
        assert await client.call("shop.give", 1) == 1
        assert await keyed(client, "give", "x" * 10_000, key=f"{KEY}0") == "x" * 10_000
        assert effects.done["give"] == done + 1
    assert len(re.findall(r"idempotency\.sqlite3 cannot be used \(database or disk is full\)", caplog.text)) >= 1


async def test_a_file_that_somebody_holds_is_waited_for(serve_shop, effects, place, monkeypatch):
    """What ends meanwhile is answered, and kept afterwards."""
    monkeypatch.setattr(tables, "_BUSY", 0.01)
    async with serve_shop(lease=0.5) as kernel:
        client = await kernel.connect()
        first = asyncio.create_task(keyed(client, "hold"))
        await until(lambda: effects.done["hold"])
        with closing(sqlite3.connect(place["path"])) as other:
            other.execute("BEGIN IMMEDIATE")
            effects.go.set()
            assert await first == 1
            with pytest.raises(CallError, match=r"^unavailable: "):
                await keyed(client, "buy")

        async def well() -> bool:
            try:
                await jackfield_health(kernel.kernel)
            except RuntimeError:
                return False
            return True

        await eventually(well)
        assert [await keyed(client, "hold"), await keyed(client, "buy")] == [1, 1]
        assert effects.done == {"hold": 1, "buy": 1}


async def test_a_call_that_was_given_up_before_it_began_can_be_made_again(serve_shop, effects, place):
    """Its time was over before the file was free: it was not done, and is not taken for begun."""
    async with serve_shop() as kernel:
        client = await kernel.connect()
        assert await keyed(client, "sell") == 1
        with closing(sqlite3.connect(place["path"])) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(CallError, match=r"^deadline_exceeded: "):
                await keyed(client, "buy", timeout=0.2)
        assert await keyed(client, "buy") == 1
        assert effects.done == {"sell": 1, "buy": 1}


async def test_what_is_old_leaves_the_file(serve_shop, place):
    """It does not grow with the number of all calls."""
    async with serve_shop(window=1, lease=0.5) as kernel:
        client = await kernel.connect()
        for number in range(5):
            await keyed(client, "buy", key=f"{KEY}{number}")
        with closing(sqlite3.connect(place["path"])) as other:
            await until(lambda: other.execute("SELECT count(*) FROM calls").fetchone() == (0,))


def test_a_file_that_another_process_makes_at_the_same_time(tmp_path):
    """Between any two looks at it; it is not taken for that of something else."""
    path = tmp_path / "new"
    with closing(sqlite3.connect(path)) as database:

        def execute(statement):
            found = database.execute(statement).fetchone()
            tables.connect(path).close()
            return SimpleNamespace(fetchone=lambda: found)

        slow: Any = SimpleNamespace(execute=execute)
        assert tables._is_made(slow)
