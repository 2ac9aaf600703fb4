"""Prometheus metrics, traces, and live figures of a running server."""

from jackfield_metrics.plugin import jackfield_services

__all__ = ["jackfield_services"]
