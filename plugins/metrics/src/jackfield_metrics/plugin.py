"""What the kernel asks the plugin for."""

from __future__ import annotations

from jackfield import Kernel, Observer, Service, hookimpl
from jackfield_metrics.exposition import Exposition
from jackfield_metrics.figures import Meter
from jackfield_metrics.handlers import METERS, service
from jackfield_metrics.messages import MetricsSettings
from jackfield_metrics.tallies import Tallies


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
    tallies = Tallies(kernel, settings.buckets) if settings.calls else None
    TALLIES[kernel] = tallies
    METERS[kernel] = Meter(kernel, tallies)


@hookimpl
async def jackfield_shutdown(kernel: Kernel) -> None:
    """Forget what was counted."""
    METERS.pop(kernel, None)
