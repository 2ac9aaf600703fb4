"""What a function is given: the call, its client, and the kernel behind them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from jackfield import _json
from jackfield._contract import Kind
from jackfield._envelope import CallId, Envelope
from jackfield._identity import Principal
from jackfield._json import Json, Value


@dataclass(frozen=True, slots=True)
class FunctionInfo:
    """One function as others see it.

    Args:
        event: The dotted path under which it is called.
        kind: Who sends a stream: `unary`, `server`, `client` or `both`.
        plugin: The name of the plugin that serves it.
        summary: The first line of its docstring.
        doc: Its whole docstring.
        errors: The codes that its author says it answers with.
        input: JSON Schema (2020-12) of its argument.
        output: JSON Schema (2020-12) of its result.
    """

    event: str
    kind: Kind
    plugin: str
    summary: str
    doc: str
    errors: tuple[str, ...]
    input: Mapping[str, object]
    output: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One plugin as others see it.

    Args:
        name: Its entry point's name, which is also its table in the configuration.
        distribution: The installed package that it comes from.
        version: The version of that package.
        summary: The package's one-line description.
        state: One of discovered, disabled, refused, loaded, started, stopped, quarantined.
        namespaces: The namespaces that it declares.
        functions: How many functions it serves.
        reason: Why it is not in service, if it is not.
        kind: The short name of that fault, such as `ImportError`.
        hint: What an operator can do about it, if that is known.
    """

    name: str
    distribution: str
    version: str
    summary: str
    state: str
    namespaces: tuple[str, ...]
    functions: int
    reason: str | None = None
    kind: str | None = None
    hint: str | None = None


class Kernel(Protocol):
    """What plugins see of the kernel: `call.kernel`, and the argument of the start-up and shutdown hooks."""

    @property
    def version(self) -> str:
        """The version of the distribution `jackfield`."""

    @property
    def protocol(self) -> int:
        """The version of the wire protocol."""

    @property
    def limits(self) -> Mapping[str, int | float]:
        """Every limit of the protocol, by its name in the configuration."""

    def plugins(self) -> Sequence[PluginInfo]:
        """Every plugin that was found, whatever became of it."""

    def functions(self, principal: Principal | None) -> Sequence[FunctionInfo]:
        """The functions that this principal may call, sorted by event."""

    async def invoke(self, event: str, data: object = None, *, timeout: float | None = None) -> Value:
        """Call a function as nobody in particular, from outside any call.

        Args:
            event: The function's dotted path.
            data: The argument: JSON's values, bytes, models.
            timeout: Seconds; `limits.call_timeout` if left out.

        Raises:
            CallError: As the caller would see it.
        """

    async def emit(self, event: str, data: object = None, *, room: str | None = None, volatile: bool = False) -> None:
        """Send a Socket.IO event to every client, or to those in a room, on all servers behind the client manager.

        Args:
            event: The name that clients listen to.
            data: Its argument: JSON's values, bytes, models. It is encoded once, however many get it.
            room: Only the clients that joined this room.
            volatile: Whether clients that do not keep up are left out, instead of being counted as slow readers.

        Raises:
            EncodeError: `data` cannot be sent.
        """


class Connection(Protocol):
    """What the kernel needs of a client's connection; transports implement it."""

    @property
    def sid(self) -> str:
        """The connection's public id, the one that the client knows too."""

    @property
    def congested(self) -> bool:
        """Whether so much waits for the client to read it that `drained` would wait too."""

    def emit(self, event: str, payload: Json) -> None:
        """Queue a Socket.IO event with one argument; nothing happens once the client is gone."""

    def acknowledge(self, ack: bytes, text: bytes, buffers: tuple[bytes, ...] = ()) -> None:
        """Queue the acknowledgement of a packet: JSON, and the Buffers of its placeholders.

        `ack` is the id as the client wrote it.
        """

    async def drained(self) -> None:
        """Return as soon as the client has read enough for more to be sent, or has gone."""

    async def join(self, room: str) -> None:
        """Put the client into a room."""

    async def leave(self, room: str) -> None:
        """Take the client out of a room."""

    async def request(self, event: str, payload: Json, timeout: float) -> Value:
        """Emit an event and return what the client acknowledges it with; `timeout` in seconds.

        Raises:
            CallError: `deadline_exceeded` when the client does not answer, `unavailable` when it goes away.
        """


