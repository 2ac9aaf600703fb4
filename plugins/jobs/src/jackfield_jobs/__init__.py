"""`api.jobs`: long work, which goes on without its caller and survives a restart."""

from jackfield_jobs.plugin import (
    jackfield_health,
    jackfield_services,
    jackfield_settings,
    jackfield_shutdown,
    jackfield_startup,
)

__all__ = [
    "jackfield_health",
    "jackfield_services",
    "jackfield_settings",
    "jackfield_shutdown",
    "jackfield_startup",
]
