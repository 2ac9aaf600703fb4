"""The table of a store in SQLite, and what is done with it, each within a transaction."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from jackfield_idempotency import faults
from jackfield_idempotency.keys import Ticket
from jackfield_idempotency.records import Outcome, Record
from jackfield_idempotency.settings import IdempotencySettings

_BUSY: Final = 5.0
"""Seconds to wait for another process that writes."""
_MANY: Final = 5000
"""Calls that are forgotten at once."""

_FORMAT: Final = 1
_SCHEMA: Final = (
    """
    CREATE TABLE calls (
        name TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        digest TEXT NOT NULL,
        holder TEXT NOT NULL,
        state TEXT NOT NULL,
        reply BLOB NOT NULL,
        lease REAL NOT NULL,
        expires REAL NOT NULL
    )
    """,
    "CREATE INDEX owners ON calls (owner, expires)",
    "CREATE INDEX old ON calls (expires)",
    f"PRAGMA user_version = {_FORMAT}",
)
_MINE: Final = "name = ? AND holder = ?"


def connect(path: Path) -> sqlite3.Connection:
    """Open a file, and make the table if it is new.

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
    """What one server does with the table.

    Args:
        database: The connection.
        settings: How much is kept, and how long.
    """

    def __init__(self, database: sqlite3.Connection, settings: IdempotencySettings) -> None:
        self._database = database
        self._settings = settings
        self._now = time.time()

    def begin(self, ticket: Ticket) -> Record | None:
        """Begin a call; see `Store.begin`."""
        found = self._database.execute(
            "SELECT digest, state, reply, lease FROM calls WHERE name = ? AND expires > ?", (ticket.name, self._now)
        ).fetchone()
        if found is not None:
            digest, state, reply, lease = found
            return Record(digest, Outcome(state, reply), lease > self._now)
        (own,) = self._database.execute(
            "SELECT count(*) FROM calls WHERE owner = ? AND expires > ?", (ticket.owner, self._now)
        ).fetchone()
        if own >= self._settings.max_keys:
            raise faults.too_many(self._settings.max_keys)
        lease, expires = self._ahead()
        self._database.execute(
            "REPLACE INTO calls (name, owner, digest, holder, state, reply, lease, expires)"
            " VALUES (?, ?, ?, ?, 'running', x'', ?, ?)",
            (ticket.name, ticket.owner, ticket.digest, ticket.holder, lease, expires),
        )
        return None

    def end(self, ticket: Ticket, outcome: Outcome) -> None:
        """End a call."""
        self._database.execute(
            f"UPDATE calls SET state = ?, reply = ?, expires = ? WHERE {_MINE}",  # noqa: S608 - of words that stand here
            (outcome.state, outcome.reply, self._now + self._settings.window, ticket.name, ticket.holder),
        )

    def free(self, ticket: Ticket) -> None:
        """Forget a call."""
        self._database.execute(f"DELETE FROM calls WHERE {_MINE}", (ticket.name, ticket.holder))  # noqa: S608 - as above

    def renew(self, tickets: Iterable[Ticket]) -> None:
        """Say that calls run, and forget what is old."""
        ahead = self._ahead()
        self._database.executemany(
            f"UPDATE calls SET lease = ?, expires = ? WHERE {_MINE}",  # noqa: S608 - as above
            [(*ahead, ticket.name, ticket.holder) for ticket in tickets],
        )
        self._database.execute(
            "DELETE FROM calls WHERE name IN (SELECT name FROM calls WHERE expires <= ? LIMIT ?)", (self._now, _MANY)
        )

    def _ahead(self) -> tuple[float, float]:
        """Return until when a call is held that runs now, and until when it is known."""
        lease = self._now + self._settings.lease
        return lease, lease + self._settings.window


def _make(database: sqlite3.Connection) -> None:
    """Make the table, if it is not there.

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
            "it belongs to something else than this version of jackfield-idempotency: user_version is "
            f"{found}, not {_FORMAT}"
        )
    return True
