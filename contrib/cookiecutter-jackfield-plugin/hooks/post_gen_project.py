"""Leave out what was not asked for and what an installer has compiled of the template, and say how to go on."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
UNASKED = {
    "LICENSE": ANSWERS["licence"] == "none",
    "tests/test_streams.py": not ANSWERS["streams"],
    "tests/test_settings.py": not ANSWERS["settings"],
    "tests/test_background.py": not ANSWERS["background"],
}

for path, unasked in UNASKED.items():
    if unasked:
        Path(path).unlink()

for cache in list(Path().rglob("__pycache__")):
    shutil.rmtree(cache)

folder = Path.cwd()
sys.stdout.write(f"""\
{folder.name} is made. Next, in an environment of its own (python -m venv):
  cd {folder.name}
  python -m pip install --editable . --group dev
  pytest
  jackfield serve --dev
""")
