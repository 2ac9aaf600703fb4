"""Live figures: what two readings of a server say of the time between them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic

from jackfield import Kernel, PluginInfo, PluginStats, Stats
from jackfield_metrics.messages import Figures, FunctionFigures, PluginFigures, Rates
from jackfield_metrics.tallies import Count, Tallies

_NOTHING = PluginStats()


@dataclass(frozen=True, slots=True)
class Reading:
    """What a server has done until some moment.

    Args:
        at: When, on the monotonic clock.
        received: Bytes that clients have sent.
        sent: Bytes that clients were sent.
        counts: What has become of calls, by event.
    """

    at: float
    received: int = 0
    sent: int = 0
    counts: Mapping[str, Count] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Change:
    """What has happened to the calls of a function, or of several, between two readings."""

    calls: int
    errors: int
    bounds: Sequence[float]
    buckets: Sequence[int]

    def rates(self, seconds: float) -> Rates:
        return Rates(
            calls_per_second=self.calls / seconds,
            errors_per_second=self.errors / seconds,
            p50=quantile(0.5, self.bounds, self.buckets),
            p99=quantile(0.99, self.bounds, self.buckets),
        )


class Meter:
    """Reads a server.

    Args:
        kernel: The kernel.
        tallies: What is counted, if calls are.

    Attributes:
        tallies: The same.
        start: The first reading.
    """

    def __init__(self, kernel: Kernel, tallies: Tallies | None) -> None:
        self._kernel = kernel
        self.tallies = tallies
        self.start = Reading(monotonic())

    def read(self) -> Reading:
        """Return what it has done until now."""
        stats = self._kernel.stats()
        counts = self.tallies.counts() if self.tallies else []
        return Reading(monotonic(), stats.received, stats.sent, {count.event: count for count in counts})

    def figures(self, since: Reading, until: Reading, functions: int) -> Figures:
        """Return what happened between two readings, and what the server is doing now.

        Args:
            since: The earlier one.
            until: The later one.
            functions: How many functions to tell of, the busiest first.
        """
        seconds = max(until.at - since.at, 1e-9)
        changes = {event: _change(since.counts.get(event), count) for event, count in until.counts.items()}
        calls = [(until.counts[e].plugin, change) for e, change in changes.items() if not until.counts[e].streams]
        busiest = sorted(until.counts.values(), key=lambda count: (-changes[count.event].calls, count.event))
        stats = self._kernel.stats()
        return Figures(
            pid=os.getpid(),
            version=self._kernel.version,
            uptime=until.at - self.start.at,
            interval=seconds,
            connections=dict(stats.connections),
            received_per_second=(until.received - since.received) / seconds,
            sent_per_second=(until.sent - since.sent) / seconds,
            loop_lag=stats.loop_lag,
            total=_sum(change for _, change in calls).rates(seconds),
            plugins=[
                _plugin(info, stats, _sum(change for name, change in calls if name == info.name).rates(seconds))
                for info in self._kernel.plugins()
            ],
            functions=[_function(count, changes[count.event].rates(seconds)) for count in busiest[:functions]],
        )


def quantile(share: float, bounds: Sequence[float], buckets: Sequence[int]) -> float | None:
    """Return the value below which this share lies, as even as can be within its bucket, or None where there is none.

    Args:
        share: Such as 0.99.
        bounds: The upper bounds of the buckets.
        buckets: How many are in each, and, last, beyond all bounds; of these no more is known than the last bound.
    """
    rank = share * sum(buckets)
    if not rank:
        return None
    below, low = 0, 0.0
    for bound, count in zip(bounds, buckets, strict=False):
        if count and below + count >= rank:
            return low + (bound - low) * (rank - below) / count
        below, low = below + count, bound
    return low


def _change(before: Count | None, after: Count) -> _Change:
    if before is None:
        return _Change(after.calls, after.errors, after.bounds, after.buckets)
    buckets = [new - old for old, new in zip(before.buckets, after.buckets, strict=True)]
    return _Change(sum(buckets), after.errors - before.errors, after.bounds, buckets)


def _sum(changes: Iterable[_Change]) -> _Change:
    found = list(changes)
    if not found:
        return _Change(0, 0, (), ())
    buckets = [sum(column) for column in zip(*(change.buckets for change in found), strict=True)]
    return _Change(sum(c.calls for c in found), sum(c.errors for c in found), found[0].bounds, buckets)


def _plugin(info: PluginInfo, stats: Stats, rates: Rates) -> PluginFigures:
    doing = stats.plugins.get(info.name, _NOTHING)
    return PluginFigures(
        name=info.name,
        state=info.state,
        in_flight=doing.calls,
        queued=doing.queued,
        streams=doing.streams,
        **dict(rates),
    )


def _function(count: Count, rates: Rates) -> FunctionFigures:
    return FunctionFigures(
        event=count.event,
        plugin=count.plugin,
        kind="stream" if count.streams else "call",
        calls=count.calls,
        errors=count.errors,
        **dict(rates),
    )
