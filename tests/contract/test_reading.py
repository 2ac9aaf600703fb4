"""A contract that is carried is read without importing anything of its plugin: an audit hook watches."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.contract.projects import run

WATCHER = """
import sys

seen = []

def watch(event, arguments):
    if event == "import":
        seen.append(str(arguments[0]))
    elif event == "exec":
        seen.append(getattr(arguments[0], "co_filename", ""))
    elif event == "subprocess.Popen":
        seen.append("a process: " + " ".join(map(str, arguments[1])))

sys.addaudithook(watch)
"""
"""Notes what is imported, what code is run, and what processes are started."""

READ = """
import atexit, sys
from jackfield._cli import group

def tell():
    print([one for one in seen if "seats" in one or one.startswith("a process")], file=sys.stderr)

atexit.register(tell)
group(sys.argv[1:])
"""


def _watched(*arguments: str | Path, path: Path | None = None) -> tuple[int, str, str]:
    env = {"PYTHONPATH": str(path)} if path else {}
    done = run("-c", WATCHER + READ, *arguments, folder=Path(sys.prefix), env=env)
    return done.returncode, done.stdout, done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments", [["schema"], ["schema", "--format", "asyncapi"], ["schema", "--format", "jsonschema"]]
)
def test_a_wheel_is_read_without_an_import(wheel: Path, arguments: list[str]) -> None:
    """Nothing of the plugin is imported or run, here or in another process."""
    status, out, seen = _watched(*arguments, wheel)
    assert status == 0
    assert "api.seats.book" in out
    assert seen == "[]"


def test_an_installed_distribution_is_read_without_an_import(installed: Path) -> None:
    """Its metadata is all that is looked at."""
    status, out, seen = _watched("schema", "seats", path=installed)
    assert status == 0
    assert "api.seats.book" in out
    assert seen == "[]"


def test_two_wheels_are_compared_without_an_import(wheel: Path, later_wheel: Path) -> None:
    """Whichever breaks the other."""
    status, out, seen = _watched("diff", wheel, later_wheel)
    assert (status, seen) == (1, "[]")
    assert "input-field-required" in out


def test_the_watcher_sees_what_is_imported(installed: Path) -> None:
    """Else it would prove nothing."""
    script = f"{WATCHER}\nimport jackfield_seats\nprint([one for one in seen if 'seats' in one])"
    done = run("-c", script, folder=Path(sys.prefix), env={"PYTHONPATH": str(installed)})
    assert "'jackfield_seats'" in done.stdout
    assert "jackfield_seats/__init__.py" in done.stdout


def test_the_watcher_sees_processes(installed: Path) -> None:
    """A plugin that has to be loaded is loaded in one."""
    status, _, seen = _watched("schema", "seats", "--load", path=installed)
    assert status == 0
    assert "jackfield._cli.probe" in seen


def test_importlib_metadata_reads_it_alone(installed: Path) -> None:
    """Where the file lies is a promise: programs need no jackfield for it."""
    script = (
        "import json, sys\nfrom importlib.metadata import distribution\n"
        "text = distribution('jackfield-seats').read_text('extra_metadata/jackfield-contract.json')\n"
        "print(json.loads(text)['contract'], sorted(m for m in sys.modules if m.startswith('jackfield')))"
    )
    done = run("-c", script, folder=Path(sys.prefix), env={"PYTHONPATH": str(installed)})
    assert done.stdout == "1 []\n", done.stderr
