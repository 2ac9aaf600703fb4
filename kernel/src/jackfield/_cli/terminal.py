"""What commands write: data to standard output, what is said about it to standard error."""

from __future__ import annotations

import difflib
import json
import os
import re
import stat
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

import click

if TYPE_CHECKING:
    from jackfield._json import Value

Printable: TypeAlias = "bool | int | float | str | Sequence[Printable] | dict[str, Printable] | None"

EXIT_FAILED: Final = 1

_STEERING: Final = r"\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_CONTROL: Final = re.compile(rf"[\x00-\x08\x0b-\x1f{_STEERING}]")
_NOT_IN_JSON: Final = re.compile(f"[{_STEERING}]")


def clean(text: str) -> str:
    """Return text of a plugin or a server without what would steer the terminal; lines stay lines."""
    return _CONTROL.sub(_escape, text)


def line(text: str) -> str:
    """Return `clean` text on one line."""
    return clean(" ".join(text.split()))


def to_json(value: object, *, indent: int | None = None) -> str:
    """Return JSON that a person can read and a terminal cannot stumble over."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _NOT_IN_JSON.sub(_escape, text)


def printable(value: Value) -> Printable:
    """Return a value with every Buffer as `{"base64": …}`."""
    if isinstance(value, bytes):
        import base64

        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, dict):
        return {key: printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [printable(item) for item in value]
    return value


def write(text: str = "") -> None:
    """Write a line of data, at once."""
    _put(text)


def write_json(value: object) -> None:
    """Write data for programs."""
    _put(to_json(value, indent=2))


def write_bytes(data: bytes) -> None:
    """Write bytes as they are, at once."""
    _put(data)


def pipe() -> int | None:
    """Return the descriptor of standard output where it is a pipe, whose reader can go away."""
    try:
        descriptor = sys.stdout.fileno()
    except OSError:  # it is no file at all
        return None
    return descriptor if stat.S_ISFIFO(os.fstat(descriptor).st_mode) else None


def stop_writing() -> None:
    """Let nothing more be flushed to standard output when the process ends: nobody takes it any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def note(text: str) -> None:
    """Say something about the data."""
    click.secho(clean(text), dim=True, err=True)


def complain(faults: Iterable[str] | str) -> None:
    """Say what is wrong, each fault on a line of its own."""
    for fault in [faults] if isinstance(faults, str) else faults:
        click.secho(f"✗ {clean(fault)}", fg="red", err=True)


def fail(faults: Iterable[str] | str, status: int = EXIT_FAILED) -> NoReturn:
    """End the command: each fault on a line of standard error."""
    complain(faults)
    raise SystemExit(status)


def end(*, failed: bool) -> None:
    """End the command with status 1 if it failed, after everything was written."""
    if failed:
        sys.stdout.flush()
        raise SystemExit(EXIT_FAILED)


def columns(rows: Sequence[Sequence[str]], gap: int = 2) -> list[str]:
    """Return rows as lines with their cells below one another; cells may be coloured."""
    widths = [max(len(click.unstyle(cell)) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = (cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(row, widths, strict=True))
        lines.append((" " * gap).join(cells).rstrip())
    return lines


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence: which of the known names may have been meant."""
    return meant(map(repr, difflib.get_close_matches(name, sorted(set(known)), n=3)))


def meant(names: Iterable[str]) -> str:
    """Return the end of a sentence that names what may have been meant; nothing where there is nothing."""
    *others, last = ["", *names]
    others = [name for name in others if name]
    if not last:
        return ""
    return f"; did you mean {', '.join(others)} or {last}?" if others else f"; did you mean {last}?"


def _put(data: str | bytes) -> None:
    try:
        click.echo(data, nl=isinstance(data, str))
    except BrokenPipeError:  # whoever read has what they wanted, which is for the command to judge
        raise
    except OSError as error:
        stop_writing()
        fail(f"standard output cannot be written: {error.strerror}")


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
