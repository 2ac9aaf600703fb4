"""Section 1: the forms of an envelope, and each of its fields."""

from __future__ import annotations

import json

from tests.interop.packing import gz
from tests.interop.scenario import Between, Scenario, answer, call, call_with, cancel, each, error, start

ECHO = "api.services.test.echo"
REVERSE = "api.services.test.reverse"
BIG = 2**53 - 1


def _scenario(name: str, *steps: object) -> Scenario:
    return Scenario(name, "1", steps)  # type: ignore[arg-type]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _refused(name: str, envelope: object, message: str, *, id: object = None) -> Scenario:
    """An envelope that is refused, after which the connection goes on as before."""
    return _scenario(
        name,
        call(envelope, error("invalid_argument", message, id=id)),  # type: ignore[arg-type]
        call({"event": ECHO, "data": "still here"}, {"data": "still here"}),
    )


def _fields(fields: dict[str, object], reply: object, function: str = ECHO) -> Scenario:
    return _scenario(f"fields {_json(fields)[:60]}", call({"event": function, **fields}, reply))


FORMS = [
    _scenario("an object", call({"event": ECHO, "data": "You`re welcome"}, {"data": "You`re welcome"})),
    _scenario(
        "an object with data of every type",
        call(
            {"event": ECHO, "data": {"a": [1, -2.5, True, False, None, "ü😀\u2028", [], {}], "": {"b": ""}}},
            {"data": {"a": [1, -2.5, True, False, None, "ü😀\u2028", [], {}], "": {"b": ""}}},
        ),
    ),
    _scenario(
        "an object with Buffers anywhere",
        call(
            {"event": ECHO, "data": [b"\x00\xff", {"a": {"b": [b"", "x", b"yz"]}}]},
            {"data": [b"\x00\xff", {"a": {"b": [b"", "x", b"yz"]}}]},
        ),
        call({"event": ECHO, "data": b"alone"}, {"data": b"alone"}),
    ),
    _scenario("ten Buffers there and back", call({"event": ECHO, "data": [b"x"] * 10}, {"data": [b"x"] * 10})),
    _scenario("a string", call(_json({"event": ECHO, "data": "ü😀", "id": 7}), {"data": "ü😀", "id": 7})),
    _scenario("a Buffer", call(_json({"event": ECHO, "data": "ü😀", "id": 7}).encode(), {"data": "ü😀", "id": 7})),
    _scenario(
        "a Buffer with gzip in it",
        call(gz(_json({"event": ECHO, "data": "ü😀", "id": 7}).encode()), {"data": "ü😀", "id": 7}),
    ),
    _scenario(
        "placeholders in a string or a Buffer are plain data",
        *(
            call(form, {"data": {"_placeholder": True, "num": 0}})
            for text in [_json({"event": ECHO, "data": {"_placeholder": True, "num": 0}})]
            for form in (text, text.encode(), gz(text.encode()))
        ),
    ),
    _scenario("no data is null", call({"event": ECHO}, {"data": None})),
    _scenario(
        "null in an optional field is the same as absent",
        call(
            dict.fromkeys(["id", "data", "encoding", "accept", "timeout", "credit", "progress", "meta"], None)
            | {"event": ECHO},
            {"data": None},
        ),
    ),
]

