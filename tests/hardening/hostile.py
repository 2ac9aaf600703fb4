"""What hostile clients send, and what becomes of it: one table for every carrier."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from tests.support.bombs import gzip_zeroes, msgpack_header, padded_gzip, zstd, zstd_zeroes

ECHO = "api.services.test.echo"
SLEEP = "api.services.test.sleep"
PLACE = '{"_placeholder":true,"num":0}'
SILENCE = "silence"
"""Nothing is answered, and the connection goes on."""

MEGABYTE = 1_000_000
UNPACKED = 4 * 1024 * 1024


@dataclass(frozen=True)
class BadText:
    """The bytes of a text frame, which need not be text."""

    payload: bytes


@dataclass(frozen=True)
class Frames:
    """Bytes for the TCP connection as they are."""

    octets: bytes


Message: TypeAlias = "str | bytes | BadText | Frames"


@dataclass(frozen=True)
class Attack:
    """Something that a client sends once it is connected.

    Args:
        name: What it is.
        expected: The error code of the answer (several in a batch, sorted), the close code, or `SILENCE`.
        make: Returns the Engine.IO messages, one after the other; where they ask for an acknowledgement its id is 7.
        heavy: Whether it costs the server much memory or time if it is not refused early.
        packet: Whether it is about packets rather than what is in them, so that it is tried by polling too.
        leaves: Whether it leaves calls running, so that others are to come on another connection.
    """

    name: str
    expected: str | int
    make: Callable[[], list[Message]]
    heavy: bool = False
    packet: bool = False
    leaves: bool = False

    @cached_property
    def messages(self) -> list[Message]:
        """What `make` returned, kept: some of it takes longer to make than to refuse."""
        return self.make()


def _event(argument: str) -> Callable[[], list[Message]]:
    """Emit `event` with an argument that is given as JSON."""
    return lambda: [f'427["event",{argument}]']


def _envelope(**fields: object) -> Callable[[], list[Message]]:
    return lambda: [f'427["event",{json.dumps({"event": ECHO, **fields})}]']


def _string(text: str) -> Callable[[], list[Message]]:
    return lambda: [f'427["event",{json.dumps(text)}]']


def _buffer(make: Callable[[], bytes]) -> Callable[[], list[Message]]:
    return lambda: [f'451-7["event",{PLACE}]', make()]


def _packed(encoding: str, make: Callable[[], bytes]) -> Callable[[], list[Message]]:
    """Call `echo` with packed data: a string where the encoding begins with base64, else a Buffer."""

    def messages() -> list[Message]:
        head = f'{{"event":"{ECHO}","encoding":"{encoding}","data":'
        if encoding.startswith("base64"):
            return [f'427["event",{head}"{base64.b64encode(make()).decode()}"}}]']
        return [f'451-7["event",{head}{PLACE}}}]', make()]

    return messages


def _raw(*messages: Message) -> Callable[[], list[Message]]:
    return lambda: list(messages)


def _repeated(count: int, message: str, *more: Message) -> Callable[[], list[Message]]:
    return lambda: [*([message] * count), *more]


def _tower(levels: int) -> str:
    return "[" * levels + "]" * levels


ENVELOPES = [
    Attack("null instead of an envelope", "invalid_argument", _event("null")),
    Attack("a number instead of an envelope", "invalid_argument", _event("17")),
    Attack("a boolean instead of an envelope", "invalid_argument", _event("true")),
    Attack("an empty envelope", "invalid_argument", _event("{}")),
    Attack("no argument", "invalid_argument", _raw('427["event"]')),
    Attack("two arguments", "invalid_argument", _raw('427["event",{},{}]')),
    Attack("ten thousand arguments", "invalid_argument", lambda: ['427["event"' + ",{}" * 10_000 + "]"]),
    Attack("event is a number", "invalid_argument", _envelope(event=1)),
    Attack("event is a list", "invalid_argument", _envelope(event=[ECHO])),
    Attack("event is empty", "invalid_argument", _envelope(event="")),
    Attack("event is one segment", "invalid_argument", _envelope(event="echo")),
    Attack("event is a path of files", "invalid_argument", _envelope(event="../../etc/passwd")),
    Attack("event has a line break at its end", "invalid_argument", _envelope(event=f"{ECHO}\n")),
    Attack("event has a letter that only looks right", "invalid_argument", _envelope(event="\u0430pi.test.echo")),
    Attack("event has 256 characters", "invalid_argument", _envelope(event="a." + "b" * 254)),
    Attack("event has 900 000 characters", "invalid_argument", _envelope(event="a." * 450_000), heavy=True),
    Attack("event is unknown", "not_found", _envelope(event="api.services.test.ecko")),
    Attack("event is an attribute of Python's", "not_found", _envelope(event="api.services.__class__")),
    Attack("event comes twice", "not_found", _event(f'{{"event":"{ECHO}","event":"a.b"}}')),
    Attack("an unknown field", "invalid_argument", _envelope(evnet=1)),
    Attack("a field named __proto__", "invalid_argument", _envelope(__proto__={"event": ECHO})),
    Attack("a field with a name of 900 kB", "invalid_argument", _envelope(**{"x" * 900_000: 1}), heavy=True),
    Attack("fifty thousand unknown fields", "invalid_argument",
           _envelope(**{f"f{n}": 0 for n in range(50_000)}), heavy=True),
    Attack("id is a boolean", "invalid_argument", _envelope(id=True)),
    Attack("id is a float", "invalid_argument", _envelope(id=1.0)),
    Attack("id is an object", "invalid_argument", _envelope(id={})),
    Attack("id is empty", "invalid_argument", _envelope(id="")),
    Attack("id has 65 characters", "invalid_argument", _envelope(id="x" * 65)),
    Attack("id has 900 000 characters", "invalid_argument", _envelope(id="x" * 900_000), heavy=True),
    Attack("id is past 2^53", "invalid_argument", _envelope(id=2**53)),
    Attack("encoding is a number", "invalid_argument", _envelope(encoding=1)),
    Attack("encoding is unknown", "unimplemented", _envelope(encoding="br")),
    Attack("encoding is long", "invalid_argument", _envelope(encoding="gzip+" * 100_000), heavy=True),
    Attack("encoding is in the wrong order", "invalid_argument", _envelope(encoding="json+gzip")),
    Attack("accept is unknown", "unimplemented", _envelope(accept="lzma")),
    Attack("accept asks for what the result is not", "invalid_argument", _envelope(accept="bytes")),
    Attack("timeout is zero", "invalid_argument", _envelope(timeout=0)),
    Attack("timeout is text", "invalid_argument", _envelope(timeout="1000")),
    Attack("credit is negative", "invalid_argument", _envelope(credit=-1)),
    Attack("progress without an id", "invalid_argument", _envelope(progress=True)),
    Attack("meta holds a number", "invalid_argument", _envelope(meta={"tenant": 1})),
    Attack("meta is a list", "invalid_argument", _envelope(meta=[["tenant", "a"]])),
]  # fmt: skip

TEXTS = [
    Attack("a string that is no JSON", "invalid_argument", _string("hello")),
    Attack("an empty string", "invalid_argument", _string("")),
    Attack("a string in a string", "invalid_argument", _string(json.dumps(json.dumps({"event": ECHO})))),
    Attack("a string with NaN", "invalid_argument", _string(f'{{"event":"{ECHO}","data":NaN}}')),
    Attack("a string with a number that overflows", "invalid_argument", _string(f'{{"event":"{ECHO}","data":1e999}}')),
    Attack("a string with a lone surrogate", "invalid_argument", _string(f'{{"event":"{ECHO}","data":"\\ud800"}}')),
    Attack("a string with an integer past 2^53", "invalid_argument", _string(f'{{"event":"{ECHO}","data":{2**53}}}')),
    Attack("a string of 65 levels", "resource_exhausted", _string(_tower(65))),
    Attack("a string of 100 000 levels", "resource_exhausted", _string("[" * 100_000)),
    Attack("a string of pairs of brackets", "invalid_argument", _string("[]" * 450_000), heavy=True),
    Attack("a string of escaped quotes and levels", "resource_exhausted",
           _string('["' + '\\"[' * 100_000 + '",' + _tower(100) + "]"), heavy=True),
    Attack("an empty Buffer", "invalid_argument", _buffer(lambda: b"")),
    Attack("a Buffer of rubbish", "invalid_argument", _buffer(lambda: bytes(range(256)))),
    Attack("a Buffer that is no UTF-8", "invalid_argument", _buffer(lambda: b'{"event":"\xff"}')),
    Attack("a Buffer of UTF-16", "invalid_argument", _buffer(lambda: '{"event":"a.b"}'.encode("utf-16"))),
    Attack("a Buffer with a byte order mark", "invalid_argument", _buffer(lambda: b'\xef\xbb\xbf{"event":"a.b"}')),
    Attack("a Buffer of gzip that breaks off", "invalid_argument", _buffer(lambda: gzip.compress(b"{}")[:-3])),
    Attack("a Buffer of gzip with two members", "invalid_argument", _buffer(lambda: gzip.compress(b"{}") * 2)),
    Attack("a Buffer of gzip with bytes behind it", "invalid_argument", _buffer(lambda: gzip.compress(b"{}") + b"x")),
    Attack("a Buffer that is a bomb", "resource_exhausted", _buffer(gzip_zeroes), heavy=True),
    Attack("a Buffer of gzip of 100 000 levels", "resource_exhausted", _buffer(lambda: gzip.compress(b"[" * 60_000))),
]  # fmt: skip

DATA = [
    Attack("a bomb of gzip", "resource_exhausted", _packed("gzip", gzip_zeroes), heavy=True),
    Attack("a bomb of base64+gzip, 272 kB", "resource_exhausted", _packed("base64+gzip", gzip_zeroes), heavy=True),
    Attack("a bomb of zstd", "resource_exhausted", _packed("zstd+bytes", zstd_zeroes), heavy=True),
    Attack("a bomb of gzip+gzip", "resource_exhausted",
           _packed("gzip+gzip", lambda: gzip.compress(gzip_zeroes())), heavy=True),
    Attack("a bomb of gzip+zstd", "resource_exhausted",
           _packed("gzip+zstd", lambda: padded_gzip(zstd_zeroes())), heavy=True),
    Attack("a crowd of objects", "resource_exhausted",
           _packed("gzip", lambda: padded_gzip(b"[" + b'{"":0},' * (UNPACKED // 7 - 1) + b"1]")), heavy=True),
    Attack("a crowd of nils", "resource_exhausted",
           _packed("gzip+msgpack", lambda: padded_gzip(msgpack_header(UNPACKED - 8) + b"\xc0" * (UNPACKED - 8))),
           heavy=True),
    Attack("a crowd of maps", "resource_exhausted",
           _packed("gzip+msgpack", lambda: padded_gzip(msgpack_header(34_000) + (b"\x81\xa0" * 60 + b"\xc0") * 34_000)),
           heavy=True),
    Attack("gzip under a string", "invalid_argument", _envelope(encoding="gzip", data="H4sI")),
    Attack("gzip under an object", "invalid_argument", _envelope(encoding="gzip", data={})),
    Attack("gzip that is none", "invalid_argument", _packed("gzip", lambda: b"PK\x03\x04")),
    Attack("gzip of two members", "invalid_argument", _packed("gzip", lambda: gzip.compress(b"1") * 2)),
    Attack("gzip with bytes behind it", "invalid_argument", _packed("gzip", lambda: gzip.compress(b"1") + b"\0")),
    Attack("gzip with a wrong checksum", "invalid_argument",
           _packed("gzip", lambda: gzip.compress(b"1")[:-8] + bytes(8))),
    Attack("zstd that breaks off", "invalid_argument", _packed("zstd+bytes", lambda: zstd.compress(b"x" * 99)[:-1])),
    Attack("zstd that skips", "invalid_argument",
           _packed("zstd+bytes", lambda: b"\x50\x2a\x4d\x18\x03\0\0\0abc")),
    Attack("zstd with a window of gigabytes", "invalid_argument",
           _packed("zstd+bytes", lambda: b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x01\0\0")),
    Attack("base64 that is none", "invalid_argument", _envelope(encoding="base64", data="!!!!")),
    Attack("base64 with white space", "invalid_argument", _envelope(encoding="base64", data="MQ==\n")),
    Attack("base64 without its padding", "invalid_argument", _envelope(encoding="base64", data="MQ")),
    Attack("base64 with stray bits", "invalid_argument", _envelope(encoding="base64+bytes", data="MR==")),
    Attack("base64 of bad UTF-8", "invalid_argument", _packed("base64", lambda: b'"\xff"')),
    Attack("msgpack of 2^32 values", "invalid_argument", _packed("msgpack", lambda: msgpack_header(2**32 - 1))),
    Attack("msgpack of headers in headers", "invalid_argument",
           _packed("gzip+msgpack", lambda: padded_gzip((msgpack_header(UNPACKED) * 1000).ljust(UNPACKED, b"\xc0"))),
           heavy=True),
    Attack("msgpack of 100 000 levels", "resource_exhausted", _packed("msgpack", lambda: b"\x91" * 100_000 + b"\xc0")),
    Attack("msgpack of NaN", "invalid_argument", _packed("base64+msgpack", lambda: b"\xcb\x7f\xf8\0\0\0\0\0\0")),
    Attack("msgpack of an extension", "invalid_argument", _packed("msgpack", lambda: b"\xd4\x05\0")),
    Attack("msgpack of a date", "invalid_argument", _packed("msgpack", lambda: b"\xd6\xff\0\0\0\0")),
    Attack("msgpack with numbers for keys", "invalid_argument", _packed("msgpack", lambda: b"\x81\x01\x01")),
    Attack("msgpack that is no UTF-8", "invalid_argument", _packed("msgpack", lambda: b"\xa1\xff")),
    Attack("data of 65 levels", "resource_exhausted", _event(f'{{"event":"{ECHO}","data":{_tower(65)}}}')),
    Attack("data of 100 000 levels", "resource_exhausted", _event(f'{{"event":"{ECHO}","data":' + "[" * 100_000)),
    Attack("data of 400 000 levels of objects", "resource_exhausted",
           lambda: [f'427["event",{{"event":"{ECHO}","data":' + '{"":' * 200_000], heavy=True),
    Attack("an integer past 2^53", "invalid_argument", _event(f'{{"event":"{ECHO}","data":{2**53}}}')),
    Attack("an integer past 2^64", "invalid_argument", _event(f'{{"event":"{ECHO}","data":-{2**64}}}')),
    Attack("data that the function does not take", "invalid_argument",
           _envelope(event="api.services.test.add", data={"a": "x", "b": None, "c": 1})),
]  # fmt: skip

BATCHES = [
    Attack("a batch of 10 000 envelopes", "resource_exhausted",
           lambda: [f'427["event",[{",".join([json.dumps({"event": ECHO})] * 10_000)}]]'], heavy=True),
    Attack("a batch of 51 envelopes", "resource_exhausted", _event(json.dumps([{"event": ECHO}] * 51))),
    Attack("a batch of 333 000 empty arrays", "resource_exhausted",
           lambda: [f'427["event",[{",".join(["[]"] * 330_000)}]]'], heavy=True),
    Attack("a batch in a batch", "invalid_argument, ok", _event(json.dumps([{"event": ECHO}, [{"event": ECHO}]]))),
    Attack("a batch of everything but envelopes", "invalid_argument", _event('[null,1,true,"x",[],{}]')),
    Attack("a batch whose ids are the same", "already_exists, ok",
           _event(json.dumps([{"event": SLEEP, "data": {"seconds": 0}, "id": 1}] * 3))),
    Attack("a batch of ten bombs", "resource_exhausted",
           lambda: ['4510-7["event",[' + ",".join(PLACE.replace("0", str(n)) for n in range(10)) + "]]",
                    *[gzip.compress(bytes(20 * MEGABYTE))] * 10], heavy=True),
    Attack("an id that is in flight", "already_exists",
           _raw(f'42["event",{{"event":"{SLEEP}","data":{{"seconds":60}},"id":1}}]',
                f'427["event",{{"event":"{ECHO}","id":1}}]'), leaves=True),
    Attack("one call more than a connection may have", "resource_exhausted",
           _repeated(64, f'42["{SLEEP}",{{"seconds":60}}]', f'427["{ECHO}"]'), heavy=True, leaves=True),
]  # fmt: skip

PACKETS = [
    *(
        Attack(f"the event {name}", 1008, _raw(f'427["{name}",{{}},{{}}]'), packet=True)
        for name in ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
    ),
    *(
        Attack(f"an event named {name}", 1008, _raw(f"42[{name}]"), packet=True)
        for name in ("null", "1", "true", "{}", '["event"]', "")
    ),
    *(
        Attack(f"the packet {text!r}", 1008, _raw(text), packet=True)
        for text in (
            "4", "42", "42{}", '42"event"', "43", "44", "45", "47", "48", "4abc", "4-1", "4\u00b2", "4\u0662[]",
            "4true", "4null", "4{}", "4[1]", "40", "40{}", "41/x,",
            '42/x,["event"]', "427", "43[]", '44{"message":"x"}',
            '42["event"', '42["event"]x', '42["event",NaN]', '42["event",-Infinity]', '42["event",1e999]',
            '42["event","\\ud800"]', '421-["event"]', "42\u00b2[]", f'42{2**53}["a"]', "42" + "9" * 101 + "[]",
            '450-["event"]', '4511-["event"]', '459999999999-["event"]', "451-", "451-{}", '451-["disconnect"]',
        )
    ),
    Attack("an event after leaving", 1008, _raw("41", f'427["{ECHO}"]'), packet=True),
    Attack("a Buffer that nobody announced", 1008, _raw(b"\0"), packet=True),
    Attack("a Buffer too many", 1008, _raw(f'451-7["{ECHO}",{PLACE}]', b"a", b"b"), packet=True),
    Attack("text where a Buffer was announced", 1008, _raw(f'451-7["{ECHO}",{PLACE}]', f'427["{ECHO}"]'), packet=True),
    Attack("Buffers that never come", 1008, _raw(f'4510-7["{ECHO}",{PLACE}]', *[b"x"] * 9), packet=True),
    *(
        Attack(f"a placeholder numbered {number}", 1008,
               _raw(f'451-7["{ECHO}",{{"_placeholder":true,"num":{number}}}]', b"x"), packet=True)
        for number in ("7", "-1", '"a"', "null", "0.0", "true")
    ),
    Attack("sixty placeholders for one Buffer", 1008,
           lambda: [f'451-7["{ECHO}",[{",".join([PLACE] * 60)}]]', bytes(700_000)], heavy=True, packet=True),
    Attack("a Buffer without a placeholder", 1008, _raw(f'451-7["{ECHO}",1]', b"x"), packet=True),
    Attack("Buffers of 1.2 MB together", 1008,
           lambda: [f'452-7["{ECHO}",[{PLACE},{PLACE.replace("0", "1")}]]', bytes(600_000), bytes(600_000)],
           heavy=True),
    Attack("a number of 900 000 digits", 1008, lambda: [f'427["{ECHO}",{"9" * 900_000}]'], heavy=True),
    Attack("100 000 levels and nothing else", 1008, lambda: ["4" + "[" * 100_000]),
    Attack("a text without a type", 1008, _raw("")),
    Attack("a text of an unknown kind", 1008, _raw("x")),
    Attack("an acknowledgement that nobody asked for", SILENCE, _raw("431[1]"), packet=True),
    Attack("an acknowledgement of 0", SILENCE, _raw("430[]"), packet=True),
    Attack("five acknowledgements that nobody asked for", SILENCE, _repeated(5, "43999[{}]"), packet=True),
    Attack("200 acknowledgements that nobody asked for", 1008, _repeated(200, "43999[{}]"), packet=True),
    Attack("a namespace that there is not", SILENCE, _raw("40/admin,"), packet=True),
    Attack("an event past a limit, with Buffers", "resource_exhausted",
           _raw(f'451-7["{ECHO}",{_tower(65)},{PLACE}]', b"x"), packet=True),
    Attack("two arguments of a named event", "invalid_argument", _raw(f'427["{ECHO}",1,2]'), packet=True),
    Attack("an event with a name of 900 kB", "not_found", lambda: [f'427["{"x" * 900_000}"]'], heavy=True, packet=True),
    Attack("an event without a name", "not_found", _raw('427[""]'), packet=True),
    Attack("the server's own event message", "not_found", _raw('427["message",{}]'), packet=True),
    Attack("a frame of no stream", "not_found", _raw('42["stream",{"id":9,"data":1}]'), packet=True),
    Attack("a frame that is none", "invalid_argument", _raw('42["stream",5]'), packet=True),
    Attack("a failure that nobody asked about", "not_found", _raw('42["event",{"event":"a.b"}]'), packet=True),
]  # fmt: skip

FRAMES = [
    Attack("a message over the limit", 1009, lambda: ["42" + "x" * MEGABYTE], heavy=True),
    Attack("a Buffer over the limit", 1009, lambda: [f'451-["{ECHO}",{PLACE}]', bytes(MEGABYTE + 1)], heavy=True),
    Attack("a message of 20 MB", 1009, lambda: ["42" + "x" * 20 * MEGABYTE], heavy=True),
    Attack("a text frame that is no UTF-8", 1007, _raw(BadText(b'427["\xff"]'))),
    Attack("a text frame with a surrogate", 1007, _raw(BadText(b'427["\xed\xa0\x80"]'))),
    Attack("a frame with a reserved bit", 1002, _raw(Frames(b"\xc1\x81\0\0\0\0a"))),
    Attack("a frame without a mask", 1002, _raw(Frames(b"\x81\x01a"))),
    Attack("a frame of an unknown kind", 1002, _raw(Frames(b"\x83\x81\0\0\0\0a"))),
    Attack("the end of a message that never began", 1002, _raw(Frames(b"\x80\x81\0\0\0\0a"))),
    Attack("a frame that announces 2^63-1 bytes", 1009, _raw(Frames(b"\x82\xff\x7f" + b"\xff" * 7 + bytes(4)))),
    Attack("a frame that announces 2^40 bytes", 1009, _raw(Frames(b"\x82\xff" + (2**40).to_bytes(8) + bytes(4)))),
]

ATTACKS = [*ENVELOPES, *TEXTS, *DATA, *BATCHES, *PACKETS, *FRAMES]
