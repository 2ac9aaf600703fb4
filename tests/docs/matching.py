"""Compare what an example shows with what came.

What differs from run to run (versions, ids, times) is masked on both sides, so that the documentation can show
real ones. Anything else that differs is written as `…` there: in a line it stands for any text, alone on a line
for any number of lines, in JSON for any value, any more items, any more fields.
"""

from __future__ import annotations

import re
from typing import Final

ANYTHING: Final = "…"

_MASKS: Final = (
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "<time>"),
    (re.compile(r"(?<![\d.])\d+\.\d+\.\d+(?![\d.])"), "<version>"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "<id>"),
)


def mask(text: str) -> str:
    """Return the text with what differs from run to run replaced by its name."""
    for pattern, name in _MASKS:
        text = pattern.sub(name, text)
    return text


def text_matches(shown: str, came: str) -> bool:
    """Tell whether the text that came is the one shown; spaces at the end of a line do not count."""
    pattern = "".join(_line_pattern(line.rstrip()) for line in shown.strip("\n").split("\n"))
    lines = [f"{line.rstrip()}\n" for line in came.strip("\n").split("\n")]
    return re.fullmatch(pattern, mask("".join(lines))) is not None


def json_matches(shown: object, came: object) -> bool:
    """Tell whether the value that came is the one shown."""
    if isinstance(shown, str):
        if shown == ANYTHING:
            return True
        return isinstance(came, str) and text_matches(shown, came)
    if isinstance(shown, dict):
        named = {key: value for key, value in shown.items() if key != ANYTHING}
        return (
            isinstance(came, dict)
            and (named.keys() == came.keys() or (ANYTHING in shown and named.keys() <= came.keys()))
            and all(json_matches(value, came[key]) for key, value in named.items())
        )
    if isinstance(shown, list):
        items = [item for item in shown if item != ANYTHING]
        return (
            isinstance(came, list)
            and (len(items) == len(came) or (ANYTHING in shown and len(items) < len(came)))
            and all(json_matches(one, other) for one, other in zip(items, came, strict=False))
        )
    return type(shown) is type(came) and shown == came


def _line_pattern(line: str) -> str:
    if line.strip() == ANYTHING:
        return "(?:.*\n)*?"
    return ".*?".join(map(re.escape, mask(line).split(ANYTHING))) + "\n"
