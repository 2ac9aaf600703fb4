"""Who a test's clients are: a plugin that takes the test's word for it."""

from __future__ import annotations

import secrets
from typing import Final

from jackfield._hooks import hookimpl
from jackfield._identity import Handshake, Principal

NAME: Final = "jackfield_testing"


class Principals:
    """The principals as which clients connect, by tickets that they show."""

    def __init__(self) -> None:
        self._known: dict[str, Principal] = {}

    def ticket(self, principal: Principal) -> dict[str, str]:
        """Return what a client shows to be this one."""
        ticket = secrets.token_hex()
        self._known[ticket] = principal
        return {NAME: ticket}

    @hookimpl(tryfirst=True)
    async def jackfield_authenticate(self, handshake: Handshake) -> Principal | None:
        """Return the principal of the ticket; None for whoever shows none, whom another plugin may know."""
        ticket = handshake.auth.get(NAME)
        return self._known.get(ticket) if isinstance(ticket, str) else None
