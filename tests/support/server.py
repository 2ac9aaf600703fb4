"""A real `jackfield serve` in a process of its own, on a free port."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

START_LIMIT = 90.0
MALLOC = "MALLOC_MMAP_THRESHOLD_"
"""The variable that says from which size on glibc gives freed memory back at once."""


@dataclass
class Server:
    """A server that is up."""

    process: subprocess.Popen[bytes]
    ready: dict[str, Any]
    log_file: Path
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = self.ready["url"]

    @property
    def plugins(self) -> dict[str, dict[str, Any]]:
        """What the server said of each plugin when it was ready."""
        return {plugin["name"]: plugin for plugin in self.ready["plugins"]}

    @property
    def log(self) -> str:
        """What it has written to standard error so far."""
        return self.log_file.read_text(encoding="utf-8")

    @property
    def rss(self) -> int:
        """Bytes of memory that it holds."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def stop(self, number: int = signal.SIGTERM, limit: float = 30.0) -> int:
        """Send a signal, wait for the end, and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(limit)


@contextmanager
def serving(
    folder: Path,
    *arguments: str,
    config: str = "",
    path: Sequence[Path] = (),
    env: dict[str, str] | None = None,
    python: Path | str = sys.executable,
) -> Iterator[Server]:
    """Run a server until the block ends.

    Args:
        folder: Where it runs, and where its configuration and its log are written.
        arguments: More arguments of `jackfield serve`.
        config: The text of `jackfield.toml`.
        path: Folders with plugins, as `support.plugins.write_plugin` makes them.
        env: More environment variables.
        python: The interpreter of the environment to run in.
    """
    process, log_file = launch(folder, *arguments, config=config, path=path, env=env, python=python)
    try:
        line = _first_line(process)
        if not line:
            status = process.wait(START_LIMIT)
            raise AssertionError(f"the server ended with status {status}:\n{log_file.read_text(encoding='utf-8')}")
        yield Server(process, json.loads(line), log_file)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(START_LIMIT)
        if process.stdout is not None:
            process.stdout.close()


def launch(
    folder: Path,
    *arguments: str,
    config: str = "",
    path: Sequence[Path] = (),
    env: dict[str, str] | None = None,
    python: Path | str = sys.executable,
) -> tuple[subprocess.Popen[bytes], Path]:
    """Start a server that may fail to start; return its process and the file with its standard error.

    The variable TESTS_WEBSOCKET says which carrier of websockets it has, where the test does not.
    """
    carrier = os.environ.get("TESTS_WEBSOCKET")
    if carrier and not re.search(r"^websocket\b", config, re.MULTILINE):
        env = {"JACKFIELD_SERVER__WEBSOCKET": carrier, **(env or {})}
    if "loop_lag" not in config:
        # A machine that runs many tests at once gives a server too little time, for which it would turn clients away.
        # In the file, since a variable would make every start longer.
        config, known = re.subn(r"^\s*\[limits\]\s*$", "[limits]\nloop_lag = 0", config, flags=re.MULTILINE)
        config += "" if known else "\n[limits]\nloop_lag = 0\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "jackfield.toml").write_text(config, encoding="utf-8")
    log_file = folder / "stderr.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [str(python), "-m", "jackfield", "serve", "--port", "0", "--json", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=environment(path, env),
        )
    return process, log_file


def environment(path: Sequence[Path] = (), env: dict[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a command that sees the plugins in `path`."""
    merged = {k: v for k, v in os.environ.items() if not k.startswith("JACKFIELD_")}
    merged["PYTHONPATH"] = os.pathsep.join(map(str, path))
    merged["PYTHONUNBUFFERED"] = "1"
    # glibc raises this by itself, and then keeps what was freed: tests of memory are to see what the server holds.
    merged[MALLOC] = "65536"
    return {**merged, **(env or {})}


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    watchdog = threading.Timer(START_LIMIT, process.kill)
    watchdog.start()
    try:
        return process.stdout.readline()
    finally:
        watchdog.cancel()
