"""Envelopes: what a client may put into one, what it is told otherwise, and the replies."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import strategies as st

from jackfield._codec import Bounds, parse_encoding
from jackfield._envelope import (
    EVENT,
    MAX_EVENT,
    Envelope,
    EnvelopeError,
    Options,
    error_notice,
    error_reply,
    read,
    read_entry,
    reply,
)
from jackfield._errors import CallError, Code
from jackfield._json import MAX_SAFE_INTEGER, Json, dumps
from tests.support.properties import always, damaged, json_values, texts, values

BOUNDS = Bounds()
FIELDS = ("event", "data", "id", "encoding", "accept", "timeout", "credit", "progress", "meta")


def _read(fields: Any) -> Envelope:
    envelope = read(fields, BOUNDS)
    assert isinstance(envelope, Envelope)
    return envelope


def _refusal(argument: Any) -> EnvelopeError:
    with pytest.raises(EnvelopeError) as refused:
        read(argument, BOUNDS)
    return refused.value


# ------------------------------------------------------------------- any input

_events = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,9}(\.[A-Za-z_][A-Za-z0-9_]{0,9}){1,4}\Z")
_ids = st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER) | st.text(st.characters(codec="utf-8"), min_size=1, max_size=64)
_encodings = st.sampled_from(["json", "gzip", "base64", "base64+gzip+msgpack", "zstd+bytes"])
_good = st.fixed_dictionaries(
    {"event": _events, "id": _ids},
    optional={
        "data": json_values | st.none(),
        "encoding": _encodings | st.none(),
        "accept": _encodings | st.none(),
        "timeout": st.integers(1, MAX_SAFE_INTEGER) | st.none(),
        "credit": st.integers(0, MAX_SAFE_INTEGER) | st.none(),
        "progress": st.booleans() | st.none(),
        "meta": st.dictionaries(texts, texts, max_size=3) | st.none(),
    },
)
_wrong = st.dictionaries(
    st.sampled_from(FIELDS) | texts,
    values | st.sampled_from(["a.b", "gzip", "", 0, -1, 2**53, 1.0, True]),
    max_size=5,
)


@always(fields=_good)
def test_every_field_arrives_as_it_was_sent(fields: dict[str, Any]) -> None:
    """What fits is taken over; null is the same as absent."""
    encoding, accept = fields.get("encoding"), fields.get("accept")
    options = Options(
        id=fields["id"],
        encoding=None if encoding is None else parse_encoding(encoding),
        accept=None if accept is None else parse_encoding(accept),
        accept_text=accept,
        timeout=fields.get("timeout"),
        credit=fields.get("credit"),
        progress=fields.get("progress") or False,
        meta=fields.get("meta") or {},
    )
    assert _read(fields) == Envelope(fields["event"], fields.get("data"), options)


@always(fields=_good)
def test_an_envelope_means_the_same_in_all_its_forms(fields: dict[str, Any]) -> None:
    """As an object, a string, a Buffer, and a Buffer of gzip."""
    text = dumps(fields).text
    for form in (text.decode(), text, gzip.compress(text, mtime=0)):
        assert read(form, BOUNDS) == read(fields, BOUNDS)


@always(fields=_good | _wrong | st.fixed_dictionaries({"event": values | st.just("a.b"), "data": values}))
def test_a_known_name_changes_nothing_but_the_time_it_takes(fields: dict[str, Any]) -> None:
    """An envelope whose function is known is read as any other, or refused with the same words."""
    event = fields.get("event")
    known = {event} if isinstance(event, str) and EVENT.fullmatch(event) and len(event) <= MAX_EVENT else {"a.b"}
    try:
        expected = read(fields, BOUNDS)
    except EnvelopeError as error:
        words = str(error), error.id, error.event
    else:
        assert read(fields, BOUNDS, known) == expected
        return
    with pytest.raises(EnvelopeError) as refused:
        read(fields, BOUNDS, known)
    assert (str(refused.value), refused.value.id, refused.value.event) == words


@always(
    few=400,
    many=2_000,
    argument=values
    | _wrong
    | st.lists(_wrong, max_size=3)
    | st.text(max_size=30)
    | _wrong.filter(lambda fields: "Buffers" not in fields).map(repr)
    | damaged(_good.map(lambda fields: dumps(fields).text))
    | damaged(_good.map(lambda fields: gzip.compress(dumps(fields).text))),
)
def test_anything_at_all_is_an_envelope_or_is_refused(argument: Any) -> None:
    """Whatever comes as the argument of `event` is read, or refused with an error that can be sent."""
    try:
        envelope = read_entry(argument, BOUNDS)
    except EnvelopeError as error:
        refusal = error
    else:
        assert _shapely(envelope)
        return
    assert refusal.code in (Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED, Code.RESOURCE_EXHAUSTED)
    assert refusal.id is None or _sendable_id(refusal.id)
    json.loads(error_reply(refusal, refusal.id).text)
    json.loads(error_notice(refusal, refusal.event).text)


def _sendable_id(value: Any) -> bool:
    if isinstance(value, str):
        return 1 <= len(value) <= 64
    return type(value) is int and abs(value) <= MAX_SAFE_INTEGER


def _shapely(envelope: Envelope) -> bool:
    options = envelope.options
    return (
        2 <= len(envelope.event.split(".")) <= len(envelope.event) <= 255
        and envelope.event.isascii()
        and (options.id is None or _sendable_id(options.id))
        and (options.timeout is None or options.timeout > 0)
        and (options.credit is None or options.credit >= 0)
        and (not options.progress or options.id is not None)
        and all(isinstance(text, str) for pair in options.meta.items() for text in pair)
    )


# ------------------------------------------------------------------- the words of refusals


def _any(*values: Any) -> tuple[Any, ...]:
    return values


LISTED = "event, data, id, encoding, accept, timeout, credit, progress, meta"
ORDER = "it goes base64, then gzip or zstd, then the kind"
PATH = "it goes <namespace>.<function>, in letters, digits and _"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "event cannot be empty"),
        ({"event": None}, "event cannot be empty"),
        ({"event": ""}, "event cannot be empty"),
        *(({"event": wrong}, "event must be a string") for wrong in _any(0, 1, False, 1.5, [], ["a.b"], {}, b"a.b")),
        ({"event": "a." + "b" * 254}, "event is longer than 255 characters"),
        *(
            ({"event": wrong}, f"event {wrong!r} is no dotted path: {PATH}")
            for wrong in _any("a", "a.", ".a", "a..b", "a.b.", "1.a", "a.1", "a-b.c", "a b.c", "a.b\n", "é.b", "a.²",
                          " a.b", "a.b\0", "../etc.passwd", "__proto__", "a.b;c", "\u0430.b")
        ),
        *(({"id": wrong}, "id must be a string or an integer") for wrong in _any(True, False, 1.0, [], {}, b"1", [1])),
        *(({"id": wrong}, "id must have 1 to 64 characters") for wrong in _any("", "x" * 65, "\U0001f600" * 65)),
        *(({"id": wrong}, "id must lie within ±(2^53−1)") for wrong in _any(2**53, -(2**53), 2**64, 10**400)),
        *(({"encoding": wrong}, "encoding must be a string") for wrong in _any(1, True, [], {}, b"gzip", ["gzip"])),
        *(({"accept": wrong}, "accept must be a string") for wrong in _any(1, True, [], {}, b"gzip", ["gzip"])),
        ({"encoding": "x" * 65}, "encoding is too long: at most 4 tokens joined by '+'."),
        ({"accept": "json+gzip"}, f"encoding 'json+gzip' is in the wrong order: {ORDER}."),
        *(
            ({"timeout": wrong}, "timeout must be an integer of at least 1")
            for wrong in _any(0, -1, 1.0, "1000", True, [], -(2**53))
        ),
        *(
            ({"credit": wrong}, "credit must be an integer of at least 0")
            for wrong in _any(-1, 0.0, "16", False, True, {}, -(2**53))
        ),
        *(({"id": 1, "progress": wrong}, "progress must be true or false") for wrong in _any(0, 1, "true", [], {})),
        ({"progress": True}, "progress needs an id"),
        *(
            ({"meta": wrong}, "meta must be an object whose values are strings")
            for wrong in _any("a", 1, [], [["a", "b"]], {"a": 1}, {"a": None}, {"a": {"b": "c"}}, {"a": b"b"})
        ),
        ({"Event": "a.b"}, "The envelope has no field 'Event'. Did you mean 'event'?"),
        ({"evnt": "a.b"}, "The envelope has no field 'evnt'. Did you mean 'event'?"),
        ({"timeOut": 1}, "The envelope has no field 'timeOut'. Did you mean 'timeout'?"),
        ({"__proto__": {}}, f"The envelope has no field '__proto__'. It knows {LISTED}."),
        ({"": 1}, f"The envelope has no field ''. It knows {LISTED}."),
        ({"x" * 100_000: 1}, f"The envelope has no field '{'x' * 64}'. It knows {LISTED}."),
        ({"\n\0é": 1}, rf"The envelope has no field '\n\x00é'. It knows {LISTED}."),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_field_is_said(fields: dict[str, Any], message: str) -> None:
    """The field, the rule, and where it helps what was meant."""
    named = fields if "event" in fields or set(fields) - set(FIELDS) else {"event": "a.b", **fields}
    refused = _refusal(named if fields else {})
    assert str(refused) == f"invalid_argument: {message}"


@pytest.mark.parametrize("argument", [None, True, 1, 1.5])
def test_an_argument_of_another_kind_is_refused(argument: Any) -> None:
    """Numbers and null are no envelope, and neither is JSON of one."""
    for form in (argument, json.dumps(argument), json.dumps(argument).encode(), json.dumps(json.dumps(argument))):
        assert str(_refusal(form)) == (
            "invalid_argument: The argument of 'event' must be an envelope: an object with the field 'event'."
        )


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("", "Not valid JSON: "),
        ("api.services.test.echo", "Not valid JSON: "),
        (b"\x80\x81", "Not valid JSON: "),
        (b"\x1f\x8b", "Not valid gzip: it ends too early."),
        (gzip.compress(b"{}", mtime=0) * 2, "Not valid gzip: something follows its end."),
        ('{"event":"a.b","data":NaN}', "Not valid JSON: "),
        ('{"event":"a.b","data":"\\ud800"}', "Not valid JSON: "),
        ("\ud800", "Not valid UTF-8: a lone surrogate."),
        ('{"event":"a.b","data":9007199254740992}', "An integer is beyond ±(2^53−1), which JSON clients cannot hold"),
    ],
)
def test_text_that_is_no_json_is_refused(argument: Any, message: str) -> None:
    """A string, a Buffer and gzip are opened strictly."""
    refused = _refusal(argument)
    assert str(refused).startswith(f"invalid_argument: {message}")
    assert (refused.id, refused.event) == (None, None)


def test_7_too_much_in_an_envelope_is_exhaustion() -> None:
    """A limit is not a mistake: the code is another."""
    for argument in (
        "[" * 65,
        b"[" * 100_000,
        gzip.compress(b"[" * 65, mtime=0),
        gzip.compress(b"0" * 5_000_000, mtime=0),
    ):
        assert _refusal(argument).code == Code.RESOURCE_EXHAUSTED


def test_an_unknown_encoding_is_unimplemented() -> None:
    """And says which there are."""
    refused = _refusal({"event": "a.b", "id": "x", "accept": "br"})
    assert str(refused) == (
        "unimplemented: Unknown encoding 'br'. Supported: base64, gzip, zstd, json, msgpack, bytes."
    )


@pytest.mark.parametrize(
    ("fields", "known"),
    [
        ({"event": "a.b", "id": 5, "timeout": 0}, (5, "a.b")),
        ({"event": "a.b", "id": "five", "unknown": 0}, ("five", "a.b")),
        ({"event": "a.b", "id": True, "timeout": 0}, (None, "a.b")),
        ({"event": "a.b", "id": 2**53}, (None, "a.b")),
        ({"event": 3, "id": 5}, (5, None)),
        ({"event": "x" * 1000, "id": 5}, (5, "x" * 255)),
        ({}, (None, None)),
    ],
)
def test_a_refusal_knows_whose_it_is(fields: dict[str, Any], known: tuple[Any, Any]) -> None:
    """So that it reaches the caller under its id, where the id is one."""
    refused = _refusal(fields)
    assert (refused.id, refused.event) == known


def test_of_a_field_that_comes_twice_the_last_counts() -> None:
    """As everywhere in JSON."""
    assert _read('{"event":"a.b","event":"c.d","id":1,"id":2}') == Envelope("c.d", None, Options(id=2))


# ------------------------------------------------------------------- batches


def test_a_batch_is_handed_on_entry_by_entry() -> None:
    """Entries are read one at a time, so that one that is broken does not fail the others."""
    entries: list[Any] = [{"event": "a.b"}, 5, "text", [], None]
    assert read(entries, BOUNDS) == entries
    assert read(json.dumps(entries), BOUNDS) == entries
    assert read([], BOUNDS) == []
    assert read(json.dumps([{}] * 10_000).encode(), BOUNDS) == [{}] * 10_000


@pytest.mark.parametrize("entry", [[], [{"event": "a.b"}], "[]", b"[]", gzip.compress(b"[]", mtime=0)])
def test_a_batch_cannot_hold_another(entry: Any) -> None:
    """In none of its forms."""
    with pytest.raises(EnvelopeError) as refused:
        read_entry(entry, BOUNDS)
    assert str(refused.value) == "invalid_argument: A batch cannot hold another batch."


# ------------------------------------------------------------------- replies


@always(value=values, call_id=_ids | st.none(), encoding=st.none() | st.sampled_from(["gzip", "base64+msgpack"]))
def test_a_reply_holds_what_the_call_asked_for(value: Any, call_id: Any, encoding: str | None) -> None:
    """`id` only where there was one, `encoding` only where `data` is packed; Buffers stay where they are."""
    expected: dict[str, Any] = {"data": value}
    if encoding is not None:
        expected["encoding"] = encoding
    if call_id is not None:
        expected["id"] = call_id
    assert reply(dumps(value), call_id, encoding).value() == expected


@always(message=texts, call_id=_ids | st.none(), event=st.none() | texts, retry=st.none() | st.integers(0, 10**6))
def test_an_error_is_sent_whole(message: str, call_id: Any, event: str | None, retry: int | None) -> None:
    """Code, message, details, the time to wait, and the id under which the log knows it."""
    detail: Any = {"path": ["a", 0], "type": "missing", "message": "Field required"}
    error = CallError("unavailable", message, details=[detail], retry_after=retry, error_id="f00")
    shape: dict[str, Any] = {"code": "unavailable", "message": message, "details": [detail], "error_id": "f00"}
    if retry is not None:
        shape["retry_after"] = retry
    assert error_reply(error, call_id).value() == {"error": shape} | ({} if call_id is None else {"id": call_id})
    assert error_notice(error, event).value() == {"event": event, "error": shape}


def test_a_reply_is_small_text() -> None:
    """No spaces, no empty fields."""
    assert reply(Json(b"null"), 7) == Json(b'{"data":null,"id":7}')
    assert error_reply(CallError("canceled", "x"), None) == Json(b'{"error":{"code":"canceled","message":"x"}}')
