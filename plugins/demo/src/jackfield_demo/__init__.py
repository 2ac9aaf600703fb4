"""The demonstration plugin: `api.services.test`, one function for each thing that an author can do."""

from jackfield_demo.plugin import jackfield_services, jackfield_settings

__all__ = ["jackfield_services", "jackfield_settings"]
