"""What `jackfield call` sends: lines of JSON and pieces of a file, read without holding anybody up."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import stat
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from jackfield import _json
from jackfield._errors import EncodeError

PIECE: Final = 64 * 1024
"""Bytes of a file in one item."""


def argument(data: str) -> object:
    """Return the value that DATA says, strictly as JSON.

    Raises:
        click.BadParameter: It says none.
    """
    source, text = "DATA", data
    try:
        if data == "-":
            source, text = "standard input", sys.stdin.buffer.read().decode("utf-8")
        elif data.startswith("@"):
            source = data[1:]
            text = Path(source).read_bytes().decode("utf-8")
    except OSError as error:
        raise click.BadParameter(f"{source!r} cannot be read: {error.strerror}.", param_hint="DATA") from None
    except UnicodeDecodeError:
        raise click.BadParameter(f"{source} is not UTF-8; --file sends bytes.", param_hint="DATA") from None
    hint = f" --file {source} sends it as it is, in a Buffer."
    if not data.startswith("@"):
        example = text if re.fullmatch(r"[\w .,;:!-]{1,40}", text) else "hello"
        hint = f" A string goes in quotes: '\"{example}\"'"
    try:
        return _parsed(text, source, "DATA", hint)
    except click.BadParameter:
        if source == "DATA" or not _are_lines(text):
            raise
        given = data if data == "-" else source
        raise click.BadParameter(
            f"{source} is not JSON, but each of its lines is: --items {given} sends them as the items of a stream.",
            param_hint="DATA",
        ) from None


def lines(source: str) -> Iterator[Any]:
    """Yield the values of lines of JSON; empty lines are none.

    Args:
        source: A file, or `-` for standard input.

    Raises:
        click.BadParameter: It cannot be read, or a line of it, named by its number, is not JSON or cannot be sent.
    """
    name = "standard input" if source == "-" else repr(source)
    hint = "" if source == "-" else f" --file {source} sends the file itself, in Buffers."
    try:
        # Not sys.stdin: a thread that waits in it for ever would hold its lock when the process ends.
        raw = io.FileIO(0, closefd=False) if source == "-" else io.FileIO(source)
        with io.BufferedReader(raw) as reader:
            for number, line in enumerate(reader, 1):
                if line.strip():
                    value = _parsed(line, f"line {number} of {name}", "--items", hint)
                    _check(value, f"line {number} of {name}")
                    yield value
    except OSError as error:
        raise click.BadParameter(f"{name} cannot be read: {error.strerror}.", param_hint="--items") from None


def pieces(file: Path, told: Callable[[int, int | None], None]) -> Iterator[bytes]:
    """Yield the bytes of a file in Buffers of 64 KiB.

    Args:
        file: The file.
        told: Called with the bytes so far, and with all of them where that is known.

    Raises:
        click.BadParameter: It cannot be read.
    """
    try:
        with file.open("rb", buffering=0) as opened:
            status = os.fstat(opened.fileno())
            total = status.st_size if stat.S_ISREG(status.st_mode) else None
            done = 0
            while piece := opened.read(PIECE):
                done += len(piece)
                yield piece
                told(done, total)
    except OSError as error:
        raise click.BadParameter(f"{str(file)!r} cannot be read: {error.strerror}.", param_hint="--file") from None


async def pulled(source: Iterator[Any], *first: Any) -> AsyncIterator[Any]:
    """Yield values, then those of an iterator that may block: it is pulled, one at a time, in a thread of its own.

    Neither the event loop nor the end of the process waits for that thread.
    """
    for value in first:
        yield value
    loop = asyncio.get_running_loop()
    wanted = threading.Semaphore(0)
    came: asyncio.Queue[tuple[Any, BaseException | None]] = asyncio.Queue()

    def pull() -> None:
        while wanted.acquire():
            answer: tuple[Any, BaseException | None]
            try:
                answer = next(source), None
            except BaseException as error:  # noqa: BLE001 - it goes to whoever waits
                answer = None, error
            with contextlib.suppress(RuntimeError):  # nobody waits any more, and the loop is closed
                loop.call_soon_threadsafe(came.put_nowait, answer)
            if answer[1] is not None:
                return

    threading.Thread(target=pull, daemon=True).start()
    while True:
        wanted.release()
        value, error = await came.get()
        if isinstance(error, StopIteration):
            return
        if error is not None:
            raise error
        yield value


def _parsed(text: str | bytes, source: str, option: str, hint: str = "") -> Any:
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise click.BadParameter(f"{source} is nested too deeply.", param_hint=option) from None
    except UnicodeDecodeError:
        raise click.BadParameter(f"{source} is not UTF-8.{hint}", param_hint=option) from None
    except ValueError as error:
        raise click.BadParameter(f"{source} is not JSON ({error}).{hint}", param_hint=option) from None


def _are_lines(text: str) -> bool:
    """Tell whether there are several lines, and each is JSON."""
    try:
        return len([json.loads(line) for line in text.split("\n") if line.strip()]) > 1
    except (ValueError, RecursionError):
        return False


def _check(value: Any, source: str) -> None:
    try:
        _json.dumps(value)
    except EncodeError as error:
        raise click.BadParameter(f"{source} cannot be sent ({error}).", param_hint="--items") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"JSON has no {name}")
