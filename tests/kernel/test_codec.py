"""The encodings of `data`: what is packed comes back, what is damaged is refused, and no bomb goes off."""

from __future__ import annotations

import base64
import binascii
import contextlib
import gc
import gzip
import itertools
import json
import math
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import assume
from hypothesis import strategies as st

from jackfield import _codec
from jackfield._codec import SUPPORTED, Bounds, Encoding, pack, parse_encoding, unpack, unpack_text
from jackfield._errors import Code, CodecError, EncodeError
from jackfield._json import Json, dumps, holds_buffers
from tests.support.bombs import gzip_zeroes, msgpack_header, padded_gzip, zstd, zstd_zeroes
from tests.support.properties import always, damaged, json_values, texts, trees, values

BOUNDS = Bounds()
SMALL = Bounds(unpacked=100_000, ratio=10, depth=4)
_NAMES = [
    "+".join(filter(None, [outer, *inner, kind]))
    for outer in ("", "base64")
    for length in range(5)
    for inner in itertools.product(["gzip", "zstd"], repeat=length)
    for kind in ("", "json", "msgpack", "bytes")
    if 1 <= bool(outer) + length + bool(kind) <= 4
]
"""Every encoding that there is."""

encodings = st.sampled_from(_NAMES)


def _unpack(data: Any, encoding: str, bounds: Bounds = BOUNDS) -> Any:
    return unpack(data, parse_encoding(encoding), bounds)


def _refusal(data: Any, encoding: str, bounds: Bounds = BOUNDS) -> str:
    with pytest.raises(CodecError) as refused:
        _unpack(data, encoding, bounds)
    return str(refused.value)


# ------------------------------------------------------------------- there and back


def _carries(encoding: str, value: Any) -> bool:
    if encoding.endswith("bytes"):
        return isinstance(value, bytes)
    return encoding.endswith("msgpack") or not holds_buffers(value)


@always(few=300, many=1_500, name=encodings, value=values | st.binary(max_size=200))
def test_what_is_packed_comes_back(name: str, value: Any) -> None:
    """Every encoding, with every value that it carries; a value that it does not carry is refused."""
    encoding = parse_encoding(name)
    if _carries(name, value):
        packed = pack(dumps(value), encoding).value()
        assert isinstance(packed, str if encoding.base64 or name == "json" else bytes)
        assert repr(unpack(packed, encoding, BOUNDS)) == repr(value)
    else:
        with pytest.raises(CodecError) as refused:
            pack(dumps(value), encoding)
        assert refused.value.code == Code.INVALID_ARGUMENT


@always(value=json_values)
def test_a_whole_envelope_comes_in_three_forms(value: Any) -> None:
    """As a string, as a Buffer, and as a Buffer of gzip."""
    text = dumps(value).text
    for form in (text.decode(), text, gzip.compress(text)):
        assert repr(unpack_text(form, BOUNDS)) == repr(value)


@always(
    value=trees(
        st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | texts | st.binary()
    )
)
def test_msgpack_carries_64_bits(value: Any) -> None:
    """Integers that JSON clients cannot hold come in by MessagePack."""
    assert repr(_unpack(msgpack.packb(value), "msgpack")) == repr(value)


def test_msgpack_goes_out_with_64_bits() -> None:
    """And so they go out."""
    packed = pack(Json(b"[18446744073709551615,-9223372036854775808]"), parse_encoding("msgpack"))
    assert msgpack.unpackb(packed.buffers[0]) == [2**64 - 1, -(2**63)]


# ------------------------------------------------------------------- any input


def _is_value(value: Any, depth: int) -> bool:
    if isinstance(value, list):
        return depth > 0 and all(_is_value(item, depth - 1) for item in value)
    if isinstance(value, dict):
        return depth > 0 and all(isinstance(key, str) and _is_value(item, depth - 1) for key, item in value.items())
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    return value is None or type(value) in (bool, int, bytes)


def _decodes_or_is_refused(data: Any, name: str) -> None:
    try:
        assert _is_value(_unpack(data, name, SMALL), SMALL.depth)
    except CodecError as error:
        refusal = error.as_dict()
    else:
        return
    assert refusal["code"] in (Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED)
    assert json.dumps(refusal, ensure_ascii=False).encode().endswith(b'."}')


