"""Which plugin a test means: by its name, its module, or an object that was made for the occasion."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from pydantic import ValidationError

from jackfield._facade import Hooks, hook_names
from jackfield._hooks import PROJECT, hookimpl
from jackfield._manifest import Found, Manifest, discover
from jackfield._service import Service
from jackfield.testing._errors import SetupError
from jackfield.testing._project import FILE, project_above

_PREFIX: Final = "jackfield_"
_VERSION: Final = "0"
_TARGET: Final = "jackfield.testing"
"""What stands in the manifest of a plugin that no module is, where an entry point names one."""


@dataclass(frozen=True, slots=True)
class Given:
    """A plugin to be served.

    Args:
        found: Its manifest.
        object: The plugin; None to import it as the manifest says.
    """

    found: Found
    object: object = None

    @property
    def name(self) -> str:
        """The plugin's name."""
        return self.found.manifest.name


def plugin_of(plugin: object, settings: Mapping[str, Any], near: Path, name: str | None = None) -> Given:
    """Return the plugin that a test means.

    Args:
        plugin: The name of an entry point, a module, a service, or an object with hooks.
        settings: Its settings, for one without a manifest: they may say which services it has.
        near: The folder of the test, from which the project is looked for.
        name: How to call one that is no installed plugin's name.

    Raises:
        SetupError: There is no such plugin, or this is none.
    """
    if isinstance(plugin, str):
        return _named(plugin, near)
    if isinstance(plugin, ModuleType):
        file = getattr(plugin, "__file__", None)
        found = _look(Path(file).parent if file else near, lambda one: one.manifest.module == plugin.__name__)
        if found is not None:
            return found
        return _made(plugin, settings, name or plugin.__name__.rpartition(".")[2].removeprefix(_PREFIX))
    if isinstance(plugin, Service):
        return _made(_Holder(plugin), settings, name or plugin.namespace.rpartition(".")[2])
    if any(hasattr(getattr(plugin, hook, None), f"{PROJECT}_impl") for hook in dir(plugin)):
        return _made(plugin, settings, name or type(plugin).__name__)
    raise SetupError(
        f"{plugin!r:.100} is no plugin: give the name of an entry point, a module, a Service, or an object with "
        f"methods that are marked with @hookimpl, such as {hook_names()[0]}"
    )


def only_plugin(near: Path) -> str:
    """Return the name of the one plugin of the project that a folder is in.

    Raises:
        SetupError: There is none, or there are several.
    """
    project = project_above(near)
    names = [one.manifest.name for one in project.plugins()] if project else []
    if project is None:
        raise SetupError(
            f'no {FILE} in {near} or above it has a table [project.entry-points."jackfield.plugins"]; name the plugin '
            '(@pytest.mark.jackfield("demo")), or give its module or a Service'
        )
    if len(names) > 1:
        raise SetupError(
            f"{project.file} names several plugins, so say which is meant: "
            + " or ".join(f'@pytest.mark.jackfield("{name}")' for name in names)
        )
    return names[0]


class _Holder:
    """A plugin that is one service."""

    def __init__(self, service: Service) -> None:
        self.service = service

    @hookimpl
    def jackfield_services(self) -> list[Service]:
        """Return the service."""
        return [self.service]


def _named(name: str, near: Path) -> Given:
    found = _look(near, lambda one: one.manifest.name == name)
    if found is not None:
        return found
    project = project_above(near)
    ours = [one.manifest.name for one in project.plugins()] if project else []
    installed = sorted({one.manifest.name for one in discover()})
    nearest = difflib.get_close_matches(name, [*ours, *installed], n=1)
    raise SetupError(
        f"there is no plugin {name!r}"
        + (f"; {name!r} is a module, which is given as itself: import {name}" if _is_module(name) else "")
        + (f"; did you mean {nearest[0]!r}?" if nearest else ".")
        + (f" {project.file} names {', '.join(ours)}" if project else f" No {FILE} in {near} or above it names plugins")
        + f", and installed are {', '.join(installed) or 'none'}"
    )


def _is_module(name: str) -> bool:
    try:
        return name in sys.modules or find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _look(near: Path, means: Callable[[Found], bool]) -> Given | None:
    """Look at what the project says, and then at what installed packages say; nothing is imported for it."""
    project = project_above(near)
    for one in project.plugins() if project else ():
        if means(one):
            return Given(one)
    return next((Given(one) for one in discover() if means(one)), None)


def _made(plugin: object, settings: Mapping[str, Any], name: str) -> Given:
    """Return a plugin without metadata, with a manifest that says of it what it says itself."""
    name = re.sub(r"[^a-z0-9_]", "_", name.lower()).strip("_") or "plugin"
    try:
        manifest = Manifest(
            name=name,
            target=_module(plugin),
            distribution=f"jackfield-{name}",
            version=_VERSION,
            summary=(getattr(plugin, "__doc__", None) or "").strip().partition("\n")[0],
            namespaces=_namespaces(plugin, name, settings),
        )
    except ValidationError as error:
        faults = "; ".join(fault["msg"].removeprefix("Value error, ") for fault in error.errors())
        raise SetupError(f"a plugin cannot be called {name!r}: {faults}") from None
    return Given(Found(manifest), plugin)


def _module(plugin: object) -> str:
    if isinstance(plugin, ModuleType):
        return plugin.__name__
    if isinstance(plugin, _Holder):
        return next((function.handler.__module__ for function in plugin.service.functions), _TARGET)
    return type(plugin).__module__ if type(plugin).__module__ in sys.modules else _TARGET


def _namespaces(plugin: object, name: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    if isinstance(plugin, _Holder):
        return (plugin.service.namespace,)
    try:
        hooks = Hooks([(name, plugin)])
        model = hooks.settings_model()
        services = hooks.services(None if model is None else model.model_validate(settings))
    except Exception:  # noqa: BLE001 - the kernel finds the same fault, and has the words for it
        return ()
    return tuple(sorted({service.namespace for service in services}))
