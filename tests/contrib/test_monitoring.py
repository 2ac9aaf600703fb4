"""contrib/prometheus and contrib/grafana: what they ask for is what servers tell."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.metrics.tests.scraping import Scrape, scrape
from tests.support.client import connected
from tests.support.installed import disabled
from tests.support.server import Server, serving

CONTRIB = Path(__file__).parents[2] / "contrib"
DOCS = CONTRIB.parent / "docs"
ALERTS = CONTRIB / "prometheus/alerts.yml"
DASHBOARD = CONTRIB / "grafana/jackfield.json"
OF_PROMETHEUS = {"up", "job", "instance"}
METRIC = re.compile(r"\b((?:jackfield|process|python)_\w+|up)\b(?:\{([^}]*)\})?")


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    config = "[limits]\nconnections = 100\n" + disabled("demo", "metrics")
    with serving(tmp_path_factory.mktemp("monitoring"), config=config) as server:
        yield server


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def expressions() -> Iterator[str]:
    """Yield every expression of both, and what fills the dashboard's variables."""
    dashboard = json.loads(DASHBOARD.read_text())
    yield from (target["expr"] for panel in panels() for target in panel["targets"])
    yield from (one["expr"] for one in dashboard["annotations"]["list"])
    yield from (one["definition"] for one in dashboard["templating"]["list"] if one["type"] == "query")
    yield from (rule["expr"] for rule in alerts())


async def told(server: Server) -> Scrape:
    """Return a scrape in which every metric has samples."""
    async with connected(server.url) as client:
        await client.call("api.services.test.echo", 1)
        await client.call("api.services.test.count", {"to": 1}, id=1)
        while "end" not in await client.next("stream"):
            pass
        return await scrape(server.url)


async def test_what_is_asked_for_is_told(server: Server) -> None:
    """Every metric of every expression is in a real scrape, with the labels by which it is chosen."""
    found = await told(server)
    asked = {match for expression in expressions() for match in METRIC.findall(expression)}
    assert {name for name, _ in asked} > {"up", "jackfield_calls_total", "process_open_fds"}
    assert {name for name, _ in asked} - found.names - {"up"} == set()
    for name, selector in asked - {one for one in asked if one[0] == "up"}:
        labels = set(re.findall(r"(\w+)\s*[=!]~?\s*\"", selector)) - OF_PROMETHEUS
        for label in labels:
            assert found.labels(name, label), f"{name} has no label {label}"


async def test_labels_that_are_summed_by_are_told(server: Server) -> None:
    """A sum by a label that does not exist is one sum, which nobody would notice."""
    found = await told(server)
    known = {label for sample in found.samples for label in sample.labels} | OF_PROMETHEUS
    by = {
        label
        for text in expressions()
        for labels in re.findall(r"by \(([^)]*)\)", text)
        for label in labels.split(", ")
    }
    assert by >= {"plugin", "code", "le"}
    assert by - known == set()


async def test_everything_that_servers_tell_of_themselves_is_on_the_dashboard(server: Server) -> None:
    """The process and Python tell more than fits."""
    shown = {name for panel in panels() for target in panel["targets"] for name, _ in METRIC.findall(target["expr"])}
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    families = {name for name in (await told(server)).families if name.startswith("jackfield_")}
    totals = {name.removesuffix("_total") for name in shown}
    assert families - shown - totals == {"jackfield_build_info", "jackfield_stream_duration_seconds"}


def test_the_dashboard_is_laid_out() -> None:
    """Every panel has a title, an id of its own and targets, and none covers another."""
    dashboard = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        assert panel["title"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["targets"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


def test_every_alert_says_what_to_do() -> None:
    """How grave it is, what has happened, where to look; and the configuration reads the file."""
    assert len({rule["alert"] for rule in alerts()}) == len(alerts()) >= 9
    for rule in alerts():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}
    config = yaml.safe_load((CONTRIB / "prometheus/prometheus.yml").read_text())
    assert config["rule_files"] == [ALERTS.name]
    assert [job["job_name"] for job in config["scrape_configs"]] == ["jackfield"]


@pytest.mark.full
def test_prometheus_takes_the_files(require_all: bool) -> None:
    """Its own tool says so."""
    if shutil.which("promtool") is None:
        assert not require_all, "promtool is not installed"
        pytest.skip("promtool is not installed")
    for arguments in (["rules", str(ALERTS)], ["config", str(ALERTS.with_name("prometheus.yml"))]):
        done = subprocess.run(["promtool", "check", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
