"""Doors of packages, whose public names are imported when somebody asks for the first of them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def door(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the functions `__getattr__` and `__dir__` of a package that offers what is in its module `_public`."""
    known = vars(sys.modules[package])

    def get(name: str) -> Any:
        if not name.startswith("_") or name == "__all__":
            public = vars(importlib.import_module(f"{package}._public"))
            adopt(package, public)
            known.update({each: public[each] for each in ["__all__", *public["__all__"]]})
            if name in known:
                return known[name]
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: sorted({*known, *get("__all__")})


def adopt(package: str, names: Mapping[str, Any]) -> None:
    """Have tracebacks and documentation show the public names of a module as those of the package that offers them."""
    for name in names["__all__"]:
        if getattr(names[name], "__module__", "").startswith(f"{package}._"):
            names[name].__module__ = package
