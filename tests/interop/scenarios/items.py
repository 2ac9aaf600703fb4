"""Sections 3 to 6: what items of streams hold, what goes wrong with them, progress, and streams inside the server."""

from __future__ import annotations

import gzip
from typing import Any

from tests.interop.packing import pack
from tests.interop.scenario import (
    ERROR_ID,
    Holding,
    Packed,
    Scenario,
    Step,
    call,
    cancel,
    error,
    hear,
)
from tests.interop.scenarios.streams import (
    CANCELED,
    NUMBERS,
    TOTAL,
    ends,
    fails,
    finishes,
    grants,
    is_quiet,
    items,
    opens,
    sends,
)

GIVES = "api.probe.gives"
COLLECTS = "api.probe.collects"
MIRRORS = "api.probe.mirrors"
WORK = "api.services.test.work"

VALUES: list[Any] = [
    None, True, False, 0, -1, 1.5, "", "ü\u2028\U0001f389", [], {}, [1, [2, {"a": None}]], {"end": True}, {"id": 1},
    {"error": {"code": "aborted", "message": "no error"}}, 2**53 - 1,
]  # fmt: skip
BUFFERS: list[Any] = [b"", b"\x00\xff", [b"a", {"b": b"b"}], {"data": b"c"}]
ENCODINGS = ["json", "gzip", "base64", "base64+gzip", "gzip+gzip", "msgpack", "base64+msgpack", "gzip+msgpack", "zstd"]


def _scenario(name: str, *steps: Step, section: str = "5", **more: Any) -> Scenario:
    return Scenario(name, section, steps, **more)


def _invalid(*path: object, kind: str) -> dict[str, Any]:
    return {"details": [Holding({"path": list(path), "type": kind})]}


