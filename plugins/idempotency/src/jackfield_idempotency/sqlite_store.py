"""A store in a file of SQLite, which several processes on one machine may have in common."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from jackfield_idempotency.keys import Ticket
from jackfield_idempotency.reach import Reach
from jackfield_idempotency.records import Outcome, Record
from jackfield_idempotency.settings import IdempotencySettings
from jackfield_idempotency.tables import Tables, connect

T = TypeVar("T")


class SqliteStore:
    """A store in a file, which is made by the first call with a key.

    A thread of its own works with the file, one thing after the other, so that the event loop never waits.

    Args:
        settings: Where the file is, and how much it keeps.
    """

    def __init__(self, settings: IdempotencySettings) -> None:
        self._path = settings.path.absolute()
        self._settings = settings
        self._pool = ThreadPoolExecutor(1, "idempotency")
        self._database: sqlite3.Connection | None = None
        self._reach = Reach(str(settings.path), sqlite3.DatabaseError)

    async def open(self) -> None:
        """Open the file, if it is there; else look whether it can be made.

        Raises:
            OSError, sqlite3.Error: It cannot be used, or its folder is not there.
        """
        try:
            await self._in_thread(self._look)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the file, and end the thread."""
        await self._in_thread(self._disconnect)
        await asyncio.to_thread(self._pool.shutdown)

    def trouble(self) -> str | None:
        """Tell why the file cannot be used, if that is so."""
        return self._reach.trouble

    async def begin(self, ticket: Ticket) -> Record | None:
        """Begin a call."""
        return await self._write(lambda them: them.begin(ticket))

    async def end(self, ticket: Ticket, outcome: Outcome) -> None:
        """End a call."""
        await self._write(lambda them: them.end(ticket, outcome))

    async def free(self, ticket: Ticket) -> None:
        """Forget a call."""
        await self._write(lambda them: them.free(ticket))

    async def renew(self, tickets: Iterable[Ticket]) -> None:
        """Say that calls run, and forget what is old; a file need not be made for that."""
        if await self._in_thread(self._is_there):
            await self._write(lambda them: them.renew(tickets))

    async def _write(self, work: Callable[[Tables], T]) -> T:
        with self._reach.tried():
            return await self._in_thread(lambda: self._transact(work))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        # Shielded: what was begun is done, whether or not somebody still waits for it.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._pool, work))

    # What follows runs in the thread.

    def _look(self) -> None:
        if self._is_there():
            try:
                self._transact(lambda them: them.renew(()))
            except sqlite3.Error as error:
                raise type(error)(f"plugins.idempotency.path, {str(self._settings.path)!r}: {error}") from error
            return
        folder = self._path.parent
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {str(folder)!r} for plugins.idempotency.path: make it")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(
                f"nothing can be written into {str(folder)!r}, the folder of plugins.idempotency.path"
            )

    def _is_there(self) -> bool:
        return self._database is not None or self._path.exists()

    def _transact(self, work: Callable[[Tables], T]) -> T:
        if self._database is None:
            self._database = connect(self._path)
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        try:
            result = work(Tables(database, self._settings))
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        return result

    def _disconnect(self) -> None:
        if self._database is not None:
            self._database.close()
