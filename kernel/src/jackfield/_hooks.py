"""Every hook that a plugin may implement, in the order in which a server comes to them.

Mark an implementation with `@jackfield.hookimpl` and give it the hook's name. It may leave out arguments that
it does not need. Whether a hook is a coroutine function or a plain one is part of its specification, and is
checked when the plugin is loaded.

Where several plugins implement a hook, they are asked in the order in which the plugins start: dependencies
first, then by name. Those marked `@hookimpl(tryfirst=True)` come before all others, those marked `trylast=True`
after them, each in that same order. Wrappers are not supported; to wrap calls there is `jackfield_call`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

import pluggy
from pydantic import BaseModel

from jackfield._call import Call, Client
from jackfield._errors import CallError, Code
from jackfield._host import FunctionInfo, Kernel, Position
from jackfield._identity import Handshake, Principal
from jackfield._json import Json, Value
from jackfield._route import AsgiApp, Route
from jackfield._service import Service

PROJECT: Final = "jackfield"

hookspec: Final = pluggy.HookspecMarker(PROJECT)
hookimpl: Final = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as the implementation of the hook that it is named after."""

Proceed: TypeAlias = Callable[[], Awaitable[object]]
"""What `jackfield_call` awaits to let the call go on; it returns what the function returned."""


Meter: TypeAlias = Callable[[float, Code | None], None]
"""Is told of a call that is over: how many seconds it took, and how it failed, if it did."""


class Observer:
    """What `jackfield_observe` returns: told of every call, never able to change one.

    A method that is not overridden costs calls nothing.
    """

    def started(self, call: Call) -> None:
        """A call was found, is allowed, and is about to run."""

    def ended(self, call: Call, error: CallError | None) -> None:
        """The call is over; `error` is what its caller was told, if it failed."""

    def meter(self, function: FunctionInfo) -> Meter | None:
        """Return what counts or times the calls of a function, which need not be seen for that: it costs them least."""
        return None


# ------------------------------------------------------------------- loading


@hookspec
def jackfield_settings() -> type[BaseModel]:
    """Return the pydantic model of the plugin's configuration, the table `[plugins.<name>]`.

    When: once, after the import. Each plugin is asked by itself. A plugin without this hook takes no settings, and
    a table for it is a fault. Give the model `extra="forbid"`, so that a mistyped key is one too.
    An exception quarantines the plugin.
    """
    raise AssertionError


@hookspec
def jackfield_abstain(settings: Any) -> Collection[str]:
    """Return the names of those hooks that the plugin implements but, with these settings, does not take part in.

    A hook that every call passes costs every call something, and one that says who clients are closes the server to all
    others; this is for plugins that need such a hook only where they are configured to.

    When: once, after the import. Each plugin is asked by itself. A name that is no hook, or an exception, quarantines
    the plugin.

    Args:
        settings: As for `jackfield_services`.
    """
    raise AssertionError


@hookspec
def jackfield_services(settings: Any) -> Sequence[Service]:
    """Return the plugin's services.

    When: once, after its settings were validated. Each plugin is asked by itself. Their namespaces are those
    that the plugin's metadata declares, no more and no fewer. A plugin of hooks alone leaves this one out.
    An exception, or a function whose signature is no contract, quarantines the plugin.

    Args:
        settings: An instance of the plugin's own model, or None if it has none.
    """
    raise AssertionError


# ------------------------------------------------------------------- starting and stopping


@hookspec
async def jackfield_startup(kernel: Kernel, settings: Any) -> None:
    """Make ready what the plugin needs: connections, caches, background tasks.

    When: once, before the server listens. Plugins that do not depend on one another start side by side. Functions
    cannot be invoked yet. An exception, or more than `server.start_timeout` seconds, quarantines the plugin.

    Args:
        kernel: The kernel that is starting; it may be kept.
        settings: As for `jackfield_services`.
    """
    raise AssertionError


@hookspec
async def jackfield_shutdown(kernel: Kernel) -> None:
    """Give back what `jackfield_startup` took.

    When: once, after the last call has ended, in the reverse of the starting order, and only where the plugin
    started. An exception is logged; after `server.stop_timeout` seconds it is abandoned and named in the log.

    Args:
        kernel: As for `jackfield_startup`.
    """
    raise AssertionError


@hookspec
def jackfield_client_manager(kernel: Kernel) -> object:
    """Return the client manager through which several servers are one: their broadcasts reach each other's clients.

    It is an instance of a subclass of `socketio.AsyncManager`, made for this server alone. The kernel ends its tasks
    with the connections; what it has open, `jackfield_shutdown` closes.

    When: once, after all `jackfield_startup` and before clients come. At most one plugin may return one that is not
    None. A second one, something else, or an exception keeps the server from starting: alone it would reach only
    its own clients, and nobody would notice.

    Args:
        kernel: As for `jackfield_startup`.
    """
    raise AssertionError


@hookspec
async def jackfield_publish(kernel: Kernel, channel: str, data: Json, id: str | None) -> Position:
    """Publish to a channel: the plugin offers channels, and `Kernel.publish` and `Call.publish` come to it.

    When: for each publication. An exception is that of whoever publishes. Two plugins with it keep the server from
    starting.

    Args:
        kernel: As for `jackfield_startup`.
        channel: The name that was given, whatever it is.
        data: What is published.
        id: The publisher's name for it, if it has one.
    """
    raise AssertionError


