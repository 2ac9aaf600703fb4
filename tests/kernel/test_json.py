"""JSON from clients, and for them: the standard library judges what is accepted, what is refused, and what it means."""

from __future__ import annotations

import dataclasses
import enum
import gc
import json
import math
import re
import time
import tracemalloc
import uuid
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import strategies as st
from pydantic import BaseModel

from jackfield._errors import Code, CodecError, EncodeError, JsonSyntaxError
from jackfield._json import (
    MAX_SAFE_INTEGER,
    Json,
    check_depth,
    checked,
    dumps,
    has_long_number,
    has_more_values,
    holds_buffers,
    loads,
    paired,
    placeholder,
)
from tests.support.properties import always, damaged, json_values, trees, values

DEPTH = 8
BIG_INTEGER = "An integer is beyond ±(2^53−1), which JSON clients cannot hold: send it as a string."


# ------------------------------------------------------------------- the judge


class _NotJson(Exception):
    pass


class _Beyond(Exception):
    """JSON, but past what the wire allows; says the code."""


def _judge(text: bytes) -> Any:
    """Return what the standard library reads, or raise for what it, or the wire, refuses.

    Where the wire is stricter than the library: NaN and infinities, also as a number that overflows; lone surrogates;
    integers beyond ±(2^53−1); nesting.
    """
    too_big = False

    def integer(digits: str) -> int:
        nonlocal too_big
        if len(digits) > 17 or abs(int(digits)) > MAX_SAFE_INTEGER:
            too_big = True
            return 0
        return int(digits)

    def number(digits: str) -> float:
        value = float(digits)
        if math.isinf(value):
            raise _NotJson
        return value

    def constant(name: str) -> float:
        raise _NotJson

    try:
        value = json.loads(text.decode(), parse_int=integer, parse_float=number, parse_constant=constant)
    except (ValueError, RecursionError):
        raise _NotJson from None
    if any("\ud800" <= character <= "\udfff" for string in _strings(value) for character in string):
        raise _NotJson
    if _depth(value) > DEPTH:
        raise _Beyond(Code.RESOURCE_EXHAUSTED)
    if too_big:
        raise _Beyond(Code.INVALID_ARGUMENT)
    return value


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [*value, *(string for child in value.values() for string in _strings(child))]
    return [string for child in value for string in _strings(child)] if isinstance(value, list) else []


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _agree(text: bytes) -> None:
    try:
        expected = _judge(text)
    except _NotJson:
        with pytest.raises(CodecError):
            loads(text, DEPTH)
    except _Beyond as beyond:
        code = beyond.args[0]
        with pytest.raises(CodecError) as refused:
            loads(text, DEPTH)
        assert (type(refused.value), refused.value.code) == (CodecError, code)
    else:
        # repr tells 1 from 1.0 and from True, and 0.0 from -0.0, and knows the order of keys.
        assert repr(loads(text, DEPTH)) == repr(expected)


_TOKENS = [
    *(
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        '"',
        '""',
        '"a"',
        '"a":1',
        "[]",
        "{}",
        "[1]",
        '{"a":1}',
        "é",
        "\U0001f600",
        "\ufeff",
    ),
    *(
        '\\"',
        "\\",
        "\\\\",
        "\\/",
        "\\u",
        "\\u0041",
        "\\ud800",
        "\\udc00",
        "\\ud83d\\ude00",
        " ",
        "\t",
        "\n",
        "\0",
        "\x1f",
        "\x7f",
    ),
    *("0", "-0", "00", "1", "-", "+", ".", "e", "E", "1e5", "1e999", "-1e999", "1E-400", "0.1", "1.", ".1", "-1.5e+3"),
    *("9007199254740991", "-9007199254740991", "9007199254740992", "18446744073709551616", "1234567890123456.5"),
    *("NaN", "Infinity", "-Infinity", "true", "false", "null", "tru", "nul"),
]
_soup = st.lists(st.sampled_from(_TOKENS), max_size=12).map("".join)
_json_texts = st.builds(
    lambda value, ascii_only, indent: json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode(),
    trees(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)).filter(
        lambda value: not any("\ud800" <= c <= "\udfff" for s in _strings(value) for c in s)
    ),
    st.booleans(),
    st.none() | st.integers(0, 2),
)


# ------------------------------------------------------------------- in


