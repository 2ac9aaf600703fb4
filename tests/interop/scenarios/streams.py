"""Section 5: how a stream is opened, how credit is given and used, and how a stream ends."""

from __future__ import annotations

from typing import Any

from tests.interop.scenario import (
    Between,
    Holding,
    Scenario,
    Step,
    answer,
    call,
    call_with,
    cancel,
    each,
    emit,
    error,
    hear,
    notice,
    start,
)

ECHO = "api.services.test.echo"
COUNT = "api.services.test.count"
TOTAL = "api.services.test.total"
SHOUT = "api.services.test.shout"
NUMBERS = "api.probe.numbers"
WINDOW = Between(4, 16)
"""What a client may send at first where it has no other stream: the buffer of a connection holds sixteen items, each of
which may have a megabyte. Scenarios send fewer at once."""

CANCELED = r"^The call was cancelled by its caller\.$"
MOST = 2**31 - 1


def scenario(name: str, *steps: Step, **more: Any) -> Scenario:
    """Return a scenario of this section."""
    return Scenario(name, "5", steps, **more)


def opened(kind: str, *, id: str | int = 1) -> dict[str, Any]:
    """Return the opening reply to expect."""
    return {"id": id, "stream": kind} if kind == "server" else {"id": id, "stream": kind, "credit": WINDOW}


def opens(event: str, kind: str, *, id: str | int = 1, **fields: Any) -> Step:
    """Open a stream, and expect its opening reply."""
    return call({"event": event, "id": id, **fields}, opened(kind, id=id))


def sends(*values: Any, id: str | int = 1, **packed: Any) -> tuple[Step, ...]:
    """Send items."""
    return tuple(emit({"id": id, "data": value, **packed}, "stream") for value in values)


def finishes(*, id: str | int = 1) -> Step:
    """Say that there are no more items."""
    return emit({"id": id, "end": True}, "stream")


def grants(credit: Any, *, id: str | int = 1) -> Step:
    """Let the server send more items."""
    return emit({"id": id, "credit": credit}, "stream")


def items(*values: Any, id: str | int = 1, **packed: Any) -> tuple[Step, ...]:
    """Expect items."""
    return tuple(hear("stream", {"id": id, "data": value, **packed}) for value in values)


def ends(*, id: str | int = 1, **result: Any) -> Step:
    """Expect the end, of a client stream with its result."""
    return hear("stream", {"id": id, "end": True, **result})


def fails(code: str, message: str = "", *, id: str | int = 1, **fields: Any) -> Step:
    """Expect the stream to fail."""
    return hear("stream", error(code, message, id=id, **fields))


def is_quiet() -> Step:
    """Make a call, by the answer to which the server has said whatever else it had to say."""
    return call({"event": ECHO, "data": "quiet"}, {"data": "quiet"})


