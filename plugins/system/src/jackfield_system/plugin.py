"""What the kernel asks the plugin for."""

from __future__ import annotations

from jackfield import Service, hookimpl
from jackfield_system.handlers import service


@hookimpl
def jackfield_services() -> list[Service]:
    """Return the one service."""
    return [service]