class Client:
    """The client that made a call.

    Attributes:
        address: Its IP address, or an empty string.
        local: Whether it is on this machine, with no proxy in between.
        connected: False once it has gone.
    """

    __slots__ = ("__weakref__", "_connection", "_turns", "address", "connected", "local")

    def __init__(self, connection: Connection, *, address: str, local: bool) -> None:
        self._connection = connection
        self.address = address
        self.local = local
        self.connected = True
        self._turns: dict[str, asyncio.Lock] = {}

    @property
    def id(self) -> str:
        """The connection's id; the client knows it as `socket.id`."""
        return self._connection.sid

    def turn(self, event: str) -> asyncio.Lock:
        """Return the lock that functions declared `ordered` hold while they run."""
        return self._turns.setdefault(event, asyncio.Lock())

    async def emit(self, event: str, data: object = None) -> None:
        """Send the client a Socket.IO event; to a client that is gone nothing is sent.

        Waits while the client does not read what was sent before.

        Raises:
            EncodeError: `data` cannot be sent.
        """
        payload = _json.dumps(data)
        if self._connection.congested:
            await self._connection.drained()
        if self.connected:
            self._connection.emit(event, payload)

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
        return await self._connection.request(event, _json.dumps(data), timeout)


class Scope(Protocol):
    """What every call of a server shares; the dispatcher implements it."""

    @property
    def kernel(self) -> Kernel:
        """The kernel that serves the calls."""

    async def invoke(self, outer: Call, event: str, data: object) -> Value:
        """Call `event` on behalf of `outer`."""


class Call:
    """One call of a function: who calls, how long it may take, and what can be done on its behalf.

    Attributes:
        principal: Who calls, or None where nobody has to say who they are.
        client: The connection that the call came from, or None for a call from inside the server.
        deadline: When it is over, on the monotonic clock; None where it may take for ever.
        depth: How many calls this one stands inside.
        turns: The ordered functions that this call, or one around it, is running in turn.
        cancelled: Whether the call was cancelled, ran out of time or lost its client; for a plain `def`, whose
            thread nobody can stop.
    """

    __slots__ = ("_envelope", "_scope", "cancelled", "client", "deadline", "depth", "principal", "turns")

    def __init__(
        self,
        envelope: Envelope,
        principal: Principal | None,
        client: Client | None,
        deadline: float | None,
        scope: Scope,
        depth: int = 0,
        turns: frozenset[str] = frozenset(),
    ) -> None:
        self._envelope = envelope
        self._scope = scope
        self.principal = principal
        self.client = client
        self.deadline = deadline
        self.depth = depth
        self.turns = turns
        self.cancelled = False

    @property
    def event(self) -> str:
        """The dotted path that was called."""
        return self._envelope.event

    @property
    def id(self) -> CallId | None:
        """The caller's name for this call, if it gave one."""
        return self._envelope.options.id

    @property
    def meta(self) -> Mapping[str, str]:
        """The headers of the call."""
        return dict(self._envelope.options.meta)  # a copy: calls without headers share one empty dictionary

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

    async def invoke(self, event: str, data: object = None) -> Value:
        """Call another function as the same caller, within the time that is left to this call.

        Args:
            event: The function's dotted path.
            data: The argument: JSON's values, bytes, models.

        Returns:
            The result as a client would get it.

        Raises:
            CallError: As a client would see it.
        """
        return await self._scope.invoke(self, event, data)