OPENING = [
    scenario(
        "server: items, then the end",
        opens(COUNT, "server", data={"to": 3}),
        *items({"n": 1}, {"n": 2}, {"n": 3}),
        ends(),
    ),
    scenario(
        "client: items, then the end, then the result",
        opens(TOTAL, "client"),
        *sends({"n": 1}, {"n": 2}, {"n": 39}),
        finishes(),
        ends(data={"sum": 42, "count": 3}),
    ),
    scenario(
        "both: items either way, then the end of either",
        opens(SHOUT, "both"),
        *sends("a"),
        *items("A"),
        *sends("b", "ß"),
        *items("B", "SS"),
        finishes(),
        ends(),
    ),
    scenario("unary: no stream, and nothing to end", call({"event": ECHO, "id": 1, "data": 7}, {"data": 7, "id": 1})),
    scenario(
        "nothing at all, of every kind",
        opens(NUMBERS, "server", data=0),
        ends(),
        opens(TOTAL, "client"),
        finishes(),
        ends(data={"sum": 0, "count": 0}),
        opens(SHOUT, "both"),
        finishes(),
        ends(),
    ),
    scenario(
        "without an acknowledgement the opening reply is a message",
        emit({"event": NUMBERS, "data": 1, "id": "s"}),
        hear("message", opened("server", id="s")),
        *items(1, id="s"),
        ends(id="s"),
        emit({"event": TOTAL, "id": "c"}),
        hear("message", opened("client", id="c")),
        finishes(id="c"),
        ends(id="c", data={"sum": 0, "count": 0}),
        emit({"event": SHOUT, "id": "b"}),
        hear("message", opened("both", id="b")),
        finishes(id="b"),
        ends(id="b"),
    ),
    scenario(
        "an id is required",
        *(
            step
            for event in (COUNT, TOTAL, SHOUT)
            for step in (
                call({"event": event}, error("invalid_argument", r"\bid\b")),
                call_with([], error("invalid_argument", r"\bid\b"), event=event),
                emit({"event": event}),
                hear("message", notice(event, error("invalid_argument", r"\bid\b"))),
            )
        ),
        call_with([{"to": 1}], error("invalid_argument", r"\bid\b"), event=COUNT),
    ),
    scenario(
        "no stream in a batch",
        call(
            [
                {"event": COUNT, "id": "c", "data": {"to": 1}},
                {"event": ECHO, "id": "e", "data": 1},
                {"event": TOTAL, "id": "t"},
                {"event": SHOUT},
            ],
            [
                error("invalid_argument", "batch", id="c"),
                {"data": 1, "id": "e"},
                error("invalid_argument", "batch", id="t"),
                error("invalid_argument", ""),
            ],
        ),
        emit([{"event": COUNT, "id": "c"}]),
        hear("message", error("invalid_argument", "batch", id="c")),
        opens(NUMBERS, "server", id="c", data=0),
        ends(id="c"),
    ),
    scenario(
        "who sends items sends no data",
        *(
            step
            for event, kind in ((TOTAL, "client"), (SHOUT, "both"))
            for step in (
                call({"event": event, "id": 1, "data": {"n": 1}}, error("invalid_argument", r"\bdata\b|items", id=1)),
                call({"event": event, "id": 1, "data": 0}, error("invalid_argument", r"\bdata\b|items", id=1)),
                opens(event, kind, data=None),
                cancel(1),
                fails("canceled", CANCELED),
            )
        ),
    ),
    scenario(
        "an argument that does not fit opens nothing",
        call(
            {"event": COUNT, "id": 1, "data": {"to": "many"}},
            error("invalid_argument", "1 fault", id=1, details=[Holding({"path": ["to"], "type": "int_parsing"})]),
        ),
        grants(1),
        fails("not_found", "no stream"),
        call({"event": NUMBERS, "id": 1, "data": "gz", "encoding": "gzip"}, error("invalid_argument", "gzip", id=1)),
        emit({"event": NUMBERS, "id": 1, "data": []}),
        hear("message", error("invalid_argument", "1 fault", id=1, details=[Holding({"path": []})])),
        call({"event": "api.probe.nobodys", "id": 1}, error("not_found", "no function", id=1)),
        opens(NUMBERS, "server", data=1),
        *items(1),
        ends(),
    ),
    scenario(
        "fields of the envelope that cannot be open nothing",
        *(
            call({"event": NUMBERS, "data": 3, "id": 1, "credit": credit}, error("invalid_argument", "credit", id=1))
            for credit in each(-1, 1.5, "1", True, [])
        ),
        call({"event": NUMBERS, "data": 3, "id": 1, "accept": "lzma"}, error("unimplemented", "lzma", id=1)),
        call({"event": NUMBERS, "data": 3, "id": 1, "timeout": 0}, error("invalid_argument", "timeout", id=1)),
        call({"event": NUMBERS, "data": 3, "id": 1, "items": 1}, error("invalid_argument", "'items'", id=1)),
        call({"event": NUMBERS, "data": 3, "id": True}, error("invalid_argument", "id must be")),
    ),
    scenario(
        "already_exists: the id is in flight, as a stream or as a call",
        opens(NUMBERS, "server", data=1, credit=0),
        call({"event": NUMBERS, "data": 1, "id": 1}, error("already_exists", r"id 1 ", id=1)),
        call({"event": ECHO, "data": 1, "id": 1}, error("already_exists", r"id 1 ", id=1)),
        emit({"event": TOTAL, "id": 1}),
        hear("message", error("already_exists", r"id 1 ", id=1)),
        grants(1),
        *items(1),
        ends(),
        start("waits", {"event": "api.probe.waits", "id": 1}),
        call({"event": NUMBERS, "data": 1, "id": 1}, error("already_exists", r"id 1 ", id=1)),
        cancel(1),
        answer("waits", error("canceled", CANCELED, id=1)),
    ),
    scenario(
        'the ids 1 and "1" are two',
        opens(NUMBERS, "server", id=1, data=2, credit=0),
        opens(NUMBERS, "server", id="1", data=2, credit=0),
        grants(1, id="1"),
        *items(1, id="1"),
        grants(1, id=1),
        *items(1, id=1),
        cancel("1"),
        fails("canceled", CANCELED, id="1"),
        grants(1, id=1),
        *items(2, id=1),
        ends(id=1),
    ),
    scenario(
        "resource_exhausted: the 101st open stream",
        *(opens("api.probe.gives", "server", id=n, data=[n], credit=0) for n in range(100)),
        call(
            {"event": "api.probe.gives", "id": "101st", "data": []},
            error("resource_exhausted", r"limits\.streams", id="101st", retry_after=Between(1, 60_000)),
        ),
        call({"event": ECHO, "data": "no stream"}, {"data": "no stream"}),
        start("waits", {"event": "api.probe.waits", "id": "w"}),
        cancel("w"),
        answer("waits", error("canceled", CANCELED, id="w")),
        grants(1, id=17),
        *items(17, id=17),
        ends(id=17),
        opens("api.probe.gives", "server", id="101st", data=["at last"]),
        *items("at last", id="101st"),
        ends(id="101st"),
    ),
    scenario(
        "what the caller may not call is not_found, a stream like anything else",
        call({"event": "api.probe.hidden", "id": 1, "credit": 3}, error("not_found", "no function", id=1)),
        call({"event": "api.probe.forbidden", "id": 1}, error("permission_denied", "Sundays", id=1)),
    ),
]

