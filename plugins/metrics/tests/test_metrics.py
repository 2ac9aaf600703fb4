"""What `/metrics` says of calls, streams, connections and plugins."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from pydantic import ValidationError

from jackfield.testing import RunningKernel
from jackfield_metrics.exposition import takes_gzip
from jackfield_metrics.messages import MetricsSettings
from plugins.metrics.tests.conftest import BESIDE, beside
from plugins.metrics.tests.scraping import ask, scrape, until
from tests.support.client import connected
from tests.support.server import serving

ELSEWHERE = {"X_Forwarded_For": "203.0.113.7"}

pytestmark = [beside, pytest.mark.jackfield(network=True)]


async def test_calls_are_counted_by_function_and_code(jackfield_kernel: RunningKernel) -> None:
    """Those that fail by their own word, by accident, by their argument, in a thread, and inside one another."""
    before = await scrape(jackfield_kernel.url)
    async with connected(jackfield_kernel.url) as client:
        for _ in range(3):
            await client.call("api.probe.ok")
        for code in ("not_found", "not_found", "aborted"):
            await client.call("api.probe.fail", code)
        await client.call("api.probe.fail", 7)
        await client.call("api.probe.crash")
        await client.call("api.probe.threaded")
        await client.call("api.probe.inner")
        await client.call("api.probe.ok", meta={"key": "value"})
    after = await scrape(jackfield_kernel.url)

    def grown(function: str, code: str) -> float:
        labels = {"plugin": "probe", "function": f"api.probe.{function}", "code": code}
        return sum(after.all("jackfield_calls_total", **labels)) - sum(before.all("jackfield_calls_total", **labels))

    assert grown("ok", "ok") == 5
    assert [grown("fail", code) for code in ("ok", "not_found", "aborted", "invalid_argument")] == [0, 2, 1, 1]
    assert grown("crash", "internal") == 1
    assert grown("threaded", "ok") == 1
    assert grown("inner", "ok") == 1


async def test_a_call_is_timed(jackfield_kernel: RunningKernel) -> None:
    """It is in each bucket from its duration on, and in the sum."""
    async with connected(jackfield_kernel.url) as client:
        await client.call("api.probe.nap")
    found = await scrape(jackfield_kernel.url)
    name, function = "jackfield_call_duration_seconds", "api.probe.nap"
    assert found.one(f"{name}_count", function=function) == 1
    assert found.one(f"{name}_sum", function=function) > 0.05
    assert [found.one(f"{name}_bucket", function=function, le=le) for le in ("0.0005", "0.05", "+Inf")] == [0, 0, 1]


@pytest.mark.jackfield(config={**BESIDE["config"], "limits": {"loop_lag": 10}})
async def test_the_event_loop_is_late_while_a_plugin_holds_it(jackfield_kernel: RunningKernel) -> None:
    """Whoever holds it, every client waits as long."""
    async with connected(jackfield_kernel.url) as client:
        late = 0.0
        for _ in range(20):
            if late < 0.02:
                await client.call("api.probe.block")
                late = (await scrape(jackfield_kernel.url)).one("jackfield_event_loop_lag_seconds")
    assert late >= 0.02


async def test_streams_are_counted_by_themselves(jackfield_kernel: RunningKernel) -> None:
    """One that ends, and one that its caller leaves; neither is among the calls."""
    count = "api.services.test.count"
    async with connected(jackfield_kernel.url) as client:
        await client.call(count, {"to": 1}, id=1)
        await until(
            jackfield_kernel.url,
            lambda found: found.all("jackfield_streams_ended_total", function=count, code="ok") == [1],
        )
        await client.call(count, {"pause": 60}, id=2)
        await until(jackfield_kernel.url, lambda found: found.one("jackfield_streams", plugin="demo") == 1)
    found = await until(
        jackfield_kernel.url,
        lambda found: found.all("jackfield_streams_ended_total", function=count, code="canceled") == [1],
    )
    assert found.one("jackfield_streams", plugin="demo") == 0
    assert found.one("jackfield_stream_duration_seconds_count", function=count) == 2
    assert count not in found.labels("jackfield_calls_total", "function")


async def test_what_runs_and_what_waits_is_told(jackfield_kernel: RunningKernel) -> None:
    """Calls in flight and queued; those whose client goes away are `canceled`."""
    wait = "api.probe.wait"
    async with connected(jackfield_kernel.url) as client:
        for number in range(3):
            await client.emit({"event": wait, "id": number})
        await until(jackfield_kernel.url, lambda found: found.one("jackfield_calls_queued", plugin="probe") == 2)
        found = await scrape(jackfield_kernel.url)
        assert found.one("jackfield_calls_in_flight", plugin="probe") == 1
        assert found.one("jackfield_calls_in_flight", plugin="demo") == 0
    found = await until(
        jackfield_kernel.url, lambda found: found.all("jackfield_calls_total", function=wait, code="canceled") == [3]
    )
    assert found.one("jackfield_calls_in_flight", plugin="probe") == 0
    assert found.one("jackfield_calls_queued", plugin="probe") == 0


async def test_connections_and_bytes_are_told(jackfield_kernel: RunningKernel) -> None:
    """By carrier."""
    before = await until(jackfield_kernel.url, lambda found: found.all("jackfield_connections") == [0, 0])
    async with connected(jackfield_kernel.url, "websocket") as client, connected(jackfield_kernel.url, "polling"):
        await client.call("api.services.test.echo", "x" * 5000)
        found = await scrape(jackfield_kernel.url)
        assert found.one("jackfield_connections", transport="websocket") == 1
        assert found.one("jackfield_connections", transport="polling") == 1
        assert found.all("jackfield_connections_limit") == []
    for name in ("jackfield_received_bytes_total", "jackfield_sent_bytes_total"):
        assert found.one(name) - before.one(name) > 5000


async def test_each_plugin_is_in_one_state(jackfield_kernel: RunningKernel) -> None:
    """A plugin that is quarantined is there too."""
    found = await scrape(jackfield_kernel.url)
    assert found.one("jackfield_plugin_state", plugin="broken", state="quarantined") == 1
    assert found.one("jackfield_plugin_state", plugin="probe", state="started") == 1
    for plugin in found.labels("jackfield_plugin_info", "plugin"):
        assert sum(found.all("jackfield_plugin_state", plugin=plugin)) == 1
    assert found.one("jackfield_plugin_info", plugin="probe", distribution="jackfield-probe", version="0") == 1
    assert found.all("jackfield_build_info", version="0.1.0", protocol="1") == [1]


async def test_what_clients_make_up_is_no_label(jackfield_kernel: RunningKernel) -> None:
    """Events that no function has are not counted, so nobody can make the metrics grow."""
    async with connected(jackfield_kernel.url) as client:
        for number in range(20):
            await client.call(f"api.probe.made_up_{number}")
            await client.call(f"api.nowhere{number}.x")
    functions = (await scrape(jackfield_kernel.url)).labels("jackfield_calls_total", "function")
    assert {name for name in functions if not name.startswith(("api.probe.", "api.services.test.", "api.m"))} == set()
    assert not any("made_up" in name or "nowhere" in name for name in functions)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("nonsense;;;,,q=x", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", "application/openmetrics-text"),
    ],
    ids=["nothing", "anything", "nonsense", "OpenMetrics"],
)
async def test_the_format_is_the_one_that_is_asked_for(
    jackfield_kernel: RunningKernel, accept: str, expected: str
) -> None:
    """Both can be read by their own parser."""
    async with connected(jackfield_kernel.url) as client:
        await client.call("api.probe.ok")
    told = await ask(jackfield_kernel.url, Accept=accept)
    assert told.status == 200
    assert told.headers["Content-Type"].startswith(expected)
    if expected.startswith("application"):
        families = list(openmetrics.text_string_to_metric_families(told.body.decode()))
        assert {"jackfield_calls", "jackfield_plugin", "process_cpu_seconds"} <= {family.name for family in families}


async def test_it_is_packed_for_those_who_unpack(jackfield_kernel: RunningKernel) -> None:
    """With gzip, and for nobody else."""
    plain, packed = await ask(jackfield_kernel.url), await ask(jackfield_kernel.url, Accept_Encoding="br, gzip")
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body).startswith(b"# HELP jackfield_build_info")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("*", True),
    ],
)
def test_who_unpacks_says_so(header: str, expected: bool) -> None:
    """As HTTP has it: a quality of 0 means no."""
    assert takes_gzip(header) is expected


async def test_other_requests_are_refused(jackfield_kernel: RunningKernel) -> None:
    """HEAD has no body; what changes something, paths below, and clients elsewhere get nothing."""
    head = await ask(jackfield_kernel.url, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["Content-Length"]) > 1000
    post = await ask(jackfield_kernel.url, method="POST")
    assert (post.status, post.headers["Allow"]) == (405, "GET, HEAD")
    assert (await ask(jackfield_kernel.url, "/metrics/more")).status == 404
    assert (await ask(jackfield_kernel.url, **ELSEWHERE)).status == 404
    assert (await ask(jackfield_kernel.url, "/metrics/")).status == 200


async def test_scrapes_side_by_side_agree(jackfield_kernel: RunningKernel) -> None:
    """Each answer is whole."""
    answers = await asyncio.gather(*(ask(jackfield_kernel.url) for _ in range(8)))
    assert {answer.status for answer in answers} == {200}
    assert all(answer.body.endswith(b"\n") and b"python_info" in answer.body for answer in answers)


async def test_settings_say_where_and_what(tmp_path: Path) -> None:
    """Another path, other buckets, and the operator's own listener, to which everybody may come."""
    config = '[server]\nadmin = "127.0.0.1:0"\n[limits]\nconnections = 50\n'
    config += '[plugins]\npolicy = "listed"\nenabled = ["metrics", "system"]\n'
    config += '[plugins.metrics]\npath = "/numbers"\nbuckets = [0.5, 2]\n'
    with serving(tmp_path, config=config) as server:
        async with connected(server.url) as client:
            await client.call("api.system.ping")
        assert (await ask(server.url, "/numbers")).status == 404
        admin = server.ready["admin"]
        assert (await ask(admin, "/numbers", **ELSEWHERE)).status == 200
        found = await scrape(admin, "/numbers")
        assert found.labels("jackfield_call_duration_seconds_bucket", "le") == {"0.5", "2.0", "+Inf"}
        assert found.one("jackfield_connections_limit") == 50


@pytest.mark.jackfield(settings={"calls": False})
async def test_calls_need_not_be_counted(jackfield_kernel: RunningKernel) -> None:
    """The rest is told all the same, and `api.metrics` has no functions to tell of."""
    client = await jackfield_kernel.connect()
    await client.call("api.system.ping")
    told = await client.call("api.metrics.snapshot")
    found = await scrape(jackfield_kernel.url)
    assert (told["functions"], told["total"]["calls_per_second"]) == ([], 0)
    assert found.all("jackfield_calls_total") == []
    assert found.one("jackfield_plugin_state", plugin="metrics", state="started") == 1


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"buckets": []}, "at least 1 item"),
        ({"buckets": [1, 1]}, "each bound must be greater than the one before it"),
        ({"buckets": [0, 1]}, "greater than 0"),
        ({"buckets": [1, float("inf")]}, "finite"),
        ({"buckets": list(range(1, 200))}, "at most 100"),
        ({"path": "metrics"}, "a path begins with /"),
        ({"bucket": [1]}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], problem: str) -> None:
    """With what is wrong."""
    with pytest.raises(ValidationError, match=problem):
        MetricsSettings.model_validate(settings)
