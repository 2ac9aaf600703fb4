"""`jackfield call`: one call of a function, from the command line."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from jackfield._cli import remote
from jackfield._cli.options import json_option, read_settings, target_options
from jackfield._cli.remote import Address, ConnectionLost, Listener, Refused, RemoteError, Target
from jackfield._cli.terminal import (
    clean,
    columns,
    complain,
    end,
    fail,
    line,
    note,
    printable,
    to_json,
    write,
    write_json,
)
from jackfield._envelope import EVENT
from jackfield._errors import Code
from jackfield._json import Value

_PATIENCE: Final = 5.0
"""Seconds beyond the deadline in which the server may still say that it has passed."""


@click.command("call")
@click.argument("event")
@click.argument("data", required=False)
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Send the bytes of this file, as a Buffer.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write a result that is a Buffer to this file.",
)
@click.option("--timeout", type=click.FloatRange(min=0.001), help="Seconds that the call may take.")
@click.option("--events", is_flag=True, help="Tell on standard error what the server emits meanwhile.")
@target_options
@json_option
def command(
    event: str,
    data: str | None,
    target: Target,
    *,
    file: Path | None,
    output: Path | None,
    timeout: float | None,
    events: bool,
    as_json: bool,
) -> None:
    """Call the function EVENT of a running server.

    DATA is JSON; `-` reads it from standard input, `@file` from a file. A string goes in quotes: '"hello"'.

    The result is written as JSON on one line, a Buffer inside it as {"base64": "…"}. A result that is a Buffer is
    written as its bytes, unless to a terminal. With --json the whole reply is written, errors too.

    Events that the server emits to the caller before it answers are left out; --events tells them, a line of JSON each.
    Questions that it asks the caller are answered with nothing.

    Exit status: 1 where the function answered with an error, or the server could not be asked.
    """
    if data is not None and file is not None:
        raise click.UsageError("DATA and --file exclude each other.")
    if output is not None and not output.parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(output.parent)!r}.", param_hint="--output")
    envelope: dict[str, Any] = {"event": event}
    if file is not None:
        envelope["data"] = _bytes(file)
    elif data is not None:
        envelope["data"] = _value(data)
    if timeout is not None:
        envelope["timeout"] = max(1, round(timeout * 1000))
    settings = read_settings(target.config)
    try:
        remote.need_client()
        address = Address.of(target, settings.server)
        limit = None if timeout is None else timeout + _PATIENCE
        reply = asyncio.run(_call(address, envelope, limit, _tell if events else None))
    except Refused as error:
        _show_error(error.error, address.url)
        end(failed=True)
    except ConnectionLost as error:
        fail(f"{error}{_too_much(envelope.get('data'), settings.limits.message_size)}")
    except RemoteError as error:
        fail(str(error))
    else:
        _show(reply, event, output, as_json=as_json)


async def _call(
    address: Address, envelope: dict[str, Any], limit: float | None, listener: Listener | None
) -> dict[str, Any]:
    async with remote.connected(address, listener) as server:
        return await server.request(envelope, limit=limit)


def _too_much(data: object, limit: int) -> str:
    """Return the end of a sentence where the size of the data may be the cause; the limit is the one known here."""
    size = len(data) if isinstance(data, bytes) else len(json.dumps(data))
    return f": the data has {size} bytes, and limits.message_size is {limit}" if size > limit else ""


def _tell(event: str, data: Value) -> None:
    note(to_json({"event": event, "data": printable(data)}))


def _show(reply: dict[str, Any], event: str, output: Path | None, *, as_json: bool) -> None:
    failed = "error" in reply
    result = reply.get("data")
    if isinstance(result, bytes) and output is not None:
        _save(result, output)
    if as_json:
        write_json(printable(reply))
    elif failed:
        _show_error(reply["error"], event)
    elif not isinstance(result, bytes):
        write(to_json(printable(result)))
    elif output is None:
        _write_bytes(result)
    if output is not None and not failed and not isinstance(result, bytes):
        complain(f"the result is no Buffer, so {output} was not written")
        failed = True
    end(failed=failed)


def _write_bytes(result: bytes) -> None:
    if sys.stdout.isatty():
        write(to_json(printable(result)))
    else:
        sys.stdout.buffer.write(result)
        sys.stdout.buffer.flush()


def _save(result: bytes, output: Path) -> None:
    try:
        output.write_bytes(result)
    except OSError as error:
        fail(f"{output} cannot be written: {error.strerror}")
    note(f"{len(result)} bytes are in {output}")


def _show_error(error: dict[str, Any], event: str) -> None:
    """Say what went wrong: the code, each fault of the argument, and what to do."""
    code = str(error["code"])
    click.echo(f"{click.style('✗', fg='red')} {click.style(line(code), bold=True)}  {line(event)}", err=True)
    faults = [[_place(fault), line(str(fault.get("message", "")))] for fault in error.get("details") or ()]
    message = clean(str(error.get("message", ""))).splitlines()
    for text in [*(columns(faults, gap=3) or message), *columns(_extras(error), gap=3)]:
        click.echo(f"  {text}", err=True)
    if code == Code.INVALID_ARGUMENT and EVENT.fullmatch(event):
        click.secho(f"  jackfield functions {event} shows what it takes", dim=True, err=True)
    if code == Code.UNAUTHENTICATED:
        click.secho("  say who you are with --token or --token-file", dim=True, err=True)


def _place(fault: dict[str, Any]) -> str:
    return line(".".join(map(str, fault.get("path") or ()))) or "data"


def _extras(error: dict[str, Any]) -> list[list[str]]:
    found = []
    if "error_id" in error:
        found.append(["error_id", line(f"{error['error_id']} (the server's log tells more under it)")])
    if "retry_after" in error:
        found.append(["retry_after", line(f"{error['retry_after']} ms")])
    return found


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise click.BadParameter(f"{str(file)!r} cannot be read: {error.strerror}.", param_hint="--file") from None


def _value(data: str) -> object:
    """Return the value that DATA says, strictly as JSON."""
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
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise click.BadParameter(f"{source} is nested too deeply.", param_hint="DATA") from None
    except ValueError as error:
        example = text if re.fullmatch(r"[\w .,;:!-]{1,40}", text) else "hello"
        raise click.BadParameter(
            f"{source} is not JSON ({error}). A string goes in quotes: '\"{example}\"'", param_hint="DATA"
        ) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"JSON has no {name}")
