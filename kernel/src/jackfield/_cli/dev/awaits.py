"""Coroutines that nobody awaited, told with the line that made them; Python names the line where it noticed."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Final

_DEPTH: Final = 8
"""Frames that Python keeps of where a coroutine was made."""
_SAID: Final = re.compile(r"coroutine '(.+)' was never awaited")
_FRAME: Final = re.compile(r'^  File "(.+)", line (\d+), in ', re.MULTILINE)

log: Final = logging.getLogger("jackfield.dev")


class Awaits:
    """Tells of coroutines that were never awaited, once for each place.

    Args:
        owner: Returns the plugin that a file of code is part of, if there is one.
    """

    def __init__(self, owner: Callable[[str], str | None]) -> None:
        self._owner = owner
        self._told: set[tuple[str, str]] = set()

    def watch(self) -> None:
        """Look from now on at the coroutines that this thread makes."""
        sys.set_coroutine_origin_tracking_depth(_DEPTH)
        warnings.filterwarnings("always", r"coroutine .+ was never awaited", RuntimeWarning)
        warnings.showwarning = partial(self._show, warnings.showwarning)

    def _show(self, otherwise: Callable[..., None], message: Warning | str, *where: Any, **more: Any) -> None:
        text = str(message)
        found = _SAID.match(text)
        if found is None:
            otherwise(message, *where, **more)
            return
        frames = _FRAME.findall(text)  # the innermost is the last
        place = next((frame for frame in reversed(frames) if self._owner(frame[0])), (frames or [("?", "0")])[-1])
        if place not in self._told:
            self._told.add(place)
            log.warning("the coroutine %s made at %s:%s is never awaited: write await before it", found[1], *place)
