"""The life of a server: settings → discover → load → start → freeze → serve → drain → stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Final, cast

from jackfield import _json, _life, _manifest, _plugins, _selection
from jackfield._access import Rules
from jackfield._breaker import Breaker
from jackfield._dispatch import Dispatcher
from jackfield._errors import CallError, Code, StartError
from jackfield._facade import Hooks, Implementation
from jackfield._guard import blocking_limit, end_stop
from jackfield._health import Health, faults
from jackfield._host import Behalf, FunctionInfo, Items, PluginInfo, Position, Stats
from jackfield._identity import Principal
from jackfield._inside import Deputy, Inside
from jackfield._json import Value
from jackfield._life import Whose, any_task, own_task
from jackfield._limited import first
from jackfield._manifest import Found
from jackfield._overload import Overload
from jackfield._plugins import State
from jackfield._registry import Registry
from jackfield._settings import Settings
from jackfield._transport.asgi import Application
from jackfield._transport.border import Border
from jackfield._transport.listener import listening
from jackfield._transport.peer import SERVER_CLOSED
from jackfield._transport.routes import Routes, administered
from jackfield._transport.server import HttpServer
from jackfield._watchdog import Watchdog

PROTOCOL_VERSION: Final = 1
_RESTART: Final = 1012
AUTHENTICATION: Final = "api.auth"
"""The namespace of plugins that say who clients are; without them the server is closed, and never open to all."""
HELPERS: Final = "jackfield-helper"
_COLLECT_AFTER: Final = 10_000
"""How many more objects are made than let go of before the garbage collector looks at the youngest."""
LEFTOVERS: Final = 1.0
"""Seconds that tasks and threads which nobody ended have to end once they are told to."""

log: Final = logging.getLogger("jackfield")


class JackfieldKernel:
    """One server, from its settings to its end; plugins see it as `jackfield.Kernel`.

    Args:
        settings: The configuration.
        found: The plugins that are installed; discovered if left out.

    Raises:
        StartError: The configuration and what is installed do not fit together, with all faults at once.
    """

    last_resort = staticmethod(end_stop)
    dispatcher = Dispatcher

    def __init__(self, settings: Settings, found: Sequence[Found] | None = None) -> None:
        self.settings = settings
        self.version = version("jackfield")
        self.protocol = PROTOCOL_VERSION
        found = _manifest.discover() if found is None else found
        self._plugins, problems = _selection.select(found, settings.plugins, self.version)
        if problems:
            raise StartError(problems)
        self._dispatcher: Dispatcher | None = None
        self._overload: Overload | None = None
        self._publisher: Implementation | None = None
        self.health = Health(self._plugins, settings.plugins.required)
        self._routes = Routes(settings.server, self.health)
        self._border = Border(settings.server, settings.limits)
        self._stop = asyncio.Event()
        self._now = asyncio.Event()
        self.url = self.admin_url = ""

    @property
    def limits(self) -> Mapping[str, int | float]:
        """Every limit of the protocol, by its name in the configuration."""
        return dict(self.settings.limits)

    def plugins(self) -> Sequence[PluginInfo]:
        """Every plugin that was found, whatever became of it."""
        return [plugin.info for plugin in self._plugins]

    def functions(self, principal: Principal | None) -> Sequence[FunctionInfo]:
        """The functions that this principal may call, sorted by event."""
        return self._dispatcher.functions(principal) if self._dispatcher else []

    def served(self) -> Sequence[FunctionInfo]:
        """Every function of the plugins that were loaded, sorted by event."""
        return [entry.info for entry in Registry(self._plugins).table.values()]

    def stats(self) -> Stats:
        """Tell what the server is doing; see `jackfield.Kernel`."""
        return Stats(
            connections=self._border.eio.connections(),
            received=self._border.eio.traffic.received,
            sent=self._border.eio.traffic.sent,
            loop_lag=self._overload.lag if self._overload else 0.0,
            plugins=self._dispatcher.stats() if self._dispatcher else {},
        )

    def quarantine(self, plugin: str, reason: str) -> None:
        """Take a plugin out of service by hand; see `jackfield.Kernel`."""
        self._breaker(plugin).quarantine(reason)

    def release(self, plugin: str) -> None:
        """Take a plugin back into service; see `jackfield.Kernel`."""
        breaker = self._breaker(plugin)
        if not breaker.shut:
            raise CallError(Code.FAILED_PRECONDITION, f"The plugin {plugin} is in service.")
        breaker.release()

    async def invoke(
        self, event: str, data: object = None, *, items: Items | None = None, timeout: float | None = None
    ) -> Value:
        """Call a function as nobody in particular; see `jackfield.Kernel`."""
        return await self._inside().invoke(None, event, data, items, timeout)

    def stream(
        self, event: str, data: object = None, *, items: Items | None = None, timeout: float | None = None
    ) -> AsyncGenerator[Value, None]:
        """Call a function that gives a stream as nobody in particular; see `jackfield.Kernel`."""
        return self._inside().stream(None, event, data, items, timeout)

    def on_behalf_of(self, principal: Principal | None) -> Behalf:
        """Return what calls functions for somebody; see `jackfield.Kernel`."""
        return Deputy(self._inside, principal)

    async def emit(self, event: str, data: object = None, *, room: str | None = None, volatile: bool = False) -> None:
        """Send a Socket.IO event to every client, or to those of a room; see `jackfield.Kernel`."""
        await self._border.broadcast(event, _json.dumps(data), room, volatile=volatile)

    def send(self, event: str, data: object, clients: Iterable[str], *, volatile: bool = False) -> Sequence[str]:
        """Send a Socket.IO event to some clients of this server; see `jackfield.Kernel`."""
        return self._border.send(event, _json.dumps(data), clients, volatile=volatile)

    async def publish(self, channel: str, data: object = None, *, id: str | None = None) -> Position:
        """Publish to a channel; see `jackfield.Kernel`."""
        if self._publisher is None:
            raise CallError(Code.UNIMPLEMENTED, "No plugin in service offers channels.")
        return cast(Position, await self._publisher(kernel=self, channel=channel, data=_json.dumps(data), id=id))

    def load(self) -> None:
        """Import and check the plugins that may be; in the main thread, outside any event loop.

        Raises:
            StartError: A plugin has a fault, and `plugins.strict` is set, or `plugins.required` names it.
        """
        _plugins.load_all(self._plugins, self.settings)
        self._check_plugins()

    def stop(self) -> None:
        """Ask the server to drain and end; asked twice, it does not wait for calls that run."""
        (self._now if self._stop.is_set() else self._stop).set()

    async def serve(self, ready: Callable[[], None], fd: int | None = None) -> None:
        """Listen, and serve until `stop` is called, or SIGTERM or SIGINT comes; the event loop is the server's own.

        Args:
            ready: Called when clients can connect; `url` and `admin_url` are set then.
            fd: The descriptor of a socket to listen on, in the place of what the settings say.

        Raises:
            StartError: The server cannot listen, or a plugin did not start that has to.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        with listening(self.settings.server, fd) as listener:
            settings, limits = self.settings.server, self.settings.limits
            beside = self._routes.at("main" if settings.admin else "both")
            server = HttpServer(settings, limits, self._border.eio, listener=listener, beside=beside)
            self.url = server.url
            try:
                async with (
                    administered(settings, limits, self._routes) as self.admin_url,
                    self._in_service(server.stop, any_task),
                ):
                    await server.start()
                    _spare_the_collector()
                    ready()
                    await first(server.ended(), self._stop.wait())
                    if fd is not None:  # others listen on it too, and are there for who comes now
                        server.stop_listening()
            finally:
                await self._cancel_leftovers()

    def endpoint(self) -> Application:
        """Return all that the server serves, for a host that listens itself; it serves while `attached` does."""
        return Application([self._border.eio], self._routes.at("both"))

    def attached(self) -> AbstractAsyncContextManager[None]:
        """Be in service while a block runs, in an event loop whose signals and other tasks are the host's.

        Raises:
            StartError: A plugin did not start that has to.
        """
        return self._in_service(self._hang_up, own_task)

    @asynccontextmanager
    async def _in_service(self, hang_up: Callable[[], Awaitable[None]], whose: Whose) -> AsyncIterator[None]:
        """Start the plugins; after the block let calls end, close all connections, and stop the plugins.

        Args:
            hang_up: Closes the connections.
            whose: Says which tasks may be interrupted for the end.
        """
        try:
            await _life.start(self._plugins, self, self.settings.server.start_timeout)
            self._check_plugins()
            self._dispatcher = dispatcher = self._freeze()
            self._border.serve(dispatcher)
            self.health.unfit = None
            with self._watched(dispatcher):
                yield
            self.health.unfit = "the server is going away"
            self._border.eio.leaving = True
            log.info("draining: %g s for the calls that run", self.settings.server.drain_timeout)
            with blocking_limit(self.settings.server.stop_timeout, whose, self.last_resort):
                await self._drain(dispatcher)
                await self._border.eio.close_polls()
                await hang_up()
                for event in await dispatcher.close(self.settings.server.stop_timeout):
                    log.warning("a call of %s did not end and is abandoned", event)
        finally:
            await self._border.shutdown()
            self._routes.unmount()
            await _life.stop(self._plugins, self, self.settings.server.stop_timeout, whose, self.last_resort)

    async def _hang_up(self) -> None:
        for peer in list(self._border.eio.sockets.values()):
            peer.close(SERVER_CLOSED, _RESTART)

    def _freeze(self) -> Dispatcher:
        in_service = [p for wave in _plugins.in_order([p for p in self._plugins if p.in_service]) for p in wave]
        observers = {name: observer for plugin in in_service for name, observer in plugin.observers.items()}
        abstaining = {pair for plugin in in_service for pair in plugin.abstaining}
        hooks = Hooks([(plugin.name, plugin.object) for plugin in in_service], observers, abstaining)
        if (found := hooks.client_manager(self)) is not None:
            self._border.use(*found)
        self._publisher = hooks.publisher()
        self.health.listen_to(hooks.health(self))
        for plugin in in_service:
            self._routes.mount(plugin.name, partial(plugin.hooks.http, self, plugin.settings))
        rules = Rules(self.settings.access.rules, authenticated=hooks.authenticates)
        closed = self._closed()
        if closed is not None:
            self.health.checks["authentication"] = lambda: closed
        if rules.need_scopes and not hooks.authenticates and closed is None:
            raise StartError(["access.rules say who may call what, but no plugin in service says who is calling"])
        registry = Registry(self._plugins, rules)
        if not hooks["jackfield_authorize"]:  # which may allow what neither authors nor the operator speak of
            for sentence in rules.unopened(entry.info for entry in registry.table.values()):
                log.warning(sentence)
        return self.dispatcher(self, registry, hooks, self.settings, in_service, closed)

    def _closed(self) -> str | None:
        """Return why nobody is let in: a plugin that was to say who clients are is not in service."""
        for plugin in self._plugins:
            wanted = plugin.state is State.QUARANTINED or (plugin.state is State.REFUSED and not plugin.left_out)
            if wanted and AUTHENTICATION in plugin.manifest.namespaces:
                log.error("nobody is let in: plugin %s, which says who clients are, is %s", plugin.name, plugin.state)
                return "Nobody can be let in: what says who clients are is out of service."
        return None

    def _breaker(self, name: str) -> Breaker:
        found = next((plugin for plugin in self._plugins if plugin.name == name), None)
        if found is None:
            raise CallError(Code.NOT_FOUND, f"There is no plugin {name[:100]!r}.")
        breaker = self._dispatcher.breaker(name) if self._dispatcher else None
        if breaker is None:
            raise CallError(
                Code.FAILED_PRECONDITION, f"The plugin {name} is {found.state}, which only a new start can change."
            )
        return breaker

    def _watched(self, dispatcher: Dispatcher) -> AbstractContextManager[object]:
        eio = self._border.eio
        overload = Overload(self.settings.limits, dispatcher.shed, lambda: eio.turn.behind)
        self._overload = eio.overload = overload
        self.health.checks |= {"event loop": overload.loop, "memory": overload.memory}
        return Watchdog(self.settings.watchdog, dispatcher.culprits, dispatcher.held, overload.beat)

    def _inside(self) -> Inside:
        if self._dispatcher is None:
            raise CallError(Code.UNAVAILABLE, "The server does not serve yet.")
        return self._dispatcher.inside

    async def _drain(self, dispatcher: Dispatcher) -> None:
        draining = asyncio.ensure_future(dispatcher.drain(self.settings.server.drain_timeout))
        await first(draining, self._now.wait())
        if not draining.done():
            draining.cancel()
            await dispatcher.drain(0)

    async def _cancel_leftovers(self) -> None:
        leftovers = asyncio.all_tasks() - {asyncio.current_task()}
        for task in leftovers:
            task.cancel()
        if leftovers:
            with blocking_limit(LEFTOVERS, any_task, end_stop):
                _, stuck = await asyncio.wait(leftovers, timeout=LEFTOVERS)
            for task in stuck:
                log.warning("the task %s does not end and is abandoned", task.get_name())

    def _check_plugins(self) -> None:
        if found := faults(self._plugins, self.settings.plugins):
            raise StartError(found)


def _spare_the_collector() -> None:
    """Keep what was made for good, and most of what calls make, out of the garbage collector's rounds."""
    gc.collect()
    gc.freeze()
    # Calls in flight are more objects than Python's threshold counts on, and nearly all end by themselves.
    gc.set_threshold(_COLLECT_AFTER, *gc.get_threshold()[1:])
