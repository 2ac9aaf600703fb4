"""The tables of a store in SQLite, and what is done with them, each within a transaction.

The publications of a channel that are kept are those after its floor, up to its top. What is too old goes with all that
stands before it, so there is never a hole between them.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jackfield import CallError, Json, Position
from jackfield_channels.store import Bounds, Page, Portion, Publication, State, Used, join, new_epoch, size_of, split
from jackfield_channels.together import Order

_PATIENCE: Final = 2.0
"""Seconds to wait for a server that is about to end, and has the file."""
_FORMAT: Final = 1
_SCHEMA: Final = (
    """
    CREATE TABLE channels (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        epoch TEXT NOT NULL,
        top INTEGER NOT NULL,
        floor INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        used INTEGER NOT NULL
    )
    """,
    "CREATE INDEX idle ON channels (used) WHERE bytes = 0",
    "CREATE INDEX rested ON channels (used) WHERE bytes > 0",
    """
    CREATE TABLE publications (
        channel INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        size INTEGER NOT NULL,
        text BLOB NOT NULL,
        buffers BLOB NOT NULL,
        UNIQUE (channel, offset)
    )
    """,
    "CREATE INDEX due ON publications (expires)",
    """
    CREATE TABLE ids (
        channel INTEGER NOT NULL,
        id TEXT NOT NULL,
        offset INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        PRIMARY KEY (channel, id)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX old ON ids (expires)",
    "CREATE TABLE total (bytes INTEGER NOT NULL)",
    "INSERT INTO total VALUES (0)",
    f"PRAGMA user_version = {_FORMAT}",
)


@dataclass(frozen=True, slots=True)
class _Row:
    """A channel as it is stored."""

    id: int
    epoch: str
    top: int
    floor: int
    bytes: int
    used: int


def connect(path: Path) -> sqlite3.Connection:
    """Open a file for this process alone, and make the tables if it is new.

    Raises:
        sqlite3.Error: It cannot be opened, belongs to something else, or another server has it.
    """
    database = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
    try:
        _prepare(database)
    except BaseException:
        database.close()
        raise
    return database


