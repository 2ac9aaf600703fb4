"""The files: what is there, what is taken away, what is called differently, and what comes in whole.

Everything here blocks, so it is called in threads. A file is there from the moment at which it is whole, and goes at
once; readers that have it open keep what they had.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from jackfield_files.faults import Changed, Exists, NotFound, Stopped
from jackfield_files.names import parts_of, parts_of_folder
from jackfield_files.space import Space
from jackfield_files.tree import Tree, look_at

PIECE: Final = 1024 * 1024
"""Bytes that are read at once where a whole file is."""

_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK)
"""What file systems without hard links answer with."""

Report = Callable[[int, int], bool]
"""Is told how many bytes of how many have been read; returns whether to go on."""


@dataclass(frozen=True, slots=True)
class Info:
    """One file.

    Args:
        name: Its name.
        size: Bytes.
        modified: When its content was last written.
        version: Another text whenever the file is another.
    """

    name: str
    size: int
    modified: datetime
    version: str


class Storage:
    """All files below one root.

    Args:
        root: The folder, made if it is not there.
        quota: Bytes that all files may have, partial ones included.
        keep: Seconds that a broken upload is kept.

    Raises:
        OSError: The folder cannot be made, or not be written.
    """

    def __init__(self, root: Path, *, quota: int, keep: float) -> None:
        self.tree = Tree(root)
        self.keep = keep
        try:
            self.space = Space(self.tree, quota, keep)
        except OSError:
            self.tree.close()
            raise
        with self.space.held():
            self.space.sweep()
            self.space.count()

    def close(self) -> None:
        """Give all descriptors back."""
        self.space.close()
        self.tree.close()

    def sweep(self) -> None:
        """Remove what is left of uploads that broke long ago."""
        with self.space.held():
            self.space.sweep()

    def stat(self, name: str) -> Info:
        """Tell about a file.

        Raises:
            BadName: The name breaks a rule.
            NotFound: There is no such file.
            NotServed: What is there is no regular file.
        """
        return info_of(name, self.tree.look(parts_of(name)))

    def hash(self, name: str, report: Report) -> tuple[Info, str]:
        """Read a whole file and return its SHA-256 too; faults as for `stat`.

        Raises:
            Changed: The file was written meanwhile.
            Stopped: `report` said not to go on.
        """
        fd = self.tree.open_file(parts_of(name))
        try:
            info = info_of(name, os.fstat(fd))
            digest = hashlib.sha256()
            feed(digest, fd, info.size, report)
            if info_of(name, os.fstat(fd)) != info:
                raise Changed(f"{name!r} was written while it was read; ask again.")
            return info, digest.hexdigest()
        finally:
            os.close(fd)

    def list(self, folder: str, after: str, limit: int) -> list[Info]:
        """Return files below a folder, by name.

        Args:
            folder: Its name; empty for the root.
            after: Only names after this one.
            limit: At most so many.

        Raises:
            BadName: The folder's name breaks a rule.
            NotServed: What is there is no folder.
        """
        return [info_of(name, status) for name, status in self.tree.files(parts_of_folder(folder), after, limit)]

    def delete(self, name: str) -> Info:
        """Remove a file, and the folders that are empty then; faults as for `stat`."""
        parts = parts_of(name)
        with self.space.held():
            info = info_of(name, self.tree.look(parts))
            with self.tree.folder(parts[:-1]) as fd:
                os.unlink(parts[-1], dir_fd=fd)
            self.space.add(-info.size)
            self.tree.tidy(parts)
        return info

    def move(self, name: str, to: str, *, replace: bool) -> Info:
        """Give a file another name; at every moment it has one of the two, and never both.

        Raises:
            BadName: A name breaks a rule.
            NotFound: There is no such file.
            NotServed: What is there is no regular file, or something else has the new name.
            Exists: There is a file of the new name, and it is not to be replaced.
        """
        source, target = parts_of(name), parts_of(to)
        with self.space.held():
            status = self.tree.look(source)
            replaced = self.existing(target, replace=replace)
            if source == target:
                return info_of(to, status)
            try:
                with self.tree.folder(source[:-1]) as old, self.tree.folder(target[:-1], create=True) as new:
                    if replaced is not None and os.path.samestat(status, replaced):
                        os.unlink(source[-1], dir_fd=old)  # of two hard links to one file rename leaves both
                    else:
                        os.rename(source[-1], target[-1], src_dir_fd=old, dst_dir_fd=new)
                    os.fsync(new)
                    os.fsync(old)
            except OSError:
                self.tree.tidy(target)
                raise
            self.space.add(-replaced.st_size if replaced else 0)
            self.tree.tidy(source)
        return info_of(to, status)

    def existing(self, parts: Sequence[str], *, replace: bool) -> os.stat_result | None:
        """Return the status of the file that a new one would replace.

        Raises:
            Exists: There is one, and it is not to be replaced.
            NotServed: Something that is no file has the name, or the name of a folder on the way.
        """
        try:
            status = self.tree.look(parts)
        except NotFound:
            return None
        if not replace:
            raise Exists(f"There is a file {'/'.join(parts)!r} already; `replace` replaces it.")
        return status

    def put(self, entry: str, parts: Sequence[str], *, replace: bool) -> Info:
        """Give a whole file of the reserved folder its name, within `space.held`.

        Raises:
            Exists: There is such a file, and it is not to be replaced.
            NotServed: As for `existing`.
        """
        replaced = self.existing(parts, replace=replace)
        try:
            with self.tree.folder(parts[:-1], create=True) as fd:
                if replace:
                    os.rename(entry, parts[-1], src_dir_fd=self.space.fd, dst_dir_fd=fd)
                else:
                    self._link(entry, fd, parts)
                os.fsync(fd)
                status = look_at(fd, parts)
        except (OSError, Exists):
            self.tree.tidy(parts)
            raise
        self.space.add(status.st_size - (replaced.st_size if replaced else 0))
        return info_of("/".join(parts), status)

    def _link(self, entry: str, fd: int, parts: Sequence[str]) -> None:
        try:
            os.link(entry, parts[-1], src_dir_fd=self.space.fd, dst_dir_fd=fd, follow_symlinks=False)
        except FileExistsError:  # others than this server may make files here too
            raise Exists(f"There is a file {'/'.join(parts)!r} already; `replace` replaces it.") from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.rename(entry, parts[-1], src_dir_fd=self.space.fd, dst_dir_fd=fd)
        else:
            with suppress(FileNotFoundError):
                os.unlink(entry, dir_fd=self.space.fd)


def info_of(name: str, status: os.stat_result) -> Info:
    """Return what there is to tell about a file."""
    identity = f"{status.st_dev} {status.st_ino} {status.st_mtime_ns} {status.st_size}"
    return Info(
        name=name,
        size=status.st_size,
        modified=datetime.fromtimestamp(status.st_mtime, UTC),
        version=hashlib.sha256(identity.encode()).hexdigest()[:16],
    )


def feed(digest: hashlib._Hash, fd: int, size: int, report: Report) -> None:
    """Read the first bytes of an open file into a hash.

    Raises:
        Changed: There are fewer.
        Stopped: `report` said not to go on.
    """
    piece = memoryview(bytearray(min(PIECE, size)))
    done = 0
    while done < size:
        if not report(done, size):
            raise Stopped("Nobody waits for this any more.")
        count = os.preadv(fd, [piece[: size - done]], done)
        if not count:
            raise Changed("The file has become shorter while it was read; ask again.")
        digest.update(piece[:count])
        done += count
    report(done, size)
