"""One line on the terminal that tells how far a call is."""

from __future__ import annotations

import os
import sys
import time
from typing import Final

from jackfield._cli.terminal import line

_EVERY: Final = 0.1
"""Seconds between two drawings."""
_WIDTH: Final = 30
_ERASE: Final = "\r\x1b[K"


class Bar:
    """A bar on standard error; nothing where that is no terminal, or where nobody wants one.

    What a call reports of itself goes before what is known of the bytes on their way.

    Args:
        wanted: Whether there is to be one.
    """

    def __init__(self, *, wanted: bool) -> None:
        self.active = wanted and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._reported = False
        self._shown = False
        self._drawn = 0.0

    def report(self, done: float, total: float | None, message: str | None) -> None:
        """Show what the call reports of itself."""
        self._reported = True
        amount = f"{done:g}" if total is None else f"{done:g}/{total:g}"
        self._draw(done, total, f"{amount}  {line(message or '')}")

    def moved(self, done: int, total: int | None = None) -> None:
        """Show how many bytes have been sent or received."""
        if not self._reported:
            self._draw(done, total, _size(done) if total is None else f"{_size(done)} of {_size(total)}")

    def clear(self) -> None:
        """Take it away, before something else is written or because all is over."""
        if self._shown:
            self._write(_ERASE)
            self._shown = False

    def _draw(self, done: float, total: float | None, text: str) -> None:
        now = time.monotonic()
        if not self.active or (now - self._drawn < _EVERY and done != total):
            return
        self._drawn = now
        if total is not None and total > 0:
            share = min(1.0, max(0.0, done / total))
            full = round(share * _WIDTH)
            text = f"[{'#' * full}{'-' * (_WIDTH - full)}] {share:4.0%}  {text}"
        self._write(_ERASE + text[: _columns() - 1].rstrip())
        self._shown = True

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def _columns() -> int:
    try:
        # A terminal that does not know says 0.
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80


def _size(count: float) -> str:
    units = iter(("B", "kB", "MB", "GB"))
    unit = next(units)
    while count >= 1000 and (larger := next(units, None)):
        count, unit = count / 1000, larger
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
