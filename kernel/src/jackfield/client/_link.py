"""One connection to a server, whatever carries it, and the calls that run over it.

It connects once. A connection that is lost stays lost: whoever wants another opens another, so that nothing of an old
one, be it an id, an acknowledgement or a reply that comes late, can be taken for something of the new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

from jackfield._limited import first
from jackfield.client._exchange import Exchange

Hear: TypeAlias = Callable[[str, Any], Awaitable[Any]]
"""Told of every event that the server emits; what it returns acknowledges the event."""

CLOSE_LIMIT: Final = 5.0
"""Seconds for the farewell to a server that may not be there any more."""


class Carrier(Protocol):
    """What carries a connection that has come about."""

    @property
    def too_large(self) -> bool:
        """Whether the server has ended it because a message was too large."""

    async def emit(self, event: str, argument: dict[str, Any], answered: Callable[..., None] | None) -> None:
        """Send an event; `answered` is given what acknowledges it. Nothing happens once the connection is lost."""

    async def written(self) -> None:
        """Return when all that was emitted is on its way."""

    async def leave(self) -> None:
        """Say good-bye."""

    async def release(self) -> None:
        """Let go of what it holds."""

    def end(self) -> None:
        """End what would go on by itself."""


class Link:
    """A connection to a server that has let the client in.

    Args:
        carrier: What carries it; who makes it gives `heard` what comes, and calls `end` when nothing more does.

    Attributes:
        carrier: What carries it.
        lost: Done as soon as the connection has ended.
        token: What it was shown.
        reconnect_in: Seconds after which the server wants its clients back, if it said that it goes away.
    """

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self._exchanges: dict[int, Exchange] = {}
        self._posts: set[asyncio.Task[None]] = set()
        self._held: set[asyncio.Task[None]] = set()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.reconnect_in: float | None = None
        self.token: str | None = None

    async def begin(self, exchange: Exchange, envelope: dict[str, Any]) -> None:
        """Send the envelope of a call, and give the call what the server says of it."""
        self._exchanges[exchange.id] = exchange
        if self.lost.done():
            exchange.lost()
        else:
            await self.carrier.emit("event", envelope, exchange.answered)

    async def send(self, frame: dict[str, Any]) -> None:
        """Send a frame of a stream."""
        await self.carrier.emit("stream", frame, None)

    def post(self, frame: dict[str, Any]) -> None:
        """Send a frame soon, from where nobody can wait."""
        if not self.lost.done():
            task = asyncio.create_task(self.send(frame))
            self._posts.add(task)
            task.add_done_callback(self._posts.discard)

    def forget(self, call_id: int) -> None:
        """Give nothing more to the call of this id."""
        self._exchanges.pop(call_id, None)

    def hold(self, task: asyncio.Task[None]) -> None:
        """Keep a task of a call from being collected before it is done; it ends when the call does."""
        self._held.add(task)
        task.add_done_callback(self._held.discard)

    async def close(self) -> None:
        """Say what is still to be said, then good-bye."""
        try:
            async with asyncio.timeout(CLOSE_LIMIT):
                await self._flushed()
                await self.carrier.leave()
        except TimeoutError:
            pass
        finally:
            await self.carrier.release()
            self.end()
            if self._held:
                await asyncio.wait(list(self._held), timeout=CLOSE_LIMIT)
            self.carrier.end()

    def end(self) -> None:
        """The connection is no more: so are its calls."""
        if not self.lost.done():
            self.lost.set_result(None)
        for exchange in list(self._exchanges.values()):
            exchange.lost(too_large=self.carrier.too_large)

    async def heard(self, event: str, arguments: tuple[Any, ...], hear: Hear) -> Any:
        """Take an event that the server emits, and return what acknowledges it."""
        argument = arguments[0] if len(arguments) == 1 else list(arguments) or None
        # Before anything is awaited: what comes is taken in the order in which it comes.
        self._said(event, argument)
        return None if event == "stream" else await hear(event, argument)

    def _said(self, event: str, argument: Any) -> None:
        """Take what the server says about a call, or about itself."""
        if not isinstance(argument, Mapping):
            return
        if event == "stream":
            call_id = argument.get("id")
            exchange = self._exchanges.get(call_id) if type(call_id) is int else None
            if exchange is not None:
                exchange.take(argument)
        elif event == "server" and isinstance(argument.get("reconnect_in"), int | float):
            self.reconnect_in = argument["reconnect_in"] / 1000

    async def _flushed(self) -> None:
        if self._posts:
            await asyncio.wait(list(self._posts))
        await first(self.carrier.written(), self.lost)
