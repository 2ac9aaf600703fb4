"""Number 55: no version of a dependency is allowed that is known to be broken, and the lowest that are allowed work."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
FLOORS = {
    # Below these, a hostile client could hold memory for good, send reserved events, or show a token that is none.
    "kernel": {"python-socketio": "5.18.1", "python-engineio": "4.15.1", "uvicorn": "0.54", "picows": "2.3.1"},
    "plugins/jwt": {"PyJWT": "2.15"},
}


def requirements(package: str) -> dict[str, Requirement]:
    """Return what a package needs, its extras included."""
    project = tomllib.loads((ROOT / package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [
        *project["dependencies"],
        *(line for extra in project.get("optional-dependencies", {}).values() for line in extra),
    ]
    return {requirement.name: requirement for requirement in map(Requirement, lines)}


@pytest.mark.parametrize(("package", "name"), [(package, name) for package, names in FLOORS.items() for name in names])
def test_55_no_version_below_the_floor_is_allowed(package: str, name: str) -> None:
    """The floor itself is allowed, and what came just before it is not."""
    floor = FLOORS[package][name]
    allowed = requirements(package)[name].specifier
    assert allowed.contains(floor)
    *most, last = map(int, floor.split("."))
    before = [*most, last - 1] if last else [*most[:-1], most[-1] - 1, 99]
    assert not allowed.contains(".".join(map(str, before)))


def test_55_every_dependency_has_a_floor() -> None:
    """A requirement without a lowest version would take whatever an installer finds."""
    packages = [path.parent.relative_to(ROOT) for path in ROOT.glob("plugins/*/pyproject.toml")]
    without = [
        f"{package}: {requirement}"
        for package in ["kernel", *packages]
        for requirement in requirements(str(package)).values()
        if not any(part.operator in (">=", "~=", "==") for part in requirement.specifier)
    ]
    assert without == []


def test_55_the_lowest_versions_are_tried() -> None:
    """What CI runs has a step with the lowest versions that the packages allow."""
    assert "make test-lowest\n" in (ROOT / ".ci/run").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "--resolution lowest-direct" in makefile
