"""What the kernel asks the plugin for."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from jackfield import Kernel, hookimpl
from jackfield_redis.settings import RedisSettings

if TYPE_CHECKING:
    from jackfield_redis.manager import RedisManager

_WORKERS: Final = "JACKFIELD_WORKERS"
"""The variable that tells how many processes of `jackfield serve --workers` there are."""
log: Final = logging.getLogger(__name__)

_STRANGE: Final = "a server has other plugins.redis.keys, or somebody else publishes there; see the log"

_managers: Final[dict[Kernel, tuple[RedisManager, RedisSettings]]] = {}
"""What is open, by the kernel that serves it: a process may run several."""


@hookimpl
def jackfield_settings() -> type[RedisSettings]:
    """Return the model of `[plugins.redis]`."""
    return RedisSettings


@hookimpl
def jackfield_abstain(settings: RedisSettings) -> Collection[str]:
    """Be nothing to a server that has no Redis: it is for itself."""
    return ("jackfield_client_manager", "jackfield_health") if settings.url is None else ()


@hookimpl
async def jackfield_startup(kernel: Kernel, settings: RedisSettings) -> None:
    """Look for Redis, and go on looking where it is not there."""
    if settings.url is None:
        if (workers := int(os.environ.get(_WORKERS, "1"))) > 1:
            log.warning("events and rooms reach one of the %d workers alone: plugins.redis.url is not set", workers)
        return
    from jackfield_redis.manager import RedisManager  # noqa: PLC0415 - who only looks at plugins need not wait for it

    manager = RedisManager(settings.url.get_secret_value(), settings)
    await manager.open()
    _managers[kernel] = manager, settings


@hookimpl
def jackfield_client_manager(kernel: Kernel) -> object:
    """Return the manager.

    Raises:
        RuntimeError: Redis is away, and the server is not to start without it.
    """
    manager, settings = _managers[kernel]
    if settings.required and manager.redis.trouble is not None:
        raise RuntimeError(f"Redis is away ({manager.redis.trouble}), and plugins.redis.required is set")
    return manager


@hookimpl
async def jackfield_health(kernel: Kernel) -> str | None:
    """Tell what was refused.

    Raises:
        RuntimeError: Redis is away.
    """
    manager, _ = _managers[kernel]
    if manager.redis.trouble is not None:
        raise RuntimeError(f"Redis is away ({manager.redis.trouble}): other servers' clients are not reached")
    return f"{manager.refused} messages were refused: {_STRANGE}" if manager.refused else None


@hookimpl
async def jackfield_shutdown(kernel: Kernel) -> None:
    """Close the connections."""
    if (found := _managers.pop(kernel, None)) is not None:
        await found[0].close()
