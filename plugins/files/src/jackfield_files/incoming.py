"""One upload's file while it is written, hashed on the way, and what becomes of it.

Its methods block, so they are called in threads, one at a time.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from jackfield_files.faults import Damaged, Incomplete, NoRoom, OutOfRange, Superseded
from jackfield_files.names import parts_of
from jackfield_files.space import Partial, key_of, try_lock
from jackfield_files.storage import PIECE, Info, Storage, feed

STEP: Final = 16 * 1024 * 1024
"""Bytes that are reserved at a time for an upload of unknown size."""
MAX_BUFFERS: Final = 1024
"""Buffers that a system call writes at the most (IOV_MAX)."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants to upload.

    Args:
        name: The file's name.
        size: Its bytes, if that is known.
        sha256: Its checksum in lower-case hexadecimal, if that is known.
        offset: How many bytes of a broken upload to keep; the first one to come is behind them.
        replace: Whether a file of this name is replaced.
    """

    name: str
    size: int | None = None
    sha256: str | None = None
    offset: int = 0
    replace: bool = False


class Incoming:
    """An upload's file, from `open` to `close`.

    Args:
        storage: Where it goes.
        order: What is wanted.
        max_size: Bytes that one file may have.

    Attributes:
        size: Bytes that are there.

    Raises:
        BadName: The name breaks a rule.
    """

    def __init__(self, storage: Storage, order: Order, max_size: int) -> None:
        self._storage = storage
        self._order = order
        self._parts = parts_of(order.name)
        self._max_size = max_size
        self._digest = hashlib.sha256()
        self._partial = Partial(key_of(order.name), 0)
        self._fd = -1
        self._doomed = False
        self.size = 0
        self._stopped = False

    def open(self) -> None:
        """Make the file, or go on with what a broken upload left.

        Raises:
            Exists: There is a file of this name, and it is not to be replaced.
            NotServed: Something else has this name.
            NoRoom: It is too large, or the quota has no room for it.
            OutOfRange: The offset is past what is there, or past the announced size.
            Stopped: `stop` was called.
        """
        order = self._order
        self._check_size(order.size or 0)
        if order.size is not None and order.offset > order.size:
            raise OutOfRange(f"The offset is {order.offset:,}, and the size of {order.name!r} only {order.size:,}.")
        source = -1
        try:
            with self._storage.space.held():
                self._storage.existing(self._parts, replace=order.replace)
                source = self._take()
            self._take_in(source if source >= 0 else self._fd)
        finally:
            if source >= 0:
                os.close(source)

    def stop(self) -> None:
        """End `open` early, from any thread."""
        self._stopped = True

    def write(self, buffers: Sequence[bytes]) -> None:
        """Write Buffers, at most `MAX_BUFFERS`, behind what is there.

        Raises:
            OutOfRange: They are more than was announced; the upload will not be kept.
            NoRoom: The file becomes too large, or there is no room for it; the upload will not be kept.
            Superseded: Another process has taken the upload over.
        """
        size = self.size + sum(map(len, buffers))
        try:
            self._check_room(size)
            for buffer in buffers:
                self._digest.update(buffer)
            _write_all(self._fd, buffers)
        except (OutOfRange, NoRoom):
            self._doomed = True
            raise
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self._doomed = True
            raise NoRoom("The disk of the server is full.") from None
        self.size = size

    def finish(self) -> tuple[Info, str]:
        """Check the file, and give it its name; return what it is, and its SHA-256.

        Raises:
            Incomplete: Bytes are missing; what is there is kept.
            Damaged: It has not the announced checksum; it will not be kept.
            Exists: A file of this name has come meanwhile.
            NotServed: Something else of this name has come meanwhile.
            Superseded: Another process has taken the upload over.
        """
        order, found = self._order, self._digest.hexdigest()
        if order.size is not None and self.size < order.size:
            raise Incomplete(
                f"The upload of {order.name!r} ended after {self.size:,} of {order.size:,} bytes; go on with the offset"
                f" {self.size}."
            )
        if order.sha256 is not None and order.sha256 != found:
            self._doomed = True
            raise Damaged(
                f"The {self.size:,} bytes of {order.name!r} have the SHA-256 {found}, and {order.sha256} was announced;"
                " nothing of them is kept: upload them anew."
            )
        os.fsync(self._fd)
        with self._storage.space.held():
            self._check_ours()
            return self._storage.put(self._partial.entry, self._parts, replace=order.replace), found

    def close(self) -> None:
        """Keep what came for a later upload, if it is of use, unless it has its name by now."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        space = self._storage.space
        try:
            with space.held():
                if space.holds(self._partial, fd):
                    if self._doomed or not self.size or not self._storage.keep:
                        space.remove(self._partial)
                    else:
                        os.ftruncate(fd, self.size)
                        self._partial = space.rename(self._partial, self.size)
        finally:
            os.close(fd)

    def _take(self) -> int:
        """Open the partial file and reserve its bytes; return the descriptor of one to be copied from, or -1."""
        order, space = self._order, self._storage.space
        found = space.find(self._partial.key)
        source = -1 if found is None else space.open(found)
        try:
            kept = size_of(source)
            if order.offset > kept:
                raise OutOfRange(
                    f"Of {order.name!r} {kept:,} bytes are kept, so an upload cannot go on at {order.offset:,};"
                    " `offset` tells where it can."
                )
            wanted = order.offset + STEP if order.size is None else order.size
            self._partial = space.reserve(found or self._partial, wanted, max(order.size or 0, order.offset))
            if kept and try_lock(source):
                self._fd, source = source, -1
                os.ftruncate(self._fd, order.offset)
                self.size = order.offset
            else:
                # What is there is being written by another process, or has its name already: it is left alone.
                space.remove(self._partial)
                self._fd = space.open(self._partial, create=True)
                try_lock(self._fd)
            copied, source = source, -1
            return copied
        finally:
            if source >= 0:
                os.close(source)

    def _take_in(self, source: int) -> None:
        """Hash what is kept, and copy it from `source` if that is another file."""
        offset = self._order.offset
        if source == self._fd:
            feed(self._digest, source, offset, lambda _done, _size: not self._stopped)
            os.lseek(self._fd, offset, os.SEEK_SET)
            return
        while self.size < offset:  # also where nobody waits any more: what is not copied is lost
            self.write([os.pread(source, min(PIECE, offset - self.size), self.size)])

    def _check_room(self, size: int) -> None:
        order = self._order
        if order.size is not None and size > order.size:
            raise OutOfRange(
                f"The size of {order.name!r} was announced as {order.size:,} bytes, and more have come; nothing of"
                " them is kept."
            )
        self._check_size(size)
        self._check_ours()
        if size > self._partial.reserved:
            with self._storage.space.held():
                self._check_ours()
                self._partial = self._storage.space.reserve(self._partial, size + STEP, size)

    def _check_size(self, size: int) -> None:
        if size > self._max_size:
            raise NoRoom(
                f"{self._order.name!r} would have {size:,} bytes or more, and a file may have {self._max_size:,}"
                " (setting plugins.files.max_size)."
            )

    def _check_ours(self) -> None:
        if not os.fstat(self._fd).st_nlink:
            raise superseded(self._order.name)


def kept_of(storage: Storage, name: str) -> int:
    """Return how many bytes of a broken upload, or of one that runs, an upload can go on after.

    Raises:
        BadName: The name breaks a rule.
    """
    parts_of(name)
    with storage.space.held():
        found = storage.space.find(key_of(name))
        if found is None:
            return 0
        fd = storage.space.open(found)
        try:
            return size_of(fd)
        finally:
            os.close(fd)


def size_of(fd: int) -> int:
    """Return how many bytes a partial file has for others; none where there is none, or where it has its name too."""
    if fd < 0:
        return 0
    status = os.fstat(fd)
    return status.st_size if status.st_nlink == 1 else 0


def superseded(name: str) -> Superseded:
    """Return what an upload ends with when another one of its name has begun."""
    return Superseded(f"A newer upload of {name!r} has begun, so this one is over.")


def _write_all(fd: int, buffers: Sequence[bytes]) -> None:
    written = os.writev(fd, buffers)
    for buffer in buffers:
        if written >= len(buffer):
            written -= len(buffer)
            continue
        rest = memoryview(buffer)[written:]
        written = 0
        while rest:
            rest = rest[os.write(fd, rest) :]
