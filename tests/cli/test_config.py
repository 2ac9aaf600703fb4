"""`jackfield config`."""

from __future__ import annotations

import tomllib
from pathlib import Path

from jackfield._configuration import load
from jackfield._settings import Settings
from tests.cli.shell import Invoke, Shell


def test_init_writes_what_a_server_can_read(shell: Shell, tmp_path: Path, broken: Path) -> None:
    """The file lists what is installed, and with every comment taken off a setting it says the default."""
    result = shell("config", "init", path=[broken])
    assert (result.status, result.err) == (0, "")
    assert result.out == "wrote jackfield.toml with demo, files, neighbour, system, weather enabled\n"
    file = tmp_path / "jackfield.toml"
    written = load(file, environ={})
    assert written.plugins.policy == "listed"
    assert written.plugins.enabled == ("demo", "files", "neighbour", "system", "weather")
    lines = file.read_text(encoding="utf-8").splitlines()
    bare = "\n".join(line.removeprefix("# ") if " = " in line and "=9000" not in line else line for line in lines)
    everything = tmp_path / "everything.toml"
    everything.write_text(bare, encoding="utf-8")
    defaults = Settings().model_dump()
    assert {name: set(table) for name, table in tomllib.loads(bare).items()} == {n: set(t) for n, t in defaults.items()}
    defaults["plugins"] |= {"policy": "listed", "enabled": ("demo", "files", "neighbour", "system", "weather")}
    assert load(everything, environ={}).model_dump() == defaults


def test_init_explains_each_setting(invoke: Invoke, tmp_path: Path) -> None:
    """Above each stands what it is for, and which values it can have where they are few."""
    assert invoke("config", "init", tmp_path).status == 0
    text = (tmp_path / "jackfield.toml").read_text(encoding="utf-8")
    assert '# The least that is written. Known are "debug", "info", "warning", "error".\n# level = "info"\n' in text
    assert "# Where the server listens, and to whom.\n[server]\n" in text
    for table in dict(Settings()).values():
        for info in type(table).model_fields.values():
            assert f"# {info.description}" in text


def test_init_overwrites_only_by_force(invoke: Invoke, tmp_path: Path) -> None:
    """A file that is there stays, unless --force says otherwise."""
    result = invoke("config", "init", config="# mine\n")
    assert (result.status, result.out) == (1, "")
    assert result.err == "✗ jackfield.toml is there already; --force overwrites it\n"
    assert (tmp_path / "jackfield.toml").read_text(encoding="utf-8") == "# mine\n"
    result = invoke("config", "init", "--force", "--json")
    assert (result.status, result.json) == (0, {"file": "jackfield.toml", "enabled": ["demo", "files", "system"]})


def test_init_needs_a_folder_that_is_there(invoke: Invoke) -> None:
    """A folder is not made in passing."""
    result = invoke("config", "init", "no/jackfield.toml")
    assert result.status == 1
    assert result.err == "✗ no/jackfield.toml cannot be written: there is no folder no\n"


SECRETS = """\
[server]
host = "::1"
[plugins.demo]
greeting = "Hi"
api_key = "sesame"
Password = 5
urls = ["redis://user:sesame@host/0"]
"odd name" = { tokens = ["sesame"], fine = true }
"""


def test_show_tells_what_is_in_force(shell: Shell, closed_port: int) -> None:
    """The file with the variables over it, as TOML that can be read again, secrets masked."""
    result = shell("config", "show", config=SECRETS)
    assert (result.status, result.err) == (0, "from jackfield.toml and the variables\n")
    assert "sesame" not in result.out
    shown = tomllib.loads(result.out)
    assert shown["server"]["host"] == "::1"
    assert shown["server"]["port"] == closed_port
    assert shown["plugins"]["demo"] == {
        "greeting": "Hi",
        "api_key": "***",
        "Password": "***",
        "urls": ["redis://user:***@host/0"],
        "odd name": {"tokens": "***", "fine": True},
    }


def test_show_as_json(invoke: Invoke) -> None:
    """For programs the same tables, secrets masked as well; without a file the defaults."""
    result = invoke("config", "show", "--json", env={"JACKFIELD_PLUGINS__DEMO__SECRET": "sesame"})
    assert result.status == 0
    assert result.json["limits"]["depth"] == 64
    assert result.json["plugins"]["demo"] == {"secret": "***"}
    assert result.err == "from the defaults and the variables\n"
