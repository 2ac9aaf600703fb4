"""The one place that speaks with pluggy: every hook as a typed method.

pluggy keeps the specifications, checks implementations against them and knows their order. It does not call
them: one implementation that raises must not lose the results of the others, and each fault needs its
plugin's name, so implementations are called one by one.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import pluggy
from pydantic import BaseModel

from jackfield import _hooks
from jackfield._call import Call, Client
from jackfield._errors import PluginError, StartError
from jackfield._hooks import Observer
from jackfield._host import Kernel
from jackfield._identity import Handshake, Principal
from jackfield._route import Route
from jackfield._service import Service


@dataclass(frozen=True, slots=True)
class Implementation:
    """One plugin's implementation of one hook."""

    plugin: str
    function: Callable[..., Any]
    argnames: tuple[str, ...]

    def __call__(self, **arguments: object) -> Any:
        """Call it with those of the hook's arguments that it takes."""
        return self.function(*[arguments[name] for name in self.argnames])


def hook_names() -> tuple[str, ...]:
    """Return the names of all hooks, in the order of their declaration."""
    return tuple(name for name in vars(_hooks) if name.startswith("jackfield_"))


def check_hooks(plugin: object, name: str) -> None:
    """Check one plugin's hooks before any of them is called.

    Raises:
        PluginError: A hook is misspelt, takes arguments that it does not have, is a wrapper, or is a coroutine
            function where it must not be, or the reverse.
    """
    manager = _manager()
    try:
        manager.register(plugin, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(_explain(plugin, error), kind="PluginValidationError") from None
    for hook in hook_names():
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            if implementation.hookwrapper or implementation.wrapper:
                raise PluginError(f"{hook} is a wrapper, which jackfield does not support: use jackfield_call")
            wanted = inspect.iscoroutinefunction(getattr(_hooks, hook))
            if inspect.iscoroutinefunction(implementation.function) is not wanted:
                should = "must be a coroutine function (async def)" if wanted else "must be a plain function (def)"
                raise PluginError(f"{hook} {should}")


def forgotten_marks(plugin: object) -> list[str]:
    """Return the names of functions that look like hooks but were not marked with `@hookimpl`."""
    return [
        name
        for name in hook_names()
        if callable(found := getattr(plugin, name, None)) and not hasattr(found, f"{_hooks.PROJECT}_impl")
    ]


class Hooks:
    """All hooks of the plugins that are in service, frozen.

    Args:
        plugins: Name and object of each plugin, in starting order.
        observers: What plugins have already answered to `jackfield_observe`, which is asked once.
        abstaining: Pairs of a plugin's name and a hook's in which the plugin takes no part.
    """

    def __init__(
        self,
        plugins: Iterable[tuple[str, object]],
        observers: Mapping[str, Observer] | None = None,
        abstaining: Container[tuple[str, str]] = (),
    ) -> None:
        manager = _manager()
        self._observers = observers or {}
        place: dict[str, int] = {}
        for name, plugin in plugins:
            manager.register(plugin, name)
            place[name] = len(place)

        def turn(found: pluggy.HookImpl) -> tuple[bool, bool, int]:
            return not found.tryfirst, found.trylast, place[found.plugin_name]

        self._all = {
            hook: tuple(
                Implementation(found.plugin_name, found.function, tuple(found.argnames))
                for found in sorted(getattr(manager.hook, hook).get_hookimpls(), key=turn)
                if (found.plugin_name, hook) not in abstaining
            )
            for hook in hook_names()
        }

    def __getitem__(self, hook: str) -> tuple[Implementation, ...]:
        return self._all[hook]

    def settings_model(self) -> type[BaseModel] | None:
        """Ask the one plugin for its settings' model."""
        return next((cast("type[BaseModel]", ask()) for ask in self["jackfield_settings"]), None)

    def abstentions(self, settings: BaseModel | None) -> frozenset[str]:
        """Ask the one plugin in which hooks it takes no part.

        Raises:
            PluginError: It names what is no hook.
        """
        found = {name for ask in self["jackfield_abstain"] for name in ask(settings=settings)}
        for name in found:
            if name not in hook_names():
                nearest = difflib.get_close_matches(str(name), hook_names(), n=1)
                raise PluginError(
                    f"jackfield_abstain names {name!r}, which is no hook"
                    + (f"; did you mean {nearest[0]!r}?" if nearest else "")
                )
        return frozenset(found)

    def services(self, settings: BaseModel | None) -> list[Service]:
        """Ask the one plugin for its services."""
        return [service for ask in self["jackfield_services"] for service in _sequence(ask(settings=settings))]

    async def startup(self, kernel: Kernel, settings: BaseModel | None) -> None:
        """Start the one plugin."""
        for start in self["jackfield_startup"]:
            await start(kernel=kernel, settings=settings)

    async def shutdown(self, kernel: Kernel) -> None:
        """Stop the one plugin."""
        for stop in self["jackfield_shutdown"]:
            await stop(kernel=kernel)

    def client_manager(self, kernel: Kernel) -> tuple[str, object] | None:
        """Return the one client manager, if there is one, and the plugin that it is from.

        Raises:
            StartError: There are several, or a plugin failed to say.
        """
        found: list[tuple[str, object]] = []
        faults = []
        for ask in self["jackfield_client_manager"]:
            try:
                manager = ask(kernel=kernel)
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                faults.append(
                    f"jackfield_client_manager of plugin {ask.plugin} failed: {type(error).__name__}: {error}"
                )
            else:
                if manager is not None:
                    found.append((ask.plugin, manager))
        if len(found) > 1:
            faults.append(_several("return a client manager", [plugin for plugin, _ in found]))
        if faults:
            raise StartError(faults)
        return found[0] if found else None

    def publisher(self) -> Implementation | None:
        """Return the one that publishes to channels, if there is one, or raise `StartError` where there are several."""
        asked = self["jackfield_publish"]
        if len(asked) > 1:
            raise StartError([_several("offer channels (jackfield_publish)", [ask.plugin for ask in asked])])
        return asked[0] if asked else None

    def http(self, kernel: Kernel, settings: BaseModel | None) -> dict[str, Route]:
        """Ask the one plugin for its routes."""
        return {
            path: route
            for ask in self["jackfield_http"]
            for path, route in _routes(ask(kernel=kernel, settings=settings)).items()
        }

    def health(self, kernel: Kernel) -> list[tuple[str, Callable[[], Any]]]:
        """Return what tells how plugins are: each plugin's name and its coroutine function."""
        return [(ask.plugin, partial(ask, kernel=kernel)) for ask in self["jackfield_health"]]

    @property
    def authenticates(self) -> bool:
        """Whether any plugin says who is connecting."""
        return bool(self["jackfield_authenticate"])

    async def authenticate(self, handshake: Handshake, kernel: Kernel) -> Principal | None:
        """Return the first principal that a plugin knows the client as."""
        for ask in self["jackfield_authenticate"]:
            found = await ask(handshake=handshake, kernel=kernel)
            if found is not None and not isinstance(found, Principal):
                raise TypeError(f"jackfield_authenticate must return a Principal or None, not {type(found).__name__}")
            if found is not None:
                return found
        return None

    def connected(self, client: Client, principal: Principal | None) -> list[tuple[str, Callable[[], Any]]]:
        """Return what has to be run for a new client: each plugin's name and its coroutine function."""
        return [
            (tell.plugin, lambda tell=tell: tell(client=client, principal=principal))  # type: ignore[misc]
            for tell in self["jackfield_connect"]
        ]

    def disconnected(self, client: Client, reason: str) -> list[tuple[str, Callable[[], Any]]]:
        """Return what has to be run for a client that has gone."""
        return [
            (tell.plugin, lambda tell=tell: tell(client=client, reason=reason))  # type: ignore[misc]
            for tell in self["jackfield_disconnect"]
        ]

    def authorizers(self) -> tuple[Implementation, ...]:
        """Return what has to be asked before a call."""
        return tuple(self["jackfield_authorize"])

    def admitters(self) -> tuple[Callable[[Call], None], ...]:
        """Return what may turn a call away."""
        return tuple(_admitter(ask) for ask in self["jackfield_admit"])

    def observers(
        self, kernel: Kernel | None = None, settings: BaseModel | None = None
    ) -> tuple[tuple[str, Observer], ...]:
        """Return what is told of calls, with the plugin's name; only who has not said so before is asked."""
        return tuple(
            (ask.plugin, self._observers.get(ask.plugin) or _observer(ask(kernel=kernel, settings=settings)))
            for ask in self["jackfield_observe"]
        )

    def wrappers(self, *, headed: bool = True) -> tuple[Implementation, ...]:
        """Return what wraps calls, the outermost first: those that have headers, or those that have none."""
        return tuple(ask for ask in self["jackfield_call"] if headed or "meta" not in ask.argnames)


def _observer(found: object) -> Observer:
    if not isinstance(found, Observer):
        raise PluginError(f"jackfield_observe must return a jackfield.Observer, not {found!r:.100}")
    return found


def _admitter(ask: Implementation) -> Callable[[Call], None]:
    # The one argument of what every call passes need not be found by its name.
    return ask.function if ask.argnames == ("call",) else lambda call: ask(call=call)


def _several(do: str, plugins: list[str]) -> str:
    return (
        f"several plugins {do}, and a server can have one: {' and '.join(plugins)}; "
        "put all but one of them into plugins.disabled"
    )


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(_hooks.PROJECT)
    manager.add_hookspecs(_hooks)
    return manager


def _sequence(services: object) -> Sequence[Service]:
    if not isinstance(services, list | tuple) or not all(isinstance(s, Service) for s in services):
        raise PluginError(f"jackfield_services must return a list of Service objects, not {services!r:.100}")
    return services


def _routes(found: object) -> dict[str, Route]:
    routes = {} if found is None else found
    if not isinstance(routes, Mapping) or not all(isinstance(path, str) for path in routes):
        raise PluginError(f"jackfield_http must return a mapping from paths to ASGI applications, not {found!r:.100}")
    made = {path: app if isinstance(app, Route) else Route(app) for path, app in routes.items()}
    for path, route in made.items():
        if not callable(route.app):
            raise PluginError(f"jackfield_http must return ASGI applications, and {path} is {route.app!r:.100}")
    return made


def _explain(plugin: object, error: pluggy.PluginValidationError) -> str:
    known = hook_names()
    problems = []
    for name in dir(plugin):
        found: Any = getattr(plugin, name, None)
        if not hasattr(found, f"{_hooks.PROJECT}_impl"):
            continue
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            problems.append(f"there is no hook {name!r}" + (f"; did you mean {nearest[0]!r}?" if nearest else ""))
            continue
        takes = list(inspect.signature(getattr(_hooks, name)).parameters)
        wrong = [repr(one) for one in inspect.signature(found).parameters if one not in takes]
        if wrong:
            problems.append(f"{name} takes {', '.join(takes) or 'no arguments'}, and has no {', '.join(wrong)}")
    return "; ".join(problems) or " ".join(str(error).split())
