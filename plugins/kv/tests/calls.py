"""Calls of the functions, as clients make them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from jackfield import CallError
from jackfield.client import Client


async def put(client: Client, key: str, value: Any = 1, **more: Any) -> int:
    """Set a value, and return its version."""
    written: Any = await client.call("api.kv.set", {"key": key, "value": value, **more})
    return int(written["version"])


async def counted(clients: Sequence[Client]) -> list[int]:
    """Let each client add to a number, ten times, by compare-and-set; return the versions of that."""
    await put(clients[0], "count", 0)

    async def add(client: Client) -> int:
        while True:
            entry: Any = await client.call("api.kv.get", {"key": "count"})
            try:
                return await put(client, "count", entry["value"] + 1, if_version=entry["version"])
            except CallError as error:
                if error.code != "aborted":
                    raise

    async def add_some(client: Client) -> list[int]:
        return [await add(client) for _ in range(10)]

    return [version for some in await asyncio.gather(*map(add_some, clients)) for version in some]
