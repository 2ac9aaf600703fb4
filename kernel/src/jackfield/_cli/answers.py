"""What `jackfield call` writes of an answer: results and items on standard output, errors on standard error."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from jackfield._cli.bar import Bar
from jackfield._cli.terminal import (
    clean,
    columns,
    complain,
    fail,
    line,
    note,
    printable,
    to_json,
    write,
    write_bytes,
    write_json,
)
from jackfield._envelope import EVENT
from jackfield._errors import CallError, Code

_ITEM: Final = re.compile(r"^Item \d+:")


class Answers:
    """Writes what comes back of one call.

    Args:
        event: The function.
        output: Where Buffers go, if not to standard output.
        as_json: Whether a program reads it.
        bar: What is taken from the terminal while something is written.

    Attributes:
        failed: Whether the command has failed.
        saves: Whether Buffers go to a file.
    """

    def __init__(self, event: str, output: Path | None, bar: Bar, *, as_json: bool) -> None:
        self.failed = False
        self._event = event
        self.saves = output is not None
        self._output = output
        self._as_json = as_json
        self._bar = bar
        self._file: BinaryIO | None = None
        self._saved = 0
        self._items = 0
        self._left = 0

    def result(self, result: Any) -> None:
        """Write the one result of a call."""
        self._bar.clear()
        if isinstance(result, bytes) and self._output is not None:
            self._save(result)
            self._close()
        if self._as_json:
            write_json({"data": printable(result)})
        elif not isinstance(result, bytes):
            write(to_json(printable(result)))
        elif self._output is None:
            _write(result)
        if self._output is not None and not isinstance(result, bytes):
            complain(f"the result is no Buffer, so {self._output} was not written")
            self.failed = True

    async def item(self, item: Any) -> None:
        """Write one item of a stream, at once; whoever reads may take their time.

        Raises:
            BrokenPipeError: Nobody reads any more.
        """
        self._items += 1
        if isinstance(item, bytes) and self._output is not None:
            self._save(item)
            if not self._as_json:
                return
        elif self._output is not None:
            self._left += 1
        self._bar.clear()
        if self._as_json:
            text: bytes | str = to_json({"data": printable(item)})
        else:
            text = item if isinstance(item, bytes) else to_json(printable(item))
        await asyncio.to_thread(_write, text)

    def end(self) -> None:
        """Close a stream that has ended well."""
        self._bar.clear()
        if self._as_json:
            write(to_json({"end": True}))
        if self._output is not None and not self._items:
            self._save(b"")

    def error(self, error: CallError, *, stream: bool, hint: str | None = None) -> None:
        """Write how a call failed, and to a person what to do; what came before stands."""
        self._bar.clear()
        self.failed = True
        if self._as_json and stream:
            write(to_json({"error": error.as_dict()}))
        elif self._as_json:
            write_json({"error": error.as_dict()})
        else:
            show_error(error, self._event)
            if hint is not None:
                note(f"  {hint}")

    def lost(self, what: str, *, stream: bool) -> None:
        """Say that the connection ended first; what came before stands."""
        if self._as_json and stream:
            self.error(CallError(Code.UNAVAILABLE, f"{what[0].upper()}{what[1:]}."), stream=True)
        else:
            self._bar.clear()
            self.failed = True
            complain(what)

    def close(self) -> None:
        """Say what has become of the file."""
        self._bar.clear()
        self._close()
        if self._left:
            complain(f"{self._left} of {self._items} items are no Buffers, so {self._output} has not got them")
            self.failed = True

    def _save(self, data: bytes) -> None:
        assert self._output is not None  # noqa: S101 - whoever calls has looked
        try:
            if self._file is None:
                self._file = self._output.open("wb")
            self._file.write(data)
        except OSError as error:
            self._bar.clear()
            fail(f"{self._output} cannot be written: {error.strerror}")
        self._saved += len(data)
        self._bar.moved(self._saved)

    def _close(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                fail(f"{self._output} cannot be written: {error.strerror}")
            self._file = None
            note(f"{self._saved} bytes are in {self._output}")


def show_error(error: CallError, event: str) -> None:
    """Say what went wrong: the code, each fault of the argument, and what to do."""
    click.echo(f"{click.style('✗', fg='red')} {click.style(error.code, bold=True)}  {line(event)}", err=True)
    unfit = error.code == Code.INVALID_ARGUMENT
    faults = [[_label(fault, unfit), line(str(fault.get("message", "")))] for fault in error.details]
    message = clean(error.message).splitlines()
    if faults and unfit:  # they say all but which item of a stream they are of
        message = _ITEM.findall(error.message)
    message += columns(faults, gap=3)
    for text in [*message, *columns(_extras(error), gap=3)]:
        click.echo(f"  {text}", err=True)
    if unfit and EVENT.fullmatch(event):
        click.secho(f"  jackfield functions {event} shows what it takes", dim=True, err=True)
    if error.code == Code.UNAUTHENTICATED:
        click.secho("  say who you are with --token or --token-file", dim=True, err=True)


def _label(fault: Any, unfit: bool) -> str:
    """Return where a fault is; of what is about no part of the data, the kind."""
    place = line(".".join(map(str, fault.get("path") or ())))
    return place or ("data" if unfit else line(str(fault.get("type", ""))))


def _extras(error: CallError) -> list[list[str]]:
    found = []
    if error.error_id is not None:
        found.append(["error_id", line(f"{error.error_id} (the server's log tells more under it)")])
    if error.retry_after is not None:
        found.append(["retry_after", line(f"{error.retry_after} ms")])
    return found


def _write(data: bytes | str) -> None:
    """Write a line of text, or bytes as they are, unless to a terminal; at once."""
    if isinstance(data, bytes) and not sys.stdout.isatty():
        write_bytes(data)
    else:
        write(data if isinstance(data, str) else to_json(printable(data)))
