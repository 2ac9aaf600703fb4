"""A real Redis server in a process of its own, which can be killed and started anew."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

LIMIT = 20.0


class RedisServer:
    """A server that is up; what it keeps is gone when it is killed.

    Args:
        folder: Where its log is written.
        password: What clients have to show.
    """

    def __init__(self, folder: Path, password: str = "") -> None:
        self._folder = folder
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.start()

    @property
    def url(self) -> str:
        """Where it is, with the password."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, on the same port as ever, and wait until it accepts."""
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        if self._password:
            arguments += ["--requirepass", self._password]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(["redis-server", *arguments], stdout=log, stderr=log)
        end = time.monotonic() + LIMIT
        while not self._accepts():
            assert self._process.poll() is None, (self._folder / "redis.log").read_text()
            assert time.monotonic() < end, "Redis does not accept"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(LIMIT)

    def pause(self) -> None:
        """Let it accept and say nothing any more."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(LIMIT)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def need_redis() -> None:
    """Skip the test where there is no redis-server; in CI, fail."""
    if shutil.which("redis-server") is None:
        (pytest.fail if os.environ.get("TESTS_REQUIRE_ALL") == "1" else pytest.skip)("redis-server is not installed")


@contextmanager
def redis_server(folder: Path, password: str = "") -> Iterator[RedisServer]:
    """Run a Redis server until the block ends."""
    server = RedisServer(folder, password)
    try:
        yield server
    finally:
        server.kill()