@always(few=300, many=2_000, name=encodings, data=values | st.binary(max_size=200) | st.text(max_size=40))
def test_anything_at_all_decodes_or_is_refused(name: str, data: Any) -> None:
    """Whatever a client puts into `data`, it is a value within the limits or the codec's own error."""
    _decodes_or_is_refused(data, name)


@st.composite
def _packed(draw: st.DrawFn) -> tuple[str, bytes]:
    name = draw(encodings.filter(lambda name: "base64" not in name))
    kind = parse_encoding(name).kind
    value = draw({"bytes": st.binary(max_size=200), "json": json_values}.get(kind, values))
    return name, pack(dumps(value), parse_encoding(name)).buffers[0] if name != "json" else dumps(value).text


@st.composite
def _damaged_packed(draw: st.DrawFn) -> tuple[str, bytes]:
    name, data = draw(_packed())
    return name, draw(damaged(st.just(data)))


@always(few=300, many=2_000, case=_damaged_packed())
def test_what_is_damaged_decodes_or_is_refused(case: tuple[str, bytes]) -> None:
    """A few bytes of something valid are changed: headers, lengths, checksums, whatever they hit."""
    name, data = case
    _decodes_or_is_refused(data, name)
    _decodes_or_is_refused(base64.b64encode(data).decode(), f"base64+{name}" if name.count("+") < 3 else name)


_TAGS = bytes([0x80, 0x81, 0x8F, 0x90, 0x91, 0x9F, 0xA0, 0xA1, *range(0xC0, 0xE0), 0x00, 0x7F, 0xE0, 0xFF])


@always(few=300, many=2_000, data=st.lists(st.sampled_from(_TAGS) | st.integers(0, 255), max_size=24).map(bytes))
def test_headers_of_msgpack_in_any_order_decode_or_are_refused(data: bytes) -> None:
    """Every kind of header, with lengths that are and that are not there."""
    _decodes_or_is_refused(data, "msgpack")


@always(few=300, many=1_500, data=st.binary(max_size=60) | damaged(st.binary(max_size=200).map(zstd.compress)))
def test_frames_of_zstd_with_any_header_decode_or_are_refused(data: bytes) -> None:
    """Every header after the magic number: windows, dictionaries, sizes, checksums."""
    _decodes_or_is_refused(b"\x28\xb5\x2f\xfd" + data.removeprefix(b"\x28\xb5\x2f\xfd"), "zstd+bytes")


@always(case=_packed(), cut=st.integers(1, 40))
def test_a_part_is_never_taken_for_the_whole(case: tuple[str, bytes], cut: int) -> None:
    """What breaks off early is refused, for gzip, zstd, MessagePack, and JSON that is no bare number."""
    name, data = case
    encoding = parse_encoding(name)
    assume(encoding.compressions or encoding.kind == "msgpack" or (encoding.kind == "json" and data[:1] in b'[{"'))
    with pytest.raises(CodecError) as refused:
        unpack(data[: max(0, len(data) - cut)], encoding, BOUNDS)
    assert refused.value.code == Code.INVALID_ARGUMENT


@always(case=_packed(), more=st.binary(min_size=1, max_size=10))
def test_nothing_may_follow_the_end(case: tuple[str, bytes], more: bytes) -> None:
    """Bytes behind a gzip member, a zstd frame or a MessagePack value are refused, not ignored."""
    name, data = case
    encoding = parse_encoding(name)
    assume(encoding.compressions or encoding.kind == "msgpack")
    with pytest.raises(CodecError) as refused:
        unpack(data + more, encoding, BOUNDS)
    assert refused.value.code == Code.INVALID_ARGUMENT


@always(
    few=400,
    many=1_500,
    text=st.text("AQgw+/=YZ09", max_size=12)
    | st.binary(max_size=12).map(lambda raw: base64.b64encode(raw).decode())
    | st.text(st.sampled_from("AQ== \n\t-_.é²\x00"), max_size=8),
)
def test_base64_is_taken_in_its_one_form_only(text: str) -> None:
    """Two different strings never mean the same bytes: padding, stray bits, white space and URL letters count."""
    try:
        canonical = base64.b64encode(base64.b64decode(text)).decode() == text
    except ValueError:
        canonical = False
    if canonical:
        assert base64.b64encode(_unpack(text, "base64+bytes")).decode() == text
    else:
        assert _refusal(text, "base64+bytes").startswith("invalid_argument: Not valid base64: ")


# ------------------------------------------------------------------- the words of `encoding`


