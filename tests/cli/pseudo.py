"""A command on a terminal, as a person has one."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.server import environment

LIMIT = 40.0


class Terminal:
    """What a command writes to its terminal.

    Args:
        process: The command.
        descriptor: The other end of its terminal.
    """

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self.text = ""
        self._descriptor = descriptor

    def until(self, pattern: str) -> str:
        """Read until the text since the last call holds this, and return that text."""
        end = time.monotonic() + LIMIT
        seen = len(self.text)
        while not re.search(pattern, self.text[seen:]):
            assert time.monotonic() < end, f"no {pattern!r} in {self.text[seen:]!r}"
            assert self._read(), f"it ended, with no {pattern!r} in {self.text[seen:]!r}"
        return self.text[seen:]

    def ended(self) -> int:
        """Read until the command has ended, and return its status."""
        while self._read():
            pass
        return self.process.wait(LIMIT)

    def press(self, key: bytes) -> None:
        """Type."""
        os.write(self._descriptor, key)

    def _read(self) -> bool:
        if not select.select([self._descriptor], [], [], LIMIT)[0]:
            raise AssertionError(f"nothing more came after {self.text!r}")
        try:
            piece = os.read(self._descriptor, 65536)
        except OSError:  # the other end is closed
            return False
        self.text += piece.decode("utf-8", "replace")
        return bool(piece)


@contextmanager
def terminal(folder: Path, *arguments: str, columns: int = 100, lines: int = 30, **env: str) -> Iterator[Terminal]:
    """Run `jackfield …` on a terminal of this size until the block ends."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    inherited = {name: value for name, value in environment().items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "jackfield", *arguments],
        cwd=folder,
        env={**inherited, "TERM": "xterm-256color", **env},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - it makes a system call, no more
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(LIMIT)
        os.close(ours)
