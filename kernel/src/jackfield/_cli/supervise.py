"""Servers in processes of their own, on a listening socket that this process holds.

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
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from jackfield._errors import JackfieldError
from jackfield._limited import first

Ready: TypeAlias = Callable[[dict[str, Any]], None]
"""Told what a server says when clients can connect: the line of `jackfield serve --json`."""

_BACKOFF: Final = 0.5
_MAX_BACKOFF: Final = 30.0
"""Seconds until a server that died is replaced: the first for one, twice as many for the next, up to the last."""
_STABLE: Final = 60.0
"""Seconds without a death after which that begins anew."""

log: Final = logging.getLogger("jackfield")


class CannotStart(JackfieldError):
    """A server ended before it was up, and has said why.

    Args:
        status: Its exit status; a signal's number below zero.
    """

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"the server ended with status {status} before it was up")


class Worker:
    """A server in a process of its own, mostly in a process group of its own: the parent passes Ctrl+C on."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.ended = asyncio.ensure_future(process.wait())

    def stop(self) -> None:
        """Tell it to end; told twice, it does not wait for the calls that run."""
        if self.process.returncode is None:
            self.process.terminate()

    def kill(self) -> None:
        """End it without asking."""
        if self.process.returncode is None:
            self.process.kill()


class Supervisor(ABC):
    """Runs workers until it is told to stop.

    Args:
        command: What starts a worker, but for where it listens.
        fd: The descriptor of the listening socket.
        ready: Told when clients can connect.
        attended: Whether workers share the terminal, for debuggers; then Ctrl+C reaches them by itself, too.
    """

    def __init__(self, command: Sequence[str], fd: int, ready: Ready, *, attended: bool = False) -> None:
        self._command = command
        self._fd = fd
        self._ready = ready
        self._attended = attended
        self._workers: list[Worker] = []
        # Nobody writes; whatever ends this process closes the writing end, and the workers see that.
        self._life, self._held = os.pipe()

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT comes, and return when every worker has ended.

        Raises:
            CannotStart: A worker could not.
        """
        supervising = asyncio.ensure_future(self._supervise())

        def stop() -> None:
            again = not supervising.cancel()
            for worker in self._workers:
                if again and self._attended:  # a debugger has it, and it hears nothing
                    worker.kill()
                else:
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
                *("--fd", str(self._fd), "--ready-fd", str(writing), "--parent-fd", str(self._life)),
                stdin=None if self._attended else asyncio.subprocess.DEVNULL,
                pass_fds=(self._fd, writing, self._life),
                process_group=None if self._attended else 0,
            )
        finally:
            os.close(writing)
        worker = Worker(process)
        self._workers.append(worker)
        said = await _read(reading)
        if not said:
            self._workers.remove(worker)
            raise CannotStart(await worker.ended)
        return dict(json.loads(said))


class Workers(Supervisor):
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
            await first(self._renew.wait(), *(worker.ended for worker in self._workers))
            if self._renew.is_set():
                await self._renew_all()
                continue
            now = asyncio.get_running_loop().time()
            backoff = _BACKOFF if now > calm_at else min(2 * backoff, _MAX_BACKOFF)
            calm_at = now + backoff + _STABLE
            for worker in [worker for worker in self._workers if worker.ended.done()]:
                self._workers.remove(worker)
                log.error("worker %d %s; another follows in %g s", worker.process.pid, how_it_ended(worker), backoff)
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
            await asyncio.wait([worker.ended])  # which, unlike an await, is not cancelled with this
            self._workers.remove(worker)


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


def how_it_ended(worker: Worker) -> str:
    """Return what has become of a worker, as the end of a sentence."""
    status = worker.ended.result()
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"has ended with status {status}"
