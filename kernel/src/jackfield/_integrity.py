"""Is a plugin what its installer wrote? Its files against the hashes in the RECORD of its distribution."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})
_CACHE: Final = "__pycache__"
_COMPILED: Final = ".pyc"
_IMPORTABLE: Final = (*SOURCE_SUFFIXES, *EXTENSION_SUFFIXES, _COMPILED)


def fault_of(name: str, module: str) -> str | None:
    """Return how an installed distribution differs from its RECORD, or None; nothing of it is imported.

    What Python has compiled (`__pycache__`) is not in it and not looked at.

    Args:
        name: The distribution.
        module: The one that the plugin's entry point names, which has to be one of the files.
    """
    try:
        installed = distribution(name)
        record = installed.read_text("RECORD")
        if _is_editable(installed):
            return "it is an editable install, whose files nobody has written down"
        if not record:
            return "there is no RECORD of its files, so nobody knows what they were"
        rows = [row for row in csv.reader(record.splitlines()) if row]
        listed = {Path(os.path.realpath(str(installed.locate_file(row[0])))) for row in rows}
        faults = (_changed(installed, rows), _unlisted(installed, rows, listed), _foreign(module, listed))
        return next((fault for found in faults for fault in found), None)
    except PackageNotFoundError:
        return "its distribution is not installed any more"
    except (OSError, ValueError, csv.Error) as error:
        return f"its files cannot be checked: {error}"


def _is_editable(installed: Distribution) -> bool:
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    return isinstance(origin, dict) and bool(dict(origin.get("dir_info") or {}).get("editable"))


def _changed(installed: Distribution, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for path, digest in ((row[0], row[1] if len(row) > 1 else "") for row in rows):
        if path.endswith((_COMPILED, ".dist-info/RECORD")):
            continue
        algorithm, _, expected = digest.partition("=")
        if algorithm not in _HASHES:
            yield f"its RECORD has no hash of {path} that can be relied on"
            continue
        try:
            with Path(str(installed.locate_file(path))).open("rb") as file:
                found = hashlib.file_digest(file, algorithm).digest()
        except FileNotFoundError:
            yield f"its file {path} is missing"
            continue
        if urlsafe_b64encode(found).rstrip(b"=").decode() != expected.rstrip("="):
            yield f"its file {path} is not the one that was installed"


def _unlisted(installed: Distribution, rows: Sequence[Sequence[str]], listed: set[Path]) -> Iterator[str]:
    """Yield what could be imported from the plugin's packages, and is no part of them."""
    tops = {row[0].partition("/")[0] for row in rows if row[0].endswith(_IMPORTABLE)} - {"..", ""}
    for top in sorted(tops):
        for folder, folders, names in os.walk(str(installed.locate_file(top))):
            folders[:] = sorted(one for one in folders if one != _CACHE)
            links = [one for one in folders if Path(folder, one).is_symlink()]
            for name in [*links, *(one for one in sorted(names) if one.endswith(_IMPORTABLE))]:
                if Path(os.path.realpath(Path(folder, name))) not in listed:
                    shown = os.path.relpath(Path(folder, name), str(installed.locate_file("")))
                    yield f"its RECORD does not list the file {shown}"


def _foreign(module: str, listed: set[Path]) -> Iterator[str]:
    """Yield where another file would be imported in the place of the plugin's own."""
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        spec = find_spec(".".join(parts[:length]))
        if spec is None:
            break
        if spec.origin is not None:  # else it is a namespace package, which has no file and runs nothing
            if Path(os.path.realpath(spec.origin)) not in listed:
                yield f"its module {spec.name} would come from {spec.origin}, which is not in its RECORD"
            return
    yield f"its module {'.'.join(parts)} is not there"
