"""The plugin beside one that works, one that does not, and one that hides what others serve."""

from __future__ import annotations

from pathlib import Path

import pytest

from jackfield import Call, FunctionInfo, Principal, Service, hookimpl
from tests.support.plugins import write_plugin

NEIGHBOUR = Service("api.neighbour")


@NEIGHBOUR.function
async def hello(call: Call) -> str:
    """Say that it is there."""
    return "still here"


@NEIGHBOUR.function
async def hidden(call: Call) -> str:
    """Be there for nobody."""
    return "never seen"


class Hiding:
    """A plugin that hides a function of another."""

    @hookimpl
    def jackfield_authorize(self, principal: Principal | None, function: FunctionInfo) -> bool:
        """Let everybody call everything else."""
        return function.event != "api.neighbour.hidden"


@pytest.fixture(autouse=True)
def _broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin is installed that cannot be imported."""
    write_plugin(tmp_path, "broken", "import no_such_module", namespaces=["api.broken"])
    monkeypatch.syspath_prepend(tmp_path)
