"""Packages that import more than is needed here: their own code runs when something is asked of it, not before."""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any


def defer(name: str, **homes: str) -> None:
    """Let the modules of a package be imported without the code of its `__init__`.

    That runs as soon as anybody asks the package for a name that is no module of it. Nothing happens where the package
    is imported already, or is not there.

    Args:
        name: The package.
        homes: Names for which that code is not needed either, each with the module of the package that has it.
    """
    spec = find_spec(name) if name not in sys.modules else None
    if spec is None or spec.loader is None:
        return
    package, loader = module_from_spec(spec), spec.loader
    lock, begun = threading.RLock(), False

    def give(attribute: str) -> Any:
        nonlocal begun
        if not begun and attribute in homes:
            return getattr(import_module(f"{name}.{homes[attribute]}"), attribute)
        if not begun and find_spec(f"{name}.{attribute}"):
            return import_module(f"{name}.{attribute}")
        with lock:
            if not begun:
                begun = True
                loader.exec_module(package)
        if attribute in vars(package):
            return vars(package)[attribute]
        raise AttributeError(f"module {name!r} has no attribute {attribute!r}")

    vars(package)["__getattr__"] = give
    sys.modules[name] = package
