"""What all commands have in common."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from jackfield._cli import group
from tests.cli.shell import Invoke, Shell
from tests.support.server import environment


def _commands(command: click.Command, *path: str) -> list[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        return [path]
    context = click.Context(command)
    inner = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
    return [path, *(found for name, one in inner if one is not None for found in _commands(one, *path, name))]


@pytest.mark.parametrize("path", _commands(group), ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...]) -> None:
    """`--help` of every command says what it is for."""
    result = CliRunner().invoke(group, [*path, "--help"], prog_name="jackfield")
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: {' '.join(['jackfield', *path])} ")


def test_help_loads_no_command_and_no_client() -> None:
    """`jackfield --help` imports neither the commands nor what they speak with."""
    script = (
        "import sys\nfrom jackfield._cli import group\n"
        "try: group(['--help'])\nexcept SystemExit: pass\n"
        "ours = {'jackfield._cli.contributed', 'jackfield._cli.terminal'}\n"
        "print([m for m in sys.modules if (m.startswith('jackfield._cli.') and m not in ours)"
        " or m in ('socketio', 'aiohttp', 'uvicorn', 'tomlkit', 'pydantic_settings')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_unknown_command_is_a_usage_error(shell: Shell) -> None:
    """A mistyped command ends with status 2 and says where help is."""
    result = shell("plugin")
    assert result.status == 2
    assert result.out == ""
    assert result.err == (
        "Usage: jackfield [OPTIONS] COMMAND [ARGS]...\n"
        "Try 'jackfield --help' for help.\n\n"
        "Error: No such command 'plugin'. Did you mean 'plugins'?\n"
    )


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_is_for_terminals_that_want_it(tmp_path: Path, env: dict[str, str], coloured: bool) -> None:
    """On a terminal there is colour, unless NO_COLOR is set."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "jackfield", "plugins", "show", "dmo", "--no-load"],
        cwd=tmp_path,
        env={k: v for k, v in environment(env=env).items() if k != "NO_COLOR" or k in env},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    ) as process:
        os.close(slave)
        written = b""
        while chunk := _read(master):
            written += chunk
        assert process.wait(30) == 1
    os.close(master)
    assert "✗".encode() in written
    assert (b"\x1b[" in written) is coloured


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other side is closed
        return b""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_cannot_write_everything_still_gets_an_answer(shell: Shell, encoding: str) -> None:
    """What the output's encoding lacks is replaced, not a crash."""
    result = shell("plugins", "show", "dmo", "--no-load", env={"PYTHONIOENCODING": encoding})
    assert result.status == 1
    assert result.err.endswith(" no plugin 'dmo' is installed; did you mean 'demo'?\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["plugins", "list"],
        ["plugins", "show", "demo"],
        ["plugins", "disable", "demo"],
        ["functions"],
        ["config", "show"],
        ["call", "api.system.ping"],
        ["check"],
    ],
    ids=" ".join,
)
def test_an_invalid_configuration_is_told_in_sentences(invoke: Invoke, arguments: list[str]) -> None:
    """Every command names each fault of the file on a line of its own, and ends with status 1."""
    result = invoke(*arguments, config="[server]\nprot = 1\nhost = 5\n")
    assert result.status == 1
    assert result.out == ""
    assert result.err.splitlines()[:2] == [
        "✗ server.host: Input should be a valid string (jackfield.toml)",
        "✗ server.prot: there is no such key; did you mean server.port? (jackfield.toml)",
    ]


def test_a_file_that_is_no_toml_is_told_in_a_sentence(shell: Shell) -> None:
    """A syntax error of the file says where it is."""
    result = shell("plugins", "list", config="[server\n")
    assert result.status == 1
    assert result.err == (
        "✗ jackfield.toml is not valid TOML: Expected ']' at the end of a table declaration (at line 1, column 8)\n"
    )


def test_a_file_that_is_missing_is_told_in_a_sentence(shell: Shell) -> None:
    """A file named with -c has to be there."""
    result = shell("plugins", "list", "-c", "nowhere.toml")
    assert result.status == 1
    assert result.err == "✗ nowhere.toml cannot be read: No such file or directory\n"
