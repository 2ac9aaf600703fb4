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
from typing import Any

import pytest
from redis.asyncio import Redis

LIMIT = 20.0


class RedisServer:
    """A server that is up; what it has is gone when it is killed, unless it is to keep it.

    Args:
        folder: Where its log is written, and what it keeps.
        password: What clients have to show.
        keep: Whether it writes everything to its disk before it answers.
        tls: A certificate for 127.0.0.1 and its key, for connections by TLS and no others.
        more: More of its options.
    """

    def __init__(
        self,
        folder: Path,
        password: str = "",
        *more: str,
        keep: bool = False,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self._folder = folder
        self.password = password
        self._more = more
        self._keep = keep
        self.tls = tls
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        """Where it is, with the password."""
        scheme = "redis" if self.tls is None else "rediss"
        return f"{scheme}://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, on the same port as ever, and wait until it accepts."""
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(["redis-server", *self._arguments()], stdout=log, stderr=log)
        _wait_for(self._process, self.port, self._folder / "redis.log")

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

    def _arguments(self) -> list[str]:
        arguments = ["--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        if self.password:
            arguments += ["--requirepass", self.password]
        if self._keep:
            arguments += ["--appendonly", "yes", "--appendfsync", "always"]
        if self.tls is None:
            arguments += ["--port", str(self.port)]
        else:
            certificate, key = self.tls
            arguments += ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            arguments += ["--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
        return [*arguments, *self._more]

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


def need_redis() -> None:
    """Skip the test where there is no redis-server; in CI, fail."""
    if shutil.which("redis-server") is None:
        (pytest.fail if os.environ.get("TESTS_REQUIRE_ALL") == "1" else pytest.skip)("redis-server is not installed")


@contextmanager
def redis_server(
    folder: Path, password: str = "", *more: str, keep: bool = False, tls: tuple[Path, Path] | None = None
) -> Iterator[RedisServer]:
    """Run a Redis server until the block ends; the arguments are those of `RedisServer`."""
    server = RedisServer(folder, password, *more, keep=keep, tls=tls)
    try:
        yield server
    finally:
        server.kill()


class Sentinel:
    """A Sentinel alone, which calls the server that it watches `ours`, and replaces it when it is gone for a second.

    Args:
        folder: Where its files are.
        watched: The server; by TLS if that is, with the same certificate.
        password: What clients of the Sentinel itself have to show.
    """

    def __init__(self, folder: Path, watched: RedisServer, password: str = "") -> None:
        self._folder = folder
        self._password = password
        self._tls = watched.tls
        self.port = free_port()
        lines = [
            "bind 127.0.0.1",
            f"dir {folder}",
            f"sentinel monitor ours 127.0.0.1 {watched.port} 1",
            f"sentinel auth-pass ours {watched.password}",
            "sentinel down-after-milliseconds ours 1000",
            "sentinel failover-timeout ours 5000",
        ]
        if password:
            lines.append(f"requirepass {password}")
        if watched.tls is None:
            lines.append(f"port {self.port}")
        else:
            certificate, key = watched.tls
            lines += ["port 0", f"tls-port {self.port}", "tls-auth-clients no", "tls-replication yes"]
            lines += [f"tls-cert-file {certificate}", f"tls-key-file {key}", f"tls-ca-cert-file {certificate}"]
        (folder / "sentinel.conf").write_text("\n".join(lines) + "\n")

    def __enter__(self) -> Sentinel:
        arguments = ["redis-server", str(self._folder / "sentinel.conf"), "--sentinel"]
        with (self._folder / "sentinel.log").open("ab") as log:
            self._process = subprocess.Popen(arguments, stdout=log, stderr=log)
        _wait_for(self._process, self.port, self._folder / "sentinel.log")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(LIMIT)

    async def knows_two(self) -> bool:
        """Tell whether there is another server that could take the place of the first."""
        options: dict[str, Any] = {} if self._tls is None else {"ssl": True, "ssl_ca_certs": str(self._tls[0])}
        async with Redis(host="127.0.0.1", port=self.port, password=self._password or None, **options) as client:
            return bool(await client.execute_command("SENTINEL", "REPLICAS", "ours"))


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until somebody accepts."""
    end = time.monotonic() + LIMIT
    while not _accepts(port):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, "Redis does not accept"
        time.sleep(0.02)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(LIMIT)
        return probe.connect_ex(("127.0.0.1", port)) == 0
