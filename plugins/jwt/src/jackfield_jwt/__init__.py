"""Who is calling, from signed tokens."""

from jackfield_jwt.plugin import jackfield_services

__all__ = ["jackfield_services"]
