"""What every plugin owes to the server that installs it."""

from __future__ import annotations

from pathlib import Path

from jackfield.testing import assert_plugin_contract


def test_it_keeps_the_contract() -> None:
    """Described, started and stopped without a trace, and silent while it is switched off."""
    assert_plugin_contract("idempotency", project=Path(__file__).parent)
