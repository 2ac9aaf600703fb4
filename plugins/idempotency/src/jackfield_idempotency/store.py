"""What a store can do, whatever it keeps its records in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from jackfield_idempotency.keys import Ticket
from jackfield_idempotency.records import Outcome, Record


class Store(Protocol):
    """What knows which calls were begun. Every method but the first two and `trouble` raises `Away` where it cannot."""

    async def open(self) -> None:
        """Make it ready; to be called once, before all others."""

    async def close(self) -> None:
        """Give back what `open` took; nothing is called after it."""

    def trouble(self) -> str | None:
        """Tell why the store cannot be used, if that is so."""

    async def begin(self, ticket: Ticket) -> Record | None:
        """Take note that a call begins, and return None: when this returns it is kept. Or return the one that has.

        Raises:
            CallError: `resource_exhausted`: its caller has too many keys.
        """

    async def end(self, ticket: Ticket, outcome: Outcome) -> None:
        """Take note of how a call has ended that this began; when this returns it is kept, for the window."""

    async def free(self, ticket: Ticket) -> None:
        """Forget a call that this began: it was not done."""

    async def renew(self, tickets: Iterable[Ticket]) -> None:
        """Say that these calls run, and forget what is old."""
