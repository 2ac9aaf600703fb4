"""Packages whose own code runs only when something is asked of it."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from jackfield._deferred import defer


@pytest.fixture(name="package")
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that can be imported, and is forgotten after the test."""
    folder = tmp_path / "slow_one"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .rest import ANSWER, QUESTION\nfrom . import other\nhas_run = True\n")
    (folder / "rest.py").write_text("ANSWER = 42\nQUESTION = '?'\n")
    (folder / "other.py").write_text("from . import rest\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("slow_one", "slow_one.rest", "slow_one.other"):
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]
    return folder


def _has_run() -> bool:
    return "has_run" in vars(sys.modules["slow_one"])


@pytest.mark.usefixtures("package")
def test_its_modules_do_without_its_own_code() -> None:
    """In whichever way they are imported, by others or by one another."""
    defer("slow_one")
    assert import_module("slow_one.other").rest is import_module("slow_one.rest")
    package: Any = import_module("slow_one")
    assert package.other.rest.ANSWER == 42
    assert not _has_run()


@pytest.mark.usefixtures("package")
def test_names_that_are_told_do_too() -> None:
    """Where one of the modules asks the package for what another one has."""
    defer("slow_one", ANSWER="rest")
    package: Any = import_module("slow_one")
    assert package.ANSWER == 42
    assert not _has_run()


@pytest.mark.usefixtures("package")
def test_anything_else_runs_it_once() -> None:
    """From then on the package is what it would have been."""
    defer("slow_one")
    package: Any = import_module("slow_one")
    assert package.QUESTION == "?"
    assert _has_run()
    assert (package.ANSWER, package.rest.ANSWER, package.__name__) == (42, 42, "slow_one")
    with pytest.raises(AttributeError, match="module 'slow_one' has no attribute 'nothing'"):
        _ = package.nothing


@pytest.mark.usefixtures("package")
def test_what_is_imported_already_stays_as_it_is() -> None:
    """A host may have it."""
    package = import_module("slow_one")
    defer("slow_one")
    assert import_module("slow_one") is package
    assert _has_run()


def test_what_is_not_there_is_missed_where_it_is_imported() -> None:
    """Packages may be optional."""
    defer("no_such_package")
    with pytest.raises(ModuleNotFoundError, match="No module named 'no_such_package'"):
        import_module("no_such_package")


def test_a_server_imports_no_client() -> None:
    """What python-socketio imports for clients and message queues waits until somebody wants it, who then has it."""
    script = (
        "import sys, jackfield._kernel\n"
        "print([name for name in ('aiohttp', 'redis', 'socketio.client') if name in sys.modules])\n"
        "import socketio, engineio\n"
        "from jackfield._transport.border import Border\n"
        "print(issubclass(Border, socketio.AsyncServer))\n"
        "print(socketio.AsyncRedisManager.__name__, engineio.AsyncClient.__name__)"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == ["[]", "True", "AsyncRedisManager AsyncClient"]
