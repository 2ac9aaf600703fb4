"""A call that is made again with its `idempotency-key` is done once."""

from jackfield_idempotency.plugin import (
    jackfield_call,
    jackfield_health,
    jackfield_settings,
    jackfield_shutdown,
    jackfield_startup,
)

__all__ = [
    "jackfield_call",
    "jackfield_health",
    "jackfield_settings",
    "jackfield_shutdown",
    "jackfield_startup",
]
