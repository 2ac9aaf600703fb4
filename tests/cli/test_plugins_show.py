"""`jackfield plugins show`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.shell import Invoke
from tests.support.plugins import write_plugin
from tests.support.server import Server


def test_a_plugin_is_shown_whole(invoke: Invoke, broken: Path) -> None:
    """Manifest, state and functions of a plugin that was loaded here."""
    result = invoke("plugins", "show", "neighbour", path=[broken])
    assert result.status == 0
    assert result.out.splitlines() == [
        "neighbour 1.0   loaded",
        "  The plugin neighbour",
        "  distribution  jackfield-neighbour",
        "  namespaces    api.neighbour",
        "  module        plugin_neighbour",
        "  kernel        any",
        "  requires      -",
        "  functions",
        "    api.neighbour.hello  unary",
    ]


def test_a_plugin_of_the_running_server_is_shown_with_its_manifest(invoke: Invoke, server: Server) -> None:
    """What the server does not tell is taken from the metadata here, where it is the same plugin."""
    result = invoke("plugins", "show", "system", "--url", server.url)
    assert result.status == 0
    assert result.out.splitlines()[:9] == [
        "system 0.1.0   started",
        "  The system plugin of jackfield: asks a running server what it offers and how it is",
        "  distribution  jackfield-system",
        "  namespaces    api.system",
        "  module        jackfield_system",
        "  kernel        jackfield <0.2,>=0.1",
        "  requires      pydantic",
        "  functions",
        "    api.system.describe    unary  Describe one function: its kind, the JSON Schemas of its input and output, "
        "its doc, its errors.",
    ]
    assert result.err == f"from the running server at {server.url}\n"


def test_a_broken_plugin_is_shown_with_its_reason(invoke: Invoke, broken: Path) -> None:
    """Whatever keeps it out of service is there, for programs too; it can be named with its distribution."""
    result = invoke("plugins", "show", "jackfield-weather:weather", "--json", path=[broken])
    assert result.status == 0
    assert result.json == {
        "name": "weather",
        "distribution": "jackfield-weather",
        "version": "1.0",
        "summary": "The plugin weather",
        "state": "quarantined",
        "namespaces": ["api.weather"],
        "functions": [],
        "reason": f"ModuleNotFoundError: No module named 'httpx' ({broken}/plugin_weather.py:1)",
        "kind": "ModuleNotFoundError",
        "hint": "pip install httpx",
        "target": "plugin_weather",
        "requires_kernel": "",
        "requires": [],
    }


def test_only_what_the_plugin_needs_is_loaded(invoke: Invoke, tmp_path: Path, broken: Path) -> None:
    """Of the others only those that it depends on are loaded."""
    write_plugin(tmp_path, "marking", f"open({str(tmp_path / 'imported')!r}, 'w')")
    write_plugin(tmp_path, "needy", "", requires=["jackfield", "jackfield-weather"])
    result = invoke("plugins", "show", "needy", path=[tmp_path, broken])
    assert result.out.splitlines()[:2] == [
        "needy 1.0   quarantined",
        "  ✗ it needs the plugin weather, which is quarantined",
    ]
    assert not (tmp_path / "imported").exists()


def test_an_unknown_plugin_is_a_failure(invoke: Invoke) -> None:
    """The nearest name is offered."""
    result = invoke("plugins", "show", "dmo", "--no-load")
    assert result.status == 1
    assert result.out == ""
    assert result.err.splitlines()[1:] == ["✗ no plugin 'dmo' is installed; did you mean 'demo'?"]
