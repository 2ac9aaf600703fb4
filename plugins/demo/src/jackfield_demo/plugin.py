"""What the kernel asks the plugin for."""

from __future__ import annotations

from jackfield import Service, hookimpl
from jackfield_demo.handlers import make_service
from jackfield_demo.messages import DemoSettings


@hookimpl
def jackfield_settings() -> type[DemoSettings]:
    """Return the model of `[plugins.demo]`."""
    return DemoSettings


@hookimpl
def jackfield_services(settings: DemoSettings) -> list[Service]:
    """Return the one service."""
    return [make_service(settings)]
