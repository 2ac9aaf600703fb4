"""Counting calls: what every call passes, so it is plain numbers and nothing else."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jackfield import Code, FunctionInfo, Kind, Observer

STREAM_BUCKETS: Final = (0.1, 1.0, 10.0, 60.0, 600.0, 3600.0)
"""Seconds; streams live longer than calls, and would make a latency of nothing."""
OK: Final = "ok"
_GONE: Final = Code.CANCELED.value


class Tally:
    """What has become of the calls of one function.

    Args:
        function: The function.
        bounds: The upper bounds of its buckets.

    Attributes:
        first: The least of its bounds.
        quick: How many calls took no longer than that, which is most of them, so they are counted apart.
        buckets: How many calls took so long, but for these; the last has those beyond all bounds.
        seconds: How long all took together.
        failures: How many failed, by code.
    """

    __slots__ = ("bounds", "buckets", "failures", "first", "function", "quick", "seconds")

    def __init__(self, function: FunctionInfo, bounds: Sequence[float]) -> None:
        self.function = function
        self.bounds = bounds
        self.first = bounds[0]
        self.quick = 0
        self.buckets = [0] * (len(bounds) + 1)
        self.seconds = 0.0
        self.failures: dict[str, int] = {}

    def count(self, seconds: float, code: Code | None) -> None:
        """Count a call that is over.

        Args:
            seconds: How long it took.
            code: How it failed, if it did.
        """
        self.seconds += seconds
        if seconds <= self.first:
            self.quick += 1
        else:
            self.buckets[bisect_left(self.bounds, seconds)] += 1
        if code is not None:
            self.failures[code.value] = self.failures.get(code.value, 0) + 1


@dataclass(frozen=True, slots=True)
class Count:
    """A tally as it was at some moment.

    Args:
        event: The function.
        plugin: Whose it is.
        streams: Whether its calls are streams.
        bounds: The upper bounds of its buckets.
        buckets: How many calls took so long; the last has those beyond all bounds.
        seconds: How long all took together.
        failures: How many failed, by code.
    """

    event: str
    plugin: str
    streams: bool
    bounds: Sequence[float]
    buckets: Sequence[int]
    seconds: float
    failures: Mapping[str, int]

    @classmethod
    def of(cls, tally: Tally) -> Count:
        """Return what a tally has counted."""
        buckets = (tally.quick + tally.buckets[0], *tally.buckets[1:])
        info, failures = tally.function, dict(tally.failures)
        streams = info.kind is not Kind.UNARY
        return cls(info.event, info.plugin, streams, tally.bounds, buckets, tally.seconds, failures)

    @property
    def calls(self) -> int:
        """How many have ended."""
        return sum(self.buckets)

    @property
    def errors(self) -> int:
        """How many of them failed; those that were cancelled, or whose client has gone, did not."""
        return sum(self.failures.values()) - self.failures.get(_GONE, 0)

    @property
    def codes(self) -> dict[str, int]:
        """How many have ended, by code; `ok` is there always."""
        return {OK: self.calls - sum(self.failures.values()), **self.failures}


class Tallies(Observer):
    """The tallies of all functions; as an observer of the kernel, it counts.

    Args:
        bounds: The upper bounds of the buckets of calls.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._tallies: list[Tally] = []

    def meter(self, function: FunctionInfo) -> Callable[[float, Code | None], None]:
        """Return what counts the calls of a function."""
        tally = Tally(function, self._bounds if function.kind is Kind.UNARY else STREAM_BUCKETS)
        self._tallies.append(tally)
        return tally.count

    def counts(self) -> list[Count]:
        """Return what was counted so far, by event; a function that was never called is not there."""
        counts = [Count.of(tally) for tally in self._tallies]
        return sorted((count for count in counts if count.calls), key=lambda count: count.event)
