"""`jackfield check`."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cli.shell import Hide, Invoke, Shell
from tests.support.installed import INSTALLED, disabled
from tests.support.plugins import write_plugin


def squeezed(line: str) -> str:
    """Return a line with two spaces between its columns, however wide these are."""
    return re.sub(r"  +", "  ", line)


def test_all_is_well(invoke: Invoke, tmp_path: Path) -> None:
    """Without a fault the status is 0, and the last line says what there is; disabled plugins are no fault."""
    write_plugin(tmp_path, "away", "raise SystemExit")
    config = disabled("demo", "files", "system").replace("= [", '= ["away", ')
    result = invoke("check", config=config, path=[tmp_path])
    assert (result.status, result.err) == (0, "")
    first, *rows, last = result.out.splitlines()
    assert first.split() == ["✓", "configuration", "jackfield.toml"]
    told = {row.split()[1]: row.split() for row in rows}
    assert list(told) == ["away", *INSTALLED]
    demo, files, system = (told.pop(name) for name in ("demo", "files", "system"))
    assert list(told.values()) == [
        ["-", "away", "1.0", "disabled"],
        *(["-", name, "0.1.0", "disabled"] for name in INSTALLED if name not in ("demo", "files", "system")),
    ]
    assert demo[:4] == ["✓", "demo", "0.1.0", "api.services.test,"]
    assert files == ["✓", "files", "0.1.0", "api.files,", "7", "functions"]
    assert system[:4] == ["✓", "system", "0.1.0", "api.system,"]
    assert last.startswith("all is well: 3 plugins, ")


def test_every_fault_is_told_at_once(shell: Shell, tmp_path: Path, broken: Path) -> None:
    """Plugins that cannot be loaded, settings that do not fit, names that are not installed: all in one go."""
    write_plugin(tmp_path, "quitter", "import os\nos._exit(0)")
    write_plugin(tmp_path, "future", "", requires=["jackfield>=9"])
    config = '[plugins]\nenabled = ["ghost"]\ndisabled = ["system", "neighbour"]\n[plugins.demo]\ngrting = "Hi"\n'
    result = shell("check", config=config, path=[tmp_path, broken])
    assert result.status == 1
    assert [squeezed(line) for line in result.out.splitlines() if line.startswith("✗")] == [
        "✗  demo 0.1.0  quarantined: plugins.demo.grting: there is no such key; did you mean plugins.demo.greeting?",
        "✗  future 1.0  refused: it needs jackfield >=9, this is 0.1.0",
        "✗  quitter 1.0  quarantined: it ended its process with status 0 while it was loaded",
        "✗  weather 1.0  quarantined: ModuleNotFoundError: No module named 'httpx' "
        f"({broken}/plugin_weather.py:1)  → pip install httpx",
    ]
    assert result.err.splitlines() == ["✗ plugins.enabled: no plugin 'ghost' is installed", "✗ 5 faults"]


def test_a_folder_can_be_checked(invoke: Invoke, tmp_path: Path, broken: Path) -> None:
    """PATH is a folder with a jackfield.toml or the file; with --json the faults are an array."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "jackfield.toml").write_text('[plugins]\npolicy = "listed"\nenabled = ["weather"]', encoding="utf-8")
    result = invoke("check", folder, "--json", path=[broken])
    assert result.status == 1
    assert result.json["ok"] is False
    assert result.json["file"] == str(folder / "jackfield.toml")
    assert result.json["faults"] == [
        {
            "plugin": "weather",
            "kind": "ModuleNotFoundError",
            "reason": f"ModuleNotFoundError: No module named 'httpx' ({broken}/plugin_weather.py:1)",
            "hint": "pip install httpx",
        }
    ]
    assert {row["name"]: row["state"] for row in result.json["plugins"]} == {
        **dict.fromkeys((*INSTALLED, "neighbour"), "refused"),
        "weather": "quarantined",
    }


def test_the_file_may_be_given_as_with_other_commands(invoke: Invoke, tmp_path: Path) -> None:
    """With --config, or as PATH; not both."""
    (tmp_path / "other.toml").write_text("[sever]\n", encoding="utf-8")
    said = ["✗ sever: there is no such key; did you mean server? (other.toml)"]
    for arguments in (["-c", "other.toml"], ["--config", "other.toml"], ["other.toml"]):
        result = invoke("check", *arguments, config="")
        assert (result.status, result.err.splitlines()[:1]) == (1, said)
    result = invoke("check", "other.toml", "-c", "other.toml", config="")
    assert (result.status, result.err.splitlines()[-1]) == (2, "Error: PATH and --config exclude each other.")


