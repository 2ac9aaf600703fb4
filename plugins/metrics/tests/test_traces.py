"""Traces: a span for each call, its place among others, and where it is sent to."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from jackfield import Call, CallError, Service
from jackfield.testing import Client, Serve
from jackfield_metrics.traces import TracesError, _exporter
from tests.support.client import connected
from tests.support.server import serving
from tests.support.waiting import until

tracer = trace.get_tracer("probe")
probe = Service("api.probe")


@probe.function
async def ok(call: Call) -> str:
    """Answer at once."""
    with tracer.start_as_current_span("at once"):
        return "ok"


@probe.function
async def later(call: Call) -> str:
    """Answer a little later."""
    await asyncio.sleep(0)
    with tracer.start_as_current_span("later"):
        await asyncio.sleep(0)
        return "ok"


@probe.function
def threaded(call: Call) -> str:
    """Answer from a thread."""
    with tracer.start_as_current_span("threaded"):
        return "ok"


@probe.function
async def outer(call: Call) -> str:
    """Call another function."""
    with tracer.start_as_current_span("around"):
        return str(await call.invoke("api.probe.ok"))


@probe.function
async def fail(call: Call, data: str) -> None:
    """Fail with the code that the caller wants."""
    raise CallError(data, "as asked")


@probe.function
async def crash(call: Call) -> None:
    """Fail by accident."""
    raise RuntimeError("as asked")


@probe.function
async def count(call: Call, data: int) -> AsyncIterator[int]:
    """Yield so many numbers; none at all, and no end, for 0."""
    for number in range(data):
        with tracer.start_as_current_span("item"):
            yield number
    if not data:
        await asyncio.get_running_loop().create_future()


TRACES = "[plugins.metrics]\ntraces = true\n"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

pytestmark = pytest.mark.jackfield(settings={"traces": True}, neighbours={"probe": probe})


@pytest.fixture(scope="session", name="exporter")
def _exporter_of_all() -> InMemorySpanExporter:
    """Keep the spans of this process, which can be told only once where they go."""
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture(autouse=True)
def _no_spans(exporter: InMemorySpanExporter) -> None:
    """Begin each test without any."""
    exporter.clear()


async def spans(exporter: InMemorySpanExporter, last: str) -> dict[str, dict[str, Any]]:
    """Return the spans that have ended since this was last asked, by name, when the last one is among them."""
    await until(lambda: last in [span.name for span in exporter.get_finished_spans()])
    found = {
        span.name: {
            "name": span.name,
            "kind": span.kind.name,
            "attributes": dict(span.attributes or {}),
            "status": span.status.status_code.name,
            "trace": f"{span.context.trace_id:032x}",
            "id": f"{span.context.span_id:016x}",
            "parent": f"{span.parent.span_id:016x}" if span.parent else None,
        }
        for span in exporter.get_finished_spans()
    }
    exporter.clear()
    return found


async def test_a_call_is_a_span(exporter: InMemorySpanExporter, jackfield_client: Client) -> None:
    """With the names of the conventions, and nothing of an error; it is counted all the same."""
    await jackfield_client.call("api.probe.ok")
    found = await spans(exporter, "api.probe/ok")
    told = await jackfield_client.call("api.metrics.snapshot")
    assert found["api.probe/ok"] == {
        "name": "api.probe/ok",
        "kind": "SERVER",
        "attributes": {"rpc.system.name": "jackfield", "rpc.method": "api.probe/ok"},
        "status": "UNSET",
        "trace": found["api.probe/ok"]["trace"],
        "id": found["api.probe/ok"]["id"],
        "parent": None,
    }
    assert "api.probe.ok" in [row["event"] for row in told["functions"]]


@pytest.mark.parametrize(
    ("function", "inner"), [("ok", "at once"), ("later", "later"), ("threaded", "threaded")], ids=str
)
async def test_spans_of_the_function_are_inside(
    exporter: InMemorySpanExporter, jackfield_client: Client, function: str, inner: str
) -> None:
    """In a function that runs at once, in one that waits, and in a thread; and those of the next call are not."""
    both = []
    for _ in range(2):
        await jackfield_client.call(f"api.probe.{function}")
        both.append(await spans(exporter, f"api.probe/{function}"))
    for found in both:
        assert found[inner]["parent"] == found[f"api.probe/{function}"]["id"]
        assert found[f"api.probe/{function}"]["parent"] is None
    first, second = both
    assert first[inner]["trace"] != second[inner]["trace"]


async def test_a_call_of_another_function_is_inside(exporter: InMemorySpanExporter, jackfield_client: Client) -> None:
    """Inside the span from which it is made, although its headers are the client's."""
    await jackfield_client.call("api.probe.outer", meta={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    found = await spans(exporter, "api.probe/outer")
    assert found["api.probe/outer"]["parent"] == PARENT
    assert found["around"]["parent"] == found["api.probe/outer"]["id"]
    assert found["api.probe/ok"]["parent"] == found["around"]["id"]
    assert {span["trace"] for span in found.values()} == {TRACE}


@pytest.mark.parametrize(
    "header", ["", "nonsense", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01", "00-" * 400]
)
async def test_headers_that_mean_nothing_begin_a_new_trace(
    exporter: InMemorySpanExporter, jackfield_client: Client, header: str
) -> None:
    """A client cannot disturb anything by them."""
    meta = {"traceparent": header, "tracestate": header}
    assert await jackfield_client.call("api.probe.ok", meta=meta) == "ok"
    found = await spans(exporter, "api.probe/ok")
    assert found["api.probe/ok"]["parent"] is None


async def test_a_failure_is_told(exporter: InMemorySpanExporter, jackfield_client: Client) -> None:
    """Its code always; that the server has failed only where it has; the id under which the log tells more."""
    with pytest.raises(CallError, match=r"^not_found: as asked$"):
        await jackfield_client.call("api.probe.fail", "not_found")
    expected = await spans(exporter, "api.probe/fail")
    with pytest.raises(CallError) as crashed:
        await jackfield_client.call("api.probe.crash")
    unexpected = await spans(exporter, "api.probe/crash")
    own = {"rpc.status_code": "not_found", "error.type": "not_found"}
    assert own.items() <= expected["api.probe/fail"]["attributes"].items()
    assert expected["api.probe/fail"]["status"] == "UNSET"
    attributes = unexpected["api.probe/crash"]["attributes"]
    assert attributes["error.type"] == "internal"
    assert attributes["jackfield.error_id"] == crashed.value.error_id is not None
    assert unexpected["api.probe/crash"]["status"] == "ERROR"


async def test_a_stream_is_one_span(exporter: InMemorySpanExporter, jackfield_client: Client) -> None:
    """For its whole life, however it ends."""
    assert [number async for number in jackfield_client.stream("api.probe.count", 2)] == [0, 1]
    found = await spans(exporter, "api.probe/count")
    async with jackfield_client.stream("api.probe.count", 0):
        pass
    cancelled = await spans(exporter, "api.probe/count")
    assert found["item"]["parent"] == found["api.probe/count"]["id"]
    assert "error.type" not in found["api.probe/count"]["attributes"]
    assert cancelled["api.probe/count"]["attributes"]["error.type"] == "canceled"
    assert cancelled["api.probe/count"]["status"] == "UNSET"


async def test_the_usual_variables_say_where_they_go(tmp_path: Path) -> None:
    """Here to standard output; what is not sent yet is sent when the server stops."""
    with serving(
        tmp_path,
        config=f'[plugins]\npolicy = "listed"\nenabled = ["metrics", "system"]\n{TRACES}',
        env={"OTEL_TRACES_EXPORTER": "console"},
    ) as server:
        async with connected(server.url) as client:
            await client.call("api.system.ping")
        server.stop()
        assert server.process.stdout is not None
        written = server.process.stdout.read().decode()
    span = json.loads(written[: written.rindex("}") + 1])
    assert span["name"] == "api.system/ping"
    assert span["resource"]["attributes"]["service.name"] == "jackfield"


def test_an_exporter_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what there is, and for the usual one what to install."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(
        TracesError, match=r"^no exporter 'zipkin' is installed \(OTEL_TRACES_EXPORTER; there are .*console"
    ):
        _exporter("zipkin")


async def test_without_the_extra_it_says_what_to_install(
    jackfield_serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the plugin is quarantined; without traces it works."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "jackfield_metrics.traces")
    async with jackfield_serve("metrics", settings={"traces": True}, strict=False) as kernel:
        plugin = kernel.plugin
    assert (plugin.state, plugin.kind) == ("quarantined", "SettingsError")
    assert plugin.reason is not None
    assert 'pip install "jackfield-metrics[otel]"' in plugin.reason
    async with jackfield_serve("metrics") as kernel:
        assert kernel.plugin.state == "started"
        client = await kernel.connect()
        assert (await client.call("api.metrics.snapshot"))["version"] == "0.1.0"
