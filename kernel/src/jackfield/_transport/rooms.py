"""Rooms, on python-socketio's managers: a broadcast is encoded once, and the same bytes go to every client here.

`local(manager)` makes a manager of any kind deliver in this way: what it has from other servers it passes on to the
local clients by `emit` of python-socketio's basic manager, whose place `LocalDelivery` takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from contextvars import ContextVar
from typing import Any, Final, TypeAlias, cast

from socketio.async_manager import AsyncManager
from socketio.async_pubsub_manager import AsyncPubSubManager

from jackfield import _json
from jackfield._transport import packet
from jackfield._transport.engine import Engine
from jackfield._transport.message import Message

Room: TypeAlias = str | Sequence[str] | None

_volatile: Final[ContextVar[bool]] = ContextVar("volatile", default=False)
"""Whether what is on its way through a manager's own methods, which know nothing of it, is volatile."""


class LocalDelivery(AsyncManager):  # type: ignore[misc]  # python-socketio is untyped
    """Rooms of this process.

    Attributes:
        next_ack: Returns the number under which a client is to answer a request.
    """

    next_ack: Callable[[str], int]

    async def emit(
        self,
        event: str,
        data: Any,
        namespace: str,
        room: Room = None,
        skip_sid: str | list[str] | None = None,
        callback: Callable[..., object] | None = None,
        to: Room = None,
        *,
        volatile: bool = False,
        **kwargs: Any,
    ) -> None:
        """Send an event to the clients of a room, or to all; a tuple is several arguments.

        None is no argument, as python-socketio has it, save in the dispatcher's namespace, whose events have one: a
        manager that passes an event on does not tell the two apart.

        Raises:
            EncodeError: The data cannot be sent.
        """
        if callback is not None:  # every client needs an id of its own, so nothing can be shared
            await super().emit(event, data, namespace, room, skip_sid, callback, to, **kwargs)
            return
        if data is None and not self.server.dispatches(namespace):
            data = ()
        arguments = data if isinstance(data, tuple) else (data,)
        encoded = packet.emission(_json.dumps([event, *arguments]), namespace)
        volatile = volatile or _volatile.get()
        await self.deliver(Message(*encoded), namespace, to or room, skip_sid, volatile=volatile)

    async def deliver(
        self,
        message: Message,
        namespace: str,
        room: Room = None,
        skip_sid: str | list[str] | None = None,
        *,
        volatile: bool = False,
    ) -> None:
        """Send a message to the clients of a room here, or to all that are here."""
        engine: Engine = self.server.eio
        skipped = skip_sid if isinstance(skip_sid, list) else [skip_sid]
        congested = False
        for sid, eio_sid in self.get_participants(namespace, room):
            peer = engine.sockets.get(eio_sid)
            if peer is not None and sid not in skipped:
                peer.offer(message, volatile=volatile)
                congested = congested or peer.congested
        if congested:  # who broadcasts without a pause would leave the event loop no time to write
            await asyncio.sleep(0)

    def basic_enter_room(self, sid: str, namespace: str, room: Hashable, eio_sid: str | None = None) -> None:
        """Put a client into a room, and remember which: python-socketio would look through every room there is."""
        super().basic_enter_room(sid, namespace, room, eio_sid=eio_sid)
        if room is not None and room != sid:
            self._joined.setdefault((namespace, sid), set()).add(room)

    def basic_leave_room(self, sid: str, namespace: str, room: Hashable) -> None:
        """Take a client out of a room."""
        super().basic_leave_room(sid, namespace, room)
        joined = self._joined.get((namespace, sid))
        if joined is not None:
            joined.discard(room)
            if not joined:
                del self._joined[namespace, sid]

    def basic_disconnect(self, sid: str, namespace: str, **kwargs: Any) -> None:
        """Take a client out of all its rooms."""
        for room in (*self._joined.pop((namespace, sid), ()), sid, None):
            super().basic_leave_room(sid, namespace, room)
        self.callbacks.pop(sid, None)
        for pending in (self.pending_connect, self.pending_disconnect):
            if sid in pending.get(namespace, ()):
                pending[namespace].remove(sid)

    @property
    def _joined(self) -> dict[tuple[str, str], set[Hashable]]:
        found: dict[tuple[str, str], set[Hashable]] = self.__dict__.setdefault("_jackfield_joined", {})
        return found

    def _generate_ack_id(self, sid: str, callback: Callable[..., object]) -> int:
        # One count of ids for each client, whoever asks it.
        number = self.next_ack(sid)
        self.callbacks.setdefault(sid, {})[number] = callback
        return number


class _Volatile(AsyncPubSubManager):  # type: ignore[misc]  # python-socketio is untyped
    """Tells the other servers of an event that it is volatile."""

    async def emit(self, *args: Any, volatile: bool = False, **kwargs: Any) -> None:
        before = _volatile.set(volatile)
        try:
            await super().emit(*args, **kwargs)
        finally:
            _volatile.reset(before)

    async def _publish(self, data: dict[str, Any]) -> None:
        if _volatile.get():
            data = {**data, "volatile": True}
        await super()._publish(data)

    async def _handle_emit(self, message: dict[str, Any]) -> None:
        before = _volatile.set(_volatile.get() or message.get("volatile") is True)
        try:
            await super()._handle_emit(message)
        finally:
            _volatile.reset(before)


def local(manager: AsyncManager) -> LocalDelivery:
    """Return the manager, changed to deliver to the clients of this process in our way."""
    kind = type(manager)
    bases: tuple[type, ...] = (LocalDelivery,) if kind is AsyncManager else (kind, LocalDelivery)
    if isinstance(manager, AsyncPubSubManager):
        bases = (_Volatile, *bases)
    manager.__class__ = type(kind.__name__, bases, {})
    return cast(LocalDelivery, manager)
