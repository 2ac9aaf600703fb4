"""Section 1: batches."""

from __future__ import annotations

import json

from tests.interop.packing import gz
from tests.interop.scenario import Scenario, Step, answer, call, cancel, emit, error, hear, internal, notice, start

ECHO = "api.services.test.echo"
REVERSE = "api.services.test.reverse"
SLEEP = "api.services.test.sleep"
FAIL = "api.services.test.fail"
BUFFERS = "api.probe.buffers"
IN_TURN = "api.probe.inTurn"


def _scenario(name: str, *steps: Step) -> Scenario:
    return Scenario(f"batch: {name}", "1", steps)


def _echo(data: object, **fields: object) -> dict[str, object]:
    return {"event": ECHO, "data": data, **fields}


def _bytes(envelope: object) -> bytes:
    return json.dumps(envelope).encode()


WITH_ACK = [
    _scenario(
        "the replies come in order, ids where there were any",
        call(
            [_echo("a"), _echo("b", id=1), _echo("c", id="1"), _echo(None, id=0)],
            [{"data": "a"}, {"data": "b", "id": 1}, {"data": "c", "id": "1"}, {"data": None, "id": 0}],
        ),
    ),
    _scenario(
        "entries in all three forms",
        call(
            [_echo(1), json.dumps(_echo(2)), _bytes(_echo(3)), gz(_bytes(_echo(4)))],
            [{"data": 1}, {"data": 2}, {"data": 3}, {"data": 4}],
        ),
    ),
    _scenario(
        "the whole as a string, a Buffer, and gzip of it",
        call(json.dumps([_echo(1), _echo(2)]), [{"data": 1}, {"data": 2}]),
        call(_bytes([_echo(1), _echo(2)]), [{"data": 1}, {"data": 2}]),
        call(gz(_bytes([_echo(1), _echo(2)])), [{"data": 1}, {"data": 2}]),
    ),
    _scenario("an empty one", call([], []), call("[]", []), call(b"[]", []), call(gz(b"[]"), [])),
    _scenario("of one", call([_echo(1)], [{"data": 1}])),
    _scenario("of fifty", call([_echo(n) for n in range(50)], [{"data": n} for n in range(50)])),
    _scenario(
        "of fifty-one: one error for the whole",
        call(
            [{"event": "api.probe.count"}] * 51,
            error("resource_exhausted", r"^A batch of 51 envelopes; at most 50 are allowed \(limits\.batch\)\.$"),
        ),
        call({"event": "api.probe.count"}, {"data": 1}),
    ),
    _scenario(
        "no nesting",
        call(
            [_echo(1), [_echo(2)], [], json.dumps([_echo(3)]), _bytes([]), _echo(4)],
            [
                {"data": 1},
                *[error("invalid_argument", r"^A batch cannot hold another batch\.$")] * 4,
                {"data": 4},
            ],
        ),
    ),
    _scenario(
        "one that fails does not fail the others",
        call(
            [
                _echo(1),
                {"event": FAIL, "id": 2},
                {"event": "api.services.test.nobody", "id": 3},
                {"event": "", "id": 4},
                7,
                None,
                "no JSON",
                b"\xff",
                _echo(1, ids=9),
                {"event": "api.probe.secret"},
                _echo("last"),
            ],
            [
                {"data": 1},
                error("failed_precondition", "on purpose", id=2),
                error("not_found", r"^There is no function 'api\.services\.test\.nobody'", id=3),
                error("invalid_argument", r"^event cannot be empty$", id=4),
                error("invalid_argument", "must be an envelope"),
                error("invalid_argument", "must be an envelope"),
                error("invalid_argument", "^Not valid JSON"),
                error("invalid_argument", "^Not valid JSON"),
                error("invalid_argument", r"'ids'\. Did you mean 'id'\?$"),
                internal(),
                {"data": "last"},
            ],
        ),
    ),
    _scenario(
        "the entries run side by side",
        start(
            "batch", [{"event": IN_TURN, "data": True, "id": "first"}, _echo("x"), {"event": IN_TURN, "id": "second"}]
        ),
        call(_echo("not held up"), {"data": "not held up"}),
        cancel("first"),
        answer(
            "batch", [error("canceled", "by its caller", id="first"), {"data": "x"}, {"data": "done", "id": "second"}]
        ),
    ),
    _scenario(
        "an id is unique among its entries too",
        start("batch", [{"event": "api.probe.waits", "id": 1}, _echo(2, id=1), _echo(3, id="1")]),
        call(_echo(4, id=1), error("already_exists", "the id 1 ", id=1)),
        cancel(1),
        answer(
            "batch", [error("canceled", "", id=1), error("already_exists", "the id 1 ", id=1), {"data": 3, "id": "1"}]
        ),
    ),
    _scenario(
        "each entry counts as a call in flight",
        *(start(f"{n}", {"event": "api.probe.waits", "id": n}) for n in range(60)),
        call(
            [{"event": SLEEP, "data": {"seconds": 0}} for _ in range(6)],
            [
                *[{"data": {"seconds": 0.0}}] * 4,
                *[error("resource_exhausted", r"^64 calls .*\(limits\.calls\)", retry_after=1000)] * 2,
            ],
        ),
        *(cancel(n) for n in range(60)),
        *(answer(f"{n}", error("canceled", "", id=n)) for n in range(60)),
    ),
    _scenario(
        "each entry has its own encoding and accept",
        call(
            [
                {"event": ECHO, "encoding": "base64", "data": "WzFd", "accept": "base64+bytes", "id": 1},
                {"event": REVERSE, "encoding": "base64+bytes", "data": "AAE=", "accept": "base64+bytes", "id": 2},
                {"event": ECHO, "encoding": "json", "data": "[1]", "accept": "json", "id": 3},
                {"event": ECHO, "encoding": "lzma", "id": 4},
            ],
            [
                error("invalid_argument", "no Buffer", id=1),
                {"data": "AQA=", "encoding": "base64+bytes", "id": 2},
                {"data": "[1]", "encoding": "json", "id": 3},
                error("unimplemented", "'lzma'", id=4),
            ],
        ),
    ),
    _scenario("is not for named events", call([_echo(1)], {"data": [_echo(1)]}, event=ECHO)),
]

