"""Namespaces that python-socketio's own handlers serve, for one client, on packets that we have read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

from jackfield._transport.link import Link
from jackfield._transport.packet import Ack, Connect, Disconnect, Event, Packet, PacketError

_WAITING: Final = 64
"""Packets that may wait for a connect handler."""

log: Final = logging.getLogger("jackfield.transport")


class Namespaces:
    """The namespaces that a client has asked for.

    Args:
        server: python-socketio's server.
        link: The client.
    """

    def __init__(self, server: Any, link: Link) -> None:
        self._server = server
        self._link = link
        self._sid = link.peer.sid
        self._asked: set[str] = set()
        self._last: asyncio.Task[None] | None = None
        self._waiting = 0
        request = link.peer.request
        server.environ[self._sid] = {
            "QUERY_STRING": request.query,
            "REMOTE_ADDR": request.address,
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()},
        }

    def take(self, packet: Packet) -> None:
        """Hand a packet to python-socketio, after those before it.

        Raises:
            PacketError: The client may not send it.
        """
        namespace = packet.namespace
        if isinstance(packet, Connect):
            if namespace in self._asked:
                raise PacketError("CONNECT twice")
            self._asked.add(namespace)
            self._link.stop_waiting()
            self._then(self._connect(packet))
        elif namespace not in self._asked:
            raise PacketError("a packet before CONNECT")
        elif isinstance(packet, Event):
            number = None if packet.ack is None else int(packet.ack)
            self._then(self._server._handle_event(self._sid, namespace, number, packet.event))
        elif isinstance(packet, Ack):
            self._then(self._server._handle_ack(self._sid, namespace, packet.id, packet.arguments))
        elif isinstance(packet, Disconnect):
            self._asked.discard(namespace)
            self._then(self._server._handle_disconnect(self._sid, namespace))
            if not self._asked and self._link.session is None:
                self._link.expect_connect()
        else:
            raise PacketError("beyond the limits")

    def follow(self, link: Link) -> None:
        """Take note of the link that stands for the client from now on."""
        self._link = link
        if self._asked:
            link.stop_waiting()

    def closed(self, reason: str) -> None:
        """Tell the handlers that the client has gone."""
        self._waiting = 0
        for namespace in self._asked:
            self._then(self._server._handle_disconnect(self._sid, namespace, reason))
        self._then(self._forget())

    async def _connect(self, packet: Connect) -> None:
        await self._server._handle_connect(self._sid, packet.namespace, packet.auth)
        if self._server.manager.sid_from_eio_sid(self._sid, packet.namespace) is not None:
            self._server.eio.settled(self._link.peer)
        else:
            self._asked.discard(packet.namespace)
            self._link.expect_connect()

    async def _forget(self) -> None:
        self._server.environ.pop(self._sid, None)

    def _then(self, coroutine: Coroutine[Any, Any, None]) -> None:
        if self._waiting >= _WAITING:
            coroutine.close()
            raise PacketError("too much while a namespace is being connected")
        self._waiting += 1
        self._last = self._server.eio.start_background_task(self._after, self._last, coroutine)

    async def _after(self, before: asyncio.Task[None] | None, coroutine: Coroutine[Any, Any, None]) -> None:
        if before is not None:
            await asyncio.wait([before])
        try:
            await coroutine
        except Exception:
            log.exception("a handler of Socket.IO events failed")
        finally:
            self._waiting -= 1