@always(
    few=500,
    many=1_500,
    tokens=st.lists(
        st.sampled_from([*SUPPORTED, *SUPPORTED, *SUPPORTED, "", "br", "GZIP", "gzip "]), min_size=1, max_size=6
    ),
)
def test_an_encoding_is_read_by_its_grammar(tokens: list[str]) -> None:
    """Known tokens in their order make an encoding; the rest is `unimplemented` or `invalid_argument`."""
    text = "+".join(tokens)
    known = all(token in SUPPORTED for token in tokens)
    if known and len(tokens) <= 4 and text in _NAMES:
        encoding = parse_encoding(text)
        assert encoding.kind == (tokens[-1] if tokens[-1] in ("json", "msgpack", "bytes") else "json")
        assert encoding.base64 is (tokens[0] == "base64")
        assert list(encoding.compressions) == [token for token in tokens if token in ("gzip", "zstd")]
    else:
        with pytest.raises(CodecError) as refused:
            parse_encoding(text)
        assert refused.value.code == (Code.INVALID_ARGUMENT if known else Code.UNIMPLEMENTED)


@pytest.mark.parametrize("name", _NAMES)
def test_every_encoding_of_the_grammar_is_known(name: str) -> None:
    """All of them parse, and say what they are."""
    assert isinstance(parse_encoding(name), Encoding)


def test_the_words_of_clients_do_not_stay() -> None:
    """Encodings are remembered, and there are few; what is refused is forgotten."""
    for name in _NAMES:
        parse_encoding(name)
    before = parse_encoding.cache_info()
    for number in range(1000):
        with pytest.raises(CodecError):
            parse_encoding(f"gzip{number}")
    assert parse_encoding.cache_info().currsize == before.currsize <= len(_NAMES) < (before.maxsize or 0)


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("br", "unimplemented: Unknown encoding 'br'. Supported: base64, gzip, zstd, json, msgpack, bytes."),
        ("", "unimplemented: Unknown encoding ''. Supported: base64, gzip, zstd, json, msgpack, bytes."),
        ("gzip+", "unimplemented: Unknown encoding ''. Supported: base64, gzip, zstd, json, msgpack, bytes."),
        ("GZIP", "unimplemented: Unknown encoding 'GZIP'. Supported: base64, gzip, zstd, json, msgpack, bytes."),
        ("\n", r"unimplemented: Unknown encoding '\n'. Supported: base64, gzip, zstd, json, msgpack, bytes."),
        ("g" * 65, "invalid_argument: encoding is too long: at most 4 tokens joined by '+'."),
        ("gzip+gzip+gzip+gzip+json", "invalid_argument: encoding 'gzip+gzip+gzip+gzip+json' has more than 4 tokens."),
        *(
            (
                wrong,
                f"invalid_argument: encoding '{wrong}' is in the wrong order: "
                "it goes base64, then gzip or zstd, then the kind.",
            )
            for wrong in ("gzip+base64", "json+gzip", "json+json", "base64+base64", "bytes+msgpack", "base64+json+gzip")
        ),
    ],
)
def test_what_is_wrong_with_an_encoding_is_said(encoding: str, message: str) -> None:
    """An unknown token is named with those that there are, a wrong order with the right one."""
    with pytest.raises(CodecError) as refused:
        parse_encoding(encoding)
    assert str(refused.value) == message


