"""What the author of a plugin changes: the folder that the server runs in, plugins' sources, what is installed."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from jackfield._manifest import PLUGINS_GROUP

_SUFFIXES: Final = (".py", ".toml")
_NOT_SOURCES: Final = frozenset({"__pycache__", "node_modules", "tests"})
_VENV: Final = "pyvenv.cfg"
_METADATA: Final = (".dist-info", ".egg-info")


def roots(folder: Path, file: Path | None) -> list[Path]:
    """Return what is to be watched: the folder, the configuration file, and where plugins' sources lie.

    These are the projects of plugins that are installed editable, and folders on the path with plugins that nobody
    installed. What lies within another is left out.
    """
    found = {path.resolve() for path in (folder, *([file] if file else []), *_of_plugins())}
    return sorted(path for path in found if not any(other in path.parents for other in found))


def times(watched: Iterable[Path]) -> dict[Path, int]:
    """Return when each Python and TOML file was changed, and when each distribution was installed."""
    found = {}
    for path in (*_files(watched), *_installed()):
        try:
            found[path] = path.stat().st_mtime_ns
        except OSError:  # it has just gone
            continue
    return found


def _files(watched: Iterable[Path]) -> Iterator[Path]:
    for path in watched:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            if _VENV in names:
                folders.clear()
                continue
            folders[:] = [name for name in folders if not name.startswith(".") and name not in _NOT_SOURCES]
            yield from (Path(folder, name) for name in names if name.endswith(_SUFFIXES))


def _installed() -> Iterator[Path]:
    for folder in dict.fromkeys(sys.path):
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        yield from (Path(folder, name) for name in names if name.endswith(_METADATA))


def _of_plugins() -> Iterator[Path]:
    for distribution in distributions():
        try:
            is_of_plugins = any(one.group == PLUGINS_GROUP for one in distribution.entry_points)
        except (TypeError, ValueError):  # its metadata cannot be read; the server says so
            continue
        if is_of_plugins:
            yield from _sources(distribution)


def _sources(distribution: Distribution) -> Iterator[Path]:
    project = _editable(distribution)
    if project is not None:
        yield project
        return
    lies = Path(str(distribution.locate_file(""))).resolve()
    if lies not in {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}:
        yield lies


def _editable(distribution: Distribution) -> Path | None:
    """Return the folder of a distribution's project, if it is installed from there (PEP 610)."""
    try:
        said = json.loads(distribution.read_text("direct_url.json") or "{}")
        if said["dir_info"]["editable"]:
            return Path(unquote(urlsplit(said["url"]).path))
    except (LookupError, TypeError, ValueError):
        pass
    return None
