"""What `import jackfield` gives, and what it does not bring along."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import jackfield
import jackfield.client
import jackfield.testing


@pytest.mark.parametrize("door", [jackfield, jackfield.client, jackfield.testing], ids=lambda door: door.__name__)
def test_all_lists_every_public_name(door: ModuleType) -> None:
    """`__all__` is the list of what the package offers, and nothing else is public; another door is no name of it."""
    public = {
        name
        for name in dir(door)
        if not name.startswith("_") and name != "annotations" and not isinstance(getattr(door, name), ModuleType)
    }
    assert public == set(door.__all__)
    assert len(door.__all__) <= 25


@pytest.mark.parametrize("door", [jackfield, jackfield.client, jackfield.testing], ids=lambda door: door.__name__)
def test_public_names_say_where_they_are_imported_from(door: ModuleType) -> None:
    """Tracebacks and documentation show no private module."""
    modules = {name: getattr(getattr(door, name), "__module__", door.__name__) for name in door.__all__}
    assert {name: module for name, module in modules.items() if module.startswith("jackfield") and "_" in module} == {}


def test_importing_jackfield_loads_no_server():
    """A plugin that imports jackfield pays for no web server and no configuration."""
    script = (
        "import sys, jackfield; print([m for m in ('socketio', 'uvicorn', 'pydantic_settings') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_the_help_is_there_at_once() -> None:
    """It loads neither what plugins are made of nor what the commands need when they run."""
    script = (
        "import sys; from jackfield._cli import group; group(['--help'], standalone_mode=False)\n"
        "print([name for name in ('pydantic', 'pluggy', 'asyncio', 'orjson') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[]"
