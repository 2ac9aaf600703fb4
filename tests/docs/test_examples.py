"""Every example of the documentation does what it says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from sybil import Example

from tests.docs.blocks import DOCUMENTS, ROOT, Block, parse
from tests.docs.runners import Left, run
from tests.docs.stage import stage

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet


_COMMANDS: Final = 8
_BLOCKS: Final = 14
"""Commands and blocks of a document whose examples are run in the common run; longer ones are for the full run."""


def _marked(path: Path) -> ParameterSet:
    text = path.read_text(encoding="utf-8")
    long = text.count("\n$ ") > _COMMANDS or text.count("\n```") > 2 * _BLOCKS
    return pytest.param(path, marks=pytest.mark.full if long else (), id=str(path.relative_to(ROOT)))


@pytest.mark.timeout(300)  # one document is many commands
@pytest.mark.parametrize("path", [_marked(path) for path in DOCUMENTS])
def test_examples(path: Path, tmp_path: Path, require_all: bool) -> None:
    """Every block of the document is run, in order, in one folder with one server."""
    left: list[str] = []
    its_own = [path.parent.name] if path.parent.parent == ROOT / "plugins" else []
    with stage(tmp_path, its_own) as opened:

        def evaluate(block: Block, _: Example) -> None:
            try:
                run(block, opened)
            except Left as reason:
                left.append(f"{block.where} was left out: {reason}")

        for example in parse(path, evaluate).examples():
            example.evaluate()
    if left and require_all:
        pytest.fail("\n".join(left))
    if left:
        pytest.skip(f"all but this was run: {'; '.join(left)}")
