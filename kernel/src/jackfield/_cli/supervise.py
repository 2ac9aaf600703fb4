"""Servers in processes of their own, on a listening socket that this process holds: several, or always a new one.

The socket outlives every one of them, so a client that comes while one is replaced waits, where it would be refused.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from jackfield._errors import JackfieldError

Ready: TypeAlias = Callable[[dict[str, Any]], None]
"""Told what a server says when clients can connect: the line of `jackfield serve --json`."""

_BACKOFF: Final = 0.5
_MAX_BACKOFF: Final = 30.0
"""Seconds until a server that died is replaced: the first for one, twice as many for the next, up to the last."""
_STABLE: Final = 60.0
"""Seconds without a death after which that begins anew."""
_RELOAD_PATIENCE: Final = 1.0
"""Seconds that calls have to end when a file has changed; whoever has changed it waits, and streams may have no end."""
_LOOK: Final = 0.5
"""Seconds between two looks for files that have changed."""
_SUFFIXES: Final = (".py", ".toml")
_NOT_SOURCES: Final = frozenset({"__pycache__", "node_modules"})

log: Final = logging.getLogger("jackfield")


class CannotStart(JackfieldError):
    """A server ended before it was up, and has said why.

    Args:
        status: Its exit status; a signal's number below zero.
    """

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"the server ended with status {status} before it was up")


class _Worker:
    """A server in a process of its own, in a process group of its own: Ctrl+C is for the parent, which passes it on."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.ended = asyncio.ensure_future(process.wait())

    def stop(self) -> None:
        """Tell it to end; told twice, it does not wait for the calls that run."""
        if self.process.returncode is None:
            self.process.terminate()


