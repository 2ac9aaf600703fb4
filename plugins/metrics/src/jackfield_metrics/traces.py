"""Traces with OpenTelemetry: a span for each call, inside which its function runs.

The names are those of the semantic conventions for RPC. They stand here, because the package that has them lags behind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from importlib.metadata import entry_points
from typing import Any, Final

from opentelemetry import context, trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from jackfield import Call, CallError, Code, FunctionInfo, Observer
from jackfield_metrics.tallies import Tallies

SYSTEM: Final = "rpc.system.name"
METHOD: Final = "rpc.method"
STATUS: Final = "rpc.status_code"
ERROR_TYPE: Final = "error.type"
ERROR_ID: Final = "jackfield.error_id"

EXPORTERS: Final = "OTEL_TRACES_EXPORTER"
_GROUP: Final = "opentelemetry_traces_exporter"
_SERVERS_FAULT: Final = frozenset(
    {Code.UNKNOWN, Code.DEADLINE_EXCEEDED, Code.UNIMPLEMENTED, Code.INTERNAL, Code.UNAVAILABLE, Code.DATA_LOSS}
)
"""The codes that say that the server has failed, and not its caller."""
_CURRENT: Final[ContextVar[tuple[Call, Span] | None]] = ContextVar("jackfield_metrics.span", default=None)


class TracesError(Exception):
    """Traces cannot be sent to where they are to go."""


class Traces(Observer):
    """As an observer of the kernel, it makes a span for each call.

    Args:
        version: The version of the server.
        tallies: What counts calls beside that, if they are counted.

    Raises:
        TracesError: The variables `OTEL_…` name what is not installed.
    """

    def __init__(self, version: str, tallies: Tallies | None = None) -> None:
        self._tallies = tallies
        self._provider = _provider()
        self._tracer = trace.get_tracer("jackfield", version)
        self._propagator = TraceContextTextMapPropagator()

    def started(self, call: Call) -> None:
        """Begin a span, as a child of the caller's; the function runs inside it."""
        namespace, _, name = call.event.rpartition(".")
        method = f"{namespace}/{name}"
        span = self._tracer.start_span(
            method,
            self._parent(call),
            kind=SpanKind.SERVER,
            attributes={SYSTEM: "jackfield", METHOD: method},
        )
        # Nobody detaches it: the context is the call's own, and ends with it.
        context.attach(trace.set_span_in_context(span))
        _CURRENT.set((call, span))

    def ended(self, call: Call, error: CallError | None) -> None:
        """End the span."""
        found = _CURRENT.get()
        if found is None or found[0] is not call:
            return  # it began before this plugin was in service
        span = found[1]
        code = error.code if error is not None else Code.CANCELED if call.cancelled else None
        if code is not None:
            span.set_attributes({STATUS: code.value, ERROR_TYPE: code.value})
            if error is not None and error.error_id is not None:
                span.set_attribute(ERROR_ID, error.error_id)
            if code in _SERVERS_FAULT:
                span.set_status(StatusCode.ERROR, code.value)
        span.end()

    def meter(self, function: FunctionInfo) -> Callable[[float, Code | None], None] | None:
        """Return what counts the calls of a function, if they are counted."""
        return None if self._tallies is None else self._tallies.meter(function)

    def close(self) -> None:
        """Send what has not been sent yet; it takes as long as the exporter does."""
        if self._provider is not None:
            self._provider.shutdown()

    def _parent(self, call: Call) -> context.Context:
        """Return where the span belongs: of a client's call in what the client says, else inside what runs here."""
        if call.client is not None and not call.depth:
            return self._propagator.extract(call.meta, context.Context())
        here = context.get_current()
        if trace.get_current_span(here).get_span_context().is_valid:
            return here
        return self._propagator.extract(call.meta, here)


def _provider() -> TracerProvider | None:
    """Make a provider of what the variables `OTEL_…` say; return None where the process has one already."""
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "jackfield"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for name in os.environ.get(EXPORTERS, "otlp").split(","):
        if name.strip() not in ("", "none"):
            provider.add_span_processor(BatchSpanProcessor(_exporter(name.strip())))
    trace.set_tracer_provider(provider)
    return provider


def _exporter(name: str) -> Any:
    # The variable `OTEL_EXPORTER_OTLP_PROTOCOL` chooses between the exporters that are called otlp.
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL"))
    wanted = {
        "otlp": ["otlp_proto_grpc"] if protocol == "grpc" else ["otlp_proto_http", "otlp_proto_grpc"],
    }.get(name, [name])
    found: Mapping[str, Any] = {each.name: each for each in entry_points(group=_GROUP)}
    for each in wanted:
        if each in found:
            return found[each].load()()
    known = ", ".join(sorted({"otlp" if n.startswith("otlp_") else n for n in found}))
    remedy = ": pip install opentelemetry-exporter-otlp-proto-http" if name == "otlp" else ""
    raise TracesError(f"no exporter {name!r} is installed ({EXPORTERS}; there are {known}, none){remedy}")