class Tables:
    """What is done with a file, in a transaction.

    Args:
        database: The connection.
        bounds: How much is kept.
        used: Which channels must not be forgotten.
    """

    def __init__(self, database: sqlite3.Connection, bounds: Bounds, used: Used) -> None:
        self._database = database
        self._execute = database.execute
        self._bounds = bounds
        self._used = used
        self._now = int(time.time() * 1000)

    def state(self, name: str) -> State:
        """Return how far a channel is; one that is not known is from now on.

        Raises:
            CallError: There are too many.
        """
        return self._state(self._channel(name))

    def append_all(self, orders: Iterable[Order]) -> list[tuple[Position, bool] | CallError]:
        """Publish, and return for each where it stands, and whether it is new; or why it is refused."""
        done: list[tuple[Position, bool] | CallError] = []
        for order in orders:
            try:
                done.append(self._append(order))
            except CallError as error:
                done.append(error)
        return done

    def read(self, name: str, after: int, limit: int) -> Page:
        """Return publications after an offset."""
        row = self._channel(name)
        state = self._state(row)
        return self._page(name, row, state, limit, "offset > ? ORDER BY offset", max(after, state.floor))

    def read_back(self, name: str, before: int, limit: int) -> Page:
        """Return publications before an offset, the newest first."""
        row = self._channel(name)
        state = self._state(row)
        return self._page(
            name, row, state, limit, "offset < ? AND offset > ? ORDER BY offset DESC", before, state.floor
        )

    def sweep(self) -> None:
        """Let go of what is too old."""
        due = self._execute(
            "SELECT channel, MAX(offset) FROM publications WHERE expires <= ? GROUP BY channel", (self._now,)
        ).fetchall()
        for channel, offset in due:
            self._drop(channel, offset)
            self._touch(channel)  # it rests from now on
        self._execute("DELETE FROM ids WHERE expires <= ?", (self._now,))
        idle = self._execute(
            "SELECT id, name FROM channels WHERE bytes = 0 AND used <= ?", (self._now - self._remember,)
        ).fetchall()
        for channel, name in idle:
            if self._used(name):
                self._touch(channel)
            else:
                self._forget(channel)

    def prove(self) -> None:
        """Write what changes nothing."""
        self._execute("UPDATE total SET bytes = bytes")

    @property
    def _remember(self) -> int:
        return int(self._bounds.remember * 1000)

    def _append(self, order: Order) -> tuple[Position, bool]:
        row = self._channel(order.channel)
        if order.id is not None:
            found = self._execute(
                "SELECT offset FROM ids WHERE channel = ? AND id = ? AND expires > ?", (row.id, order.id, self._now)
            ).fetchone()
            if found is not None:
                return Position(found[0], row.epoch), False
        offset, size = row.top + 1, size_of(order.data)
        self._execute(
            "INSERT INTO publications VALUES (?, ?, ?, ?, ?, ?)",
            (
                row.id,
                offset,
                self._now + int(order.keep.ttl * 1000),
                size,
                order.data.text,
                join(order.data.buffers),
            ),
        )
        self._execute(
            "UPDATE channels SET top = ?, bytes = bytes + ?, used = ? WHERE id = ?", (offset, size, self._now, row.id)
        )
        self._execute("UPDATE total SET bytes = bytes + ?", (size,))
        if order.id is not None:
            expires = self._now + int(self._bounds.dedup * 1000)
            self._execute("INSERT OR REPLACE INTO ids VALUES (?, ?, ?, ?)", (row.id, order.id, offset, expires))
        if offset - order.keep.size > row.floor:
            self._drop(row.id, offset - order.keep.size)
        self._make_room(row.id)
        return Position(offset, row.epoch), True

    def _channel(self, name: str) -> _Row:
        found = self._execute(
            "SELECT id, epoch, top, floor, bytes, used FROM channels WHERE name = ?", (name,)
        ).fetchone()
        if found is not None:
            row = _Row(*found)
            if row.used < self._now - self._remember // 2:
                self._touch(row.id)
            return row
        (count,) = self._execute("SELECT COUNT(*) FROM channels").fetchone()
        if count >= self._bounds.channels:
            self._forget_one()
        made = self._execute(
            "INSERT INTO channels (name, epoch, top, floor, bytes, used) VALUES (?, ?, 0, 0, 0, ?)"
            " RETURNING id, epoch, top, floor, bytes, used",
            (name, new_epoch(), self._now),
        ).fetchone()
        return _Row(*made)

    def _state(self, row: _Row) -> State:
        oldest = self._execute(
            "SELECT expires FROM publications WHERE channel = ? ORDER BY offset LIMIT 1", (row.id,)
        ).fetchone()
        if oldest is None or oldest[0] > self._now:
            return State(row.epoch, row.top, row.floor)
        (expired,) = self._execute(
            "SELECT MAX(offset) FROM publications WHERE channel = ? AND expires <= ?", (row.id, self._now)
        ).fetchone()
        return State(row.epoch, row.top, expired)

    def _page(self, name: str, row: _Row, state: State, limit: int, which: str, *values: int) -> Page:
        portion = Portion(limit)
        for offset, text, buffers in self._execute(
            f"SELECT offset, text, buffers FROM publications WHERE channel = ? AND {which}",  # noqa: S608 - one of two
            (row.id, *values),
        ):
            publication = Publication(name, Position(offset, row.epoch), Json(text, split(buffers)))
            if not portion.add(publication):
                break
        return Page(state, portion.publications)

    def _drop(self, channel: int, offset: int) -> None:
        """Let go of a channel's publications up to an offset."""
        (size,) = self._execute(
            "SELECT SUM(size) FROM publications WHERE channel = ? AND offset <= ?", (channel, offset)
        ).fetchone()
        self._execute("DELETE FROM publications WHERE channel = ? AND offset <= ?", (channel, offset))
        self._execute("UPDATE channels SET floor = ?, bytes = bytes - ? WHERE id = ?", (offset, size, channel))
        self._execute("UPDATE total SET bytes = bytes - ?", (size,))

    def _touch(self, channel: int) -> None:
        self._execute("UPDATE channels SET used = ? WHERE id = ?", (self._now, channel))

    def _forget(self, channel: int) -> None:
        self._execute("DELETE FROM ids WHERE channel = ?", (channel,))
        self._execute("DELETE FROM channels WHERE id = ?", (channel,))

    def _forget_one(self) -> None:
        """Forget the channel that rested longest, of those that have neither history nor subscribers.

        Raises:
            CallError: There is none.
        """
        for channel, name in self._execute("SELECT id, name FROM channels WHERE bytes = 0 ORDER BY used"):
            if not self._used(name):
                self._forget(channel)
                return
        raise self._bounds.refuse_channel()

    def _make_room(self, newest: int) -> None:
        """Keep within the quota: the channel that rested longest loses its history first."""
        (size,) = self._execute("SELECT bytes FROM total").fetchone()
        while size > self._bounds.quota:
            channel, top, mine = self._execute(
                "SELECT id, top, bytes FROM channels WHERE bytes > 0 ORDER BY used, id = ? LIMIT 1", (newest,)
            ).fetchone()
            if channel != newest:
                self._drop(channel, top)
                size -= mine
                continue
            offset, least = self._execute(
                "SELECT offset, size FROM publications WHERE channel = ? ORDER BY offset LIMIT 1", (channel,)
            ).fetchone()
            self._drop(channel, offset)
            size -= least


def _prepare(database: sqlite3.Connection) -> None:
    # Another server's publications would not reach the subscribers of this one.
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    (found,) = database.execute("PRAGMA user_version").fetchone()
    if found != _FORMAT and (found or database.execute("SELECT 1 FROM sqlite_master").fetchone()):
        raise sqlite3.DatabaseError(
            "it belongs to something else than this version of jackfield-channels:"
            f" user_version is {found}, not {_FORMAT}"
        )
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")  # what was acknowledged outlives a loss of power too
    database.execute("BEGIN IMMEDIATE")  # which takes the lock, and keeps it
    for statement in () if found else _SCHEMA:
        database.execute(statement)
    database.execute("COMMIT")
