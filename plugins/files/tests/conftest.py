"""The plugin with a root of its own for each test, for tests leave files behind: in memory, or in a real process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from jackfield.testing import Client
from plugins.files.tests.calling import Files
from tests.support.server import Server, serving

Serve = Callable[..., Server]


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    """The folder of the files."""
    return tmp_path / "files"


@pytest.fixture
def jackfield_settings(root: Path) -> dict[str, object]:
    """The settings that are there by default, but for the root."""
    return {"root": root}


@pytest.fixture(name="files")
def _files(jackfield_client: Client) -> Files:
    """A client of the plugin."""
    return Files(jackfield_client)


@pytest.fixture(name="serve")
def _serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a real process, with settings of the plugin: for what happens to processes."""
    with ExitStack() as stack:

        def serve(settings: str = "", more: str = "") -> Server:
            config = f'[plugins]\npolicy = "listed"\nenabled = ["files"]\n[plugins.files]\n{settings}\n{more}'
            return stack.enter_context(serving(tmp_path, config=config))

        yield serve


@pytest.fixture(name="server")
def _server(serve: Serve) -> Server:
    """A real process with the settings that are there by default."""
    return serve()
