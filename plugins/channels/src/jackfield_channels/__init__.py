"""`api.channels`: publish and subscribe, with history, recovery and presence."""

from jackfield_channels.plugin import (
    jackfield_disconnect,
    jackfield_health,
    jackfield_publish,
    jackfield_services,
    jackfield_settings,
    jackfield_shutdown,
    jackfield_startup,
)

__all__ = [
    "jackfield_disconnect",
    "jackfield_health",
    "jackfield_publish",
    "jackfield_services",
    "jackfield_settings",
    "jackfield_shutdown",
    "jackfield_startup",
]
