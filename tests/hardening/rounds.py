"""What tests of attacks share: the carriers, somebody else who is to be served meanwhile, and memory that stays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.support.bombs import MIB
from tests.support.plugins import NO_QUARANTINE
from tests.support.server import Server
from tests.support.wire import wire

CARRIERS = [
    pytest.param("picows", marks=pytest.mark.carrier),
    pytest.param("asgi", marks=[pytest.mark.carrier, pytest.mark.full]),
]
ECHO = "api.services.test.echo"


def config(carrier: str, *, server: str = "", limits: str = "") -> str:
    """Return a configuration with a carrier of websockets, no quarantine, and more lines for two of its tables."""
    return f'[server]\nwebsocket = "{carrier}"\n{server}\n[limits]\n{limits}\n{NO_QUARANTINE}'


async def is_served(url: str) -> None:
    """Connect as somebody else, and be answered."""
    async with wire(url) as client:
        assert await client.ask(f'427["{ECHO}","hello"]') == {"data": "hello"}


async def stays_flat(server: Server, attack: Callable[[], Awaitable[object]], rounds: int = 10) -> None:
    """Attack again and again; in the end the server holds hardly more than after the third round, and serves others."""
    memory = []
    for _ in range(rounds):
        await attack()
        await is_served(server.url)  # by when the server has also read that the attackers hung up
        memory.append(server.rss)
    assert memory[-1] <= memory[2] + 8 * MIB, [size // MIB for size in memory]
