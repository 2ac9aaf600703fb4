"""`jackfield config`."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from jackfield._configuration import load
from jackfield._settings import Settings
from tests.cli.shell import Invoke
from tests.support.installed import INSTALLED, disabled, names
from tests.support.plugins import write_plugin


def test_init_writes_what_a_server_can_read(invoke: Invoke, tmp_path: Path, broken: Path) -> None:
    """The file lists what is installed, and with every comment taken off a setting it says the default."""
    result = invoke("config", "init", path=[broken])
    assert (result.status, result.err) == (0, "")
    assert result.out == f"wrote jackfield.toml with {', '.join(names('neighbour', 'weather'))} enabled\n"
    file = tmp_path / "jackfield.toml"
    written = load(file, environ={})
    assert written.plugins.policy == "listed"
    assert written.plugins.enabled == names("neighbour", "weather")
    lines = file.read_text(encoding="utf-8").splitlines()
    bare = "\n".join(line.removeprefix("# ") if " = " in line and "=9000" not in line else line for line in lines)
    everything = tmp_path / "everything.toml"
    everything.write_text(bare, encoding="utf-8")
    defaults = Settings().model_dump()
    assert {name: set(table) for name, table in tomllib.loads(bare).items()} == {n: set(t) for n, t in defaults.items()}
    defaults["plugins"] |= {"policy": "listed", "enabled": names("neighbour", "weather")}
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
    assert (result.status, result.json) == (0, {"file": "jackfield.toml", "enabled": list(INSTALLED)})


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


def test_show_tells_what_is_in_force(invoke: Invoke, closed_port: int) -> None:
    """The file with the variables over it, as TOML that can be read again, secrets masked."""
    result = invoke("config", "show", config=SECRETS)
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


VAULT = """
    from pydantic import BaseModel, Field, SecretStr
    from jackfield import hookimpl

    class Door(BaseModel, extra="forbid"):
        name: str = "front"
        pepper: SecretStr = SecretStr("")

    class Settings(BaseModel, extra="forbid"):
        doors: list[Door] = []
        main: Door | None = None
        others: dict[str, Door] = {}
        pin: SecretStr | None = None
        lazy: list[int] = Field(default_factory=lambda: [1])

    @hookimpl
    def jackfield_settings():
        return Settings
"""

VAULT_TABLE = """\
[log]
level = "error"
[plugins.vault]
pin = '''
sesame'''
main = {name = "oak", pepper = "sesame"}

[[plugins.vault.doors]]
name = "back"
[[plugins.vault.doors]]
pepper = "sesame"
[plugins.vault.others.cellar]
pepper = "sesame"
"""


@pytest.fixture(scope="module", name="vault")
def _vault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plugin that has secrets which do not look like any."""
    return write_plugin(tmp_path_factory.mktemp("vault"), "vault", VAULT)


def test_show_masks_what_the_plugin_says_is_secret(invoke: Invoke, vault: Path) -> None:
    """Inside lists, tables and what may be none, too; what is empty is no secret."""
    result = invoke("config", "show", path=[vault], config=VAULT_TABLE)
    assert result.status == 0
    assert "sesame" not in result.out
    assert tomllib.loads(result.out)["plugins"]["vault"] == {
        "pin": "***",
        "main": {"name": "oak", "pepper": "***"},
        "doors": [{"name": "back"}, {"pepper": "***"}],
        "others": {"cellar": {"pepper": "***"}},
    }


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ('[plugins]\ndisabled = ["vault"]\n', "the plugin is disabled"),
        ('[plugins]\npolicy = "listed"\n', "the plugin is refused (it is not on the list)"),
        ("[plugins.valt]\npin = 'sesame'\n", "there is no such plugin"),
    ],
)
def test_show_tells_no_text_of_a_plugin_that_is_not_loaded(invoke: Invoke, vault: Path, more: str, why: str) -> None:
    """Nobody knows what is secret there."""
    result = invoke("config", "show", path=[vault], config=f"{more}[plugins.vault]\npin = 'sesame'\nlazy = [2]\n")
    assert result.status == 0
    assert "sesame" not in result.out
    assert tomllib.loads(result.out)["plugins"]["vault"]["lazy"] == [2]
    assert f"no text is shown, because {why}\n" in result.err


