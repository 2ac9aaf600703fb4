"""The configuration: a file, under variables, under flags; what is wrong with it is told all at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from jackfield._configuration import explain, load, unknown_key
from jackfield._errors import StartError
from jackfield._settings import Settings


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run where there is no configuration."""
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "jackfield.toml") -> Path:
    """Write a configuration file here."""
    file = Path(name)
    file.write_text(text, encoding="utf-8")
    return file


def faults(text: str = "", flags: Mapping[str, Mapping[str, object]] | None = None, **environ: str) -> tuple[str, ...]:
    """Return what is wrong with a configuration."""
    write(text)
    with pytest.raises(StartError) as caught:
        load(flags=flags, environ=environ)
    return caught.value.faults


# ------------------------------------------------------------------- where values come from


def test_without_anything_the_defaults_hold() -> None:
    """And they are safe: this machine only, no page of a stranger, every plugin that was installed."""
    settings = load(environ={})
    assert settings == Settings()
    assert settings.file is None
    assert (settings.server.host, settings.server.port, settings.server.cors_origins) == ("127.0.0.1", 8000, ())
    assert (settings.plugins.policy, settings.plugins.strict, settings.plugins.tables) == ("all", False, {})


def test_variables_win_over_the_file_and_flags_over_both() -> None:
    """Each layer changes only what it names."""
    write('[server]\nhost = "file"\nport = 1\npath = "/file"\n[log]\nlevel = "debug"\n')
    environ = {"JACKFIELD_SERVER__PORT": "2", "JACKFIELD_SERVER__PATH": "/variable", "OTHER": "x"}
    server = load(flags={"server": {"path": "/flag", "port": None}}, environ=environ).server
    assert (server.host, server.port, server.path) == ("file", 2, "/flag")
    assert load(environ=environ).log.level == "debug"


def test_the_file_can_be_named() -> None:
    """By the caller, or by a variable; the caller wins, and what is here by chance is not read."""
    write("[server]\nport = 1")
    one, two = write("[server]\nport = 2", "one.toml"), write("[server]\nport = 3", "two.toml")
    environ = {"JACKFIELD_CONFIG": str(two)}
    assert load(environ={}).server.port == 1
    assert load(environ=environ).server.port == 3
    settings = load(one, environ=environ)
    assert (settings.server.port, settings.file) == (2, one)


