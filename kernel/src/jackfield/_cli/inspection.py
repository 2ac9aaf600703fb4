"""Find out what is installed, without a server: each plugin is loaded in a process of its own.

A plugin that ends its process, crashes it or never comes back spoils its own row and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name

from jackfield import _manifest, _plugins, _selection
from jackfield._errors import PluginError
from jackfield._host import FunctionInfo, PluginInfo
from jackfield._manifest import Found
from jackfield._plugins import Plugin, State
from jackfield._settings import Settings

GRACE: Final = 4.0
"""Seconds beyond `server.start_timeout` after which a process is killed; below the patience of its own watchdog."""
_AT_ONCE: Final = max(4, os.cpu_count() or 1)

Wanted = Callable[[Plugin], bool]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found.

    Attributes:
        plugins: Every plugin that is installed.
        functions: The functions of those that were loaded, sorted by event.
        faults: Why no server could start, whatever the plugins are like.
        settings: Of each plugin whose settings are known, by its name: their JSON Schema as `schema`, and as `values`
            what is in force, if it fits.
        authenticates: Whether a plugin that was loaded says who is calling.
    """

    plugins: Sequence[PluginInfo]
    functions: Sequence[FunctionInfo]
    faults: Sequence[str]
    settings: Mapping[str, Mapping[str, Any]]
    authenticates: bool


def is_faulty(plugin: PluginInfo) -> bool:
    """Tell whether something is wrong with the plugin; not to be on the list is not wrong."""
    return plugin.state in (State.QUARANTINED, State.REFUSED) and plugin.kind != "NotListed"


def inspect(
    settings: Settings,
    config: Path | None,
    *,
    load: bool = True,
    wanted: Wanted | None = None,
    found: Sequence[Found] | None = None,
    aside: Path | None = None,
) -> Inspection:
    """Find out what is installed and what becomes of it.

    Args:
        settings: The configuration.
        config: The file that it was read from, for the child processes.
        load: Whether to load plugins; without it only metadata is read.
        wanted: Which plugins to load, beside those that they depend on; all that may be if left out.
        found: What is installed; discovered if left out.
        aside: A folder with plugins that are not installed: what is in it comes first, and no variable is read as
            configuration.
    """
    # What the kernel would log is what this returns.
    logging.getLogger("jackfield").addHandler(logging.NullHandler())
    found = _manifest.discover() if found is None else found
    plugins, faults = _selection.select(found, settings.plugins, version("jackfield"))
    served: dict[str, list[FunctionInfo]] = {}
    tables: dict[str, Mapping[str, Any]] = {}
    authenticates = False
    if load:
        candidates = [plugin for plugin in plugins if plugin.state is State.DISCOVERED]
        waves = _plugins.in_order(candidates)
        chosen = _with_dependencies([p for wave in waves for p in wave], wanted)
        results = _load_apart(chosen, settings, config, aside)
        for plugin in (p for wave in waves for p in wave):
            result = results.get(plugin.manifest.qualified)
            if isinstance(result, dict) and result["settings"] is not None:
                tables[plugin.name] = result["settings"]
            if result is not None and not _plugins.blame_dependency(plugin, candidates):
                served[plugin.manifest.qualified] = _take(plugin, result)
                _blame_twin(plugin, candidates)
                authenticates |= plugin.in_service and isinstance(result, dict) and result["authenticates"]
    infos = [replace(plugin.info, functions=len(served.get(plugin.manifest.qualified, ()))) for plugin in plugins]
    functions = sorted((function for several in served.values() for function in several), key=lambda f: f.event)
    return Inspection(infos, functions, faults, tables, authenticates)


def _with_dependencies(plugins: Sequence[Plugin], wanted: Wanted | None) -> list[Plugin]:
    if wanted is None:
        return list(plugins)
    chosen: list[Plugin] = []
    # Dependencies stand before those that need them.
    for plugin in reversed(plugins):
        needed = any(canonicalize_name(plugin.manifest.distribution) in one.manifest.requires for one in chosen)
        if needed or wanted(plugin):
            chosen.append(plugin)
    return chosen


