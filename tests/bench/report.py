"""Tables of results: as text, and in docs/performance.md, which `python -m tests.bench.report [FILE]` writes anew.

FILE is what `python -m tests.bench` wrote. Its measures come into docs/performance.json, from which everything is made,
and in the place of all that is there if it has all of them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.bench import goals, plot
from tests.bench.measures import MEASURES
from tests.bench.results import Results, Spread
from tests.bench.targets import NODE, OURS, PYTHON, ROOT

DOCUMENT: Final = ROOT / "docs/performance.md"
RESULTS: Final = ROOT / "docs/performance.json"
PLOT: Final = ROOT / "docs/performance.svg"

NONE: Final = "–"
HELD_UP: Final = "*"
"""Marks a ratio of processor time per call."""

NOTE: Final = (
    "in some round the load generator or another program on the machine was the limit; "
    "there the server's processor time per call is compared"
)

Table = list[list[str]]
Cell = Callable[[Results, str, str, str], str]
"""What stands in a column: of results, measure, case, target."""

_BLOCK: Final = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end of results -->)", re.DOTALL)


def _figure(name: str, form: str = "{:,.0f}") -> Cell:
    def cell(results: Results, measure: str, case: str, target: str) -> str:
        found = results.spread(measure, case, target, name)
        return form.format(found.median) if found else NONE

    return cell


def _around(name: str) -> Cell:
    def cell(results: Results, measure: str, case: str, target: str) -> str:
        found = results.spread(measure, case, target, name)
        return f"± {found.percent:.0f} %" if found else NONE

    return cell


def _times(peer: str, figure: str = "rate") -> Cell:
    """Return the ratio to a peer; an empty name is the server itself, in the case that this one is held against."""

    def cell(results: Results, measure: str, case: str, target: str) -> str:
        found = results.ratio(measure, case, target, peer or target, figure)
        if found is None:
            return NONE
        held_up = figure == "rate" and results.held_up(measure, case, target, peer or target)
        return ratio(found) + (f" {HELD_UP}" if held_up else "")

    return cell


def _cost(results: Results, measure: str, case: str, target: str) -> str:
    """Return how many times as much processor time as in the case that this one is held against."""
    found = results.ratio(measure, case, target, target, "cpu_us")
    return times(found) if found else NONE


def times(found: Spread) -> str:
    """Return how many times worse a ratio says that something is."""
    factor = 1 / found.median
    return f"{factor:,.1f}" if factor < 10 else f"{factor:,.0f}"


def ratio(found: Spread) -> str:
    """Return a ratio as it is written."""
    return f"{found.median:.2f}" if found.median < 100 else f"{found.median:.0f}"


_RATE: Final[dict[str, Cell]] = {"spread": _around("rate"), "× Node": _times(NODE), "× python-socketio": _times(PYTHON)}
_CPU: Final = _figure("cpu_us", "{:.1f}")

COLUMNS: Final[dict[str, dict[str, Cell]]] = {
    "unary": {
        "calls/s": _figure("rate"),
        **_RATE,
        "server µs/call": _CPU,
        "p50 ms": _figure("p50_ms", "{:.2f}"),
        "p99 ms": _figure("p99_ms", "{:.2f}"),
        "server busy": _figure("server_share", "{:.0%}"),
    },
    "latency": {
        "calls/s": _figure("rate"),
        "p50 ms": _figure("p50_ms", "{:.2f}"),
        "p99 ms": _figure("p99_ms", "{:.2f}"),
        "spread of p99": _around("p99_ms"),
        "p99 × Node": _times(NODE, "p99_ms"),
        "server busy": _figure("server_share", "{:.0%}"),
    },
    "streams": {
        "items/s": _figure("rate"),
        **_RATE,
        "server µs/item": _figure("cpu_us", "{:.2f}"),
        "server busy": _figure("server_share", "{:.0%}"),
    },
    "transfer": {
        "MB/s": _figure("rate"),
        **_RATE,
        "server µs/MB": _figure("cpu_us"),
        "server busy": _figure("server_share", "{:.0%}"),
    },
    "files": {
        "MB/s": _figure("rate"),
        "spread": _around("rate"),
        "server µs/MB": _figure("cpu_us"),
        "server busy": _figure("server_share", "{:.0%}"),
    },
    "workers": {
        "calls/s": _figure("rate"),
        "spread": _around("rate"),
        "× Node": _times(NODE),
        "server µs/call": _CPU,
    },
    "cluster": {
        "publications/s": _figure("rate"),
        "spread": _around("rate"),
        "× Node": _times(NODE),
        "p50 ms": _figure("p50_ms", "{:.2f}"),
        "p99 ms": _figure("p99_ms", "{:.2f}"),
        "p99 × Node": _times(NODE, "p99_ms"),
        "µs/publication": _figure("cpu_us"),
        "of these Redis": _figure("redis_us"),
        "core busy": _figure("server_share", "{:.0%}"),
    },
    "broadcast": {"deliveries/s": _figure("rate"), **_RATE, "server µs/delivery": _CPU},
    "connections": {"connections/s": _figure("rate"), **_RATE, "server µs/connection": _figure("cpu_us")},
    "memory": {
        "KiB": _figure("kib", "{:.1f}"),
        "spread": _around("kib"),
        "× Node": _times(NODE, "kib"),
        "× python-socketio": _times(PYTHON, "kib"),
    },
    "startup": {"s": _figure("seconds", "{:.2f}"), "spread": _around("seconds"), "MiB": _figure("mib")},
    "functions": {
        "calls/s": _figure("rate"),
        "spread": _around("rate"),
        "× the first": _times(""),
        "server µs/call": _CPU,
    },
    "operators": {
        "calls/s": _figure("rate"),
        "spread": _around("rate"),
        "× nothing": _times(""),
        "server µs/call": _CPU,
    },
    "designs": {
        "p50 ms": _figure("p50_ms", "{:.2f}"),
        "calls/s": _figure("rate"),
        "spread": _around("rate"),
        "server µs/call": _figure("cpu_us"),
        "µs × loaded once": _cost,
    },
}
"""The columns of each measure after those for the case and the server."""


def table(results: Results, measure: str) -> Table:
    """Return the table of a measure, its head first."""
    columns = COLUMNS[measure]
    rows = [["", "server", *columns]]
    for case in results.cases(measure):
        for number, target in enumerate(results.targets(measure, case)):
            cells = [cell(results, measure, case, target) for cell in columns.values()]
            rows.append([case if number == 0 else "", results.titles[target], *cells])
    return rows


def goal_table(results: Results) -> Table:
    """Return what jackfield is meant to be, and what it is."""
    rows = [["", "server", "against", "goal", "measured", "range", ""]]
    for goal in goals.ratios():
        found = goal.of(results)
        if found is not None:
            case = goal.case if goal.measure == "unary" else f"{MEASURES[goal.measure].title}: {goal.case}"
            met = "reached" if found.median >= goal.goal else "missed"
            span = f"{found.least:.2f}–{found.most:.2f}"
            names = [results.titles[name] for name in (goal.server, goal.peer)]
            rows.append([case, *names, f"≥ {goal.goal:g}", ratio(found), span, met])
    return rows


def text(results: Results) -> str:
    """Return all tables, for a terminal."""
    parts = [f"{MEASURES[name].title}\n{_aligned(table(results, name))}" for name in results.measures()]
    met = goal_table(results)
    if len(met) > 1:
        parts.append(f"Goals\n{_aligned(met)}")
    if HELD_UP in "".join(parts):
        parts.append(f"{HELD_UP} {NOTE}")
    return "\n\n".join(parts)


def renewed(document: str, results: Results) -> str:
    """Return the text of a document with all that comes from results made anew."""
    return _BLOCK.sub(lambda found: f"{found[1]}\n{block(found[2], results)}\n\n{found[3]}", document)


def block(name: str, results: Results) -> str:
    """Return what stands in a block of the document."""
    match name:
        case "setup":
            return "\n".join(_setup(results))
        case "goals":
            return _markdown(goal_table(results))
        case "answer":
            return "\n".join(_answer(results))
        case _ if name in results.measures():
            written = _markdown(table(results, name))
            return f"{written}\n\n\\{HELD_UP} {NOTE}." if HELD_UP in written else written
    return "Not measured in this run."


def _setup(results: Results) -> Iterator[str]:
    meta = results.meta
    machine = meta["machine"]
    yield f"- {meta['date']}; {meta['rounds']} rounds, {meta['seconds']:g} s a load."
    yield (
        f"- {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}; "
        + (
            "nothing is pinned."
            if machine["server_core"] is None
            else f"servers on core {machine['server_core']}, load generator on core {machine['generator_core']}."
        )
    )
    yield "- " + ", ".join(f"{name} {version}" for name, version in meta["versions"].items()) + "."
    for name, command in meta["commands"].items():
        yield f"- {results.titles[name]}: `{command}`"


def _answer(results: Results) -> Iterator[str]:
    """Yield the price of each design, in sentences."""
    for case in results.cases("designs"):
        found = results.spread("designs", case, OURS, "cpu_us")
        factor = results.ratio("designs", case, OURS, OURS, "cpu_us")
        if found and factor and not case.startswith("loaded"):
            cost = f"{found.median:,.0f} µs of the server a call"
            yield f"- {case}: {cost}, {times(factor)} times that of a module loaded once."


def _markdown(rows: Table) -> str:
    if len(rows) < 2:
        return "Not measured in this run."
    rule = ["---", "---", *["--:"] * (len(rows[0]) - 2)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))


def _aligned(rows: Table) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        words = [
            word.ljust(width) if number < 2 else word.rjust(width)
            for number, (word, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(words).rstrip()

    return "\n".join(map(line, rows))


def main(arguments: Sequence[str]) -> None:
    """Write the document and the plot anew, from new results if a file is named."""
    if arguments:
        Results.read(Path(arguments[0])).into(Results.read(RESULTS)).write(RESULTS)
    results = Results.read(RESULTS)
    DOCUMENT.write_text(renewed(DOCUMENT.read_text(encoding="utf-8"), results), encoding="utf-8")
    PLOT.write_text(plot.svg(results), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