def test_a_folder_without_a_file_is_a_fault(invoke: Invoke, tmp_path: Path) -> None:
    """Somebody who names a folder expects a configuration in it."""
    (tmp_path / "empty").mkdir()
    result = invoke("check", "empty")
    assert (result.status, result.out) == (1, "")
    assert result.err.splitlines()[0] == "✗ empty/jackfield.toml cannot be read: No such file or directory"


def test_a_wrong_configuration_is_told_for_programs_too(invoke: Invoke) -> None:
    """With --json the sentences are on standard output as well."""
    result = invoke("check", "--json", config="[sever]\n")
    assert result.status == 1
    assert result.json == {
        "ok": False,
        "file": None,
        "faults": [
            {
                "plugin": None,
                "kind": "StartError",
                "reason": "sever: there is no such key; did you mean server? (jackfield.toml)",
                "hint": None,
            }
        ],
        "warnings": [],
        "plugins": [],
    }


def test_two_plugins_that_are_one_are_told(invoke: Invoke, tmp_path: Path) -> None:
    """What a server would see when it has loaded both is seen although each is loaded apart."""
    write_plugin(tmp_path, "one", "")
    write_plugin(tmp_path, "two", "", target="plugin_one")
    result = invoke("check", config=disabled(), path=[tmp_path])
    assert result.status == 1
    assert [squeezed(line) for line in result.out.splitlines() if not line.startswith("-")] == [
        "✓  configuration  jackfield.toml",
        "✓  one 1.0  hooks alone",
        "✗  two 1.0  quarantined: its entry point names what the plugin one is already: plugin_one",
    ]


def test_what_a_server_could_not_listen_with_is_a_fault(invoke: Invoke, unloadable: Hide, closed_port: int) -> None:
    """TLS files, an address of another machine, a log that cannot be written; not that the port is taken."""
    config = disabled() + '[server]\nhost = "192.0.2.1"\ntls_certificate = "no.pem"\n[log]\nformat = "json"\n'
    result = invoke("check", "--json", path=[unloadable("structlog")], config=config)
    assert result.status == 1
    assert [fault["reason"] for fault in result.json["faults"]] == [
        'log.format "json" needs structlog: pip install structlog, or "jackfield[standard]" (log.format)',
        "cannot serve TLS: no.pem: No such file or directory (server.tls_certificate)",
        f"cannot listen on 192.0.2.1:{closed_port}: Cannot assign requested address (server.host, server.port)",
    ]
    result = invoke("check", "--json", config=disabled() + '[server]\nunix = "nowhere/socket"\n')
    assert [fault["reason"] for fault in result.json["faults"]] == [
        "cannot listen on nowhere/socket: there is no folder nowhere (server.unix)"
    ]


def test_a_rule_that_matches_nothing_is_told_and_no_fault(invoke: Invoke, closed_port: int) -> None:
    """A mistyped pattern protects nothing; of what is not loaded nobody knows."""
    rules = f"""{disabled("demo")}
[[access.rules]]
functions = ["api.services.*", "api.servces.*", "api.files.*"]
deny = true
[[bulkhead.rules]]
functions = "api.services.test.cuont"
calls = 1
"""
    result = invoke("check", "--json", config=rules)
    assert result.json["faults"] == []
    assert result.json["warnings"] == [
        "access.rules.0.functions: 'api.servces.*' matches no function",
        "bulkhead.rules.0.functions: 'api.services.test.cuont' matches no function",
    ]
    result = invoke("check")
    assert result.status == 0
    assert result.err.splitlines()[0] == "! access.rules.0.functions: 'api.servces.*' matches no function"


def test_what_nobody_may_call_is_told(invoke: Invoke) -> None:
    """Where clients say who they are, functions of which neither author nor operator speaks are closed to all."""
    config = f"""{disabled("demo", "jwt")}
[plugins.jwt]
algorithms = ["HS256"]
secret = "0123456789abcdef0123456789abcdef"
issuer = "here"
audience = "us"
"""
    closed = "nobody may call 17 of its functions: their author names no scope, and no rule of access.rules opens them"
    assert invoke("check", "--json", config=config).json["warnings"] == [f"api.services.test: {closed}"]
    opened = invoke("check", "--json", config=f'{config}[[access.rules]]\nfunctions = "api.services.*"\n')
    assert (opened.json["faults"], opened.json["warnings"]) == ([], [])


def test_what_the_configuration_builds_upon_has_to_be_there(invoke: Invoke) -> None:
    """A plugin that is required and switched off, and rules for callers whom nobody knows, as a server says it."""
    config = """
[plugins]
policy = "listed"
enabled = ["demo"]
required = ["files", "demo"]
[[access.rules]]
functions = "api.services.*"
requires = "staff"
"""
    result = invoke("check", "--json", config=config)
    assert result.status == 1
    assert [fault["reason"] for fault in result.json["faults"]] == [
        "plugin files is refused (plugins.required)",
        "access.rules say who may call what, but no plugin in service says who is calling",
    ]
