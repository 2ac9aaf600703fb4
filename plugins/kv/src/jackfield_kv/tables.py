"""The tables of a store in SQLite, and what is done with them, each within a transaction.

There is one table of changes. The newest change of a key, as long as the key has a value, is marked as current: it
holds the value. The others are deleted when they are too old to be remembered. The other table has one row, which sums
it up.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Final, NamedTuple

from jackfield_kv.store import (
    MANY,
    PORTION,
    Bounds,
    Change,
    Entry,
    Order,
    Page,
    check_version,
    not_found,
    out_of_reach,
    size_of,
)

_BUSY: Final = 5.0
"""Seconds to wait for another process that writes."""

_PAUSE: Final = 0.01
"""Seconds after which a file that another process is making is looked at again."""

_FORMAT: Final = 1
_SCHEMA: Final = (
    """
    CREATE TABLE changes (
        revision INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        event TEXT NOT NULL,
        value BLOB,
        expires INTEGER,
        current INTEGER NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX current_keys ON changes (key) WHERE current",
    "CREATE INDEX due ON changes (expires) WHERE current AND expires IS NOT NULL",
    "CREATE INDEX past ON changes (revision) WHERE NOT current",
    "CREATE TABLE state (revision INTEGER, horizon INTEGER, keys INTEGER, bytes INTEGER)",
    "INSERT INTO state VALUES (0, 0, 0, 0)",
    f"PRAGMA user_version = {_FORMAT}",
)


class _Before(NamedTuple):
    """What a key has before it is changed."""

    version: int | None = None
    size: int = 0


def connect(path: Path) -> sqlite3.Connection:
    """Open a file, and make the tables if it is new.

    Raises:
        sqlite3.Error: It cannot be opened, or belongs to something else.
    """
    database = sqlite3.connect(path, timeout=_BUSY, isolation_level=None)
    try:
        end = time.monotonic() + _BUSY
        while not _made(database, patient=time.monotonic() < end):
            time.sleep(_PAUSE)
        database.execute("PRAGMA synchronous = FULL")  # what was acknowledged outlives a loss of power too
    except BaseException:
        database.close()
        raise
    return database


def revision(database: sqlite3.Connection) -> int:
    """Return the revision of the newest change."""
    return int(database.execute("SELECT revision FROM state").fetchone()[0])


def entry(database: sqlite3.Connection, key: str) -> Entry | None:
    """Return what a key has."""
    row = database.execute(
        "SELECT key, revision, value, expires FROM changes"
        " WHERE current AND key = ? AND (expires IS NULL OR expires > ?)",
        (key, _now()),
    ).fetchone()
    return None if row is None else Entry(*row)


def page(database: sqlite3.Connection, prefix: str, after: str, limit: int, *, values: bool) -> Page:
    """Return some of the keys that begin with a prefix and come after a key, in order."""
    rows = database.execute(
        f"SELECT key, revision, {'value' if values else 'NULL'}, expires FROM changes"  # noqa: S608 - one of two words
        f" WHERE current AND key {'>' if after >= prefix else '>='} ? AND (expires IS NULL OR expires > ?)"
        " ORDER BY key LIMIT ?",
        (max(after, prefix), _now(), limit),
    )
    entries: list[Entry] = []
    size, following = 0, None
    for row in rows:
        if not row[0].startswith(prefix):
            break
        entries.append(Entry(*row))
        size += len(row[2] or b"")
        if len(entries) == limit or size >= PORTION:
            following = entries[-1].key
            break
    return Page(entries, revision(database), following)


def changes(database: sqlite3.Connection, after: int) -> list[Change]:
    """Return changes after a revision, in order and without a gap, not all of them where there are many.

    Raises:
        OutOfReach: Some of them are forgotten, or the store has not come so far.
    """
    newest, horizon = database.execute("SELECT revision, horizon FROM state").fetchone()
    if not horizon <= after <= newest:
        raise out_of_reach(after, horizon, newest)
    found: list[Change] = []
    size = 0
    for row in database.execute(
        "SELECT revision, key, event, value, expires FROM changes WHERE revision > ? ORDER BY revision LIMIT ?",
        (after, MANY),
    ):
        found.append(Change(*row))
        size += found[-1].size
        if size >= PORTION:
            break
    return found


def has_due(database: sqlite3.Connection) -> bool:
    """Tell whether there is a value whose time is over."""
    return bool(_due(database, _now(), 1))


