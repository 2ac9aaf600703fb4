"""The plugin beside others: one that is called, one that is quarantined, and the demonstration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jackfield import hookimpl
from plugins.metrics.tests import probe


def _fail() -> list[Any]:
    raise ImportError("no such module")


BROKEN = SimpleNamespace(jackfield_services=hookimpl(_fail))
BESIDE: dict[str, Any] = {
    "neighbours": {"probe": probe.service, "broken": BROKEN, "demo": "demo", "system": "system"},
    "config": {
        "quarantine": {"blocked": 0},
        "bulkhead": {"rules": [{"functions": "api.probe.wait", "calls": 1, "queue": 10}]},
    },
    "strict": False,
}
"""How the plugin is served in most tests."""

beside: pytest.MarkDecorator = pytest.mark.jackfield(**BESIDE)
