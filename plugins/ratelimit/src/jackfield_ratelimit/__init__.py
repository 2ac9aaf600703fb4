"""Calls per second, for each caller, function and plugin."""

from jackfield_ratelimit.plugin import (
    jackfield_abstain,
    jackfield_admit,
    jackfield_health,
    jackfield_settings,
    jackfield_shutdown,
    jackfield_startup,
)

__all__ = [
    "jackfield_abstain",
    "jackfield_admit",
    "jackfield_health",
    "jackfield_settings",
    "jackfield_shutdown",
    "jackfield_startup",
]
