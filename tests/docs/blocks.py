"""Find the examples of a Markdown document: every fenced block, whatever its language.

A comment right before a block says more about it, and is not seen by readers:

    <!-- file: PATH -->                  the block is the text of this file
    <!-- plugin: NAME NAMESPACE… -->     the block is the module of an installed plugin
    <!-- signature -->                   the block is the signature of a hook
    <!-- log -->                         the block is what the server has logged since the last such block
    <!-- not run: REASON -->             the block is not run
    <!-- not run "COMMAND": REASON -->   commands that begin so are not run, the others are

Where the comment ends after the block, readers do not see the block either. Two comments stand by themselves:
`<!-- file: PATH, of PAGE -->` is the block that is this file on another page, `<!-- from here on: an empty folder -->`
begins anew. Of the plugins of the repository demo, files and system are installed, and in its README a plugin itself;
`<!-- from here on: an empty folder, with NAME NAME… -->` has more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

Run = Callable[["Block", Example], None]

ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = sorted(
    [ROOT / "README.md", *ROOT.glob("docs/*.md"), ROOT / "kernel/README.md", *ROOT.glob("plugins/*/README.md")],
    key=lambda path: (-path.read_text(encoding="utf-8").count("\n$ "), path),  # what takes longest comes first
)
"""Every document whose examples are run."""

ANEW: Final = "from here on: an empty folder"
_ELSEWHERE: Final = re.compile(r"<!-- file: (?P<file>\S+), of (?P<page>\S+) -->")
_DIRECTIVE: Final = re.compile(
    r"<!-- (?P<word>file|plugin|signature|log|not run)(?: \"(?P<prefix>[^\"]+)\")?(?:: (?P<text>[^>]+?))?(?: -->)?\s*\Z"
)


@dataclass(frozen=True)
class Block:
    """One example.

    Args:
        language: What stands after the fence.
        source: The text.
        where: The document and the line, for messages.
        word: The directive before the block, or an empty string.
        text: What the directive says.
        prefix: What the commands begin with that are not run.
    """

    language: str
    source: str
    where: str
    word: str = ""
    text: str = ""
    prefix: str = ""


class _Blocks:
    """A parser for Sybil: each fenced block is one example."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lexer = RawFencedCodeBlockLexer(re.compile(r"(?P<info>[^\n]*)\n"))

    def __call__(self, document: Document) -> Iterator[Region]:
        for region in self._lexer(document):
            line = document.text.count("\n", 0, region.start) + 1
            found = _DIRECTIVE.search(document.text, 0, region.start)
            yield self._region(
                region,
                Block(
                    language=region.lexemes["info"].strip(),
                    source=str(region.lexemes["source"]),
                    where=f"{Path(document.path).name}:{line}",
                    word=found["word"] if found else "",
                    text=(found["text"] or "") if found else "",
                    prefix=(found["prefix"] or "") if found else "",
                ),
            )
        for comment in _ELSEWHERE.finditer(document.text):
            page = Path(document.path).parent / comment["page"]
            (shown,) = (block for block in blocks(page) if block.word == "file" and block.text == comment["file"])
            yield self._region(Region(comment.start(), comment.end()), shown)
        for comment in re.finditer(f"<!-- {ANEW}(?:, with ([a-z0-9_ ]+))? -->", document.text):
            yield self._region(Region(comment.start(), comment.end()), Block("", "", "", ANEW, comment[1] or ""))

    def _region(self, region: Region, block: Block) -> Region:
        def evaluate(example: Example) -> None:
            self._run(block, example)

        region.parsed, region.evaluator = block, evaluate
        return region


def parse(path: Path, run: Run) -> Document:
    """Return the document, ready to have its examples run in order.

    Args:
        path: The Markdown file.
        run: Is given each block.
    """
    return Sybil(parsers=[_Blocks(run)]).parse(path)


def blocks(path: Path) -> list[Block]:
    """Return the blocks of a document."""
    return [example.parsed for example in parse(path, lambda *_: None).examples()]
