"""One channel as this server's subscribers have it: each gets every publication once, and in order.

A subscriber is *live* when it has all that was published: the next publication goes to all of these at once. One that
is not is brought up to date by a task of its own, which reads from the store at the pace of the client; when it has got
the newest it is live. Who has missed what cannot be read any more is told so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

from jackfield import CallError, Client, Json, Kernel, Position
from jackfield_channels.settings import Rule
from jackfield_channels.store import MANY, Publication, Store

PUBLISHED: Final = "channel"
MISSED: Final = "missed"
PRESENCE: Final = "presence"
"""The Socket.IO events that subscribers get."""
_HELD: Final = 100
"""Publications that wait with a subscription for its reply."""


class Member:
    """A subscriber as others see it.

    Args:
        client: Its connection's id.
        user: Who it is, if that is known.
        data: What it shows of itself.
    """

    __slots__ = ("client", "data", "user")

    def __init__(self, client: str, user: str | None, data: Any) -> None:
        self.client = client
        self.user = user
        self.data = data


class Subscription:
    """A client's subscription to one channel.

    Args:
        client: The client.
        channel: The channel.

    Attributes:
        position: Up to where the client has got everything, as long as it is not live.
        held: What was published since it was asked for, until the client is told that it has it.
        task: What brings it up to date.
    """

    __slots__ = ("channel", "client", "held", "position", "task")

    def __init__(self, client: Client, channel: Channel) -> None:
        self.client = client
        self.channel = channel
        self.position: Position
        self.held: list[tuple[Position, Json]] = []
        self.task: asyncio.Task[None] | None = None

    @property
    def current(self) -> bool:
        """Whether no other one has taken its place, and it was not ended."""
        return self.channel.subscriptions.get(self.client.id) is self

    def begin(self) -> None:
        """Send the client what it does not have: it was told that it is subscribed."""
        if self.current:
            self.channel.begin(self)

    def drop(self) -> None:
        """End it."""
        if self.current:
            self.channel.remove(self)


class Channel:
    """One channel that has subscribers here.

    Args:
        name: Its name.
        rule: What holds for it.
        kernel: What sends.
        store: What keeps it.
        empty: Called with the name when the last subscriber has gone.
        most: Subscribers among whom it is told who comes and goes.

    Attributes:
        position: That of the newest publication, as far as this server knows.
        subscriptions: All of them, by the ids of clients.
        members: Who is there, by the ids of clients.
    """

    def __init__(
        self, name: str, rule: Rule, kernel: Kernel, store: Store, empty: Callable[[str], None], most: int
    ) -> None:
        self.name = name
        self.rule = rule
        self.store = store
        self.position: Position | None = None
        self.subscriptions: dict[str, Subscription] = {}
        self.members: dict[str, Member] = {}
        self._kernel = kernel
        self._empty = empty
        self._most = most
        self._live: dict[str, Subscription] = {}
        self._waiting: dict[str, Subscription] = {}

    def add(self, client: Client) -> Subscription:
        """Subscribe a client, in the place of what it had; it gets nothing before it begins."""
        if (before := self.subscriptions.get(client.id)) is not None:
            self._forget(before)
        subscription = Subscription(client, self)
        self.subscriptions[client.id] = self._waiting[client.id] = subscription
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """End a subscription."""
        client = subscription.client.id
        self._forget(subscription)
        del self.subscriptions[client]
        if (member := self.members.pop(client, None)) is not None:
            self._announce("leave", member)
        if not self.subscriptions:
            self._empty(self.name)

    def enter(self, member: Member) -> None:
        """Let a subscriber be seen; one that is seen already may show other data."""
        new = member.client not in self.members
        self.members[member.client] = member
        if new:
            self._announce("join", member)

    def know(self, position: Position) -> None:
        """Take note of how far the channel is."""
        known = self.position
        if known is None or known.epoch != position.epoch or known.offset < position.offset:
            self.position = position

    def begin(self, subscription: Subscription) -> None:
        """Send a client what it does not have."""
        self._waiting.pop(subscription.client.id, None)
        at = subscription.position
        held = [(position, message) for position, message in subscription.held if position.offset > at.offset]
        subscription.held = []
        newest = held[-1][0] if held else at
        if newest == self.position and newest == Position(at.offset + len(held), at.epoch):
            for _, message in held:
                self._kernel.send(PUBLISHED, message, [subscription.client.id])
            self._live[subscription.client.id] = subscription
        else:
            self._bring_up(subscription)

    def advance(self, publication: Publication, message: Json) -> Iterable[str]:
        """Take a publication, and return the clients that are to be sent it now."""
        before, at = self.position, publication.position
        if before is not None and before.epoch == at.epoch and at.offset <= before.offset:
            return ()
        self.position = at
        for subscription in self._waiting.values():
            if len(subscription.held) < _HELD:
                subscription.held.append((at, message))
        if before is not None and before.epoch == at.epoch and at.offset != before.offset + 1:
            for client in list(self._live):
                self._lag(client, before)
        return self._live

    def skipped(self, client: str, position: Position) -> None:
        """Take note that a client was left out when a publication went to those who are live."""
        self._lag(client, Position(position.offset - 1, position.epoch))

    def _lag(self, client: str, position: Position) -> None:
        subscription = self._live.pop(client)
        subscription.position = position
        self._bring_up(subscription)

    def _bring_up(self, subscription: Subscription) -> None:
        subscription.task = asyncio.create_task(self._catch_up(subscription), name="channels-catch-up")

    async def _catch_up(self, subscription: Subscription) -> None:
        client = subscription.client
        while True:
            await client.drained()
            if subscription.position == self.position:
                self._live[client.id] = subscription
                subscription.task = None
                return
            publications = await self._after(subscription.position)
            if not publications:
                self._miss(subscription)
            for publication in publications:
                await client.drained()
                self._kernel.send(PUBLISHED, encode(publication), [client.id])
                subscription.position = publication.position
            await asyncio.sleep(0)

    async def _after(self, position: Position) -> list[Publication]:
        """Return publications after a position, without a hole; none where they cannot be read."""
        try:
            page = await self.store.read(self.name, position.offset, MANY)
        except CallError:
            return []
        return page.publications if page.state.reaches(position) else []

    def _miss(self, subscription: Subscription) -> None:
        """Tell a client that it has missed something, and go on after the newest."""
        had, now = subscription.position, self.position
        if now is None:  # which it is for nobody who has subscribed
            return
        missed = now.offset - had.offset if had.epoch == now.epoch else None
        told = {"channel": self.name, "epoch": now.epoch, "offset": now.offset, "missed": missed}
        self._kernel.send(MISSED, told, [subscription.client.id])
        subscription.position = now

    def _forget(self, subscription: Subscription) -> None:
        self._live.pop(subscription.client.id, None)
        self._waiting.pop(subscription.client.id, None)
        if subscription.task is not None:
            subscription.task.cancel()

    def _announce(self, event: str, member: Member) -> None:
        if self.rule.joins and len(self.members) <= self._most:
            told = {
                "channel": self.name,
                "event": event,
                "client": member.client,
                "user": member.user,
                "data": member.data,
            }
            others = [client for client in self._live if client != member.client]
            self._kernel.send(PRESENCE, told, others, volatile=True)


def encode(publication: Publication) -> Json:
    """Return the argument of the event that tells of a publication."""
    at, data = publication.position, publication.data
    text = b'{"channel":"%b","offset":%d,"epoch":"%b","data":%b}' % (
        publication.channel.encode(),
        at.offset,
        at.epoch.encode(),
        data.text,
    )
    return Json(text, data.buffers)
