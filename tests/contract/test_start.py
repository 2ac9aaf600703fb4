"""A plugin that does not keep the contract that it carries: the server says so when it starts, and so does `check`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.shell import Shell
from tests.contract.projects import unpack
from tests.support.installed import disabled
from tests.support.server import serving

PLACE = "jackfield_seats-1.0.dist-info/extra_metadata/jackfield-contract.json"
CONFIG = disabled()
ABOUT = "plugin seats does not keep the contract that it carries:"


def _edit(site: Path, old: str, new: str) -> None:
    file = site / "jackfield_seats/__init__.py"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def _warnings(log: str) -> list[str]:
    return [line for line in log.splitlines() if "contract" in line]


def test_a_plugin_that_keeps_its_contract_is_not_spoken_of(tmp_path: Path, installed: Path) -> None:
    """Nor is one that carries none."""
    with serving(tmp_path / "server", path=[installed]) as server:
        assert server.plugins["seats"]["state"] == "started"
        assert server.stop() == 0
        assert _warnings(server.log) == []


def test_the_server_names_function_and_rule(tmp_path: Path, installed: Path) -> None:
    """In its log, at the start; the plugin is in service all the same."""
    _edit(installed, 'note: str = ""', "note: str")
    _edit(installed, "async def free", "async def vacant")
    with serving(tmp_path / "server", path=[installed], config=CONFIG) as server:
        assert server.plugins["seats"]["state"] == "started"
        said = _warnings(server.log)
        assert [re.sub(r"^\S+ ", "", line) for line in said] == [
            f"WARNING jackfield.plugins  {ABOUT} api.seats.book: input-field-required: data.note: optional → required. "
            "Callers who leave the field out are refused.",
            f"WARNING jackfield.plugins  {ABOUT} api.seats.free: function-removed: "
            "Calls to it are answered with not_found.",
        ]


def test_a_change_that_breaks_nobody_is_not_spoken_of(tmp_path: Path, installed: Path) -> None:
    """A contract is what is promised at the least."""
    _edit(installed, "row: int", "row: int\n    grade: int = 2")
    with serving(tmp_path / "server", path=[installed], config=CONFIG) as server:
        assert server.stop() == 0
        assert _warnings(server.log) == []


@pytest.mark.parametrize("text", ["{", '{"contract": 2, "plugins": []}'], ids=["broken", "newer"])
def test_a_contract_that_cannot_be_read_stops_nothing(tmp_path: Path, installed: Path, text: str) -> None:
    """It is told of."""
    (installed / PLACE).write_text(text)
    with serving(tmp_path / "server", path=[installed], config=CONFIG) as server:
        assert server.plugins["seats"]["state"] == "started"
        assert "the contract that jackfield-seats carries is" in server.log


def test_check_reports_it_as_a_fault(shell: Shell, installed: Path) -> None:
    """With what is broken below, and as a fault of the plugin in JSON."""
    _edit(installed, "-> int", "-> str")
    result = shell("check", config=CONFIG, path=[installed])
    assert result.status == 1
    row, change = [line for line in result.out.splitlines() if "seats" in line]
    assert row.split()[:3] == ["✗", "seats", "1.0"]
    assert "does not keep the contract that it carries   → install a wheel that was built" in row
    assert change.strip().startswith("api.seats.free: output-widened: result: integer → string")
    assert result.err == "✗ 1 fault\n"
    [fault] = shell("check", "--json", config=CONFIG, path=[installed]).json["faults"]
    assert (fault["plugin"], fault["kind"]) == ("seats", "BrokenContract")
    assert fault["reason"].startswith("api.seats.free: output-widened: ")


def test_check_has_nothing_to_say_of_one_that_keeps_it(shell: Shell, installed: Path) -> None:
    """Nor of those without."""
    result = shell("check", path=[installed])
    assert (result.status, result.err) == (0, "")


def test_a_contract_of_others_is_none_of_its_own(tmp_path: Path, shell: Shell, wheel: Path) -> None:
    """A plugin is compared with what is written under its name alone."""
    site = unpack(wheel, tmp_path / "other")
    contract = json.loads((site / PLACE).read_text())
    contract["plugins"][0]["name"] = "stalls"
    (site / PLACE).write_text(json.dumps(contract))
    assert shell("check", config=CONFIG, path=[site]).status == 0