def test_without_the_optional_packages_their_tokens_are_unknown() -> None:
    """A server without msgpack and zstd says so, and serves the rest."""
    script = """
import sys
sys.modules.update({"msgpack": None, "backports.zstd": None, "compression.zstd": None})
from jackfield._codec import SUPPORTED, parse_encoding
from jackfield._errors import CodecError
print(SUPPORTED)
for encoding in ("msgpack", "zstd+bytes"):
    try:
        parse_encoding(encoding)
    except CodecError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "('base64', 'gzip', 'json', 'bytes')",
        "unimplemented: Unknown encoding 'msgpack'. Supported: base64, gzip, json, bytes.",
        "unimplemented: Unknown encoding 'zstd'. Supported: base64, gzip, json, bytes.",
    ]


# ------------------------------------------------------------------- the words of refusals


def _any(*values: Any) -> tuple[Any, ...]:
    return values


def _base64_words(text: str) -> str:
    """Return what Python itself says, or, where it says nothing, what the codec finds; later versions say more."""
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except ValueError as own:
        return str(own)
    return "the last group has stray bits"


ZLIB = "Error -3 while decompressing data"
UTF8 = "Not valid msgpack: 'utf-8' codec can't decode byte"
KEY = "is not allowed for map key when strict_map_key=True"
HELLO = gzip.compress(b"hello " * 20, mtime=0)
ZHELLO = zstd.compress(b"hello " * 20)


@pytest.mark.parametrize(
    ("encoding", "data", "message"),
    [
        *(("base64", wrong, "base64 takes a string.") for wrong in _any(b"", None, 1, ["YQ=="], {})),
        *(("json", wrong, "json takes a string or a Buffer.") for wrong in _any(None, 1, [], {})),
        *(
            (name, wrong, f"{name.split('+')[0]} takes a Buffer; as a string it goes under base64.")
            for name in ("gzip", "zstd+bytes", "msgpack", "bytes", "gzip+zstd+msgpack")
            for wrong in _any("text", None, 1.5, [b""], {"a": b""})
        ),
        *(
            ("base64+bytes", wrong, f"Not valid base64: {_base64_words(wrong)}.")
            for wrong in ("YQ", "=", "A", "YQ==\n", "YQ==YQ==", "Y Q=", "YQ-_", "é", "YQ=a")
        ),
        *(
            ("base64+bytes", wrong, f"Not valid base64: {_base64_words(wrong)}.")
            for wrong in ("YR==", "YWJ=", "YWJj=", "YWJj====", "//==")
        ),
        ("gzip", b"", "Not valid gzip: it does not begin as gzip does."),
        ("gzip", b"hello", "Not valid gzip: it does not begin as gzip does."),
        ("gzip", zlib.compress(b"hello"), "Not valid gzip: it does not begin as gzip does."),
        ("gzip", HELLO[:-1], "Not valid gzip: it ends too early."),
        ("gzip", HELLO[:10], "Not valid gzip: it ends too early."),
        ("gzip", HELLO[:-8] + b"\0" * 8, f"Not valid gzip: {ZLIB}: incorrect data check."),
        ("gzip", HELLO[:-4] + b"\0" * 4, f"Not valid gzip: {ZLIB}: incorrect length check."),
        ("gzip", b"\x1f\x8b\x09" + HELLO[3:], f"Not valid gzip: {ZLIB}: unknown compression method."),
        ("gzip", HELLO + HELLO, "Not valid gzip: something follows its end."),
        ("gzip", HELLO + b"\0", "Not valid gzip: something follows its end."),
        ("zstd", b"", "Not valid zstd: it does not begin as zstd does."),
        ("zstd", b"\x50\x2a\x4d\x18\x03\0\0\0abc", "Not valid zstd: it does not begin as zstd does."),
        ("zstd", b"\x25\xb5\x2f\xfd" + b"\0" * 9, "Not valid zstd: it does not begin as zstd does."),
        ("zstd", ZHELLO[:-1], "Not valid zstd: it ends too early."),
        ("zstd", ZHELLO + ZHELLO, "Not valid zstd: something follows its end."),
        ("zstd", ZHELLO + b"\0", "Not valid zstd: something follows its end."),
        ("msgpack", b"", "Not valid msgpack: it ends too early."),
        ("msgpack", b"\x92\x01", "Not valid msgpack: it ends too early."),
        ("msgpack", b"\xdd\xff\xff\xff\xff", "Not valid msgpack: it ends too early."),
        ("msgpack", b"\xdf\xff\xff\xff\xff", "Not valid msgpack: it ends too early."),
        ("msgpack", b"\xdb\xff\xff\xff\xff", "Not valid msgpack: it ends too early."),
        ("msgpack", b"\xc6\xff\xff\xff\xff", "Not valid msgpack: it ends too early."),
        ("msgpack", b"\xc9\xff\xff\xff\xfe\x01", "Not valid msgpack: it ends too early."),
        ("msgpack", b"\xc0\xc0", "Not valid msgpack: something follows its end."),
        ("msgpack", b"\xc1", "Not valid msgpack: FormatError."),
        ("msgpack", b"\xa1\xff", f"{UTF8} 0xff in position 0: invalid start byte."),
        ("msgpack", b"\xa3\xed\xa0\x80", f"{UTF8} 0xed in position 0: invalid continuation byte."),
        ("msgpack", b"\x81\x01\x01", f"Not valid msgpack: int {KEY}."),
        ("msgpack", b"\x81\xc0\x01", f"Not valid msgpack: NoneType {KEY}."),
        ("msgpack", b"\x81\xc4\x01a\x01", "msgpack: the keys of a map must be strings."),
        ("msgpack", b"\x91\x81\xc4\x01a\x01", "msgpack: the keys of a map must be strings."),
        ("msgpack", b"\xd4\x05\x00", "msgpack: extension types are refused (type 5)."),
        ("msgpack", b"\x91\xc7\x00\x2a", "msgpack: extension types are refused (type 42)."),
        ("msgpack", b"\xd6\xff\0\0\0\0", "msgpack: extension types are refused."),
        ("msgpack", b"\x91\xd7\xff\0\0\0\0\0\0\0\0", "msgpack: extension types are refused."),
        ("msgpack", b"\xcb\x7f\xf8\0\0\0\0\0\0", "msgpack: NaN and infinities are refused."),
        ("msgpack", b"\x92\xca\x7f\x80\0\0\xc0", "msgpack: NaN and infinities are refused."),
        ("msgpack", b"\x81\xa1a\x91\xcb\xff\xf0\0\0\0\0\0\0", "msgpack: NaN and infinities are refused."),
        ("json", "\ud800", "Not valid UTF-8: a lone surrogate."),
    ],
)  # fmt: skip
def test_bytes_that_are_not_what_they_claim_are_refused(encoding: str, data: Any, message: str) -> None:
    """The caller reads what was expected and what is wrong; nothing is repaired or ignored."""
    assert _refusal(data, encoding) == f"invalid_argument: {message}"


def test_a_window_that_decoders_need_not_support_is_refused() -> None:
    """A zstd frame may ask for gigabytes; eight megabytes is what it gets."""

    def frame(window: int) -> bytes:
        parameters = zstd.CompressionParameter
        stream = zstd.ZstdCompressor(options={parameters.window_log: window, parameters.content_size_flag: 0})
        return bytes(stream.compress(b"x" * 100, stream.FLUSH_BLOCK) + stream.compress(b"y", stream.FLUSH_FRAME))

    assert _unpack(frame(23), "zstd+bytes") == b"x" * 100 + b"y"
    assert _refusal(frame(24), "zstd+bytes").startswith("invalid_argument: Not valid zstd: ")
    assert _refusal(frame(27), "zstd+bytes").startswith("invalid_argument: Not valid zstd: ")


def test_a_frame_that_needs_a_dictionary_is_refused() -> None:
    """There is none."""
    dictionary = zstd.ZstdDict(b"hello world, this is a dictionary" * 4, is_raw=True)
    with_id = b"\x28\xb5\x2f\xfd\x21\x07\x01\x09\0\0x"
    assert _refusal(with_id, "zstd+bytes").startswith("invalid_argument: Not valid zstd: ")
    raw = b"hello world, this is a dictionary" * 8
    packed = zstd.compress(raw, zstd_dict=dictionary)
    assert _refusal(packed, "zstd+bytes").startswith("invalid_argument: Not valid zstd: ")


@pytest.mark.parametrize("encoding", ["json", "gzip", "msgpack", "base64+msgpack", "zstd+msgpack"])
def test_7_depth_is_the_same_in_every_encoding(encoding: str) -> None:
    """Sixty-four levels pass, one more does not, and neither do so many that parsers give up."""

    def tower(levels: int) -> Any:
        parsed = parse_encoding(encoding)
        raw = b"\x91" * levels + b"\xc0" if parsed.kind == "msgpack" else b"[" * levels + b"]" * levels
        for name in reversed(parsed.compressions):
            raw = gzip.compress(raw) if name == "gzip" else zstd.compress(raw)
        return base64.b64encode(raw).decode() if parsed.base64 else raw

    assert _is_value(_unpack(tower(64), encoding), 64)
    for levels in (65, 511, 512, 1023, 1024, 1025, 3000):
        assert (
            _refusal(tower(levels), encoding)
            == "resource_exhausted: The data is nested more than 64 levels deep (limits.depth)."
        )


@pytest.mark.parametrize(
    ("accept", "result", "message"),
    [
        ("bytes", b'"text"', "accept asks for bytes, but the result is no Buffer."),
        ("gzip+bytes", b"null", "accept asks for bytes, but the result is no Buffer."),
    ],
)
def test_a_result_that_does_not_fit_is_refused(accept: str, result: bytes, message: str) -> None:
    """`bytes` needs a Buffer, and only that."""
    with pytest.raises(CodecError) as refused:
        pack(Json(result), parse_encoding(accept))
    assert str(refused.value) == f"invalid_argument: {message}"


def test_a_result_with_buffers_does_not_fit_json() -> None:
    """The caller is told what to ask for."""
    for accept in ("json", "gzip", "base64", "base64+zstd+json"):
        with pytest.raises(CodecError) as refused:
            pack(dumps({"a": b"x"}), parse_encoding(accept))
        assert str(refused.value) == (
            "invalid_argument: accept asks for JSON, but the result holds Buffers: ask for msgpack."
        )
    with pytest.raises(CodecError):
        pack(dumps([b"x"]), parse_encoding("bytes"))


def test_what_msgpack_cannot_carry_is_an_error_of_the_server() -> None:
    """A result of the server's own past 64 bits, which no MessagePack can hold."""
    with pytest.raises(EncodeError) as refused:
        pack(Json(b"18446744073709551616"), parse_encoding("msgpack"))
    assert str(refused.value) == "the result does not fit msgpack: Integer value out of range"


