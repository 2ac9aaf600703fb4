"""`jackfield call`: one call of a function, from the command line."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from jackfield._cli import feed, remote
from jackfield._cli.answers import Answers, show_error
from jackfield._cli.bar import Bar
from jackfield._cli.options import json_option, read_settings, target_options
from jackfield._cli.remote import Listener, Target
from jackfield._cli.terminal import end, fail, note, pipe, printable, stop_writing, to_json
from jackfield._contract import Kind
from jackfield._errors import CallError, Code, EncodeError
from jackfield._json import Value
from jackfield.client import Client
from jackfield.client._caller import Caller, Request
from jackfield.client._errors import ConnectError, ConnectionLost, Refused
from jackfield.client._exchange import DEFAULT_CREDIT, MAX_CREDIT, Exchange
from jackfield.client._place import Place, need_client

_DESCRIBE_LIMIT: Final = 10.0
"""Seconds to say what kind of function it is."""
_NOTHING: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sending:
    """What the command line says is to be sent.

    Attributes:
        event: The function.
        data: DATA, or `_NOTHING`.
        file: `--file`.
        items: `--items`.
        message_size: Bytes of a message, as far as it is known here.
        options: The other fields of the request.
    """

    event: str
    data: Any = _NOTHING
    file: Path | None = None
    items: str | None = None
    message_size: int
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def needs_kind(self) -> bool:
        """Whether it depends on the kind of the function how this is sent."""
        return self.data is not _NOTHING or self.file is not None or self.items is not None

    def request(self, kind: Kind | None, bar: Bar) -> Request:
        """Return the request, for a function of this kind or of one that is not known.

        Raises:
            click.UsageError: Items for a function that takes none.
            click.BadParameter: What is to be sent cannot be read.
        """
        options = {**self.options, "progress": bar.report if bar.active else None}
        streams = kind in (Kind.CLIENT, Kind.BOTH)
        if self.items is not None and kind is not None and not streams:
            raise click.UsageError(f"{self.event} takes no items (it is {kind}): give it DATA or --file.")
        if self.items is not None or streams or not self.needs_kind:
            # A function of another kind is not given any; so nothing at all is no argument, or no items.
            return Request(event=self.event, items=self._source(bar), **options)
        data = self.data if self.file is None else self._one_buffer(self.file, kind)
        return Request(event=self.event, data=data, **options)

    def _source(self, bar: Bar) -> Any:
        first = () if self.data is _NOTHING else (self.data,)
        rest: Iterator[Any] = iter(())
        if self.items is not None:
            rest = feed.lines(self.items)
        elif self.file is not None:
            rest = feed.pieces(self.file, bar.moved)
        return feed.pulled(rest, *first)

    def _one_buffer(self, file: Path, kind: Kind | None) -> bytes:
        try:
            size = file.stat().st_size
            if kind is None and size > self.message_size:
                fail(
                    f"{file} has {size} bytes, limits.message_size is {self.message_size}, and the server does not say "
                    f"whether {self.event} takes a stream: it needs the system plugin for that"
                )
            return file.read_bytes()
        except OSError as error:
            raise click.BadParameter(f"{str(file)!r} cannot be read: {error.strerror}.", param_hint="--file") from None


@click.command("call")
@click.argument("event")
@click.argument("data", required=False)
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Send the bytes of this file, as a Buffer; to a function that takes a stream, in Buffers of 64 KiB.",
)
@click.option(
    "--items",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="Send each line of this file, which is JSON, as an item of a stream; `-` is standard input.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write Buffers that come back to this file.",
)
@click.option("--timeout", type=click.FloatRange(min=0.001), help="Seconds that the call may take.")
@click.option(
    "--credit",
    type=click.IntRange(1, MAX_CREDIT),
    default=DEFAULT_CREDIT,
    help="Items of a stream that the server may be ahead; 16 if left out.",
)
@click.option("--meta", multiple=True, metavar="KEY=VALUE", help="Header of the call; may be given several times.")
@click.option(
    "--progress/--no-progress",
    default=True,
    help="Whether to show on a terminal how far a call is; it is shown if left out.",
)
@click.option("--events", is_flag=True, help="Tell on standard error what the server emits meanwhile.")
@target_options
@json_option
def command(  # noqa: PLR0913 - one an option
    event: str,
    data: str | None,
    target: Target,
    *,
    file: Path | None,
    items: str | None,
    output: Path | None,
    timeout: float | None,
    credit: int,
    meta: tuple[str, ...],
    progress: bool,
    events: bool,
    as_json: bool,
) -> None:
    """Call the function EVENT of a running server.

    DATA is JSON; `-` reads it from standard input, `@file` from a file. A string goes in quotes: '"hello"'. To a
    function that takes a stream, DATA is the first item.

    The result is written as JSON on one line, a Buffer inside it as {"base64": "…"}. A result that is a Buffer is
    written as its bytes, unless to a terminal. The items of a stream are written likewise, one a line, as they come;
    Ctrl+C cancels the call, and so does whoever stops reading.

    With --json the whole reply is written, errors too; of a stream a line {"data": …} for each item, and at the end
    {"end": true} or {"error": …}.

    Events that the server emits to the caller meanwhile are left out; --events tells them, a line of JSON each.
    Questions that it asks the caller are answered with nothing.

    Exit status: 1 where the function answered with an error, or the server could not be asked.
    """
    _check(data, file, items, output)
    settings = read_settings(target.config)
    sending = _Sending(
        event=event,
        data=_NOTHING if data is None else feed.argument(data),
        file=file,
        items=items,
        message_size=settings.limits.message_size,
        options={"timeout": timeout, "credit": credit, "meta": _meta(meta, file)},
    )
    bar = Bar(wanted=progress)
    answers = Answers(event, output, bar, as_json=as_json)
    try:
        need_client()
        at = remote.place(target, settings.server)
        asyncio.run(_call(at, sending, answers, bar, _teller(bar) if events else None))
    except Refused as error:
        show_error(error, at.url)
        answers.failed = True
    except (ConnectError, EncodeError) as error:
        fail(error.message if isinstance(error, CallError) else str(error))
    except BrokenPipeError:
        stop_writing()
    end(failed=answers.failed)


async def _call(at: Place, sending: _Sending, answers: Answers, bar: Bar, listener: Listener | None) -> None:
    async with remote.connected(at, listener) as server:
        kind = await _kind(server, sending.event) if sending.needs_kind else None
        exchange = await server.begin(sending.request(kind, bar))
        try:
            await _write(exchange, answers)
        except ConnectionLost:
            answers.lost(_lost(exchange, sending.message_size), stream=exchange.kind is not None)
        except CallError as error:
            answers.error(error, stream=exchange.kind is not None, hint=_hint(error, exchange.kind, sending.file))
        finally:
            exchange.cancel()
            await exchange.settled()
            answers.close()
        if sending.items is not None and exchange.kind in (Kind.UNARY, Kind.SERVER):
            fail(f"{sending.event} takes no items (it is {exchange.kind}), so it was called without an argument")


async def _kind(server: Caller, event: str) -> Kind | None:
    """Ask the system plugin, if there is one, what kind of function it is."""
    try:
        told = await Client(server).call("api.system.describe", {"event": event}, timeout=_DESCRIBE_LIMIT)
        return Kind(told["kind"])
    except ConnectionLost:
        raise
    except (CallError, LookupError, TypeError, ValueError):
        return None


async def _write(exchange: Exchange, answers: Answers) -> None:
    if await exchange.opened() in (Kind.UNARY, Kind.CLIENT):
        answers.result(await exchange.outcome())
        return
    with _while_read(exchange, None if answers.saves else pipe()):
        while True:
            try:
                item = await exchange.next()
            except StopAsyncIteration:
                break
            await answers.item(item)
    answers.end()


@contextlib.contextmanager
def _while_read(exchange: Exchange, output: int | None) -> Iterator[None]:
    """End a stream with `BrokenPipeError` as soon as nobody reads this pipe any more, though no item comes."""
    loop = asyncio.get_running_loop()
    if output is None or sys.platform == "win32":  # where a loop cannot watch pipes, the next item finds it out
        yield
        return
    # The end of a pipe that is written into becomes readable when the other one is closed, and never before.
    loop.add_reader(output, exchange.cancel, BrokenPipeError())
    try:
        yield
    finally:
        loop.remove_reader(output)


def _check(data: str | None, file: Path | None, items: str | None, output: Path | None) -> None:
    if data is not None and file is not None:
        raise click.UsageError("DATA and --file exclude each other.")
    if items is not None and file is not None:
        raise click.UsageError("--items and --file exclude each other.")
    if data == "-" and items == "-":
        raise click.UsageError("DATA and --items cannot both be read from standard input.")
    if output is not None and not output.parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(output.parent)!r}.", param_hint="--output")


def _meta(given: tuple[str, ...], file: Path | None) -> dict[str, str]:
    meta = {} if file is None else {"filename": file.name}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{pair!r} is no KEY=VALUE.", param_hint="--meta")
        meta[key] = value
    return meta


def _hint(error: CallError, kind: Kind | None, file: Path | None) -> str | None:
    """Return what may have been meant, where pieces of a file were not what the function takes."""
    streams = kind in (Kind.CLIENT, Kind.BOTH)
    if file is None or not streams or error.code != Code.INVALID_ARGUMENT or not error.message.startswith("Item "):
        return None
    return f"--file sends pieces of bytes; --items {file} sends its lines, each of which is JSON"


def _lost(exchange: Exchange, limit: int) -> str:
    """Return what happened, with the size of what was sent where that may be why; the limit is the one known here."""
    before = "it answered" if exchange.kind is None else "the stream ended"
    what = "the item that was sent last" if exchange.kind in (Kind.CLIENT, Kind.BOTH) else "the data"
    why = f": {what} has {exchange.sent} bytes, and limits.message_size is {limit}" if exchange.sent > limit else ""
    return f"the server closed the connection before {before}{why}"


def _teller(bar: Bar) -> Listener:
    def tell(event: str, data: Value) -> None:
        bar.clear()
        note(to_json({"event": event, "data": printable(data)}))

    return tell
