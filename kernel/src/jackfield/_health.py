"""Whether the server is fit for clients: what `/readyz` answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from jackfield import _limited
from jackfield._plugins import Plugin
from jackfield._selection import named
from jackfield._settings import PluginSettings

_TIME: Final = 1.0
"""Seconds that a plugin has to say how it is."""
_FRESH: Final = 1.0
"""Seconds for which its word is good, so that probes do not keep plugins busy."""
_WIDTH: Final = 200

Check: TypeAlias = Callable[[], str | None]
"""Returns what is wrong, or None; it is called for every probe, so it only looks."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found.

    Args:
        name: The check's.
        mark: `+` for well, `-` for a fault that makes the server unready, `!` for one that does not.
        text: More, in a line.
    """

    name: str
    mark: Literal["+", "-", "!"]
    text: str

    def __str__(self) -> str:
        return f"[{self.mark}]{self.name} {' '.join(self.text.split())[:_WIDTH]}"


class Health:
    """The checks of one server.

    Args:
        plugins: All plugins that were found.
        required: The names of those that must be in service.

    Attributes:
        checks: Those of the kernel, by name; whoever has another one puts it here.
        unfit: Why the server takes no clients, if it takes none.
    """

    def __init__(self, plugins: Sequence[Plugin], required: Iterable[str]) -> None:
        self.unfit: str | None = "the server is starting"
        self.checks: dict[str, Check] = {"serving": lambda: self.unfit}
        self._plugins = plugins
        self._required = tuple(required)
        self._hooks: Sequence[tuple[str, Callable[[], Awaitable[object]]]] = ()
        self._busy: set[str] = set()
        self._heard: Sequence[Finding] = ()
        self._good_until = 0.0
        self._asking: asyncio.Task[None] | None = None

    def listen_to(self, hooks: Sequence[tuple[str, Callable[[], Awaitable[object]]]]) -> None:
        """Ask these from now on: the name of a plugin, and its coroutine function."""
        self._hooks = hooks
        self._good_until = 0.0

    async def look(self) -> list[Finding]:
        """Run every check, those of plugins at most once a second."""
        if self._hooks and time.monotonic() >= self._good_until:
            if self._asking is None:
                self._asking = asyncio.get_running_loop().create_task(self._ask(), name="health")
            await asyncio.shield(self._asking)
        found = [_found(name, check()) for name, check in self.checks.items()]
        missing = {plugin.name for plugin in missed(self._plugins, self._required)}
        found += [_state(plugin, required=plugin.name in missing) for plugin in self._plugins]
        return [*found, *(self._heard if self._hooks else ())]

    async def _ask(self) -> None:
        try:
            # What is out of service says so itself, and is no reason not to be ready.
            serving = {plugin.name for plugin in self._plugins if plugin.in_service}
            asked = [self._ask_one(plugin, ask) for plugin, ask in self._hooks if plugin in serving]
            self._heard = await asyncio.gather(*asked)
            self._good_until = time.monotonic() + _FRESH
        finally:
            self._asking = None

    async def _ask_one(self, plugin: str, ask: Callable[[], Awaitable[object]]) -> Finding:
        name = f"health/{plugin}"
        if plugin in self._busy:  # it ignored its cancellation, and another one would do the same
            return _found(name, "its last answer has not come yet")
        try:
            said = await _limited.run(self._reply(plugin, ask), _TIME, name)
        except _limited.OutOfTime:
            return _found(name, f"no answer within {_TIME:g} s")
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            return _found(name, str(error) or type(error).__name__)
        if said is not None and not isinstance(said, str):
            return _found(name, f"it answers {said!r:.100}, which is no text")
        return Finding(name, "+", f"ok: {said}" if said else "ok")

    async def _reply(self, plugin: str, ask: Callable[[], Awaitable[Any]]) -> object:
        self._busy.add(plugin)
        try:
            return await ask()
        finally:
            self._busy.discard(plugin)


def missed(plugins: Iterable[Plugin], required: Iterable[str]) -> list[Plugin]:
    """Return the plugins that are not in service, although `required` names them and no other of that name is."""
    by_name = {name: [plugin for plugin in plugins if named(plugin.manifest, [name])] for name in required}
    return [p for claimants in by_name.values() if not any(c.in_service for c in claimants) for p in claimants]


def faults(plugins: Iterable[Plugin], settings: PluginSettings) -> list[str]:
    """Return why the server must not start: plugins that have to be in service, and are not."""
    plugins = list(plugins)
    missing = missed(plugins, settings.required)
    return [
        f"plugin {plugin.name} is {plugin.state}"
        + (f": {plugin.fault.reason}" if plugin.fault else "")
        + (" (plugins.required)" if plugin in missing else "")
        for plugin in plugins
        if plugin in missing or (settings.strict and plugin.fault is not None and not plugin.left_out)
    ]


def _found(name: str, fault: str | None) -> Finding:
    return Finding(name, "+", "ok") if fault is None else Finding(name, "-", f"failed: {fault}")


def _state(plugin: Plugin, *, required: bool) -> Finding:
    if plugin.in_service:
        return Finding(f"plugin/{plugin.name}", "+", "ok")
    reason = f": {plugin.fault.reason}" if plugin.fault else ""
    state = f"failed: it is {plugin.state}" if required else plugin.state.value
    return Finding(f"plugin/{plugin.name}", "-" if required else "!", f"{state}{reason}")