BUFFERS_IN_REPLIES = [
    _scenario(
        "every reply has its own Buffers",
        call(
            [
                {"event": REVERSE, "data": b"ab"},
                _echo("no Buffer"),
                _echo([b"cd", {"e": b"fg"}]),
                {"event": FAIL},
                {"event": REVERSE, "data": b"hi", "id": 9},
            ],
            [
                {"data": b"ba"},
                {"data": "no Buffer"},
                {"data": [b"cd", {"e": b"fg"}]},
                error("failed_precondition", ""),
                {"data": b"ih", "id": 9},
            ],
        ),
    ),
    _scenario(
        "ten Buffers in one reply, and none for the rest",
        call(
            [{"event": BUFFERS, "data": n} for n in (4, 6, 0)],
            [{"data": [bytes([i]) for i in range(4)]}, {"data": [bytes([i]) for i in range(6)]}, {"data": []}],
        ),
    ),
    _scenario(
        "more than ten Buffers: the later entries fail",
        call(
            [{"event": BUFFERS, "data": 10, "id": 1}, {"event": BUFFERS, "data": 1, "id": 2}, _echo("x"), _echo(b"y")],
            [
                {"data": [bytes([i]) for i in range(10)], "id": 1},
                error("resource_exhausted", r"^The replies of this batch hold more than 10 Buffers\.$", id=2),
                {"data": "x"},
                error("resource_exhausted", r"more than 10 Buffers"),
            ],
        ),
    ),
    _scenario(
        "eleven Buffers in one reply",
        call(
            [{"event": BUFFERS, "data": 11, "id": 1}, {"event": BUFFERS, "data": 1, "id": 2}],
            [
                error("resource_exhausted", r"^The result holds 11 Buffers; clients take 10 in one reply\.$", id=1),
                {"data": [b"\x00"], "id": 2},
            ],
        ),
    ),
    _scenario(
        "text that looks like a placeholder stays text beside Buffers",
        call(
            [_echo('{"_placeholder":true,"num":0}'), _echo(b"a"), _echo('{"_placeholder":true,"num":1}'), _echo(b"b")],
            [
                {"data": '{"_placeholder":true,"num":0}'},
                {"data": b"a"},
                {"data": '{"_placeholder":true,"num":1}'},
                {"data": b"b"},
            ],
        ),
    ),
    _scenario(
        "an object that looks like a placeholder never turns into the Buffer of another reply",
        call(
            [
                {"event": ECHO, "encoding": "json", "data": '{"_placeholder":true,"num":0}', "id": 1},
                {"event": REVERSE, "encoding": "base64+bytes", "data": "c2VjcmV0", "id": 2},
            ],
            [
                error("failed_precondition", "_placeholder", id=1),
                {"data": b"terces", "id": 2},
            ],
        ),
        call(
            [{"event": ECHO, "encoding": "json", "data": '{"_placeholder":true,"num":0}'}, _echo(1)],
            [{"data": {"_placeholder": True, "num": 0}}, {"data": 1}],
        ),
    ),
]

WITHOUT_ACK = [
    _scenario(
        "without acknowledgement each reply goes by itself",
        emit([_echo(1, id="a"), _echo(b"2", id=0), _echo("silent"), {"event": FAIL, "id": 3}, {"event": FAIL}]),
        hear("message", {"data": 1, "id": "a"}),
        hear("message", {"data": b"2", "id": 0}),
        hear("message", error("failed_precondition", "on purpose", id=3)),
        hear("message", notice(FAIL, error("failed_precondition", "on purpose"))),
        call({"event": ECHO}, {"data": None}),
    ),
    _scenario(
        "without acknowledgement a broken entry is told of too",
        emit([{"event": "", "id": 3}, {"event": ECHO, "ids": 1}, [], _echo(1, id=4)]),
        hear("message", error("invalid_argument", "cannot be empty", id=3)),
        hear("message", notice(ECHO, error("invalid_argument", "'ids'"))),
        hear("message", notice(None, error("invalid_argument", "another batch"))),
        hear("message", {"data": 1, "id": 4}),
    ),
    _scenario("without acknowledgement an empty one is silent", emit([]), call({"event": ECHO}, {"data": None})),
    _scenario(
        "without acknowledgement fifty-one are one error",
        emit([_echo(n) for n in range(51)]),
        hear("message", notice(None, error("resource_exhausted", r"limits\.batch"))),
        call({"event": ECHO}, {"data": None}),
    ),
]

BATCHES = [*WITH_ACK, *BUFFERS_IN_REPLIES, *WITHOUT_ACK]