# ------------------------------------------------------------------- bombs

TOO_LARGE = "resource_exhausted: The data unpacks to more than 4194304 bytes (limits.unpacked_size)."
TOO_DENSE = "resource_exhausted: The data unpacks to more than 100 times its size (limits.unpack_ratio)."
_BOMBS: dict[str, tuple[str, Callable[[], Any], str]] = {
    "gzip": ("gzip+bytes", gzip_zeroes, TOO_LARGE),
    "base64+gzip, 272 kB": ("base64+gzip+bytes", lambda: base64.b64encode(gzip_zeroes()).decode(), TOO_LARGE),
    "gzip of JSON": ("gzip", gzip_zeroes, TOO_LARGE),
    "zstd": ("zstd+bytes", zstd_zeroes, TOO_DENSE),
    "gzip+gzip": ("gzip+gzip+bytes", lambda: gzip.compress(gzip_zeroes()), TOO_DENSE),
    "gzip+gzip, padded": ("gzip+gzip+bytes", lambda: padded_gzip(gzip_zeroes()), TOO_LARGE),
    "gzip+zstd, padded": ("gzip+zstd+bytes", lambda: padded_gzip(zstd_zeroes()), TOO_LARGE),
    "zstd+gzip+gzip": ("zstd+gzip+gzip", lambda: zstd.compress(gzip.compress(gzip_zeroes())), TOO_DENSE),
}


