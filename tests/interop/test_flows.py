"""Clients that handle credit by themselves go through one list of streams, all of them at once over one connection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.flows import FLOWS, run_javascript
from tests.interop.probes import CONFIG, write_main
from tests.interop.streamer import run_python
from tests.interop.test_scenarios import missing
from tests.support.server import Server, serving


@pytest.fixture(scope="module", name="main")
def _main(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that the scenarios call `main`."""
    folder = tmp_path_factory.mktemp("flows")
    with serving(folder / "server", config=CONFIG, path=[write_main(folder / "plugins")]) as server:
        yield server


# One test for each client and not for each flow: all flows of a client are one run.
@pytest.mark.parametrize("mode", ["default", pytest.param("websocket", marks=pytest.mark.full), "polling"])
def test_javascript(main: Server, mode: str, tmp_path: Path, require_all: bool) -> None:
    """It has all items once and in order and the one end that was to come, and hears nothing else.

    By default it begins its streams by polling, and goes on by a websocket.
    """
    if lack := missing():
        (pytest.fail if require_all else pytest.skip)(lack)
    reports = run_javascript(FLOWS, mode, main.url, tmp_path)
    assert {flow.name: faults for flow in FLOWS if (faults := flow.faults(reports[flow.name]))} == {}
    assert reports["connection"]["strays"] == []
    transports = ["polling", "websocket"] if mode == "default" else [mode, mode]
    assert reports["connection"]["transports"] == transports


@pytest.mark.parametrize("mode", ["websocket", pytest.param("polling", marks=pytest.mark.full)])
def test_python(main: Server, mode: str) -> None:
    """It has all items once and in order, and the one end that was to come."""
    reports = run_python(FLOWS, mode, main.url)
    assert {flow.name: faults for flow in FLOWS if (faults := flow.faults(reports[flow.name]))} == {}
