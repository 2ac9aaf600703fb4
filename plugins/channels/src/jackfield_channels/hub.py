"""All channels of one server: what a caller may ask of them, within the limits of the settings."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from jackfield import CallError, Client, Code, Json, Kernel, Position
from jackfield_channels.channel import PUBLISHED, Channel, Subscription, encode
from jackfield_channels.memory_store import MemoryStore
from jackfield_channels.names import check_name, check_name_or_pattern
from jackfield_channels.patterns import Patterned, Patterns
from jackfield_channels.presence import Change, LocalPresence, Member, Presence
from jackfield_channels.rules import Rules
from jackfield_channels.settings import ChannelsSettings, Rule
from jackfield_channels.sqlite_store import SqliteStore
from jackfield_channels.store import MAX_BUFFERS, Bounds, Keep, Page, Publication, State, Store, bytes_of

log: Final = logging.getLogger(__name__)

_SWEEP: Final = 5.0
"""Seconds between two looks for what is too old; it is gone for callers as soon as its time is over."""

_QUIET: Final = 60.0
"""Seconds between two lines in the log about channels that have another epoch."""

_AnySubscription: TypeAlias = Subscription | Patterned


@dataclass(frozen=True, slots=True)
class Joined:
    """A subscription that was made.

    Args:
        subscription: It; `begin` is to be called when the client knows of it.
        position: Where the channel is.
        recovered: Whether the client gets all that it missed; None where it did not ask.
        replayed: How many publications that is.
    """

    subscription: Subscription
    position: Position
    recovered: bool | None = None
    replayed: int = 0


class Hub:
    """The channels, their stores and their broom, from `open` to `close`.

    Args:
        kernel: What sends.
        settings: The plugin's settings.

    Attributes:
        rules: Who may do what.
    """

    def __init__(self, kernel: Kernel, settings: ChannelsSettings) -> None:
        self.rules = Rules(settings.rules)
        self._kernel = kernel
        self._settings = settings
        self._channels: dict[str, Channel] = {}
        self._patterns = Patterns(kernel)
        self._own: dict[str, dict[str, _AnySubscription]] = {}
        self._brief: Store
        self._kept: Store
        self._presence: Presence
        self._quiet_until = 0.0
        self._refused: Callable[[], int] = lambda: 0
        self._choose()
        self._sweeping: asyncio.Task[None]

    def _choose(self) -> None:
        """Choose what keeps channels: those with history, and those of which only the count is known."""
        settings = self._settings
        bounds = Bounds(settings.max_channels, settings.quota, settings.remember, settings.dedup)
        if settings.store == "redis":
            from jackfield_channels.redis_engine import RedisEngine  # noqa: PLC0415 - who has one server needs no Redis

            engine = RedisEngine(
                settings, bounds, self._followed, self._moved, self._changed, self._patterns.interrupted
            )
            self._brief = self._kept = engine.store
            self._presence = engine.presence
            self._refused = lambda: engine.refused
            return
        used = self._channels.__contains__
        in_file = settings.store == "sqlite" and self.rules.keep_history
        self._brief = MemoryStore(bounds, used)
        self._kept = SqliteStore(settings.path, bounds, used) if in_file else self._brief
        self._presence = LocalPresence(self._changed, settings.max_members)

    async def open(self) -> None:
        """Open the stores.

        Raises:
            OSError, sqlite3.Error: The file cannot be used.
        """
        for store in self._stores:
            await store.open(self._told)
        self._sweeping = asyncio.create_task(self._sweep(), name="channels-sweep")

    async def close(self) -> None:
        """End what runs, and close the stores."""
        self._sweeping.cancel()
        await asyncio.wait([self._sweeping])
        for client in list(self._own):
            self.left(client)
        for store in self._stores:
            await store.close()

    def trouble(self) -> str | None:
        """Tell why a store cannot be used, if that is so."""
        return self._kept.trouble()

    def refused(self) -> int:
        """Tell how much came from Redis that is none of our servers'."""
        return self._refused()

    async def subscribe(self, client: Client, name: str, member: Member, since: Position | None) -> Joined:
        """Subscribe a client to a channel; a second time is in the place of the first.

        Args:
            client: The client.
            name: The channel.
            member: The client as others see it.
            since: Up to where it has everything, if it has been there before.

        Raises:
            CallError: `resource_exhausted`: there are too many channels, or subscriptions of this client; `aborted`: it
                was ended meanwhile; `unavailable`.
        """
        self._check_room(client, name)
        channel = self._channel(name)
        subscription = channel.add(client)
        self._own.setdefault(client.id, {})[name] = subscription
        try:
            state = await channel.store.state(name)
        except BaseException:
            self._end(subscription, name)
            raise
        if client.id not in channel.subscriptions:
            raise CallError(Code.ABORTED, f"The subscription to {name!r} was ended before it began.")
        top = Position(state.top, state.epoch)
        if channel.position is None:  # else it may be further by now
            channel.know(top)
        subscription.position = top
        if channel.rule.presence or channel.rule.joins:
            self._presence.enter(name, member)
        if since is None:
            return Joined(subscription, top)
        if not state.reaches(since):
            return Joined(subscription, top, recovered=False)
        subscription.position = since
        return Joined(subscription, top, recovered=True, replayed=top.offset - since.offset)

    def subscribe_all(self, client: Client, pattern: str) -> Patterned:
        """Subscribe a client to a pattern; a second time the first one goes on.

        Raises:
            CallError: `resource_exhausted`: this client has too many subscriptions.
        """
        self._check_room(client, pattern)
        own = self._own.setdefault(client.id, {})
        subscription = own.get(pattern)
        if not isinstance(subscription, Patterned):
            subscription = own[pattern] = Patterned(client, pattern, self._patterns)
        return subscription

    async def unsubscribe(self, client: str, name: str) -> None:
        """End a client's subscription; nothing happens if it has none.

        This is a coroutine so that the call of it does not run before those of `subscribe` that have come earlier.

        Raises:
            CallError: `invalid_argument`: that is no name.
        """
        check_name_or_pattern(name)
        if (subscription := self._own.get(client, {}).get(name)) is not None:
            self._end(subscription, name)

    def left(self, client: str) -> None:
        """End all subscriptions of a client that has gone."""
        for subscription in self._own.pop(client, {}).values():
            subscription.drop()

    async def publish(self, name: str, data: Json, id: str | None) -> Position:
        """Publish to a channel, and return where that stands.

        Raises:
            CallError: `invalid_argument`: that is no name, or there are too many Buffers; `resource_exhausted`: it is
                too large, or there are too many channels; `unavailable`.
        """
        check_name(name)
        if len(data.buffers) > MAX_BUFFERS:
            raise CallError(
                Code.INVALID_ARGUMENT,
                f"The publication has {len(data.buffers):,} Buffers, and may have {MAX_BUFFERS}: make one of several.",
            )
        if (size := bytes_of(data)) > self._settings.max_data:
            raise CallError(
                Code.RESOURCE_EXHAUSTED,
                f"The publication has {size:,} bytes, and may have {self._settings.max_data:,}"
                " (plugins.channels.max_data).",
            )
        rule = self.rules.of(name)
        return await self._store(rule).append(name, data, Keep(rule.history, rule.ttl), id)

    async def history(self, name: str, since: Position | None, limit: int, *, reverse: bool) -> Page:
        """Return publications of a channel: those after a position, or with `reverse` those before it, newest first.

        Raises:
            CallError: `out_of_range`: not all after the position are there any more, or it is of another epoch.
        """
        store = self._store(self.rules.of(name))
        if reverse:
            page = await store.read_back(name, 2**53 if since is None else since.offset, limit)
            there = since is None or (since.epoch == page.state.epoch and since.offset <= page.state.top + 1)
        else:
            page = await store.read(name, 0 if since is None else since.offset, limit)
            there = since is None or page.state.reaches(since)
        if since is not None and not there:
            raise _out_of_range(name, since, page.state)
        return page

    async def members(self, name: str) -> tuple[int, list[Member]]:
        """Return how many subscribers a channel has that can be seen, and as many of them as are listed.

        Raises:
            CallError: `failed_precondition`: its subscribers are not seen; `unavailable`.
        """
        if not self.rules.of(name).presence:
            raise CallError(
                Code.FAILED_PRECONDITION,
                f"Nobody can see who is in {name!r}: set presence in its rule in plugins.channels.rules.",
            )
        return await self._presence.members(name)

    @property
    def _stores(self) -> Iterable[Store]:
        return [self._brief] if self._kept is self._brief else [self._brief, self._kept]

    def _store(self, rule: Rule) -> Store:
        return self._kept if rule.history else self._brief

    def _channel(self, name: str) -> Channel:
        channel = self._channels.get(name)
        if channel is None:
            rule = self.rules.of(name)
            channel = Channel(name, rule, self._kernel, self._store(rule), self._gone)
            self._channels[name] = channel
        return channel

    def _gone(self, channel: Channel, client: str) -> None:
        self._presence.leave(channel.name, client)
        if not channel.subscriptions:
            del self._channels[channel.name]

    def _followed(self) -> dict[str, Position | None]:
        return {name: channel.position for name, channel in self._channels.items()}

    def _moved(self, name: str, position: Position) -> None:
        channel = self._channels.get(name)
        if channel is None or channel.position is None:
            return
        now = time.monotonic()
        if channel.position.epoch != position.epoch and now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            log.warning(
                "Redis has lost what it had of %s and maybe of others, or went back to an older copy: "
                "they have another epoch, which their subscribers are told",
                name,
            )
        channel.know(position)

    def _changed(self, name: str, change: Change, member: Member) -> None:
        channel = self._channels.get(name)
        if channel is not None and channel.rule.joins:
            channel.announce(change, member)

    def _check_room(self, client: Client, name: str) -> None:
        own = self._own.get(client.id, {})
        if not client.connected:
            raise CallError(Code.UNAVAILABLE, "The client has gone.")
        if name not in own and len(own) >= self._settings.max_subscriptions:
            raise CallError(
                Code.RESOURCE_EXHAUSTED,
                f"The connection has {len(own):,} subscriptions, and may have no more"
                " (plugins.channels.max_subscriptions).",
            )

    def _end(self, subscription: _AnySubscription, name: str) -> None:
        own = self._own.get(subscription.client.id, {})
        if own.get(name) is subscription:
            del own[name]
            if not own:
                del self._own[subscription.client.id]
        subscription.drop()

    def _told(self, publication: Publication) -> None:
        """Send a publication to those who are to have it; encoded once, however many they are."""
        name = publication.channel
        channel = self._channels.get(name)
        message = encode(publication)
        clients = channel.advance(publication, message) if channel else ()
        patterned = self._patterns.of(name, channel.subscriptions if channel else ())
        if not clients and not patterned:
            return
        rule = channel.rule if channel else self.rules.of(name)
        everybody = [*clients, *patterned] if patterned else clients
        for client in self._kernel.send(PUBLISHED, message, everybody, volatile=rule.slow == "skip"):
            if client in patterned:
                self._patterns.skipped(patterned[client])
            elif channel:
                channel.skipped(client, publication.position)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP)
            keepers: list[Store | Presence] = [*self._stores, self._presence]
            for keeper in keepers:
                try:
                    await keeper.sweep()
                except CallError:
                    pass  # the log has it
                except Exception:
                    log.exception("what is too old could not be removed")


def _out_of_range(name: str, since: Position, state: State) -> CallError:
    if since.epoch != state.epoch:
        why = f"the epoch is {state.epoch} now: what was before is lost"
    elif since.offset > state.top:
        why = f"the newest offset is {state.top}"
    else:
        why = f"publications up to the offset {state.floor} are not kept any more"
    return CallError(
        Code.OUT_OF_RANGE, f"The history of {name!r} cannot begin at {since.offset} of {since.epoch[:20]!r}: {why}."
    )