@always(
    many=2_000,
    text=st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode(errors="surrogatepass")),
)
def test_any_bytes_are_read_or_refused_as_the_judge_does(text: bytes) -> None:
    """Whatever bytes come, they are a value or the codec's own error."""
    _agree(text)


@always(few=300, many=2_000, text=_soup.map(str.encode))
def test_pieces_of_json_are_read_or_refused_as_the_judge_does(text: bytes) -> None:
    """Tokens in any order: what is nearly JSON is where parsers differ."""
    _agree(text)


@always(few=300, many=2_000, text=_json_texts | damaged(_json_texts))
def test_json_texts_and_damaged_ones_are_read_or_refused_as_the_judge_does(text: bytes) -> None:
    """JSON as another library writes it, NaN and huge integers included, whole and with a few bytes changed."""
    _agree(text)


@always(
    levels=st.lists(st.sampled_from(["[", '{"a":', '["\\"[",', '{"[{":']), min_size=1, max_size=3 * DEPTH),
    close=st.booleans(),
)
def test_7_nesting_is_counted_outside_strings_only(levels: list[str], close: bool) -> None:
    """Depth is refused exactly past the limit, whatever brackets stand in strings, and whether or not they close."""
    ends = {"[": "]", "{": "}"}
    text = "".join(levels) + "1" + "".join(ends[level[0]] for level in reversed(levels) if close)
    _agree(text.encode())
    if len(levels) > DEPTH:
        with pytest.raises(CodecError) as refused:
            loads(text.encode(), DEPTH)
        assert refused.value.code == Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'["\\"",', b'[{"a":'])
@pytest.mark.parametrize("levels", [65, 500, 1000, 1023, 1024, 1025, 5000, 100_000])
@pytest.mark.parametrize("close", [True, False])
def test_7_any_depth_is_refused_without_recursion(opening: bytes, levels: int, close: bool) -> None:
    """The limit is named up to, around and far past the depths at which parsers themselves give up."""
    ends = {ord("["): b"]", ord("{"): b"}"}
    closing = b"".join(ends[byte] for byte in reversed(opening) if byte in ends)
    with pytest.raises(CodecError) as refused:
        loads(opening * levels + (b"1" + closing * levels if close else b""), 64)
    assert str(refused.value) == "resource_exhausted: The data is nested more than 64 levels deep (limits.depth)."


@pytest.mark.parametrize(
    "text",
    ["NaN", "-NaN", "Infinity", "-Infinity", "1e999", "-1e999", "[1e309]", '"\\ud800"', '"\\udc00\\ud800"', "\ufeff1",
     "", " ", "[1,]", "{,}", "{a:1}", "{'a':1}", "01", "1.", ".5", "+1", "0x10", "1_000", '"\n"', '"\x00"', "\x00",
     "[1][", "//c\n1", "nul", "True", "٣", "1\x0c", '"\\x41"', '"\\u12"', '{"a"}', '{"a":}', '{1:2}', "[1 2]",
     "\u00a01"],
)  # fmt: skip
def test_7_what_is_no_json_is_refused_in_the_words_of_the_parser(text: str) -> None:
    """NaN, infinities, numbers that overflow, lone surrogates, and every habit of other languages."""
    with pytest.raises(orjson.JSONDecodeError) as own:
        orjson.loads(text)
    with pytest.raises(JsonSyntaxError) as refused:
        loads(text.encode(), 64)
    assert str(refused.value) == f"invalid_argument: Not valid JSON: {own.value.msg} at character {own.value.pos}."


@pytest.mark.parametrize(
    "text", [b'"\xff"', b'"\xed\xa0\x80"', b'{"\xc3":1}', b"\xff\xfe1\x00", b'"\xf4\x90\x80\x80"', b'"\xc0\xaf"']
)
def test_7_bytes_that_are_no_utf8_are_refused(text: bytes) -> None:
    """UTF-8 is checked, surrogates, overlong forms and other encodings included."""
    with pytest.raises(JsonSyntaxError) as refused:
        loads(text, 64)
    assert str(refused.value) == (
        "invalid_argument: Not valid JSON: str is not valid UTF-8: surrogates not allowed at character 0."
    )


