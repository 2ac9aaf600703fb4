"""One channel as this server's subscribers have it: each gets every publication once, and in order.

A subscriber is *live* when it has all that was published: the next publication goes to all of these at once. One that
is not is brought up to date by a task of its own, which reads from the store at the pace of the client; when it has got
the newest it is live. Who has missed what cannot be read any more is told so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from jackfield import CallError, Client, Json, Kernel, Position
from jackfield_channels.presence import Change, Member
from jackfield_channels.settings import Rule
from jackfield_channels.store import MANY, Publication, Store

PUBLISHED: Final = "channel"
MISSED: Final = "missed"
PRESENCE: Final = "presence"
"""The Socket.IO events that subscribers get."""
_HELD: Final = 100
"""Publications that wait with a subscription for its reply."""
_AGAIN: Final = 0.5
"""Seconds after which a store that could not be read is tried again."""


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
        gone: Called with the client's id when a subscription has ended.

    Attributes:
        position: That of the newest publication, as far as this server knows.
        subscriptions: All of them, by the ids of clients.
    """

    def __init__(
        self, name: str, rule: Rule, kernel: Kernel, store: Store, gone: Callable[[Channel, str], None]
    ) -> None:
        self.name = name
        self.rule = rule
        self.store = store
        self.position: Position | None = None
        self.subscriptions: dict[str, Subscription] = {}
        self._kernel = kernel
        self._gone = gone
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
        self._gone(self, client)

    def announce(self, change: Change, member: Member) -> None:
        """Tell those who are live who has come or gone."""
        told = {
            "channel": self.name,
            "event": change,
            "client": member.client,
            "user": member.user,
            "data": member.data,
        }
        others = [client for client in self._live if client != member.client]
        self._kernel.send(PRESENCE, told, others, volatile=True)

    def know(self, position: Position) -> None:
        """Take note of how far the channel is; who has not got all of that is brought up to date."""
        before = self.position
        if before is not None and before.epoch == position.epoch and before.offset >= position.offset:
            return
        self.position = position
        if before is not None:
            self._lag_all(before)

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
        if before is not None and at != Position(before.offset + 1, before.epoch):
            self._lag_all(before)
        return self._live

    def skipped(self, client: str, position: Position) -> None:
        """Take note that a client was left out when a publication went to those who are live."""
        self._lag(client, Position(position.offset - 1, position.epoch))

    def _lag_all(self, position: Position) -> None:
        for client in list(self._live):
            self._lag(client, position)

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
            try:
                publications = await self._after(subscription.position)
            except CallError:
                await asyncio.sleep(_AGAIN)
                continue
            if not publications:
                self._miss(subscription)
            for publication in publications:
                await client.drained()
                self._kernel.send(PUBLISHED, encode(publication), [client.id])
                subscription.position = publication.position
            await asyncio.sleep(0)

    async def _after(self, position: Position) -> list[Publication]:
        """Return publications after a position, without a hole; none where they are not there any more.

        None of them is newer than what this server was told of: these are still to come.
        """
        page = await self.store.read(self.name, position.offset, MANY)
        now = self.position
        if now is None or not page.state.reaches(position):
            return []
        return [one for one in page.publications if one.position.offset <= now.offset]

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
