"""Frames of the stack: which are machinery, and which an author knows."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from types import FrameType
from typing import Final

KERNEL: Final = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(__file__))), "")
ASYNCIO: Final = os.path.join(os.path.dirname(asyncio.__file__), "")
STDLIB: Final = os.path.join(os.path.dirname(os.path.dirname(asyncio.__file__)), "")
IMPORTS: Final = ("<frozen importlib", os.path.join(STDLIB, "importlib", ""))
HIDDEN: Final = (KERNEL, ASYNCIO, *IMPORTS)
"""How the files begin whose frames say nothing to the author of a plugin."""
EXCUSED: Final = (
    *HIDDEN,
    os.path.join(os.path.dirname(logging.__file__), ""),
    *(os.path.join(STDLIB, f"{name}.py") for name in ("linecache", "traceback", "tokenize", "warnings", "inspect")),
)
"""How the files begin of what may open a file in the event loop: it reads code, or writes the log."""


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield a frame, and those that it was called from."""
    while frame is not None:
        yield frame
        frame = frame.f_back
