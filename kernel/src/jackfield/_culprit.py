"""Who holds the event loop: told from the stack of its thread, from the innermost frame outwards."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from traceback import walk_tb
from types import CodeType, FrameType
from typing import Final

KERNEL: Final = os.path.join(os.path.dirname(__file__), "")
"""How the names of the kernel's own files begin."""
_WATCHERS: Final = (f"{KERNEL}_watchdog.py", f"{KERNEL}_culprit.py")
_DEBUGGERS: Final = ("/bdb.py", "/pdb.py", "/pydevd.py")
_TAKING: Final = ("unpack", "validate", "_validate")  # take as long as what a client has sent: no plugin's doing
_WRAPPERS: Final = 16
"""Decorators around a function, at the most."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was found on the stack.

    Attributes:
        plugin: Whose code runs; None if it is no plugin's.
        what: The event of the function, or the qualified name of whatever else it is.
        file: Where the innermost line of that code is.
        line: Its number.
        inside: The innermost line of all as `file:line`, where that is another.
        holder: The same object for as long as the plugin's code has not come back; None for no plugin's.
        debugged: Whether somebody looks at it with a debugger.
    """

    plugin: str | None
    what: str
    file: str
    line: int
    inside: str | None
    holder: object = field(repr=False, compare=False)
    debugged: bool = False

    def __str__(self) -> str:
        return f"{self.what} at {self.file}:{self.line}" + (f", in {self.inside}" if self.inside else "")


class Culprits:
    """Knows whose code is whose.

    Args:
        modules: Each plugin's name and the module that its entry point names, which has been imported.
        handlers: Each event, with its plugin and what is called.
    """

    def __init__(
        self, modules: Iterable[tuple[str, str]], handlers: Mapping[str, tuple[str, Callable[..., object]]]
    ) -> None:
        self._files: dict[str, str | None] = {}
        folders: dict[str, set[str]] = {}
        for plugin, name in modules:
            for home in _homes(name):
                if home.endswith(os.sep):
                    folders.setdefault(home, set()).add(plugin)
                else:
                    self._files[home] = plugin
        # What several plugins share is nobody's.
        owned = [(folder, owners.pop()) for folder, owners in folders.items() if len(owners) == 1]
        self._folders = sorted(owned, key=lambda owned: len(owned[0]), reverse=True)
        self._events = {event: plugin for event, (plugin, _) in handlers.items()}
        codes = {event: set(_codes(handler)) for event, (_, handler) in handlers.items()}
        shared = Counter(code for found in codes.values() for code in found)
        self._handlers = {code: event for event, found in codes.items() for code in found if shared[code] == 1}

    def find(self, frame: FrameType, task: asyncio.Task[object] | None) -> Sighting:
        """Return who runs.

        Args:
            frame: The innermost frame.
            task: The asyncio task that runs, if there is one.
        """
        while frame.f_code.co_filename in _WATCHERS and frame.f_back is not None:
            frame = frame.f_back  # the handler of a signal that came meanwhile
        plugin: str | None = None
        place, holder, event, debugged, taking = frame, frame, None, False, False
        for outer in outwards(frame):
            taking = taking or (outer.f_code.co_name in _TAKING and outer.f_code.co_filename.startswith(KERNEL))
            event = self._handlers.get(outer.f_code)
            owner = self._events[event] if event else self.owner(outer.f_code.co_filename)
            if plugin is None:
                debugged = debugged or outer.f_code.co_filename.endswith(_DEBUGGERS)
            if owner is None:
                continue
            if plugin is None:
                plugin, place = owner, outer
            if owner != plugin:
                break
            holder = outer
            if event:
                break
        what = event or holder.f_code.co_qualname
        known: object = holder if plugin else task
        called = "" if task is None else task.get_name().removeprefix("call:")
        if called in self._events and plugin in (None, self._events[called]) and not (plugin is None and taking):
            plugin, what = self._events[called], called
        return Sighting(
            plugin,
            what,
            place.f_code.co_filename,
            place.f_lineno or 0,
            None if place is frame else f"{frame.f_code.co_filename}:{frame.f_lineno}",
            known if plugin else None,
            debugged,
        )

    def raised(self, error: BaseException) -> str | None:
        """Return the plugin whose code is innermost in an exception's traceback, if there is one."""
        owner = None
        for frame, _ in walk_tb(error.__traceback__):
            owner = self.owner(frame.f_code.co_filename) or owner
        return owner

    def may_be_interrupted(self, frame: FrameType | None) -> bool:
        """Tell whether an exception in this frame meets a plugin's code before any of the kernel's."""
        for outer in outwards(frame):
            file = outer.f_code.co_filename
            if outer.f_code in self._handlers or self.owner(file) is not None:
                return True
            if file.startswith(KERNEL) or file.endswith(_DEBUGGERS):
                return False
        return False

    def owner(self, file: str) -> str | None:
        """Return the plugin that a file of code is part of, if there is one."""
        if file not in self._files:
            self._files[file] = next((plugin for folder, plugin in self._folders if file.startswith(folder)), None)
        return self._files[file]


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield a frame, and those that it was called from."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def _homes(name: str) -> Iterator[str]:
    """Yield where a module's code lies: its file, and the folder of the package that it is or is in."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file:
        yield file
        if getattr(module, "__package__", None):
            yield os.path.join(os.path.dirname(file), "")
    elif module is not None:
        yield from (os.path.join(folder, "") for folder in getattr(module, "__path__", ()))


def _codes(handler: object) -> Iterator[CodeType]:
    """Yield the code of a callable, and of what it wraps."""
    for _ in range(_WRAPPERS):
        called = handler if hasattr(handler, "__code__") else vars(type(handler)).get("__call__")
        if isinstance(code := getattr(called, "__code__", None), CodeType):
            yield code
        handler = getattr(handler, "__wrapped__", None) or getattr(handler, "func", None)
