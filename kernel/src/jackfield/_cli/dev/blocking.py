"""Calls that block the event loop, found by Python's audit events while they are made.

The watchdog sees what takes long; this sees what may, on the author's fast machine too.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, SupportsIndex

from jackfield._call import current
from jackfield._cli.dev.frames import EXCUSED, IMPORTS, STDLIB
from jackfield._culprit import Culprits, outwards
from jackfield._life import SHUTDOWN

_IN_THREAD: Final = "await asyncio.to_thread(…)"
_HTTP: Final = f"a client for asyncio, such as aiohttp or httpx, or {_IN_THREAD}"
_SOCKET: Final = f"asyncio.open_connection, a client library for asyncio, or {_IN_THREAD}"
_PROCESS: Final = "await asyncio.create_subprocess_exec(…)"
_INSTEAD: Final = {
    "time.sleep": "await asyncio.sleep(…)",
    "open": f"{_IN_THREAD} for all that is done with the file",
    "sqlite3.connect": f"{_IN_THREAD} for this and for each query",
    "socket.connect": _SOCKET,
    "socket.getaddrinfo": _SOCKET,
    "socket.gethostbyname": _SOCKET,
    "socket.gethostbyaddr": _SOCKET,
    "socket.getnameinfo": _SOCKET,
    "urllib.Request": _HTTP,
    "http.client.connect": _HTTP,
    "subprocess.Popen": _PROCESS,
    "os.system": _PROCESS,
    "os.posix_spawn": _PROCESS,
    "shutil.copyfile": _IN_THREAD,
    "shutil.copytree": _IN_THREAD,
    "shutil.move": _IN_THREAD,
    "shutil.rmtree": _IN_THREAD,
    "shutil.make_archive": _IN_THREAD,
    "shutil.unpack_archive": _IN_THREAD,
    "builtins.input": _IN_THREAD,
}
"""Audit events, with what to write in the place of the call."""
_TELLING: Final = frozenset({"time.sleep", "open", "sqlite3.connect", "socket.getaddrinfo", "socket.gethostbyname"})
"""Those whose first argument helps to find the call, and holds no secret."""
_SHOWN: Final = 200
"""Characters of that argument at the most."""

log: Final = logging.getLogger("jackfield.dev")


def audit_sleep() -> None:
    """Let `time.sleep` be heard of by audit hooks, as it is from Python 3.13 on; before plugins import it."""
    if sys.version_info >= (3, 13):
        return
    sleep = time.sleep

    def audited(seconds: float | SupportsIndex, /) -> None:
        sys.audit("time.sleep", seconds)
        sleep(seconds)

    time.sleep = audited


class Blocking:
    """Warns, once for each line of a plugin's code, of calls that block the event loop.

    Args:
        culprits: Returns what knows whose code is whose; None while the server does not serve, when nobody waits.
    """

    def __init__(self, culprits: Callable[[], Culprits | None]) -> None:
        self._culprits = culprits
        self._told: set[tuple[str, int]] = set()
        self._ident: int | None = None

    def watch(self) -> None:
        """Look from now on at what this thread does; Python lets nobody take that back."""
        self._ident = threading.get_ident()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _INSTEAD or threading.get_ident() != self._ident:
            return
        culprits = self._culprits()
        if culprits is None or not _blocks(event, arguments) or _is_excused():
            return
        try:
            frame = next(one for one in outwards(sys._getframe(1)) if one.f_code.co_filename != __file__)
            self._look(event, arguments, frame, culprits)
        except Exception:  # what is raised here would be raised by the call that is looked at
            log.exception("the check for calls that block has failed; this is a fault of jackfield")

    def _look(self, event: str, arguments: tuple[Any, ...], frame: FrameType, culprits: Culprits) -> None:
        seen = culprits.find(frame, None)
        place = seen.file, seen.line
        if seen.plugin is None or place in self._told or _is_machinery(frame, seen.file):
            return
        self._told.add(place)
        call = current()
        log.warning(
            "%s blocks the event loop at %s:%d: %s%s; nobody else is served until it returns. Use %s, or make the "
            "function a plain def, which runs in a thread",
            seen.what if call is None else call.event,
            *place,
            _written(event, arguments),
            f" (in {seen.inside})" if seen.inside and _is_of_a_library(seen.inside) else "",
            _INSTEAD[event],
        )


def _blocks(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "time.sleep":
        return bool(arguments[0] > 0)
    if event == "socket.connect":
        return bool(arguments[0].gettimeout() != 0)
    return not (event == "sqlite3.connect" and arguments[0] == ":memory:")


def _is_excused() -> bool:
    """Tell whether no event loop runs here, or one in which a plugin stops, so that nobody is served any more."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return True
    return task is not None and task.get_name().startswith(SHUTDOWN)


def _is_machinery(frame: FrameType, file: str) -> bool:
    """Tell whether the call is made by what the plugin's code in `file` only brought about, or by an import."""
    inside = True
    for outer in outwards(frame):
        name = outer.f_code.co_filename
        if inside and name == file:
            inside = False
        if (inside and name.startswith(EXCUSED)) or name.startswith(IMPORTS):
            return True
    return False


def _is_of_a_library(place: str) -> bool:
    return "site-packages" in place or not place.startswith(STDLIB)


def _written(event: str, arguments: tuple[Any, ...]) -> str:
    shown = repr(arguments[0])[:_SHOWN] if event in _TELLING and arguments else "…"
    return f"{event}({shown})"
