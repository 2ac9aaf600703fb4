"""The plugin is installed, and jackfield lists it."""

from __future__ import annotations

import json
import subprocess
import sys


def test_it_is_listed() -> None:
    """With its namespace, ready to be served."""
    command = [sys.executable, "-m", "jackfield", "plugins", "show", "{{ cookiecutter.name }}", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"is it installed? pip install --editable .\n{done.stderr}"
    listed = json.loads(done.stdout)
    assert listed["reason"] is None, f"{listed['reason']}\n{listed['hint']}"
    again = "is pyproject.toml changed? What is installed is read: pip install --editable . again"
    assert listed["namespaces"] == ["{{ cookiecutter.namespace }}"], again
