"""The servers that are measured: started for a measurement, pinned to a core, and ended after it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from tests.bench.feeds import Streaming
from tests.bench.frames import Dialect
from tests.bench.generator import BenchError
from tests.support.server import MALLOC, environment

START_LIMIT: Final = 120.0
_STOP_LIMIT: Final = 10.0
_AGAIN: Final = 0.002


@dataclass(frozen=True)
class Target:
    """One of the servers.

    Args:
        name: What it is called on the command line and in results.
        title: What it is called in tables.
        command: What starts it, without the port, which comes last.
        dialect: How it is called.
        env: Environment variables that it is started with.
        ours: Whether it is jackfield.
        functions: What it has beside `echo`.
        streaming: How it is asked for a stream, if it can be.
        workers: What starts it with so many processes that serve, without the port, if it can be.
        channels: What starts it as one of several servers on the Redis that the variable REDIS_URL names, without the
            port, if it can be.
    """

    name: str
    title: str
    command: tuple[str, ...]
    dialect: Dialect
    env: Mapping[str, str] = field(default_factory=dict)
    ours: bool = False
    functions: frozenset[str] = frozenset()
    streaming: Streaming | None = None
    workers: Callable[[int], tuple[str, ...]] | None = None
    channels: tuple[str, ...] | None = None


@dataclass
class Running:
    """A server that is up."""

    target: Target
    process: psutil.Popen
    url: str
    log_file: Path

    @property
    def cpu(self) -> float:
        """Seconds of processor time that it has used, with its children."""
        return sum(time.clock_gettime(_cpu_clock(each.pid)) for each in self._family())

    @property
    def rss(self) -> int:
        """Bytes of memory that it holds, with its children."""
        return sum(each.memory_info().rss for each in self._family())

    def check(self) -> None:
        """Raise if it has ended.

        Raises:
            BenchError: It has; with the end of its log.
        """
        status = self.process.poll()
        if status is not None:
            log = self.log_file.read_text(encoding="utf-8", errors="replace")
            raise BenchError(f"{self.target.title} ended with status {status}:\n{log[-4000:] or '(it logged nothing)'}")

    def wait_for_workers(self, count: int) -> None:
        """Wait until so many of its children have taken a connection.

        Raises:
            BenchError: That does not come.
        """
        port = int(self.url.rpartition(":")[2])
        taking: set[int] = set()
        end = time.monotonic() + START_LIMIT
        while time.monotonic() < end:
            with socket.create_connection(("127.0.0.1", port), 1):
                time.sleep(_AGAIN)
                for child in self._family()[1:]:
                    with contextlib.suppress(psutil.Error):
                        if any(each.laddr.port == port and each.raddr for each in child.net_connections("tcp")):
                            taking.add(child.pid)
            if len(taking) >= count:
                return
        raise BenchError(f"{self.target.title} has not {count} processes that serve after {START_LIMIT:g} s")

    def _family(self) -> list[psutil.Process]:
        self.check()
        return [self.process, *self.process.children(recursive=True)]


@contextmanager
def running(
    target: Target,
    folder: Path,
    cores: Sequence[int],
    *,
    command: Sequence[str] | None = None,
    path: Sequence[Path] = (),
    env: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Run a server until the block ends; it accepts connections when the block begins.

    Args:
        target: Which one.
        folder: Where it runs, and where its log is written.
        cores: The cores that it is pinned to, if it is.
        command: What starts it, in the place of its own.
        path: Folders with plugins.
        env: More environment variables.

    Raises:
        BenchError: It does not start.
    """
    variables = environment(path, {**target.env, **(env or {})})
    del variables[MALLOC]  # it makes every Buffer cost several times as much, and nobody serves like that
    port = free_port()
    log_file = folder / f"{target.name}-{port}.log"
    with log_file.open("wb") as log:
        process = psutil.Popen(
            [*pinned(cores), *(command or target.command), str(port)],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl+C is for us, who then end it
        )
    server = Running(target, process, f"http://127.0.0.1:{port}", log_file)
    try:
        _wait_for_port(server, port)
        yield server
    finally:
        _end(process)


def _cpu_clock(pid: int) -> int:
    """Return the clock of a process, as `clock_getcpuclockid` does on Linux; /proc tells its time in steps of 10 ms."""
    return (~pid << 3) | 2


def pinned(cores: Sequence[int]) -> list[str]:
    """Return what is put before a command to pin it."""
    return ["taskset", "-c", ",".join(map(str, cores))] if cores else []


class Cores(NamedTuple):
    """What is pinned where.

    Args:
        servers: The core of a server, and that which one of several processes has beside it; none if nothing is.
        generator: The load generator's.
    """

    servers: tuple[int, ...] = ()
    generator: int | None = None

    @property
    def shared(self) -> bool:
        """Whether the load generator is in the way of a server with several processes."""
        return not self.servers or self.generator in self.servers


def find_cores() -> Cores:
    """Return what is to be pinned where on this machine: nothing if it has one core, or cannot pin."""
    if shutil.which("taskset") is None or len(found := sorted(os.sched_getaffinity(0))) < 2:
        return Cores()
    return Cores((found[0], found[2] if len(found) > 2 else found[1]), found[1])


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for_port(server: Running, port: int) -> None:
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end:
        server.check()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(_AGAIN)
    raise BenchError(f"{server.target.title} accepts no connection after {START_LIMIT:g} s")


def _end(process: psutil.Popen) -> None:
    family = [process, *process.children(recursive=True)] if process.poll() is None else []
    for each in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.terminate()
    _, alive = psutil.wait_procs(family, _STOP_LIMIT)
    for each in alive:
        each.kill()
    process.wait(_STOP_LIMIT)
