"""One server, in a process of its own, that is started anew whenever its sources change."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from importlib.util import cache_from_source
from pathlib import Path
from typing import Final

from jackfield._cli.dev.sources import roots, times
from jackfield._cli.supervise import CannotStart, Ready, Supervisor, how_it_ended
from jackfield._limited import first

_PATIENCE: Final = 1.0
"""Seconds that calls have to end when a file has changed; whoever has changed it waits, and streams may have no end."""
_STUCK: Final = 10.0
"""Seconds after which it is said that the server has not ended yet."""
_LOOK: Final = 0.3
"""Seconds between two looks for what has changed."""
_CALM: Final = 0.1
"""Seconds without a change after which all of it has come: editors and installers write several files."""
_LONG: Final = 2.0
"""Seconds of one look after which there is too much to look at."""
_NAMED: Final = 3
"""Changed files that are named."""

log: Final = logging.getLogger("jackfield.dev")


class Reloader(Supervisor):
    """Keeps one worker running, and replaces it on a change; one that cannot start is waited for until the next.

    Args:
        command: What starts a worker, but for where it listens.
        fd: The descriptor of the listening socket.
        ready: Told whenever a worker is up.
        folder: Where the server runs.
        file: The configuration file, if there is one.
    """

    def __init__(self, command: Sequence[str], fd: int, ready: Ready, folder: Path, file: Path | None) -> None:
        super().__init__(command, fd, ready, attended=sys.stdin is not None and sys.stdin.isatty())
        self._folder = folder
        self._file = file

    async def _supervise(self) -> None:
        while True:
            watched = await asyncio.to_thread(roots, self._folder, self._file)
            begun = time.monotonic()
            seen = await asyncio.to_thread(times, watched)
            if (seconds := time.monotonic() - begun) > _LONG:
                log.warning("a look for changes takes %.1f s: run it in the folder of your plugin alone", seconds)
            change = asyncio.ensure_future(_change(watched, seen))
            starting = asyncio.ensure_future(self._start())
            try:
                await first(change, starting)
                if starting.done():
                    await self._follow(starting, change)
                changed = await change
            finally:
                change.cancel()
                starting.cancel()
            _tell(changed)
            _forget_bytecode(changed)
            for worker in self._workers:
                worker.stop()
                await asyncio.wait([worker.ended], timeout=_PATIENCE)
                worker.stop()
                _, stuck = await asyncio.wait([worker.ended], timeout=_STUCK)
                if stuck:
                    log.warning("the server does not end; if a debugger has it, continue, or press Ctrl+C twice")
                await asyncio.wait([worker.ended])
            self._workers.clear()

    async def _follow(self, starting: asyncio.Future[dict[str, object]], change: asyncio.Future[list[Path]]) -> None:
        """Say that the worker is up, or that it is not, and return when something has changed, or it has ended."""
        try:
            self._ready(starting.result())
        except CannotStart:
            log.error(  # noqa: TRY400 - the worker has said why
                "the server could not start; the next change of a file starts it anew, and clients wait until then"
            )
            return
        [worker] = self._workers
        await first(change, worker.ended)
        if not change.done():
            log.error("the server %s; the next change of a file starts it anew", how_it_ended(worker))


async def _change(watched: Sequence[Path], seen: dict[Path, int]) -> list[Path]:
    """Return what has changed, once something has and all is calm again."""
    now = before = seen
    while now == seen or now != before:
        await asyncio.sleep(_LOOK if now == seen else _CALM)
        before, now = now, await asyncio.to_thread(times, watched)
    return sorted(path for path in now.keys() | seen.keys() if now.get(path) != seen.get(path))


def _forget_bytecode(changed: Sequence[Path]) -> None:
    """Remove what Python has compiled: it takes a file of the same size and the same second for the same file."""
    for path in changed:
        if path.suffix == ".py":
            Path(cache_from_source(path)).unlink(missing_ok=True)


def _tell(changed: Sequence[Path]) -> None:
    others = len(changed) - _NAMED
    more = f" and {others} more" if others > 0 else ""
    log.info("changed: %s%s", ", ".join(map(str, changed[:_NAMED])), more)
    for path in changed:
        if path.name == "pyproject.toml":
            log.info("for changes of entry points or dependencies to count: pip install --editable %s", path.parent)
