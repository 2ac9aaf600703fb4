"""The frames of streams: what clients may say, what they may not, and what the server says."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from jackfield import CallError, Kind
from jackfield._codec import parse_encoding
from jackfield._frames import Cancel, End, Failure, FrameError, Grant, Item, Writer, read
from jackfield._json import Json
from tests.support.properties import always, values


@pytest.mark.parametrize(
    ("frame", "meant"),
    [
        ({"id": 1, "data": {"n": 1}}, Item(1, {"n": 1})),
        ({"id": "1", "data": None}, Item("1", None)),
        ({"id": 0, "data": b"\0", "encoding": None}, Item(0, b"\0")),
        ({"id": 1, "data": b"\0", "encoding": "gzip"}, Item(1, b"\0", parse_encoding("gzip"))),
        ({"id": 1, "end": True}, End(1)),
        ({"id": 1, "end": True, "credit": None}, End(1)),
        ({"id": 1, "cancel": True}, Cancel(1)),
        ({"id": 1, "credit": 1}, Grant(1, 1)),
        ({"id": 1, "credit": 2**31 - 1}, Grant(1, 2**31 - 1)),
        ({"id": 1, "error": {"code": "internal"}}, Failure(1)),
    ],
)
def test_a_frame_is_read(frame: Any, meant: object) -> None:
    """Each says one thing; null is the same as absent, save as an item."""
    assert read(frame) == meant


ONE = "one of data, end, cancel, credit."
KNOWS = "It knows id, encoding, data, end, cancel, credit."


NO_IDS: list[Any] = [None, True, 1.5, "", [], 2**53]
NO_FRAMES: list[Any] = [None, 5, "x", [], {}, {"data": 1}, *({"id": no_id, "end": True} for no_id in NO_IDS)]
NO_CREDIT: list[Any] = [0, -1, 1.0, "1", True, 2**31, []]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"id": 1}, f"A frame says one thing, not nothing: {ONE}"),
        ({"id": 1, "end": None}, f"A frame says one thing, not nothing: {ONE}"),
        ({"id": 1, "data": None, "end": True}, f"A frame says one thing, not data and end: {ONE}"),
        ({"id": 1, "credit": 1, "cancel": True}, f"A frame says one thing, not cancel and credit: {ONE}"),
        ({"id": 1, "date": 5}, "A frame has no field 'date'. Did you mean 'data'?"),
        ({"id": 1, "data": 5, "zzz": 1}, f"A frame has no field 'zzz'. {KNOWS}"),
        ({"id": 1, "end": False}, "end must be true."),
        ({"id": 1, "cancel": 1}, "cancel must be true."),
        *(({"id": 1, "credit": credit}, "credit must be an integer from 1 to 2^31−1.") for credit in NO_CREDIT),
        ({"id": 1, "end": True, "encoding": "gzip"}, "Only an item has an encoding."),
        ({"id": 1, "data": "", "encoding": 5}, "encoding must be a string"),
        ({"id": 1, "progress": {"done": 1}}, "Progress is told by the server."),
    ],
)
def test_a_broken_frame_is_refused_with_its_id(frame: Any, message: str) -> None:
    """Its stream can be told, because the id is known."""
    with pytest.raises(FrameError) as caught:
        read(frame)
    assert (caught.value.code, caught.value.message, caught.value.id) == ("invalid_argument", message, 1)


@pytest.mark.parametrize("frame", NO_FRAMES)
def test_a_frame_without_an_id_is_nobodys(frame: Any) -> None:
    """There is nobody but the connection to be told."""
    with pytest.raises(FrameError, match=r"'stream' takes one frame: an object with an id\.$") as caught:
        read(frame)
    assert caught.value.id is None


@always(argument=values)
def test_whatever_comes_is_a_frame_or_refused(argument: Any) -> None:
    """Nothing else is raised."""
    with contextlib.suppress(FrameError):
        read(argument)


def test_what_the_server_says() -> None:
    """Every frame has the id; items and results also say how they are packed."""
    plain, packed = Writer('"'), Writer(7, "gzip")
    error = CallError("not_found", "gone")
    said = [
        plain.opened(Kind.SERVER, None),
        plain.opened(Kind.BOTH, 0),
        plain.item(Json(b"5")),
        plain.end(None),
        plain.end(Json(b"null")),
        plain.error(error),
        plain.credit(3),
        plain.progress(Json(b'{"done":1}')),
        packed.opened(Kind.CLIENT, 8),
        packed.item(Json(b'{"_placeholder":true,"num":0}', (b"\1",))),
        packed.end(Json(b'{"_placeholder":true,"num":0}', (b"\1",))),
        packed.error(error),
    ]
    failure = {"code": "not_found", "message": "gone"}
    assert [frame.value() for frame in said] == [
        {"id": '"', "stream": "server"},
        {"id": '"', "stream": "both", "credit": 0},
        {"id": '"', "data": 5},
        {"id": '"', "end": True},
        {"id": '"', "end": True, "data": None},
        {"id": '"', "error": failure},
        {"id": '"', "credit": 3},
        {"id": '"', "progress": {"done": 1}},
        {"id": 7, "stream": "client", "credit": 8},
        {"id": 7, "data": b"\1", "encoding": "gzip"},
        {"id": 7, "end": True, "data": b"\1", "encoding": "gzip"},
        {"id": 7, "error": failure},
    ]