class _Supervisor(ABC):
    """Runs workers until it is told to stop.

    Args:
        command: What starts a worker, but for where it listens.
        fd: The descriptor of the listening socket.
        ready: Told when clients can connect.
    """

    def __init__(self, command: Sequence[str], fd: int, ready: Ready) -> None:
        self._command = command
        self._fd = fd
        self._ready = ready
        self._workers: list[_Worker] = []

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT comes, and return when every worker has ended.

        Raises:
            CannotStart: A worker could not.
        """
        supervising = asyncio.ensure_future(self._supervise())

        def stop() -> None:
            supervising.cancel()
            for worker in self._workers:
                worker.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        await asyncio.wait([supervising])
        if not supervising.cancelled():
            for worker in self._workers:
                worker.stop()
        await asyncio.gather(*(worker.ended for worker in self._workers))
        if not supervising.cancelled():
            supervising.result()

    @abstractmethod
    async def _supervise(self) -> None:
        """Keep workers running; what ends it is a signal, or a worker that cannot start."""

    async def _start(self) -> dict[str, Any]:
        """Start a worker, and return what it says when it is up.

        Raises:
            CannotStart: It ended before.
        """
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                *("--fd", str(self._fd), "--ready-fd", str(writing)),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(self._fd, writing),
                process_group=0,
            )
        finally:
            os.close(writing)
        worker = _Worker(process)
        self._workers.append(worker)
        said = await _read(reading)
        if not said:
            self._workers.remove(worker)
            raise CannotStart(await worker.ended)
        return dict(json.loads(said))


class Workers(_Supervisor):
    """Keeps so many workers running; SIGHUP replaces them one after the other.

    Args:
        command: What starts a worker, but for where it listens.
        fd: The descriptor of the listening socket.
        ready: Told when clients can connect, which is when the first worker is up.
        count: How many workers.
    """

    def __init__(self, command: Sequence[str], fd: int, ready: Ready, count: int) -> None:
        super().__init__(command, fd, ready)
        self._count = count
        self._renew = asyncio.Event()

    async def _supervise(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._renew.set)
        backoff, calm_at = _BACKOFF, 0.0
        self._ready(await self._start())  # alone, so that what keeps all of them from starting is told once
        while True:
            missing = self._count - len(self._workers)
            await asyncio.gather(*(self._start() for _ in range(missing)))
            await _first(self._renew.wait(), *(worker.ended for worker in self._workers))
            if self._renew.is_set():
                await self._renew_all()
                continue
            now = asyncio.get_running_loop().time()
            backoff = _BACKOFF if now > calm_at else min(2 * backoff, _MAX_BACKOFF)
            calm_at = now + backoff + _STABLE
            for worker in [worker for worker in self._workers if worker.ended.done()]:
                self._workers.remove(worker)
                log.error("worker %d %s; another follows in %g s", worker.process.pid, _how(worker), backoff)
            await asyncio.sleep(backoff)

    async def _renew_all(self) -> None:
        self._renew.clear()
        log.info("replacing the workers, one after the other")
        for worker in list(self._workers):
            try:
                await self._start()
            except CannotStart:
                log.error("a new worker could not start; the others go on as they were")  # noqa: TRY400 - it said why
                return
            worker.stop()
            await worker.ended
            self._workers.remove(worker)


class Reloader(_Supervisor):
    """Keeps one worker running, and replaces it when a Python or TOML file changes.

    Args:
        command: What starts a worker, but for where it listens.
        fd: The descriptor of the listening socket.
        ready: Told whenever a worker is up.
        watched: Folders, with all that is in them, and files.
    """

    def __init__(self, command: Sequence[str], fd: int, ready: Ready, watched: Sequence[Path]) -> None:
        super().__init__(command, fd, ready)
        self._watched = watched

    async def _supervise(self) -> None:
        seen = await asyncio.to_thread(_times, self._watched)
        while True:
            change = asyncio.ensure_future(self._change(seen))
            try:
                self._ready(await self._start())
                await _first(change, *(worker.ended for worker in self._workers))
            except CannotStart:
                pass  # it has said why
            if not change.done():
                log.error("the server has ended; a change of a file starts it anew")
            seen = await change
            for worker in self._workers:
                worker.stop()
                await asyncio.wait([worker.ended], timeout=_RELOAD_PATIENCE)
                worker.stop()
                await worker.ended
            self._workers.clear()

    async def _change(self, seen: dict[Path, int]) -> dict[Path, int]:
        now = seen
        while now == seen:
            await asyncio.sleep(_LOOK)
            now = await asyncio.to_thread(_times, self._watched)
        changed = sorted(str(path) for path in now.keys() | seen.keys() if now.get(path) != seen.get(path))
        log.info("changed: %s", ", ".join(changed))
        return now


def worker_command(arguments: Sequence[str]) -> list[str]:
    """Return the command `jackfield serve` as this process was started, but with other arguments.

    Args:
        arguments: What stands after `serve`.
    """
    started = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
    return [sys.executable, *started, "serve", *arguments]


async def _read(fd: int) -> bytes:
    """Return what comes through a pipe until the other side closes it."""
    reader = asyncio.StreamReader()
    with os.fdopen(fd, "rb") as pipe:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            return await reader.read()
        finally:
            transport.close()


async def _first(*waits: asyncio.Future[Any] | Coroutine[Any, Any, Any]) -> None:
    """Return as soon as one is done; the futures given stay, the coroutines are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task, wait in zip(tasks, waits, strict=True):
            if task is not wait:
                task.cancel()


def _how(worker: _Worker) -> str:
    status = worker.ended.result()
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"has ended with status {status}"


def _times(watched: Sequence[Path]) -> dict[Path, int]:
    """Return when each file was changed."""
    times = {}
    for path in _files(watched):
        try:
            times[path] = path.stat().st_mtime_ns
        except OSError:  # it has just gone
            continue
    return times


def _files(watched: Sequence[Path]) -> Iterator[Path]:
    for path in watched:
        if path.is_dir():
            for folder, folders, names in os.walk(path):
                folders[:] = [name for name in folders if not name.startswith(".") and name not in _NOT_SOURCES]
                yield from (Path(folder, name) for name in names if name.endswith(_SUFFIXES))
        else:
            yield path
