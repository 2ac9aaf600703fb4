"""The life of plugins, from what is installed to what is in service.

    discovered → disabled (never imported)
               → refused  (not on the list, incompatible kernel, manifest invalid; never imported)
               → loaded → started → stopped
               → quarantined (its import, hook, settings, contract or start failed or took too long)

A fault of one plugin is kept with it and shown; the others go on.
"""

from __future__ import annotations

import logging
import traceback
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from typing import Final

from packaging.utils import NormalizedName, canonicalize_name
from pydantic import BaseModel, JsonValue, ValidationError

from jackfield._configuration import explain
from jackfield._contract import Contract, Kind
from jackfield._errors import ContractError, PluginError
from jackfield._facade import Hooks, check_hooks, forgotten_marks
from jackfield._guard import Interrupted, TimeIsUp, time_limit
from jackfield._hooks import Observer
from jackfield._host import Kernel, PluginInfo
from jackfield._manifest import Manifest
from jackfield._service import Function, Service
from jackfield._settings import Settings

NOT_LISTED: Final = "NotListed"
_STALE: Final = "what is installed is read, not pyproject.toml: after a change of it, pip install --editable . again"

log: Final = logging.getLogger("jackfield.plugins")


class State(StrEnum):
    """Where a plugin stands in its life."""

    DISCOVERED = "discovered"
    DISABLED = "disabled"
    REFUSED = "refused"
    LOADED = "loaded"
    STARTED = "started"
    STOPPED = "stopped"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Served:
    """One function of a plugin, with its compiled contract."""

    event: str
    function: Function
    contract: Contract


@dataclass(slots=True)
class Plugin:
    """One plugin that was found, and what has become of it."""

    manifest: Manifest
    state: State = State.DISCOVERED
    fault: PluginError | None = None
    object: object = None
    settings: BaseModel | None = None
    served: tuple[Served, ...] = ()
    hooks: Hooks = field(default_factory=lambda: Hooks(()))
    begun: bool = False
    abstaining: frozenset[tuple[str, str]] = frozenset()
    observers: Mapping[str, Observer] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The plugin's name."""
        return self.manifest.name

    @property
    def left_out(self) -> bool:
        """Whether it is out of service by the operator's will."""
        return self.state is State.DISABLED or (self.fault is not None and self.fault.kind == NOT_LISTED)

    @property
    def in_service(self) -> bool:
        """Whether its functions answer."""
        return self.state in (State.LOADED, State.STARTED)

    @property
    def info(self) -> PluginInfo:
        """The plugin as others see it."""
        return PluginInfo(
            name=self.name,
            distribution=self.manifest.distribution,
            version=self.manifest.version,
            summary=self.manifest.summary,
            state=self.state.value,
            namespaces=self.manifest.namespaces,
            functions=len(self.served),
            reason=self.fault.reason if self.fault else None,
            kind=self.fault.kind if self.fault else None,
            hint=self.fault.hint if self.fault else None,
        )

    async def start(self, kernel: Kernel) -> None:
        """Run its start hook, and ask it for its observer."""
        await self.hooks.startup(kernel, self.settings)
        self.observers = dict(self.hooks.observers(kernel, self.settings))

    def refuse(self, fault: PluginError) -> None:
        """Keep it out, without ever importing it."""
        self.state, self.fault = State.REFUSED, fault
        log.warning("plugin %s is refused: %s", self.name, fault.reason)

    def quarantine(self, fault: PluginError, error: BaseException | None = None) -> None:
        """Take it out of service for a fault of its own; `error` is what it raised."""
        self.state, self.fault = State.QUARANTINED, fault
        log.error("plugin %s is quarantined: %s", self.name, fault.reason)
        if error is not None and error is not fault:
            log.debug("plugin %s", self.name, exc_info=error)


def load_all(plugins: Iterable[Plugin], settings: Settings) -> None:
    """Import and check every plugin that may be loaded, dependencies first; each fault stays with its plugin."""
    candidates = [plugin for plugin in plugins if plugin.state is State.DISCOVERED]
    for wave in in_order(candidates):
        for plugin in wave:
            if not blame_dependency(plugin, candidates):
                _load(plugin, candidates, settings)


def in_order(plugins: Sequence[Plugin]) -> list[list[Plugin]]:
    """Return the plugins in waves, each of which depends on earlier waves only.

    Plugins that depend on one another in a circle are quarantined, and are in no wave.
    """
    by_distribution: dict[NormalizedName, list[Plugin]] = defaultdict(list)
    for plugin in plugins:
        by_distribution[canonicalize_name(plugin.manifest.distribution)].append(plugin)
    graph: dict[NormalizedName, set[NormalizedName]] = {
        name: {d for p in group for d in p.manifest.requires if d in by_distribution and d != name}
        for name, group in by_distribution.items()
    }
    while True:
        sorter = TopologicalSorter(graph)
        try:
            sorter.prepare()
            break
        except CycleError as error:
            cycle: list[NormalizedName] = error.args[1]
            for name in cycle[1:]:
                for plugin in by_distribution[name]:
                    plugin.quarantine(
                        PluginError(f"it depends on itself: {' → '.join(reversed(cycle))}", kind="DependencyCycle")
                    )
            graph = {name: needs - set(cycle) for name, needs in graph.items() if name not in cycle}
    waves = []
    while sorter.is_active():
        ready = sorter.get_ready()
        waves.append(sorted((p for name in ready for p in by_distribution[name]), key=lambda p: p.name))
        sorter.done(*ready)
    return waves