def _nested(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


PLAIN = [
    _scenario("items: any value, to the client", opens(GIVES, "server", data=VALUES), *items(*VALUES), ends()),
    _scenario(
        "items: any value, from the client",
        *(
            step
            for some in (VALUES[:8], VALUES[8:])
            for step in (opens(COLLECTS, "client"), *sends(*some), finishes(), ends(data=some))
        ),
    ),
    _scenario("items: any value, there and back", opens(MIRRORS, "both"),
              *(step for value in VALUES for step in (*sends(value), *items(value))), finishes(), ends()),
    _scenario("items: Buffers, to the client", opens(GIVES, "server", data=BUFFERS), *items(*BUFFERS), ends()),
    _scenario(
        "items: Buffers, from the client",
        opens(COLLECTS, "client"),
        *sends(*BUFFERS),
        finishes(),
        ends(data=BUFFERS),
    ),
    _scenario("items: Buffers, there and back", opens(MIRRORS, "both"),
              *(step for value in BUFFERS for step in (*sends(value), *items(value))), finishes(), ends()),
    _scenario(
        "items: eleven Buffers in one",
        opens(GIVES, "server", data=["fine", [b"x"] * 10], credit=2),
        *items("fine", [b"x"] * 10),
        ends(),
        opens("api.probe.breaksWith", "server", data=11),
        *items(0),
        fails("resource_exhausted", "11 Buffers"),
    ),
]  # fmt: skip

PACKED_ITEMS = [
    *(
        _scenario(
            f"encoding of items: {encoding}",
            opens(COLLECTS, "client"),
            *(step for value in ([1, "ü"], "plain") for step in sends(pack(value, encoding), encoding=encoding)),
            *sends("not packed"),
            finishes(),
            ends(data=[[1, "ü"], "plain", "not packed"]),
            section="3",
        )
        for encoding in ENCODINGS
    ),
    *(
        _scenario(
            f"accept, for items: {accept}",
            opens(GIVES, "server", data=[[1, "ü"], "plain"], accept=accept),
            *items(Packed(accept, [1, "ü"]), Packed(accept, "plain"), encoding=accept),
            ends(),
            opens(COLLECTS, "client", accept=accept),
            *sends([1, "ü"]),
            finishes(),
            ends(data=Packed(accept, [[1, "ü"]]), encoding=accept),
            opens(MIRRORS, "both", accept=accept),
            *sends([1, "ü"]),
            *items(Packed(accept, [1, "ü"]), encoding=accept),
            finishes(),
            ends(),
            section="3",
        )
        for accept in ENCODINGS
    ),
    _scenario(
        "encoding and accept: bytes",
        opens(MIRRORS, "both", accept="bytes"),
        *sends(b"as it is", encoding="bytes"),
        *items(b"as it is", encoding="bytes"),
        *sends(gzip.compress(b"packed"), encoding="gzip+bytes"),
        *items(b"packed", encoding="bytes"),
        *sends("cGxhaW4=", encoding="base64+bytes"),
        *items(b"plain", encoding="bytes"),
        finishes(),
        ends(),
        section="3",
    ),
    _scenario(
        "accept: an item that does not go into it fails the stream, after those before it",
        opens(MIRRORS, "both", accept="bytes"),
        *sends(b"fine", "no bytes"),
        *items(b"fine", encoding="bytes"),
        fails("invalid_argument", "bytes"),
        opens(GIVES, "server", data=["fine", b"bytes"], accept="gzip"),
        *items(Packed("gzip", "fine"), encoding="gzip"),
        fails("invalid_argument", "msgpack"),
        opens("api.probe.breaks", "server", data={"code": "aborted"}, accept="gzip"),
        fails("aborted", "As you wished"),
        section="3",
    ),
    *(
        _scenario(
            f"an item that is not what its encoding says: {name}",
            opens(MIRRORS, "both"),
            *sends("fine"),
            *items("fine"),
            *sends(data, encoding=encoding),
            fails(code, message),
            *sends("late"),
            is_quiet(),
            section="3",
        )
        for name, data, encoding, code, message in (
            ("no gzip", b"PK", "gzip", "invalid_argument", "gzip"),
            ("a truncated member", gzip.compress(b'"x"')[:-3], "gzip", "invalid_argument", "gzip"),
            ("a string for a Buffer", "H4sI", "gzip", "invalid_argument", "gzip|Buffer"),
            ("no base64", "????", "base64", "invalid_argument", "base64"),
            ("no msgpack", b"\xc1", "msgpack", "invalid_argument", "msgpack"),
            ("a bomb", gzip.compress(bytes(300_000)), "gzip+bytes", "resource_exhausted", "limits"),
            ("an unknown encoding", b"x", "lzma", "unimplemented", "'lzma'"),
            ("a wrong order", b"x", "json+gzip", "invalid_argument", "json"),
            ("a number for an encoding", b"x", 7, "invalid_argument", "encoding"),
        )
    ),
]

FAULTS = [
    *(
        _scenario(
            f"an item that passes a limit ends its stream, and no other: {name}",
            opens(MIRRORS, "both", id="good"),
            opens("api.probe.talks", "both", id="bad"),
            hear("news", "started"),
            *sends("fine", id="bad"),
            *items("fine", id="bad"),
            *sends(value, id="bad"),
            fails(code, message, id="bad"),
            hear("news", "stopped"),
            *sends("late", id="bad"),
            *sends("fine", id="good"),
            *items("fine", id="good"),
            finishes(id="good"),
            ends(id="good"),
        )
        for name, value, code, message in (
            ("nesting", _nested(70), "resource_exhausted", r"limits\.depth"),
            ("an integer", 2**53, "invalid_argument", "2\\^53"),
        )
    ),
    _scenario(
        "an item that does not fit: the code, the details, and which item it was",
        opens(TOTAL, "client"),
        *sends({"n": 1}, {"n": 2}, {"n": "three"}, {"n": 4}),
        fails("invalid_argument", r"\b3\b", details=[Holding({"path": ["n"], "type": "int_parsing"})]),
        finishes(),
        is_quiet(),
        opens("api.probe.books", "client"),
        *sends({"day": "2026-11-23"}, {"day": "2026-11-24", "seats": 2}),
        *sends({"day": "soon", "seats": "1"}),
        fails("invalid_argument", r"\b3\b", details=[
            Holding({"path": ["day"], "type": "date_parsing"}), Holding({"path": ["seats"], "type": "int_type"}),
        ]),
        opens("api.probe.books", "client"),
        *sends(None),
        fails("invalid_argument", r"\b1\b", **_invalid(kind="model_type")),
    ),
    _scenario(
        "an item that does not fit: the function may go on to answer",
        opens("api.probe.pardons", "both"),
        *sends(1, 2, "three"),
        *items(1, 2, "invalid_argument"),
        ends(),
        opens("api.probe.pardons", "both"),
        *sends(b"no gzip", encoding="gzip"),
        *items("invalid_argument"),
        ends(),
    ),
    _scenario(
        "an item that is not what the function promises: internal, after those before it",
        opens("api.probe.promises", "server", data=[1, 2, "three", 4]),
        *items(1, 2),
        fails("internal", "^Something went wrong", error_id=ERROR_ID),
        opens("api.probe.promises", "server", data=["one"]),
        fails("internal", "^Something went wrong", error_id=ERROR_ID),
        opens("api.probe.misjudges", "client"),
        *sends("a"),
        finishes(),
        fails("internal", "^Something went wrong", error_id=ERROR_ID),
        is_quiet(),
    ),
    *(
        _scenario(
            f"a function that fails {name}: {'on purpose' if code else 'by accident'}",
            opens("api.probe.breaks", "server", data={"after": after, "code": code}),
            *items(*range(1, after + 1)),
            fails(code, "^As you wished") if code else fails("internal", "^Something went wrong", error_id=ERROR_ID),
            grants(1),
            opens("api.probe.breaksOn", "client"),
            *sends(*["fine"] * after, {"code": code}, "unread"),
            fails(code, "^As you wished") if code else fails("internal", "^Something went wrong", error_id=ERROR_ID),
            finishes(),
            is_quiet(),
        )
        for name, after in (("at once", 0), ("in the middle", 3))
        for code in ("failed_precondition", None)
    ),
    _scenario(
        "a function that takes no item at all",
        opens("api.probe.refuses", "client"),
        fails("failed_precondition", "^As you wished"),
        *sends("late"),
        finishes(),
        is_quiet(),
    ),
    _scenario(
        "a function that fails after the last item",
        opens("api.probe.rejects", "client"),
        *sends(1, 2),
        is_quiet(),
        finishes(),
        fails("out_of_range", "^As you wished"),
        is_quiet(),
    ),
]  # fmt: skip

ABORTED = {"after": 2, "code": "aborted"}
_HALF = {"id": "w", "progress": {"done": 1, "total": 2, "message": "half"}}

PROGRESS = [
    _scenario(
        "progress of a call, for who asks for it",
        call({"event": "api.probe.paces", "id": "w", "progress": True}, {"data": "done", "id": "w"}),
        hear("stream", _HALF),
        call({"event": "api.probe.pacesInThread", "id": "t", "progress": True}, {"data": "done", "id": "t"}),
        hear("stream", {"id": "t", "progress": {"done": 0.5}}),
        call({"event": "api.probe.paces", "id": "w"}, {"data": "done", "id": "w"}),
        call({"event": "api.probe.paces", "id": "w", "progress": False}, {"data": "done", "id": "w"}),
        call({"event": "api.probe.paces"}, {"data": "done"}),
        call({"event": "api.probe.paces", "progress": True}, error("invalid_argument", "progress needs an id")),
        call({"event": WORK, "id": 1, "data": {"steps": 3, "seconds": 0}}, {"data": {"steps": 3}, "id": 1}),
    ),
    _scenario(
        "progress of a call in a batch",
        call(
            [{"event": "api.probe.paces", "id": "w", "progress": True}, {"event": "api.probe.paces", "id": "v"}],
            [{"data": "done", "id": "w"}, {"data": "done", "id": "v"}],
        ),
        hear("stream", _HALF),
    ),
    _scenario(
        "progress of a stream costs no credit",
        opens("api.probe.pacesStream", "server", credit=0, progress=True),
        hear("stream", {"id": 1, "progress": {"done": 1, "total": 4}}),
        is_quiet(),
        grants(1),
        *items(1),
        ends(),
        opens("api.probe.pacesStream", "server"),
        *items(1),
        ends(),
    ),
]

INSIDE = [
    _scenario(
        "a function has the items of another",
        opens("api.probe.relays", "server", data={"event": NUMBERS, "data": 20}),
        *items(*range(1, 17)),
        is_quiet(),
        grants(10),
        *items(*range(17, 21)),
        ends(),
        opens("api.probe.relays", "server", data={"event": "api.probe.breaks", "data": ABORTED}),
        *items(1, 2),
        fails("aborted", "As you wished"),
        opens("api.probe.relays", "server", data={"event": NUMBERS, "data": "x"}),
        fails("invalid_argument", "1 fault", **_invalid(kind="int_parsing")),
        opens("api.probe.relays", "server", data={"event": "api.probe.hidden"}),
        fails("not_found", "no function"),
        section="6",
    ),
    _scenario(
        "a function sends items to another",
        call({"event": "api.probe.entrusts", "data": {"event": COLLECTS, "data": [1, b"2", None]}},
             {"data": [1, b"2", None]}),
        call({"event": "api.probe.entrusts", "data": {"event": COLLECTS, "data": list(range(100))}},
             {"data": list(range(100))}),
        call({"event": "api.probe.entrusts", "data": {"event": TOTAL, "data": [{"n": 1}, {}]}},
             error("invalid_argument", "", **_invalid("n", kind="missing"))),
        opens("api.probe.passes", "server", data={"event": MIRRORS, "data": ["a", "b"]}),
        *items("a", "b"),
        ends(),
        section="6",
    ),
    _scenario(
        "cancelling the outer stream cancels the inner one",
        opens("api.probe.relays", "server", data={"event": "api.probe.tells"}, credit=2),
        hear("news", "started"),
        *items(1, 2),
        cancel(1),
        fails("canceled", CANCELED),
        hear("news", "stopped"),
        section="6",
    ),
]  # fmt: skip

ITEMS = [*PLAIN, *PACKED_ITEMS, *FAULTS, *PROGRESS, *INSIDE]
