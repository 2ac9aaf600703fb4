"""What plugins see of the kernel, and what it tells of functions and plugins."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from jackfield._contract import Kind
from jackfield._identity import Principal
from jackfield._json import Value

Items: TypeAlias = AsyncIterable[object] | Iterable[object]
"""What a function sends to another that takes a stream."""
Told: TypeAlias = Callable[[Value], None]
"""Hears how far a call is: `done`, `total` and `message`, those that the function has given."""


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
        input: JSON Schema (2020-12) of its argument; of one item, where the client sends a stream.
        output: JSON Schema (2020-12) of its result; of one item, where the server sends a stream.
        requires: The scopes that a caller needs, by its author's word or the operator's; None where nobody has said.
        optional: Whether a call may leave its argument out.
        ordered: Whether calls of one connection run one at a time.
        detached: Whether it runs on when its client goes away.
        timeout: Seconds that a call has when the caller says nothing; None where its author has not said.
        deprecated: What callers are to use instead, if it is not to be used any more.
        emits: JSON Schema (2020-12) of the data of each event that its author says it emits.
    """

    event: str
    kind: Kind
    plugin: str
    summary: str
    doc: str
    errors: tuple[str, ...]
    input: Mapping[str, object]
    output: Mapping[str, object]
    requires: tuple[str, ...] | None = None
    optional: bool = False
    ordered: bool = False
    detached: bool = False
    timeout: float | None = None
    deprecated: str | None = None
    emits: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


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


@dataclass(frozen=True, slots=True)
class Position:
    """Where in a channel a publication stands.

    Args:
        offset: How many there have been with it.
        epoch: Which count that is; another one begins when the old one is lost.
    """

    offset: int
    epoch: str


@dataclass(frozen=True, slots=True)
class PluginStats:
    """What one plugin's functions are doing.

    Args:
        calls: Calls that run, streams among them.
        queued: Calls that wait for others of the plugin to end (`[bulkhead]`).
        streams: Streams that are open.
    """

    calls: int = 0
    queued: int = 0
    streams: int = 0


@dataclass(frozen=True, slots=True)
class Stats:
    """What the server is doing.

    Args:
        connections: Clients that are connected, by carrier: `websocket` and `polling`.
        received: Bytes of messages that clients have sent since the start.
        sent: Bytes of messages that clients were sent.
        loop_lag: Seconds by which the event loop is late.
        plugins: What each plugin's functions are doing, by its name.
    """

    connections: Mapping[str, int]
    received: int
    sent: int
    loop_lag: float
    plugins: Mapping[str, PluginStats]


class Behalf(Protocol):
    """What makes calls for somebody who need not be connected, with their rights: `Kernel.on_behalf_of`."""

    def accept(self) -> None:
        """Raise `CallError` (`unavailable`) while the server takes nothing new: it is going away, or overloaded."""

    def check(self, event: str, data: object = None) -> FunctionInfo:
        """Return the function after all that is checked before a call, or raise the `CallError` of that."""

    async def invoke(
        self, event: str, data: object = None, *, timeout: float | None = None, progress: Told | None = None
    ) -> Value:
        """Call a function that `check` lets pass; see `Kernel.invoke`.

        Args:
            event: The function's dotted path; it gives one result, and takes no stream.
            data: The argument.
            timeout: Seconds, also beyond `limits.max_timeout`; the function's own if left out.
            progress: Told of `call.progress`, ten times a second at the most.
        """


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

    async def invoke(
        self, event: str, data: object = None, *, items: Items | None = None, timeout: float | None = None
    ) -> Value:
        """Call a function that gives one result, as nobody in particular, from outside any call.

        Args:
            event: The function's dotted path.
            data: The argument: JSON's values, bytes, models.
            items: The stream that the function takes in the place of an argument.
            timeout: Seconds; `limits.call_timeout` if left out.

        Raises:
            CallError: As the caller would see it.
        """

    def stream(
        self, event: str, data: object = None, *, items: Items | None = None, timeout: float | None = None
    ) -> AsyncGenerator[Value, None]:
        """Call a function that gives a stream, as nobody in particular; see `Call.stream`."""

    def on_behalf_of(self, principal: Principal | None) -> Behalf:
        """Return what makes calls for somebody, such as later for who has called now.

        Args:
            principal: Who; None for who need not say it, whose calls are `unauthenticated` where clients have to.
        """

    def stats(self) -> Stats:
        """What the server is doing at this moment; counting it costs calls nothing."""

    def quarantine(self, plugin: str, reason: str) -> None:
        """Take a plugin out of service by hand: its functions answer `unavailable` until `release`.

        Args:
            plugin: Its name.
            reason: Why, for other operators.

        Raises:
            CallError: `not_found`: there is no such plugin; `failed_precondition`: it is not in service.
        """

    def release(self, plugin: str) -> None:
        """Take a plugin back into service at once, whether its own faults or somebody's hand took it out.

        Raises:
            CallError: `not_found`: there is no such plugin; `failed_precondition`: it is not out of service, or never
                was in it, which only a new start can change.
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

    def send(self, event: str, data: object, clients: Iterable[str], *, volatile: bool = False) -> Sequence[str]:
        """Send a Socket.IO event to some of this server's clients at once; the arguments are as for `emit`.

        Args:
            event: The name that clients listen to.
            data: Its argument; it is encoded once.
            clients: Their ids; who is no client here, or no more, is passed over.
            volatile: Whether clients that do not keep up are left out.

        Returns:
            Those that were left out.
        """

    async def publish(self, channel: str, data: object = None, *, id: str | None = None) -> Position:
        """Publish to a channel, and return where the publication stands; it is stored, if the channel keeps any.

        Args:
            channel: Its name.
            data: JSON's values, bytes, models.
            id: The publisher's name for it: of two with the same one, the second is not published.

        Raises:
            EncodeError: `data` cannot be sent.
            CallError: `unimplemented`: no plugin in service offers channels; others as that plugin says.
        """
