"""Uploads as they run in the event loop: one at a time for each name, the newest, written as fast as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final

from jackfield_files.incoming import MAX_BUFFERS, Incoming, Order, kept_of, superseded
from jackfield_files.slots import Slots
from jackfield_files.storage import Info, Storage
from jackfield_files.threads import ended, in_thread, over, start

BATCH: Final = 1024 * 1024
"""Bytes that are gathered while a thread writes; past it the upload waits for the disk."""
FAST: Final = 16
"""Uploads that gather so much; others wait for the disk at every Buffer, so that many cannot fill the memory."""

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
        self._slots = Slots(FAST)
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
                    turn.begun.set()
                    await _Pen(incoming, self._slots, progress, turn.end).write(buffers)
                return await in_thread(incoming.finish)
        finally:
            turn.begun.set()
            line.uploads -= 1
            if not line.uploads:
                del self._lines[order.name]

    async def kept(self, name: str) -> int:
        """Return how many bytes an upload can go on after: of one that broke, or of one that runs.

        Raises:
            BadName: The name breaks a rule.
        """
        if (line := self._lines.get(name)) is not None and line.newest is not None:
            await line.newest.begun.wait()  # it may begin anew
        return await in_thread(kept_of, self._storage, name)


class _Line:
    """The uploads of one name: the one that writes holds the lock, and only the newest is not on its way out."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.uploads = 0
        self.newest: _Turn | None = None

    def next(self, name: str) -> _Turn:
        if self.newest is not None:
            self.newest.end(superseded(name))
        self.newest = _Turn()
        return self.newest


class _Turn:
    """The part of an upload that others can end, whatever it waits for: all but its last step.

    Attributes:
        begun: Whether it is known what of an older upload it goes on with.
    """

    def __init__(self) -> None:
        self._scope = asyncio.timeout(None)
        self._reason: BaseException | None = None
        self._inside = False
        self.begun = asyncio.Event()

    def end(self, reason: BaseException) -> None:
        """Let it raise this, as soon as the thread that works for it has ended."""
        if self._reason is None:
            self._reason = reason
            if self._inside:
                self._scope.reschedule(asyncio.get_running_loop().time())

    async def __aenter__(self) -> None:
        if self._reason is not None:
            raise self._reason
        await self._scope.__aenter__()
        self._inside = True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._inside = False
        try:
            await self._scope.__aexit__(kind, error, traceback)
        except TimeoutError as timeout:
            raise (self._reason or timeout) from None
        if kind is None and self._reason is not None:  # it came to its end before it heard of it
            raise self._reason


class _Pen:
    """Writes Buffers in threads, one after the other. Those that come while a thread writes go with the next one.

    Args:
        incoming: Where they go.
        slots: Who may gather much.
        progress: Told of what has been written.
        fail: Called with what a thread raises.
    """

    def __init__(
        self, incoming: Incoming, slots: Slots, progress: Progress, fail: Callable[[BaseException], None]
    ) -> None:
        self._incoming = incoming
        self._slots = slots
        self._progress = progress
        self._fail = fail
        self._writing: asyncio.Future[None] | None = None
        self._gathered: list[bytes] = []
        self._size = 0

    async def write(self, buffers: AsyncIterator[bytes]) -> None:
        """Write all that comes; whatever ends it, what has come is written."""
        self._progress(self._incoming.size)
        fast = False
        try:
            async for buffer in buffers:
                self._gathered.append(buffer)
                self._size += len(buffer)
                fast = fast or self._slots.take()
                if self._writing is None:
                    self._start()
                elif not fast or self._size >= BATCH or len(self._gathered) == MAX_BUFFERS:
                    await ended(self._writing)
        finally:
            try:
                await self._over()
            finally:
                if fast:
                    self._slots.give_back()

    async def _over(self) -> None:
        cancelled: asyncio.CancelledError | None = None
        while self._writing is not None:
            try:
                await over(self._writing)
            except asyncio.CancelledError as error:  # what was gathered meanwhile is being written now
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def _start(self) -> None:
        buffers, self._gathered, self._size = self._gathered, [], 0
        self._writing = start(self._incoming.write, buffers)
        self._writing.add_done_callback(self._done)

    def _done(self, written: asyncio.Future[None]) -> None:
        self._writing = None
        if (error := written.exception()) is not None:
            self._fail(error)
            return
        self._progress(self._incoming.size)
        if self._gathered:
            self._start()
