"""Which servers there are on this machine."""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from jackfield._settings import ServerSettings
from tests.bench import feeds, frames
from tests.bench.servers import Target

ROOT: Final = Path(__file__).parents[2]
PEERS: Final = Path(__file__).with_name("peers")
NODE: Final = "node"
PYTHON: Final = "python-socketio"
OURS: Final = "jackfield"
ASGI: Final = "jackfield-asgi"

_EVERYTHING: Final = frozenset({"bytes", "once", "broadcast"})
_PYENV: Final = str(Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions/3.13.*/bin/python")
_WEBSOCKET: Final = "JACKFIELD_SERVER__WEBSOCKET"
_FOR_OPERATORS: Final = ("idempotency", "jwt", "metrics", "ratelimit")
"""Plugins that are not in the servers that are measured, but where what they cost is the question."""


def say(text: str) -> None:
    """Tell the person who is waiting."""
    print(text, flush=True)


def ours() -> Iterator[Target]:
    """Yield jackfield on each of its carriers, and on each further Python."""
    if "websocket" not in ServerSettings.model_fields:
        say("jackfield has no setting server.websocket: it is measured once, as it comes")
        yield _jackfield(OURS, "jackfield", sys.executable, None)
        return
    yield _jackfield(OURS, "jackfield", sys.executable, "picows")
    yield _jackfield(ASGI, "jackfield, ASGI carrier", sys.executable, "asgi")


def further() -> Iterator[Target]:
    """Yield jackfield on each further Python; its environment is made where it is missing."""
    for name, python in _pythons():
        websocket = "picows" if "websocket" in ServerSettings.model_fields else None
        yield _jackfield(f"{OURS}-{name}", f"jackfield, Python {name}", python, websocket)


def peers() -> Iterator[Target]:
    """Yield those servers of others that can run here."""
    yield Target(
        PYTHON,
        "python-socketio",
        (sys.executable, str(PEERS / "python_socketio.py")),
        frames.bare,
        functions=frozenset({"bytes", "broadcast"}),
        streaming=feeds.bare,
    )
    if missing := missing_for_node():
        say(f"the servers on Node are left out: {missing}")
        return
    yield Target(
        NODE,
        "Socket.IO on Node",
        ("node", str(PEERS / "node.js")),
        frames.bare,
        functions=frozenset({"bytes", "broadcast"}),
        streaming=feeds.bare,
        workers=lambda count: ("node", str(PEERS / "workers.js"), str(count)),
        channels=("node", str(PEERS / "channels.js")),
    )
    yield Target("moleculer", "moleculer-io", ("node", str(PEERS / "moleculer.js")), frames.moleculer)
    yield Target("feathers", "Feathers", ("node", str(PEERS / "feathers.js")), frames.feathers)


def without(*plugins: str) -> dict[str, str]:
    """Return the variables for jackfield without these plugins, and with all others that are installed."""
    return {"JACKFIELD_PLUGINS__DISABLED": json.dumps(plugins)}


def with_only(*plugins: str) -> dict[str, str]:
    """Return the variables for jackfield that must have these of the plugins for operators, with all others."""
    others = without(*(name for name in _FOR_OPERATORS if name not in plugins))
    return {**others, "JACKFIELD_PLUGINS__REQUIRED": json.dumps(plugins)}


def missing_for_node() -> str | None:
    """Return what the servers on Node lack on this machine, or None."""
    if shutil.which("node") is None:
        return "node is not installed"
    if not (PEERS / "node_modules" / "socket.io").exists():
        return "their packages are not installed: make bench installs them where npm is"
    return None


def _jackfield(name: str, title: str, python: str, websocket: str | None) -> Target:
    serve = (python, "-m", "jackfield", "serve")
    return Target(
        name,
        title,
        (*serve, "--port"),
        frames.jackfield,
        {**without(*_FOR_OPERATORS), **({_WEBSOCKET: websocket} if websocket else {})},
        ours=True,
        functions=_EVERYTHING,
        streaming=feeds.jackfield,
        workers=lambda count: (*serve, "--workers", str(count), "--port"),
        channels=(*serve, "--port"),
    )


def _pythons() -> Iterator[tuple[str, str]]:
    """Yield the version and the interpreter of an environment with jackfield for each further Python.

    The variable PYTHONS names interpreters; without it python3.13 is looked for.
    """
    named = os.environ.get("PYTHONS", "").split()
    looked_for = [shutil.which("python3.13"), *sorted(glob.glob(_PYENV), reverse=True)]
    found = {version: python for python in reversed(named or looked_for) if python and (version := _version(python))}
    found.pop(f"{sys.version_info[0]}.{sys.version_info[1]}", None)
    if not found:
        say("jackfield is measured on no further Python: python3.13 is not here; PYTHONS=/path/to/python names another")
    for version, python in found.items():
        folder = f".tools/bench-{version}"
        make = ["make", "--silent", "install", f"VENV={folder}", f"PYTHON={python}"]
        if subprocess.run(make, cwd=ROOT, check=False, stdout=subprocess.DEVNULL).returncode:
            say(f"no environment could be made for Python {version}: it is left out")
        else:
            yield version, str(ROOT / folder / "bin/python")


def _version(python: str) -> str | None:
    """Return the version of an interpreter, or None if it does not run, as a shim of pyenv may not."""
    ask = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        return subprocess.run(ask, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
