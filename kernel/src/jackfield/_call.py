"""What a function is given: the call, its client, and the kernel behind them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from jackfield import _json
from jackfield._contract import Kind
from jackfield._envelope import CallId
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


class Connection(Protocol):
    """What the kernel needs of a client's connection; transports implement it."""

    @property
    def sid(self) -> str:
        """The connection's public id, the one that the client knows too."""

    def emit(self, event: str, payload: Json) -> None:
        """Queue a Socket.IO event with one argument; nothing happens once the client is gone."""

    def acknowledge(self, ack: int, payload: Json) -> None:
        """Queue the acknowledgement of a packet."""

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

        Raises:
            EncodeError: `data` cannot be sent.
        """
        if self.connected:
            self._connection.emit(event, _json.dumps(data))

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


class Invoke(Protocol):
    """How a call reaches another function; the dispatcher implements it."""

    async def __call__(self, outer: Call, event: str, data: object) -> Value:
        """Call `event` on behalf of `outer`."""


class Call:
    """One call of a function: who calls, how long it may take, and what can be done on its behalf.

    Attributes:
        event: The dotted path that was called.
        id: The caller's name for this call, if it gave one.
        meta: The headers of the call.
        principal: Who calls, or None where nobody has to say who they are.
        client: The connection that the call came from, or None for a call from inside the server.
        kernel: The kernel that serves it.
        depth: How many calls this one stands inside.
        turns: The ordered functions that this call, or one around it, is running in turn.
        cancelled: Whether the call was cancelled, ran out of time or lost its client; for a plain `def`, whose
            thread nobody can stop.
    """

    __slots__ = (
        "_invoke",
        "cancelled",
        "client",
        "deadline",
        "depth",
        "event",
        "id",
        "kernel",
        "meta",
        "principal",
        "turns",
    )

    def __init__(  # noqa: PLR0913 - the dispatcher alone makes calls, and names every part
        self,
        *,
        event: str,
        id: CallId | None,
        meta: Mapping[str, str],
        principal: Principal | None,
        client: Client | None,
        kernel: Kernel,
        deadline: float | None,
        depth: int,
        turns: frozenset[str],
        invoke: Invoke,
    ) -> None:
        self.event = event
        self.id = id
        self.meta = meta
        self.principal = principal
        self.client = client
        self.kernel = kernel
        self.deadline = deadline
        self.depth = depth
        self.cancelled = False
        self.turns = turns
        self._invoke = invoke

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
        return await self._invoke(self, event, data)
