"""Where a task stands, in the words of whoever has to mend it: the file and the line."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable
from types import FrameType
from typing import Any


def where(task: asyncio.Task[Any] | None, handler: Callable[..., object]) -> str:
    """Return where a task waits inside a function: its innermost line in the function's own folder.

    Args:
        task: The task.
        handler: The function; where nothing of it is on the task's stack, as when a thread runs it, it is where the
            function begins.
    """
    code = getattr(inspect.unwrap(handler), "__code__", None)
    if code is None:
        return repr(handler)
    folder = os.path.dirname(code.co_filename)
    found = f"{code.co_filename}:{code.co_firstlineno}"
    awaited: Any = None if task is None else task.get_coro()
    while awaited is not None:
        frame, awaited = _frame_and_next(awaited)
        if frame is not None and os.path.dirname(frame.f_code.co_filename) == folder:
            found = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    return found


def _frame_and_next(awaited: Any) -> tuple[FrameType | None, Any]:
    if inspect.iscoroutine(awaited):
        return awaited.cr_frame, awaited.cr_await
    if inspect.isgenerator(awaited):
        return awaited.gi_frame, awaited.gi_yieldfrom
    if inspect.isasyncgen(awaited):
        return awaited.ag_frame, awaited.ag_await
    return None, None
