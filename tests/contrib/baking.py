"""Projects that are made of the template, and what they are to hold."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

from tests.contrib.proxies import CONTRIB
from tests.support.server import environment

ROOT: Final = CONTRIB.parent
TEMPLATE: Final = CONTRIB / "cookiecutter-jackfield-plugin"
LICENCES: Final = ("MIT", "Apache-2.0", "BSD-3-Clause", "none")
LIMIT: Final = 120.0

_ALWAYS: Final = """
    .github/workflows/ci.yml .gitignore CHANGELOG.md README.md pyproject.toml
    src/PACKAGE/__init__.py src/PACKAGE/handlers.py src/PACKAGE/messages.py src/PACKAGE/plugin.py src/PACKAGE/py.typed
    src/PACKAGE/service.py
    tests/test_contract.py tests/test_functions.py tests/test_installed.py tests/test_service.py
"""


@dataclass(frozen=True)
class Choice:
    """What may be chosen: one combination of answers."""

    licence: str = "MIT"
    streams: bool = False
    settings: bool = False
    background: bool = False

    def __str__(self) -> str:
        kinds = [kind for kind in ("streams", "settings", "background") if getattr(self, kind)]
        return "-".join([self.licence, *(kinds or ["unary"])])

    def paths(self, package: str) -> set[str]:
        """Return the files of a project that is made so."""
        return {
            *_ALWAYS.replace("PACKAGE", package).split(),
            *(["LICENSE"] if self.licence != "none" else []),
            *(f"tests/test_{kind}.py" for kind in ("streams", "settings", "background") if getattr(self, kind)),
        }


def bake(folder: Path, template: Path = TEMPLATE, **answers: str | bool) -> Path:
    """Make a project in a folder with cookiecutter itself, and return where it is."""
    made = import_module("cookiecutter.main").cookiecutter(
        str(template),
        no_input=True,
        extra_context=answers,
        output_dir=str(folder),
        default_config={"replay_dir": str(folder / ".replays")},
    )
    return Path(made)


def files(folder: Path) -> set[str]:
    """Return the paths of all files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def run(project: Path, *command: str | Path, path: Path | None = None) -> str:
    """Run a module of this interpreter in a project, and return what it says; it must succeed.

    Args:
        project: The folder.
        command: The module, and its arguments.
        path: A folder in which more is installed.
    """
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=project,
        env=environment([path] if path else [], {"PYTHONDONTWRITEBYTECODE": "1"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout}"
    return done.stdout
