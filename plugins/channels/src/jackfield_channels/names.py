"""Names of channels, and patterns of them.

A name is made of segments with dots between them. A pattern is `orders.*`, for every channel whose name begins with
`orders.`, or `*` for all.
"""

from __future__ import annotations

import re
from typing import Final

from jackfield import CallError, Code

MAX_NAME: Final = 200
"""Characters of a name, or of a pattern."""
_SEGMENTS: Final = r"[A-Za-z0-9_:@-]+(?:\.[A-Za-z0-9_:@-]+)*"
_NAME: Final = re.compile(_SEGMENTS, re.ASCII)
_PATTERN: Final = re.compile(rf"(?:{_SEGMENTS}\.)?\*", re.ASCII)
_SHOWN: Final = 60


def check_name(name: str) -> None:
    """Refuse what is no channel's name.

    Raises:
        CallError: `invalid_argument`.
    """
    if is_pattern(name):
        raise _refused(name, "it is a pattern, and one channel is wanted")
    _check(name, _NAME)


def check_name_or_pattern(name: str) -> None:
    """Refuse what is neither a channel's name nor a pattern.

    Raises:
        CallError: `invalid_argument`.
    """
    _check(name, _PATTERN if is_pattern(name) else _NAME)


def is_pattern(name: str) -> bool:
    """Tell whether it stands for several channels."""
    return name.endswith("*")


def covers(pattern: str, name: str) -> bool:
    """Tell whether a name, or each name of another pattern, is one that the pattern or the name stands for."""
    return pattern == name or (is_pattern(pattern) and name.startswith(pattern[:-1]))


def overlap(one: str, other: str) -> bool:
    """Tell whether there can be a channel that both stand for."""
    return covers(one, other) or covers(other, one)


def patterns_of(name: str) -> list[str]:
    """Return every pattern that stands for a channel."""
    parts = name.split(".")
    return ["*", *(".".join(parts[:count]) + ".*" for count in range(1, len(parts)))]


def _check(name: str, wanted: re.Pattern[str]) -> None:
    if len(name) > MAX_NAME:
        raise _refused(name, f"it has {len(name):,} characters, and may have {MAX_NAME}")
    if not wanted.fullmatch(name):
        raise _refused(
            name, "a name is letters, digits, _, -, : and @, with dots between its parts, and a pattern ends with .*"
        )


def _refused(name: str, why: str) -> CallError:
    return CallError(Code.INVALID_ARGUMENT, f"The channel {name[:_SHOWN]!r} is refused: {why}.")
