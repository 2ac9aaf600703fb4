"""The build hook: a plugin's contract is written into its wheel, or the build fails and says why."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from zipfile import ZipFile

from tests.contract.projects import HOOK, SEATS, build, run, unpack, wheel_of, write_project

CONTRACT = "jackfield_seats-1.0.dist-info/extra_metadata/jackfield-contract.json"


def test_the_wheel_carries_the_contract(wheel: Path) -> None:
    """As a file of its metadata, which its RECORD lists."""
    with ZipFile(wheel) as archive:
        contract = json.loads(archive.read(CONTRACT))
        record = archive.read("jackfield_seats-1.0.dist-info/RECORD").decode()
    assert contract["contract"] == 1
    [plugin] = contract["plugins"]
    functions = plugin.pop("functions")
    assert plugin == {
        "name": "seats",
        "distribution": "jackfield-seats",
        "version": "1.0",
        "kernel": "<0.2,>=0.1",
        "namespaces": ["api.seats"],
    }
    assert list(functions) == ["api.seats.book", "api.seats.free"]
    assert functions["api.seats.book"]["errors"] == ["not_found"]
    assert list(functions["api.seats.book"]["emits"]) == ["moved"]
    assert CONTRACT in [row[0] for row in csv.reader(record.splitlines())]


def test_the_same_project_has_the_same_wheel(tmp_path: Path) -> None:
    """Nothing of the time or of the machine gets into it."""
    one = wheel_of(write_project(tmp_path / "one")).read_bytes()
    assert wheel_of(write_project(tmp_path / "other")).read_bytes() == one


def test_an_installer_builds_it_too(tmp_path: Path) -> None:
    """By the standard interface of build backends, without the network."""
    project = write_project(tmp_path / "project")
    command: list[str | Path] = [
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        project,
    ]
    done = run(*command, folder=tmp_path, env={"PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    assert CONTRACT in ZipFile(wheel).namelist()


def test_an_isolated_build_gets_what_the_plugin_needs(tmp_path: Path) -> None:
    """The hook names the plugin's dependencies, since it has to be loaded."""
    project = write_project(tmp_path)
    script = "from hatchling.build import get_requires_for_build_wheel as f; print(sorted(f()))"
    done = run("-c", script, folder=project)
    assert done.stdout == "['jackfield<0.2,>=0.1', 'pydantic>=2']\n", done.stderr


def test_an_editable_install_carries_none(tmp_path: Path) -> None:
    """What its sources say changes by the minute."""
    project = write_project(tmp_path, source="raise SystemExit('this is not loaded')")
    script = "from hatchling.build import build_editable; print(build_editable('.'))"
    done = run("-c", script, folder=project)
    assert done.returncode == 0, done.stderr
    [wheel] = project.glob("*.whl")
    assert [name for name in ZipFile(wheel).namelist() if "contract" in name] == []


def test_a_plugin_that_cannot_be_loaded_fails_the_build(tmp_path: Path) -> None:
    """The message names it, says why and where, and no wheel is left behind."""
    project = write_project(tmp_path, source="import nosuchmodule\n")
    done = build(project)
    assert done.returncode == 1
    [said] = [line for line in done.stderr.splitlines() if line.startswith("the build hook")]
    assert said.startswith(
        "the build hook of jackfield: the plugin seats cannot be loaded, so nobody knows its contract: "
        "ModuleNotFoundError: No module named 'nosuchmodule' ("
    )
    assert said.endswith("jackfield_seats/__init__.py:1) (pip install nosuchmodule)")
    assert "Traceback" not in done.stderr
    assert list(project.glob("dist/*.whl")) == []


def test_a_plugin_that_ends_its_process_fails_the_build(tmp_path: Path) -> None:
    """It is loaded in a process of its own."""
    done = build(write_project(tmp_path, source="import os\nos._exit(0)\n"))
    assert done.returncode == 1
    assert "it ended its process with status 0 while it was loaded" in done.stderr


def test_a_namespace_that_is_not_declared_fails_the_build(tmp_path: Path) -> None:
    """What a server would say is said when the wheel is built."""
    done = build(write_project(tmp_path, source=SEATS.replace("api.seats", "api.stalls")))
    assert done.returncode == 1
    assert "it serves 'api.stalls', which its metadata does not declare" in done.stderr


def test_another_kernel_fails_the_build(tmp_path: Path) -> None:
    """The plugin has to work with the jackfield that describes it."""
    done = build(write_project(tmp_path, requires="jackfield>=9"))
    assert done.returncode == 1
    assert "it needs jackfield >=9, this is 0.1.0" in done.stderr


def test_a_project_without_a_plugin_fails_the_build(tmp_path: Path) -> None:
    """The hook is there by mistake."""
    project = write_project(tmp_path)
    file = project / "pyproject.toml"
    file.write_text(file.read_text().replace("jackfield.plugins", "other.plugins"))
    done = build(project)
    assert done.returncode == 1
    assert "this project has no entry point in the group jackfield.plugins" in done.stderr


def test_settings_that_a_plugin_needs_stand_in_the_table_of_the_hook(tmp_path: Path) -> None:
    """Without them it cannot be loaded; neither a server's configuration nor its variables are read."""
    source = f"""
    {SEATS}
    class Settings(BaseModel):
        hall: str

    @hookimpl
    def jackfield_settings():
        return Settings
    """
    project = write_project(tmp_path / "bare", source)
    (project / "jackfield.toml").write_text('[plugins.seats]\nhall = "small"\n')
    done = build(project, env={"JACKFIELD_PLUGINS__SEATS__HALL": "small", "JACKFIELD_NOSUCH": "1"})
    assert done.returncode == 1
    assert "plugins.seats.hall: Field required" in done.stderr
    hook = f'{HOOK}\nsettings = {{ seats = {{ hall = "small" }} }}\n'
    assert wheel_of(write_project(tmp_path / "settled", source, hook=hook)).exists()


def test_the_sources_are_described_and_not_what_is_installed(tmp_path: Path, later_wheel: Path) -> None:
    """Another version of the plugin may be in the environment in which its wheel is built."""
    other = unpack(later_wheel, tmp_path / "site")
    done = build(write_project(tmp_path / "project"), env={"PYTHONPATH": str(other)})
    assert done.returncode == 0, done.stderr
    [wheel] = (tmp_path / "project/dist").glob("*.whl")
    contract = json.loads(ZipFile(wheel).read(CONTRACT))
    assert contract["plugins"][0]["version"] == "1.0"
    assert contract["plugins"][0]["functions"]["api.seats.book"]["input"]["required"] == ["row"]


def test_hatchling_is_no_dependency_of_the_kernel() -> None:
    """Nothing but hatchling imports the hook."""
    script = "import sys, jackfield, jackfield._cli.schema, jackfield._cli.diff; assert 'hatchling' not in sys.modules"
    assert run("-c", script, folder=Path(sys.prefix)).returncode == 0
