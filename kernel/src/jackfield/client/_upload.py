"""The items that a call sends: pulled one ahead of the server's credit, and closed in every case."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from typing import Any, TypeAlias

Items: TypeAlias = AsyncIterable[Any] | Iterable[Any]
"""The items of a stream that the client sends."""


class Upload:
    """The items of one call.

    Args:
        items: Where they come from. A plain iterable is pulled in the event loop, so it must not block.

    Raises:
        TypeError: It is neither kind of iterable, or a single text, Buffer or object.
    """

    def __init__(self, items: Items) -> None:
        if isinstance(items, str | bytes | bytearray | memoryview | dict):
            raise TypeError(f"items are many, and {type(items).__name__} is one: put it in a list")
        if isinstance(items, AsyncIterable):
            self._source: Any = aiter(items)
        elif isinstance(items, Iterable):
            self._source = iter(items)
        else:
            raise TypeError(f"items are an iterable or an async iterable, not {type(items).__name__}")

    async def pulled(self) -> AsyncGenerator[Any, None]:
        """Yield them all."""
        if isinstance(self._source, AsyncIterator):
            async for item in self._source:
                yield item
        else:
            for item in self._source:
                yield item

    async def close(self) -> None:
        """Close the source, if it is one that can be closed."""
        if hasattr(self._source, "aclose"):
            await self._source.aclose()
        elif hasattr(self._source, "close"):
            self._source.close()
