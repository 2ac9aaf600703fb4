"""Files whose frames of the stack are machinery, and say nothing to an author."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Final

from jackfield._culprit import KERNEL

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
