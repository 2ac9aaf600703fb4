"""Section 3: how data is packed, on the way in and on the way out."""

from __future__ import annotations

import base64
import math
import random
from itertools import product
from typing import Any

import msgpack

from tests.interop.packing import gz, pack, zstd
from tests.interop.scenario import Holding, Packed, Scenario, Step, call, each, emit, error, hear, internal, notice

ECHO = "api.services.test.echo"
REVERSE = "api.services.test.reverse"
COUNT = "api.probe.count"
DIGEST = "api.services.test.digest"
BIG = 2**53 - 1
PLAIN = {"a": [1, -2.5, True, None, "ü😀"], "": {"deep": [[]]}}
PLACEHOLDER = '{"_placeholder":true,"num":0}'


def _scenario(name: str, *steps: Step) -> Scenario:
    return Scenario(name, "3", steps)


def _packed(data: object, encoding: str, **fields: object) -> dict[str, object]:
    return {"event": ECHO, "data": data, "encoding": encoding, **fields}


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _nest(depth: int) -> list[Any]:
    return [_nest(depth - 1)] if depth > 1 else []


def _encodings() -> list[str]:
    """Every encoding of the grammar with up to two compressions, and some with three."""
    compressions = [[], *([one] for one in ("gzip", "zstd")), *map(list, product(("gzip", "zstd"), repeat=2))]
    compressions += [["gzip"] * 3, ["zstd", "gzip", "zstd"]]
    found = []
    for outer, inner, kind in product(([], ["base64"]), compressions, ([], ["json"], ["msgpack"], ["bytes"])):
        tokens = [*outer, *inner, *kind]
        if 1 <= len(tokens) <= 4:
            found.append("+".join(tokens))
    return found


def _there_and_back(encoding: str) -> Scenario:
    kind = encoding.rpartition("+")[2]
    if kind == "bytes":
        value: Any = b"\x00\x01\xff"
        plain: Any = value
    elif kind == "msgpack":
        value = {**PLAIN, "bin": [b"\x00\xff", b""]}
        plain = value
    else:
        value = plain = PLAIN
    return _scenario(
        f"{encoding}, in and out",
        call(_packed(pack(value, encoding), encoding), {"data": plain}),
        call(
            {"event": ECHO, "data": plain, "accept": encoding}, {"data": Packed(encoding, value), "encoding": encoding}
        ),
        call(
            _packed(pack(value, encoding), encoding, accept=encoding, id=1),
            {"data": Packed(encoding, value), "encoding": encoding, "id": 1},
        ),
    )


def _refused(name: str, *envelopes: dict[str, object], message: str, code: str = "invalid_argument") -> Scenario:
    """Data that is refused, after which the connection goes on as before."""
    return _scenario(
        name,
        *(call({**envelope, "id": 7}, error(code, message, id=7)) for envelope in envelopes),
        call({"event": ECHO, "data": "still here"}, {"data": "still here"}),
    )