NOT_AN_ENVELOPE = [
    _refused("null", None, r"^The argument of 'event' must be an envelope: an object with the field 'event'\.$"),
    _refused("a number", 7, r"must be an envelope"),
    _refused("true", True, r"must be an envelope"),
    _refused("a string that is no JSON", "hello", r"^Not valid JSON: "),
    _refused("an empty string", "", r"^Not valid JSON: "),
    _refused("a string with a string in it", '"hello"', r"must be an envelope"),
    _refused("a string with a number in it", "7", r"must be an envelope"),
    _refused("a string with NaN in it", '{"event": "a.b", "data": NaN}', r"^Not valid JSON: "),
    _refused("an empty Buffer", b"", r"^Not valid JSON: "),
    _refused("a Buffer that is no UTF-8", b'{"event": "\xff"}', r"^Not valid JSON: "),
    _refused("a Buffer with gzip cut short", gz(b'{"event": "a.b"}')[:-3], r"^Not valid gzip: it ends too early\.$"),
    _refused("a Buffer with more after gzip", gz(b'{"event": "a.b"}') + b"x", r"^Not valid gzip: something follows"),
    _refused("a Buffer with gzip that is broken", gz(b'{"event": "a.b"}')[:-8] + bytes(8), r"^Not valid gzip: "),
    _refused("gzip in a string", gz(b'{"event": "a.b"}').decode("latin-1"), r"^Not valid JSON: "),
    _scenario(
        "a Buffer with a gzip bomb in it",
        call(gz(b" " * 5_000_000), error("resource_exhausted", r"limits\.unpack")),
        call({"event": ECHO}, {"data": None}),
    ),
    _scenario(
        "a string that is nested too deeply",
        call(
            '{"event": "a.b", "data": ' + "[" * 5000 + "]" * 5000 + "}", error("resource_exhausted", r"limits\.depth")
        ),
        call({"event": ECHO}, {"data": None}),
    ),
    _scenario(
        "no argument, or two",
        call_with([], error("invalid_argument", r"^'event' takes exactly one argument, the envelope, not 0\.$")),
        call_with(
            [{"event": ECHO}, {"event": ECHO}],
            error("invalid_argument", r"^'event' takes exactly one argument, the envelope, not 2\.$"),
        ),
        call({"event": ECHO}, {"data": None}),
    ),
]

EVENT = [
    _refused("event missing", {"data": 1, "id": 3}, r"^event cannot be empty$", id=3),
    _refused("event empty", {"event": "", "id": 3}, r"^event cannot be empty$", id=3),
    _refused("event null", {"event": None, "id": 3}, r"^event cannot be empty$", id=3),
    _refused("an empty object", {}, r"^event cannot be empty$"),
    _refused("event a number", {"event": 7, "id": 3}, r"^event must be a string$", id=3),
    _refused("event a list", {"event": [ECHO], "id": 3}, r"^event must be a string$", id=3),
    _refused("event a Buffer", {"event": b"a.b", "id": 3}, r"^event must be a string$", id=3),
    *(
        _refused(f"event {event!r}", {"event": event, "id": 3}, r"is no dotted path", id=3)
        for event in ("one", "a.", ".b", "a..b", "a.b-c", "a.1b", "a.é", "a b.c", "a.b\n", "a.b.")
    ),
    _refused("event of 256 characters", {"event": f"{'a' * 127}.{'b' * 128}", "id": 3}, r"longer than 255", id=3),
    _scenario(
        "event of 255 characters",
        call(
            {"event": f"{'a' * 127}.{'b' * 127}"},
            error("not_found", rf"^There is no function '{'a' * 127}\.{'b' * 127}'\.$"),
        ),
    ),
    _scenario("segments with digits and _", call({"event": "_a1.B_2"}, error("not_found", r"'_a1\.B_2'"))),
]

UNKNOWN_FIELDS = [
    _refused(
        "an unknown field, with the nearest",
        {"event": ECHO, "dta": 1, "id": 3},
        r"^The envelope has no field 'dta'\. Did you mean 'data'\?$",
        id=3,
    ),
    _refused(
        "an unknown field, with one more letter",
        {"event": ECHO, "timeouts": 1, "id": 3},
        r"'timeouts'\. Did you mean 'timeout'\?$",
        id=3,
    ),
    _refused(
        "an unknown field that is like no other",
        {"event": ECHO, "zzz": None, "id": 3},
        r"^The envelope has no field 'zzz'\. It knows event, data, id, encoding, accept, timeout, credit, progress, "
        r"meta\.$",
        id=3,
    ),
    _refused("`Event` is not `event`", {"Event": ECHO, "id": 3}, r"'Event'\. Did you mean 'event'\?$", id=3),
]

