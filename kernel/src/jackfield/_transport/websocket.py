"""Engine.IO sessions and their websockets, closed with a code that says why."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final

import engineio.async_drivers.asgi

NORMAL: Final = 1000
PROTOCOL_ERROR: Final = 1008
_PACKETS_PER_POLL: Final = 16
"""python-engineio's client ends a connection whose poll brings more."""


async def close(session: Any, code: int = NORMAL) -> None:
    """Close an Engine.IO session, and its websocket, if it has one, with the code."""
    session.close_code = code
    await session.close(wait=False)
    session.queue.put_nowait(None)  # ends the task that writes, and with it the websocket


class Outbox(asyncio.Queue[Any]):
    """What waits to be sent to one client: a poll takes no more of it than stock clients read, save the last poll."""

    def __init__(self) -> None:
        super().__init__()
        self._taken = 0
        self._ending = False

    def put_nowait(self, item: Any) -> None:
        """Add a packet, or None, after which nothing comes."""
        self._ending = item is None
        super().put_nowait(item)

    def get_nowait(self) -> Any:
        """Return the next packet; engineio takes one after the other, until it is told that there is none."""
        if self.empty() or (self._taken >= _PACKETS_PER_POLL and not self._ending):
            self._taken = 0
            raise asyncio.QueueEmpty
        self._taken += 1
        return super().get_nowait()


class WebSocket(engineio.async_drivers.asgi.WebSocket):  # type: ignore[misc]  # engineio is untyped
    """Engine.IO's websocket, closed with the code that its session was closed with."""

    async def __call__(self, environ: Mapping[str, Any]) -> Any:
        """Serve until either side closes."""
        try:
            return await super().__call__(environ)
        except Exception:
            # What engineio cannot read ends its loop, and would leave the session to the ping timeout.
            await close(self.handler.__self__, PROTOCOL_ERROR)
            await self.close()
            raise

    async def close(self) -> None:
        """Close the websocket, unless it is gone."""
        code = getattr(self.handler.__self__, "close_code", NORMAL)
        with contextlib.suppress(Exception):  # where it is gone, servers raise what they like
            await self.asgi_send({"type": "websocket.close", "code": code})
