"""`jackfield functions`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.shell import Invoke, Shell
from tests.support.installed import disabled
from tests.support.plugins import write_plugin
from tests.support.server import Server

NEIGHBOURS = '[plugins]\npolicy = "listed"\nenabled = ["neighbour", "weather"]'
GREET = """\
api.services.test.greet   unary   plugin demo
  Greet somebody, in the words of the plugin's settings.
takes
  name  string       required, at least 1 long, at most 80 long
  born  date | null  default null
gives
  text  string  required
"""


def test_the_running_server_is_asked(shell: Shell, server: Server) -> None:
    """The table shows event, kind, plugin and summary of what matches."""
    result = shell("functions", "api.system.*", "--url", server.url)
    assert result.status == 0
    assert result.out.splitlines()[0] == "EVENT                  KIND   PLUGIN  SUMMARY"
    assert "api.system.ping        unary  system  Answer `pong`." in result.out.splitlines()
    assert all(line.startswith("api.system.") for line in result.out.splitlines()[1:])
    assert result.err == f"from the running server at {server.url}\n"


def test_all_functions_as_json(invoke: Invoke, server: Server) -> None:
    """With --json it is an array of objects, sorted by event."""
    result = invoke("functions", "--json", "--url", server.url)
    assert result.status == 0
    assert len(result.json) == sum(plugin["functions"] for plugin in server.plugins.values())
    assert [row["event"] for row in result.json] == sorted(row["event"] for row in result.json)
    assert {
        "event": "api.services.test.add",
        "kind": "unary",
        "plugin": "demo",
        "summary": "Add two whole numbers.",
    } in result.json


def test_one_function_of_the_server_is_shown_whole(invoke: Invoke, server: Server) -> None:
    """What it takes and gives, as text that a person reads."""
    result = invoke("functions", "api.services.test.greet", "--url", server.url)
    assert (result.status, result.out) == (0, GREET)


@pytest.mark.parametrize(
    ("event", "takes", "gives"),
    [
        ("api.services.test.total", "takes a stream of", "gives"),
        ("api.services.test.count", "takes", "gives a stream of"),
        ("api.services.test.shout", "takes a stream of", "gives a stream of"),
    ],
)
def test_streams_are_shown_as_such(invoke: Invoke, server: Server, event: str, takes: str, gives: str) -> None:
    """What is below is one item of many."""
    result = invoke("functions", event, "--url", server.url)
    titles = [text for text in result.out.splitlines()[1:] if not text.startswith(" ")]
    assert (result.status, titles) == (0, [takes, gives])


def test_one_function_as_json_is_an_array_of_one(invoke: Invoke, server: Server) -> None:
    """With its doc, its errors and both JSON Schemas."""
    result = invoke("functions", "api.services.test.fail", "--json", "--url", server.url)
    assert result.status == 0
    assert result.json == [
        {
            "event": "api.services.test.fail",
            "kind": "unary",
            "plugin": "demo",
            "summary": "Fail on purpose, in a way that the caller is meant to see.",
            "doc": "Fail on purpose, in a way that the caller is meant to see.",
            "errors": ["failed_precondition"],
            "input": {"type": "string"},
            "output": {"type": "null"},
            "optional": True,
            "requires": None,
            "ordered": False,
            "detached": False,
            "timeout": None,
            "deprecated": None,
            "emits": {},
        }
    ]


def test_alternatives_and_scopes_are_shown(invoke: Invoke, tmp_path: Path) -> None:
    """A Buffer beside a model, and what a caller needs."""
    source = """
        from collections.abc import AsyncIterator
        from jackfield import Call, Service, hookimpl
        from pydantic import BaseModel

        class Portion(BaseModel):
            rows: list[int]

        service = Service("api.table")

        @service.function(requires=["table:write", "table:read"])
        async def load(call: Call, items: AsyncIterator[Portion | bytes]) -> Portion | bytes | None:
            return None

        @hookimpl
        def jackfield_services():
            return [service]
    """
    write_plugin(tmp_path / "site", "table", source, namespaces=["api.table"])
    result = invoke("functions", "api.table.load", config=disabled(), path=[tmp_path / "site"])
    assert result.out.splitlines() == [
        "api.table.load   client   plugin table",
        "takes a stream of",
        "  Portion | Buffer",
        "  rows  array of integer  required",
        "gives",
        "  Portion | Buffer | null",
        "  rows  array of integer  required",
        "requires",
        "  table:write, table:read",
    ]


def test_what_a_function_emits_and_that_it_is_deprecated(invoke: Invoke, tmp_path: Path) -> None:
    """As its author has declared it."""
    source = """
        from jackfield import Call, Service, hookimpl

        service = Service("api.old")

        @service.function(emits={"moved": int}, deprecated="use api.new.f")
        async def f(call: Call) -> str:
            return ""

        @hookimpl
        def jackfield_services():
            return [service]
    """
    write_plugin(tmp_path / "site", "old", source, namespaces=["api.old"])
    result = invoke("functions", "api.old.f", config=disabled(), path=[tmp_path / "site"])
    assert result.out.splitlines() == [
        "api.old.f   unary   plugin old",
        "  deprecated: use api.new.f",
        "takes",
        "  null",
        "gives",
        "  string",
        "emits moved",
        "  integer",
    ]


def test_without_a_server_the_plugins_are_loaded_here(invoke: Invoke, broken: Path, closed_port: int) -> None:
    """A broken plugin beside is named on standard error, and is in nobody's way."""
    config = '[plugins]\ndisabled = ["system", "neighbour"]'
    result = invoke("functions", "api.services.test.greet", config=config, path=[broken])
    assert (result.status, result.out) == (0, GREET)
    assert result.err.splitlines() == [
        f"no server answers at http://127.0.0.1:{closed_port}; loaded here, each plugin in a process of its own",
        "not in service: weather   → jackfield plugins list",
    ]


def test_a_namespace_is_a_pattern_too(invoke: Invoke, broken: Path) -> None:
    """A namespace lists its functions."""
    result = invoke("functions", "api.neighbour", "--json", config=NEIGHBOURS, path=[broken])
    assert result.json == [{"event": "api.neighbour.hello", "kind": "unary", "plugin": "neighbour", "summary": ""}]


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("api.services.test.ad", "api.services.test.add"),
        ("api.services.test.ping", "api.system.ping"),
        ("api.sytem", "api.system"),
    ],
)
def test_no_match_is_a_failure(invoke: Invoke, server: Server, pattern: str, near: str) -> None:
    """The nearest names are offered."""
    result = invoke("functions", pattern, "--json", "--url", server.url)
    assert (result.status, result.out) == (1, "")
    assert result.err.splitlines()[1:] == [f"✗ no function matches {pattern!r}; did you mean {near}?"]


def test_a_function_out_of_service_is_told_with_the_reason(invoke: Invoke, broken: Path) -> None:
    """Where the plugin that would serve it is quarantined, that is what is the matter."""
    result = invoke("functions", "api.weather.today", config=NEIGHBOURS, path=[broken])
    assert result.status == 1
    assert result.err.splitlines()[1:] == [
        "✗ api.weather.today: the plugin weather is quarantined: "
        f"ModuleNotFoundError: No module named 'httpx' ({broken}/plugin_weather.py:1)"
    ]
