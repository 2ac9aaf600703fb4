"""Plugins start and stop: those that others depend on first and last, each within its time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Final, TypeAlias

from jackfield import _limited
from jackfield._guard import End, TimeIsUp, blocking_limit, end_start
from jackfield._host import Kernel
from jackfield._plugins import Plugin, State, blame_dependency, describe, in_order

STARTUP: Final = "startup:"
SHUTDOWN: Final = "shutdown:"
SERVE: Final = "serve"
_OURS: Final = (STARTUP, SHUTDOWN, "call:")

Whose: TypeAlias = Callable[[asyncio.Task[object]], str | None]
"""Returns who is behind a task that blocks the event loop, or None for a task that is to be left alone."""

log: Final = logging.getLogger("jackfield")


async def start(plugins: Iterable[Plugin], kernel: Kernel, seconds: float) -> None:
    """Start the plugins that were loaded; one that fails, or takes longer than `seconds`, is quarantined."""
    loaded = [plugin for plugin in plugins if plugin.state is State.LOADED]
    for wave in in_order(loaded):
        fit = [plugin for plugin in wave if not blame_dependency(plugin, loaded)]
        with blocking_limit(seconds, _starting, end_start) as lost:
            await asyncio.gather(*(_start(plugin, kernel, seconds, lost) for plugin in fit))


async def stop(plugins: Iterable[Plugin], kernel: Kernel, seconds: float, whose: Whose, end: End) -> None:
    """Stop the plugins that were started; one that takes longer than `seconds` is left to itself."""
    started = [plugin for plugin in plugins if plugin.begun]
    for wave in reversed(in_order(started)):
        with blocking_limit(seconds, whose, end) as lost:
            await asyncio.gather(*(_stop(plugin, kernel, seconds, lost) for plugin in wave))


async def _start(plugin: Plugin, kernel: Kernel, seconds: float, lost: Callable[[], float]) -> None:
    try:
        await _limited.run(_interruptible(plugin.start(kernel)), seconds, f"{STARTUP}{plugin.name}", lost)
    except _limited.OutOfTime:
        plugin.quarantine(describe(TimeIsUp()))
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything
        plugin.quarantine(describe(error), error)
    else:
        plugin.state, plugin.begun = State.STARTED, True


async def _stop(plugin: Plugin, kernel: Kernel, seconds: float, lost: Callable[[], float]) -> None:
    plugin.state, plugin.begun = State.STOPPED, False
    try:
        await _limited.run(_interruptible(plugin.hooks.shutdown(kernel)), seconds, f"{SHUTDOWN}{plugin.name}", lost)
    except _limited.OutOfTime:
        log.error(  # noqa: TRY400 - there is no traceback of interest
            "plugin %s did not stop within %g s and is abandoned", plugin.name, seconds
        )
    except Exception:
        log.exception("plugin %s failed to stop", plugin.name)


async def _interruptible(hook: Coroutine[object, object, None]) -> None:
    try:
        await hook
    except TimeIsUp:
        raise _limited.OutOfTime from None


def _starting(task: asyncio.Task[object]) -> str | None:
    """Return the plugin whose start the task is."""
    name = task.get_name()
    return name.removeprefix(STARTUP) if name.startswith(STARTUP) else None


def any_task(task: asyncio.Task[object]) -> str | None:
    """Return the name of the task, unless it is the kernel's own."""
    name = task.get_name()
    return None if name in (SERVE, "http") else name


def own_task(task: asyncio.Task[object]) -> str | None:
    """Return the name of the task if it is of a call or a plugin's start or stop, and no host's."""
    name = task.get_name()
    return name if name.startswith(_OURS) else None
