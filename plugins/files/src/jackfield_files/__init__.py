"""`api.files`: files that come and go as streams."""

from jackfield_files.plugin import jackfield_services, jackfield_settings, jackfield_shutdown, jackfield_startup

__all__ = ["jackfield_services", "jackfield_settings", "jackfield_shutdown", "jackfield_startup"]
