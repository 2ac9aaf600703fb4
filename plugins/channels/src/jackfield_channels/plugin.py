"""What the kernel asks the plugin for."""

from __future__ import annotations

import logging
import os
from typing import Final

from jackfield import Call, Client, Json, Kernel, Position, Service, hookimpl
from jackfield_channels.handlers import make_service
from jackfield_channels.hub import Hub
from jackfield_channels.settings import ChannelsSettings

_WORKERS: Final = "JACKFIELD_WORKERS"
"""The variable that tells how many processes of `jackfield serve --workers` there are."""
_STRANGE: Final = "a server has other plugins.channels.redis_keys, or somebody else publishes there; see the log"
log: Final = logging.getLogger(__name__)

_opened: Final[dict[Kernel, Hub]] = {}
"""What is open, by the kernel that serves it: a process may run several."""


@hookimpl
def jackfield_settings() -> type[ChannelsSettings]:
    """Return the model of `[plugins.channels]`."""
    return ChannelsSettings


@hookimpl
def jackfield_services(settings: ChannelsSettings) -> list[Service]:
    """Return the one service."""
    return [make_service(_opened_for, settings.max_member)]


@hookimpl
async def jackfield_startup(kernel: Kernel, settings: ChannelsSettings) -> None:
    """Open the store, so that a server that cannot use its file says so at its start.

    Raises:
        RuntimeError: Several workers cannot have what keeps history.
    """
    _check_workers(settings, int(os.environ.get(_WORKERS, "1")))
    hub = Hub(kernel, settings)
    await hub.open()
    _opened[kernel] = hub


@hookimpl
async def jackfield_shutdown(kernel: Kernel) -> None:
    """Close it."""
    await _opened.pop(kernel).close()


@hookimpl
async def jackfield_publish(kernel: Kernel, channel: str, data: Json, id: str | None) -> Position:
    """Publish to a channel."""
    return await _opened[kernel].publish(channel, data, id)


@hookimpl
async def jackfield_disconnect(client: Client) -> None:
    """End the subscriptions of a client that has gone."""
    for hub in _opened.values():  # a client is one kernel's, and the others have none of it
        hub.left(client.id)


@hookimpl
async def jackfield_health(kernel: Kernel) -> str | None:
    """Tell whether the store can be used, and what was refused.

    Raises:
        RuntimeError: It cannot.
    """
    if (trouble := _opened[kernel].trouble()) is not None:
        raise RuntimeError(f"the store cannot be used: {trouble}")
    refused = _opened[kernel].refused()
    return f"{refused} messages were refused: {_STRANGE}" if refused else None


def _check_workers(settings: ChannelsSettings, workers: int) -> None:
    if workers == 1 or settings.store == "redis":
        return
    if settings.store == "sqlite" and any(rule.history for rule in settings.rules):
        raise RuntimeError(
            f"the file of history is for one process, and --workers makes {workers}: "
            'set plugins.channels.store = "redis", or run one process'
        )
    log.warning(
        "each of the %d workers has channels of its own: who is connected to one gets nothing of what is published at "
        'another; set plugins.channels.store = "redis", or run one process',
        workers,
    )


def _opened_for(call: Call) -> Hub:
    return _opened[call.kernel]
