"""The functions of `api.channels`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

from jackfield import Call, CallError, Client, Code, EncodeError, Position, Service
from jackfield_channels import messages
from jackfield_channels.channel import MISSED, PRESENCE, PUBLISHED
from jackfield_channels.hub import Hub
from jackfield_channels.messages import (
    Entry,
    History,
    HistoryRequest,
    Presence,
    PresenceRequest,
    Published,
    PublishRequest,
    Since,
    Subscribed,
    SubscribeRequest,
    UnsubscribeRequest,
)
from jackfield_channels.names import check_name, check_name_or_pattern, is_pattern
from jackfield_channels.presence import Member

_ALWAYS: Final = (Code.INVALID_ARGUMENT, Code.PERMISSION_DENIED, Code.UNAVAILABLE)


def make_service(opened: Callable[[Call], Hub], max_member: int) -> Service:
    """Return the service.

    Args:
        opened: Tells which channels a call is about.
        max_member: Bytes that a subscriber may show of itself.
    """
    service = Service("api.channels")

    @service.function(
        requires=(),
        errors=[*_ALWAYS, Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED, Code.ABORTED],
        emits={PUBLISHED: messages.Publication, MISSED: messages.Missed, PRESENCE: messages.PresenceChange},
    )
    async def subscribe(call: Call, data: SubscribeRequest) -> Subscribed:
        """Subscribe to a channel, or to all that a pattern stands for; a second time is in the place of the first.

        Publications come as the event `channel`, after this is answered; first those that were missed.
        """
        hub, client = opened(call), _client(call)
        check_name_or_pattern(data.channel)
        _check_shown(call, data.data, max_member)
        if is_pattern(data.channel) and data.since is not None:
            raise CallError(Code.INVALID_ARGUMENT, "A pattern has no position: leave since out.")
        await hub.rules.check(call, "subscribe", data.channel)
        if is_pattern(data.channel):
            _when_over(hub.subscribe_all(client, data.channel).begin)
            return Subscribed(epoch=None, offset=None)
        member = Member(client.id, None if call.principal is None else call.principal.id, data.data)
        joined = await hub.subscribe(client, data.channel, member, _position(data.since))
        _when_over(joined.subscription.begin)
        at = joined.position
        return Subscribed(epoch=at.epoch, offset=at.offset, recovered=joined.recovered, replayed=joined.replayed)

    @service.function(requires=(), errors=[Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION])
    async def unsubscribe(call: Call, data: UnsubscribeRequest) -> None:
        """End a subscription; nothing is sent of it any more."""
        await opened(call).unsubscribe(_client(call).id, data.channel)

    @service.function(requires=(), errors=[*_ALWAYS, Code.RESOURCE_EXHAUSTED])
    async def publish(call: Call, data: PublishRequest) -> Published:
        """Publish to a channel; when this is answered, it is stored, as far as the channel has history."""
        check_name(data.channel)
        await opened(call).rules.check(call, "publish", data.channel)
        try:
            at = await call.kernel.publish(data.channel, data.data, id=data.id)
        except EncodeError as error:
            raise CallError(Code.INVALID_ARGUMENT, f"The data cannot be sent to every client: {error}.") from None
        return Published(epoch=at.epoch, offset=at.offset)

    @service.function(requires=(), errors=[*_ALWAYS, Code.OUT_OF_RANGE, Code.RESOURCE_EXHAUSTED])
    async def history(call: Call, data: HistoryRequest) -> History:
        """Read publications of a channel that are kept."""
        hub = opened(call)
        check_name(data.channel)
        await hub.rules.check(call, "subscribe", data.channel)
        page = await hub.history(data.channel, _position(data.since), data.limit, reverse=data.reverse)
        entries = [Entry(offset=one.position.offset, data=one.data.value()) for one in page.publications]
        last = page.state.floor + 1 if data.reverse else page.state.top
        return History(
            epoch=page.state.epoch,
            offset=page.state.top,
            publications=entries,
            more=bool(entries) and entries[-1].offset != last,
        )

    @service.function(requires=(), errors=[*_ALWAYS, Code.FAILED_PRECONDITION])
    async def presence(call: Call, data: PresenceRequest) -> Presence:
        """Tell who is subscribed to a channel."""
        hub = opened(call)
        check_name(data.channel)
        await hub.rules.check(call, "subscribe", data.channel)
        count, members = await hub.members(data.channel)
        listed = [messages.Member(client=one.client, user=one.user, data=one.data) for one in members]
        return Presence(count=count, members=listed)

    return service


def _client(call: Call) -> Client:
    if call.client is None:
        raise CallError(Code.FAILED_PRECONDITION, "Only a client can be subscribed, and none has made this call.")
    return call.client


def _position(since: Since | None) -> Position | None:
    return None if since is None else Position(since.offset, since.epoch)


def _when_over(then: Callable[[], None]) -> None:
    """Do something when the call is over, and its reply on its way."""
    task = asyncio.current_task()
    if task is not None:  # as it is for every function that may wait
        task.add_done_callback(lambda _: then())


def _check_shown(call: Call, data: Any, limit: int) -> None:
    """Refuse what a subscriber cannot show of itself."""
    try:
        call.kernel.send(PRESENCE, data, ())
        size = len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())
    except (EncodeError, TypeError) as error:
        raise CallError(
            Code.INVALID_ARGUMENT, f"What others are to see is no JSON that can be sent: {error}."
        ) from None
    if size > limit:
        raise CallError(
            Code.RESOURCE_EXHAUSTED,
            f"What others are to see has {size:,} bytes, and may have {limit:,} (plugins.channels.max_member).",
        )
