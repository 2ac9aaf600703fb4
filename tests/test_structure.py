"""The shape of the kernel: small modules, each of which says what it is for."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "kernel/src/jackfield"
MODULES = sorted(SOURCE.rglob("*.py"))
PUBLIC = {"__init__", "__main__"}

MAX_MODULE = 350
MAX_FUNCTION = 60
MAX_KERNEL = 14_620
"""Lines; the kernel is what everybody has to trust, so it stays a book that can be read."""


def _name(module: Path) -> str:
    return str(module.relative_to(SOURCE))


@pytest.mark.parametrize("module", MODULES, ids=_name)
def test_a_module_is_small_and_says_what_it_is_for(module: Path) -> None:
    """A module holds one idea: a docstring at its head, few lines, short functions."""
    text = module.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree)
    assert len(text.splitlines()) <= MAX_MODULE
    long = {
        node.name: (node.end_lineno or 0) - node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno > MAX_FUNCTION
    }
    assert long == {}


def test_every_module_below_the_public_names_is_private() -> None:
    """What is not public begins with an underscore, or stands in a folder that does."""
    exposed = [
        _name(module)
        for module in MODULES
        if module.stem not in PUBLIC and not any(part.startswith("_") for part in module.relative_to(SOURCE).parts)
    ]
    assert exposed == []


def test_the_kernel_stays_small_enough_to_be_read() -> None:
    """All of the kernel without what is no part of a running server: the command line, the client, the test kit."""
    lines = sum(
        len(module.read_text(encoding="utf-8").splitlines())
        for module in MODULES
        if not {"_cli", "client", "testing"} & set(module.relative_to(SOURCE).parts)
    )
    assert lines <= MAX_KERNEL
