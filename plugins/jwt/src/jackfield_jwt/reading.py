"""JSON as tokens and key sets may have it: one object, no name twice, no number that is none, no deep nesting."""

from __future__ import annotations

import json
from typing import Any, NoReturn


class Unreadable(ValueError):
    """What was sent is no such object."""


def read_object(raw: bytes) -> dict[str, Any]:
    """Return an object.

    Raises:
        Unreadable: It is none, or one that two readers could understand in two ways.
    """
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_none)
    except Unreadable:
        raise
    except (ValueError, RecursionError):
        raise Unreadable("no JSON") from None
    if not isinstance(value, dict):
        raise Unreadable("no object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unreadable("a name twice")
    return found


def _none(constant: str) -> NoReturn:
    raise Unreadable("a number that is none")
