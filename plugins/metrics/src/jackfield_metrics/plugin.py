"""What the kernel asks the plugin for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from jackfield import Kernel, Observer, Route, Service, hookimpl
from jackfield_metrics.exposition import Exposition
from jackfield_metrics.figures import Meter
from jackfield_metrics.handlers import METERS, service
from jackfield_metrics.messages import MetricsSettings
from jackfield_metrics.tallies import Tallies

if TYPE_CHECKING:
    from jackfield_metrics.traces import Traces

_TRACES: Final[dict[Kernel, Traces]] = {}
"""What traces the calls of each server that runs in this process."""


@hookimpl
def jackfield_settings() -> type[MetricsSettings]:
    """Return the model of `[plugins.metrics]`."""
    return MetricsSettings


@hookimpl
def jackfield_abstain(settings: MetricsSettings) -> list[str]:
    """Observe no calls where they are neither counted nor traced."""
    return [] if settings.calls or settings.traces else ["jackfield_observe"]


@hookimpl
def jackfield_services() -> list[Service]:
    """Return the one service."""
    return [service]


@hookimpl
async def jackfield_startup(kernel: Kernel, settings: MetricsSettings) -> None:
    """Begin to count."""
    METERS[kernel] = Meter(kernel, Tallies(settings.buckets) if settings.calls else None)


@hookimpl
def jackfield_observe(kernel: Kernel, settings: MetricsSettings) -> Observer:
    """Return what counts calls, what traces them, or both."""
    tallies = METERS[kernel].tallies
    if tallies is not None and not settings.traces:
        return tallies
    from jackfield_metrics.traces import Traces  # noqa: PLC0415 - OpenTelemetry may not be installed

    _TRACES[kernel] = traces = Traces(kernel.version, tallies)
    return traces


@hookimpl
def jackfield_http(kernel: Kernel, settings: MetricsSettings) -> dict[str, Route]:
    """Serve the metrics."""
    return {settings.path: Route(Exposition(kernel, METERS[kernel].tallies))} if settings.path else {}


@hookimpl
async def jackfield_shutdown(kernel: Kernel) -> None:
    """Forget what was counted, and send the last traces."""
    METERS.pop(kernel, None)
    if (traces := _TRACES.pop(kernel, None)) is not None:
        await asyncio.to_thread(traces.close)
