"""What a function is given: the call and its client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextvars import ContextVar
from typing import Protocol

from jackfield import _json
from jackfield._connection import Connection
from jackfield._envelope import CallId, Envelope
from jackfield._errors import CallError, Code
from jackfield._host import Items, Kernel, Position
from jackfield._identity import Principal
from jackfield._json import Value
from jackfield._progress import Progress


class Client:
    """The client that made a call.

    Attributes:
        address: Its IP address, or an empty string.
        local: Whether it is on this machine, with no proxy in between.
        connected: False once it has gone.
        principal: Who it is, or None where nobody has to say who they are.
    """

    __slots__ = ("__weakref__", "_connection", "_renewed", "_turns", "address", "connected", "local", "principal")

    def __init__(
        self, connection: Connection, *, address: str, local: bool, principal: Principal | None = None
    ) -> None:
        self._connection = connection
        self._renewed: Callable[[], None] | None = None
        self.address = address
        self.local = local
        self.connected = True
        self.principal = principal
        self._turns: dict[str, asyncio.Lock] = {}

    @property
    def id(self) -> str:
        """The connection's id; the client knows it as `socket.id`."""
        return self._connection.sid

    def renew(self, principal: Principal) -> None:
        """Take what the client has shown anew: its calls from now on have these scopes, and its time begins again.

        Args:
            principal: The same caller, such as from a newer token.

        Raises:
            CallError: `permission_denied`: it is somebody else; `unavailable`: the client has gone.
        """
        if not self.connected:
            raise CallError(Code.UNAVAILABLE, "The client has gone.")
        if self.principal is None or principal.id != self.principal.id:
            raise CallError(Code.PERMISSION_DENIED, "A connection stays with who opened it: connect anew.")
        self.principal = principal
        if self._renewed is not None:
            self._renewed()

    def when_renewed(self, tell: Callable[[], None]) -> None:
        """Call `tell` whenever the principal changes; for the kernel."""
        self._renewed = tell

    def left(self) -> None:
        """Take note that the client has gone; for the kernel."""
        self.connected = False
        # Who is told refers to this client: a cycle, which would keep Buffers until the garbage collector looks.
        self._renewed = None

    def disconnect(self, reason: str, code: int = 1008) -> None:
        """Close the client's connection; nothing happens if it has gone.

        Args:
            reason: Why, in a few words; clients on a websocket are told.
            code: The close code of the websocket; 4001 is for a token that is no longer good.
        """
        if self.connected:
            self._connection.close(code, reason)

    def turn(self, event: str) -> asyncio.Lock:
        """Return the lock that functions declared `ordered` hold while they run; for the kernel."""
        return self._turns.setdefault(event, asyncio.Lock())

    async def emit(self, event: str, data: object = None) -> None:
        """Send the client a Socket.IO event, as soon as it reads; to a client that is gone nothing is sent.

        Raises:
            EncodeError: `data` cannot be sent.
        """
        payload = _json.dumps(data)
        if self._connection.congested:
            delay()
            await self._connection.drained()
        if self.connected:
            self._connection.emit(event, payload)

    async def drained(self) -> None:
        """Return when the client keeps up with what it is sent, or has gone."""
        await self._connection.drained()

    async def join(self, room: str) -> None:
        """Put the client into a room, so that it gets what `Kernel.emit` sends to it.

        The room comes into being with its first client and ends with its last. A client that goes leaves all its rooms.
        """
        if self.connected:
            await self._connection.join(room)

    async def leave(self, room: str) -> None:
        """Take the client out of a room; nothing happens if it is not in it."""
        if self.connected:
            await self._connection.leave(room)

    async def request(self, event: str, data: object = None, *, timeout: float = 10.0) -> Value:
        """Ask the client, and return what it acknowledges with.

        Args:
            event: The Socket.IO event that the client listens to.
            data: Its argument.
            timeout: Seconds to wait for the acknowledgement.

        Returns:
            The acknowledgement's argument; a list if the client gave several, None if none.

        Raises:
            CallError: `deadline_exceeded` when the client does not answer, `unavailable` when it is gone.
        """
        delay()
        return await self._connection.request(event, _json.dumps(data), timeout)


CURRENT: ContextVar[Call] = ContextVar("jackfield.call")
"""The call whose function runs, in its task and its threads."""


def current() -> Call | None:
    """Return the call whose function runs here, if one does."""
    return CURRENT.get(None)


def delay() -> None:
    """Take note that the current call, and so those around it, wait for others: no plugin is to blame for the time."""
    call = current()
    while call is not None and not call.delayed:
        call.delayed, call = True, call.outer


class Scope(Protocol):
    """What every call of a server shares; the dispatcher implements it."""

    @property
    def kernel(self) -> Kernel:
        """The kernel that serves the calls."""

    async def invoke(
        self, outer: Call | None, event: str, data: object, items: Items | None, timeout: float | None
    ) -> Value:
        """Call `event` on behalf of `outer`, if there is one, and return its result."""

    def stream(
        self, outer: Call | None, event: str, data: object, items: Items | None, timeout: float | None
    ) -> AsyncGenerator[Value, None]:
        """Call `event` on behalf of `outer`, if there is one, and yield its items."""


