"""Whether a store can be reached: the log is told when that changes, and not once for every call."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager

from jackfield_kv.faults import Away, KvFault

log = logging.getLogger(__name__)


class Reach:
    """What becomes of calls of one store.

    Args:
        what: What is to be reached, for the log.
        errors: The exceptions that say that it cannot be.
        message: What callers are told then.

    Attributes:
        trouble: Why it cannot be reached, if that is so.
    """

    def __init__(self, what: str, errors: tuple[type[Exception], ...], message: str) -> None:
        self._what = what
        self._errors = errors
        self._message = message
        self.trouble: str | None = None

    @contextmanager
    def tried(self) -> Generator[None, None, None]:
        """Take note of how it goes inside.

        Raises:
            Away: It could not be reached.
        """
        try:
            yield
        except KvFault:
            self._there()
            raise
        except self._errors as error:
            self._lost(error)
            raise Away(self._message) from None
        self._there()

    def _there(self) -> None:
        if self.trouble is not None:
            log.warning("%s is back", self._what)
            self.trouble = None

    def _lost(self, error: Exception) -> None:
        reason = " ".join(str(error).split()) or type(error).__name__
        if self.trouble is None:
            log.warning("%s cannot be reached (%s): calls are answered with unavailable", self._what, reason)
        self.trouble = reason
