"""Projects of plugins, as an author has them, and the wheels that are built from them without the network."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from zipfile import ZipFile

from tests.support.server import environment

HOOK = "[tool.hatch.build.targets.wheel.hooks.jackfield]"
SEATS = """
    from pydantic import BaseModel

    from jackfield import Call, Service, hookimpl

    service = Service("api.seats")

    class Seat(BaseModel):
        row: int
        note: str = ""

    @service.function(errors=["not_found"], emits={"moved": Seat})
    async def book(call: Call, data: Seat) -> Seat:
        \"\"\"Book a seat.\"\"\"
        return data

    @service.function
    async def free(call: Call) -> int:
        \"\"\"Count the seats that are free.\"\"\"
        return 7

    @hookimpl
    def jackfield_services():
        return [service]
"""
"""A plugin with two functions."""
LIMIT = 60.0


def write_project(
    folder: Path, source: str = SEATS, *, version: str = "1.0", hook: str = HOOK, requires: str = "jackfield>=0.1,<0.2"
) -> Path:
    """Write the project of a plugin `seats`, and return its folder.

    Args:
        folder: Where.
        source: The text of its module; indentation is taken off.
        version: Its version.
        hook: What stands in its pyproject.toml of the build hook.
        requires: The kernel that it depends on.
    """
    package = folder / "src/jackfield_seats"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(textwrap.dedent(source), encoding="utf-8")
    text = f"""
        [build-system]
        requires = ["hatchling", "jackfield>=0.1,<0.2"]
        build-backend = "hatchling.build"

        [project]
        name = "jackfield-seats"
        version = "{version}"
        dependencies = ["{requires}", "pydantic>=2"]

        [project.entry-points."jackfield.plugins"]
        seats = "jackfield_seats"

        [project.entry-points."jackfield.namespaces"]
        "api.seats" = "jackfield_seats"

        [tool.hatch.build.targets.wheel]
        packages = ["src/jackfield_seats"]
    """
    (folder / "pyproject.toml").write_text(f"{textwrap.dedent(text)}\n{hook}\n", encoding="utf-8")
    return folder


def run(*command: str | Path, folder: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of this interpreter in a folder."""
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env=environment(env=env),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def build(project: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Build the wheel of a project into its folder `dist`."""
    return run("-m", "hatchling", "build", "-t", "wheel", folder=project, env=env)


def wheel_of(project: Path) -> Path:
    """Build the wheel of a project, and return it."""
    done = build(project)
    assert done.returncode == 0, done.stderr
    return next((project / "dist").glob("*.whl"))


def unpack(wheel: Path, folder: Path) -> Path:
    """Install a wheel into a folder, which is to be put on the path."""
    with ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder
