"""`api.files` as a client in Python calls it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from typing import Any

from jackfield.client import Client, Stream

CONTENT = os.urandom(700_000)
"""What a file holds of which no more is said."""
PIECE = 65_536


class Files:
    """One client of the plugin.

    Args:
        client: Connected.
    """

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, function: str, data: Any = None, **options: Any) -> Any:
        """Call a function."""
        return await self.client.call(f"api.files.{function}", data, **options)

    async def upload(self, items: Iterable[Any] | AsyncIterator[Any], **options: Any) -> Any:
        """Upload what the items say."""
        return await self.client.call("api.files.upload", items=items, **options)

    async def put(self, name: str, content: bytes = CONTENT, **fields: Any) -> Any:
        """Upload a file."""
        return await self.upload([{"name": name, **fields}, *in_pieces(content, PIECE)])

    def begin(self, items: Iterable[Any]) -> asyncio.Task[Any]:
        """Upload these items, and say neither more nor that this was all; the task has what the server answers."""

        async def without_end() -> AsyncIterator[Any]:
            for item in items:
                yield item
            await asyncio.get_running_loop().create_future()

        return asyncio.create_task(self.upload(without_end()))

    def download(self, credit: int = 4, **fields: Any) -> Stream:
        """Download a file, in pieces."""
        return self.client.stream("api.files.download", fields, credit=credit)

    async def get(self, **fields: Any) -> bytes:
        """Download a file."""
        return b"".join([piece async for piece in self.download(**fields)])

    async def kept(self, name: str) -> int:
        """Return how much of a broken upload is kept."""
        return int((await self.call("offset", {"name": name}))["offset"])


async def until_kept(files: Files, name: str, size: int) -> None:
    """Wait until so many bytes of an upload are on the disk."""
    async with asyncio.timeout(20):
        while await files.kept(name) < size:
            pass


def in_pieces(content: bytes, size: int) -> list[bytes]:
    """Cut bytes into pieces."""
    return [content[at : at + size] for at in range(0, len(content), size)]
