"""A server with the plugin, one that works and one that does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.installed import disabled
from tests.support.plugins import write_neighbour, write_plugin
from tests.support.server import Server, serving

HIDING = """
    from jackfield import hookimpl

    @hookimpl
    def jackfield_authorize(function):
        return function.event != "api.neighbour.hidden"
"""

ASKING = """
    from jackfield import Call, Principal, Service, hookimpl

    service = Service("api.asking")

    @service.function(requires="orders:read")
    async def orders(call: Call) -> str:
        return "orders"

    @service.function
    async def unsaid(call: Call) -> str:
        return "never"

    @hookimpl
    def jackfield_services():
        return [service]

    @hookimpl
    async def jackfield_authenticate(handshake):
        return Principal("ann", scopes=frozenset(handshake.auth.get("scopes", ())))
"""


@pytest.fixture(scope="module", name="asking")
def _asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("asking")
    write_plugin(folder / "plugins", "asking", ASKING, namespaces=["api.asking"])
    config = f"""{disabled("system")}
        [[access.rules]]
        functions = "api.system.info"
        requires = ["jackfield:operator"]
    """
    with serving(folder / "server", path=[folder / "plugins"], config=config) as server:
        yield server


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("system")
    write_neighbour(folder / "plugins")
    write_plugin(folder / "plugins", "broken", "import no_such_module", namespaces=["api.broken"])
    write_plugin(folder / "plugins", "hiding", HIDING)
    config = f"{disabled('system')}[limits]\ncalls = 7\n"
    with serving(folder / "server", path=[folder / "plugins"], config=config) as server:
        yield server
