"""Who is subscribed to which channel, as others see it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, Protocol, TypeAlias

Change: TypeAlias = Literal["join", "leave"]


@dataclass(frozen=True, slots=True)
class Member:
    """A subscriber as others see it.

    Args:
        client: Its connection's id.
        user: Who it is, if that is known.
        data: What it shows of itself: JSON.
    """

    client: str
    user: str | None
    data: Any


Changed: TypeAlias = Callable[[str, Change, Member], None]
"""Called with a channel, and who has come or gone there; not where there are more members than are listed."""


class Presence(Protocol):
    """Knows who is there."""

    def enter(self, channel: str, member: Member) -> None:
        """Let a subscriber be seen; one that is seen already may show other data."""

    def leave(self, channel: str, client: str) -> None:
        """Let a subscriber be seen no more, if it was."""

    async def members(self, channel: str) -> tuple[int, list[Member]]:
        """Return how many members a channel has, and as many of them as are listed.

        Raises:
            CallError: `unavailable`.
        """

    async def sweep(self) -> None:
        """Take away who has gone without a word, with another server.

        Raises:
            Exception: That cannot be done now.
        """


class LocalPresence:
    """Knows who is there on this server.

    Args:
        changed: Called when somebody comes or goes.
        most: Members that are listed.
    """

    def __init__(self, changed: Changed, most: int) -> None:
        self._changed = changed
        self._most = most
        self._members: defaultdict[str, dict[str, Member]] = defaultdict(dict)

    def enter(self, channel: str, member: Member) -> None:
        """Let a subscriber be seen."""
        there = self._members[channel]
        new = member.client not in there
        there[member.client] = member
        if new and len(there) <= self._most:
            self._changed(channel, "join", member)

    def leave(self, channel: str, client: str) -> None:
        """Let a subscriber be seen no more, if it was."""
        there = self._members.get(channel, {})
        member = there.pop(client, None)
        if member is None:
            return
        if not there:
            del self._members[channel]
        if len(there) <= self._most:
            self._changed(channel, "leave", member)

    async def members(self, channel: str) -> tuple[int, list[Member]]:
        """Return how many members a channel has, and as many of them as are listed."""
        there = self._members.get(channel, {})
        return len(there), list(islice(there.values(), self._most))

    async def sweep(self) -> None:
        """Do nothing: here nobody goes without a word."""
