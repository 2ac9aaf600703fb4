"""A store in a file of SQLite, which several processes on one machine may have in common."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar

from jackfield_kv import tables
from jackfield_kv.lane import Lane
from jackfield_kv.reach import Reach
from jackfield_kv.store import MANY, Bounds, Change, Entry, Order, Page

T = TypeVar("T")

_LOOK: Final = 0.1
"""Seconds after which whoever waits for changes looks whether another process has made some."""
_AWAY: Final = "The store cannot be used now; nothing was changed."


class SqliteStore:
    """A store in a file, which is made by the first call that needs it.

    Args:
        path: The file.
        bounds: How much it keeps.
    """

    def __init__(self, path: Path, bounds: Bounds) -> None:
        self._path = path
        self._bounds = bounds
        self._used = False
        self._latest = 0
        self._news = asyncio.Event()
        self._connecting = Lock()
        self._writing = Lane("kv-write", self._connect, writes=True)
        self._reading = Lane("kv-read", self._connect, writes=False)
        self._writes, self._reads = (
            Reach(f"{path} ({what})", (sqlite3.OperationalError,), _AWAY) for what in ("writing", "reading")
        )

    async def open(self) -> None:
        """Open the file, if it is there; else look whether it can be made.

        Raises:
            OSError, sqlite3.Error: It cannot be used, or its folder is not there.
        """
        try:
            if await asyncio.to_thread(self._path.exists):
                await self._writing.run(tables.revision)
                self._used = True
            else:
                await asyncio.to_thread(_check_folder, self._path)
        except sqlite3.Error as error:
            await self.close()
            raise type(error)(f"plugins.kv.path, {str(self._path)!r}: {error}") from error
        except OSError:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the file."""
        await self._reading.close()
        await self._writing.close()

    def trouble(self) -> str | None:
        """Tell why the last reading or the last writing failed, if it did."""
        return self._writes.trouble or self._reads.trouble

    async def get(self, key: str) -> Entry | None:
        """Return what a key has."""
        return await self._read(lambda database: tables.entry(database, key))

    async def set(self, order: Order) -> int:
        """Set a value, and return its version."""
        return await self._write(lambda writer: writer.set(order))

    async def delete(self, key: str, if_version: int | None) -> int:
        """Delete a value, and return the revision of that."""
        return await self._write(lambda writer: writer.delete(key, if_version))

    async def page(self, prefix: str, after: str, limit: int, *, values: bool) -> Page:
        """Return some of the keys, in order."""
        return await self._read(lambda database: tables.page(database, prefix, after, limit, values=values))

    async def revision(self) -> int:
        """Return the revision of the newest change."""
        return await self._read(tables.revision)

    async def changes(self, after: int) -> list[Change]:
        """Return the changes after a revision, in order."""
        return await self._read(lambda database: tables.changes(database, after))

    async def wait(self, after: int) -> None:
        """Return when something was written, or may have been by another process."""
        if self._latest <= after:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._news.wait()

    async def sweep(self) -> bool:
        """Let values expire; a file that nobody has used is not made for that.

        Where the last writing failed, something is written, so that it is known when that is over.
        """
        if self._writes.trouble is not None:
            await self._write(lambda writer: writer.prove())
        if not self._used or not await self._read(tables.has_due):
            return False
        return await self._write(lambda writer: writer.sweep()) == MANY

    async def _read(self, job: Callable[[sqlite3.Connection], T]) -> T:
        self._used = True
        with self._reads.tried():
            return await self._reading.run(job)

    async def _write(self, job: Callable[[tables.Writer], int]) -> int:
        def noted(database: sqlite3.Connection) -> tuple[int, int]:
            return job(tables.Writer(database, self._bounds)), tables.revision(database)

        self._used = True
        with self._writes.tried():
            result, self._latest = await self._writing.run(noted)
        self._news.set()
        self._news = asyncio.Event()
        return result

    def _connect(self) -> sqlite3.Connection:
        with self._connecting:
            return tables.connect(self._path.absolute())


def _check_folder(path: Path) -> None:
    folder = path.absolute().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {str(folder)!r} for plugins.kv.path: make it")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"nothing can be written into {str(folder)!r}, the folder of plugins.kv.path")