class Writer:
    """What changes the tables; in a transaction that has the file for itself.

    Args:
        database: The connection.
        bounds: How much is kept.
    """

    def __init__(self, database: sqlite3.Connection, bounds: Bounds) -> None:
        self._database = database
        self._bounds = bounds
        self._now = _now()

    def set(self, order: Order) -> int:
        """Set a value, and return its version.

        Raises:
            Exists, Conflict, TooMuch: As `Store.set` says; nothing is changed then, but that what was due has expired.
        """
        before = self._before(order.key)
        order.check(before.version)
        keys, size = self._database.execute("SELECT keys, bytes FROM state").fetchone()
        new = before.version is None
        if new and keys >= self._bounds.keys:
            raise self._bounds.refuse_key()
        grown = order.size - before.size
        if grown > 0 and size + grown > self._bounds.quota:
            raise self._bounds.refuse_size(size + grown)
        expires = None if order.ttl is None else self._now + order.ttl
        return self._record(order.key, "set", int(new), grown, order.value, expires)

    def delete(self, key: str, if_version: int | None) -> int:
        """Delete a value, and return the revision of that.

        Raises:
            NotFound, Conflict: As `Store.delete` says.
        """
        before = self._before(key)
        if before.version is None:
            raise not_found(key)
        check_version(key, before.version, if_version)
        return self._record(key, "delete", -1, -before.size)

    def sweep(self) -> int:
        """Let values expire whose time is over, and return how many."""
        due = _due(self._database, self._now, MANY)
        for key in due:
            self._before(key)
        return len(due)

    def prove(self) -> int:
        """Write what changes nothing, and return the revision."""
        self._database.execute("UPDATE state SET revision = revision")
        return revision(self._database)

    def _before(self, key: str) -> _Before:
        """Return what a key has; what is due expires."""
        row = self._database.execute(
            "SELECT revision, value, expires FROM changes WHERE current AND key = ?", (key,)
        ).fetchone()
        if row is None:
            return _Before()
        version, value, expires = row
        size = size_of(key, value)
        if expires is not None and expires <= self._now:
            self._record(key, "expire", -1, -size)
            return _Before()
        return _Before(version, size)

    def _record(
        self, key: str, event: str, keys: int, size: int, value: bytes | None = None, expires: int | None = None
    ) -> int:
        """Write a change, and return its revision; `keys` and `size` say how much more there is with it."""
        execute = self._database.execute
        execute(
            "UPDATE state SET revision = revision + 1, horizon = MAX(horizon, revision + 1 - ?),"
            " keys = keys + ?, bytes = bytes + ?",
            (self._bounds.history, keys, size),
        )
        newest, horizon = execute("SELECT revision, horizon FROM state").fetchone()
        execute("UPDATE changes SET current = 0 WHERE current AND key = ?", (key,))
        execute("INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?)", (newest, key, event, value, expires, event == "set"))
        execute("DELETE FROM changes WHERE NOT current AND revision <= ?", (horizon,))
        return int(newest)


def _made(database: sqlite3.Connection, *, patient: bool) -> bool:
    """Make the tables, if they are not there; tell whether that succeeded, or is to be tried again."""
    database.execute("BEGIN")
    there = _is_made(database)  # before anything is done to what may be somebody else's
    database.execute("COMMIT")
    if there:
        return True
    try:
        database.execute("PRAGMA journal_mode = WAL")  # which the file remembers
        database.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        # Where several begin with a new file, SQLite does not wait by itself.
        if patient and error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            return False
        raise
    for statement in () if _is_made(database) else _SCHEMA:  # another process may have been quicker
        database.execute(statement)
    database.execute("COMMIT")
    return True


def _is_made(database: sqlite3.Connection) -> bool:
    """Tell whether the tables are there.

    Raises:
        sqlite3.DatabaseError: Others are.
    """
    (found,) = database.execute("PRAGMA user_version").fetchone()
    if found == _FORMAT:
        return True
    if found or database.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise sqlite3.DatabaseError(
            f"it belongs to something else than this version of jackfield-kv: user_version is {found}, not {_FORMAT}"
        )
    return False


def _due(database: sqlite3.Connection, now: int, limit: int) -> list[str]:
    rows = database.execute(
        "SELECT key FROM changes WHERE current AND expires IS NOT NULL AND expires <= ? ORDER BY expires LIMIT ?",
        (now, limit),
    )
    return [key for (key,) in rows]


def _now() -> int:
    return int(time.time() * 1000)
