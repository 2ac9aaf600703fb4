"""Tells systemd how the server is, as `Type=notify` asks for: a datagram to the socket that the environment names."""

from __future__ import annotations

import logging
import os
import socket
from typing import Final

VARIABLE: Final = "NOTIFY_SOCKET"

log: Final = logging.getLogger("jackfield")


def notify(state: str) -> None:
    """Say it once, if somebody asks: processes that this one starts are not asked any more.

    Args:
        state: Lines `KEY=value`, such as `READY=1`.
    """
    address = os.environ.pop(VARIABLE, "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(state.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
    except (OSError, ValueError) as error:
        log.warning("whoever started the server cannot be told that it is ready (%s=%s): %s", VARIABLE, address, error)
