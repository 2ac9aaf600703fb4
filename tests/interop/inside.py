"""A jackfield server in the test's own process and event loop, so that a test can look behind the border."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from jackfield import Call, Service
from jackfield._dispatch import Dispatcher
from jackfield._settings import Limits, ServerSettings
from jackfield._transport.border import Border
from jackfield._transport.server import HttpServer


@dataclass
class Inside:
    """A server that listens, and its border."""

    url: str
    border: Border


def greeter() -> Service:
    """Return a service with one function, which greets."""
    service = Service("api.here")

    @service.function
    async def hello(call: Call, data: str) -> str:
        return f"jackfield says {data}"

    return service


@asynccontextmanager
async def listening(
    dispatcher: Dispatcher, limits: Limits | None = None, namespaces: Sequence[str] = ("/",)
) -> AsyncIterator[Inside]:
    """Listen on a free port until the block ends."""
    settings = ServerSettings(port=0)
    limits = limits or Limits()
    border = Border(settings, limits, namespaces)
    border.serve(dispatcher)
    server = HttpServer(settings, limits, border.eio)
    await server.start()
    try:
        yield Inside(server.url, border)
    finally:
        await border.eio.close_polls()
        await server.stop()
        await dispatcher.close(1.0)
        await border.shutdown()