def test_show_says_where_each_value_came_from(invoke: Invoke, vault: Path, tmp_path: Path) -> None:
    """The line of the file, the variable, the file with a secret, or the default, of plugins too."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "jackfield_limits__calls").write_text("5", encoding="utf-8")
    env = {
        "JACKFIELD_SECRETS_DIR": "secrets",
        "JACKFIELD_SERVER__HOST": "::1",
        "JACKFIELD_PLUGINS__VAULT__OTHERS__ATTIC__NAME": "roof",
    }
    result = invoke("config", "show", "--sources", path=[vault], config=VAULT_TABLE, env=env)
    assert result.status == 0
    assert "sesame" not in result.out
    shown = [" ".join(line.split()) for line in result.out.splitlines()]
    for line in (
        'host = "::1" # JACKFIELD_SERVER__HOST',
        "calls = 5 # secrets/jackfield_limits__calls",
        'path = "/socket.io" # default',
        'level = "error" # jackfield.toml:2',
        'pin = "***" # jackfield.toml:4',
        'doors = [{name = "back", pepper = ""}, {name = "front", pepper = "***"}] # jackfield.toml:8',
        "lazy = [1] # default",
    ):
        assert line in shown
    inner = shown[shown.index("[plugins.vault.main]") :]
    assert inner[1:3] == ['name = "oak" # jackfield.toml:6', 'pepper = "***" # jackfield.toml:6']
    assert inner[inner.index("[plugins.vault.others.cellar]") :][1:3] == [
        'name = "front" # default',
        'pepper = "***" # jackfield.toml:13',
    ]
    assert inner[inner.index("[plugins.vault.others.attic]") :][1] == (
        'name = "roof" # JACKFIELD_PLUGINS__VAULT__OTHERS__ATTIC__NAME'
    )
    assert tomllib.loads(result.out)["log"] == {"level": "error", "format": "console"}


def test_show_says_where_as_json_too(invoke: Invoke, vault: Path, broken: Path) -> None:
    """A row for each key; a plugin that cannot be loaded, or whose settings do not fit, takes no row from another."""
    config = "[plugins.vault]\npni = 'Hi'\n[plugins.weather]\ncity = 'Ostend'\n"
    result = invoke("config", "show", "--sources", "--json", path=[vault, broken], config=config)
    assert result.status == 0
    rows = {row.pop("key"): row for row in result.json}
    assert rows["server.host"] == {"value": "127.0.0.1", "source": "default", "where": None, "line": None}
    assert rows["server.port"]["where"] == "JACKFIELD_SERVER__PORT"
    assert rows["plugins.vault.pni"] == {"value": "Hi", "source": "file", "where": "jackfield.toml", "line": 2}
    assert rows["plugins.weather.city"] == {"value": "***", "source": "file", "where": "jackfield.toml", "line": 4}
    assert rows["plugins.demo.greeting"]["source"] == "default"
    assert "plugins.weather: no text is shown, because the plugin is quarantined (ModuleNotFoundError: " in result.err


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ("doors = [{nam = 'x'}]", "doors.0.nam: there is no such key; did you mean plugins.vault.doors.0.name?"),
        ("main.peper = 'x'", "main.peper: there is no such key; did you mean plugins.vault.main.pepper?"),
        ("others.attic.x = 1", "others.attic.x: there is no such key; there are name, pepper"),
        ("dors = []", "dors: there is no such key; did you mean plugins.vault.doors?"),
        ("lazy = ['x']", "lazy.0: Input should be a valid integer, unable to parse string as an integer"),
    ],
)
def test_an_unknown_key_inside_a_list_names_the_nearest(invoke: Invoke, vault: Path, table: str, fault: str) -> None:
    """However deep the models of a plugin's settings are."""
    result = invoke("check", "--json", path=[vault], config=f"{disabled()}[plugins.vault]\n{table}\n")
    assert [one["reason"] for one in result.json["faults"]] == [f"plugins.vault.{fault}"]
