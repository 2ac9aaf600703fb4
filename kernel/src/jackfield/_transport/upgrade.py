"""The upgrade from polling to a websocket, up to the moment when it takes over."""

from __future__ import annotations

import asyncio
from typing import Final

from jackfield._transport import eio
from jackfield._transport.peer import Peer
from jackfield._transport.wire import PROTOCOL_ERROR, Wire

_PROBE_TIMEOUT: Final = 10.0


class Candidate:
    """A websocket that is to take over a session which is polled."""

    def __init__(self, peer: Peer, wire: Wire) -> None:
        self._peer = peer
        self._wire = wire
        self._chosen = peer.machine.probe()
        self._timer = asyncio.get_running_loop().call_later(_PROBE_TIMEOUT if self._chosen else 0, self._give_up)

    def text(self, data: bytes) -> None:
        """Take the probe, then the word to take over."""
        if data == eio.PROBE and self._chosen and self._peer.machine.open:
            self._wire.text(eio.PROBE_ANSWER)
            self._peer.machine.probed()
            self._peer.end_poll()
        elif data == eio.UPGRADE and self._chosen and self._peer.machine.open:
            self._timer.cancel()
            self._peer.carried_by(self._wire)
        else:
            self._give_up()

    def buffer(self, data: bytes) -> None:
        """Refuse what is no probe."""
        self._give_up()

    def lost(self) -> None:
        """Take note that the connection has gone; the session goes on by polling."""
        self._timer.cancel()
        if self._chosen:
            self._peer.machine.probe_failed()

    def paused(self) -> None:
        """Take note; nothing much is sent yet."""

    def resumed(self) -> None:
        """Take note; nothing much is sent yet."""

    def _give_up(self) -> None:
        self.lost()
        self._wire.close(PROTOCOL_ERROR, "no upgrade")
