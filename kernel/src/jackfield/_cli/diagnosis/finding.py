"""What an examination finds: what was looked at, how it is, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal

import click

from jackfield._cli.terminal import columns, line

_MARKS: Final = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "fault": ("✗", "red")}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: Its name, which stays the same from version to version.
        status: `ok`; `warning` for what works and could be better; `fault` for what does not work.
        what: What was found.
        todo: What to do about it.
    """

    check: str
    status: Literal["ok", "warning", "fault"]
    what: str
    todo: str | None = None

    def as_dict(self) -> dict[str, object]:
        """Return it for programs."""
        return asdict(self)


def ok(check: str, what: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(check, "ok", what)


def warning(check: str, what: str, todo: str) -> Finding:
    """Return that something works and could be better."""
    return Finding(check, "warning", what, todo)


def fault(check: str, what: str, todo: str) -> Finding:
    """Return that something does not work."""
    return Finding(check, "fault", what, todo)


def lines(findings: Sequence[Finding]) -> list[str]:
    """Return findings as a person reads them."""
    rows = []
    for one in findings:
        mark, colour = _MARKS[one.status]
        todo = f"   → {line(one.todo)}" if one.todo else ""
        rows.append([click.style(mark, fg=colour), line(one.check), line(one.what) + todo])
    return columns(rows) if rows else []