@pytest.mark.parametrize(
    "digits",
    [
        *map(str, [2**53, -(2**53), 2**63, -(2**63) - 1, 2**64 - 1, 2**64, 10**30]),
        pytest.param("9" * 300, id="300 digits"),
        pytest.param("-" + "9" * 300, id="300 digits, negative"),
    ],
)
@pytest.mark.parametrize("shape", ["{}", "[1, {}]", '{{"a": {}}}', '["9007199254740992", {}]'])
def test_7_an_integer_that_clients_cannot_hold_is_refused(digits: str, shape: str) -> None:
    """Also past 64 bits, where parsers turn integers into floats."""
    with pytest.raises(CodecError) as refused:
        loads(shape.format(digits).encode(), 64)
    assert type(refused.value) is CodecError
    assert str(refused.value) == f"invalid_argument: {BIG_INTEGER}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9007199254740991", 2**53 - 1),
        ("-9007199254740991", 1 - 2**53),
        ('"9007199254740992"', "9007199254740992"),
        ('{"9007199254740992": "18446744073709551616"}', {"9007199254740992": "18446744073709551616"}),
        ("9007199254740993.0", 9007199254740992.0),
        ("90071992547409920e0", 90071992547409920.0),
        ("0.1234567890123456789", 0.12345678901234568),
        ("1e-400", 0.0),
        ("1e308", 1e308),
        ('"\\ud83d\\ude00"', "\U0001f600"),
    ],
)
def test_7_what_only_looks_too_large_is_read(text: str, value: object) -> None:
    """Sixteen digits in a row are no crime in a string, a key or a fraction."""
    assert loads(text.encode(), 64) == value


def test_7_of_a_key_that_comes_twice_the_last_counts() -> None:
    """As in JavaScript and in the standard library."""
    assert loads(b'{"a":1,"b":2,"a":{"a":3,"a":4}}', 64) == {"a": {"a": 4}, "b": 2}


@always(
    few=300,
    many=3_000,
    text=st.lists(
        st.sampled_from([b"1" * 15, b"1" * 16, b"1" * 14, b"0", b"9", b"12", b" ", b",", b"x" * 13, b".", b"-"])
        | st.binary(max_size=9),
        max_size=12,
    ).map(b"".join),
)
def test_a_long_number_is_found_wherever_it_stands(text: bytes) -> None:
    """Sixteen digits in a row, at any place, and nothing else."""
    assert has_long_number(text) is bool(re.search(rb"[0-9]{16}", text))


@always(value=json_values)
def test_values_are_counted_before_they_are_made(value: Any) -> None:
    """The count of the text's marks is that of the values, an empty array or object counted as if it held one."""

    def count(node: Any) -> int:
        if not isinstance(node, list | dict):
            return 0
        return max(1, len(node)) + sum(map(count, node.values() if isinstance(node, dict) else node))

    text = dumps(value).text
    assert has_more_values(text, count(value) - 1)
    assert not has_more_values(text, count(value))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'"' + b"1," * 50_000 + b'"', 0),
        (b"[" + b'"",' * 50_000 + b"1]", 50_001),
        (b'["' + b'\\",[' * 50_000 + b'"]', 1),
    ],
    ids=["a table in a string", "many strings", "escaped quotes"],
)
def test_marks_in_strings_are_no_values(text: bytes, expected: int) -> None:
    """A string may be long and hold anything; very many strings are looked through in parts."""
    assert not has_more_values(text, expected)
    assert expected == 0 or has_more_values(text, expected - 1)


@always(value=json_values, limit=st.integers(1, 6))
def test_depth_is_that_of_arrays_and_objects(value: Any, limit: int) -> None:
    """`check_depth` agrees with the definition."""
    if _depth(value) <= limit:
        check_depth(value, limit)
    else:
        with pytest.raises(CodecError) as refused:
            check_depth(value, limit)
        assert refused.value.message == f"The data is nested more than {limit} levels deep (limits.depth)."


SIZES = [200_000, pytest.param(4_000_000, marks=pytest.mark.full)]
"""Bytes of text."""

