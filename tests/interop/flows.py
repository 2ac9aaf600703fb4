"""What a client that handles credit by itself does with streams, and what it is to have in the end.

Like scenarios, flows are plain data for runners in several languages; but a runner of these is a client of its own
right: it sends no more than it was allowed, returns credit as it takes items, and unpacks what is packed. All flows
of a run share one connection, and run at the same time.

A runner is given `Flow.plan` and reports, for each:

| field      | meaning                                                                          |
|------------|----------------------------------------------------------------------------------|
| `items`    | what it was given, unpacked                                                      |
| `ended`    | `end`, or the code of the error with which the stream failed or was not opened   |
| `result`   | what the function returned; null where it returned nothing                       |
| `progress` | the numbers `done` of the progress that it was told of                           |
| `beyond`   | how many items came for which it had given no credit, where it can tell          |
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tests.interop.scenario import from_neutral, to_neutral

NODE_LIMIT: Final = 55.0

COUNT = "api.services.test.count"
TOTAL = "api.services.test.total"
SHOUT = "api.services.test.shout"


@dataclass(frozen=True)
class Flow:
    """One stream, or one call whose progress is told.

    Args:
        name: What a failing test is called.
        event: The function.
        data: Its argument, where it takes one.
        gives: Whether the function gives items.
        sends: The items that the client sends, and then their end; None where it sends none.
        credit: How many items it takes at a time; None leaves that to the protocol.
        cancel_after: Items after which it cancels.
        timeout: The field `timeout`, in milliseconds.
        accept: The field `accept`.
        progress: The field `progress`.
        items: The items that it is to have, in order.
        ended: How the stream is to end.
        result: What the function is to return.
        cut: Whether it may have fewer items, since time decides how many.
        done: The last that it is to hear of progress.
    """

    name: str
    event: str
    data: Any = None
    gives: bool = True
    sends: Sequence[Any] | None = None
    credit: int | None = None
    cancel_after: int | None = None
    timeout: int | None = None
    accept: str | None = None
    progress: bool = False
    items: Sequence[Any] = ()
    ended: str = "end"
    result: Any = None
    cut: bool = False
    done: float | None = None

    def plan(self) -> dict[str, Any]:
        """Return what the runners need, as JSON has it."""
        told = ("name", "event", "data", "gives", "sends", "credit", "cancel_after", "timeout", "accept", "progress")
        return {name: to_neutral(getattr(self, name)) for name in told}

    def faults(self, report: Mapping[str, Any]) -> list[str]:
        """Return what is not as it should be in a runner's report; nothing if all is well."""
        return list(self._faults(report))

    def _faults(self, report: Mapping[str, Any]) -> Iterator[str]:
        if "failed" in report:
            yield report["failed"]
            return
        items, expected = from_neutral(report["items"]), list(self.items)
        if self.cut:
            expected = expected[: len(items)]
        if items != expected:
            wrong = next((n for n, (a, b) in enumerate(zip(items, expected, strict=False)) if a != b), None)
            yield f"{len(items)} items came, not {len(expected)}; the first that differs is number {wrong}"
        if report["ended"] != self.ended:
            yield f"it ended with {report['ended']}, not {self.ended}"
        if from_neutral(report["result"]) != self.result:
            yield f"the result was {report['result']!r:.200}, not {self.result!r:.200}"
        if report.get("beyond"):
            yield f"{report['beyond']} items came for which there was no credit"
        done = report["progress"]
        if done != sorted(done) or (done[-1] if done else None) != self.done:
            yield f"progress was {done}, and was to end with {self.done}"


