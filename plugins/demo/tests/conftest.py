"""A server with the plugin, shared by all its tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server import Server, serving


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    config = '[plugins]\npolicy = "listed"\nenabled = ["demo"]\n[plugins.demo]\ngreeting = "Good morning"\n'
    with serving(tmp_path_factory.mktemp("demo"), config=config) as server:
        yield server
