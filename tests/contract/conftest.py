"""Wheels that tests share; they leave them as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli import conftest as cli
from tests.contract.projects import SEATS, unpack, wheel_of, write_project

# The command line as people use it.
closed_port, shell, invoke = cli._closed_port, cli._shell, cli._invoke


@pytest.fixture(scope="session", name="wheel")
def _wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the plugin `seats`, with its contract."""
    return wheel_of(write_project(tmp_path_factory.mktemp("seats")))


@pytest.fixture(scope="session", name="later_wheel")
def _later_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of its next version, in which a field is required that was optional."""
    source = SEATS.replace('note: str = ""', "note: str")
    return wheel_of(write_project(tmp_path_factory.mktemp("later"), source, version="2.0"))


@pytest.fixture(scope="session", name="bare_wheel")
def _bare_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of it without a contract."""
    return wheel_of(write_project(tmp_path_factory.mktemp("bare"), hook=""))


@pytest.fixture(name="installed")
def _installed(tmp_path: Path, wheel: Path) -> Path:
    """A folder in which the plugin is installed."""
    return unpack(wheel, tmp_path / "site")
