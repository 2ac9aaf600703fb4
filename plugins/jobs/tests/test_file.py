"""The file of the jobs, and what is wrong with it."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest

from jackfield import CallError, JackfieldError
from jackfield_jobs import sqlite_store, tables
from jackfield_jobs.plugin import jackfield_health
from plugins.jobs.tests.work import done, ended, state, submitted
from tests.support.waiting import until


@pytest.fixture(name="place")
def _place(tmp_path):
    """In a file, whatever else there is."""
    return {"path": tmp_path / "jobs.sqlite3"}


async def refusal(serve_jobs, **settings):
    """Return why the plugin does not start."""
    with pytest.raises(JackfieldError) as error:
        async with serve_jobs(**settings):
            pass
    return str(error.value)


async def test_a_file_comes_with_the_first_job(serve_jobs, tmp_path):
    """Who only asks makes none."""
    async with serve_jobs() as kernel:
        client = await kernel.connect()
        assert await client.call("api.jobs.list") == {"jobs": [], "next": None}
        with pytest.raises(CallError, match=r"^not_found: "):
            await state(client, "x")
        assert not list(tmp_path.iterdir())
        assert (await done(client, "add", {"a": 1}))["state"] == "succeeded"
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.sqlite3"]


async def test_what_cannot_be_the_file_is_said_at_the_start(serve_jobs, tmp_path, monkeypatch):
    """With the setting, and what to do."""
    absent = tmp_path / "absent"
    assert f"there is no folder {str(absent)!r} for plugins.jobs.path: make it" in await refusal(
        serve_jobs, path=absent / "jobs"
    )
    assert f"plugins.jobs.path, {str(tmp_path)!r}: unable to open database file" in await refusal(
        serve_jobs, path=tmp_path
    )
    (tmp_path / "text").write_text("no database" * 100)
    assert "file is not a database" in await refusal(serve_jobs, path=tmp_path / "text")
    with closing(sqlite3.connect(tmp_path / "other")) as database:
        database.execute("CREATE TABLE other (x)")
    other = f"plugins.jobs.path, {str(tmp_path / 'other')!r}: it belongs to something else than this version of "
    assert other + "jackfield-jobs: user_version is 0, not 1" in await refusal(serve_jobs, path=tmp_path / "other")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    assert f"nothing can be written into {str(tmp_path)!r}, the folder of plugins.jobs.path" in await refusal(
        serve_jobs, path=tmp_path / "new"
    )


@pytest.fixture(name="pragmas")
def _pragmas(monkeypatch):
    """What is said to each connection."""
    pragmas: list[str] = []
    connect = tables.connect

    def hindered(path):
        database = connect(path)
        for pragma in pragmas:
            database.execute(f"PRAGMA {pragma}")
        return database

    monkeypatch.setattr(sqlite_store, "connect", hindered)
    return pragmas


async def test_a_file_that_cannot_be_written_is_said_at_the_start(serve_jobs, pragmas):
    """Rather than by every job."""
    async with serve_jobs() as kernel:
        await done(await kernel.connect(), "add", {"a": 1})
    pragmas.append("query_only = ON")
    assert re.search(
        r"plugins\.jobs\.path, '.*jobs.sqlite3': attempt to write a readonly database", await refusal(serve_jobs)
    )


async def test_a_disk_that_is_full_takes_no_more_jobs(serve_jobs, pragmas, caplog):
    """Those who submit are told; what is kept can be read, the server is not ready, and the log has one line."""
    pragmas.append("max_page_count = 60")
    async with serve_jobs(running=0) as kernel:
        client = await kernel.connect()
        jobs: list[str] = []

        async def fill() -> None:
            while True:
                jobs.append(await submitted(client, "hold", "x" * 10_000))

        for _ in range(2):
            with pytest.raises(CallError, match=r"^unavailable: Jobs cannot be kept now; if this was a change, ") as no:
                await fill()
            assert no.value.retry_after == 1000
            with pytest.raises(RuntimeError, match=r"^jobs cannot be kept: database or disk is full$"):
                await jackfield_health(kernel.kernel)
            assert (await state(client, jobs[0]))["state"] == "queued"
    assert len(re.findall(r"jobs\.sqlite3 \(writing\) cannot be used \(database or disk is full\)", caplog.text)) == 1


async def test_a_file_that_somebody_holds_is_waited_for(serve_jobs, work, place, monkeypatch):
    """What ends meanwhile is kept afterwards."""
    monkeypatch.setattr(tables, "_BUSY", 0.01)
    async with serve_jobs() as kernel:
        client = await kernel.connect()
        job = await submitted(client, "hold")
        await until(lambda: work.now)
        with closing(sqlite3.connect(place["path"])) as other:
            other.execute("BEGIN IMMEDIATE")
            work.go.set()
            await until(lambda: work.ended)
            with pytest.raises(CallError, match=r"^unavailable: "):
                await submitted(client, "add", {"a": 1})
            assert (await state(client, job))["state"] == "running"
        assert (await ended(client, job))["state"] == "succeeded"
        assert (await done(client, "add", {"a": 1}))["state"] == "succeeded"
        await jackfield_health(kernel.kernel)
        assert work.calls["hold"] == 1


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
