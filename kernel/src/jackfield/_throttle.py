"""Log what clients can cause, without letting them fill the disk."""

from __future__ import annotations

import logging
import time
from typing import Final

_KEYS: Final = 1024


class Throttle:
    """Lets a thing through once a second for each key.

    Args:
        interval: Seconds between two of one key.
    """

    def __init__(self, interval: float = 1.0) -> None:
        self._interval = interval
        self._next: dict[object, float] = {}

    def ready(self, key: object) -> bool:
        """Tell whether it is time for `key` again, and count from now if it is."""
        now = time.monotonic()
        if now < self._next.get(key, 0.0):
            return False
        if len(self._next) >= _KEYS:
            self._next.clear()
        self._next[key] = now + self._interval
        return True


class ThrottledFilter(logging.Filter):
    """Passes one record a second for each place in the code that logs, cut to one line of 200 characters."""

    def __init__(self) -> None:
        super().__init__()
        self._throttle = Throttle()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record may pass; a traceback is reduced to the exception's type."""
        if not self._throttle.ready((record.pathname, record.lineno)):
            return False
        text = " ".join(record.getMessage().split())[:200]
        if record.exc_info and record.exc_info[0] is not None:
            text = f"{text} ({record.exc_info[0].__name__})"
        record.msg, record.args, record.exc_info, record.exc_text = text, (), None, None
        return True


QUIET: Final = ThrottledFilter()
"""For the loggers of libraries that write what clients cause; added twice, a filter still counts once."""
