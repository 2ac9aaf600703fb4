"""Where and with what was measured."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil

from tests.bench.servers import Cores, Target, pinned
from tests.bench.targets import PEERS, ROOT

_PACKAGES: Final = (
    "jackfield",
    "pydantic",
    "python-socketio",
    "python-engineio",
    "uvicorn",
    "uvloop",
    "httptools",
    "websockets",
    "picows",
)


def describe(targets: Iterable[Target], cores: Cores) -> dict[str, Any]:
    """Return the machine, the versions, the date, and the commands; no path of this machine."""
    prefix = pinned(cores.servers[:1])
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": {
            "system": f"{platform.system()} {platform.release()}",
            "processor": _processor(),
            "cores": psutil.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 1024**3),
            "server_core": cores.servers[0] if cores.servers else None,
            "generator_core": cores.generator,
        },
        "versions": {
            "python": _python(),
            **{name: version(name) for name in _PACKAGES},
            **_node_versions(),
            **_redis_version(),
        },
        "commands": {
            target.name: " ".join(
                [*(f"{k}={v}" for k, v in target.env.items()), *prefix, *map(_short, target.command), "PORT"]
            )
            for target in targets
        },
    }


def _python() -> str:
    """Return the version, and whether it is the system's own build: builds differ in speed."""
    return platform.python_version() + (" (the system's)" if sys.base_prefix == "/usr" else "")


def _short(word: str) -> str:
    path = Path(word)
    if path.is_relative_to(ROOT):
        return str(path.relative_to(ROOT))
    return path.name if path.is_absolute() else word


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _node_versions() -> dict[str, str]:
    try:
        node = subprocess.run(["node", "--version"], capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return {}
    wanted = json.loads((PEERS / "package.json").read_text(encoding="utf-8"))["dependencies"]
    return {"node": node.removeprefix("v"), **wanted}


def _redis_version() -> dict[str, str]:
    try:
        said = subprocess.run(["redis-server", "--version"], capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"redis-server": said.partition("v=")[2].partition(" ")[0]}