def blame_dependency(plugin: Plugin, others: Iterable[Plugin]) -> bool:
    """Quarantine the plugin if another, on which it depends, is not in service; tell whether that was so."""
    for other in others:
        needed = canonicalize_name(other.manifest.distribution) in plugin.manifest.requires
        if needed and other.state is State.QUARANTINED:
            plugin.quarantine(
                PluginError(f"it needs the plugin {other.name}, which is quarantined", kind="DependencyError")
            )
            return True
    return False


def describe(error: BaseException) -> PluginError:
    """Return the reason for which an exception of a plugin takes it out of service."""
    if isinstance(error, PluginError):
        return error
    kind = type(error).__name__
    if isinstance(error, TimeIsUp):
        return PluginError("it took too long", kind="TimeIsUp", hint="raise server.start_timeout, or mend the plugin")
    hint = None
    if isinstance(error, ModuleNotFoundError) and error.name:
        hint = f"pip install {error.name.partition('.')[0]}"
    lines = traceback.format_exception_only(error)
    # Before its message a SyntaxError shows the line, of which the place tells enough.
    text = " ".join("".join(lines[-1:] if isinstance(error, SyntaxError) else lines).split())
    where = _last_line(error)
    return PluginError(text + (f" ({where})" if where else ""), kind=kind, hint=hint)


def _load(plugin: Plugin, others: Iterable[Plugin], settings: Settings) -> None:
    table = settings.plugins.tables.get(plugin.name, {})
    try:
        with time_limit(settings.server.start_timeout, plugin.name):
            plugin.object = _import(plugin.manifest) if plugin.object is None else plugin.object
            _check_object(plugin, others)
            check_hooks(plugin.object, plugin.name)
            plugin.hooks = Hooks([(plugin.name, plugin.object)])
            plugin.settings = _settings(plugin, table)
            plugin.abstaining = frozenset((plugin.name, hook) for hook in plugin.hooks.abstentions(plugin.settings))
            plugin.hooks = Hooks([(plugin.name, plugin.object)], abstaining=plugin.abstaining)
            plugin.served = _served(plugin, plugin.hooks.services(plugin.settings))
    except Interrupted:
        raise
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, SystemExit included
        plugin.quarantine(describe(error), error)
    else:
        plugin.state = State.LOADED


def _import(manifest: Manifest) -> object:
    attribute = manifest.target.partition(":")[2]
    found: object = import_module(manifest.module)
    for part in attribute.strip().split(".") if attribute else ():
        found = getattr(found, part)
    return found


def _check_object(plugin: Plugin, others: Iterable[Plugin]) -> None:
    if plugin.object is None:
        raise PluginError(f"its entry point names {plugin.manifest.target}, which is None")
    for other in others:
        if other is not plugin and other.object is plugin.object:
            raise PluginError(
                f"its entry point names what the plugin {other.name} is already: {plugin.manifest.target}"
            )


def _settings(plugin: Plugin, table: Mapping[str, JsonValue]) -> BaseModel | None:
    model: object = plugin.hooks.settings_model()
    prefix = f"plugins.{plugin.name}"
    if model is None:
        if table:
            raise PluginError(
                f"{prefix}: the plugin takes no settings, but has {', '.join(table)}", kind="SettingsError"
            )
        return None
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise PluginError(f"jackfield_settings must return a pydantic model's class, not {model!r:.100}")
    try:
        return model.model_validate(table)
    except ValidationError as error:
        raise PluginError("; ".join(explain(error, model, prefix)), kind="SettingsError") from None


def _served(plugin: Plugin, services: Sequence[Service]) -> tuple[Served, ...]:
    declared, provided = set(plugin.manifest.namespaces), [service.namespace for service in services]
    problems = [f"serves {name!r}, which its metadata does not declare" for name in provided if name not in declared]
    problems += [f"declares {name!r}, which it does not serve" for name in sorted(declared - set(provided))]
    problems += [f"has two services for {name!r}" for name in sorted({n for n in provided if provided.count(n) > 1})]
    if problems:
        hint = None if declared == set(provided) else _STALE
        if forgotten := forgotten_marks(plugin.object):
            hint = f"mark {', '.join(forgotten)} with @hookimpl"
        raise PluginError(f"it {'; it '.join(problems)}", kind="NamespaceError", hint=hint)
    served, faults = [], []
    for service in services:
        for function in service.functions:
            try:
                event = f"{service.namespace}.{function.name}"
                contract = Contract(function.handler, function.emits)
                if function.detached and contract.kind is not Kind.UNARY:
                    raise ContractError(f"{event} is a stream, which ends with its connection: it cannot be detached")
                served.append(Served(event, function, contract))
            except PluginError as error:
                faults.append(error)
    if faults:
        reasons = [" ".join(fault.reason.split()) for fault in faults]
        raise PluginError(
            "; ".join(reasons), kind=faults[0].kind, hint=next((one.hint for one in faults if one.hint), None)
        )
    return tuple(served)


def _last_line(error: BaseException) -> str | None:
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if "importlib" not in frame.filename and __file__ != frame.filename]
    return f"{theirs[-1].filename}:{theirs[-1].lineno}" if theirs else None
