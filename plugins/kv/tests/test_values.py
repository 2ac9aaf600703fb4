"""Values come back as they were, Buffers included."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jackfield_kv.faults import BadValue
from jackfield_kv.values import MAX_BUFFERS, pack, unpack

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.binary()
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner))


@settings(max_examples=50, deadline=None)
@given(VALUES)
def test_a_value_comes_back(value):
    """Whatever it is, with its types."""
    assume(repr(value).count("b'") + repr(value).count('b"') <= MAX_BUFFERS)  # or fewer: texts may look like it
    found = unpack(pack(value))
    assert (found, repr(found)) == (value, repr(value))


@pytest.mark.parametrize(
    ("value", "packed"),
    [
        ({"é": [1, None]}, '{"é":[1,null]}'.encode()),
        ("line\nfeed", b'"line\\nfeed"'),
        (b"\n\n", b"\n[null,[[2]]]\n\n\n"),
        ({"a": [b"xy", 1, b"z"]}, b'\n[{"a":[null,1,null]},[[2,"a",0],[1,"a",2]]]\nxyz'),
    ],
)
def test_how_a_value_is_stored(value, packed):
    """As JSON that any program can read, with Buffers behind it."""
    assert pack(value) == packed
    assert unpack(packed) == value


@pytest.mark.parametrize("number", [2**53, -(2**53), 10**20])
def test_integers_that_json_cannot_carry_are_refused(number):
    """MessagePack brings them in, and no client could be sent them as JSON."""
    with pytest.raises(
        BadValue, match=rf"^The value holds the integer {number}, and may hold ±\(2\^53−1\); send it as a text\.$"
    ):
        pack({"a": [b"", number]})
    assert unpack(pack(str(number))) == str(number)
    assert unpack(pack(float(number))) == float(number)


def test_a_value_has_so_many_buffers():
    """One more, and no stock client could be sent it; MessagePack brings in any number."""
    assert unpack(pack([b"x"] * 10)) == [b"x"] * 10
    with pytest.raises(BadValue, match=r"^The value has 11 Buffers, and may have 10: make one of several\.$"):
        pack({"a": [b""] * 11})


def test_what_clients_would_take_for_a_buffer_is_refused():
    """Only where there are Buffers; else it is data like any other."""
    fake = {"_placeholder": True, "num": 0}
    assert unpack(pack([fake])) == [fake]
    with pytest.raises(BadValue, match=r"^A value with Buffers has a field '_placeholder'"):
        pack([fake, b"x"])