class Call:
    """One call of a function: who calls, how long it may take, and what can be done on its behalf.

    Attributes:
        principal: Who calls, or None where nobody has to say who they are, and for a call of a plugin as itself.
        envelope: What the caller sent; for the kernel.
        started: When it began, on the monotonic clock.
        client: The connection that the call came from, or None for a call from inside the server.
        deadline: When it is over, on the monotonic clock; None where it may take for ever.
        depth: How many calls this one stands inside.
        turns: The ordered functions that this call, or one around it, is running in turn; for the kernel.
        outer: The call that this one stands in; for the kernel.
        held: The bulkheads in which this call, or one around it, has a place; for the kernel.
        delayed: Whether it had to wait for other calls or for its client; for the kernel.
        detached: Whether it runs on when its client goes away; `jackfield_call` may say so, if its function does not.
        cancelled: Whether it was cancelled, ran out of time or lost its client; for a plain `def`, which nobody stops.
    """

    __slots__ = (
        "_progress",
        "_scope",
        "cancelled",
        "client",
        "deadline",
        "delayed",
        "depth",
        "detached",
        "envelope",
        "held",
        "outer",
        "principal",
        "started",
        "turns",
    )

    def __init__(
        self,
        envelope: Envelope,
        principal: Principal | None,
        client: Client | None,
        started: float,
        deadline: float | None,
        scope: Scope,
        outer: Call | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.envelope = envelope
        self._scope = scope
        self._progress = progress
        self.principal = principal
        self.client = client
        self.started = started
        self.deadline = deadline
        self.depth: int = 0 if outer is None else outer.depth + 1
        self.turns: frozenset[str] = frozenset() if outer is None else outer.turns
        self.held: tuple[object, ...] = () if outer is None else outer.held
        self.cancelled = self.delayed = self.detached = False
        self.outer = outer

    @property
    def event(self) -> str:
        """The dotted path that was called."""
        return self.envelope.event

    @property
    def id(self) -> CallId | None:
        """The caller's name for this call, if it gave one."""
        return self.envelope.options.id

    @property
    def meta(self) -> Mapping[str, str]:
        """The headers of the call."""
        return dict(self.envelope.options.meta)  # a copy: calls without headers share one empty dictionary

    @property
    def kernel(self) -> Kernel:
        """The kernel that serves the call."""
        return self._scope.kernel

    def __repr__(self) -> str:
        return f"<Call {self.event} id={self.id!r}>"

    def remaining(self) -> float | None:
        """Return the seconds that are left, never less than 0; None where there is no deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    async def emit(self, event: str, data: object = None) -> None:
        """Send the caller a Socket.IO event beside the reply; to a caller that is gone nothing is sent.

        Raises:
            EncodeError: `data` cannot be sent.
        """
        if self.client is not None:
            await self.client.emit(event, data)

    async def publish(self, channel: str, data: object = None, *, id: str | None = None) -> Position:
        """Publish to a channel as the plugin itself, whatever the caller may do; see `Kernel.publish`."""
        return await self.kernel.publish(channel, data, id=id)

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Tell the caller how far the call is, if it asked for that; else this does nothing.

        It may be called as often as it suits, in worker threads too: the caller is told ten times a second at the most,
        and of the last state in any case.

        Args:
            done: How much is done, in whatever unit: steps, bytes, percent.
            total: How much there is to be done, in the same unit, if that is known.
            message: What is being done, for a person.

        Raises:
            TypeError: `done` or `total` is no number, or `message` no text.
            EncodeError: A number is NaN or infinite.
        """
        if self._progress is not None:
            self._progress.report(done, total, message)

    async def invoke(self, event: str, data: object = None, *, items: Items | None = None) -> Value:
        """Call another function as the same caller, within the time that is left to this call.

        Args:
            event: The function's dotted path.
            data: The argument: JSON's values, bytes, models.
            items: The stream that the function takes in the place of an argument, from an iterable or an async one:
                an item is taken from it whenever the function takes one.

        Returns:
            The result as a client would get it.

        Raises:
            CallError: As a client would see it; `invalid_argument` too where the function gives a stream.
        """
        return await self._scope.invoke(self, event, data, items, None)

    def stream(self, event: str, data: object = None, *, items: Items | None = None) -> AsyncGenerator[Value, None]:
        """Call another function that gives a stream, as the same caller and within the time that is left.

        The function runs as far ahead as one item. It is cancelled when the iteration ends early; where that is to
        happen at once, and not when Python finds the iterator unused, wrap it in `contextlib.aclosing`.

        Args:
            event: The function's dotted path.
            data: The argument: JSON's values, bytes, models.
            items: The stream that the function takes in the place of an argument, if it takes one.

        Returns:
            The items as a client would get them.

        Raises:
            CallError: As a client would see it, when the iteration comes to it.

        Example:
            >>> async def squares(call: Call) -> list[int]:
            ...     return [item["n"] ** 2 async for item in call.stream("api.services.test.count", {"to": 3})]
        """
        return self._scope.stream(self, event, data, items, None)
