"""The units of contrib/systemd, and what systemd does with them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.contrib.proxies import CONTRIB
from tests.support.server import environment

UNITS = CONTRIB / "systemd"
COMMAND = "/usr/local/lib/jackfield/bin/jackfield"
CONFIGURATION = "/etc/jackfield/jackfield.toml"

# What systemd does before it starts the command: the socket becomes descriptor 3, and the memory is never writable and
# executable (prctl 65, which older kernels do not know).
_ACTIVATE = """
import ctypes, os, sys
os.dup2(int(sys.argv[1]), 3, inheritable=True)
ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


def setting(unit: str, key: str) -> str:
    """Return the value of a key that stands in a unit once."""
    [found] = [
        line.partition("=")[2]
        for line in (UNITS / unit).read_text(encoding="utf-8").splitlines()
        if line.startswith(f"{key}=")
    ]
    return found


def seconds(unit: str, key: str) -> float:
    """Return a time that a unit sets."""
    return float(setting(unit, key).removesuffix("s"))


def command(configuration: Path) -> list[str]:
    """Return what the unit starts, with the interpreter and the configuration of the test."""
    words = shlex.split(setting("jackfield.service", "ExecStart"))
    assert words[0] == COMMAND
    return [sys.executable, "-m", "jackfield", *(str(configuration) if w == CONFIGURATION else w for w in words[1:])]


def activate(fd: int, folder: Path, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start the service on a listening socket."""
    starter = [sys.executable, "-c", _ACTIVATE, str(fd)]
    return start([*starter, *command(folder / "jackfield.toml")], folder, env, pass_fds=(fd,))


def start(
    command: Sequence[str], folder: Path, env: dict[str, str] | None = None, pass_fds: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start a command in a folder; what it says goes to `output.log` there."""
    with (folder / "output.log").open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(env=env),
            pass_fds=pass_fds,
        )