CREDIT = [
    scenario(
        "sixteen items, where the envelope says nothing",
        opens(NUMBERS, "server", data=18),
        *items(*range(1, 17)),
        is_quiet(),
        grants(2),
        *items(17, 18),
        ends(),
    ),
    scenario(
        "as many as there are: the end costs nothing",
        opens(NUMBERS, "server", data=16),
        *items(*range(1, 17)),
        ends(),
        opens(NUMBERS, "server", data=1, credit=1),
        *items(1),
        ends(),
        opens(NUMBERS, "server", data=0, credit=0),
        ends(),
    ),
    scenario(
        "none: the server waits",
        opens(NUMBERS, "server", data=2, credit=0),
        is_quiet(),
        grants(1),
        *items(1),
        is_quiet(),
        grants(1),
        *items(2),
        ends(),
    ),
    scenario(
        "an error costs nothing either",
        opens("api.probe.breaks", "server", data={"after": 0, "code": "aborted"}, credit=0),
        fails("aborted", "As you wished"),
        opens("api.probe.breaks", "server", data={"after": 1, "code": "aborted"}, credit=1),
        *items(1),
        fails("aborted", "As you wished"),
    ),
    scenario(
        "credit adds up, and is never taken back",
        opens(NUMBERS, "server", data=11, credit=1),
        grants(2),
        grants(3),
        *items(*range(1, 7)),
        is_quiet(),
        grants(1),
        grants(MOST),
        grants(MOST),
        *items(*range(7, 12)),
        ends(),
    ),
    scenario(
        "more than anybody needs",
        opens(NUMBERS, "server", data=3, credit=MOST),
        *items(1, 2, 3),
        ends(),
        opens(NUMBERS, "server", data=3, credit=2**40),
        *items(1, 2, 3),
        ends(),
    ),
    *(
        scenario(
            f"a grant of {credit!r} closes the stream",
            opens("api.probe.tells", "server", credit=0),
            hear("news", "started"),
            grants(credit),
            fails("invalid_argument", "credit"),
            hear("news", "stopped"),
            grants(5),
            opens("api.probe.talks", "both"),
            hear("news", "started"),
            grants(credit),
            fails("invalid_argument", "credit"),
            hear("news", "stopped"),
        )
        for credit in each(0, -1, 1.5, "1", True, 2**31, [1], b"1")
    ),
    scenario(
        "items past the credit close the stream, and reach nobody",
        opens("api.probe.listens", "client"),
        hear("news", "started"),
        *sends(*range(17)),
        fails("resource_exhausted", "credit"),
        hear("news", "stopped"),
        is_quiet(),
        opens("api.probe.greets", "both", credit=0),
        *sends(*range(17)),
        fails("resource_exhausted", "credit"),
    ),
    scenario(
        "the server returns credit as its function takes items",
        call({"event": "api.probe.reads", "id": 1}, {"id": 1, "stream": "client", "credit": Between(8, 16)}),
        *sends(*range(8)),
        *(hear("news", n) for n in range(8)),
        hear("credit", {"id": 1, "credit": Between(1, 16)}),
        *sends(8),
        hear("news", 8),
        cancel(1),
        fails("canceled", CANCELED),
        hear("news", "stopped"),
    ),
]

