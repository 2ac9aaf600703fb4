"""How many bytes are taken, and by whom: the quota, for all processes that serve one root.

What is known stands in the reserved folder, so that every process reads the same, and one that is killed leaves
nothing that has to be mended by hand:

* `lock`: its holder alone changes names and reservations. Its text is the sum of the files' bytes.
* `<key>.<bytes>`: the partial file of an upload, and how many bytes are reserved for it; `key` is made from the
  file's name. The descriptor through which it is written is locked, so an unlocked one is of a broken upload.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from jackfield_files.faults import NoRoom
from jackfield_files.tree import FOLDER, RESERVED, Tree

LOCK: Final = "lock"
_PARTIAL: Final = re.compile(r"([0-9a-f]{64})\.([0-9]{1,19})")
_OPEN: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


class Partial(NamedTuple):
    """One partial file as it stands in the reserved folder."""

    key: str
    reserved: int

    @property
    def entry(self) -> str:
        """What it is called there."""
        return f"{self.key}.{self.reserved}"


class Space:
    """The reserved folder. Whoever calls a method, save `held`, does so within `held`.

    Args:
        tree: The root.
        quota: Bytes that all files may have, partial ones included.
        keep: Seconds that a broken upload is kept.

    Raises:
        OSError: The folder cannot be made or opened.
    """

    def __init__(self, tree: Tree, quota: int, keep: float) -> None:
        self._tree = tree
        self._quota = quota
        self._keep = keep
        with suppress(FileExistsError):
            os.mkdir(RESERVED, 0o700, dir_fd=tree.fd)
        self.fd = os.open(RESERVED, FOLDER, dir_fd=tree.fd)
        try:
            self._lock = os.open(LOCK, _OPEN | os.O_CREAT, 0o600, dir_fd=self.fd)
        except OSError:
            os.close(self.fd)
            raise
        self._threads = threading.Lock()

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._lock)
        os.close(self.fd)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the only one, among all threads and processes, who changes names and reservations."""
        with self._threads:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    def find(self, key: str) -> Partial | None:
        """Return the partial file of a key."""
        return next((partial for partial in self._partials() if partial.key == key), None)

    def open(self, partial: Partial, *, create: bool = False) -> int:
        """Open a partial file for reading and writing; with `create` a new one."""
        flags = _OPEN | (os.O_CREAT | os.O_EXCL if create else 0)
        return os.open(partial.entry, flags, 0o666, dir_fd=self.fd)

    def holds(self, partial: Partial, fd: int) -> bool:
        """Tell whether an open file is the partial file of this entry, and not one that had it before."""
        try:
            return os.path.samestat(os.stat(partial.entry, dir_fd=self.fd, follow_symlinks=False), os.fstat(fd))
        except FileNotFoundError:
            return False

    def reserve(self, partial: Partial, wanted: int, needed: int) -> Partial:
        """Reserve bytes for a partial file, in all; it may not be there yet.

        Args:
            partial: The file, with what is reserved for it so far.
            wanted: How many bytes would be good to have.
            needed: How many it must have.

        Returns:
            The file with what is reserved now.

        Raises:
            NoRoom: The quota has less left than is needed.
        """
        if needed > (free := self._free(partial.key)):
            self.sweep()
            self.count()
            if needed > (free := self._free(partial.key)):
                raise NoRoom(
                    f"{needed:,} bytes do not fit: all files together may have {self._quota:,} (setting"
                    f" plugins.files.quota), and {max(0, free):,} of them are left."
                )
        return self.rename(partial, min(max(wanted, needed), free))

    def rename(self, partial: Partial, reserved: int) -> Partial:
        """Write down how many bytes are reserved for a partial file."""
        renamed = partial._replace(reserved=reserved)
        with suppress(FileNotFoundError):  # it is still to be made
            os.rename(partial.entry, renamed.entry, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        return renamed

    def remove(self, partial: Partial) -> None:
        """Remove a partial file."""
        with suppress(FileNotFoundError):
            os.unlink(partial.entry, dir_fd=self.fd)

    def sweep(self) -> None:
        """Remove what is left of uploads that broke long ago; reserve for the others no more than they have."""
        for partial in self._partials():
            try:
                fd = self.open(partial)
            except OSError:  # somebody has put something else there
                continue
            try:
                if not try_lock(fd):
                    continue
                status = os.fstat(fd)
                if status.st_nlink > 1 or time.time() - status.st_mtime >= self._keep:
                    self.remove(partial)
                elif status.st_size != partial.reserved:
                    self.rename(partial, status.st_size)
            finally:
                os.close(fd)

    def count(self) -> None:
        """Count the bytes of all files anew; others than this server may have put some there, or taken some away."""
        self._write(self._tree.size())

    def add(self, change: int) -> None:
        """Note that the files have become larger by so many bytes, or smaller."""
        self._write(max(0, self._read() + change))

    def _free(self, key: str) -> int:
        """Return the bytes that are left for one partial file, those included that it has."""
        others = sum(partial.reserved for partial in self._partials() if partial.key != key)
        return self._quota - self._read() - others

    def _partials(self) -> list[Partial]:
        found = (_PARTIAL.fullmatch(name) for name in os.listdir(self.fd))
        return [Partial(match[1], int(match[2])) for match in found if match]

    def _read(self) -> int:
        text = os.pread(self._lock, 32, 0)
        if not text.isdigit():
            self.count()
            text = os.pread(self._lock, 32, 0)
        return int(text)

    def _write(self, total: int) -> None:
        os.pwrite(self._lock, b"%020d" % total, 0)


def key_of(name: str) -> str:
    """Return under which key the partial file of a name is kept."""
    return hashlib.sha256(name.encode()).hexdigest()


def try_lock(fd: int) -> bool:
    """Lock an open file for as long as it is open; tell whether nobody else had."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