def run_javascript(flows: Sequence[Flow], mode: str, url: str, folder: Path) -> dict[str, Any]:
    """Let the JavaScript client go through flows, and return its reports by the name of the flow.

    The report `connection` has what belonged to no stream as `strays`, and as `transports` what the connection began
    and ended with.

    Args:
        flows: Flows.
        mode: `default`, `websocket` or `polling`.
        url: The server's.
        folder: Where the plans are written.
    """
    file = folder / "flows.json"
    file.write_text(json.dumps([flow.plan() for flow in flows]), encoding="utf-8")
    done = subprocess.run(
        ["node", str(Path(__file__).with_name("streamer.cjs")), str(file), mode, url],
        capture_output=True,
        encoding="utf-8",
        timeout=NODE_LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {report["name"]: report for report in map(json.loads, filter(None, done.stdout.split("\n")))}


def counted(to: int) -> list[dict[str, int]]:
    """Return the items of `count`."""
    return [{"n": number} for number in range(1, to + 1)]


LARGE = [{"number": number, "text": "ü" * 25_000} for number in range(12)]
BUFFERS = [bytes([number]) * number for number in range(40)]
WORDS = [f"word {number}" for number in range(300)]
SUM = {"sum": sum(range(1, 501)), "count": 500}
GIVES = "api.probe.gives"
MIRRORS = "api.probe.mirrors"
COLLECTS = "api.probe.collects"

SERVER = [
    Flow("server: nothing", COUNT, {"to": 0}),
    Flow("server: three items", COUNT, {"to": 3}, items=counted(3)),
    Flow("server: very many items", COUNT, {"to": 1_000}, items=counted(1_000)),
    *(
        Flow(f"server: {credit} at a time", COUNT, {"to": 200}, credit=credit, items=counted(200))
        for credit in (1, 2, 7, 64, 1_000)
    ),
    Flow("server: a pause between the items", COUNT, {"to": 20, "pause": 0.005}, credit=3, items=counted(20)),
    Flow("server: Buffers", "api.probe.blobs", 40, credit=4, items=BUFFERS),
    Flow("server: large items", "api.probe.large", 12, credit=3, items=LARGE),
    Flow("server: cancelled before the first item", COUNT, {"pause": 60}, cancel_after=0, ended="canceled"),
    Flow("server: cancelled after the first item", COUNT, {}, cancel_after=1, ended="canceled", items=counted(1)),
    Flow("server: cancelled after many", COUNT, {}, credit=5, cancel_after=333, ended="canceled", items=counted(333)),
    Flow(
        "server: out of time",
        COUNT,
        {"pause": 0.001},
        timeout=400,
        ended="deadline_exceeded",
        items=counted(1_000),
        cut=True,
    ),
    *(
        Flow(
            f"server: accept {accept}",
            GIVES,
            ["a", {"b": ["ü", None]}, 7] * 10,
            accept=accept,
            items=["a", {"b": ["ü", None]}, 7] * 10,
        )
        for accept in ("gzip", "base64+gzip", "base64", "json")
    ),
    Flow("server: accept bytes", "api.probe.blobs", 40, accept="gzip+bytes", items=BUFFERS),
    Flow("server: fails at once", "api.probe.breaks", {"code": "aborted"}, ended="aborted"),
    Flow(
        "server: fails after some items",
        "api.probe.breaks",
        {"after": 30, "code": "data_loss"},
        credit=4,
        items=list(range(1, 31)),
        ended="data_loss",
    ),
    Flow("server: crashes after some items", "api.probe.breaks", {"after": 5}, items=[1, 2, 3, 4, 5], ended="internal"),
    Flow("server: gives what it did not promise", "api.probe.promises", [1, "2", "x"], items=[1, 2], ended="internal"),
    Flow("server: not opened, there is no such function", "api.probe.nobodys", ended="not_found"),
    Flow("server: not opened, the argument does not fit", COUNT, {"to": "x"}, ended="invalid_argument"),
]

CLIENT = [
    Flow("client: nothing", TOTAL, sends=[], result={"sum": 0, "count": 0}),
    Flow("client: one item", TOTAL, sends=counted(1), result={"sum": 1, "count": 1}),
    Flow("client: very many items", TOTAL, sends=counted(500), result=SUM),
    Flow("client: Buffers", "api.probe.weighs", sends=BUFFERS, result=sum(map(len, BUFFERS))),
    Flow("client: large items", "api.probe.measures", sends=LARGE, result=len(LARGE)),
    Flow("client: the function needs the first item only", "api.probe.takesOne", sends=counted(300), result={"n": 1}),
    Flow("client: accept", TOTAL, sends=counted(3), accept="base64+gzip", result={"sum": 6, "count": 3}),
    Flow(
        "client: an item in the middle does not fit",
        TOTAL,
        sends=[*counted(99), {"n": "x"}, *counted(99)],
        ended="invalid_argument",
    ),
    Flow("client: the function fails at once", "api.probe.refuses", sends=counted(300), ended="failed_precondition"),
    Flow(
        "client: the function fails in the middle",
        "api.probe.breaksOn",
        sends=[*range(50), {"code": "out_of_range"}, *range(50)],
        ended="out_of_range",
    ),
    Flow("client: out of time", "api.probe.dawdles", sends=counted(3), timeout=300, ended="deadline_exceeded"),
]

BOTH = [
    Flow("both: nothing", SHOUT, sends=[]),
    Flow("both: one item", SHOUT, sends=["a"], items=["A"]),
    *(
        Flow(
            f"both: many items, {credit or 'some'} at a time",
            SHOUT,
            sends=WORDS,
            credit=credit,
            items=[word.upper() for word in WORDS],
        )
        for credit in (None, 1, 3)
    ),
    Flow("both: Buffers", MIRRORS, sends=BUFFERS, credit=2, items=BUFFERS),
    Flow("both: large items", MIRRORS, sends=LARGE, credit=2, items=LARGE),
    Flow("both: greetings", "api.probe.greets", sends=[1, 2], credit=1, items=["hello", 1, 2, "bye"]),
    Flow("both: the function has enough of it", "api.probe.quits", sends=WORDS, items=WORDS[:1]),
    Flow("both: cancelled in the middle", MIRRORS, sends=WORDS, cancel_after=100, ended="canceled", items=WORDS[:100]),
    Flow(
        "both: an item in the middle does not fit",
        "api.probe.pardons",
        sends=[*range(50), "x"],
        items=[*range(50), "invalid_argument"],
    ),
]

PROGRESS = [
    Flow(
        "unary: progress",
        "api.services.test.work",
        {"steps": 20, "seconds": 0.2},
        gives=False,
        progress=True,
        result={"steps": 20},
        done=20,
    ),
    Flow("unary: no progress, where nobody asks", "api.probe.paces", gives=False, result="done"),
    Flow("server: progress", "api.probe.pacesStream", progress=True, items=[1], done=1),
]

FLOWS = [*SERVER, *(replace(flow, gives=False) for flow in CLIENT), *BOTH, *PROGRESS]
