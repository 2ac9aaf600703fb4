"""The Engine.IO server: which sessions there are, and who may open one.

To python-socketio it is what `engineio.AsyncServer` is: the methods that it and its client managers call are here,
under the names that they call.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from jackfield._overload import Overload
from jackfield._settings import Limits, ServerSettings
from jackfield._throttle import Throttle
from jackfield._transport import eio
from jackfield._transport.admission import Admission
from jackfield._transport.eio import Machine, Phase, Refused, Terms
from jackfield._transport.peer import SERVER_CLOSED, Peer
from jackfield._transport.request import Request
from jackfield._transport.trust import Trust
from jackfield._transport.turn import Turn
from jackfield._transport.upgrade import Candidate
from jackfield._transport.wire import Reader, Receiver, Traffic, Wire

_RETRY_AFTER: Final = "5"
_FAREWELL: Final = 2.0
"""Seconds that polls have to fetch the last packets of a server that goes away."""

log: Final = logging.getLogger("jackfield.transport")


class Engine:
    """Engine.IO sessions, whatever carries them.

    Args:
        settings: Where the server listens, and to whom.
        limits: The limits of the protocol.

    Attributes:
        sockets: The sessions by their ids.
        traffic: What counts the bytes of messages.
        turn: What shares the event loop out among clients.
        trust: Whose word counts about where a request came from.
        overload: Knows whether the server has too much to do; whoever serves sets it.
        receiver: Makes who is told what the client of a new session says; whoever builds the engine sets it.
        leaving: Whether new clients are turned away, because the server is going to end.
    """

    async_mode: Final = "asgi"
    sleep = staticmethod(asyncio.sleep)
    create_event = staticmethod(asyncio.Event)

    def __init__(self, settings: ServerSettings, limits: Limits) -> None:
        self.settings = settings
        self.limits = limits
        self.sockets: dict[str, Peer] = {}
        self.traffic = Traffic()
        self.turn = Turn()
        self.receiver: Callable[[Peer], Receiver]
        self.leaving = False
        self.overload: Overload | None = None
        self._terms = Terms(settings.ping_interval, settings.ping_timeout, limits.message_size)
        self.trust = Trust(settings)
        self._admission = Admission(limits)
        self._origins = frozenset(settings.cors_origins)
        self._pending: set[Peer] = set()
        self._left = asyncio.Event()
        self._throttle = Throttle()
        self._tasks: set[asyncio.Task[Any]] = set()

    # What carriers ask.

    def vet(self, request: Request) -> dict[str, str]:
        """Return what a browser is told of a page's rights.

        Raises:
            Refused: The server is not asked under this name, or a page of this origin may not connect.
        """
        headers = request.headers
        if not self.trust.serves(headers.get("host")):
            raise eio.forbidden("The server is not asked under this name (server.hosts)")
        origin = headers.get("origin")
        if origin is None:
            return {}
        if origin in self._origins:
            return {"access-control-allow-origin": origin, "access-control-allow-credentials": "true"}
        if "*" in self._origins:
            # Browsers send cookies with websockets whatever they are told, so that nobody must take them for a word of
            # the user's.
            request.forget_cookies()
            return {"access-control-allow-origin": origin}
        raise eio.forbidden("Pages of this origin may not connect (server.cors_origins)")

    def open(self, request: Request, wire: Wire | None = None) -> Peer:
        """Open a session, and greet the client.

        Raises:
            Refused: There is no room, or the server is going away.
        """
        self._check_room(request)
        websocket = wire is not None
        if not websocket:
            self._admission.knock()
        machine = Machine(secrets.token_urlsafe(15), self._terms, asyncio.get_running_loop().time, websocket=websocket)
        peer = Peer(
            machine,
            request,
            backlog=self.limits.backlog,
            patience=self.limits.backlog_timeout,
            gone=self._gone,
        )
        peer.receiver = self.receiver(peer)
        self.sockets[machine.sid] = peer
        self._admission.opened(request.address)
        self._pending.add(peer)
        greeting = machine.greeting(upgrades=not websocket and "websocket" in self.settings.transports)
        if wire is not None:
            peer.carried_by(wire)
            wire.text(greeting)
        else:
            machine.queue(greeting)
        return peer

    def session(self, sid: str, request: Request) -> Peer:
        """Return the session that a request belongs to.

        Raises:
            Refused: There is none, or the request does not show what opened it.
        """
        peer = self.sockets.get(sid)
        if peer is None:
            raise eio.unknown_session()
        if not request.speaks_for(peer.request):
            raise eio.forbidden("The session belongs to somebody else")
        return peer

    def admit_websocket(self, request: Request) -> Callable[[Wire], Reader]:
        """Return how to attach the websocket that a request asks for.

        Raises:
            Refused: It is not to be had.
        """
        transport, sid = eio.read_query(request.query, self.settings.transports)
        if transport != "websocket":
            raise eio.bad_request()
        if sid is None:
            self._check_room(request)
            self._admission.knock()
            return lambda wire: self.open(request, wire)
        peer = self.session(sid, request)
        return lambda wire: Candidate(peer, wire)

    def connections(self) -> dict[str, int]:
        """Return how many sessions there are, by what carries them."""
        websockets = sum(peer.wire is not None for peer in self.sockets.values())
        return {"websocket": websockets, "polling": len(self.sockets) - websockets}

    def settled(self, peer: Peer) -> None:
        """Take note that a client has come to stay."""
        self._pending.discard(peer)

    def refused(self, what: str) -> None:
        """Log that something was refused, once a second for each `what`."""
        if self._throttle.ready(what):
            log.info("a client's request was refused: %s", what)

    async def close_polls(self) -> None:
        """End every session that is not carried by a websocket, and wait a moment for polls to fetch what is left."""
        for peer in list(self.sockets.values()):
            if peer.wire is None:
                peer.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                while any(peer.wire is None for peer in self.sockets.values()):
                    self._left.clear()
                    await self._left.wait()

    # What python-socketio calls.

    def on(self, event: str, handler: object) -> None:
        """Register nothing: `receiver` makes who is told."""

    async def send(self, sid: str, data: str | bytes) -> None:
        """Send a message to one client, which may have gone."""
        peer = self.sockets.get(sid)
        if peer is None:
            return
        if isinstance(data, str):
            peer.send(eio.MESSAGE + data.encode())
        else:
            peer.send_buffer(data)

    async def disconnect(self, sid: str) -> None:
        """Close a session."""
        peer = self.sockets.get(sid)
        if peer is not None:
            peer.close()

    def transport(self, sid: str) -> str:
        """Return what carries a session: `polling` or `websocket`."""
        return "websocket" if self.sockets[sid].machine.phase is Phase.WEBSOCKET else "polling"

    def generate_id(self) -> str:
        """Return an id that nobody can guess."""
        return secrets.token_urlsafe(15)

    def start_background_task(
        self, target: Callable[..., Coroutine[Any, Any, object]], *args: object, **kwargs: object
    ) -> asyncio.Task[object]:
        """Run a coroutine function on its own."""
        task = asyncio.get_running_loop().create_task(target(*args, **kwargs))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def shutdown(self) -> None:
        """Close every session."""
        for peer in list(self.sockets.values()):
            peer.close(SERVER_CLOSED)

    def _check_room(self, request: Request) -> None:
        if self.leaving:
            raise Refused(503, 3, "The server is going away", {"retry-after": _RETRY_AFTER})
        if self.overload is not None and self.overload.active:
            self.refused("the server is overloaded")
            raise Refused(503, 3, "The server is overloaded; try again", {"retry-after": _RETRY_AFTER})
        self._admission.check(request.address, len(self._pending))

    def _gone(self, peer: Peer) -> None:
        self._pending.discard(peer)
        if peer.machine.phase is Phase.CLOSED:
            if self.sockets.pop(peer.sid, None) is not None:
                self._admission.closed(peer.request.address)
            self._left.set()
