"""What the functions take and give, and the plugin's settings."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class MetricsSettings(BaseModel):
    """`[plugins.metrics]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    calls: bool = Field(True, description="Whether calls and streams are counted and timed.")
    buckets: tuple[Seconds, ...] = Field(
        (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
        min_length=1,
        max_length=100,
        description="Upper bounds of the buckets of `jackfield_call_duration_seconds`, in seconds, rising.",
    )
    path: str = Field("/metrics", description="Where Prometheus finds the metrics; nowhere if empty.")
    traces: bool = Field(False, description="Whether calls are traced with OpenTelemetry; needs the extra `otel`.")

    @field_validator("buckets")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(low >= high for low, high in pairwise(value)):
            raise ValueError("each bound must be greater than the one before it")
        return value

    @field_validator("path")
    @classmethod
    def _a_path(cls, value: str) -> str:
        if value and not value.startswith("/"):
            raise ValueError("a path begins with /")
        return value

    @field_validator("traces")
    @classmethod
    def _possible(cls, value: bool) -> bool:
        if value and not _installed("opentelemetry.sdk.trace"):
            raise ValueError('OpenTelemetry is not installed: pip install "jackfield-metrics[otel]"')
        return value


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:
        return False


class Window(BaseModel):
    """Which time a snapshot is of."""

    model_config = ConfigDict(extra="forbid")

    interval: Annotated[float, Field(ge=0.2, le=60)] | None = None
    """Seconds that are measured from now on; all since the start if left out."""
    functions: Annotated[int, Field(ge=0, le=1000)] = 100
    """How many functions are told of, the busiest first."""


class Watch(BaseModel):
    """How often figures are wanted."""

    model_config = ConfigDict(extra="forbid")

    interval: Annotated[float, Field(ge=0.2, le=60)] = 1.0
    """Seconds between two items."""
    functions: Annotated[int, Field(ge=0, le=1000)] = 100
    """How many functions are told of, the busiest first."""


class Rates(BaseModel):
    """What happened to calls that have ended. Durations are in seconds; None where no call has ended."""

    calls_per_second: float
    errors_per_second: float
    p50: float | None
    p99: float | None


class FunctionFigures(Rates):
    """One function that was called since the start; of a stream, a call is its whole life."""

    event: str
    plugin: str
    kind: Literal["call", "stream"]
    calls: int
    """Since the start."""
    errors: int
    """Since the start."""


class PluginFigures(Rates):
    """One plugin: its calls, streams not among their rates, and what its functions are doing now."""

    name: str
    state: str
    in_flight: int
    """Calls that run, streams among them."""
    queued: int
    """Calls that wait for others of the plugin to end."""
    streams: int
    """Streams that are open."""


class Figures(BaseModel):
    """What one server process is doing; rates are means over the interval."""

    pid: int
    version: str
    uptime: float
    """Seconds since the plugin started."""
    interval: float
    """Seconds that the rates are of."""
    connections: dict[str, int]
    """Clients that are connected, by carrier."""
    received_per_second: float
    """Bytes."""
    sent_per_second: float
    """Bytes."""
    loop_lag: float
    """Seconds by which the event loop is late."""
    total: Rates
    """All calls, without streams."""
    plugins: list[PluginFigures]
    functions: list[FunctionFigures]
    """The busiest first."""
