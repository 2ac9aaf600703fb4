"""`api.system`: looking around in a jackfield server."""

from jackfield_system.plugin import jackfield_services

__all__ = ["jackfield_services"]
