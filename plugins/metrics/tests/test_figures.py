"""`api.metrics`: live figures, and who may see them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from jackfield_metrics.figures import quantile
from plugins.metrics.tests.conftest import PROBE
from tests.support.client import connected
from tests.support.plugins import write_plugin
from tests.support.server import Server, serving

DOORMAN = """
    from jackfield import Principal, hookimpl

    SCOPES = {"operator": frozenset({"jackfield:operator"}), "guest": frozenset()}

    @hookimpl
    async def jackfield_authenticate(handshake):
        token = handshake.auth.get("token")
        return Principal(token, scopes=SCOPES[token]) if token in SCOPES else None
"""
ELSEWHERE = {"X-Forwarded-For": "203.0.113.7"}
NAMES = ("snapshot", "watch")


@pytest.fixture(scope="module", name="closed")
def _closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks who is calling."""
    folder = tmp_path_factory.mktemp("closed")
    write_plugin(folder / "plugins", "doorman", DOORMAN)
    write_plugin(folder / "plugins", "probe", PROBE, namespaces=["api.probe"])
    with serving(folder / "server", path=[folder / "plugins"]) as server:
        yield server


async def test_a_snapshot_is_of_all_since_the_start(server: Server) -> None:
    """With each function that was called, the busiest first, and each plugin."""
    async with connected(server.url) as client:
        for _ in range(5):
            await client.call("api.probe.fail", "aborted")
        told = (await client.call("api.metrics.snapshot"))["data"]
        one = (await client.call("api.metrics.snapshot", {"functions": 1}))["data"]
    assert told["interval"] == told["uptime"] > 0
    rows = {row["event"]: row for row in told["functions"]}
    fail = rows["api.probe.fail"]
    assert (fail["plugin"], fail["kind"], fail["calls"], fail["errors"]) == ("probe", "call", 5, 5)
    assert fail["errors_per_second"] == fail["calls_per_second"] > 0
    assert 0 < fail["p50"] < fail["p99"]
    plugins = {row["name"]: row for row in told["plugins"]}
    assert plugins["broken"]["state"] == "quarantined"
    assert plugins["probe"]["errors_per_second"] > 0
    assert plugins["demo"]["p99"] is None
    assert told["connections"] == {"websocket": 1, "polling": 0}
    assert told["received_per_second"] > 0
    assert [row["event"] for row in one["functions"]] == ["api.probe.fail"]


async def test_a_snapshot_can_be_of_an_interval(server: Server) -> None:
    """What was before does not count."""
    async with connected(server.url) as client:
        await client.call("api.probe.ok")
        told = (await client.call("api.metrics.snapshot", {"interval": 0.2}))["data"]
    assert 0.15 < told["interval"] < told["uptime"]
    assert told["total"]["calls_per_second"] == 0
    assert told["total"]["p50"] is None
    (row,) = [row for row in told["functions"] if row["event"] == "api.probe.ok"]
    assert (row["calls_per_second"], row["calls"] >= 1) == (0, True)


async def test_watching_tells_of_each_interval(server: Server) -> None:
    """A call is in one item, and in one only; its stream and what waits are told as they are."""
    async with connected(server.url) as client:
        await client.call("api.services.test.count", {"pause": 60}, id="long")
        await client.call("api.metrics.watch", {"interval": 0.2}, id="watch")
        await client.call("api.probe.ok")
        seen: list[float] = []
        while not seen or seen[-1] > 0:
            frame = await client.next("stream")
            if frame["id"] == "long":
                continue
            rows = {row["event"]: row for row in frame["data"]["functions"]}
            rate = rows.get("api.probe.ok", {}).get("calls_per_second", 0) * frame["data"]["interval"]
            if seen or rate:
                seen.append(rate)
            plugins = {row["name"]: row for row in frame["data"]["plugins"]}
            assert plugins["demo"]["streams"] == 1
            assert plugins["metrics"]["streams"] == 1
        assert seen == [pytest.approx(1), 0]


@pytest.mark.parametrize(
    "data",
    [
        {"interval": 0.1},
        {"interval": 61},
        {"interval": "often"},
        {"functions": -1},
        {"functions": 1001},
        {"every": 1},
        7,
    ],
    ids=str,
)
async def test_what_is_asked_for_is_bounded(server: Server, data: Any) -> None:
    """An interval that would keep the server busy, too many functions, unknown keys."""
    async with connected(server.url) as client:
        for name in NAMES:
            reply = await client.call(f"api.metrics.{name}", data, id=name)
            if "error" not in reply:  # of a stream the argument is looked at when it is open
                reply = await client.next("stream")
            assert reply["error"]["code"] == "invalid_argument"


async def test_clients_elsewhere_see_nothing_where_nobody_says_who_they_are(server: Server) -> None:
    """They are told why."""
    async with connected(server.url, headers=ELSEWHERE) as client:
        for name in NAMES:
            reply = await client.call(f"api.metrics.{name}", id=name)
            if "error" not in reply:
                reply = await client.next("stream")
            assert reply["error"]["code"] == "permission_denied"


async def test_operators_see_them_wherever_they_are(closed: Server) -> None:
    """Those who are known and no operators do not find the functions."""
    async with connected(closed.url, auth={"token": "operator"}, headers=ELSEWHERE) as client:
        assert (await client.call("api.metrics.snapshot"))["data"]["version"] == "0.1.0"
    async with connected(closed.url, auth={"token": "guest"}) as client:
        for name in NAMES:
            assert (await client.call(f"api.metrics.{name}", id=name))["error"]["code"] == "not_found"


async def test_functions_that_some_callers_cannot_see_are_counted_as_what_they_are(closed: Server) -> None:
    """A guest calls first, who does not see all functions; then an operator opens a stream."""
    async with connected(closed.url, auth={"token": "guest"}) as guest:
        await guest.call("api.system.ping")
    async with connected(closed.url, auth={"token": "operator"}) as client:
        await client.call("api.metrics.watch", {"interval": 0.2}, id=1)
        await client.next("stream")
        await client.emit({"id": 1, "cancel": True}, event="stream")
        rows: dict[str, Any] = {}
        async with asyncio.timeout(20):
            while "api.metrics.watch" not in rows:
                told = (await client.call("api.metrics.snapshot", {"interval": 0.2}))["data"]
                rows = {row["event"]: row for row in told["functions"]}
    assert rows["api.metrics.watch"]["kind"] == "stream"
    assert rows["api.metrics.snapshot"]["kind"] == "call"


@pytest.mark.parametrize(
    ("share", "buckets", "expected"),
    [
        (0.5, (0, 0, 0), None),
        (0.5, (10, 0, 0), 0.5),
        (0.99, (10, 0, 0), 0.99),
        (0.5, (0, 10, 0), 1.5),
        (0.5, (5, 5, 0), 1.0),
        (0.9, (5, 5, 0), 1.8),
        (0.99, (0, 0, 7), 2.0),
    ],
)
def test_quantiles_are_evened_out_within_a_bucket(share: float, buckets: Sequence[int], expected: float | None) -> None:
    """As Prometheus does it; beyond the last bound nothing more is known than that bound."""
    assert quantile(share, (1.0, 2.0), buckets) == (None if expected is None else pytest.approx(expected))