IDS = [
    *(
        _fields({"id": call_id, "data": "x"}, {"data": "x", "id": call_id})
        for call_id in each(0, -1, 1, BIG, -BIG, "0", "a", "ü😀", "x" * 64, "😀" * 64, " ", "__proto__")
    ),
    *(
        _refused(f"id {_json(call_id)[:30]}", {"event": ECHO, "id": call_id}, r"^id must be a string or an integer$")
        for call_id in each(True, False, 1.5, [], [1], {}, {"a": 1})
    ),
    _refused("id a Buffer", {"event": ECHO, "id": b"x"}, r"^id must be a string or an integer$"),
    _refused("id of no characters", {"event": ECHO, "id": ""}, r"^id must have 1 to 64 characters$"),
    _refused("id of 65 characters", {"event": ECHO, "id": "x" * 65}, r"^id must have 1 to 64 characters$"),
    _refused("id of 65 characters beyond the BMP", {"event": ECHO, "id": "😀" * 65}, r"^id must have 1 to 64 char"),
    _refused("id beyond 2^53-1", {"event": ECHO, "id": BIG + 1}, r"±\(2\^53−1\)"),
    _refused("id below -(2^53-1)", {"event": ECHO, "id": -BIG - 1}, r"±\(2\^53−1\)"),
    _scenario(
        'id 1 and id "1" are two calls',
        start("number", {"event": "api.probe.waits", "id": 1}),
        start("string", {"event": "api.probe.waits", "id": "1"}),
        call({"event": ECHO, "id": 1}, error("already_exists", r"^A call with the id 1 is in flight\.$", id=1)),
        call({"event": ECHO, "id": "1"}, error("already_exists", r"^A call with the id '1' is in flight\.$", id="1")),
        cancel("1"),
        answer("string", error("canceled", "cancelled by its caller", id="1")),
        call({"event": ECHO, "id": 1}, error("already_exists", r"the id 1 ", id=1)),
        call({"event": ECHO, "id": "1"}, {"data": None, "id": "1"}),
        cancel(1),
        answer("number", error("canceled", "cancelled by its caller", id=1)),
    ),
    _scenario(
        "an id may be used again once its call has ended",
        call({"event": ECHO, "id": 5}, {"data": None, "id": 5}),
        call({"event": ECHO, "id": 5}, {"data": None, "id": 5}),
        call({"event": "api.services.test.fail", "id": 5}, error("failed_precondition", "on purpose", id=5)),
        call({"event": ECHO, "id": 5}, {"data": None, "id": 5}),
    ),
    _scenario(
        "a refused envelope gives its id back, if that is one",
        call({"event": ECHO, "id": 0, "timeout": 0}, error("invalid_argument", "timeout", id=0)),
        call({"event": ECHO, "id": 1.5, "timeout": 0}, error("invalid_argument", "^id must")),
    ),
]

