"""Time under control: it goes on as ever, and besides jumps as far as the test says, from one timer to the next."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from jackfield.testing._errors import SetupError

_SECONDS: Final[tuple[Callable[[], float], ...]] = (time.time, time.monotonic)
_NANOSECONDS: Final[tuple[Callable[[], int], ...]] = (time.time_ns, time.monotonic_ns)
_TURNS: Final = 10_000
"""Turns of the event loop in which everything has to come to rest; what never rests is not waited for."""
_KERNEL: Final = "jackfield"


class Clock:
    """The time of one kernel in memory: of its event loop, and of `time.time` and `time.monotonic`."""

    def __init__(self, packages: tuple[str, ...] = (), fixed: str | None = None) -> None:
        """Make the time of a kernel.

        Args:
            packages: Import packages that may have imported these functions by name; the kernel's are known.
            fixed: Why time cannot be moved, where that is so.
        """
        self._packages = (_KERNEL, *packages)
        self._fixed = fixed
        self._ahead = 0.0
        self._replaced: list[tuple[ModuleType, str, object]] = []

    async def advance(self, seconds: float) -> None:
        """Let time pass at once: each timer that is due by then runs at its time, and what it sets off comes to rest.

        What runs in threads is not waited for. `time.perf_counter` and `datetime.now` do not move.

        Args:
            seconds: How far.

        Raises:
            SetupError: Time cannot be moved here: a server on a real port, or an event loop that keeps its own.
            ValueError: Time does not go back.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"time passes by a number of seconds of 0 or more, not {seconds!r}")
        if self._fixed is not None:
            raise SetupError(self._fixed)
        loop = asyncio.get_running_loop()
        self._take_over(loop)
        patience, loop.slow_callback_duration = (
            loop.slow_callback_duration,
            math.inf,
        )  # what debug mode would tell of us
        try:
            await self._jump(loop, seconds)
        finally:
            loop.slow_callback_duration = patience

    async def _jump(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        await _rest(loop)
        target = self._ahead + seconds
        while (left := _until_next(loop)) is not None and self._ahead + left <= target:
            self._ahead += max(left, 0.0)
            await _rest(loop)
        self._ahead = max(self._ahead, target)
        await _rest(loop)

    def restore(self) -> None:
        """Give time back as it was."""
        for module, name, original in self._replaced:
            setattr(module, name, original)
        self._replaced.clear()
        self._ahead = 0.0

    def _take_over(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._replaced:
            return
        if not isinstance(loop, asyncio.BaseEventLoop):
            raise SetupError(
                f"{type(loop).__module__}.{type(loop).__name__} keeps a time of its own, which cannot be moved: "
                "run this test on the event loop of asyncio"
            )
        moved: dict[int, Callable[[], Any]] = {}
        moved |= {id(real): _moved(real, lambda: self._ahead) for real in _SECONDS}
        moved |= {id(real): _moved(real, lambda: round(self._ahead * 1e9)) for real in _NANOSECONDS}
        for module in [time, *self._modules()]:
            for name, value in list(vars(module).items()):
                if id(value) in moved:
                    self._replaced.append((module, name, value))
                    setattr(module, name, moved[id(value)])

    def _modules(self) -> list[ModuleType]:
        return [module for name, module in list(sys.modules.items()) if name.partition(".")[0] in self._packages]


def _moved(real: Callable[[], Any], ahead: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: real() + ahead()


async def _rest(loop: asyncio.AbstractEventLoop) -> None:
    """Return when nothing can run any more before the next timer."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
        left = _until_next(loop)
        if not loop._ready and (left is None or left > 0):  # type: ignore[attr-defined]
            return


def _until_next(loop: Any) -> float | None:
    """Return the seconds until the next timer is due; None if there is none."""
    due = min((timer.when() for timer in loop._scheduled if not timer.cancelled()), default=None)
    return None if due is None else due - loop.time() - loop._clock_resolution
