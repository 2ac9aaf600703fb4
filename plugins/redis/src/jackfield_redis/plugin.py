"""What the kernel asks the plugin for."""

from __future__ import annotations

from jackfield import hookimpl
from jackfield_redis.settings import RedisSettings


@hookimpl
def jackfield_settings() -> type[RedisSettings]:
    """Return the model of `[plugins.redis]`."""
    return RedisSettings
