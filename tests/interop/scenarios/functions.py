"""Sections 4 to 9 as far as a unary function goes: contracts, frames, calls from inside, who calls, looking around."""

from __future__ import annotations

from typing import Any

from tests.interop.scenario import (
    ERROR_ID,
    NO_ANSWER,
    Between,
    Holding,
    Scenario,
    Step,
    Text,
    answer,
    call,
    call_with,
    cancel,
    each,
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
ASK = "api.services.test.ask"
INVOKES = "api.probe.invokes"
IN_TURN = "api.probe.inTurn"


def _scenario(section: str, name: str, *steps: Step, **more: Any) -> Scenario:
    return Scenario(name, section, steps, **more)


def _invalid(path: list[object], kind: str, message: str) -> dict[str, Any]:
    details = [{"path": path, "type": kind, "message": Text(message)}]
    return error("invalid_argument", r"^The data does not fit: 1 fault, see details\.$", details=details)


CONTRACTS = [
    _scenario(
        "4",
        "a strict model takes an ISO date",
        call(
            {"event": "api.probe.appointment", "data": {"day": "2026-11-23"}},
            {"data": {"day": "2026-11-23", "seats": 1}},
        ),
        call(
            {"event": "api.probe.appointment", "data": {"day": "2026-11-23", "seats": "1"}},
            _invalid(["seats"], "int_type", "valid integer"),
        ),
        call(
            {"event": "api.probe.appointment", "data": {"day": "soon"}},
            _invalid(["day"], "date_parsing", ""),
        ),
        call({"event": "api.probe.appointment"}, _invalid([], "model_type", "")),
    ),
    _scenario(
        "4",
        "bytes takes a Buffer only",
        call({"event": "api.services.test.reverse", "data": b"abc"}, {"data": b"cba"}),
        *(
            call(
                {"event": "api.services.test.reverse", "data": data},
                _invalid([], "buffer_type", "^Input should be a Buffer$"),
            )
            for data in ("abc", [97], None, {"_placeholder": False, "num": 0})
        ),
    ),
    _scenario(
        "4",
        "an argument is validated before the function runs",
        call({"event": "api.services.test.add", "data": {"a": 1, "b": 2}}, {"data": {"sum": 3}}),
        call(
            {"event": "api.services.test.add", "data": {"a": 1, "b": 2, "c": 3}}, _invalid(["c"], "extra_forbidden", "")
        ),
        call({"event": "api.services.test.add", "data": {"a": 1, "b": 2.5}}, _invalid(["b"], "int_from_float", "")),
        call({"event": "api.services.test.add", "data": [1, 2]}, _invalid([], "model_type", "")),
    ),
    _scenario(
        "4",
        "a function without data takes none",
        call({"event": "api.probe.nothing"}, {"data": None}),
        call({"event": "api.probe.nothing", "data": None}, {"data": None}),
        call_with([], {"data": None}, event="api.probe.nothing"),
        call({"event": "api.probe.nothing", "data": 0}, error("invalid_argument", r"^This function takes no data\.$")),
    ),
    _scenario(
        "4",
        "a default stands in for data that is absent",
        call({"event": "api.probe.optional"}, {"data": 7}),
        call({"event": "api.probe.optional", "data": None}, {"data": 7}),
        call({"event": "api.probe.optional", "data": 0}, {"data": 0}),
        call_with([], {"data": 7}, event="api.probe.optional"),
    ),
    _scenario(
        "4",
        "a plain function runs in a thread",
        call(
            {"event": "api.services.test.digest", "data": b"abc"},
            {"data": {"sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "size": 3}},
        ),
        call({"event": "api.services.test.digest", "data": "abc"}, _invalid([], "buffer_type", "")),
    ),
    _scenario(
        "4",
        "a result that does not fit is never sent",
        call({"event": "api.probe.mistaken", "id": 1}, internal(id=1)),
        emit({"event": "api.probe.mistaken"}),
        hear("message", notice("api.probe.mistaken", internal())),
    ),
]

NO_STREAM = r"^There is no stream with this id\.$"

FRAMES = [
    _scenario(
        "5",
        "a frame for an unknown id gets one not_found, with that id",
        *(
            step
            for call_id in (0, 7, "x", "7")
            for frame in ({"data": 1}, {"end": True}, {"credit": 5}, {"data": b"x"}, {})
            for step in (
                emit({"id": call_id, **frame}, "stream"),
                hear("stream", error("not_found", NO_STREAM, id=call_id)),
            )
        ),
        call({"event": ECHO}, {"data": None}),
    ),
    _scenario(
        "5",
        "cancel for an unknown id is ignored, and nobody answers an error",
        cancel(7),
        cancel("x"),
        emit({"id": 7, "error": {"code": "not_found", "message": "?"}}, "stream"),
        call({"event": ECHO}, {"data": None}),
    ),
    _scenario(
        "5",
        "a frame that is none",
        *(
            step
            for arguments in each(
                [],
                [{}],
                [7],
                [None],
                [[]],
                ["{}"],
                [b"x"],
                [{"id": None}],
                [{"id": True}],
                [{"id": 1.5}],
                [{"id": 1}, {}],
            )
            for step in (
                emit_with(arguments, "stream"),
                hear(
                    "message",
                    notice("stream", error("invalid_argument", "'stream' takes one frame: an object with an id")),
                ),
            )
        ),
        call({"event": ECHO}, {"data": None}),
    ),
    _scenario(
        "5",
        "cancel reaches a unary call in flight, in a batch too",
        start("batch", [{"event": "api.probe.patient", "id": "a"}, {"event": ECHO, "data": 1, "id": "b"}]),
        hear("news", "started"),
        cancel("a"),
        answer(
            "batch", [error("canceled", r"^The call was cancelled by its caller\.$", id="a"), {"data": 1, "id": "b"}]
        ),
        hear("news", "stopped"),
    ),
]

INSIDE = [
    _scenario(
        "6",
        "a function emits to its caller, before its reply",
        call({"event": "api.probe.emits", "data": {"a": [b"x", 1, None]}}, {"data": "emitted"}),
        hear("news", {"a": [b"x", 1, None]}),
        call({"event": "api.probe.emits", "data": None, "accept": "json"}, {"data": '"emitted"', "encoding": "json"}),
        hear("news", None),
    ),
    _scenario(
        "6",
        "a function calls another",
        call({"event": "api.services.test.addAll", "data": [1, 2, 3, 4]}, {"data": 10}),
        call({"event": "api.services.test.addAll", "data": []}, {"data": 0}),
        call({"event": INVOKES, "data": {"event": "api.services.test.reverse", "data": b"abc"}}, {"data": b"cba"}),
        call({"event": INVOKES, "data": {"event": "api.probe.nothing"}}, {"data": None}),
    ),
    _scenario(
        "6",
        "a call from inside is validated and authorised likewise, and fails likewise",
        call(
            {"event": INVOKES, "data": {"event": "api.services.test.fail"}}, error("failed_precondition", "on purpose")
        ),
        call(
            {"event": INVOKES, "data": {"event": "api.services.test.add", "data": {"a": 1}}},
            _invalid(["b"], "missing", ""),
        ),
        call(
            {"event": INVOKES, "data": {"event": "api.probe.hidden"}},
            error("not_found", r"^There is no function 'api\.probe\.hidden'\.$"),
        ),
        call({"event": INVOKES, "data": {"event": "api.probe.forbidden"}}, error("permission_denied", "Sundays")),
        call({"event": INVOKES, "data": {"event": "api.off.f"}}, error("unavailable", "is disabled")),
        call({"event": INVOKES, "data": {"event": "api.probe.secret"}}, internal()),
        call(
            {"event": "api.probe.tries", "data": {"event": "api.services.test.fail"}}, {"data": "failed_precondition"}
        ),
    ),
    _scenario(
        "6",
        "a call from inside has the time that remains",
        call(
            {"event": INVOKES, "data": {"event": "api.probe.remaining"}, "timeout": 900_000},
            {"data": Between(890, 900)},
        ),
        call(
            {"event": INVOKES, "data": {"event": "api.probe.waits"}, "timeout": 50, "id": 1},
            error("deadline_exceeded", r"did not end in time", id=1),
        ),
    ),
    _scenario(
        "6",
        "a call from inside has the headers of the one around it",
        call(
            {"event": INVOKES, "data": {"event": "api.probe.meta"}, "meta": {"traceparent": "00-1-2-01"}},
            {"data": {"traceparent": "00-1-2-01"}},
        ),
    ),
    _scenario(
        "6",
        "cancelling the outer call cancels the inner one",
        start("outer", {"event": INVOKES, "data": {"event": "api.probe.patient"}, "id": 1}),
        hear("news", "started"),
        cancel(1),
        answer("outer", error("canceled", "by its caller", id=1)),
        hear("news", "stopped"),
    ),
    _scenario(
        "6",
        "the server asks its client",
        call({"event": ASK, "data": "the way?", "id": 1}, {"data": "left", "id": 1}),
        hear("question", "the way?"),
        call({"event": ASK, "data": "again?", "accept": "json"}, {"data": '"left"', "encoding": "json"}),
        hear("question", "again?"),
        answers={"question": ["left"]},
    ),
    _scenario(
        "6",
        "the client's answer may hold Buffers",
        call({"event": "api.probe.asks", "data": [b"?"]}, {"data": {"bin": [b"\x00", b"\xff"]}}),
        hear("question", [b"?"]),
        answers={"question": [{"bin": [b"\x00", b"\xff"]}]},
    ),
    _scenario(
        "6",
        "an answer of several arguments is a list",
        call({"event": ASK, "data": "?"}, {"data": [1, b"2", None]}),
        hear("question", "?"),
        answers={"question": [1, b"2", None]},
    ),
    _scenario(
        "6",
        "an answer of no arguments is null",
        call({"event": ASK, "data": "?"}, {"data": None}),
        hear("question", "?"),
        answers={"question": []},
    ),
    _scenario(
        "6",
        "a client that does not answer: deadline_exceeded, and the connection stays",
        call(
            {"event": "api.probe.asksBriefly", "data": 1},
            error("deadline_exceeded", r"^The client did not answer 'question' within 0\.2 s\.$"),
        ),
        hear("question", 1),
        call({"event": ASK, "data": "?", "timeout": 1000}, error("deadline_exceeded", "did not end in time")),
        hear("question", "?"),
        start("asked", {"event": ASK, "data": "?", "id": 1}),
        hear("question", "?"),
        cancel(1),
        answer("asked", error("canceled", "", id=1)),
        call({"event": ECHO}, {"data": None}),
        answers={"question": NO_ANSWER},
    ),
    _scenario(
        "6",
        "calls start in the order of arrival and run side by side",
        start("slow", {"event": "api.probe.waits", "id": 1}),
        start("quick", {"event": ECHO, "data": 2}),
        answer("quick", {"data": 2}),
        cancel(1),
        answer("slow", error("canceled", "", id=1)),
        *(start(f"{n}", {"event": ECHO, "data": n}) for n in range(20)),
        *(answer(f"{n}", {"data": n}) for n in range(20)),
        order("quick", "slow", *(f"{n}" for n in range(20))),
    ),
    _scenario(
        "6",
        "an ordered function runs one at a time, and answers in order",
        start("first", {"event": IN_TURN, "data": True, "id": 1}),
        start("second", {"event": IN_TURN}),
        start("third", {"event": IN_TURN}),
        call({"event": ECHO, "data": "side by side with others"}, {"data": "side by side with others"}),
        order(),
        cancel(1),
        answer("first", error("canceled", "", id=1)),
        answer("second", {"data": "done"}),
        answer("third", {"data": "done"}),
        order("first", "second", "third"),
        start("fourth", {"event": "api.services.test.inTurn", "data": {"seconds": 0.05}}),
        start("fifth", {"event": "api.services.test.inTurn", "data": {"seconds": 0}}),
        answer("fifth", {"data": {"seconds": 0}}),
        answer("fourth", {"data": {"seconds": 0.05}}),
        order("first", "second", "third", "fourth", "fifth"),
    ),
    _scenario(
        "6",
        "one that waits its turn can be cancelled",
        start("first", {"event": IN_TURN, "data": True, "id": 1}),
        start("second", {"event": IN_TURN, "data": True, "id": 2}),
        start("third", {"event": IN_TURN}),
        cancel(2),
        answer("second", error("canceled", "", id=2)),
        cancel(1),
        answer("first", error("canceled", "", id=1)),
        answer("third", {"data": "done"}),
    ),
]


def _who(name: str, **shown: object) -> dict[str, Any]:
    return {"data": Holding({"id": name, "secure": False, "local": True, **shown})}


NOBODY = {
    "message": Text(r"^Nobody here knows who you are: check the token\.$"),
    "data": {"code": "unauthenticated"},
}


def _kept_out(name: str, auth: dict[str, Any], refused: dict[str, Any], **headers: str) -> Scenario:
    """A connection that is refused."""
    return Scenario(f"refused: {name}", "8", server="gate", auth=auth or None, headers=headers, refused=refused)


WHO = [
    _scenario(
        "8",
        "a token in `auth`",
        call(
            {"event": "api.gate.whoami"},
            _who("eve", auth={"token": "eve", "more": [1, {"a": "ü"}]}, authorization=None),
        ),
        server="gate",
        auth={"token": "eve", "more": [1, {"a": "ü"}]},
    ),
    _scenario(
        "8",
        "a token in the header `Authorization`",
        call({"event": "api.gate.whoami"}, _who("grace", auth={}, authorization="Bearer grace")),
        server="gate",
        headers={"Authorization": "Bearer grace"},
    ),
    _scenario(
        "8",
        "what the caller may not see is not_found, word for word as an unknown one",
        call(
            {"event": "api.gate.vault", "id": 1},
            error("not_found", r"^There is no function 'api\.gate\.vault'\.$", id=1),
        ),
        call(
            {"event": "api.gate.attic", "id": 1},
            error("not_found", r"^There is no function 'api\.gate\.attic'\.$", id=1),
        ),
        call({"event": "api.gate.vaul"}, error("not_found", r"^There is no function 'api\.gate\.vaul'\.$")),
        server="gate",
        auth={"token": "ada"},
    ),
    _scenario(
        "8",
        "another caller may see it",
        call({"event": "api.gate.vault", "id": 1}, {"data": "gold", "id": 1}),
        call({"event": "api.gate.vaul"}, error("not_found", r"Did you mean api\.gate\.vault\?$")),
        server="gate",
        auth={"token": "banker"},
    ),
    _kept_out("nobody is recognised", {}, NOBODY),
    _kept_out("an unknown token", {"token": "mallory"}, NOBODY),
    _kept_out("an unknown token in the header", {}, NOBODY, Authorization="Bearer mallory"),
    _kept_out(
        "with a code of the plugin's own",
        {"token": "locked"},
        {"message": "This account is locked.", "data": {"code": "permission_denied", "retry_after": 60000}},
    ),
    _kept_out(
        "the plugin fails",
        {"token": "crash"},
        {
            "message": Text(r"^Something went wrong in the server \(error [0-9a-f]{16}\)\.$"),
            "data": {"code": "internal", "error_id": ERROR_ID},
        },
    ),
    Scenario(
        "another namespace than /",
        "8",
        namespace="/admin",
        refused={"message": "Invalid namespace"},
    ),
]

AROUND = [
    _scenario(
        "9",
        "ping",
        call({"event": "api.system.ping"}, {"data": "pong"}),
        call_with([], {"data": "pong"}, event="api.system.ping"),
    ),
    _scenario(
        "9",
        "info",
        call(
            {"event": "api.system.info"},
            {
                "data": {
                    "name": "jackfield",
                    "version": Text(r"^\d+\.\d+"),
                    "protocol": 1,
                    "limits": Holding(
                        {"batch": 50, "calls": 64, "depth": 64, "unpacked_size": 200_000, "call_timeout": 30}
                    ),
                    "address": "127.0.0.1",
                }
            },
        ),
    ),
    _scenario(
        "9",
        "functions: what the caller may call, and no other",
        call(
            {"event": "api.system.functions", "data": {"pattern": "api.probe.[fh]*"}},
            {
                "data": [
                    Holding(
                        {
                            "event": "api.probe.fails",
                            "kind": "unary",
                            "plugin": "probe",
                            "summary": "Fail with a code on purpose.",
                        }
                    )
                ]
            },
        ),
    ),
    _scenario(
        "9",
        "describe: a contract, or not_found as for any other",
        call(
            {"event": "api.system.describe", "data": {"event": "api.services.test.fail"}},
            {
                "data": Holding(
                    {
                        "event": "api.services.test.fail",
                        "kind": "unary",
                        "errors": ["failed_precondition"],
                        "input": Holding({"type": "string"}),
                    }
                )
            },
        ),
        call(
            {"event": "api.system.describe", "data": {"event": "api.probe.hidden"}},
            error("not_found", r"^There is no function 'api\.probe\.hidden'\."),
        ),
        call(
            {"event": "api.system.describe", "data": {"event": "api.probe.forbidden"}},
            error("not_found", r"'api\.probe\.forbidden'\."),
        ),
    ),
]

FUNCTIONS = [*CONTRACTS, *FRAMES, *INSIDE, *WHO, *AROUND]
