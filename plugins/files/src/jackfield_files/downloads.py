"""Downloads as they run in the event loop: read ahead in threads, a little, while the client reads."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from jackfield_files.faults import Changed, OutOfRange
from jackfield_files.names import parts_of
from jackfield_files.slots import Slots
from jackfield_files.storage import Storage, info_of
from jackfield_files.threads import ended, in_thread, over, start

AHEAD: Final = 1024 * 1024
"""Bytes that a thread reads at once, while those before are being sent."""
FAST: Final = 16
"""Downloads that read ahead; a client that opens many and reads none of them costs one piece for each other."""


@dataclass(frozen=True, slots=True)
class Part:
    """What somebody wants to download.

    Args:
        name: The file's name.
        offset: Where to begin.
        length: How many bytes; None for all to the end, and never more than there are.
        version: The version that the file must have, if any will not do.
    """

    name: str
    offset: int = 0
    length: int | None = None
    version: str | None = None


class Downloads:
    """All downloads of one server.

    Args:
        storage: Where the files are.
        chunk: Bytes of the pieces in which they are sent.
    """

    def __init__(self, storage: Storage, chunk: int) -> None:
        self._storage = storage
        self._chunk = chunk
        self._slots = Slots(FAST)

    async def send(self, part: Part) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of a file in pieces, all of one size but the last.

        What is sent is the file as it was when the download began, also where it is replaced or deleted meanwhile.

        Raises:
            BadName: The name breaks a rule.
            NotFound: There is no such file.
            NotServed: What is there is no regular file.
            Changed: It has another version, or was written while it was read.
            OutOfRange: It is shorter than the offset.
        """
        reader = _Reader(self._storage, part, self._chunk)
        reading = start(reader.open)
        fast = False
        try:
            pieces = await ended(reading)
            while pieces:
                fast = fast or self._slots.take()
                if fast:
                    reading = start(reader.read, AHEAD)
                for piece in pieces:
                    yield piece
                if not fast:
                    reading = start(reader.read, self._chunk)
                pieces = await ended(reading)
        finally:
            if fast:
                self._slots.give_back()
            try:
                await over(reading)
            finally:
                await in_thread(reader.close)


class _Reader:
    def __init__(self, storage: Storage, part: Part, chunk: int) -> None:
        self._storage = storage
        self._part = part
        self._chunk = chunk
        self._fd = -1
        self._at = self._end = part.offset

    def open(self) -> list[bytes]:
        """Open the file, and return its first piece."""
        part = self._part
        self._fd = self._storage.tree.open_file(parts_of(part.name))
        info = info_of(part.name, os.fstat(self._fd))
        if part.version is not None and part.version != info.version:
            raise Changed(
                f"{part.name!r} has changed: it has the version {info.version!r} now, and {part.version!r} was asked"
                " for; begin anew."
            )
        if part.offset > info.size:
            raise OutOfRange(f"{part.name!r} has {info.size:,} bytes, and the offset is {part.offset:,}.")
        self._end = info.size if part.length is None else min(info.size, part.offset + part.length)
        return self.read(self._chunk)

    def read(self, size: int) -> list[bytes]:
        """Return the next pieces, of so many bytes together; none at the end."""
        pieces = []
        stop = min(self._end, self._at + max(size // self._chunk, 1) * self._chunk)
        while self._at < stop:
            piece = os.pread(self._fd, min(self._chunk, stop - self._at), self._at)
            if not piece:
                raise Changed(f"{self._part.name!r} has become shorter while it was read; begin anew.")
            pieces.append(piece)
            self._at += len(piece)
        return pieces

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
