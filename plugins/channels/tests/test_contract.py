"""What every plugin owes to the server that installs it."""

from __future__ import annotations

from pathlib import Path

from jackfield.testing import assert_plugin_contract


def test_it_keeps_the_contract() -> None:
    """Described, started and stopped without a trace, and silent while it is switched off."""
    assert_plugin_contract("channels", project=Path(__file__).parent)


def test_it_keeps_the_contract_with_a_file(tmp_path: Path) -> None:
    """Of which nothing stays open."""
    settings = {"path": str(tmp_path / "channels.sqlite3"), "rules": [{"match": "*", "history": 10, "presence": True}]}
    assert_plugin_contract("channels", settings=settings, project=Path(__file__).parent)