ENDS = [
    scenario(
        "the result comes when the function returns, and the rest is ignored",
        opens("api.probe.takesOne", "client"),
        *sends("first", "second", "third"),
        ends(data="first"),
        *sends("fourth"),
        finishes(),
        cancel(1),
        is_quiet(),
        opens("api.probe.quits", "both"),
        *sends("a", "b"),
        *items("a"),
        ends(),
        *sends("c"),
        finishes(),
        finishes(),
        is_quiet(),
    ),
    scenario(
        "the server goes on when the client has no more items",
        opens("api.probe.greets", "both", credit=1),
        *items("hello"),
        *sends("a", "b"),
        finishes(),
        is_quiet(),
        grants(2),
        *items("a", "b"),
        is_quiet(),
        grants(1),
        *items("bye"),
        ends(),
    ),
    scenario(
        "items after the end",
        opens("api.probe.reads", "client"),
        *sends("one"),
        hear("news", "one"),
        finishes(),
        hear("news", "read"),
        *sends("two"),
        fails("invalid_argument", "end"),
        hear("news", "stopped"),
        is_quiet(),
    ),
    scenario(
        "the end twice",
        opens("api.probe.reads", "client"),
        finishes(),
        hear("news", "read"),
        finishes(),
        fails("invalid_argument", "end"),
        hear("news", "stopped"),
        is_quiet(),
    ),
    scenario(
        "items for a server stream: there is no credit for them",
        opens("api.probe.tells", "server", credit=1),
        hear("news", "started"),
        *items(1),
        *sends("what for"),
        fails("resource_exhausted", "credit"),
        hear("news", "stopped"),
        is_quiet(),
    ),
    scenario(
        "what a client may say that changes nothing: that it sends no items, and takes any, where there are none",
        opens(NUMBERS, "server", data=2, credit=1),
        *items(1),
        finishes(),
        is_quiet(),
        grants(1),
        *items(2),
        ends(),
        opens("api.probe.collects", "client"),
        grants(5),
        *sends("a"),
        finishes(),
        ends(data=["a"]),
    ),
    scenario(
        "an ended id is free, and frames that come too late for it are ignored",
        *(
            step
            for call_id in (1, "x", 1, "x")
            for step in (
                opens(NUMBERS, "server", id=call_id, data=1),
                *items(1, id=call_id),
                ends(id=call_id),
                grants(5, id=call_id),
                grants(0, id=call_id),
                *sends("late", id=call_id),
                finishes(id=call_id),
                cancel(call_id),
                emit({"id": call_id}, "stream"),
                is_quiet(),
            )
        ),
        grants(5, id="1"),
        fails("not_found", "no stream", id="1"),
    ),
    scenario(
        "nobody answers an error",
        emit({"id": 7, "error": {"code": "aborted", "message": "Mine."}}, "stream"),
        opens(NUMBERS, "server", data=0),
        ends(),
        emit({"id": 1, "error": {"code": "aborted", "message": "Mine."}}, "stream"),
        is_quiet(),
    ),
]

