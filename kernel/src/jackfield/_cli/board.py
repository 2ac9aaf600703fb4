"""The tables of `jackfield top`: which columns there are, in what order rows come, how numbers are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from jackfield._cli.terminal import columns, line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

Row: TypeAlias = Mapping[str, Any]
"""One plugin or one function, or the figures of the whole server, as `api.metrics.watch` gives them."""

_LITTLE: Final = 3
"""Lines of functions that are shown in any case."""


@dataclass(frozen=True, slots=True)
class _Column:
    """One column.

    Args:
        title: Its heading.
        cell: What stands in it.
        width: The least width of a terminal in which there is room for it.
    """

    title: str
    cell: Callable[[Row], str]
    width: int = 0


_RATES: Final = (
    _Column("CALLS/S", lambda row: number(row["calls_per_second"])),
    _Column("ERRORS/S", lambda row: number(row["errors_per_second"]), 60),
    _Column("P50", lambda row: duration(row["p50"]), 90),
    _Column("P99", lambda row: duration(row["p99"]), 50),
)
_PLUGINS: Final = (
    _Column("PLUGIN", lambda row: line(row["name"])),
    _Column("STATE", lambda row: line(row["state"])),
    *_RATES,
    _Column("RUN", lambda row: str(row["in_flight"]), 70),
    _Column("WAIT", lambda row: str(row["queued"]), 70),
    _Column("STREAMS", lambda row: str(row["streams"]), 80),
)
_FUNCTIONS: Final = (
    _Column("FUNCTION", lambda row: line(row["event"])),
    *_RATES,
    _Column("CALLS", lambda row: str(row["calls"]), 100),
    _Column("ERRORS", lambda row: str(row["errors"]), 100),
    _Column("KIND", lambda row: line(row["kind"]), 110),
)
SORTS: Final[Mapping[str, Callable[[Row], Any]]] = {
    "calls": lambda row: -row["calls_per_second"],
    "errors": lambda row: -row["errors_per_second"],
    "p50": lambda row: -(row["p50"] or 0),
    "p99": lambda row: -(row["p99"] or 0),
    "total": lambda row: -row["calls"],
    "name": lambda row: row["event"],
}
"""By what functions can be sorted."""


def number(value: float) -> str:
    """Return a rate in few characters."""
    if value >= 9_950:
        return f"{value / 1000:.0f}k"
    return f"{value:.0f}" if value >= 99.5 else f"{value:.1f}" if value else "0"


def duration(value: float | None) -> str:
    """Return seconds in few characters, in the unit that suits; `-` where nothing was measured."""
    if value is None:
        return "-"
    if value < 0.000_999_5:
        return f"{value * 1e6:.0f} µs"
    if value < 0.999_5:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.3g} s"


def summary(figures: Row, url: str) -> list[str]:
    """Return what is said of the whole server, in lines."""
    total = figures["total"]
    clients = ", ".join(f"{count} {line(carrier)}" for carrier, count in figures["connections"].items())
    return [
        f"jackfield {line(figures['version'])} at {url}   pid {figures['pid']}   up {_uptime(figures['uptime'])}",
        f"clients {clients}   in {_size(figures['received_per_second'])}   out {_size(figures['sent_per_second'])}   "
        f"loop lag {duration(figures['loop_lag'])}",
        f"calls/s {number(total['calls_per_second'])}   errors/s {number(total['errors_per_second'])}   "
        f"p50 {duration(total['p50'])}   p99 {duration(total['p99'])}",
    ]


def plain(figures: Row, url: str, sort: str) -> Iterator[str]:
    """Yield the lines of one look, with all columns and all rows."""
    yield from summary(figures, url)
    for shown, rows in ((_PLUGINS, figures["plugins"]), (_FUNCTIONS, _sorted(figures, sort))):
        yield ""
        yield from columns([[column.title for column in shown], *([c.cell(row) for c in shown] for row in rows)])


def drawn(figures: Row, url: str, sort: str, size: tuple[int, int], problem: str | None) -> RenderableType:
    """Return what fills a terminal.

    Args:
        figures: The latest.
        url: Where they are from.
        sort: By what functions are sorted.
        size: Columns and lines of the terminal.
        problem: Why there are none that are newer, if something is wrong.
    """
    from rich.console import Group
    from rich.text import Text

    width, height = size
    head = [Text(text, no_wrap=True, overflow="ellipsis") for text in summary(figures, url)]
    head[0].stylize("bold")
    if problem is not None:
        head.insert(0, Text(f"✗ {line(problem)}", style="bold red", no_wrap=True, overflow="ellipsis"))
    plugins, functions = figures["plugins"], _sorted(figures, sort)
    left = height - len(head) - 4  # two headings, and an empty line before each
    shown = plugins[: max(1, left - min(len(functions), _LITTLE))]
    parts: list[RenderableType] = [
        _table(_PLUGINS, shown, width),
        Text(),
        _table(_FUNCTIONS, functions[: max(0, left - len(shown))], width),
    ]
    return Group(*head, Text(), *parts)


def _table(shown: Sequence[_Column], rows: Sequence[Row], width: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    fitting = [column for column in shown if column.width <= width]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for index, column in enumerate(fitting):
        named = index == 0 or column.title in ("STATE", "KIND")
        table.add_column(
            column.title,
            no_wrap=True,
            overflow="ellipsis",
            justify="left" if named else "right",
            ratio=0 if index else None,
        )
    for row in rows:
        table.add_row(*(Text(column.cell(row)) for column in fitting), style=_style(row))
    return table


def _style(row: Row) -> str:
    state = row.get("state", "started")
    if state in ("quarantined", "refused") or row["errors_per_second"] > 0:
        return "red"
    return "" if state == "started" else "dim"


def _sorted(figures: Row, sort: str) -> list[Row]:
    return sorted(figures["functions"], key=lambda row: (SORTS[sort](row), row["event"]))


def _size(count: float) -> str:
    for unit in ("B/s", "kB/s", "MB/s"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB/s"


def _uptime(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
