"""The border to python-socketio, and with `rooms` the one place that touches what it does not promise.

python-socketio keeps the rooms and the client managers, and serves what its own handlers are registered for. The
Engine.IO sessions are ours (`engine`), and so is the reading of packets (`link`): events for the dispatcher never pass
through python-socketio, whose own handlers leave exceptions and unknown events unanswered.

`tests/interop/test_border.py` fails when a release moves what is used here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, NoReturn

import socketio

from jackfield._dispatch import Dispatcher
from jackfield._errors import CallError, Code
from jackfield._identity import Handshake
from jackfield._json import Json
from jackfield._session import Session
from jackfield._settings import Limits, ServerSettings
from jackfield._throttle import QUIET
from jackfield._transport import packet
from jackfield._transport.engine import Engine
from jackfield._transport.link import NAMESPACE, Link
from jackfield._transport.message import Message
from jackfield._transport.namespaces import Namespaces
from jackfield._transport.packet import Ack, PacketError
from jackfield._transport.peer import Peer
from jackfield._transport.rooms import LocalDelivery, local


class Border(socketio.AsyncServer):  # type: ignore[misc]  # python-socketio is untyped
    """python-socketio's server on our sessions.

    Args:
        settings: Where the server listens, and to whom.
        limits: The limits of the protocol.
        manager: One of python-socketio's client managers, where several servers are to act as one.
        namespaces: The namespaces that handlers of python-socketio's serve, where the dispatcher is not all there is.
    """

    manager: LocalDelivery
    eio: Engine

    def __init__(
        self,
        settings: ServerSettings,
        limits: Limits,
        manager: socketio.AsyncManager | None = None,
        namespaces: Sequence[str] = (NAMESPACE,),
    ) -> None:
        quiet = logging.getLogger("jackfield.socketio")
        quiet.setLevel(logging.ERROR)
        quiet.addFilter(QUIET)
        self.limits = limits
        self._settings = settings
        self._dispatcher: Dispatcher | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        super().__init__(client_manager=local(manager), logger=quiet, namespaces=list(namespaces))
        self.manager.next_ack = self._next_ack
        self.eio.receiver = self._receive

    def serve(self, dispatcher: Dispatcher) -> None:
        """Say who takes what clients send in the namespace `/`."""
        self._dispatcher = dispatcher

    async def broadcast(self, event: str, payload: Json, room: str | None, *, volatile: bool) -> None:
        """Send an event with one argument to every client, or to those of a room, on all servers.

        Args:
            event: The event's name.
            payload: Its argument.
            room: The room, or None for everybody.
            volatile: Whether clients that do not keep up may miss it.
        """
        if type(self.manager) is LocalDelivery:
            message = Message(*packet.event(event, payload))
            await self.manager.deliver(message, NAMESPACE, room, volatile=volatile)
        else:
            await self.manager.emit(event, payload.value(), NAMESPACE, room=room)

    def instrument(self, *args: object, **kwargs: object) -> NoReturn:
        """Refuse Socket.IO's admin page: it rewrites classes of engineio, and no session here is one of them.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("the admin page instruments engineio's sessions, and this server has its own")

    # What links ask.

    async def admit(self, link: Link, handshake: Handshake) -> Session:
        """Return the session of a client that may come in, or raise the `CallError` that it is told."""
        if self._dispatcher is None:
            raise CallError(Code.UNAVAILABLE, "The server does not serve yet.")
        return await self._dispatcher.connect(link, handshake)

    async def settle(self, link: Link) -> None:
        """Make the client known to the rooms."""
        self._begin()
        link.sid = await self.manager.connect(link.peer.sid, NAMESPACE)
        self.eio.settled(link.peer)

    def arrived(self, link: Link) -> None:
        """Tell the dispatcher that the client knows that it is in."""
        if self._dispatcher is not None and link.session is not None:
            self._dispatcher.connected(link.session)

    def left(self, link: Link, session: Session, reason: str) -> None:
        """Tell the dispatcher and the rooms that the client is out."""
        if self._dispatcher is not None:
            self._dispatcher.disconnect(session, reason)
        self._spawn(self.manager.disconnect(link.sid, NAMESPACE, ignore_queue=True))

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
        """Put the client into a room."""
        if link.session is not None:
            await self.manager.enter_room(link.sid, NAMESPACE, room)

    async def leave(self, link: Link, room: str) -> None:
        """Take the client out of a room."""
        if link.session is not None:
            await self.manager.leave_room(link.sid, NAMESPACE, room)

    def _engineio_server_class(self) -> Any:
        return lambda **options: Engine(self._settings, self.limits)

    def _receive(self, peer: Peer) -> Link:
        return Link(self, peer)

    def _next_ack(self, sid: str) -> int:
        eio_sid = self.manager.eio_sid_from_sid(sid, NAMESPACE)
        peer = self.eio.sockets.get(eio_sid)
        return peer.receiver.next_ack() if peer is not None and isinstance(peer.receiver, Link) else 0

    def _begin(self) -> None:
        if not self.manager_initialized:
            self.manager_initialized: bool = True
            self.manager.initialize()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
