"""The folder below which all files lie, walked so that nothing leads out of it.

Every part of a path is opened relative to the one before, and no symbolic link is followed: not one that was there,
and not one that somebody puts there meanwhile.
"""

from __future__ import annotations

import errno
import heapq
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from jackfield_files.faults import NotFound, NotServed
from jackfield_files.names import MAX_PARTS, is_good_part

RESERVED: Final = ".jackfield"
"""The folder in the root that holds what is not whole yet; no name leads there, since it is hidden."""

FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_FOLDER: Final = (errno.ENOTDIR, errno.ELOOP)


class Listed(NamedTuple):
    """One file that was found."""

    name: str
    status: os.stat_result


class Tree:
    """The root.

    Args:
        root: The folder; it is made if it is not there. It may itself be a symbolic link.

    Raises:
        OSError: It cannot be made or opened.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)

    @contextmanager
    def folder(self, parts: Sequence[str], *, create: bool = False) -> Iterator[int]:
        """Open a folder, and yield its descriptor.

        Args:
            parts: Its path.
            create: Whether folders that are missing are made.

        Raises:
            NotFound: There is no such folder.
            NotServed: Something on the way is a symbolic link, or no folder.
        """
        fd = os.dup(self.fd)
        try:
            for depth, part in enumerate(parts, 1):
                try:
                    inner = _enter(fd, part, create=create)
                except FileNotFoundError:
                    raise NotFound(f"There is no folder {'/'.join(parts[:depth])!r}.") from None
                except OSError as error:
                    if error.errno not in _NO_FOLDER:
                        raise
                    raise NotServed(
                        f"{'/'.join(parts[:depth])!r} is no folder, or a symbolic link, and those are not followed."
                    ) from None
                os.close(fd)
                fd = inner
            yield fd
        finally:
            os.close(fd)

    def look(self, parts: Sequence[str]) -> os.stat_result:
        """Return the status of a file.

        Raises:
            NotFound: There is no such file.
            NotServed: What is there is no regular file, or something on the way is no folder.
        """
        with self._parent(parts) as fd:
            return look_at(fd, parts)

    def open_file(self, parts: Sequence[str]) -> int:
        """Open a file for reading; errors as for `look`."""
        with self._parent(parts) as fd:
            look_at(fd, parts)  # opening a device can have effects, so nothing but a file is opened
            try:
                opened = os.open(parts[-1], _FILE, dir_fd=fd)
            except FileNotFoundError:
                raise _not_found(parts) from None
            except OSError as error:
                raise (_not_served(parts) if error.errno == errno.ELOOP else error) from None
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            os.close(opened)
            raise _not_served(parts)
        return opened

    def tidy(self, parts: Sequence[str]) -> None:
        """Remove the folders on the way to a file that is gone, from the innermost on, as far as they are empty."""
        for depth in range(len(parts) - 1, 0, -1):
            try:
                with self.folder(parts[: depth - 1]) as fd:
                    os.rmdir(parts[depth - 1], dir_fd=fd)
            except (NotFound, NotServed, OSError):
                return

    def files(self, folder: Sequence[str], after: str, limit: int) -> list[Listed]:
        """Return files below a folder in the order of their names, at most `limit`, those after `after`.

        Only names that can be asked for are there. No more than `limit` entries of a folder are held at once.
        """
        prefix = "".join(f"{part}/" for part in folder)
        try:
            with self.folder(folder) as fd:
                return list(_below(fd, prefix, after, limit, MAX_PARTS - len(folder)))
        except NotFound:
            return []  # folders come and go with their files, so one that is not there is an empty one

    def size(self) -> int:
        """Return the bytes of all files below the root, whatever they are called."""
        total = 0
        for path, folders, files, fd in os.fwalk(".", dir_fd=self.fd):
            if path == "." and RESERVED in folders:
                folders.remove(RESERVED)
            for name in files:
                with suppress(FileNotFoundError):
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    total += status.st_size if stat.S_ISREG(status.st_mode) else 0
        return total

    @contextmanager
    def _parent(self, parts: Sequence[str]) -> Iterator[int]:
        try:
            with self.folder(parts[:-1]) as fd:
                yield fd
        except NotFound:
            raise _not_found(parts) from None


def look_at(fd: int, parts: Sequence[str]) -> os.stat_result:
    """Return the status of a file in the folder `fd`; errors as for `Tree.look`."""
    try:
        status = os.stat(parts[-1], dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        raise _not_found(parts) from None
    if not stat.S_ISREG(status.st_mode):
        raise _not_served(parts)
    return status


def _not_found(parts: Sequence[str]) -> NotFound:
    return NotFound(f"There is no file {'/'.join(parts)!r}.")


def _not_served(parts: Sequence[str]) -> NotServed:
    return NotServed(f"{'/'.join(parts)!r} is no regular file: it is a folder, a symbolic link or a device.")


def _enter(fd: int, part: str, *, create: bool) -> int:
    try:
        return os.open(part, FOLDER, dir_fd=fd)
    except FileNotFoundError:
        if not create:
            raise
    with suppress(FileExistsError):
        os.mkdir(part, dir_fd=fd)
        os.fsync(fd)
    return os.open(part, FOLDER, dir_fd=fd)


def _below(fd: int, prefix: str, after: str, limit: int, depth: int) -> Iterator[Listed]:
    """Yield the files of an open folder and of those inside it, by name."""
    done = ""
    while entries := heapq.nsmallest(limit, (e for e in _keys(fd, prefix, after, deep=depth > 1) if e[0] > done)):
        for key, name in entries:
            done = key
            for found in _inside(fd, key, name, after, limit, depth) if key.endswith("/") else _file(fd, key, name):
                yield found
                limit -= 1
            if limit <= 0:
                return


def _keys(fd: int, prefix: str, after: str, *, deep: bool) -> Iterator[tuple[str, str]]:
    """Yield key and name of the entries of a folder, as they come.

    A folder's key ends with the `/` that all names in it have, so that sorting keys brings whole names in order.
    """
    with os.scandir(fd) as entries:
        for entry in entries:
            if not is_good_part(entry.name):
                continue
            key = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                key += "/"
                if deep and (key > after or after.startswith(key)):
                    yield key, entry.name
            elif key > after and entry.is_file(follow_symlinks=False):
                yield key, entry.name


def _inside(fd: int, key: str, name: str, after: str, limit: int, depth: int) -> Iterator[Listed]:
    try:
        inner = os.open(name, FOLDER, dir_fd=fd)
    except OSError:  # it has gone meanwhile
        return
    try:
        yield from _below(inner, key, after, limit, depth - 1)
    finally:
        os.close(inner)


def _file(fd: int, key: str, name: str) -> Iterator[Listed]:
    with suppress(FileNotFoundError):
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            yield Listed(key, status)