@pytest.mark.parametrize(("encoding", "make", "message"), _BOMBS.values(), ids=_BOMBS)
def test_6_a_bomb_is_refused_within_twice_the_limit(encoding: str, make: Callable[[], Any], message: str) -> None:
    """Two hundred megabytes in a few kilobytes: what is kept at any time is the limit, and its copy."""
    bomb = make()
    tracemalloc.start()
    try:
        assert _refusal(bomb, encoding) == message
        assert tracemalloc.get_traced_memory()[1] <= 2.5 * BOUNDS.unpacked + 2 * len(bomb)
    finally:
        tracemalloc.stop()


def test_6_a_bomb_in_the_form_of_an_envelope_is_refused() -> None:
    """The whole envelope may come as gzip, under the same limits."""
    for bomb, message in ((gzip_zeroes(), TOO_LARGE), (gzip.compress(b"[" + b"0," * 100_000), TOO_DENSE)):
        with pytest.raises(CodecError) as refused:
            unpack_text(bomb, BOUNDS)
        assert str(refused.value) == message


def test_6_the_limits_are_exact() -> None:
    """As many bytes as the limit pass, one more does not; the ratio counts past the first 64 KiB."""
    bounds = Bounds(unpacked=200_000, ratio=2, depth=4)

    def wire(size: int, length: int) -> bytes:
        bare = len(padded_gzip(b"\0" * size, 0))
        return padded_gzip(b"\0" * size, length - bare)

    assert len(_unpack(wire(65_536, 400), "gzip+bytes", bounds)) == 65_536
    assert _refusal(wire(65_537, 400), "gzip+bytes", bounds) == (
        "resource_exhausted: The data unpacks to more than 2 times its size (limits.unpack_ratio)."
    )
    assert len(_unpack(wire(100_000, 50_000), "gzip+bytes", bounds)) == 100_000
    assert "limits.unpack_ratio" in _refusal(wire(100_001, 50_000), "gzip+bytes", bounds)
    assert len(_unpack(wire(200_000, 150_000), "gzip+bytes", bounds)) == 200_000
    assert _refusal(wire(200_001, 150_000), "gzip+bytes", bounds) == (
        "resource_exhausted: The data unpacks to more than 200000 bytes (limits.unpacked_size)."
    )
    assert len(_unpack(base64.b64encode(bytes(200_000)).decode(), "base64+bytes", bounds)) == 200_000
    assert _refusal(base64.b64encode(bytes(200_001)).decode(), "base64+bytes", bounds) == (
        "resource_exhausted: The data unpacks to more than 200000 bytes (limits.unpacked_size)."
    )


