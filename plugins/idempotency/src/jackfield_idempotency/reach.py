"""Whether a store can be used: the log is told when that changes, and not once for every call."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from jackfield import CallError
from jackfield_idempotency.faults import Away

log: Final = logging.getLogger(__name__)


class Reach:
    """What becomes of what is asked of one store.

    Args:
        what: The store, for the log.
        errors: The exceptions that say that it cannot be used.

    Attributes:
        trouble: Why it cannot be used, if that is so.
    """

    def __init__(self, what: str, *errors: type[Exception]) -> None:
        self.trouble: str | None = None
        self._what = what
        self._errors = errors

    @contextmanager
    def tried(self, *, shows: bool = True) -> Iterator[None]:
        """Take note of how it goes inside.

        Args:
            shows: Whether the store can be used again if it goes well.

        Raises:
            Away: It could not be used.
        """
        try:
            yield
        except self._errors as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            if self.trouble is None:
                log.warning(
                    "%s cannot be used (%s): calls with an idempotency-key are answered with unavailable",
                    self._what,
                    reason,
                )
            self.trouble = reason
            raise Away from None
        except CallError:
            if shows:
                self._there()
            raise
        if shows:
            self._there()

    def _there(self) -> None:
        if self.trouble is not None:
            log.warning("%s can be used again", self._what)
        self.trouble = None
