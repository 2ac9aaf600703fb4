"""What waits to be sent, in portions that one request carries: by polling the library would send all of it at once."""

from __future__ import annotations

import asyncio
from typing import Any, Final

PORTION: Final = 64 * 1024
"""Bytes that are sent together; what is larger goes alone."""


class Portions(asyncio.Queue[Any]):
    """The queue of packets of one Engine.IO client: after a portion it says that it is empty."""

    _taken = 0

    async def get(self) -> Any:
        """Return the first packet of a portion, waiting for it."""
        self._taken = 0
        return await super().get()

    def get_nowait(self) -> Any:
        """Return the next packet of the portion.

        Raises:
            asyncio.QueueEmpty: There is none, or it belongs to the next portion.
        """
        if self._taken and not self.empty() and self._taken + _size(self._queue[0]) > PORTION:  # type: ignore[attr-defined]
            raise asyncio.QueueEmpty
        packet = super().get_nowait()
        self._taken += _size(packet)
        return packet


def _size(packet: Any) -> int:
    """Return about how many bytes a packet has in the body of a request, where Buffers are base64."""
    data = None if packet is None else packet.data
    return len(data) * 4 // 3 if isinstance(data, bytes) else len(str(data))
