"""`/metrics`: what was counted, in the formats that Prometheus reads."""

from __future__ import annotations

import asyncio
import gzip
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from jackfield import Kernel, PluginInfo, Stats
from jackfield_metrics.tallies import Count, Tallies

STATES: Final = ("discovered", "disabled", "refused", "loaded", "started", "stopped", "quarantined")
_WORTH_PACKING: Final = 1024
_NEVER: Final = re.compile(r"q=0(\.0*)?")


class _Once(Collector):
    """Gives families that were made already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Give them."""
        return self._families


class Exposition:
    """An ASGI application that answers with all metrics of one server process.

    Args:
        kernel: The kernel.
        tallies: What is counted, if calls are.
    """

    def __init__(self, kernel: Kernel, tallies: Tallies | None) -> None:
        self._kernel = kernel
        self._tallies = tallies
        self._process = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._process)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
        elif scope["path"].rstrip("/") != scope.get("root_path", "").rstrip("/"):
            await _answer(scope, send, 404, b"There is nothing here", {})
        elif scope["method"] not in ("GET", "HEAD"):
            await _answer(scope, send, 405, b"GET or HEAD", {"allow": "GET, HEAD"})
        else:
            asked = _headers(scope)
            body, headers = await self.render(asked.get("accept", ""), asked.get("accept-encoding", ""))
            await _answer(scope, send, 200, body, headers)

    async def render(self, accept: str, accept_encoding: str) -> tuple[bytes, dict[str, str]]:
        """Return the metrics and their headers.

        The numbers are read in the event loop, where they change; the long text is made in a thread.

        Args:
            accept: Which formats the client reads, as in HTTP; OpenMetrics is one of the two.
            accept_encoding: Whether it unpacks gzip.
        """
        counts = self._tallies.counts() if self._tallies else []
        families = list(families_of(self._kernel, self._kernel.stats(), self._kernel.plugins()))

        def text() -> tuple[bytes, dict[str, str]]:
            registry = CollectorRegistry(auto_describe=False)
            registry.register(_Once([*families, *families_of_calls(counts), *self._process.collect()]))
            encode, content_type = choose_encoder(accept)
            body, headers = encode(registry), {"content-type": content_type, "vary": "accept, accept-encoding"}
            if len(body) >= _WORTH_PACKING and takes_gzip(accept_encoding):
                body = gzip.compress(body, 5)
                headers["content-encoding"] = "gzip"
            return body, headers

        return await asyncio.to_thread(text)


def families_of(kernel: Kernel, stats: Stats, plugins: Sequence[PluginInfo]) -> Iterator[Metric]:
    """Yield what the kernel tells of itself and its plugins."""
    build = {"version": kernel.version, "protocol": str(kernel.protocol), "python": platform.python_version()}
    yield InfoMetricFamily("jackfield_build", "The version of the server.", value=build)
    yield _by("jackfield_connections", "Clients that are connected.", "transport", stats.connections)
    limit = GaugeMetricFamily("jackfield_connections_limit", "Clients that may be connected, where that is limited.")
    if most := kernel.limits.get("connections"):
        limit.add_metric([], most)
    yield limit
    for name, words, total in (
        ("jackfield_received_bytes", "Bytes of messages that clients have sent.", stats.received),
        ("jackfield_sent_bytes", "Bytes of messages that clients were sent.", stats.sent),
    ):
        yield CounterMetricFamily(name, words, value=total)
    yield GaugeMetricFamily(
        "jackfield_event_loop_lag_seconds", "Seconds by which the event loop is late.", value=stats.loop_lag
    )
    doing = stats.plugins.items()
    yield _by(
        "jackfield_calls_in_flight",
        "Calls that run, streams among them.",
        "plugin",
        {name: each.calls for name, each in doing},
    )
    yield _by(
        "jackfield_calls_queued",
        "Calls that wait for others of the plugin to end.",
        "plugin",
        {name: each.queued for name, each in doing},
    )
    yield _by("jackfield_streams", "Streams that are open.", "plugin", {name: each.streams for name, each in doing})
    state = GaugeMetricFamily(
        "jackfield_plugin_state", "Whether the plugin is in this state: 1 or 0.", labels=["plugin", "state"]
    )
    info = InfoMetricFamily("jackfield_plugin", "The version of each plugin.", labels=["plugin"])
    for plugin in plugins:
        for each in STATES:
            state.add_metric([plugin.name, each], float(plugin.state == each))
        info.add_metric([plugin.name], {"distribution": plugin.distribution, "version": plugin.version})
    yield state
    yield info


def families_of_calls(counts: Sequence[Count]) -> Iterator[Metric]:
    """Yield what was counted; a function is there from its first call on."""
    labels = ["plugin", "function"]
    calls = CounterMetricFamily(
        "jackfield_calls", "Calls that have ended, by code; ok where they did not fail.", labels=[*labels, "code"]
    )
    took = HistogramMetricFamily("jackfield_call_duration_seconds", "How long calls took.", labels=labels)
    streams = CounterMetricFamily(
        "jackfield_streams_ended", "Streams that have ended, by code.", labels=[*labels, "code"]
    )
    lived = HistogramMetricFamily("jackfield_stream_duration_seconds", "How long streams lived.", labels=labels)
    for count in counts:
        counter, histogram = (streams, lived) if count.streams else (calls, took)
        for code, number in count.codes.items():
            counter.add_metric([count.plugin, count.event, code], number)
        bounds = [*(repr(float(bound)) for bound in count.bounds), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(count.buckets)), strict=True))
        histogram.add_metric([count.plugin, count.event], buckets, count.seconds)
    yield from (calls, took, streams, lived)


def takes_gzip(accept_encoding: str) -> bool:
    """Tell whether a client unpacks gzip."""
    for part in accept_encoding.lower().split(","):
        name, _, quality = part.partition(";")
        if name.strip() in ("gzip", "*"):
            return not _NEVER.fullmatch(quality.strip())
    return False


def _by(name: str, words: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, words, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def _headers(scope: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


async def _answer(scope: Any, send: Any, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    said = {"content-type": "text/plain; charset=utf-8", **headers, "content-length": str(len(body))}
    lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in said.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
