"""What `import jackfield` gives, and what it does not bring along."""

from __future__ import annotations

import subprocess
import sys

import jackfield


def test_all_lists_every_public_name():
    """`__all__` is the list of what the package offers, and nothing else is public."""
    public = {
        name
        for name, value in vars(jackfield).items()
        if not name.startswith("_") and getattr(value, "__name__", name) != "annotations" and name != "annotations"
    }
    assert public == set(jackfield.__all__)
    assert len(jackfield.__all__) <= 25


def test_importing_jackfield_loads_no_server():
    """A plugin that imports jackfield pays for no web server and no configuration."""
    script = (
        "import sys, jackfield; print([m for m in ('socketio', 'uvicorn', 'pydantic_settings') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