IN_AND_OUT = [
    *map(_there_and_back, _encodings()),
    _scenario(
        "json takes a string or a Buffer",
        call(_packed('["ü"]', "json"), {"data": ["ü"]}),
        call(_packed('["ü"]'.encode(), "json"), {"data": ["ü"]}),
        call(_packed(_b64(b"[1]"), "base64"), {"data": [1]}),
        call(_packed(_b64(b"[1]"), "base64+json"), {"data": [1]}),
    ),
    _scenario(
        "json comes back as a string",
        call({"event": ECHO, "data": {"ü": [1]}, "accept": "json"}, {"data": '{"ü":[1]}', "encoding": "json"}),
    ),
    _scenario(
        "no bytes at all",
        call(_packed(b"", "bytes"), {"data": b""}),
        call(_packed("", "base64+bytes"), {"data": b""}),
        call(_packed(gz(b""), "gzip+bytes", accept="base64+bytes"), {"data": "", "encoding": "base64+bytes"}),
    ),
    _scenario(
        "accept is for a result, never for errors or what the function emits",
        call(
            {"event": "api.services.test.testFunc", "data": "x", "accept": "json"}, {"data": '"x"', "encoding": "json"}
        ),
        hear("message", "x"),
        call({"event": "api.services.test.fail", "accept": "gzip"}, error("failed_precondition", "on purpose")),
        emit({"event": ECHO, "data": 1, "accept": "json", "id": 0}),
        hear("message", {"data": "1", "encoding": "json", "id": 0}),
        emit({"event": "api.services.test.fail", "accept": "gzip"}),
        hear("message", notice("api.services.test.fail", error("failed_precondition", "on purpose"))),
    ),
    _scenario(
        "accept applies to a null too",
        call({"event": "api.probe.nothing", "accept": "json"}, {"data": "null", "encoding": "json"}),
        call({"event": "api.probe.nothing", "accept": "msgpack"}, {"data": b"\xc0", "encoding": "msgpack"}),
    ),
    _scenario(
        "placeholders in packed JSON are plain data",
        call(_packed(PLACEHOLDER, "json"), {"data": {"_placeholder": True, "num": 0}}),
        call(_packed(_b64(PLACEHOLDER.encode()), "base64"), {"data": {"_placeholder": True, "num": 0}}),
        call(_packed(PLACEHOLDER.encode(), "json"), {"data": {"_placeholder": True, "num": 0}}),
        call(_packed(gz(PLACEHOLDER.encode()), "gzip", accept="json"), {"data": PLACEHOLDER, "encoding": "json"}),
        call(
            _packed(pack({"_placeholder": True, "num": 0}, "msgpack"), "msgpack", accept="msgpack"),
            {"data": Packed("msgpack", {"_placeholder": True, "num": 0}), "encoding": "msgpack"},
        ),
    ),
    _scenario(
        "packed data is validated as JSON is",
        call(
            {"event": "api.probe.appointment", "encoding": "gzip", "data": gz(b'{"day":"2026-11-23"}')},
            {"data": {"day": "2026-11-23", "seats": 1}},
        ),
        call(
            {"event": REVERSE, "encoding": "msgpack", "data": pack(b"abc", "msgpack"), "accept": "bytes"},
            {"data": b"cba", "encoding": "bytes"},
        ),
        call({"event": REVERSE, "encoding": "base64+gzip+bytes", "data": _b64(gz(b"abc"))}, {"data": b"cba"}),
    ),
]

