"""A kernel on a real port of this machine, and python-socketio's client over a real websocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from jackfield.client._link import Hear, Link
from jackfield.client._place import Place
from jackfield.client._socketio import SocketIO, open_link
from jackfield.testing._kernel import GivenKernel

FIXED: Final = (
    "time cannot be moved for a kernel on a real port, whose packets need real time: leave the test in memory "
    "(@pytest.mark.jackfield(network=False), or serve(…, network=False))"
)


class OnPort:
    """A kernel that listens, in this process and in this event loop.

    Args:
        kernel: The kernel, loaded.
    """

    def __init__(self, kernel: GivenKernel) -> None:
        self._kernel = kernel
        self.url = ""

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        """Listen while a block runs."""
        async with self._kernel.listening() as self.url:
            yield

    async def connect(self, place: Place, hear: Hear) -> Link:
        """Connect a client."""
        return await open_link(place, hear)

    def cut(self, link: Link) -> None:
        """End a connection as a cable is cut."""
        _transport(link).abort()

    def hold(self, link: Link) -> None:
        """Let what the server sends wait."""
        _transport(link).pause_reading()

    def let_go(self, link: Link) -> None:
        """Take what waits."""
        _transport(link).resume_reading()


def _transport(link: Link) -> asyncio.Transport:
    websocket: Any = cast(SocketIO, link.carrier).sio.eio.ws
    # aiohttp shows the transport of a response, and a websocket begins as one.
    return cast(asyncio.Transport, websocket._response.connection.transport)
