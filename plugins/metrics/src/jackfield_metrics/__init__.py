"""Prometheus metrics, traces, and live figures of a running server."""

from jackfield_metrics.plugin import (
    jackfield_abstain,
    jackfield_http,
    jackfield_observe,
    jackfield_services,
    jackfield_settings,
    jackfield_shutdown,
    jackfield_startup,
)

__all__ = [
    "jackfield_abstain",
    "jackfield_http",
    "jackfield_observe",
    "jackfield_services",
    "jackfield_settings",
    "jackfield_shutdown",
    "jackfield_startup",
]