@hookspec
def jackfield_http(kernel: Kernel, settings: Any) -> Mapping[str, AsgiApp | Route]:
    """Return what the plugin serves over plain HTTP: ASGI applications, each under a path such as `/metrics`.

    An application serves its path and all below it, as one that is mounted there: `root_path` is set. It is for the
    operator: on the listener of `server.admin`, or where that is not set for clients of this machine; to others the
    path is not there. `jackfield.Route(app, public=True)` is for everybody, on every listener.

    When: once, after all `jackfield_startup` and before clients come. A path that is taken, by the Socket.IO endpoint,
    the server's health or an earlier plugin, is logged and left out; so are all of a plugin whose hook raises.
    What an application raises is logged, and answered with 500.

    Args:
        kernel: As for `jackfield_startup`.
        settings: As for `jackfield_services`.
    """
    raise AssertionError


@hookspec
async def jackfield_health(kernel: Kernel) -> str | None:
    """Tell how the plugin is: None or a line of text where it is well; raise where it is not.

    When: when somebody asks for `/readyz`, once a second at the most; all plugins side by side. An exception, or more
    than a second, makes the server unready until the next time. Only operators see the texts.

    Args:
        kernel: As for `jackfield_startup`.
    """
    raise AssertionError


# ------------------------------------------------------------------- connections


@hookspec
async def jackfield_authenticate(handshake: Handshake, kernel: Kernel) -> Principal | None:
    """Tell who is connecting.

    When: once for each connection, before anything reaches it. The first result that is not None wins. As soon as
    one plugin implements this hook, a client that nobody recognises is refused as `unauthenticated`. Raise
    `CallError` to refuse with a code of your own; any other exception refuses with `internal` and an `error_id`.
    All plugins together have `limits.auth_timeout` seconds.

    Args:
        handshake: What the client showed.
        kernel: The kernel that the client comes to; the one of `jackfield_startup`.
    """
    raise AssertionError


@hookspec
async def jackfield_connect(client: Client, principal: Principal | None) -> None:
    """A client has connected.

    When: once for each connection, as soon as the client was told that it is in; its first calls may run beside it, and
    what is emitted here reaches it. All implementations run, side by
    side; an exception is logged and changes nothing. After `limits.call_timeout` seconds one is cancelled.

    Args:
        client: The client, which can be sent events already.
        principal: Who it is, if that was asked.
    """
    raise AssertionError


@hookspec
async def jackfield_disconnect(client: Client, reason: str) -> None:
    """A client has gone.

    When: exactly once for each connection that `jackfield_connect` was told of. All implementations run, side by
    side; an exception is logged and changes nothing. After `limits.call_timeout` seconds one is cancelled.

    Args:
        client: The client; events to it go nowhere.
        reason: Why: `client disconnect`, `server disconnect`, `transport close`, `ping timeout`, `parse error` for a
            client that broke the protocol, `slow reader` for one that did not read what it was sent.
    """
    raise AssertionError


# ------------------------------------------------------------------- calls


@hookspec
def jackfield_authorize(principal: Principal | None, function: FunctionInfo) -> bool | None:
    """Tell whether the principal may call the function.

    When: for every call, and for every function that `api.system` lists, so be quick. False from any plugin denies,
    whatever the function's author and the operator's rules say. True allows where these say nothing, and changes
    nothing where they do; None says nothing. What is denied looks as if it did not exist. Raise
    `CallError("permission_denied", …)` where the caller may know of it. Any other exception denies, and is logged.

    Args:
        principal: Who calls, or None.
        function: What is called.
    """
    raise AssertionError


@hookspec
def jackfield_admit(call: Call) -> None:
    """Let a call in, or raise `CallError` to turn it away: rate limits, maintenance, quotas.

    When: for every call that is allowed, before its data is unpacked; be quick. Any exception that is no
    `CallError` is answered with `internal` and an `error_id`.

    Args:
        call: The call.
    """
    raise AssertionError


@hookspec
def jackfield_observe(kernel: Kernel, settings: Any) -> Observer:
    """Return an object that is told when calls start and end: metrics, logs, traces.

    When: once, right after `jackfield_startup`. An exception quarantines the plugin. What it returns is told of every
    call, by `started` and `ended` in the call's own context; be quick. An exception in its methods, or in what its
    `meter` returned, is logged, once a second at the most, and changes nothing.

    Args:
        kernel: The kernel that is starting; it may be kept.
        settings: As for `jackfield_services`.
    """
    raise AssertionError


@hookspec
async def jackfield_call(
    call: Call, proceed: Proceed, data: Value, encode: Callable[[object], Json] | None, meta: Mapping[str, str]
) -> object:
    """Wrap a call: `return await proceed()`, with what has to be around it.

    When: for every call, around the function and after its argument was validated. The first plugin is the outermost.
    What is returned is validated as the function's result; where the function yields, `proceed` returns when its stream
    is over, and there is none. An exception is the function's exception. This is the costly seam: where watching is
    enough use `jackfield_observe`, where refusing is enough `jackfield_admit`.

    Args:
        call: The call.
        proceed: Runs what is inside; await it once.
        data: What the caller sent, neither unpacked nor validated.
        encode: Returns a result as it is sent, which may be returned in its place; None where the call is a stream.
        meta: The headers of the call; who takes them is asked only for calls that have any.
    """
    raise AssertionError