GRAMMAR = [
    *(
        _refused(f"{field} {encoding!r}", {"event": ECHO, "data": "", field: encoding}, message=message)
        for field in ("encoding", "accept")
        for encoding, message in {
            "gzip+base64": "in the wrong order: it goes base64, then gzip or zstd, then the kind",
            "json+gzip": "in the wrong order",
            "bytes+json": "in the wrong order",
            "msgpack+json": "in the wrong order",
            "base64+base64": "in the wrong order",
            "json+base64": "in the wrong order",
            "gzip+json+gzip": "in the wrong order",
            "gzip+gzip+gzip+gzip+json": "has more than 4 tokens",
            "base64+gzip+gzip+gzip+json": "has more than 4 tokens",
            "+".join(["gzip"] * 40): "at most 4 tokens",
        }.items()
    ),
    *(
        _refused(
            f"{field} {encoding!r}",
            {"event": ECHO, "data": "", field: encoding},
            code="unimplemented",
            message=rf"^Unknown encoding '{unknown}'\. Supported: base64, gzip, zstd, json, msgpack, bytes\.$",
        )
        for field in ("encoding", "accept")
        for encoding, unknown in {
            "br": "br",
            "base64+lzma": "lzma",
            "GZIP": "GZIP",
            "gzip + json": "gzip ",
            "json+rot13+gzip": "rot13",
            "gzip+": "",
        }.items()
    ),
    _scenario(
        "accept is checked before the function runs",
        call({"event": COUNT, "accept": "br"}, error("unimplemented", "'br'")),
        call({"event": COUNT, "accept": "json+gzip"}, error("invalid_argument", "wrong order")),
        call({"event": COUNT, "accept": 7}, error("invalid_argument", "accept must be a string")),
        call({"event": COUNT, "encoding": "gzip", "data": b"no gzip"}, error("invalid_argument", "^Not valid gzip")),
        call({"event": COUNT}, {"data": 1}),
        call({"event": COUNT, "accept": "json"}, {"data": "2", "encoding": "json"}),
    ),
    _refused(
        "accept bytes needs bytes",
        {"event": ECHO, "data": "text", "accept": "bytes"},
        {"event": ECHO, "data": [b"x"], "accept": "gzip+bytes"},
        {"event": ECHO, "data": {"_placeholder": True, "num": 0}, "accept": "bytes"},
        {"event": ECHO, "accept": "base64+bytes"},
        message=r"^accept asks for bytes, but the result is no Buffer\.$",
    ),
    _refused(
        "accept of a JSON kind names msgpack where there are Buffers",
        {"event": ECHO, "data": b"x", "accept": "json"},
        {"event": ECHO, "data": {"a": [b"x"]}, "accept": "gzip"},
        {"event": ECHO, "data": [b"x"], "accept": "base64"},
        message=r"^accept asks for JSON, but the result holds Buffers: ask for msgpack\.$",
    ),
]


def _ext(code: int) -> bytes:
    return bytes(msgpack.packb([msgpack.ExtType(code, b"1234")]))


