"""Counting calls: what every call passes, so it is plain numbers and nothing else."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

from jackfield import Call, CallError, Kernel, Kind, Observer

STREAM_BUCKETS: Final = (0.1, 1.0, 10.0, 60.0, 600.0, 3600.0)
"""Seconds; streams live longer than calls, and would make a latency of nothing."""
OK: Final = "ok"
_GONE: Final = "canceled"


class Tally:
    """What has become of the calls of one function; counted up by whoever sees a call end.

    Args:
        event: The function.
        plugin: Whose it is.
        streams: Whether its calls are streams.
        bounds: The upper bounds of its buckets.

    Attributes:
        first: The least of its bounds.
        quick: How many calls took no longer than that, which is most of them, so they are counted apart.
        buckets: How many calls took so long, but for these; the last has those beyond all bounds.
        seconds: How long all took together.
        failures: How many failed, by code.
    """

    __slots__ = ("bounds", "buckets", "event", "failures", "first", "plugin", "quick", "seconds", "streams")

    def __init__(self, event: str, plugin: str, streams: bool, bounds: Sequence[float]) -> None:
        self.event = event
        self.plugin = plugin
        self.streams = streams
        self.bounds = bounds
        self.first = bounds[0]
        self.quick = 0
        self.buckets = [0] * (len(bounds) + 1)
        self.seconds = 0.0
        self.failures: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class Count:
    """A tally as it was at some moment; the fields are those of `Tally`, with all calls in `buckets`."""

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
        failures = dict(tally.failures)
        return cls(tally.event, tally.plugin, tally.streams, tally.bounds, buckets, tally.seconds, failures)

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


class Tallies:
    """The tallies of all functions that were called; as an observer of the kernel, it counts.

    Only functions of the kernel's frozen table come here, so there are no more of them than that has.

    Args:
        kernel: The kernel that is starting.
        bounds: The upper bounds of the buckets of calls.
    """

    def __init__(self, kernel: Kernel, bounds: Sequence[float]) -> None:
        self._kernel = kernel
        self._bounds = bounds
        self._tallies: dict[str, Tally] = {}
        self._find = self._tallies.get
        self._known: dict[str, tuple[str, bool]] = {}

    def started(self, call: Call) -> None:
        """Do nothing: a call knows when it began, and the kernel knows what runs."""

    def ended(self, call: Call, error: CallError | None) -> None:
        """Count a call."""
        seconds = monotonic() - call.started
        tally = self._find(call.event) or self._begin(call)
        tally.seconds += seconds
        if seconds <= tally.first:
            tally.quick += 1
        else:
            tally.buckets[bisect_left(tally.bounds, seconds)] += 1
        if error is not None:
            code = error.code.value
            tally.failures[code] = tally.failures.get(code, 0) + 1
        elif call.cancelled:  # nobody was left to be told
            tally.failures[_GONE] = tally.failures.get(_GONE, 0) + 1

    def counts(self) -> list[Count]:
        """Return what was counted so far, by event."""
        return [Count.of(tally) for tally in sorted(self._tallies.values(), key=lambda tally: tally.event)]

    def _begin(self, call: Call) -> Tally:
        event = call.event
        if event not in self._known:
            # Who may call a function may see it too; who else may is not to be found out here.
            for info in self._kernel.functions(call.principal):
                self._known[info.event] = info.plugin, info.kind is not Kind.UNARY
        plugin, streams = self._known.get(event, ("", False))
        tally = Tally(event, plugin, streams, STREAM_BUCKETS if streams else self._bounds)
        self._tallies[event] = tally
        return tally


class Several:
    """Several observers as one.

    Args:
        observers: They are told in this order.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def started(self, call: Call) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.started(call)

    def ended(self, call: Call, error: CallError | None) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.ended(call, error)
