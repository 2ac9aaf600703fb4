"""Development mode, `jackfield serve --dev`: starts anew on every change, and runs with checks on.

Nothing of it is imported by a server that runs without it, and the checks hang on what Python and the kernel offer
anyway: an audit hook, a task factory, subclasses.
"""

from __future__ import annotations

import logging
from ipaddress import ip_address
from typing import Final

from jackfield._settings import ServerSettings

log: Final = logging.getLogger("jackfield.dev")


def warn(settings: ServerSettings) -> None:
    """Say that this is no server for others, and what is on."""
    log.warning(
        "development mode, not for production: starts anew on changes; looks for calls that block, tasks left behind, "
        "coroutines not awaited, results that do not fit; callers on this machine are told of exceptions; nothing is "
        "quarantined"
    )
    if settings.unix is None and not _is_loopback(settings.host):
        log.warning(
            "others can reach this server (server.host is %s), in development mode: listen on 127.0.0.1", settings.host
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
