"""The tables of a store in SQLite, and what is done with them, each within a transaction.

A server that runs jobs has a row in `runners`, with the time at which it was last heard of. What a server is running is
given up for lost when its row is too old.
"""

# ruff: noqa: S608 - statements are put together of words that stand here, and values are bound
from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Final

from jackfield_jobs.job import LOST, Job, Outcome, Told, now
from jackfield_jobs.settings import JobsSettings
from jackfield_jobs.store import Ending, Wanted, not_found, refuse_more, same

_BUSY: Final = 5.0
"""Seconds to wait for another process that writes."""
_MANY: Final = 500
"""Jobs that are swept at once."""

_FORMAT: Final = 1
_SCHEMA: Final = (
    """
    CREATE TABLE jobs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        scopes TEXT NOT NULL,
        function TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        timeout REAL NOT NULL,
        created INTEGER NOT NULL,
        key TEXT,
        data BLOB NOT NULL,
        state TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        due INTEGER NOT NULL,
        started INTEGER,
        ended INTEGER,
        progress TEXT,
        result BLOB,
        error TEXT,
        asked INTEGER NOT NULL,
        runner TEXT
    )
    """,
    "CREATE UNIQUE INDEX keys ON jobs (owner, key) WHERE key IS NOT NULL",
    "CREATE INDEX queue ON jobs (due, seq) WHERE state = 'queued'",
    "CREATE INDEX taken ON jobs (runner) WHERE state = 'running'",
    "CREATE INDEX open ON jobs (owner) WHERE ended IS NULL",
    "CREATE INDEX past ON jobs (owner, ended) WHERE ended IS NOT NULL",
    "CREATE INDEX old ON jobs (ended) WHERE ended IS NOT NULL",
    "CREATE INDEX listed ON jobs (owner, id)",
    "CREATE TABLE runners (id TEXT PRIMARY KEY, seen INTEGER NOT NULL)",
    f"PRAGMA user_version = {_FORMAT}",
)
_COLUMNS: Final = (
    "id, owner, scopes, function, attempts, timeout, created, key, {data}, state, attempt, due, started, ended,"
    " progress, {result}, error, asked"
)
_BRIEF: Final = _COLUMNS.format(data="NULL", result="NULL")
_PUBLIC: Final = _COLUMNS.format(data="NULL", result="result")
_WHOLE: Final = _COLUMNS.format(data="data", result="NULL")
_MINE: Final = "id = ? AND state = 'running' AND runner = ? AND attempt = ?"


def connect(path: Path) -> sqlite3.Connection:
    """Open a file, and make the tables if it is new.

    Raises:
        sqlite3.Error: It cannot be opened, or belongs to something else.
    """
    database = sqlite3.connect(path, timeout=_BUSY, isolation_level=None)
    try:
        _make(database)
        database.execute("PRAGMA synchronous = FULL")  # what was acknowledged outlives a loss of power too
    except BaseException:
        database.close()
        raise
    return database