_WORST: dict[str, Callable[[int], bytes]] = {
    "empty arrays": lambda n: b"[" + b"[]," * (n // 3) + b"1]",
    "objects of one key": lambda n: b"[" + b'{"":0},' * (n // 7) + b"1]",
    "nested objects": lambda n: b"[" + (b'{"":' * 60 + b"0" + b"}" * 60 + b",") * (n // 302) + b"1]",
    "pairs that follow one another": lambda n: b"[]" * (n // 2),
    "pairs and then rubbish": lambda n: b"[" + b"[]," * (n // 3) + b"x",
    "nested and then rubbish": lambda n: b"[" + (b"[" * 60 + b"]" * 60 + b",") * (n // 121) + b"x",
    "quotes": lambda n: b'"' * n,
    "escaped quotes": lambda n: b'["' + b'\\"' * (n // 2),
    "backslashes": lambda n: b'["' + b"\\" * n,
    "brackets in an open string": lambda n: b'["' + b"[" * n,
    "brackets around strings": lambda n: b"[" + b'"[",' * (n // 4) + b"x",
    "opening brackets": lambda n: b"[" * n,
    "one number": lambda n: b"1" * n,
    "one negative number": lambda n: b"-" + b"1" * n,
    "one fraction": lambda n: b"0." + b"1" * n,
    "a long number made small": lambda n: b"1" * n + b"e-%d" % n,
    "a long exponent": lambda n: b"1e" + b"0" * n + b"1",
    "numbers of fifteen digits": lambda n: b"[" + b"111111111111111," * (n // 16) + b"1]",
    "numbers of sixteen digits": lambda n: b"[" + b"1111111111111111," * (n // 17) + b"1]",
    "two-letter strings": lambda n: b"[" + '"Ā",'.encode() * (n // 5) + b"1]",
    "spaces": lambda n: b" " * n,
    "keys": lambda n: b"{" + b",".join(b'"%x":0' % i for i in range(n // 9)) + b"}",
    "the same key": lambda n: b"{" + b'"a":0,' * (n // 6) + b'"a":1}',
}


def _read(text: bytes) -> object:
    try:
        return loads(text, 64)
    except CodecError:
        return None


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("worst", _WORST.values(), ids=_WORST)
def test_7_memory_is_a_small_multiple_of_the_text(worst: Callable[[int], bytes], size: int) -> None:
    """Text of the worst kinds: Python's objects take up to 50 times their text, a refusal much less."""
    text = worst(size)
    tracemalloc.start()
    try:
        _read(text)
        assert tracemalloc.get_traced_memory()[1] <= 55 * len(text)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("worst", _WORST.values(), ids=_WORST)
def test_7_time_grows_with_the_text_and_not_faster(worst: Callable[[int], bytes], size: int) -> None:
    """Sixteen times the text takes some sixteen times as long; were the time quadratic, it would be 256 times."""

    def spent(size: int) -> float:
        text = worst(size)
        times = []
        for _ in range(3):
            start = time.thread_time()
            _read(text)
            times.append(time.thread_time() - start)
        return min(times)

    gc.disable()  # its rounds go through the whole heap of the tests
    try:
        assert spent(size) <= 100 * max(spent(size // 16), 0.0005)
    finally:
        gc.enable()


# ------------------------------------------------------------------- out


@always(value=values)
def test_what_is_written_is_read_again(value: Any) -> None:
    """Any value goes out and comes back; the text is JSON, and its Buffers are numbered in order."""
    encoded = dumps(value)
    assert repr(encoded.value()) == repr(value)
    assert json.loads(encoded.text) is not ...
    assert [f'"num":{number}' in encoded.text.decode() for number in range(len(encoded.buffers))] == [True] * len(
        encoded.buffers
    )
    assert holds_buffers(value) is bool(encoded.buffers)


@always(value=json_values)
def test_what_is_written_can_be_read_by_a_client(value: Any) -> None:
    """What leaves the server passes its own rules for what comes in."""
    assert repr(loads(dumps(value).text, 64)) == repr(value)


@always(
    value=trees(st.binary(max_size=4) | st.sampled_from(['{"_placeholder":true,"num":0}', '"', "\\"]), max_leaves=8),
    offset=st.integers(0, 1000),
)
def test_placeholders_are_renumbered_and_strings_that_look_like_them_are_not(value: Any, offset: int) -> None:
    """Raising every number by an offset is the same as having had so many Buffers before."""
    encoded = dumps(value)
    moved = Json(encoded.renumbered(offset), (b"",) * offset + encoded.buffers)
    assert moved.value() == value
    assert encoded.renumbered(0) == encoded.text


def test_a_placeholder_without_buffers_is_plain_data() -> None:
    """Where no Buffer stands, nobody takes an object for one."""
    plain = {"_placeholder": True, "num": 3}
    encoded = dumps([plain])
    assert (encoded.buffers, encoded.value()) == ((), [plain])
    assert encoded.renumbered(5) == encoded.text
    assert placeholder(12) == b'{"_placeholder":true,"num":12}'


class _Colour(enum.Enum):
    RED = "red"


class _Level(enum.IntEnum):
    LOW = 1


class _Model(BaseModel):
    name: str
    born: date | None = None
    picture: bytes = b""


@dataclasses.dataclass
class _Point:
    x: float
    y: Decimal


def test_the_types_that_authors_use_are_written() -> None:
    """Models, dataclasses, dates, enums, decimals, UUIDs, sets, tuples, whole-number keys, every kind of bytes."""
    encoded = dumps(
        {
            "model": _Model(name="Ada", born=date(1815, 12, 10), picture=b"png"),
            "point": _Point(1.5, Decimal("2.50")),
            "enums": [_Colour.RED, _Level.LOW],
            "id": uuid.UUID(int=1),
            "set": {1},
            "tuple": (1, (2,)),
            5: "five",
            "bytes": [bytearray(b"a"), memoryview(b"b")],
        }
    )
    assert encoded.value() == {
        "model": {"name": "Ada", "born": "1815-12-10", "picture": b"png"},
        "point": {"x": 1.5, "y": "2.50"},
        "enums": ["red", 1],
        "id": "00000000-0000-0000-0000-000000000001",
        "set": [1],
        "tuple": [1, [2]],
        "5": "five",
        "bytes": [b"a", b"b"],
    }


class _Reading(BaseModel):
    value: float


_not_finite = st.sampled_from([math.nan, math.inf, -math.inf])


@always(value=trees(_not_finite | st.integers(0, 9) | _not_finite.map(lambda v: _Reading(value=v))).filter(
    lambda value: "nan" in repr(value) or "inf" in repr(value)
))  # fmt: skip
def test_7_nan_and_infinities_are_never_written(value: Any) -> None:
    """Wherever they stand, models included, encoding fails rather than writing null or NaN."""
    with pytest.raises(EncodeError) as refused:
        dumps(value)
    assert str(refused.value) in {f"{number} is not a number that JSON has" for number in ("nan", "inf", "-inf")}


def _cycle() -> list[object]:
    cycle: list[object] = []
    cycle.append(cycle)
    return cycle


def _deep() -> list[object]:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    return deep


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2**53, BIG_INTEGER),
        ({"a": [-(2**53)]}, BIG_INTEGER),
        (2**64, "Integer exceeds 64-bit range"),
        ("\ud800", "str is not valid UTF-8: surrogates not allowed"),
        ({(1, 2): 3}, "an object's key must be a string, not (1, 2)"),
        ({True: 1}, "an object's key must be a string, not True"),
        ({None: 1}, "an object's key must be a string, not None"),
        ({b"a": 1}, "an object's key must be a string, not b'a'"),
        (
            [b"", {"_placeholder": True}],
            "a value with Buffers has a field '_placeholder', which clients take for a Buffer",
        ),
        (object, "Unable to serialize unknown type: <class 'type'>"),
    ],
    ids=repr,
)
def test_what_the_wire_cannot_carry_is_said(value: object, message: str) -> None:
    """An author reads in the log what was wrong with a result."""
    with pytest.raises(EncodeError) as refused:
        dumps(value)
    assert str(refused.value) == message


@pytest.mark.parametrize("make", [_cycle, _deep])
def test_a_cycle_and_a_tower_are_refused_too(make: Callable[[], object]) -> None:
    """They exhaust the stack, which is an `EncodeError` like any other; the words are Python's."""
    with pytest.raises(EncodeError, match=r"recursion|Recursion|Circular"):
        dumps(make())


def test_text_that_others_have_written_is_checked() -> None:
    """`checked` is for serialisers that let pass what clients cannot read."""
    assert checked(b'[1,{"_placeholder":true,"num":0}]', [b"a"]) == Json(b'[1,{"_placeholder":true,"num":0}]', (b"a",))
    with pytest.raises(EncodeError, match=r"^An integer is beyond"):
        checked(b"[9007199254740992]", [])
    assert paired(b"[9007199254740992]", []) == Json(b"[9007199254740992]")
    with pytest.raises(EncodeError, match=r"^a value with Buffers has a field '_placeholder'"):
        checked(b'[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', [b"a"])