OTHER_FIELDS = [
    *(
        _refused(
            f"timeout {_json(value)}",
            {"event": ECHO, "id": 3, "timeout": value},
            r"^timeout must be an integer of at least 1$",
            id=3,
        )
        for value in each(0, -1, 1.5, "5", True, [], {})
    ),
    _fields(
        {"timeout": 1}, error("deadline_exceeded", r"^api\.probe\.waits did not end in time\.$"), "api.probe.waits"
    ),
    _scenario(
        "no timeout: 30 seconds, or what the author says",
        call({"event": "api.probe.remaining"}, {"data": Between(20, 30)}),
        call({"event": "api.probe.brief"}, {"data": Between(1, 7)}),
    ),
    _scenario(
        "timeout counts milliseconds, from arrival",
        call({"event": "api.probe.remaining", "timeout": 900_000}, {"data": Between(890, 900)}),
        call({"event": "api.probe.brief", "timeout": 900_000}, {"data": Between(890, 900)}),
    ),
    _scenario(
        "a timeout above the limit is shortened",
        call({"event": "api.probe.remaining", "timeout": BIG}, {"data": Between(3590, 3600)}),
    ),
    *(
        _refused(
            f"credit {_json(value)}",
            {"event": ECHO, "id": 3, "credit": value},
            r"^credit must be an integer of at least 0$",
            id=3,
        )
        for value in each(-1, 1.5, "16", True, [])
    ),
    _fields({"credit": 0}, {"data": None}),
    _fields({"credit": 16}, {"data": None}),
    *(
        _refused(
            f"progress {_json(value)}",
            {"event": ECHO, "id": 3, "progress": value},
            r"^progress must be true or false$",
            id=3,
        )
        for value in each(0, 1, "true", {})
    ),
    _refused("progress without an id", {"event": ECHO, "progress": True}, r"^progress needs an id$"),
    _fields({"progress": True, "id": 0}, {"data": None, "id": 0}),
    _fields({"progress": False}, {"data": None}),
    *(
        _refused(
            f"meta {_json(value)}",
            {"event": ECHO, "id": 3, "meta": value},
            r"^meta must be an object whose values are strings$",
            id=3,
        )
        for value in each(1, "tenant", [], ["a"], {"a": 1}, {"a": None}, {"a": {"b": "c"}})
    ),
    _refused("meta with a Buffer", {"event": ECHO, "id": 3, "meta": {"a": b"b"}}, r"^meta must be an object", id=3),
    _fields({"meta": {}}, {"data": {}}, "api.probe.meta"),
    _fields({"meta": {"tenant": "ü", "": ""}}, {"data": {"tenant": "ü", "": ""}}, "api.probe.meta"),
    *(
        _refused(f"{name} {_json(value)}", {"event": ECHO, "id": 3, name: value}, rf"^{name} must be a string$", id=3)
        for name in ("encoding", "accept")
        for value in each(1, True, ["gzip"], {})
    ),
]

NAMED = [
    _scenario(
        "a named event with one argument",
        call("You`re welcome", {"data": "You`re welcome"}, event=ECHO),
        call({"a": [b"x", None]}, {"data": {"a": [b"x", None]}}, event=ECHO),
        call(b"abc", {"data": b"cba"}, event=REVERSE),
        call(None, {"data": None}, event=ECHO),
    ),
    _scenario("a named event without argument", call_with([], {"data": None}, event=ECHO)),
    _scenario(
        "a named event with two arguments",
        call_with(
            [1, 2], error("invalid_argument", r"^api\.services\.test\.echo takes one argument, not 2\.$"), event=ECHO
        ),
    ),
    _scenario(
        "a named event's argument is data, no envelope",
        call({"event": REVERSE, "id": 3}, {"data": {"event": REVERSE, "id": 3}}, event=ECHO),
        call([1, 2], {"data": [1, 2]}, event=ECHO),
        call('{"event": "x"}', {"data": '{"event": "x"}'}, event=ECHO),
    ),
    _scenario(
        "any other event name is looked up likewise",
        *(
            call("x", error("not_found", rf"^There is no function '{name}'\."), event=name)
            for name in ("hello", "message", "server", "channel", "a.b", "error", "ping", "é", "a b")
        ),
        call({"event": ECHO}, {"data": None}),
    ),
    _scenario(
        "a named event names the nearest function",
        call(
            "x",
            error(
                "not_found",
                r"^There is no function 'api\.services\.test\.ecko'\. Did you mean api\.services\.test\.echo\?$",
            ),
            event="api.services.test.ecko",
        ),
    ),
]

ENVELOPES = [*FORMS, *NOT_AN_ENVELOPE, *EVENT, *UNKNOWN_FIELDS, *IDS, *OTHER_FIELDS, *NAMED]