class Tables:
    """What one server does with the tables.

    Args:
        database: The connection.
        settings: How much is kept, and how long.
        runner: The server's name.
    """

    def __init__(self, database: sqlite3.Connection, settings: JobsSettings, runner: str) -> None:
        self._execute = database.execute
        self._settings = settings
        self._runner = runner

    def add(self, job: Job) -> Job:
        """Add a job; see `Store.add`."""
        if job.key is not None:
            found = self._one(f"SELECT {_WHOLE} FROM jobs WHERE owner = ? AND key = ?", job.owner, job.key)
            if found is not None:
                return self.get(same(job, found).id) or job
        (everybody,) = self._execute("SELECT count(*) FROM jobs WHERE ended IS NULL").fetchone()
        (own,) = self._execute("SELECT count(*) FROM jobs WHERE ended IS NULL AND owner = ?", (job.owner,)).fetchone()
        refuse_more(self._settings, everybody, own)
        self._execute(
            "INSERT INTO jobs (id, owner, scopes, function, attempts, timeout, created, key, data, state, attempt, due,"
            " asked) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', 0, ?, 0)",
            (
                job.id,
                job.owner,
                json.dumps(job.scopes),
                job.function,
                job.attempts,
                job.timeout,
                job.created,
                job.key,
                job.data,
                job.due,
            ),
        )
        return job

    def get(self, job_id: str) -> Job | None:
        """Return a job without its data."""
        return self._one(f"SELECT {_PUBLIC} FROM jobs WHERE id = ?", job_id)

    def page(self, wanted: Wanted) -> list[Job]:
        """Return some jobs; see `Store.page`."""
        named = {"owner": wanted.owner, "state": wanted.state, "function": wanted.function}
        terms = [f"{name} = :{name}" for name, value in named.items() if value is not None]
        terms += ["id < :after"] if wanted.after is not None else []
        where = f"WHERE {' AND '.join(terms)}" if terms else ""
        rows = self._execute(
            f"SELECT {_BRIEF} FROM jobs {where} ORDER BY id DESC LIMIT :limit",
            {**named, "after": wanted.after, "limit": wanted.limit},
        )
        return [_job(row) for row in rows]

    def cancel(self, job_id: str) -> Job:
        """Cancel a job, or ask for that; see `Store.cancel`."""
        self._execute("UPDATE jobs SET asked = 1 WHERE id = ? AND ended IS NULL", (job_id,))
        self._end("id = ? AND state = 'queued'", [job_id], Outcome("canceled"))
        found = self.get(job_id)
        if found is None:
            raise not_found(job_id)
        return found

    def version(self) -> int:
        """Return a number that is another one when another process has changed something."""
        return int(self._execute("PRAGMA data_version").fetchone()[0])

    def has_due(self) -> bool:
        """Tell whether a job is due."""
        return self._execute("SELECT 1 FROM jobs WHERE state = 'queued' AND due <= ?", (now(),)).fetchone() is not None

    def take(self) -> Job | None:
        """Take a job that is due; see `Store.take`."""
        found = self._execute(
            "SELECT id FROM jobs WHERE state = 'queued' AND due <= ? ORDER BY due, seq LIMIT 1", (now(),)
        ).fetchone()
        if found is None:
            return None
        self.beat()
        self._execute(
            "UPDATE jobs SET state = 'running', runner = ?, attempt = attempt + 1, started = ?, progress = NULL"
            " WHERE id = ?",
            (self._runner, now(), *found),
        )
        return self._one(f"SELECT {_WHOLE} FROM jobs WHERE id = ?", *found)

    def progress(self, job: Job, progress: Told) -> None:
        """Take note of how far a job is."""
        self._execute(f"UPDATE jobs SET progress = ? WHERE {_MINE}", (json.dumps(progress), *self._mine(job)))

    def put_back(self, job: Job, due: int, error: Told, counted: bool) -> None:
        """Queue a job again; see `Store.put_back`."""
        self._queue(_MINE, self._mine(job), due, error, int(not counted))

    def finish(self, job: Job, outcome: Outcome) -> None:
        """End a job."""
        self._end(_MINE, self._mine(job), outcome)
        self._execute(
            "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE owner = ? AND ended IS NOT NULL"
            " ORDER BY ended DESC LIMIT -1 OFFSET ?)",
            (job.owner, self._settings.max_kept),
        )

    def beat(self) -> None:
        """Say that this server is there."""
        self._execute("INSERT OR REPLACE INTO runners VALUES (?, ?)", (self._runner, now()))

    def look(self, running: Collection[str]) -> Ending:
        """Tell which jobs this server is not to run any longer; see `Store.look`."""
        rows = self._execute("SELECT id, asked FROM jobs WHERE state = 'running' AND runner = ?", (self._runner,))
        mine = dict(rows.fetchall())
        return Ending([name for name in running if mine.get(name)], [name for name in running if name not in mine])

    def sweep(self) -> int:
        """Give up what is lost, and return how many jobs that were; forget what is old."""
        self.beat()  # who sweeps is there, however long it had to wait for that
        silent = now() - int(self._settings.lease * 1000)
        self._execute("DELETE FROM runners WHERE seen < ?", (silent,))
        lost = self._execute(
            f"SELECT {_BRIEF} FROM jobs WHERE state = 'running' AND runner NOT IN (SELECT id FROM runners) LIMIT ?",
            (_MANY,),
        ).fetchall()
        for job in map(_job, lost):
            where = "id = ? AND state = 'running'"
            if job.attempt < job.attempts:
                self._queue(where, [job.id], now(), LOST, 0)
            else:
                self._end(where, [job.id], Outcome("canceled") if job.asked else Outcome("failed", error=LOST))
        self._execute(
            "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE ended IS NOT NULL AND ended < ? LIMIT ?)",
            (now() - self._settings.keep * 1000, _MANY),
        )
        return len(lost)

    def _queue(self, where: str, values: Iterable[Any], due: int, error: Told, back: int) -> None:
        values = list(values)
        self._end(f"{where} AND asked", values, Outcome("canceled"))
        self._execute(
            "UPDATE jobs SET state = 'queued', runner = NULL, progress = NULL, due = ?, error = ?,"
            f" attempt = attempt - ? WHERE {where}",
            [due, json.dumps(error), back, *values],
        )

    def _end(self, where: str, values: Iterable[Any], outcome: Outcome) -> None:
        self._execute(
            "UPDATE jobs SET state = ?, ended = ?, result = ?, error = ?, progress = COALESCE(?, progress),"
            f" runner = NULL WHERE {where}",
            [outcome.state, now(), outcome.result, _text(outcome.error), _text(outcome.progress), *values],
        )

    def _mine(self, job: Job) -> tuple[str, str, int]:
        return job.id, self._runner, job.attempt

    def _one(self, statement: str, *values: object) -> Job | None:
        row = self._execute(statement, values).fetchone()
        return None if row is None else _job(row)


def _job(row: tuple[Any, ...]) -> Job:
    name, owner, scopes, *plain, progress, result, error, asked = row
    values = [name, owner, tuple(json.loads(scopes)), *plain, _value(progress), result, _value(error), bool(asked)]
    return Job(*values)


def _value(text: str | None) -> Told | None:
    return None if text is None else json.loads(text)


def _text(value: Told | None) -> str | None:
    return None if value is None else json.dumps(value)


def _make(database: sqlite3.Connection) -> None:
    """Make the tables, if they are not there.

    Raises:
        sqlite3.DatabaseError: Others are.
    """
    if _is_made(database):
        return
    end = time.monotonic() + _BUSY
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")  # which the file remembers
            database.execute("BEGIN IMMEDIATE")
            break
        except sqlite3.OperationalError as error:
            # Where several begin with a new file, SQLite does not wait by itself.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)
    for statement in () if _is_made(database) else _SCHEMA:  # another process may have been quicker
        database.execute(statement)
    database.execute("COMMIT")


def _is_made(database: sqlite3.Connection) -> bool:
    empty = database.execute("SELECT 1 FROM sqlite_master").fetchone() is None
    # In this order: another process may make the tables in between, and the version with them.
    (found,) = database.execute("PRAGMA user_version").fetchone()
    if empty and not found:
        return False
    if found != _FORMAT:
        raise sqlite3.DatabaseError(
            f"it belongs to something else than this version of jackfield-jobs: user_version is {found}, not {_FORMAT}"
        )
    return True