def test_the_process_s_own_variables_are_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no others are given."""
    monkeypatch.setenv("JACKFIELD_SERVER__PORT", "4321")
    assert load().server.port == 4321


@pytest.mark.parametrize(
    ("variable", "value", "table", "key", "expected"),
    [
        ("JACKFIELD_SERVER__PORT", "4321", "server", "port", 4321),
        ("JACKFIELD_SERVER__CORS_ORIGINS", '["https://a.example"]', "server", "cors_origins", ("https://a.example",)),
        ("JACKFIELD_PLUGINS__DISABLED", '["one", "two"]', "plugins", "disabled", ("one", "two")),
        ("JACKFIELD_PLUGINS__STRICT", "true", "plugins", "strict", True),
        ("JACKFIELD_LIMITS__CALL_TIMEOUT", "0.5", "limits", "call_timeout", 0.5),
        ("JACKFIELD_LOG__LEVEL", "error", "log", "level", "error"),
    ],
)
def test_a_variable_for_every_kind(variable: str, value: str, table: str, key: str, expected: object) -> None:
    """Numbers, words, yes and no, and lists as JSON."""
    assert getattr(getattr(load(environ={variable: value}), table), key) == expected


def test_the_tables_of_plugins_are_kept_as_they_are() -> None:
    """From the file and from variables, merged; their own models look at them later."""
    write('[plugins.demo]\ngreeting = "Hi"\nsize = 1\n[plugins.demo.inner]\na = 1\n[plugins.empty]\n')
    environ = {"JACKFIELD_PLUGINS__DEMO__SIZE": "2", "JACKFIELD_PLUGINS__OTHER__KEY": "x"}
    assert load(environ=environ).plugins.tables == {
        "demo": {"greeting": "Hi", "size": "2", "inner": {"a": 1}},
        "empty": {},
        "other": {"key": "x"},
    }


def test_lists_of_plugins_are_written_as_json_too(tmp_path: Path) -> None:
    """In variables and in files of secrets; what is no JSON, and what stands in the file, stays the text that it is."""
    write('[plugins.redis]\nprefix = "[1]"\n')
    (tmp_path / "jackfield_plugins__redis__keys").write_text('["sixteen letters at least"]')
    environ = {
        "JACKFIELD_SECRETS_DIR": str(tmp_path),
        "JACKFIELD_PLUGINS__RATELIMIT__RULES": '[{"functions": "*", "rate": 5}]',
        "JACKFIELD_PLUGINS__DEMO__GREETING": "[so to speak]",
        "JACKFIELD_PLUGINS__DEMO__SECRET": '{"type": "text"}',
    }
    assert load(environ=environ).plugins.tables == {
        "redis": {"prefix": "[1]", "keys": ["sixteen letters at least"]},
        "ratelimit": {"rules": [{"functions": "*", "rate": 5}]},
        "demo": {"greeting": "[so to speak]", "secret": '{"type": "text"}'},
    }


def test_settings_are_frozen() -> None:
    """Nothing changes them once they are read."""
    settings = load(environ={})
    with pytest.raises(ValidationError):
        settings.server.port = 1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        settings.server = settings.server  # type: ignore[misc]


def test_secrets_can_come_from_files() -> None:
    """Named as the variables are, in lower case; a variable wins over its file."""
    folder = Path("secrets")
    folder.mkdir()
    (folder / "jackfield_server__host").write_text("secret\n")
    (folder / "jackfield_plugins__demo__password").write_text("1234")
    write('[server]\nhost = "file"\n')
    environ = {"JACKFIELD_SECRETS_DIR": str(folder)}
    settings = load(environ=environ)
    assert (settings.server.host, settings.plugins.tables) == ("secret", {"demo": {"password": "1234"}})
    assert load(environ={**environ, "JACKFIELD_SERVER__HOST": "variable"}).server.host == "variable"


# ------------------------------------------------------------------- what is wrong


def test_every_fault_of_a_file_is_told_at_once() -> None:
    """With the whole key, the nearest known one where it is unknown, and the file."""
    text = '[server]\nport = 99999\nhsot = "a"\n[limit]\ndepth = 1\n[limits]\ndepth = 999\n[log]\nlevel = "loud"\n'
    assert faults(text) == (
        "server.port: Input should be less than or equal to 65535 (jackfield.toml)",
        "server.hsot: there is no such key; did you mean server.host? (jackfield.toml)",
        "limits.depth: Input should be less than or equal to 128 (jackfield.toml)",
        "log.level: Input should be 'debug', 'info', 'warning' or 'error' (jackfield.toml)",
        "limit: there is no such key; did you mean limits? (jackfield.toml)",
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "xyz = 1",
            "xyz: there is no such key; there are server, limits, plugins, access, quarantine, bulkhead, watchdog, log "
            "(jackfield.toml)",
        ),
        ("server = 1", "server: Input should be a table (jackfield.toml)"),
        (
            "[plugins]\nenabeld = true",
            "plugins.enabeld: there is no such key; did you mean plugins.enabled? (jackfield.toml)",
        ),
        (
            '[plugins]\npolicy = "some"',
            "plugins.policy: Input should be 'all' or 'listed' (jackfield.toml)",
        ),
        ('[plugins]\nenabled = "demo"', "plugins.enabled: Input should be a list (jackfield.toml)"),
        ("[server]\nstart_timeout = 0", "server.start_timeout: Input should be greater than 0 (jackfield.toml)"),
        ("[server]\ntransports = []", "server.transports: "),
        (
            '[server]\npath = "socket.io"',
            "server.path: a path begins with / and has letters, digits and . _ ~ - only (jackfield.toml)",
        ),
    ],
)
def test_a_fault_of_a_file(text: str, fault: str) -> None:
    """The key, what was expected, and the file."""
    (told,) = faults(text)
    assert told == fault or (fault.endswith(": ") and told.startswith(fault))


def test_a_file_that_cannot_be_read() -> None:
    """It is missing, a folder, no TOML, or no UTF-8."""
    Path("folder").mkdir()
    for name, problem in (("missing.toml", "No such file or directory"), ("folder", "Is a directory")):
        with pytest.raises(StartError) as caught:
            load(Path(name), environ={})
        assert caught.value.faults == (f"{name} cannot be read: {problem}",)
    with pytest.raises(StartError) as caught:
        load(environ={"JACKFIELD_CONFIG": "missing.toml"})
    assert caught.value.faults == ("missing.toml cannot be read: No such file or directory",)
    assert faults("[server\n")[0].startswith("jackfield.toml is not valid TOML: ")
    Path("jackfield.toml").write_bytes(b'[server]\nhost = "\xff"\n')
    with pytest.raises(StartError) as caught:
        load(environ={})
    assert caught.value.faults[0].startswith("jackfield.toml is not valid TOML: 'utf-8' codec can't decode byte 0xff")


def test_unknown_variables_are_faults_too() -> None:
    """Together with those of the file; the nearest is named, and variables of others are not looked at."""
    environ = dict.fromkeys(["JACKFIELD_SERVER__PRT", "JACKFIELD_PLUGINS__ENABLD", "JACKFIELDS", "OTHER__PORT"], "1")
    assert faults("[server]\nprot = 1", None, **environ) == (
        "JACKFIELD_PLUGINS__ENABLD: there is no such setting; did you mean JACKFIELD_PLUGINS__ENABLED?",
        "JACKFIELD_SERVER__PRT: there is no such setting; did you mean JACKFIELD_SERVER__PORT?",
        "server.prot: there is no such key; did you mean server.port? (jackfield.toml)",
    )


def test_a_list_in_a_variable_is_json() -> None:
    """What is none is refused with an example."""
    assert faults(JACKFIELD_PLUGINS__DISABLED="one,two") == (
        """JACKFIELD_PLUGINS__DISABLED: a list is written as JSON, such as '["one", "two"]'""",
    )


def test_a_value_of_a_variable_is_checked() -> None:
    """As one of the file is."""
    with pytest.raises(StartError) as caught:
        load(environ={"JACKFIELD_SERVER__PORT": "high", "JACKFIELD_LIMITS": '{"dept": 1}'})
    assert caught.value.faults == (
        "server.port: Input should be a valid integer, unable to parse string as an integer (JACKFIELD_SERVER__PORT)",
        "limits.dept: there is no such key; did you mean limits.depth? (JACKFIELD_LIMITS)",
    )


def test_the_folder_of_secrets_must_be_there() -> None:
    """A name that leads nowhere is a fault, not no secrets."""
    assert faults(JACKFIELD_SECRETS_DIR="nowhere") == ("JACKFIELD_SECRETS_DIR: nowhere is no folder",)


# ------------------------------------------------------------------- sentences


class Inner(BaseModel, extra="forbid"):
    """A table in a table."""

    depth: int = 0


class Outer(BaseModel, extra="forbid"):
    """The settings of some plugin."""

    name: str
    inner: Inner = Inner()


def test_faults_of_a_plugin_s_settings() -> None:
    """The full key, through tables in tables."""
    data: dict[str, Any] = {"nmae": "x", "inner": {"dept": 1, "depth": "deep"}}
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(data)
    assert list(explain(caught.value, Outer, "plugins.some")) == [
        "plugins.some.name: Field required",
        "plugins.some.inner.depth: Input should be a valid integer, unable to parse string as an integer",
        "plugins.some.inner.dept: there is no such key; did you mean plugins.some.inner.depth?",
        "plugins.some.nmae: there is no such key; did you mean plugins.some.name?",
    ]


@pytest.mark.parametrize(
    ("key", "known", "sentence"),
    [
        ("prot", ["port", "host"], "prot: there is no such key; did you mean port?"),
        ("a.b.prot", ["port", "host"], "a.b.prot: there is no such key; did you mean a.b.port?"),
        ("xyz", ["port", "host"], "xyz: there is no such key; there are port, host"),
        ("xyz", [], "xyz: there is no such key; there are none"),
    ],
)
def test_the_sentence_for_an_unknown_key(key: str, known: list[str], sentence: str) -> None:
    """The nearest of those beside it, or all of them."""
    assert unknown_key(key, known) == sentence


def test_a_wrong_value_names_the_variable_that_it_came_from(tmp_path: Path) -> None:
    """A fault is blamed on the variable that won, and on the file where no variable did."""
    file = tmp_path / "jackfield.toml"
    file.write_text("[server]\nport = 1\nhost = 5\n", encoding="utf-8")
    with pytest.raises(StartError) as raised:
        load(file, environ={"JACKFIELD_SERVER__PORT": "x", "JACKFIELD_LOG__LEVEL": "loud"})
    assert raised.value.faults == (
        f"server.host: Input should be a valid string ({file})",
        "server.port: Input should be a valid integer, unable to parse string as an integer (JACKFIELD_SERVER__PORT)",
        "log.level: Input should be 'debug', 'info', 'warning' or 'error' (JACKFIELD_LOG__LEVEL)",
    )
