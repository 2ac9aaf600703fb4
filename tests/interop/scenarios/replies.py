"""Section 2: where a reply goes, and what an error holds."""

from __future__ import annotations

from tests.interop.scenario import (
    Scenario,
    Step,
    Text,
    answer,
    call,
    call_with,
    cancel,
    emit,
    emit_with,
    error,
    hear,
    internal,
    notice,
    order,
    start,
)

ECHO = "api.services.test.echo"
FAIL = "api.services.test.fail"
TEST_FUNC = "api.services.test.testFunc"
IN_TURN = "api.probe.inTurn"
CODES = [
    "canceled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
]


def _scenario(name: str, *steps: Step) -> Scenario:
    return Scenario(name, "2", steps)


ON_PURPOSE = error("failed_precondition", r"^This function always fails, on purpose\.$")

WHERE = [
    _scenario("ack: a result", call({"event": ECHO, "data": 1}, {"data": 1})),
    _scenario("ack: a failure", call({"event": FAIL}, ON_PURPOSE)),
    _scenario("ack and id: a result", call({"event": ECHO, "data": 1, "id": "x"}, {"data": 1, "id": "x"})),
    _scenario("ack and id: a failure", call({"event": FAIL, "id": "x"}, {**ON_PURPOSE, "id": "x"})),
    _scenario(
        "no ack, an id: a result is a message",
        emit({"event": ECHO, "data": [1, b"x"], "id": "x"}),
        hear("message", {"data": [1, b"x"], "id": "x"}),
    ),
    _scenario(
        "no ack, id 0: a result is a message", emit({"event": ECHO, "id": 0}), hear("message", {"data": None, "id": 0})
    ),
    _scenario(
        "no ack, an id: a failure is a message",
        emit({"event": FAIL, "id": "x"}),
        hear("message", {**ON_PURPOSE, "id": "x"}),
        emit({"event": "a.b", "id": 0}),
        hear("message", error("not_found", r"^There is no function 'a\.b'\.$", id=0)),
    ),
    _scenario(
        "no ack, an id: a broken envelope is a message",
        emit({"event": ECHO, "id": 4, "timeout": 0}),
        hear("message", error("invalid_argument", "^timeout must", id=4)),
    ),
    _scenario(
        "neither: a result goes nowhere",
        emit({"event": IN_TURN}),
        emit({"event": ECHO, "data": "silent"}),
        emit("silent", event=ECHO),
        emit_with([], event=IN_TURN),
        # One at a time, in order: when this is answered the others have ended; what nobody waited for is reported.
        call({"event": IN_TURN}, {"data": "done"}),
    ),
    _scenario(
        "neither: a failure is a message with event and error",
        emit({"event": FAIL}),
        hear("message", notice(FAIL, ON_PURPOSE)),
        emit({"event": "api.services.test.nobody"}),
        hear("message", notice("api.services.test.nobody", error("not_found", "^There is no function"))),
        emit({"event": "api.probe.secret"}),
        hear("message", notice("api.probe.secret", internal())),
        emit({"event": "api.services.test.add", "data": {"a": 1}}),
        hear(
            "message",
            notice(
                "api.services.test.add",
                error(
                    "invalid_argument",
                    r"^The data does not fit: 1 fault, see details\.$",
                    details=[{"path": ["b"], "type": "missing", "message": "Field required"}],
                ),
            ),
        ),
    ),
    _scenario(
        "neither: a broken envelope is a message with what was made out of its event",
        emit({"event": ECHO, "meta": 1}),
        hear("message", notice(ECHO, error("invalid_argument", "^meta must"))),
        emit({"event": "no path"}),
        hear("message", notice("no path", error("invalid_argument", "no dotted path"))),
        emit("no JSON"),
        hear("message", notice(None, error("invalid_argument", "^Not valid JSON"))),
        emit_with([]),
        hear("message", notice(None, error("invalid_argument", "exactly one argument"))),
        emit({"event": ECHO, "data": 2**53}),
        hear("message", notice(None, error("invalid_argument", "2"))),
    ),
    _scenario(
        "a named event: a result goes nowhere, a failure is a message",
        emit("x", event=ECHO),
        emit("sorry", event=FAIL),
        hear("message", notice(FAIL, error("failed_precondition", "^sorry$"))),
        emit("x", event="nobody"),
        hear("message", notice("nobody", error("not_found", "^There is no function 'nobody'"))),
        emit_with([1, 2], event=ECHO),
        hear("message", notice(ECHO, error("invalid_argument", "takes one argument, not 2"))),
        call({"event": ECHO}, {"data": None}),
    ),
    _scenario(
        "a function may also emit to its caller",
        call({"event": TEST_FUNC, "data": "You`re welcome"}, {"data": "You`re welcome"}),
        hear("message", "You`re welcome"),
        emit({"event": TEST_FUNC, "data": "again"}),
        hear("message", "again"),
        call("named", {"data": "named"}, event=TEST_FUNC),
        hear("message", "named"),
    ),
    _scenario(
        "encoding is there only where data is packed",
        call({"event": ECHO, "data": 1, "accept": "json"}, {"data": "1", "encoding": "json"}),
        call({"event": FAIL, "accept": "json"}, ON_PURPOSE),
        emit({"event": ECHO, "data": 1, "accept": "json", "id": 2}),
        hear("message", {"data": "1", "encoding": "json", "id": 2}),
    ),
    _scenario(
        "a reply to the acknowledgement only, however often it is asked for",
        start("a", {"event": ECHO, "data": 1}),
        start("b", {"event": ECHO, "data": 2}),
        answer("b", {"data": 2}),
        answer("a", {"data": 1}),
        order("a", "b"),
    ),
]

