"""`jackfield diff`: what it says, and with which status it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import Invoke, Shell
from tests.support.plugins import NEIGHBOUR, write_plugin
from tests.support.server import Server, serving

FUNCTION: dict[str, Any] = {"kind": "unary", "input": {"type": "string"}, "output": {"type": "integer"}}


def _write(path: Path, functions: dict[str, Any], namespace: str = "api.seats", **plugin: Any) -> None:
    named = {"name": "seats", "version": "1", "namespaces": [namespace], **plugin}
    served = {f"{namespace}.{name}": function for name, function in functions.items()}
    path.write_text(json.dumps({"contract": 1, "plugins": [{**named, "functions": served}]}), encoding="utf-8")


def test_nothing_has_changed(invoke: Invoke, tmp_path: Path) -> None:
    """Status 0."""
    _write(tmp_path / "old.json", {"f": FUNCTION})
    result = invoke("diff", "old.json", "old.json")
    assert (result.status, result.out, result.err) == (0, "no change\n", "")


def test_what_breaks_comes_first(invoke: Invoke, tmp_path: Path) -> None:
    """A line each: the rule, where, what, why. Status 1."""
    _write(tmp_path / "old.json", {"f": FUNCTION, "g": FUNCTION, "h": FUNCTION})
    new = {**FUNCTION, "input": {"type": "string", "maxLength": 5}, "errors": ["aborted"]}
    _write(tmp_path / "new.json", {"e": FUNCTION, "f": new, "h": {**FUNCTION, "deprecated": "use e"}})
    result = invoke("diff", "old.json", "new.json")
    assert result.status == 1
    assert result.out.splitlines() == [
        "✗  input-narrowed    api.seats.f  data: without a limit → at most 5 long. "
        "Callers may send what was allowed and is refused now.",
        "✗  error-added       api.seats.f  aborted. Callers may get an error that they were not told of.",
        "✗  function-removed  api.seats.g  Calls to it are answered with not_found.",
        "✓  function-added    api.seats.e  Nobody calls it yet.",
        "✓  deprecated        api.seats.h  use e. It works as before, and its author asks for another to be used.",
        "5 changes, 3 of which break callers",
    ]
    only = invoke("diff", "old.json", "new.json", "--breaking").out.splitlines()
    assert [row[0] for row in only] == ["✗", "✗", "✗", "5"]


def test_what_breaks_nobody(invoke: Invoke, tmp_path: Path) -> None:
    """Status 0, and what has changed is told."""
    _write(tmp_path / "old.json", {"f": FUNCTION})
    _write(tmp_path / "new.json", {"f": FUNCTION, "g": FUNCTION})
    result = invoke("diff", "old.json", "new.json")
    assert result.status == 0
    assert result.out.splitlines()[-1] == "1 change, none of which breaks callers"


def test_as_json(invoke: Invoke, tmp_path: Path) -> None:
    """All that there is of each change."""
    _write(tmp_path / "old.json", {"f": FUNCTION})
    _write(tmp_path / "new.json", {"f": {**FUNCTION, "output": {"type": "number"}}})
    result = invoke("diff", "old.json", "new.json", "--json")
    assert result.status == 1
    assert result.json == {
        "breaking": True,
        "changes": [
            {
                "rule": "output-widened",
                "breaking": True,
                "where": "api.seats.f",
                "path": ["result"],
                "was": "integer",
                "now": "number",
                "reason": "Callers may get what they were never told of.",
            }
        ],
    }


def test_namespaces_come_and_go_as_wholes(invoke: Invoke, tmp_path: Path) -> None:
    """Their functions are not told one by one."""
    _write(tmp_path / "old.json", {"f": FUNCTION, "g": FUNCTION})
    _write(tmp_path / "new.json", {"f": FUNCTION}, namespace="api.stalls")
    result = invoke("diff", "old.json", "new.json", "--json")
    assert [(one["rule"], one["where"]) for one in result.json["changes"]] == [
        ("namespace-removed", "api.seats"),
        ("namespace-added", "api.stalls"),
    ]


def test_another_kernel_breaks_nobody(invoke: Invoke, tmp_path: Path) -> None:
    """Operators are told."""
    _write(tmp_path / "old.json", {}, distribution="seats", kernel=">=0.1")
    _write(tmp_path / "new.json", {}, distribution="seats", kernel=">=0.2")
    result = invoke("diff", "old.json", "new.json", "--json")
    assert [(one["rule"], one["was"], one["now"]) for one in result.json["changes"]] == [
        ("kernel-changed", ">=0.1", ">=0.2")
    ]


def test_a_function_may_move_to_another_plugin(invoke: Invoke, tmp_path: Path) -> None:
    """Callers know events, and no plugins."""
    _write(tmp_path / "old.json", {"f": FUNCTION})
    _write(tmp_path / "new.json", {"f": FUNCTION}, name="stalls")
    assert invoke("diff", "old.json", "new.json").out == "no change\n"


def test_what_is_undecidable_breaks(invoke: Invoke, tmp_path: Path) -> None:
    """Schemas by hand may say what is not followed; where both say the same there is nothing to decide."""
    one, other = ({**FUNCTION, "input": {"type": "string", "not": {"const": word}}} for word in "ab")
    _write(tmp_path / "old.json", {"f": one, "g": one})
    _write(tmp_path / "new.json", {"f": other, "g": one})
    result = invoke("diff", "old.json", "new.json")
    assert result.status == 1
    assert result.out.splitlines() == [
        "✗  cannot-tell  api.seats.f  data: 'not' of one kind → 'not' of another. "
        "It cannot be decided whether the new contract keeps what the old one promised.",
        "1 change, 1 of which breaks callers",
    ]


def test_schemas_that_lead_nowhere_or_in_a_circle(invoke: Invoke, tmp_path: Path) -> None:
    """Nobody can tell."""
    nowhere = {**FUNCTION, "input": {"$ref": "#/$defs/Nowhere"}}
    circle = {**FUNCTION, "input": {"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}]}}}}
    _write(tmp_path / "old.json", {"f": FUNCTION, "g": FUNCTION})
    _write(tmp_path / "new.json", {"f": nowhere, "g": circle})
    result = invoke("diff", "old.json", "new.json", "--json")
    assert result.status == 1
    assert {one["where"] for one in result.json["changes"] if one["rule"] == "cannot-tell"} == {
        "api.seats.f",
        "api.seats.g",
    }


@pytest.mark.parametrize("arguments", [["old.json"], [], ["a", "b", "c"], ["old.json", "old.json", "--nosuch"]])
def test_a_wrong_command(invoke: Invoke, tmp_path: Path, arguments: list[str]) -> None:
    """Status 2."""
    _write(tmp_path / "old.json", {})
    assert invoke("diff", *arguments).status == 2


def test_what_cannot_be_read_is_no_break(invoke: Invoke, tmp_path: Path, closed_port: int) -> None:
    """Status 2, so that 1 always means that something breaks."""
    _write(tmp_path / "old.json", {})
    for new in ("gone.json", "gone.whl", "nosuchplugin", f"http://127.0.0.1:{closed_port}"):
        result = invoke("diff", "old.json", new)
        assert (result.status, result.out) == (2, "")
        assert result.err.startswith("✗ ")


def test_a_plugin_with_the_server_in_which_it_runs(shell: Shell, server: Server) -> None:
    """In both directions; of the server only that plugin counts."""
    assert shell("diff", server.url, "demo").out == "no change\n"
    assert shell("diff", "demo", server.url).out == "no change\n"


def test_a_new_version_with_the_server_that_runs_the_old_one(shell: Shell, tmp_path: Path) -> None:
    """Whether it may be deployed."""
    old = write_plugin(tmp_path / "old", "neighbour", NEIGHBOUR, namespaces=["api.neighbour"])
    changed = NEIGHBOUR.replace('-> str:\n        return "still here"', "-> str | None:\n        return None")
    new = write_plugin(tmp_path / "new", "neighbour", changed, namespaces=["api.neighbour"], version="2.0")
    with serving(tmp_path / "server", path=[old]) as server:
        result = shell("diff", server.url, "neighbour", path=[new])
    assert result.status == 1
    assert result.out.splitlines()[0].startswith("✗  output-widened  api.neighbour.hello  result: string → null")
