"""The listening socket: bound as the settings say, or handed over by whoever started the process."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from jackfield._errors import StartError
from jackfield._settings import ServerSettings

_KNOCK: Final = 1.0
"""Seconds that somebody who listens on a Unix socket has to let a connection in."""
_AT_ONCE: Final = 4
"""Connections that are accepted before the event loop goes on: the ones to be refused are gone before the next come."""


class _Listener(socket.socket):
    """A listening socket that can be read to its end, which asyncio takes amiss, where there is no descriptor left.

    asyncio accepts thousands of connections at one go, and logs each that fails. uvloop does not ask this class.
    """

    def __init__(self, family: int = -1, kind: int = -1, fileno: int | None = None) -> None:
        super().__init__(family, kind, fileno=fileno)
        self._spare: int | None = os.open(os.devnull, os.O_RDONLY)
        self._accepted = 0

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection, unless it is the others' turn."""
        if self._accepted >= _AT_ONCE:
            self._accepted = 0
            raise BlockingIOError
        try:
            found = super().accept()
        except OSError as error:
            self._accepted = 0
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._drop_one()
                raise BlockingIOError from None
            raise
        self._accepted += 1
        return found

    def close(self) -> None:
        """Close it."""
        self._free()
        super().close()

    def _drop_one(self) -> None:
        """Close the next connection; left alone it would wake the event loop again and again."""
        self._free()
        with contextlib.suppress(OSError):
            super().accept()[0].close()
        with contextlib.suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY)

    def _free(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None


@contextlib.contextmanager
def listening(settings: ServerSettings, fd: int | None = None) -> Iterator[socket.socket]:
    """Hold the listening socket until the block ends; the file of a Unix socket made for it goes with it.

    Args:
        settings: Where to listen.
        fd: The descriptor of a socket that was handed over, in the place of what the settings say.

    Raises:
        StartError: There is no listening there.
    """
    listener = listen(settings) if fd is None else _handed_over(fd)
    file = settings.unix if fd is None else None
    made = os.stat(file) if file is not None else None
    try:
        yield listener
    finally:
        listener.close()
        if file is not None and made is not None:
            _remove(file, made)


def listen(settings: ServerSettings) -> socket.socket:
    """Return a socket that is bound as the settings say.

    Raises:
        StartError: It cannot be.
    """
    if settings.unix is not None:
        return _listen_unix(settings.unix)
    return listen_tcp(settings.host, settings.port, "server.host, server.port")


def address(listener: socket.socket, *, tls: bool) -> str:
    """Return where clients connect; the port is the real one, whatever was asked for."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    scheme = "https" if tls else "http"
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _handed_over(fd: int) -> socket.socket:
    try:
        listener = _Listener(fileno=fd)
    except OSError as error:
        raise StartError([f"cannot listen on descriptor {fd}: {error.strerror} (--fd)"]) from None
    if listener.type != socket.SOCK_STREAM or listener.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        listener.detach()
        raise StartError([f"cannot listen on descriptor {fd}: it is no socket for TCP or a Unix stream (--fd)"])
    listener.setblocking(False)
    return listener


def listen_tcp(host: str, port: int, setting: str) -> socket.socket:
    """Return a socket that is bound to a port.

    Args:
        host: The address or name; all addresses if empty.
        port: The port; 0 for a free one.
        setting: What says so.

    Raises:
        StartError: It cannot be.
    """
    where = f"{host}:{port}"
    host = host or ("::" if socket.has_dualstack_ipv6() else "0.0.0.0")  # noqa: S104 - that is what was asked for
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, bound = found[0]
        listener = _Listener(family, socket.SOCK_STREAM)
    except OSError as error:  # nobody has that name, or this machine has no such family
        raise StartError([f"cannot listen on {where}: {error.strerror} ({setting.partition(',')[0]})"]) from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(bound)
    except OSError as error:
        listener.close()
        raise StartError([f"cannot listen on {where}: {error.strerror} ({setting})"]) from None
    listener.setblocking(False)
    return listener


def _listen_unix(path: Path) -> socket.socket:
    listener = _Listener(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _make_way(path)
        listener.bind(os.fspath(path))
    except OSError as error:
        listener.close()
        raise StartError([f"cannot listen on {path}: {error.strerror or error} (server.unix)"]) from None
    listener.setblocking(False)
    return listener


def _make_way(path: Path) -> None:
    """Remove the socket of a server that was killed.

    Raises:
        OSError: Something else is there.
    """
    if not path.is_socket():
        if path.exists():
            raise OSError(errno.EEXIST, "there is a file that is no socket")
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.settimeout(_KNOCK)
        try:
            knock.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise OSError(errno.EADDRINUSE, "somebody listens there")


def _remove(file: Path, made: os.stat_result) -> None:
    """Remove the socket's file, unless somebody has put another in its place."""
    with contextlib.suppress(OSError):
        if os.path.samestat(os.stat(file), made):
            file.unlink()