def _take(plugin: Plugin, result: dict[str, Any] | PluginError) -> list[FunctionInfo]:
    if isinstance(result, PluginError):
        plugin.quarantine(result)
        return []
    said = PluginInfo(**result["plugin"])
    if said.state != State.LOADED:
        plugin.quarantine(PluginError(said.reason or said.state, kind=said.kind, hint=said.hint))
        return []
    plugin.state = State.LOADED
    return [FunctionInfo(**function) for function in result["functions"]]


def _blame_twin(plugin: Plugin, others: Sequence[Plugin]) -> None:
    """Quarantine the plugin if its entry point names what another has already: apart, neither would notice."""
    for other in others:
        taken = other is not plugin and other.state is State.LOADED and other.manifest.target == plugin.manifest.target
        if taken and plugin.state is State.LOADED:
            reason = f"its entry point names what the plugin {other.name} is already: {plugin.manifest.target}"
            plugin.quarantine(PluginError(reason))


def _load_apart(
    plugins: Sequence[Plugin], settings: Settings, config: Path | None, aside: Path | None
) -> dict[str, dict[str, Any] | PluginError]:
    limit = settings.server.start_timeout + GRACE
    with tempfile.TemporaryDirectory(prefix="jackfield-", ignore_cleanup_errors=True) as folder:
        children = [_Child(p.manifest.qualified, config, aside, Path(folder) / str(i)) for i, p in enumerate(plugins)]
        asyncio.run(_run_all(children, limit))
        return {child.plugin: child.result() for child in children}


async def _run_all(children: Sequence[_Child], limit: float) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def run(child: _Child) -> None:
        async with gate:
            await child.run(limit)

    # A group, unlike gather, waits for all of them when it is cancelled.
    async with asyncio.TaskGroup() as group:
        for child in children:
            group.create_task(run(child))


class _Child:
    """One plugin's process.

    Args:
        plugin: The plugin, as `distribution:name`.
        config: The configuration file.
        aside: A folder with plugins that are not installed.
        folder: Where its output and its result go.
    """

    def __init__(self, plugin: str, config: Path | None, aside: Path | None, folder: Path) -> None:
        folder.mkdir()
        self.plugin = plugin
        self._answer = folder / "result.json"
        self._output = folder / "output"
        self._status: int | None = None
        self._request = {
            "plugin": plugin,
            "path": [str(aside), *sys.path] if aside else sys.path,
            "variables": aside is None,
            "config": str(config) if config else None,
            "result": str(self._answer),
        }

    async def run(self, limit: float) -> None:
        """Run the process to its end, or for `limit` seconds; nothing of it is left then."""
        with self._writing() as output:
            process = await asyncio.create_subprocess_exec(
                # -P: what lies in the folder where the command runs is not imported by accident
                *(sys.executable, "-P", "-m", "jackfield._cli.probe"),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(limit):
                await process.communicate(json.dumps(self._request).encode())
                self._status = process.returncode
        except TimeoutError:
            self._status = None
        finally:
            # Its own session is its process group: what the plugin started goes too.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    def result(self) -> dict[str, Any] | PluginError:
        """Return what the process wrote down, or why it could not."""
        if self._answer.exists():
            answer: dict[str, Any] = json.loads(self._answer.read_text(encoding="utf-8"))
            return answer
        if self._status is None:
            return PluginError(
                "it took too long, and could not be interrupted",
                kind="TimeIsUp",
                hint="raise server.start_timeout, or mend the plugin",
            )
        if self._status < 0:
            what = f"it crashed its process ({signal.Signals(-self._status).name})"
        else:
            what = f"it ended its process with status {self._status}"
        words = self._last_words()
        return PluginError(f"{what} while it was loaded{f', saying: {words}' if words else ''}", kind="Crash")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[int]:
        output = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            yield output
        finally:
            os.close(output)

    def _last_words(self) -> str:
        lines = self._output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else ""
