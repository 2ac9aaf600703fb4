"""The border to python-socketio, and with `rooms` the one place that touches what it does not promise.

python-socketio keeps the rooms and the client managers, and serves what its own handlers are registered for. The
Engine.IO sessions are ours (`engine`), and so is the reading of packets (`link`): events for the dispatcher never pass
through python-socketio, whose own handlers leave exceptions and unknown events unanswered.

`tests/interop/test_border.py` fails when a release moves what is used here.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, NoReturn

from socketio.async_manager import AsyncManager
from socketio.async_server import AsyncServer

from jackfield._dispatch import Dispatcher
from jackfield._errors import CallError, Code, StartError
from jackfield._identity import Handshake
from jackfield._json import Json
from jackfield._session import Session
from jackfield._settings import Limits, ServerSettings
from jackfield._throttle import QUIET
from jackfield._transport import packet
from jackfield._transport.engine import Engine
from jackfield._transport.link import NAMESPACE, Link
from jackfield._transport.message import Message
from jackfield._transport.meter import make_link
from jackfield._transport.namespaces import Namespaces
from jackfield._transport.packet import Ack, PacketError
from jackfield._transport.peer import Peer
from jackfield._transport.rooms import LocalDelivery, local
from jackfield._transport.wire import Traffic

_DISCONNECT: Final = b"41"
_FAREWELL: Final = 1.0
"""Seconds that the client manager's tasks have to end once they are told to."""


