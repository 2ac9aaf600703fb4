"""Tasks that a plugin leaves behind: after the call that made them, and after its own end."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Iterable
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary, WeakSet

from jackfield._call import CURRENT, Call
from jackfield._cli.dev.frames import ASYNCIO
from jackfield._culprit import outwards

GRACE: Final = 1.0
"""Seconds that a task has to end after its call: what was told to end, or has little left to do, is no fault."""

log: Final = logging.getLogger("jackfield.dev")

_Task: TypeAlias = "asyncio.Task[Any]"


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a task comes from.

    Attributes:
        file: Where the line is that made it; asyncio's own are passed over.
        line: Its number.
        root: The task of the call in which it was made, if it was in one that has a task.
    """

    file: str
    line: int
    root: _Task | None


class Tasks:
    """Knows where tasks were made, and warns, once for each line of a plugin's code, of those that are left behind.

    A task that has the context of a call is part of the call; one that was given a context of its own is not.

    Args:
        owner: Returns the plugin that a file of code is part of, if there is one.
    """

    def __init__(self, owner: Callable[[str], str | None]) -> None:
        self._owner = owner
        self._origins: WeakKeyDictionary[_Task, _Origin] = WeakKeyDictionary()
        self._parts: WeakKeyDictionary[_Task, WeakSet[_Task]] = WeakKeyDictionary()
        self._told: set[tuple[str, int]] = set()

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take note of each task that is made in a loop from now on."""
        loop.set_task_factory(self._make)

    def report(self, tasks: Iterable[_Task]) -> None:
        """Warn of those tasks that plugins made and did not end, now that all plugins have stopped."""
        for task in tasks:
            origin = self._origins.get(task)
            plugin = None if origin is None else self._owner(origin.file)
            if origin is None or plugin is None or task.cancelling() or not self._is_news(origin):
                continue
            log.warning(
                "plugin %s has stopped, and a task that it made at %s:%d still runs: cancel it in jackfield_shutdown, "
                "and wait for it",
                *(plugin, origin.file, origin.line),
            )

    def _make(self, loop: asyncio.AbstractEventLoop, coroutine: Any, /, **options: Any) -> asyncio.Task[Any]:
        maker = asyncio.current_task(loop)
        task = asyncio.Task(coroutine, loop=loop, **options)
        if not task.done():
            self._note(task, maker, sys._getframe(1), options.get("context"))
        return task

    def _note(self, task: _Task, maker: _Task | None, frame: FrameType, context: Context | None) -> None:
        made_by = next((one for one in outwards(frame) if not one.f_code.co_filename.startswith(ASYNCIO)), None)
        if made_by is None:
            return
        call: Call | None = CURRENT.get(None) if context is None else context.get(CURRENT)
        root = None if call is None else self._root(maker)
        self._origins[task] = _Origin(made_by.f_code.co_filename, made_by.f_lineno, root)
        if call is None:
            return
        if root is None:  # the call is of a function that does not suspend, so it is over when this is
            task.get_loop().call_later(GRACE, self._look, call, WeakSet([task]))
        elif root in self._parts:
            self._parts[root].add(task)
        else:
            parts = self._parts[root] = WeakSet([task])
            root.add_done_callback(partial(self._ended, call, parts))

    def _root(self, maker: _Task | None) -> _Task | None:
        """Return the task of the call in which a task runs."""
        if maker is None:
            return None
        origin = self._origins.get(maker)
        if origin is not None:
            return origin.root
        return maker if maker.get_name().startswith("call:") else None

    def _ended(self, call: Call, parts: WeakSet[_Task], root: _Task) -> None:
        if any(not task.done() for task in parts):
            root.get_loop().call_later(GRACE, self._look, call, parts)

    def _look(self, call: Call, parts: WeakSet[_Task]) -> None:
        for task in parts:
            origin = self._origins.get(task)
            if origin is None or task.done() or task.cancelling() or self._owner(origin.file) is None:
                continue
            if self._is_news(origin):
                log.warning(
                    "%s has ended, and a task that it made at %s:%d still runs: await it, or cancel it. What is to "
                    "outlive its call is made in jackfield_startup, or with context=contextvars.Context(), and "
                    "cancelled in jackfield_shutdown",
                    *(call.event, origin.file, origin.line),
                    extra={"call": call},
                )

    def _is_news(self, origin: _Origin) -> bool:
        place = origin.file, origin.line
        if place in self._told:
            return False
        self._told.add(place)
        return True
