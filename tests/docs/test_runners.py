"""What runs the examples notices when one is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import parse
from tests.docs.matching import json_matches, text_matches
from tests.docs.runners import run
from tests.docs.stage import stage
from tests.docs.traces import read_trace


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("```cobol\nSTOP RUN.\n```\n", "nobody runs a block of the language 'cobol'"),
        ("```\n$ true\n```\n", "nobody runs a block of the language ''"),
        ("<!-- not run -->\n```console\n$ true\n```\n", "say why it is not run"),
        ("```console\ntrue\n```\n", "a console begins with a command"),
        ("```console\n$ echo one\ntwo\n```\n", "the documentation shows\n    two\nbut it is\n    one"),
        ("```console\n$ false\n…\n```\n", "false\nends with status 1"),
        ("```console\n$ cd nowhere\n```\n", "there is no folder nowhere"),
        ("```python\nprint(1)\n```\n", "what it prints is to stand beside it: print(1)"),
        ("```python\nprint(1)  # 2\n```\n", "the documentation shows\n    2\nbut it is\n    1"),
        ("```toml\n[server]\nprot = 1\n```\n", "server.prot"),
        ("```toml\n[tool.poetry]\nname = 'x'\n```\n", "neither jackfield.toml nor pyproject.toml"),
        (
            "<!-- signature -->\n```python\ndef jackfield_admit(data)\n```\n",
            "the signature is def jackfield_admit(call: Call) -> None",
        ),
    ],
)
def test_a_wrong_example_is_noticed(document: str, complaint: str, tmp_path: Path) -> None:
    """With the document, the line and what is wrong."""
    path = tmp_path / "page.md"
    path.write_text(f"# A page\n\n{document}", encoding="utf-8")
    with stage(tmp_path / "stage") as opened:
        (example,) = parse(path, lambda block, _: run(block, opened)).examples()
        with pytest.raises(AssertionError, match=rf"^page\.md:[34]: (?:.|\n)*{re.escape(complaint)}"):
            example.evaluate()


@pytest.mark.parametrize(
    ("shown", "came", "same"),
    [
        ("one\ntwo", "one\ntwo\n", True),
        ("one", "one\ntwo", False),
        ("one\n…", "one\ntwo\nthree", True),
        ("one\n…\nthree", "one\ntwo\nthree", True),
        ("…\ntwo", "one\nthree", False),
        ("jackfield 0.1.0", "jackfield 12.3.4", True),
        ("jackfield 0.1.0", "jackfield", False),
        ("after … s", "after 3.25 s", True),
        ("after … s", "after 3.25 min", False),
        ("error 0123456789abcdef", "error fedcba9876543210", True),
    ],
)
def test_text_is_compared(shown: str, came: str, same: bool) -> None:
    """All of it counts, save what is masked or left out."""
    assert text_matches(shown, came) is same


def test_json_is_compared() -> None:
    """By value and type; fields and items can be left out where that is said."""
    argument = read_trace('← ack#1 {"a": [1, …], "b": …, "c": <Buffer 68 69>, …}')[0].argument
    assert json_matches(argument, {"a": [1, 2], "b": None, "c": b"hi", "d": 1})
    assert not json_matches(argument, {"a": [2, 2], "b": None, "c": b"hi", "d": 1})
    assert not json_matches(argument, {"a": [1, 2], "b": None, "c": b"ho"})
    assert not json_matches(argument, {"a": [1, 2], "c": b"hi"})
    assert not json_matches({"a": 1}, {"a": 1, "b": 2})
    assert not json_matches({"a": 1}, {"a": True})