SIZES = [
    pytest.param(Bounds(unpacked=400_000), id="400 kB"),
    pytest.param(BOUNDS, id="4 MiB", marks=pytest.mark.full),
]
_CROWDS: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "empty arrays": ("json", lambda n: b"[" + b"[]," * (n // 3) + b"1]"),
    "objects of one key": ("json", lambda n: b"[" + b'{"":0},' * (n // 7) + b"1]"),
    "nested objects": ("json", lambda n: b"[" + (b'{"":' * 60 + b"0" + b"}" * 60 + b",") * (n // 302) + b"1]"),
    "numbers": ("json", lambda n: b"[" + b"1," * (n // 2) + b"1]"),
    "strings": ("json", lambda n: b"[" + '"Ā",'.encode() * (n // 5) + b"1]"),
    "pairs that follow one another": ("json", lambda n: b"[]" * (n // 2)),
    "nils": ("msgpack", lambda n: msgpack_header(n) + b"\xc0" * n),
    "empty maps": ("msgpack", lambda n: msgpack_header(n) + b"\x80" * n),
    "maps of one key": ("msgpack", lambda n: msgpack_header(n // 3) + b"\x81\xa0\xc0" * (n // 3)),
    "nested maps": ("msgpack", lambda n: msgpack_header(n // 121) + (b"\x81\xa0" * 60 + b"\xc0") * (n // 121)),
    "letters": ("msgpack", lambda n: msgpack_header(n // 3) + b"\xa2\xc4\x80" * (n // 3)),
}


@pytest.mark.parametrize(("kind", "make"), _CROWDS.values(), ids=_CROWDS)
@pytest.mark.parametrize("bounds", SIZES)
def test_6_more_values_than_the_bytes_let_expect_are_refused(
    kind: str, make: Callable[[int], bytes], bounds: Bounds
) -> None:
    """A few kilobytes never become millions of Python objects: they are counted first, or while they are made."""
    crowd = padded_gzip(make(bounds.unpacked - 8))
    assert len(crowd) < 65_000
    tracemalloc.start()
    try:
        assert _refusal(crowd, f"gzip+{kind}", bounds) == (
            f"resource_exhausted: The data unpacks to more than {bounds.values} values "
            "(an eighth of limits.unpacked_size)."
        )
        assert tracemalloc.get_traced_memory()[1] <= 34 * bounds.unpacked
    finally:
        tracemalloc.stop()


_FITTING: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "empty maps": ("msgpack", lambda n: msgpack_header(n) + b"\x80" * n),
    "nested maps": ("msgpack", lambda n: msgpack_header(n // 61) + (b"\x81\xa0" * 60 + b"\xc0") * (n // 61)),
    "nested objects": ("json", lambda n: b"[" + b",".join([b'{"":' * 60 + b"0" + b"}" * 60] * (n // 62)) + b"]"),
    "objects of one key": ("json", lambda n: b"[" + b",".join([b'{"":0}'] * (n // 2)) + b"]"),
}


@pytest.mark.parametrize(("kind", "make"), _FITTING.values(), ids=_FITTING)
@pytest.mark.parametrize("bounds", SIZES)
def test_6_memory_is_a_multiple_of_the_limit_where_all_of_it_fits(
    kind: str, make: Callable[[int], bytes], bounds: Bounds
) -> None:
    """The most that can be accepted, in the most wasteful shapes, takes some 30 times the limit of bytes."""
    packed = padded_gzip(make(bounds.values - 100))
    tracemalloc.start()
    try:
        assert _is_value(_unpack(packed, f"gzip+{kind}", bounds), 64)
        assert tracemalloc.get_traced_memory()[1] <= 40 * bounds.unpacked
    finally:
        tracemalloc.stop()


def test_6_what_a_plain_message_may_hold_is_not_refused_for_being_packed() -> None:
    """A megabyte of one-digit numbers is as many values as a message can bring; packed it passes too."""
    numbers = [1] * 499_000
    assert _unpack(padded_gzip(dumps(numbers).text), "gzip") == numbers
    assert _unpack(padded_gzip(msgpack.packb(numbers)), "gzip+msgpack") == numbers
    assert len(_unpack(dumps("1," * 2_000_000).text, "json")) == 4_000_000


def test_6_headers_that_promise_much_cost_nothing() -> None:
    """A thousand headers, each for as many values as there are bytes, one in the other."""
    raw = (msgpack_header(BOUNDS.unpacked - 8) * 1000).ljust(BOUNDS.unpacked, b"\xc0")
    packed = padded_gzip(raw)
    tracemalloc.start()
    try:
        assert _refusal(packed, "gzip+msgpack") == "invalid_argument: Not valid msgpack: it ends too early."
        assert tracemalloc.get_traced_memory()[1] <= 4 * BOUNDS.unpacked
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", padded_gzip(b"[" * 100)),
        ("gzip", b"no gzip"),
        ("gzip", HELLO[:-8] + bytes(8)),
        ("base64", "!!!!"),
        ("msgpack", b"\x91" * 2000),
        ("msgpack", b"\x92\xd4\x05\0"),
        ("gzip+msgpack", padded_gzip(msgpack_header(600_000) + b"\xc0" * 600_000)),
        ("json", b"[9007199254740992]"),
    ],
)
def test_6_what_is_refused_is_let_go_at_once(encoding: str, data: Any) -> None:
    """No cycle keeps the data of a refusal until the garbage collector comes by."""
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(CodecError):
            _unpack(data, encoding)
        assert gc.collect() == 0
    finally:
        gc.enable()


_SLOW: dict[str, tuple[str, Callable[[int], Any]]] = {
    "base64": ("base64+bytes", lambda n: "A" * (n // 4 * 4)),
    "base64 with an end in the middle": ("base64+bytes", lambda n: "AA==" * (n // 4)),
    "base64 that is all padding": ("base64+bytes", lambda n: "=" * n),
    "gzip with a long name": ("gzip+bytes", lambda n: padded_gzip(b"", n)),
    "gzip with much behind it": ("gzip+bytes", lambda n: HELLO + b"\0" * n),
    "gzip of empty blocks": ("gzip+bytes", lambda n: b"\x1f\x8b\x08" + b"\0" * 7 + b"\0\0\0\xff\xff" * (n // 5)),
    "zstd of empty blocks": ("zstd+bytes", lambda n: b"\x28\xb5\x2f\xfd\0\x58" + b"\0\0\0" * (n // 3)),
    "msgpack of nested pairs": ("msgpack", lambda n: msgpack_header(n // 40) + b"\x92" * 39 * (n // 40)),
    "msgpack of long headers": ("msgpack", lambda n: msgpack_header(n) * (n // 5)),
    "msgpack of the same key": ("msgpack", lambda n: msgpack_header(n // 3, b"\xdf") + b"\xa1a\xc0" * (n // 3)),
    "msgpack of floats": ("msgpack", lambda n: msgpack_header(n // 5) + b"\xca\x3f\x80\0\0" * (n // 5)),
}


@pytest.mark.parametrize(("encoding", "make"), _SLOW.values(), ids=_SLOW)
def test_6_time_grows_with_the_data_and_not_faster(encoding: str, make: Callable[[int], Any]) -> None:
    """Sixteen times the data takes some sixteen times as long; were the time quadratic, it would be 256 times."""

    def spent(size: int) -> float:
        data = make(size)
        times = []
        for _ in range(3):
            start = time.thread_time()
            with contextlib.suppress(CodecError):
                _unpack(data, encoding)
            times.append(time.thread_time() - start)
        return min(times)

    assert spent(800_000) <= 100 * max(spent(50_000), 0.0005)


def test_the_defaults_are_those_of_the_documentation() -> None:
    """Four megabytes, a hundred times, sixty-four levels; few values are never too many."""
    assert (BOUNDS.unpacked, BOUNDS.ratio, BOUNDS.depth, BOUNDS.values) == (4_194_304, 100, 64, 524_288)
    assert Bounds(unpacked=10).values == 8192
    assert _codec.SUPPORTED == ("base64", "gzip", "zstd", "json", "msgpack", "bytes")
