"""Every example of the documentation does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from sybil import Example

from tests.docs.blocks import DOCUMENTS, ROOT, Block, parse
from tests.docs.runners import Left, run
from tests.docs.stage import stage


@pytest.mark.timeout(300)  # one document is many commands
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
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
