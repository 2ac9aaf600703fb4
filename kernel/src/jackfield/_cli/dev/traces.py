"""Tracebacks for the author of a plugin: without the frames that say nothing to them."""

from __future__ import annotations

import traceback
from typing import Final

from jackfield._cli.dev.frames import HIDDEN

_GAP: Final = "  …\n"


def shortened(error: BaseException) -> str:
    """Return the traceback of an exception, and of those that it came from; `…` stands for the kernel's own frames.

    One that has no other frames is returned whole: it is a fault of the kernel.
    """
    told = traceback.TracebackException.from_exception(error)
    if any(not frame.filename.startswith(HIDDEN) for frame in told.stack):
        _shorten(told)
    return "".join(told.format()).rstrip("\n")


class _Stack(traceback.StackSummary):
    """Frames, of which those that are hidden are written as a gap."""

    def format_frame_summary(self, frame_summary: traceback.FrameSummary, **options: bool) -> str:
        """Return the lines of a frame."""
        if frame_summary.filename.startswith(HIDDEN):
            return _GAP
        return super().format_frame_summary(frame_summary, **options)


def _shorten(told: traceback.TracebackException) -> None:
    kept = _Stack()
    for frame in told.stack:
        hidden = frame.filename.startswith(HIDDEN)
        if not (hidden and kept and kept[-1].filename.startswith(HIDDEN)):
            kept.append(frame)
    told.stack = kept
    for inner in (told.__cause__, told.__context__, *(told.exceptions or ())):
        if inner is not None:
            _shorten(inner)
