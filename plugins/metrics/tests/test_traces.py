"""Traces: a span for each call, its place among others, and where it is sent to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jackfield_metrics.traces import TracesError, _exporter
from tests.support.client import Client, connected
from tests.support.plugins import write_plugin
from tests.support.server import Server, serving

PROBE = """
    import asyncio
    from collections.abc import AsyncIterator

    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from jackfield import Call, CallError, Service, hookimpl

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("probe")
    service = Service("api.probe")

    @service.function
    async def ok(call: Call) -> str:
        with tracer.start_as_current_span("at once"):
            return "ok"

    @service.function
    async def later(call: Call) -> str:
        await asyncio.sleep(0)
        with tracer.start_as_current_span("later"):
            await asyncio.sleep(0)
            return "ok"

    @service.function
    def threaded(call: Call) -> str:
        with tracer.start_as_current_span("threaded"):
            return "ok"

    @service.function
    async def outer(call: Call) -> str:
        with tracer.start_as_current_span("around"):
            return await call.invoke("api.probe.ok")

    @service.function
    async def fail(call: Call, data: str) -> None:
        raise CallError(data, "as asked")

    @service.function
    async def crash(call: Call) -> None:
        raise RuntimeError("as asked")

    @service.function
    async def count(call: Call, data: int) -> AsyncIterator[int]:
        for number in range(data):
            with tracer.start_as_current_span("item"):
                yield number
        if not data:
            await asyncio.Event().wait()

    @service.function
    async def spans(call: Call) -> list[dict]:
        found = [
            {
                "name": span.name,
                "kind": span.kind.name,
                "attributes": dict(span.attributes),
                "status": span.status.status_code.name,
                "trace": f"{span.context.trace_id:032x}",
                "id": f"{span.context.span_id:016x}",
                "parent": f"{span.parent.span_id:016x}" if span.parent else None,
            }
            for span in exporter.get_finished_spans()
            if span.name != "api.probe/spans"
        ]
        exporter.clear()
        return found

    @hookimpl
    def jackfield_services():
        return [service]
"""
TRACES = "[plugins.metrics]\ntraces = true\n"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("traces")
    write_plugin(folder / "plugins", "probe", PROBE, namespaces=["api.probe"])
    with serving(folder / "server", path=[folder / "plugins"], config=TRACES) as server:
        yield server


async def spans(client: Client) -> dict[str, dict[str, Any]]:
    """Return the spans that have ended since this was last asked, by name."""
    return {span["name"]: span for span in (await client.call("api.probe.spans"))["data"]}


async def test_a_call_is_a_span(server: Server) -> None:
    """With the names of the conventions, and nothing of an error; it is counted all the same."""
    async with connected(server.url) as client:
        await spans(client)
        await client.call("api.probe.ok")
        found = await spans(client)
        told = (await client.call("api.metrics.snapshot"))["data"]
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
async def test_spans_of_the_function_are_inside(server: Server, function: str, inner: str) -> None:
    """In a function that runs at once, in one that waits, and in a thread; and those of the next call are not."""
    async with connected(server.url) as client:
        await spans(client)
        await client.call(f"api.probe.{function}")
        first = await spans(client)
        await client.call(f"api.probe.{function}")
        second = await spans(client)
    for found in (first, second):
        assert found[inner]["parent"] == found[f"api.probe/{function}"]["id"]
        assert found[f"api.probe/{function}"]["parent"] is None
    assert first[inner]["trace"] != second[inner]["trace"]


async def test_a_call_of_another_function_is_inside(server: Server) -> None:
    """Inside the span from which it is made, although its headers are the client's."""
    async with connected(server.url) as client:
        await spans(client)
        await client.call("api.probe.outer", meta={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        found = await spans(client)
    assert found["api.probe/outer"]["parent"] == PARENT
    assert found["around"]["parent"] == found["api.probe/outer"]["id"]
    assert found["api.probe/ok"]["parent"] == found["around"]["id"]
    assert {span["trace"] for span in found.values()} == {TRACE}


@pytest.mark.parametrize(
    "header", ["", "nonsense", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01", "00-" * 400]
)
async def test_headers_that_mean_nothing_begin_a_new_trace(server: Server, header: str) -> None:
    """A client cannot disturb anything by them."""
    async with connected(server.url) as client:
        await spans(client)
        assert await client.call("api.probe.ok", meta={"traceparent": header, "tracestate": header}) == {"data": "ok"}
        found = await spans(client)
    assert found["api.probe/ok"]["parent"] is None


async def test_a_failure_is_told(server: Server) -> None:
    """Its code always; that the server has failed only where it has; the id under which the log tells more."""
    async with connected(server.url) as client:
        await spans(client)
        await client.call("api.probe.fail", "not_found")
        expected = await spans(client)
        crashed = await client.call("api.probe.crash")
        unexpected = await spans(client)
    own = {"rpc.status_code": "not_found", "error.type": "not_found"}
    assert own.items() <= expected["api.probe/fail"]["attributes"].items()
    assert expected["api.probe/fail"]["status"] == "UNSET"
    attributes = unexpected["api.probe/crash"]["attributes"]
    assert attributes["error.type"] == "internal"
    assert attributes["jackfield.error_id"] == crashed["error"]["error_id"]
    assert unexpected["api.probe/crash"]["status"] == "ERROR"


async def test_a_stream_is_one_span(server: Server) -> None:
    """For its whole life, however it ends."""
    async with connected(server.url) as client:
        await spans(client)
        await client.call("api.probe.count", 2, id=1)
        while "end" not in await client.next("stream"):
            pass
        found = await spans(client)
        await client.call("api.probe.count", 0, id=2)
        await client.emit({"id": 2, "cancel": True}, event="stream")
        await client.next("stream")
        cancelled = await spans(client)
    assert found["item"]["parent"] == found["api.probe/count"]["id"]
    assert "error.type" not in found["api.probe/count"]["attributes"]
    assert cancelled["api.probe/count"]["attributes"]["error.type"] == "canceled"
    assert cancelled["api.probe/count"]["status"] == "UNSET"


async def test_the_usual_variables_say_where_they_go(tmp_path: Path) -> None:
    """Here to standard output; what is not sent yet is sent when the server stops."""
    with serving(tmp_path, config=TRACES, env={"OTEL_TRACES_EXPORTER": "console"}) as server:
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


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    """And the plugin is quarantined; without traces it works."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/opentelemetry.py").write_text("raise ImportError('opentelemetry')\n", encoding="utf-8")
    with serving(tmp_path / "traced", path=[tmp_path / "hidden"], config=TRACES) as server:
        plugin = server.plugins["metrics"]
    assert (plugin["state"], plugin["kind"]) == ("quarantined", "SettingsError")
    assert 'pip install "jackfield-metrics[otel]"' in plugin["reason"]
    with serving(tmp_path / "plain", path=[tmp_path / "hidden"]) as server:
        assert server.plugins["metrics"]["state"] == "started"
