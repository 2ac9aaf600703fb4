"""Subscriptions to patterns: from the reply on, whatever is published to any channel that one stands for.

They have no position, and so no recovery: who misses something is told how much.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Container

from jackfield import Client, Kernel
from jackfield_channels.channel import MISSED
from jackfield_channels.names import patterns_of


class Patterned:
    """A client's subscription to a pattern.

    Args:
        client: The client.
        pattern: The pattern.
        patterns: All of them.

    Attributes:
        missed: How much the client has missed since it does not keep up, which it was not told yet.
        interrupted: Whether it may have missed more than that, of which nobody knows.
        task: What tells it.
        current: Whether it was not ended.
    """

    __slots__ = ("_patterns", "client", "current", "interrupted", "missed", "pattern", "task")

    def __init__(self, client: Client, pattern: str, patterns: Patterns) -> None:
        self.client = client
        self.pattern = pattern
        self.missed = 0
        self.interrupted = False
        self.task: asyncio.Task[None] | None = None
        self.current = True
        self._patterns = patterns

    def begin(self) -> None:
        """Send the client what is published from now on."""
        if self.current:
            self._patterns.add(self)

    def drop(self) -> None:
        """End it."""
        self.current = False
        self._patterns.remove(self)
        if self.task is not None:
            self.task.cancel()


class Patterns:
    """All subscriptions to patterns of this server.

    Args:
        kernel: What sends.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._by: defaultdict[str, dict[str, Patterned]] = defaultdict(dict)

    def add(self, subscription: Patterned) -> None:
        """Let a subscription have what is published."""
        self._by[subscription.pattern][subscription.client.id] = subscription

    def remove(self, subscription: Patterned) -> None:
        """Let it have no more."""
        found = self._by.get(subscription.pattern, {})
        if found.get(subscription.client.id) is subscription:
            del found[subscription.client.id]
            if not found:
                del self._by[subscription.pattern]

    def of(self, channel: str, but: Container[str]) -> dict[str, Patterned]:
        """Return who is to be sent a publication now, each once, by the ids of clients.

        Args:
            channel: Where it was published.
            but: The clients that are subscribed to the channel itself.
        """
        found: dict[str, Patterned] = {}
        if self._by:
            for pattern in patterns_of(channel):
                found.update(self._by.get(pattern, {}))
        for client, subscription in list(found.items()):
            if client in but:
                del found[client]
            elif subscription.missed:
                subscription.missed += 1
                del found[client]
        return found

    def skipped(self, subscription: Patterned) -> None:
        """Take note that a client was left out."""
        subscription.missed = 1
        self._begin_to_tell(subscription)

    def interrupted(self) -> None:
        """Take note that nobody knows what was published for a while."""
        for found in self._by.values():
            for subscription in found.values():
                subscription.interrupted = True
                self._begin_to_tell(subscription)

    def _begin_to_tell(self, subscription: Patterned) -> None:
        if subscription.task is None:
            subscription.task = asyncio.create_task(self._tell(subscription), name="channels-missed")

    async def _tell(self, subscription: Patterned) -> None:
        await subscription.client.drained()
        missed = None if subscription.interrupted else subscription.missed
        told = {"channel": subscription.pattern, "epoch": None, "offset": None, "missed": missed}
        self._kernel.send(MISSED, told, [subscription.client.id])
        subscription.missed = 0
        subscription.interrupted = False
        subscription.task = None
