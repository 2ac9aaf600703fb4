"""Calls of the functions, as clients make them."""

from __future__ import annotations

from typing import Any

from jackfield.client import Client


async def subscribe(client: Client, channel: str, **more: Any) -> dict[str, Any]:
    """Subscribe, and return what the server answers."""
    answer: dict[str, Any] = await client.call("api.channels.subscribe", {"channel": channel, **more})
    return answer


async def publish(client: Client, channel: str, data: Any = None, **more: Any) -> dict[str, Any]:
    """Publish, and return where that stands."""
    answer: dict[str, Any] = await client.call("api.channels.publish", {"channel": channel, "data": data, **more})
    return answer


async def history(client: Client, channel: str, **more: Any) -> dict[str, Any]:
    """Read history."""
    answer: dict[str, Any] = await client.call("api.channels.history", {"channel": channel, **more})
    return answer


async def presence(client: Client, channel: str) -> dict[str, Any]:
    """Tell who is there."""
    answer: dict[str, Any] = await client.call("api.channels.presence", {"channel": channel})
    return answer
