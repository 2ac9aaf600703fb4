"""The ordinary clients, in JavaScript and in Python, over every carrier, go through one list of scenarios."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.probes import CONFIG, write_gate, write_main
from tests.interop.runner import Report, group, run_all
from tests.interop.scenario import Scenario
from tests.interop.scenarios import ALL
from tests.support.server import Server, serving

HERE = Path(__file__).parent
NODE_LIMIT = 55.0
CARRIERS = {"default": "websocket", "websocket": "websocket", "polling": "polling"}
"""The carrier that a connection of each mode ends up with."""

COMMON = {("js", "default"), ("py", "websocket")}

Reports = dict[str, Report]


@pytest.fixture(scope="module", name="servers")
def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """`main`, with plugins in every state, and `gate`, which asks who is there."""
    folder = tmp_path_factory.mktemp("interop")
    with (
        serving(folder / "main", config=CONFIG, path=[write_main(folder / "main-plugins")]) as main,
        serving(folder / "gate", path=[write_gate(folder / "gate-plugins")]) as gate,
    ):
        yield {"main": main, "gate": gate}


@pytest.fixture(
    scope="module",
    name="reports",
    params=[
        # Each client goes through all of it once; over its other carriers in the larger run.
        pytest.param(f"{client}-{carrier}", marks=[] if (client, carrier) in COMMON else [pytest.mark.full])
        for client in ("js", "py")
        for carrier in CARRIERS
    ],
)
def _reports(
    request: pytest.FixtureRequest,
    servers: dict[str, Server],
    tmp_path_factory: pytest.TempPathFactory,
    require_all: bool,
) -> Reports:
    """What one client saw over one carrier, for every scenario."""
    client, mode = request.param.split("-")
    urls = {name: server.url for name, server in servers.items()}
    plans = [scenario.plan() for scenario in ALL]
    if client == "py":
        return group(asyncio.run(run_all(plans, mode, urls)))
    if lack := missing():
        (pytest.fail if require_all else pytest.skip)(lack)
    file = tmp_path_factory.mktemp("plans") / "scenarios.json"
    file.write_text(json.dumps(plans), encoding="utf-8")
    done = subprocess.run(
        ["node", str(HERE / "runner.cjs"), str(file), mode, *(f"{name}={url}" for name, url in urls.items())],
        capture_output=True,
        encoding="utf-8",
        timeout=NODE_LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return group(json.loads(line) for line in done.stdout.split("\n") if line)


@pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: f"{scenario.section}: {scenario.name}")
def test_scenario(reports: Reports, scenario: Scenario) -> None:
    """A client sees what the protocol says, and nothing else."""
    assert scenario.faults(reports[scenario.name]) == []


def test_every_connection_was_carried_as_asked(request: pytest.FixtureRequest, reports: Reports) -> None:
    """With default options a connection begins with polling and ends up with a websocket, else it is what was asked."""
    mode = request.node.callspec.params["reports"].partition("-")[2]
    carriers = {report["transport"] for report in reports.values() if "transport" in report}
    assert carriers == {CARRIERS[mode]}
    begun = {report["began"] for report in reports.values() if "began" in report}
    assert begun <= {"polling" if mode == "default" else mode}


def test_every_error_id_is_in_the_log(reports: Reports, servers: dict[str, Server]) -> None:
    """Who is told an `error_id` is told nothing else; the log has the same id, and what happened."""
    told = json.dumps(reports)
    error_ids = set(re.findall(r'"error_id": "([0-9a-f]{16})"', told))
    log = "".join(server.log for server in servers.values())
    assert len(error_ids) > 20
    assert {error_id for error_id in error_ids if error_id not in log} == set()
    assert "RuntimeError: the password is hunter2" in log
    assert "hunter2" not in told


def missing() -> str | None:
    if shutil.which("node") is None:
        return "there is no `node` to run the JavaScript client with"
    if not (HERE / "node_modules/socket.io-client").is_dir():
        return "socket.io-client is not installed: make test"
    return None
