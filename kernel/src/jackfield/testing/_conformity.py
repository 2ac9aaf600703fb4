"""The contract test: what a plugin owes to the server that installs it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jackfield._errors import JackfieldError
from jackfield.testing import _checks
from jackfield.testing._errors import SetupError
from jackfield.testing._given import Given, plugin_of
from jackfield.testing._leftovers import Leftovers, faults_of_a_life
from jackfield.testing._running import RunningKernel
from jackfield.testing._serving import kernel_of, serve


def assert_plugin_contract(
    plugin: object,
    *,
    settings: Mapping[str, Any] | None = None,
    neighbours: Mapping[str, object] | None = None,
    config: Mapping[str, Mapping[str, Any]] | None = None,
    project: Path | None = None,
) -> None:
    """Check what every plugin owes to the server that installs it, and raise with all faults at once.

    * Its manifest can be read: name, version, description, the kernels that it works with, its namespaces, which are
      those that it serves. It has `py.typed`.
    * Its hooks are hooks; none is forgotten for want of `@hookimpl`.
    * Its settings have a model that refuses unknown keys, and a description for each field.
    * Each of its functions has a docstring, and says in JSON Schema what it takes and gives.
    * It starts and stops, twice in one process, with clients that come, leave and vanish, and leaves nothing behind: no
      task, no thread, no open file or socket, no warning, no error in the log.
    * Switched off, nothing of it is imported.

    Call it in a plain test (`def`): it starts an event loop of its own, twice.

    Args:
        plugin: As for `serve`; the name of the entry point, usually.
        settings: Its settings, if it cannot do without.
        neighbours: Other plugins, if it cannot do without.
        config: More configuration.
        project: Where to look for its `pyproject.toml`; where the process runs if left out.

    Raises:
        AssertionError: It does not keep the contract; each fault says what to do.
        SetupError: There is no such plugin, or an event loop runs already.
    """
    __tracebackhide__ = True  # what is to be read is the list
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        raise SetupError(
            "assert_plugin_contract starts event loops of its own: call it in a plain test, def and not async def"
        )
    near = Path.cwd() if project is None else project
    given = plugin_of(plugin, settings or {}, near)
    options: dict[str, Any] = {"settings": settings, "neighbours": neighbours, "config": config, "project": near}
    faults = list(_faults(given, plugin, options))
    if faults:
        listed = "\n".join(f"{number}. {fault}" for number, fault in enumerate(faults, 1))
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise AssertionError(f"the plugin {given.name} does not keep the contract, {count}:\n{listed}")


def _faults(given: Given, plugin: object, options: Mapping[str, Any]) -> Iterator[str]:
    yield from _checks.manifest(given)
    try:
        kernel, _ = kernel_of(plugin, authenticated=False, strict=False, **options)
        kernel.load()
    except JackfieldError as error:
        yield f"the kernel does not start with it: {error}"
        return
    loaded = kernel.plugin(given.name)
    if loaded.fault is not None:
        yield f"it is {loaded.state}: {loaded.fault.reason}" + (f" ({loaded.fault.hint})" if loaded.fault.hint else "")
        return
    yield from _checks.typed(given)
    yield from _checks.marks(loaded)
    yield from _checks.settings(loaded)
    yield from _checks.functions(loaded)
    lived = _lives(plugin, options)
    yield from lived
    if not lived:  # a plugin that does not run need not be looked at standing still
        yield from _checks.switched_off(given)


def _lives(plugin: object, options: Mapping[str, Any]) -> list[str]:
    """Start and stop it twice; faults of the second time are told only where the first had none."""
    for turn in ("", "the second time in one process "):
        with Leftovers() as left:
            told = _life(plugin, options)
        faults = [*told, *left.faults()]
        if faults:
            return [turn + fault for fault in faults]
    return []


def _life(plugin: object, options: Mapping[str, Any]) -> list[str]:
    async def live(kernel: RunningKernel) -> None:
        for bad in (False, True):
            client = await kernel.connect()
            await (client.vanish() if bad else client.disconnect())

    return faults_of_a_life(lambda: serve(plugin, strict=False, **options), live)