ERRORS = [
    *(
        _scenario(
            f"an author's {code}",
            call(
                {"event": "api.probe.fails", "data": {"code": code}, "id": 1}, error(code, r"^As you wished\.$", id=1)
            ),
        )
        for code in CODES
    ),
    _scenario(
        "an author's details and retry_after",
        call(
            {
                "event": "api.probe.fails",
                "data": {"code": "unavailable", "retry_after": 250, "detail": "Field required"},
            },
            error(
                "unavailable",
                "^As you wished",
                retry_after=250,
                details=[{"path": ["items", 3, "name"], "type": "missing", "message": "Field required"}],
            ),
        ),
    ),
    _scenario(
        "invalid_argument: one detail for each fault, with its path",
        call(
            {
                "event": "api.probe.order",
                "data": {"items": [{"day": "2026-11-23"}, {"day": "soon", "seats": "1", "extra": 1}], "photo": "text"},
                "id": 1,
            },
            error(
                "invalid_argument",
                r"^The data does not fit: 4 faults, see details\.$",
                id=1,
                details=[
                    {"path": ["items", 1, "day"], "type": "date_parsing", "message": Text("valid date")},
                    {"path": ["items", 1, "seats"], "type": "int_type", "message": Text("valid integer")},
                    {"path": ["items", 1, "extra"], "type": "extra_forbidden", "message": Text("not permitted")},
                    {"path": ["photo"], "type": "buffer_type", "message": "Input should be a Buffer"},
                ],
            ),
        ),
    ),
    _scenario(
        "internal: an id for the log, and nothing of the exception",
        call({"event": "api.probe.secret", "id": 1}, internal(id=1)),
        call({"event": "api.services.test.crash"}, internal()),
        call({"event": "api.probe.leave"}, internal()),
        call({"event": "api.probe.mistaken"}, internal()),
        call({"event": ECHO}, {"data": None}),
    ),
    _scenario(
        "not_found: the nearest functions that the caller may see",
        call(
            {"event": "api.services.test.ech", "id": 1},
            error(
                "not_found",
                r"^There is no function 'api\.services\.test\.ech'\. Did you mean api\.services\.test\.echo\?$",
                id=1,
            ),
        ),
        call(
            {"event": "api.service.test.echo"},
            error(
                "not_found",
                r"^There is no function 'api\.service\.test\.echo'\. Did you mean api\.services\.test\.echo\?$",
            ),
        ),
        call({"event": "qqq.zzz"}, error("not_found", r"^There is no function 'qqq\.zzz'\.$")),
        # The very name of the hidden function is not what is meant.
        call({"event": "api.probe.hidde"}, error("not_found", r"^There is no function 'api\.probe\.hidde'\.$")),
        call({"event": "api.services.test"}, error("not_found", r"^There is no function 'api\.services\.test'\.")),
        call({"event": f"{ECHO}.echo"}, error("not_found", r"^There is no function")),
    ),
    _scenario(
        "not_found: a hidden function, word for word as an unknown one",
        call(
            {"event": "api.probe.hidden", "id": 1},
            error("not_found", r"^There is no function 'api\.probe\.hidden'\.$", id=1),
        ),
        call(
            {"event": "api.probe.zzzzzz", "id": 1},
            error("not_found", r"^There is no function 'api\.probe\.zzzzzz'\.$", id=1),
        ),
        call(
            "not even a number",
            error("not_found", r"^There is no function 'api\.probe\.hidden'\.$"),
            event="api.probe.hidden",
        ),
        emit({"event": "api.probe.hidden"}),
        hear(
            "message", notice("api.probe.hidden", error("not_found", r"^There is no function 'api\.probe\.hidden'\.$"))
        ),
        call(
            {"event": "api.probe.tries", "data": {"event": "api.probe.hidden", "data": 1}},
            {"data": "not_found"},
        ),
        call(
            {"event": "api.probe.hidden", "data": "no", "encoding": "gzip"},
            error("not_found", r"^There is no function 'api\.probe\.hidden'\.$"),
        ),
    ),
    _scenario(
        "permission_denied: where a plugin lets the caller know",
        call({"event": "api.probe.forbidden", "id": 1}, error("permission_denied", r"^Only on Sundays\.$", id=1)),
        call("not even a number", error("permission_denied", "Sundays"), event="api.probe.forbidden"),
        emit({"event": "api.probe.forbidden"}),
        hear("message", notice("api.probe.forbidden", error("permission_denied", "Sundays"))),
    ),
    _scenario(
        "unavailable: a function of a plugin that is disabled",
        call(
            {"event": "api.off.f", "id": 1}, error("unavailable", r"^api\.off\.f: the plugin off is disabled\.$", id=1)
        ),
        call("x", error("unavailable", "is disabled"), event="api.off.f"),
        emit({"event": "api.off.f"}),
        hear("message", notice("api.off.f", error("unavailable", "is disabled"))),
    ),
    _scenario(
        "unavailable: a function of a plugin that is quarantined, and nothing of why",
        call(
            {"event": "api.broken.f", "id": 1},
            error("unavailable", r"^api\.broken\.f: the plugin broken is quarantined\.$", id=1),
        ),
    ),
    _scenario(
        "deadline_exceeded: the caller's timeout is over",
        call(
            {"event": "api.probe.patient", "timeout": 1000, "id": 1},
            error("deadline_exceeded", r"^api\.probe\.patient did not end in time\.$", id=1),
        ),
        hear("news", "started"),
        hear("news", "stopped"),
        emit({"event": "api.probe.waits", "timeout": 50}),
        hear("message", notice("api.probe.waits", error("deadline_exceeded", "in time"))),
        emit({"event": "api.probe.waits", "timeout": 50, "id": 2}),
        hear("message", error("deadline_exceeded", "in time", id=2)),
        call({"event": ECHO, "id": 1}, {"data": None, "id": 1}),
    ),
    _scenario(
        "resource_exhausted: the 65th call in flight, at once, and only that one",
        *(start(f"{n}", {"event": "api.probe.waits", "id": n}) for n in range(64)),
        call(
            {"event": ECHO, "id": "65th"},
            error(
                "resource_exhausted",
                r"^64 calls of this connection are in flight \(limits\.calls\)\.$",
                id="65th",
                retry_after=1000,
            ),
        ),
        call("x", error("resource_exhausted", "64 calls", retry_after=1000), event=ECHO),
        emit({"event": ECHO}),
        hear("message", notice(ECHO, error("resource_exhausted", "64 calls", retry_after=1000))),
        call({"event": "api.probe.nobody"}, error("not_found", "no function")),
        cancel(17),
        answer("17", error("canceled", "", id=17)),
        call({"event": ECHO, "data": "room again"}, {"data": "room again"}),
        *(cancel(n) for n in range(64) if n != 17),
        *(answer(f"{n}", error("canceled", "", id=n)) for n in range(64) if n != 17),
    ),
    _scenario(
        "resource_exhausted: eleven Buffers in a result",
        call({"event": "api.probe.buffers", "data": 10}, {"data": [bytes([n]) for n in range(10)]}),
        call(
            {"event": "api.probe.buffers", "data": 11, "id": 1},
            error("resource_exhausted", r"^The result holds 11 Buffers; clients take 10 in one reply\.$", id=1),
        ),
        call(
            {"event": "api.probe.buffers", "data": 11, "accept": "msgpack"},
            {"data": b"\x9b" + b"".join(b"\xc4\x01" + bytes([n]) for n in range(11)), "encoding": "msgpack"},
        ),
    ),
    _scenario(
        "already_exists: the id is in flight",
        start("first", {"event": "api.probe.waits", "id": "x"}),
        call({"event": ECHO, "id": "x"}, error("already_exists", r"^A call with the id 'x' is in flight\.$", id="x")),
        emit({"event": ECHO, "id": "x"}),
        hear("message", error("already_exists", "in flight", id="x")),
        call({"event": "api.probe.waits", "id": "X", "timeout": 1}, error("deadline_exceeded", "", id="X")),
        cancel("x"),
        answer("first", error("canceled", r"^The call was cancelled by its caller\.$", id="x")),
        call({"event": ECHO, "id": "x"}, {"data": None, "id": "x"}),
    ),
    _scenario(
        "canceled: by the caller, with an acknowledgement or without",
        start("patient", {"event": "api.probe.patient", "id": 0}),
        hear("news", "started"),
        cancel(0),
        answer("patient", error("canceled", r"^The call was cancelled by its caller\.$", id=0)),
        hear("news", "stopped"),
        emit({"event": "api.probe.patient", "id": "x"}),
        hear("news", "started"),
        cancel("x"),
        hear("message", error("canceled", "by its caller", id="x")),
        hear("news", "stopped"),
        start("one", {"event": "api.probe.patient", "id": 1}),
        hear("news", "started"),
        cancel("1"),
        call({"event": ECHO, "id": "1"}, {"data": None, "id": "1"}),
        cancel(1),
        cancel(1),
        answer("one", error("canceled", "", id=1)),
        hear("news", "stopped"),
    ),
    _scenario(
        "unimplemented and invalid_argument come before the function is looked for",
        call({"event": "qqq.zzz", "encoding": "lzma"}, error("unimplemented", "'lzma'")),
        call_with([{"event": "qqq.zzz", "timeout": 0}], error("invalid_argument", "timeout")),
    ),
]

REPLIES = [*WHERE, *ERRORS]
