"""`api.kv`: a key-value store with watches, expiry and compare-and-set."""

from jackfield_kv.plugin import (
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
