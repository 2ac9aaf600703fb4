"""A store in a file of SQLite, which one server has for itself."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from jackfield import CallError, Code, Json, Position
from jackfield_channels.store import Bounds, Keep, Page, Publication, State, Told, Used
from jackfield_channels.tables import Tables, connect
from jackfield_channels.together import Order, Outcome, Together

T = TypeVar("T")

log: Final = logging.getLogger(__name__)

_RETRY: Final = 1000
"""Milliseconds after which a file that could not be used may be usable again."""


class SqliteStore:
    """A store in a file.

    One thread has the connection, so that the event loop never waits for the disk. Publications that come while others
    are being written share the next transaction, and with it the time that it takes to bring it to the disk.

    Args:
        path: The file; made if it is not there.
        bounds: How much it keeps.
        used: Which channels must not be forgotten.
    """

    def __init__(self, path: Path, bounds: Bounds, used: Used) -> None:
        self._path = path
        self._bounds = bounds
        self._used = used
        self._thread = ThreadPoolExecutor(1, "channels")
        self._database: sqlite3.Connection
        self._told: Told
        self._together = Together(self._write)
        self._trouble: str | None = None

    async def open(self, told: Told) -> None:
        """Open the file.

        Raises:
            OSError, sqlite3.Error: It cannot be used.
        """
        self._told = told
        try:
            self._database = await self._in_thread(self._open)
        except BaseException:
            await asyncio.to_thread(self._thread.shutdown)
            raise

    async def close(self) -> None:
        """Store what is to be stored, and close the file."""
        await self._together.done()
        await self._in_thread(self._database.close)
        await asyncio.to_thread(self._thread.shutdown)

    def trouble(self) -> str | None:
        """Tell why the file could not be used the last time, if that is so."""
        return self._trouble

    async def state(self, channel: str) -> State:
        """Return how far a channel is."""
        return await self._run(lambda tables: tables.state(channel))

    async def append(self, channel: str, data: Json, keep: Keep, id: str | None) -> Position:
        """Publish, and return where that stands; subscribers are told even if whoever publishes waits no more."""
        return await self._together.append(Order(channel, data, keep, id))

    async def read(self, channel: str, after: int, limit: int) -> Page:
        """Return publications after an offset."""
        return await self._run(lambda tables: tables.read(channel, after, limit))

    async def read_back(self, channel: str, before: int, limit: int) -> Page:
        """Return publications before an offset, the newest first."""
        return await self._run(lambda tables: tables.read_back(channel, before, limit))

    async def sweep(self) -> None:
        """Let go of what is too old; where the file could not be used, this finds out whether it can be again."""
        if self._trouble is not None:
            await self._run(Tables.prove)
        await self._run(Tables.sweep)

    async def _write(self, orders: Sequence[Order]) -> Sequence[Outcome]:
        done = await self._run(lambda tables: tables.append_all(orders))
        outcomes: list[Outcome] = []
        for order, one in zip(orders, done, strict=True):
            if isinstance(one, CallError):
                outcomes.append(one)
                continue
            position, new = one
            outcomes.append(position)
            if new:
                self._tell(Publication(order.channel, position, order.data))
        return outcomes

    def _tell(self, publication: Publication) -> None:
        try:
            self._told(publication)
        except Exception:  # what is stored stays stored, and the next one is to be told
            log.exception("subscribers could not be told of a publication")

    async def _run(self, job: Callable[[Tables], T]) -> T:
        """Return what a job returns, as soon as that is on the disk."""
        try:
            result = await self._in_thread(lambda: self._transaction(job))
        except sqlite3.Error as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            if self._trouble is None:
                log.warning("%s cannot be used (%s): calls are answered with unavailable", self._path, reason)
            self._trouble = reason
            raise CallError(
                Code.UNAVAILABLE, "The channel cannot be read or written now.", retry_after=_RETRY
            ) from None
        if self._trouble is not None:
            log.warning("%s can be used again", self._path)
            self._trouble = None
        return result

    def _transaction(self, job: Callable[[Tables], T]) -> T:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            result = job(Tables(self._database, self._bounds, self._used))
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        return result

    async def _in_thread(self, job: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    def _open(self) -> sqlite3.Connection:
        path = self._path.absolute()
        if not path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {str(path.parent)!r} for plugins.channels.path: make it")
        if not path.exists() and not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(
                f"nothing can be written into {str(path.parent)!r}, the folder of plugins.channels.path"
            )
        try:
            return connect(path)
        except sqlite3.Error as error:
            reason = "another server has it, and one file is for one server" if _locked(error) else str(error)
            raise type(error)(f"plugins.channels.path, {str(self._path)!r}: {reason}") from error


def _locked(error: sqlite3.Error) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_BUSY
