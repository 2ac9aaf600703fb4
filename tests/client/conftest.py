"""Servers that the client is tried with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from jackfield.client import Client, connect
from tests.client.probes import PROBE
from tests.support.plugins import KNOWN_MAY_CALL_ALL, write_plugin
from tests.support.server import Server, serving


@pytest.fixture(scope="session", name="probed")
def _probed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the probe and everything of this repository."""
    folder = write_plugin(tmp_path_factory.mktemp("probe"), "probe", PROBE, namespaces=["api.probe"])
    with serving(folder / "server", path=[folder], config=KNOWN_MAY_CALL_ALL) as server:
        yield server


@pytest_asyncio.fixture(name="client")
async def _client(probed: Server) -> AsyncIterator[Client]:
    """A client of it."""
    async with connect(probed.url) as client:
        yield client
