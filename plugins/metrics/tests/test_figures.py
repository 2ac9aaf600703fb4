"""`api.metrics`: live figures, and who may see them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from jackfield import CallError, Principal
from jackfield.testing import Client, RunningKernel
from jackfield_metrics.figures import quantile
from plugins.metrics.tests.conftest import beside
from tests.support.waiting import LIMIT

ELSEWHERE = {"X-Forwarded-For": "203.0.113.7"}
OPERATOR = Principal("operator", scopes=frozenset({"jackfield:operator"}))
GUEST = Principal("guest")
COUNT = "api.services.test.count"

pytestmark = beside


async def refused(client: Client, data: Any = None) -> set[str]:
    """Return the codes with which the functions refuse something."""
    with pytest.raises(CallError) as snapshot:
        await client.call("api.metrics.snapshot", data)
    with pytest.raises(CallError) as watch:
        await anext(client.stream("api.metrics.watch", data))
    return {snapshot.value.code, watch.value.code}


async def test_a_snapshot_is_of_all_since_the_start(jackfield_client: Client) -> None:
    """With each function that was called, the busiest first, and each plugin."""
    for _ in range(5):
        with pytest.raises(CallError, match=r"^aborted: "):
            await jackfield_client.call("api.probe.fail", "aborted")
    told = await jackfield_client.call("api.metrics.snapshot")
    one = await jackfield_client.call("api.metrics.snapshot", {"functions": 1})
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


async def test_a_snapshot_can_be_of_an_interval(jackfield_client: Client) -> None:
    """What was before does not count."""
    await jackfield_client.call("api.probe.ok")
    told = await jackfield_client.call("api.metrics.snapshot", {"interval": 0.2})
    assert 0.15 < told["interval"] < told["uptime"]
    assert told["total"]["calls_per_second"] == 0
    assert told["total"]["p50"] is None
    (row,) = [row for row in told["functions"] if row["event"] == "api.probe.ok"]
    assert (row["calls_per_second"], row["calls"]) == (0, 1)


async def test_watching_tells_of_each_interval(jackfield_client: Client) -> None:
    """A call is in one item, and in one only; its stream and what waits are told as they are."""
    async with (
        jackfield_client.stream(COUNT, {"pause": 60}) as long,
        jackfield_client.stream("api.metrics.watch", {"interval": 0.2}) as watch,
        asyncio.timeout(LIMIT),
    ):
        assert await anext(long) == {"n": 1}
        await jackfield_client.call("api.probe.ok")
        seen: list[float] = []
        while not seen or seen[-1] > 0:
            told = await anext(watch)
            rows = {row["event"]: row for row in told["functions"]}
            rate = rows.get("api.probe.ok", {}).get("calls_per_second", 0) * told["interval"]
            if seen or rate:
                seen.append(rate)
            plugins = {row["name"]: row for row in told["plugins"]}
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
async def test_what_is_asked_for_is_bounded(jackfield_client: Client, data: Any) -> None:
    """An interval that would keep the server busy, too many functions, unknown keys."""
    assert await refused(jackfield_client, data) == {"invalid_argument"}


async def test_clients_elsewhere_see_nothing_where_nobody_says_who_they_are(jackfield_kernel: RunningKernel) -> None:
    """They are told why."""
    client = await jackfield_kernel.connect(headers=ELSEWHERE)
    assert await refused(client) == {"permission_denied"}


@pytest.mark.jackfield(authenticated=True)
async def test_operators_see_them_wherever_they_are(jackfield_kernel: RunningKernel) -> None:
    """Those who are known and no operators do not find the functions."""
    operator = await jackfield_kernel.connect(as_=OPERATOR, headers=ELSEWHERE)
    assert (await operator.call("api.metrics.snapshot"))["version"] == "0.1.0"
    guest = await jackfield_kernel.connect(as_=GUEST)
    assert await refused(guest) == {"not_found"}


@pytest.mark.jackfield(authenticated=True)
async def test_functions_that_some_callers_cannot_see_are_counted_as_what_they_are(
    jackfield_kernel: RunningKernel,
) -> None:
    """A guest calls first, who does not see all functions; then an operator opens a stream."""
    guest = await jackfield_kernel.connect(as_=GUEST)
    assert await guest.call("api.system.ping") == "pong"
    client = await jackfield_kernel.connect(as_=OPERATOR)
    async with client.stream("api.metrics.watch", {"interval": 0.2}) as watch:
        await anext(watch)
    rows: dict[str, Any] = {}
    async with asyncio.timeout(LIMIT):
        while not {"api.metrics.watch", "api.metrics.snapshot"} <= rows.keys():
            told = await client.call("api.metrics.snapshot", {"interval": 0.2})
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
