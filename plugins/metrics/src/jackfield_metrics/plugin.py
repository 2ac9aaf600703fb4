"""What the kernel asks the plugin for."""

from __future__ import annotations

from jackfield import Service, hookimpl

service = Service("api.metrics")


@hookimpl
def jackfield_services() -> list[Service]:
    """Return the one service."""
    return [service]
