"""Commands that installed packages bring."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.shell import Invoke, Shell
from tests.support.plugins import write_plugin

TIDES = """
    import click

    @click.command()
    @click.argument("port")
    def command(port: str) -> None:
        \"\"\"Tell when the tide is high.\"\"\"
        click.echo(f"high at noon in {port}")
"""


@pytest.fixture(name="tides")
def _tides(tmp_path: Path) -> Path:
    """A folder with a package that brings the command `tides`, and one whose command cannot be imported."""
    folder = tmp_path / "packages"
    write_plugin(folder, "weather", TIDES, commands={"tides": "plugin_weather:command"})
    return write_plugin(folder, "wreck", "import httpx", commands={"sink": "plugin_wreck:command"})


def test_help_shows_them_without_importing_them(shell: Shell, tides: Path) -> None:
    """Under a heading of their own, with the package's name and what it is for."""
    result = shell("--help", path=[tides])
    assert (result.status, result.err) == (0, "")
    own, _, others = result.out.partition("Commands of plugins:\n")
    assert "  serve      Start the server.\n" in own
    assert "tides" not in own
    rows = dict(line.split(maxsplit=1) for line in others.splitlines())
    assert rows["sink"] == "jackfield-wreck: The plugin wreck"
    assert rows["tides"] == "jackfield-weather: The plugin weather"


def test_one_is_run_by_its_name(invoke: Invoke, tides: Path) -> None:
    """With its own arguments and its own help; `distribution:name` names it too."""
    result = invoke("tides", "Ostend", path=[tides])
    assert (result.status, result.out) == (0, "high at noon in Ostend\n")
    assert invoke("jackfield-weather:tides", "Brest", path=[tides]).out == "high at noon in Brest\n"
    assert invoke("tides", "--help", path=[tides]).out.startswith("Usage: jackfield tides [OPTIONS] PORT\n")
    assert invoke("tides", path=[tides]).status == 2


def test_one_of_a_plugin_that_is_not_in_service_stays(invoke: Invoke, tides: Path) -> None:
    """The configuration says what a server loads; even one that cannot be read takes no command away."""
    listed = '[plugins]\npolicy = "listed"\ndisabled = ["weather"]\n'
    assert invoke("tides", "Ostend", path=[tides], config=listed).out == "high at noon in Ostend\n"
    assert invoke("tides", "Ostend", path=[tides], config="[sever]\n").out == "high at noon in Ostend\n"


def test_one_that_cannot_be_imported_harms_no_other(invoke: Invoke, tides: Path) -> None:
    """It ends with status 1 and the reason."""
    result = invoke("sink", path=[tides])
    assert (result.status, result.out) == (1, "")
    assert result.err == (
        "✗ the command 'sink' of jackfield-wreck cannot be loaded: ModuleNotFoundError: No module named 'httpx' "
        f"({tides}/plugin_wreck.py:1)   → pip install httpx\n"
    )
    assert invoke("tides", "Ostend", path=[tides]).status == 0
    assert invoke("config", "show", path=[tides]).status == 0


@pytest.mark.parametrize(
    ("name", "source", "reason"),
    [
        ("quits", "raise SystemExit(0)", "cannot be loaded: SystemExit: 0 ({folder}/plugin_quits.py:1)"),
        ("plain", "def command(): ...", "is no click.Command: plugin_plain:command is of type function"),
        (
            "lacks",
            "",
            "cannot be loaded: AttributeError: module 'plugin_lacks' has no attribute 'command'",
        ),
    ],
)
def test_what_is_no_command_is_told(invoke: Invoke, tmp_path: Path, name: str, source: str, reason: str) -> None:
    """Whatever the package does, the status is 1 and the package is named."""
    write_plugin(tmp_path, name, source, commands={name: f"plugin_{name}:command"})
    result = invoke(name, path=[tmp_path])
    assert result.status == 1
    assert result.err == f"✗ the command '{name}' of jackfield-{name} {reason.format(folder=tmp_path)}\n"


def test_a_name_that_jackfield_has_is_not_to_be_taken(invoke: Invoke, tmp_path: Path) -> None:
    """jackfield's own command runs; the other is called by its whole name."""
    write_plugin(tmp_path, "impostor", TIDES, commands={"check": "plugin_impostor:command"})
    result = invoke("check", "--help", path=[tmp_path])
    assert result.out.startswith("Usage: jackfield check [OPTIONS] [PATH]\n")
    assert "\n  jackfield-impostor:check  jackfield-impostor: The plugin impostor\n" in invoke("--help").out
    assert invoke("jackfield-impostor:check", "Ostend").out == "high at noon in Ostend\n"


def test_neither_of_two_with_one_name_is_guessed_at(invoke: Invoke, tmp_path: Path) -> None:
    """The error names both packages, and how to say which."""
    write_plugin(tmp_path, "east", TIDES, commands={"tides": "plugin_east:command"})
    write_plugin(tmp_path, "west", "raise SystemExit", commands={"tides": "plugin_west:command"})
    result = invoke("tides", "Ostend", path=[tmp_path])
    assert result.status == 1
    assert result.err == (
        "✗ jackfield-east and jackfield-west both bring a command 'tides': "
        "run `jackfield jackfield-east:tides`, or uninstall one\n"
    )
    assert "jackfield-west:tides" in invoke("--help").out
    assert invoke("jackfield-east:tides", "Ostend").out == "high at noon in Ostend\n"


def test_a_mistyped_one_is_meant(invoke: Invoke, tides: Path) -> None:
    """As for jackfield's own; a name that steers the terminal, or looks like an option, is no command."""
    result = invoke("tide", path=[tides])
    assert result.status == 2
    assert result.err.endswith("Error: No such command 'tide'. Did you mean 'tides'?\n")
    assert invoke("nobody:tides").status == 2
    odd = write_plugin(tides.parent / "odd", "odd", TIDES, commands={"\x1b[31mred": "x", "--help": "x", "UP": "x"})
    help_ = invoke("--help", path=[odd]).out
    assert "jackfield-odd" not in help_


def test_completion_imports_none(shell: Shell, tides: Path) -> None:
    """The shell is told the names."""
    env = {"_JACKFIELD_COMPLETE": "bash_complete", "COMP_WORDS": "jackfield si", "COMP_CWORD": "1"}
    result = shell(path=[tides], env=env)
    assert (result.status, result.out, result.err) == (0, "plain,sink\n", "")