NOT_WHAT_THEY_CLAIM = [
    _refused(
        "packed as something that cannot be",
        *(_packed(data, "gzip") for data in each("text", None, 7, {}, [b"x"])),
        message=r"^gzip takes a Buffer; as a string it goes under base64\.$",
    ),
    _refused("bytes takes no string", _packed("text", "bytes"), message=r"^bytes takes a Buffer"),
    _refused("msgpack takes no string", _packed("text", "msgpack"), message=r"^msgpack takes a Buffer"),
    _refused("zstd takes no string", _packed("text", "zstd+bytes"), message=r"^zstd takes a Buffer"),
    _refused(
        "json takes no object",
        *(_packed(data, "json") for data in each({"a": 1}, None, 7, [])),
        message=r"^json takes a string or a Buffer\.$",
    ),
    _refused(
        "base64 takes no Buffer",
        *(_packed(data, "base64") for data in (b"WzFd", None, 7)),
        message=r"^base64 takes a string\.$",
    ),
    *(
        _refused(f"base64 with {what}", _packed(text, "base64+bytes"), message=r"^Not valid base64: ")
        for what, text in {
            "a space": "AA A=",
            "a line break": "AAA=\n",
            "a line break inside": "AAAA\r\nAAAA",
            "no padding": "AAA",
            "too little padding": "AA=",
            "too much padding": "AAA==",
            "padding alone": "====",
            "something after the padding": "AA==AAAA",
            "one character": "A",
            "the alphabet of URLs": "__--",
            "a character beyond ASCII": "AAAü",
            "stray bits": "AB==",
            "stray bits in two characters": "AAB=",
            "a star": "AA*=",
        }.items()
    ),
    *(
        _refused(
            f"{token} cut short",
            *(_packed(raw[:end], f"{token}+bytes") for end in (0, 1, len(raw) // 2, len(raw) - 1)),
            message=rf"^Not valid {token}: ",
        )
        for token in ("gzip", "zstd")
        for raw in [pack(b"something to pack, something to pack", f"{token}+bytes")]
    ),
    *(
        _refused(
            f"{token} with something after it",
            _packed(raw + b"\x00", f"{token}+bytes"),
            _packed(raw + b"rest", f"{token}+bytes"),
            _packed(raw + raw, f"{token}+bytes"),
            _packed(_b64(raw + raw), f"base64+{token}+bytes"),
            message=rf"^Not valid {token}: something follows its end\.$",
        )
        for token in ("gzip", "zstd")
        for raw in [pack(b"something to pack", f"{token}+bytes")]
    ),
    _refused(
        "gzip that is none",
        _packed(b"no gzip", "gzip"),
        _packed(zstd.compress(b"1"), "gzip"),
        _packed(gz(b"12345")[:-8] + bytes(8), "gzip"),
        message=r"^Not valid gzip: ",
    ),
    _refused(
        "zstd that is none",
        _packed(b"no zstd", "zstd"),
        _packed(gz(b"1"), "zstd"),
        message=r"^Not valid zstd: ",
    ),
    _refused(
        "JSON that is none",
        *(
            _packed(text, "json")
            for text in ("", " ", "{", "[1,]", "{'a': 1}", "1 2", "nul", "[01]", '"\\ud800"', '"\t"', "\ufeff1", "// 1")
        ),
        *(_packed(raw, "json") for raw in (b"\xff", b'"\xc3"', b'"\xed\xa0\x80"', b"[1]\x00")),
        message=r"^Not valid JSON: ",
    ),
    _refused(
        "NaN and infinities in JSON",
        *(_packed(text, "json") for text in ("NaN", "[Infinity]", "-Infinity", "1e999", '{"a":[-1e400]}')),
        message=r"^Not valid JSON: ",
    ),
    _refused(
        "msgpack that is none",
        *(
            _packed(raw, "msgpack")
            for raw in (b"", b"\x92\x01", b"\xc1", b"\xa2\xff\xff", b"\x01\x02", b"\xda\xff\xff")
        ),
        message=r"^Not valid msgpack: ",
    ),
    _refused(
        "msgpack's extension types",
        *(_packed(_ext(code), "msgpack") for code in (0, 1, 127)),
        _packed(msgpack.packb(msgpack.Timestamp(1, 1)), "msgpack"),
        _packed(b"\xd4\xfe\x00", "msgpack"),
        message=r"extension types are refused",
    ),
    _refused(
        "NaN and infinities in msgpack",
        *(_packed(msgpack.packb({"a": [value]}), "msgpack") for value in (math.nan, math.inf, -math.inf)),
        message=r"^msgpack: NaN and infinities are refused\.$",
    ),
    _refused(
        "keys in msgpack that are no strings",
        *(_packed(msgpack.packb([{key: 1}]), "msgpack") for key in (1, b"a", None, 1.5, True)),
        message=r"msgpack",
    ),
]

# Repeats too far back for gzip to see it, but compresses a little: about two to one, beyond the server's 200,000 bytes.
_TEXT = "".join(random.Random(1).choices("0123456789abcdef", k=200_001)).encode()

LIMITS = [
    _refused(
        "unpacking to more than the limit",
        _packed(gz(_TEXT), "gzip+bytes"),
        _packed(zstd.compress(_TEXT), "zstd+bytes"),
        _packed(_b64(gz(_TEXT)), "base64+gzip+bytes"),
        _packed(gz(gz(_TEXT)), "gzip+gzip+bytes"),
        _packed(_b64(_TEXT), "base64+bytes"),
        code="resource_exhausted",
        message=r"^The data unpacks to more than 200000 bytes \(limits\.unpacked_size\)\.$",
    ),
    _scenario(
        "unpacking to just the limit",
        call(
            {"event": DIGEST, "data": gz(_TEXT[:-1]), "encoding": "gzip+bytes"},
            {"data": Holding({"size": 200_000})},
        ),
    ),
    _refused(
        "unpacking to more than a hundred times the size",
        _packed(gz(bytes(150_000)), "gzip+bytes"),
        _packed(zstd.compress(bytes(150_000)), "zstd+bytes"),
        _packed(gz(gz(bytes(150_000))), "gzip+gzip+bytes"),
        _packed(_b64(gz(bytes(150_000))), "base64+gzip+bytes"),
        code="resource_exhausted",
        message=r"^The data unpacks to more than 100 times its size \(limits\.unpack_ratio\)\.$",
    ),
    _scenario(
        "the ratio does not count for the first 64 KiB",
        call(
            {"event": DIGEST, "data": gz(bytes(65_536)), "encoding": "gzip+bytes"},
            {"data": Holding({"size": 65_536})},
        ),
    ),
    _refused(
        "bombs",
        _packed(gz(bytes(20_000_000)), "gzip"),
        _packed(gz(gz(bytes(20_000_000))), "gzip+gzip+bytes"),
        _packed(zstd.compress(bytes(20_000_000)), "zstd+msgpack"),
        code="resource_exhausted",
        message=r"limits\.unpack",
    ),
    _refused(
        "nested too deeply in JSON",
        *(_packed("[" * depth + "]" * depth, "json") for depth in (65, 200, 5000, 20_000)),
        _packed('{"a":' * 65 + "1" + "}" * 65, "json"),
        _packed(gz(b"[" * 20_000), "gzip"),
        code="resource_exhausted",
        message=r"^The data is nested more than 64 levels deep \(limits\.depth\)\.$",
    ),
    _refused(
        "nested too deeply in msgpack",
        *(_packed(b"\x91" * depth + b"\x00", "msgpack") for depth in (65, 200, 1000, 5000, 50_000)),
        _packed(b"\x81\xa1a" * 65 + b"\x00", "msgpack"),
        code="resource_exhausted",
        message=r"^The data is nested more than 64 levels deep \(limits\.depth\)\.$",
    ),
    _scenario(
        "nested as deeply as may be",
        call(_packed("[" * 64 + "]" * 64, "json", accept="json"), {"data": "[" * 64 + "]" * 64, "encoding": "json"}),
        call(
            _packed(b"\x91" * 64 + b"\x00", "msgpack", accept="msgpack"),
            {"data": b"\x91" * 64 + b"\x00", "encoding": "msgpack"},
        ),
        call(
            _packed("[" * 64 + "1" + "]" * 64, "json", accept="msgpack"),
            {"data": b"\x91" * 64 + b"\x01", "encoding": "msgpack"},
        ),
    ),
    _scenario(
        "data nested too deeply in an envelope that is not packed",
        call({"event": ECHO, "data": _nest(100)}, error("resource_exhausted", r"limits\.depth")),
        call({"event": ECHO, "data": _nest(50)}, {"data": _nest(50)}),
    ),
]

_SAFE = "±\\(2\\^53−1\\)"

NUMBERS = [
    _scenario(
        "the largest integers of JSON",
        call({"event": ECHO, "data": [BIG, -BIG]}, {"data": [BIG, -BIG]}),
        call(_packed(f"[{BIG}, -{BIG}]", "json", accept="json"), {"data": f"[{BIG},-{BIG}]", "encoding": "json"}),
        call({"event": "api.probe.number", "data": str(BIG)}, {"data": BIG}),
    ),
    _scenario(
        "integers beyond those, unpacked: refused",
        call({"event": ECHO, "data": BIG + 1, "id": 1}, error("invalid_argument", _SAFE, id=1)),
        call({"event": ECHO, "data": {"a": [-BIG - 1]}}, error("invalid_argument", _SAFE)),
        call(BIG + 1, error("invalid_argument", _SAFE), event=ECHO),
        call({"event": ECHO, "data": 1}, {"data": 1}),
    ),
    _scenario(
        "integers beyond those beside a Buffer: refused, and the connection stays",
        call({"event": ECHO, "data": [BIG + 1, b"x"]}, error("invalid_argument", _SAFE)),
        call({"event": ECHO, "data": [1, b"x"]}, {"data": [1, b"x"]}),
    ),
    _scenario(
        "data nested too deeply beside Buffers: refused, and the connection stays",
        call({"event": ECHO, "data": [_nest(100), b"x", b"y"]}, error("resource_exhausted", r"limits\.depth")),
        call({"event": ECHO, "data": [1, b"x"]}, {"data": [1, b"x"]}),
    ),
    _refused(
        "integers beyond those in packed JSON",
        *(_packed(text, "json") for text in (str(BIG + 1), f"[-{BIG + 1}]", str(2**64), "1" * 400, "1" * 5000)),
        message=f"{_SAFE}|^Not valid JSON: number is infinity",
    ),
    _scenario(
        "integers beyond those in a string or a Buffer for an envelope",
        call(f'{{"event":"{ECHO}","data":{BIG + 1},"id":1}}', error("invalid_argument", _SAFE)),
        call(f'{{"event":"{ECHO}","data":{BIG + 1},"id":1}}'.encode(), error("invalid_argument", _SAFE)),
        call(f'{{"event":"{ECHO}","data":"{BIG + 1}","id":1}}', {"data": str(BIG + 1), "id": 1}),
        call(f'{{"event":"{ECHO}","data":1,"timeout":{BIG + 1}}}', error("invalid_argument", _SAFE)),
    ),
    _scenario(
        "integers beyond those as a result: the server's fault",
        call({"event": "api.probe.number", "data": str(BIG + 1), "id": 1}, internal(id=1)),
        call({"event": "api.probe.number", "data": str(-BIG - 1)}, internal()),
        call({"event": "api.probe.number", "data": str(2**70)}, internal()),
        call({"event": "api.probe.number", "data": str(BIG + 1), "accept": "json"}, internal()),
        call({"event": "api.probe.number", "data": str(BIG + 1), "accept": "gzip"}, internal()),
        call(_packed(msgpack.packb(2**60), "msgpack"), internal()),
    ),
    _scenario(
        "msgpack carries 64 bits",
        *(
            call(
                _packed(msgpack.packb([n]), "msgpack", accept="msgpack"),
                {"data": msgpack.packb([n]), "encoding": "msgpack"},
            )
            for n in (BIG + 1, -BIG - 1, 2**63 - 1, -(2**63), 2**64 - 1)
        ),
        call(
            {"event": "api.probe.number", "data": str(2**60), "accept": "msgpack"},
            {"data": msgpack.packb(2**60), "encoding": "msgpack"},
        ),
        call({"event": "api.probe.number", "data": str(2**64), "accept": "msgpack"}, internal()),
        call({"event": "api.probe.number", "data": str(-(2**63) - 1), "accept": "base64+msgpack"}, internal()),
    ),
    _scenario(
        "NaN and infinities as a result: the server's fault",
        *(
            call({"event": function, "data": data, **fields}, internal())
            for function in ("api.probe.real", "api.probe.deep")
            for data in ("nan", "inf", "-inf")
            for fields in ({}, {"accept": "json"}, {"accept": "msgpack"})
        ),
        call({"event": "api.probe.real", "data": "1.5"}, {"data": 1.5}),
    ),
    _scenario(
        "NaN in what a function emits: the server's fault",
        call({"event": "api.probe.emitsReal", "data": "nan"}, internal()),
        call({"event": "api.probe.emitsReal", "data": "0.5"}, {"data": None}),
        hear("news", 0.5),
    ),
    _scenario(
        "floats there and back",
        call({"event": ECHO, "data": [0.1, 1e308, 5e-324, -1.5e300]}, {"data": [0.1, 1e308, 5e-324, -1.5e300]}),
        call(_packed("[0.1,1e308,1e16]", "json"), {"data": [0.1, 1e308, 1e16]}),
    ),
]

ENCODINGS = [*IN_AND_OUT, *GRAMMAR, *NOT_WHAT_THEY_CLAIM, *LIMITS, *NUMBERS]