class Border(AsyncServer):  # type: ignore[misc]  # python-socketio is untyped
    """python-socketio's server on our sessions.

    Args:
        settings: Where the server listens, and to whom.
        limits: The limits of the protocol.
        namespaces: The namespaces that handlers of python-socketio's serve, where the dispatcher is not all there is.
    """

    manager: LocalDelivery
    eio: Engine

    def __init__(self, settings: ServerSettings, limits: Limits, namespaces: Sequence[str] = (NAMESPACE,)) -> None:
        quiet = logging.getLogger("jackfield.socketio")
        quiet.setLevel(logging.ERROR)
        quiet.addFilter(QUIET)
        self.limits = limits
        self._settings = settings
        self._dispatcher: Dispatcher | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._acks = itertools.count(1)
        super().__init__(client_manager=LocalDelivery(), logger=quiet, namespaces=list(namespaces))
        self.manager.next_ack = self._next_ack
        self.eio.receiver = self._receive

    def use(self, plugin: str, manager: object) -> None:
        """Take one of python-socketio's client managers, before anybody is served.

        Args:
            plugin: Whose it is.
            manager: An instance of a subclass of `socketio.AsyncManager`.

        Raises:
            StartError: It is something else.
        """
        if not isinstance(manager, AsyncManager):
            raise StartError(
                [
                    f"jackfield_client_manager of plugin {plugin} must return an instance of a subclass of "
                    f"socketio.AsyncManager, such as socketio.AsyncRedisManager, not {manager!r:.100}"
                ]
            )
        self.manager = local(manager)
        self.manager.set_server(self)
        self.manager.next_ack = self._next_ack

    def serve(self, dispatcher: Dispatcher) -> None:
        """Say who takes what clients send in the namespace `/`."""
        self._dispatcher = dispatcher
        self._begin()

    async def broadcast(self, event: str, payload: Json, room: str | None, *, volatile: bool) -> None:
        """Send an event with one argument to every client, or to those of a room, on all servers.

        Args:
            event: The event's name.
            payload: Its argument.
            room: The room, or None for everybody.
            volatile: Whether clients that do not keep up may miss it.

        Raises:
            CallError: `unavailable`: the client manager failed, so clients of other servers may have missed it.
            TypeError: The room's name is no string.
        """
        if room is not None:
            _check(room)
        if type(self.manager) is LocalDelivery:
            message = Message(*packet.event(event, payload))
            await self.manager.deliver(message, NAMESPACE, room, volatile=volatile)
            return
        try:
            await self.manager.emit(event, payload.value(), NAMESPACE, room=room, volatile=volatile)
        except Exception:
            self.logger.exception("an event may not have reached the clients of other servers")
            raise CallError(
                Code.UNAVAILABLE, "The event may not have reached the clients of other servers; try again later."
            ) from None

    def send(self, event: str, payload: Json, sids: Iterable[str], *, volatile: bool) -> list[str]:
        """Send an event with one argument to clients of this server, and return those that were left out."""
        message = Message(*packet.event(event, payload))
        peers = ((sid, self.eio.sockets.get(self.manager.eio_sid_from_sid(sid, NAMESPACE))) for sid in sids)
        return [sid for sid, peer in peers if peer is not None and not peer.offer(message, volatile=volatile)]

    async def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """Disconnect a client, which may be another server's; a client of the dispatcher's is closed altogether."""
        namespace = namespace or NAMESPACE
        link = self._link(sid) if self.dispatches(namespace) else None
        if link is None:
            await super().disconnect(sid, namespace, ignore_queue)
        else:
            link.peer.send(_DISCONNECT)
            link.peer.close()

    def start_background_task(
        self, target: Callable[..., Coroutine[Any, Any, Any]], *args: object, **kwargs: object
    ) -> asyncio.Task[Any]:
        """Run a coroutine function, such as what listens for a client manager, until `shutdown`."""
        return self._spawn(target(*args, **kwargs))

    async def shutdown(self) -> None:
        """Close every session, and end the tasks that python-socketio and its client manager have started."""
        await super().shutdown()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_FAREWELL)

    def instrument(self, *args: object, **kwargs: object) -> NoReturn:
        """Refuse Socket.IO's admin page: it rewrites classes of engineio, and no session here is one of them.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("the admin page instruments engineio's sessions, and this server has its own")

    # What links ask.

    @property
    def traffic(self) -> Traffic:
        """What counts the bytes of messages."""
        return self.eio.traffic

    async def admit(self, link: Link, handshake: Handshake) -> Session:
        """Return the session of a client that may come in, or raise the `CallError` that it is told."""
        if self._dispatcher is None:
            raise CallError(Code.UNAVAILABLE, "The server does not serve yet.")
        return await self._dispatcher.connect(link, handshake)

    async def settle(self, link: Link) -> None:
        """Make the client known to the rooms.

        Raises:
            CallError: `unavailable`: the client manager failed.
        """
        try:
            link.sid = await self.manager.connect(link.peer.sid, NAMESPACE)
        except Exception:
            self.logger.exception("the client manager failed to take a client in")
            raise CallError(Code.UNAVAILABLE, "The server could not take you in; try again.") from None
        self.eio.settled(link.peer)

    def arrived(self, link: Link) -> None:
        """Tell the dispatcher that the client knows that it is in."""
        if self._dispatcher is not None and link.session is not None:
            self._dispatcher.connected(link.session)

    def left(self, link: Link, session: Session, reason: str) -> None:
        """Tell the dispatcher and the rooms that the client is out."""
        if self._dispatcher is not None:
            self._dispatcher.disconnect(session, reason)
        # At once, or the client would get what is sent before a task has run.
        self.manager.basic_disconnect(link.sid, NAMESPACE)

    def serves(self, namespace: str) -> bool:
        """Tell whether somebody serves a namespace."""
        return namespace in self.namespaces

    def dispatches(self, namespace: str) -> bool:
        """Tell whether a namespace is the dispatcher's."""
        return self._dispatcher is not None and namespace == NAMESPACE

    def elsewhere(self, link: Link) -> Namespaces:
        """Return who takes the packets for namespaces that are not the dispatcher's."""
        self._begin()
        return Namespaces(self, link)

    def acknowledged(self, link: Link, ack: Ack) -> bool:
        """Take an answer that no request waits for; tell whether anybody else does."""
        if ack.id not in self.manager.callbacks.get(link.sid, ()):
            return False
        self._spawn(self.manager.trigger_callback(link.sid, ack.id, ack.arguments))
        return True

    def protocol_error(self, error: PacketError) -> None:
        """Log that a client broke the protocol."""
        self.eio.refused(f"it broke the protocol: {error}")

    async def join(self, link: Link, room: str) -> None:
        """Put the client into a room.

        Raises:
            CallError: `permission_denied`: the room is the one that another client has for itself.
            TypeError: The room's name is no string.
        """
        _check(room)
        if link.session is None or room == link.sid:
            return
        if self.manager.is_sid_room(NAMESPACE, room):
            raise CallError(Code.PERMISSION_DENIED, "A room that is named as a client is takes nobody else.")
        await self.manager.enter_room(link.sid, NAMESPACE, room)

    async def leave(self, link: Link, room: str) -> None:
        """Take the client out of a room, save the one that it has for itself.

        Raises:
            TypeError: The room's name is no string.
        """
        _check(room)
        if link.session is not None and room != link.sid:
            await self.manager.leave_room(link.sid, NAMESPACE, room)

    def _engineio_server_class(self) -> Any:
        return lambda **options: Engine(self._settings, self.limits)

    def _receive(self, peer: Peer) -> Link:
        return make_link(self, peer)

    def _link(self, sid: str) -> Link | None:
        """Return the client of this id in the namespace `/`, if it is connected to this server."""
        peer = self.eio.sockets.get(self.manager.eio_sid_from_sid(sid, NAMESPACE))
        return peer.receiver if peer is not None and isinstance(peer.receiver, Link) else None

    def _next_ack(self, sid: str) -> int:
        link = self._link(sid)
        # Clients of other servers and namespaces have no link to count with here; they only need numbers that differ.
        return next(self._acks) if link is None else link.next_ack()

    def _begin(self) -> None:
        if not self.manager_initialized:
            self.manager_initialized: bool = True
            self.manager.initialize()

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.logger.error("a task of the client manager failed: %s", error, exc_info=error)


def _check(room: object) -> None:
    if not isinstance(room, str):
        raise TypeError(f"a room's name is a string, not {room!r:.100}")
