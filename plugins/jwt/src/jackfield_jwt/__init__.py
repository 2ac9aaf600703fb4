"""Who is calling, from signed tokens."""

from jackfield_jwt.plugin import (
    jackfield_abstain,
    jackfield_authenticate,
    jackfield_connect,
    jackfield_disconnect,
    jackfield_health,
    jackfield_services,
    jackfield_settings,
    jackfield_shutdown,
    jackfield_startup,
)

__all__ = [
    "jackfield_abstain",
    "jackfield_authenticate",
    "jackfield_connect",
    "jackfield_disconnect",
    "jackfield_health",
    "jackfield_services",
    "jackfield_settings",
    "jackfield_shutdown",
    "jackfield_startup",
]
