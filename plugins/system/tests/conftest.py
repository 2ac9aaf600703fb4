"""A server with the plugin, one that works and one that does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.plugins import write_neighbour, write_plugin
from tests.support.server import Server, serving

HIDING = """
    from jackfield import hookimpl

    @hookimpl
    def jackfield_authorize(function):
        return function.event != "api.neighbour.hidden"
"""


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("system")
    write_neighbour(folder / "plugins")
    write_plugin(folder / "plugins", "broken", "import no_such_module", namespaces=["api.broken"])
    write_plugin(folder / "plugins", "hiding", HIDING)
    config = '[plugins]\ndisabled = ["demo", "files"]\n[limits]\ncalls = 7\n'
    with serving(folder / "server", path=[folder / "plugins"], config=config) as server:
        yield server
