"""What would take a server along: `jackfield plugins list` without one loads each plugin in a process of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.installed import INSTALLED, disabled
from tests.support.plugins import write_neighbour, write_plugin
from tests.support.server import environment

LETHAL = {
    # Source: kind and reason.
    "exits": ("import os\nos._exit(7)", "Crash", "it ended its process with status 7 while it was loaded"),
    "exits_well": ("import os\nos._exit(0)", "Crash", "it ended its process with status 0 while it was loaded"),
    "killed": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "Crash",
        "it crashed its process (SIGKILL) while it was loaded",
    ),
    "stubborn": (
        "import time\nwhile True:\n    try:\n        time.sleep(60)\n    except BaseException:\n        pass",
        "TimeIsUp",
        "it took too long, and could not be interrupted",
    ),
}


def test_a_plugin_that_ends_its_process_spoils_its_own_row(tmp_path: Path) -> None:
    """Each lethal plugin is shown with what it did; the plugin beside them is loaded."""
    folder = write_neighbour(tmp_path / "p")
    for name, (source, _, _) in LETHAL.items():
        write_plugin(folder, name, source, namespaces=[f"api.{name}"])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens here, and nobody else will
        config = f"[server]\nport = {taken.getsockname()[1]}\nstart_timeout = 0.5\n"
        (tmp_path / "jackfield.toml").write_text(config + disabled())
        command = [sys.executable, "-m", "jackfield", "plugins", "list", "--json"]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
            env=environment([folder]),
            cwd=tmp_path,
        )
    rows = {row["name"]: (row["state"], row["kind"], row["reason"]) for row in json.loads(done.stdout)}
    assert rows == {
        **{name: ("quarantined", kind, reason) for name, (_, kind, reason) in LETHAL.items()},
        "neighbour": ("loaded", None, None),
        **dict.fromkeys(INSTALLED, ("disabled", None, None)),
    }
