"""`jackfield top`: what a running server is doing, as it happens."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import click

from jackfield._cli import board, remote
from jackfield._cli.board import Row
from jackfield._cli.options import json_option, read_settings, target_options
from jackfield._cli.remote import Target
from jackfield._cli.terminal import fail, note, stop_writing, to_json, write
from jackfield._errors import CallError, Code
from jackfield.client import Client
from jackfield.client._caller import calling
from jackfield.client._errors import ConnectError, Refused
from jackfield.client._place import Place, need_client

WATCH: Final = "api.metrics.watch"
_MISSING: Final = (
    'pip install jackfield-metrics where the server runs, and give yourself the scope "jackfield:operator"'
)
_AGAIN: Final = 1.0
"""Seconds until a server is asked again."""
_SOME: Final = 100
_MANY: Final = 1000
"""How many functions are asked for: the busiest, or, where others may come first, as many as a server tells of."""

Show: TypeAlias = Callable[[Row | None, str | None], None]
"""Takes the latest figures, None where there are no newer ones, and what is wrong, if something is."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the command line says.

    Attributes:
        interval: Seconds between two looks.
        sort: By what functions are sorted.
        once: Whether one look is enough.
        as_json: Whether programs read it.
    """

    interval: float
    sort: str
    once: bool
    as_json: bool

    @property
    def argument(self) -> dict[str, Any]:
        """What the server is asked for."""
        return {"interval": self.interval, "functions": _SOME if self.sort == "calls" else _MANY}


@click.command("top")
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 60),
    default=1.0,
    help="Seconds between two looks, each of which is of the time since the one before; 1 if left out.",
)
@click.option(
    "--sort",
    type=click.Choice(list(board.SORTS)),
    default="calls",
    help="What functions are sorted by; `calls`, which is per second, if left out.",
)
@click.option("--once", is_flag=True, help="Write one look as plain tables, and end.")
@target_options
@json_option
def command(target: Target, *, interval: float, sort: str, once: bool, as_json: bool) -> None:
    """Show what a running server is doing: calls, errors and latency of each plugin and function, as it happens.

    Ctrl+C ends it. When the connection is lost, the table stays and says so until the server is back.

    The server needs the plugin `metrics`, and the caller the scope jackfield:operator; where nobody has to say who they
    are, callers on the server's own machine may look.

    With --json each look is a line of JSON, as `api.metrics.watch` gives it.
    """
    wanted = _Wanted(interval, sort, once, as_json)
    settings = read_settings(target.config)
    try:
        need_client()
        at = remote.place(target, settings.server)
        screen = nullcontext(_lines(at, wanted)) if once or as_json else _screen(at, wanted)
        with screen as show:
            asyncio.run(_run(at, wanted, show))
    except CallError as error:
        fail(_explained(error, target.url))
    except BrokenPipeError:
        stop_writing()
    except asyncio.CancelledError:
        raise SystemExit(128 + signal.SIGTERM) from None
    except (LookupError, TypeError, ValueError, AttributeError):
        fail("the server's metrics plugin tells of what this command does not know: use the same version of both")


async def _run(at: Place, wanted: _Wanted, show: Show) -> None:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in one
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with calling(at, reconnect=not wanted.once, handlers={}) as caller:
        looks = _looks(Client(caller), wanted, lambda problem: show(None, problem))
        async with aclosing(looks):
            async for figures in looks:
                show(figures, None)
                if wanted.once:
                    return


async def _looks(client: Client, wanted: _Wanted, tell: Callable[[str], None]) -> AsyncGenerator[Row, None]:
    """Yield the figures, over all connections that there are, one after the other.

    Raises:
        CallError: The server does not let anybody look; before the first look it may be any error.
    """
    seen = False
    while True:
        try:
            async with client.stream(WATCH, wanted.argument) as stream:
                async for figures in stream:
                    seen = True
                    yield figures
            problem = "the server has ended the stream"
        except Refused:
            raise
        except CallError as error:
            if not seen or wanted.once or error.code not in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
                raise
            problem = error.message
        tell(f"{problem} Trying again.")
        await asyncio.sleep(_AGAIN)


def _lines(at: Place, wanted: _Wanted) -> Show:
    """Return what writes each look, for programs, or one for people."""

    def show(figures: Row | None, problem: str | None) -> None:
        if problem is not None:
            note(problem)
        if figures is not None and wanted.as_json:
            write(to_json(figures))
        elif figures is not None:
            for text in board.plain(figures, at.url, wanted.sort):
                write(text)

    return show


@contextmanager
def _screen(at: Place, wanted: _Wanted) -> Iterator[Show]:
    """Take the whole terminal, and give it back as it was."""
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        fail("a table that changes needs a terminal: use --once for one look, or --json")
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        fail('a table that changes needs rich: pip install "jackfield[standard]"; --once and --json do without')
    latest: list[Row] = []
    console = Console(highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:

        def show(figures: Row | None, problem: str | None) -> None:
            if figures is not None:
                latest[:] = [figures]
            live.update(board.drawn(latest[0], at.url, wanted.sort, console.size, problem), refresh=True)

        yield show


def _explained(error: CallError, at_url: str | None) -> str:
    """Return what is wrong, and what to do about it."""
    if isinstance(error, Refused):
        return remote.refusal(error, at_url or "the server")
    if error.code is Code.NOT_FOUND and not isinstance(error, ConnectError):
        return f"the server has no {WATCH}, or not for you: {_MISSING}"
    return error.message