CANCELS = [
    scenario(
        "a server stream: before the first item, between two, where it waits for credit",
        opens("api.probe.tells", "server", credit=0),
        hear("news", "started"),
        cancel(1),
        fails("canceled", CANCELED),
        hear("news", "stopped"),
        opens("api.probe.tells", "server", credit=2),
        hear("news", "started"),
        *items(1, 2),
        cancel(1),
        fails("canceled", CANCELED),
        hear("news", "stopped"),
        opens(COUNT, "server", data={"pause": 60}, credit=5),
        *items({"n": 1}),
        cancel(1),
        fails("canceled", CANCELED),
        grants(3),
        is_quiet(),
    ),
    scenario(
        "a client stream: before the first item, after some, after the end",
        opens("api.probe.listens", "client"),
        hear("news", "started"),
        cancel(1),
        fails("canceled", CANCELED),
        hear("news", "stopped"),
        opens("api.probe.reads", "client"),
        *sends("a", "b"),
        hear("news", "a"),
        hear("news", "b"),
        cancel(1),
        fails("canceled", CANCELED),
        hear("news", "stopped"),
        opens("api.probe.reads", "client"),
        *sends("a"),
        finishes(),
        hear("news", "a"),
        hear("news", "read"),
        cancel(1),
        fails("canceled", CANCELED),
        hear("news", "stopped"),
        *sends("late"),
        is_quiet(),
    ),
    scenario(
        "both: at once, in the middle, after the client's end",
        opens("api.probe.talks", "both"),
        hear("news", "started"),
        cancel(1),
        fails("canceled", CANCELED),
        hear("news", "stopped"),
        opens("api.probe.talks", "both", credit=1),
        hear("news", "started"),
        *sends("a", "b"),
        *items("a"),
        cancel(1),
        fails("canceled", CANCELED),
        hear("news", "stopped"),
        opens("api.probe.talks", "both", credit=1),
        hear("news", "started"),
        *sends("a", "b"),
        finishes(),
        *items("a"),
        cancel(1),
        fails("canceled", CANCELED),
        hear("news", "stopped"),
        is_quiet(),
    ),
    scenario(
        "twice, too late, and what is not there",
        opens("api.probe.tells", "server", credit=0),
        hear("news", "started"),
        cancel(1),
        cancel(1),
        fails("canceled", CANCELED),
        hear("news", "stopped"),
        cancel(1),
        cancel("1"),
        cancel(2),
        is_quiet(),
        opens(NUMBERS, "server", data=0),
        ends(),
        cancel(1),
        is_quiet(),
    ),
    scenario(
        "one stream of several",
        *(
            step
            for n in range(3)
            for step in (opens("api.probe.gives", "server", id=n, data=[n] * 2, credit=1), *items(n, id=n))
        ),
        cancel(1),
        fails("canceled", CANCELED, id=1),
        *(step for n in (0, 2) for step in (grants(1, id=n), *items(n, id=n), ends(id=n))),
    ),
    scenario(
        "deadline_exceeded: the timeout covers the whole life of a stream",
        opens("api.probe.tells", "server", credit=2, timeout=300),
        hear("news", "started"),
        *items(1, 2),
        fails("deadline_exceeded", r"^api\.probe\.tells did not end in time\.$"),
        hear("news", "stopped"),
        opens("api.probe.listens", "client", timeout=50),
        hear("news", "started"),
        fails("deadline_exceeded", "in time"),
        hear("news", "stopped"),
        opens("api.probe.talks", "both", timeout=1500),
        hear("news", "started"),
        *sends("a"),
        *items("a"),
        fails("deadline_exceeded", "in time"),
        hear("news", "stopped"),
        *sends("b"),
        is_quiet(),
    ),
]

LIVES = [
    scenario(
        "deadline_exceeded: the time that the function's author gives",
        opens("api.probe.rushes", "server"),
        *items(1),
        fails("deadline_exceeded", r"^api\.probe\.rushes did not end in time\.$"),
    ),
    scenario(
        "an ordered function streams one at a time",
        opens("api.probe.queues", "server", id="a", data=1, credit=1),
        *items(1, id="a"),
        opens("api.probe.queues", "server", id="b", data=2, credit=1),
        opens("api.probe.queues", "server", id="c", data=3, credit=1),
        is_quiet(),
        cancel("b"),
        fails("canceled", CANCELED, id="b"),
        grants(1, id="a"),
        *items(1, id="a"),
        cancel("a"),
        fails("canceled", CANCELED, id="a"),
        *items(3, id="c"),
        cancel("c"),
        fails("canceled", CANCELED, id="c"),
    ),
]

NO_FRAME = r"'stream' takes one frame: an object with an id"

BROKEN: dict[str, dict[str, Any]] = {
    "an unknown field": {"data": 1, "dta": 2},
    "only an unknown field": {"cancle": True},
    "nothing but an id": {},
    "two things at once": {"data": 1, "credit": 1},
    "an end that is none": {"end": False},
    "a number for an end": {"end": 1},
    "a cancel that is none": {"cancel": "yes"},
    "an encoding without data": {"encoding": "gzip"},
    "progress": {"progress": {"done": 1}},
}

FRAMES = [
    scenario(
        "frames without an id are a fault of nobody's stream",
        opens(NUMBERS, "server", data=1, credit=0),
        *(
            step
            for frame in ({}, {"credit": 1}, {"data": 1}, {"end": True}, {"cancel": True}, {"id": None, "credit": 1})
            for step in (
                emit(frame, "stream"),
                hear("message", notice("stream", error("invalid_argument", NO_FRAME))),
            )
        ),
        grants(1),
        *items(1),
        ends(),
    ),
    *(
        scenario(
            f"a frame that is none closes its stream: {name}",
            opens("api.probe.talks", "both"),
            hear("news", "started"),
            emit({"id": 1, **frame}, "stream"),
            fails("invalid_argument", ""),
            hear("news", "stopped"),
            is_quiet(),
        )
        for name, frame in BROKEN.items()
    ),
    scenario(
        "null in an optional field of a frame is the same as absent",
        opens("api.probe.collects", "client"),
        *sends("a", encoding=None),
        *sends(None),
        finishes(),
        ends(data=["a", None]),
    ),
]

STREAMS = [*OPENING, *CREDIT, *ENDS, *CANCELS, *LIVES, *FRAMES]
