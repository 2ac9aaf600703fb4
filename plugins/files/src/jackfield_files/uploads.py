"""Uploads as they run in the event loop: one at a time for each name, the newest, written as fast as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final

from jackfield_files.incoming import MAX_BUFFERS, Incoming, Order, superseded
from jackfield_files.storage import Info, Storage
from jackfield_files.threads import ended, in_thread, over, start

BATCH: Final = 2 * 1024 * 1024
"""Bytes that are gathered while a thread writes; past it the upload waits for the disk."""

Progress = Callable[[int], None]
"""Is told how many bytes are there."""


class Uploads:
    """All uploads of one server.

    Args:
        storage: Where they go.
        max_size: Bytes that one file may have.
    """

    def __init__(self, storage: Storage, max_size: int) -> None:
        self._storage = storage
        self._max_size = max_size
        self._lines: dict[str, _Line] = {}

    async def receive(self, order: Order, buffers: AsyncIterator[bytes], progress: Progress) -> tuple[Info, str]:
        """Take an upload in; return the file and its SHA-256.

        An older upload of the same name ends first: its client may have lost the connection without the server
        knowing of it yet. Nothing of an upload is visible before it is whole. Cancelled, it is kept to be gone on
        with.

        Args:
            order: What is uploaded.
            buffers: Its bytes, those from `order.offset` on.
            progress: Told of what has come.

        Raises:
            FileFault: As `Incoming` says.
        """
        incoming = Incoming(self._storage, order, self._max_size)
        line = self._lines.setdefault(order.name, _Line())
        line.uploads += 1
        turn = line.next(order.name)
        try:
            async with AsyncExitStack() as stack:
                async with turn:
                    await stack.enter_async_context(line.lock)
                    stack.push_async_callback(in_thread, incoming.close)
                    await ended(start(incoming.open), incoming.stop)
                    await _write_all(incoming, buffers, progress)
                return await in_thread(incoming.finish)
        finally:
            line.uploads -= 1
            if not line.uploads:
                del self._lines[order.name]


class _Line:
    """The uploads of one name: the one that writes holds the lock, and only the newest is not on its way out."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.uploads = 0
        self._newest: _Turn | None = None

    def next(self, name: str) -> _Turn:
        if self._newest is not None:
            self._newest.end()
        self._newest = _Turn(name)
        return self._newest


class _Turn:
    """The part of an upload that a newer one ends: all but its last step."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._scope = asyncio.timeout(None)
        self._over = False
        self._inside = False

    def end(self) -> None:
        if self._inside and not self._over:
            self._scope.reschedule(asyncio.get_running_loop().time())
        self._over = True

    async def __aenter__(self) -> None:
        if self._over:
            raise superseded(self._name)
        await self._scope.__aenter__()
        self._inside = True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._inside = False
        try:
            await self._scope.__aexit__(kind, error, traceback)
        except TimeoutError:
            raise superseded(self._name) from None


async def _write_all(incoming: Incoming, buffers: AsyncIterator[bytes], progress: Progress) -> None:
    """Write Buffers as they come. While a thread writes some, those that come are gathered for the next one."""
    writing: asyncio.Future[None] | None = None
    gathered: list[bytes] = []
    size = 0
    try:
        progress(incoming.size)
        async for buffer in buffers:
            gathered.append(buffer)
            size += len(buffer)
            if writing is not None:
                if not writing.done() and size < BATCH and len(gathered) < MAX_BUFFERS:
                    continue
                await ended(writing)
                progress(incoming.size)
            writing, gathered, size = start(incoming.write, gathered), [], 0
        if writing is not None:
            await ended(writing)
            if gathered:
                await in_thread(incoming.write, gathered)
            progress(incoming.size)
    finally:
        if writing is not None:
            await over(writing)
