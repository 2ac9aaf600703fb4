"""How far a call is, told to a caller that wants to know: often enough to be seen, seldom enough to cost nothing."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Final

from jackfield import _json
from jackfield._json import Json

_INTERVAL: Final = 0.1
"""Seconds between two words to one caller; what is told in between is left out, save the last."""


class Progress:
    """Tells one caller; `send` sends how far it is."""

    __slots__ = ("_latest", "_loop", "_send", "_thread", "_timer")

    def __init__(self, send: Callable[[Json], None]) -> None:
        self._send: Callable[[Json], None] | None = send
        self._latest: Json | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def report(self, done: float, total: float | None, message: str | None) -> None:
        """Tell how far it is; in any thread, and nothing once the call has been answered.

        Raises:
            TypeError: `done` or `total` is no number, or `message` no text.
            EncodeError: A number is NaN, infinite, or beyond what JSON carries.
        """
        if not all(isinstance(number, int | float) for number in (done, 0 if total is None else total)):
            raise TypeError(f"progress takes how much is done and of how much, not {done!r} and {total!r}")
        if not isinstance(message, str | None):
            raise TypeError(f"progress takes a text as its message, not {message!r}")
        fields = {"done": done, "total": total, "message": message}
        told = _json.dumps({name: value for name, value in fields.items() if value is not None})
        if threading.get_ident() == self._thread:
            self._take(told)
        else:
            with contextlib.suppress(RuntimeError):  # the loop has gone, and the caller with it
                self._loop.call_soon_threadsafe(self._take, told)

    def end(self) -> None:
        """Tell what was left out last, and nothing more: the call is about to be answered."""
        self._flush()
        self._send = None
        if self._timer is not None:
            self._timer.cancel()

    def _take(self, told: Json) -> None:
        if self._send is None:
            return
        self._latest = told
        if self._timer is None:
            self._flush()
            self._timer = self._loop.call_later(_INTERVAL, self._next)

    def _next(self) -> None:
        self._timer = None
        if self._latest is not None:
            self._take(self._latest)

    def _flush(self) -> None:
        latest, self._latest = self._latest, None
        if latest is not None and self._send is not None:
            self._send(latest)
