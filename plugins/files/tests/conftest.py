"""A server with the plugin, for each test its own: tests leave files behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.server import Server, serving

Serve = Callable[..., Server]


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    """The folder of the files."""
    return tmp_path / "files"


@pytest.fixture(name="serve")
def _serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a server with settings of the plugin."""
    with ExitStack() as stack:

        def serve(settings: str = "", more: str = "") -> Server:
            config = f'[plugins]\npolicy = "listed"\nenabled = ["files"]\n[plugins.files]\n{settings}\n{more}'
            return stack.enter_context(serving(tmp_path, config=config))

        yield serve


@pytest.fixture(name="server")
def _server(serve: Serve) -> Server:
    """A server with the settings that are there by default."""
    return serve()
