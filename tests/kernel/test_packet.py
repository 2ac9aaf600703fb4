"""Socket.IO packets: python-socketio's own reader and writer are the judges of both directions."""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import socketio.packet
from hypothesis import strategies as st

from jackfield._errors import Code
from jackfield._json import MAX_SAFE_INTEGER, Json, Value, dumps, placeholder
from jackfield._transport import packet
from jackfield._transport.packet import (
    RESERVED,
    Ack,
    Connect,
    Decoder,
    Disconnect,
    Event,
    Packet,
    PacketError,
    Unreadable,
)
from tests.support.properties import always, damaged, json_values, texts, trees, values

MAX_SIZE = 2000
Message = str | bytes


def _decoder() -> Decoder:
    return Decoder(max_depth=8, max_size=MAX_SIZE)


def _take(decoder: Decoder, message: Message) -> Packet | None:
    """Give a decoder a message as it is on the wire; the quick way, where there is one, sees what the long one does."""
    if isinstance(message, bytes):
        return decoder.buffer(message)
    data = b"4" + message.encode(errors="surrogatepass")
    quick: list[tuple[list[Value], bytes | None, bool]] = []
    delivered = decoder.event(data, lambda *event: quick.append(event))
    found = decoder.text(data)
    if delivered:
        assert found == Event("/", *quick[0])
    return found


def _feed(*messages: Message) -> Packet | None:
    decoder = _decoder()
    found: Packet | None = None
    for message in messages:
        assert found is None
        found = _take(decoder, message)
    return found


def _written(kind: int, data: Any, namespace: str = "/", number: int | None = None) -> list[Message]:
    """Return a packet as python-socketio writes it."""
    written = socketio.packet.Packet(kind, data=data, namespace=namespace, id=number).encode()
    return written if isinstance(written, list) else [written]


def _read(encoded: packet.Encoded) -> socketio.packet.Packet:
    """Return a packet as python-socketio reads it."""
    text, buffers = encoded
    assert text[:1] == b"4"
    read = socketio.packet.Packet(encoded_packet=text[1:].decode())
    for buffer in buffers:
        read.add_attachment(buffer)
    return read


_namespaces = st.sampled_from(["/", "/admin", "/a/b", "/é"])
_numbers = st.none() | st.integers(0, MAX_SAFE_INTEGER)
_names = texts.filter(lambda name: name not in RESERVED)
_few_buffers = st.lists(trees(st.none() | st.integers(0, 9) | texts | st.binary(max_size=9), max_leaves=4), max_size=2)


# ------------------------------------------------------------------- in


@always(name=_names, arguments=_few_buffers, namespace=_namespaces, number=_numbers)
def test_an_event_arrives_as_it_was_sent(name: str, arguments: list[Any], namespace: str, number: int | None) -> None:
    """Name, arguments, Buffers in their places, namespace, and the id of the acknowledgement."""
    messages = _written(socketio.packet.EVENT, [name, *arguments], namespace, number)
    assert _feed(*messages) == Event(
        namespace, [name, *arguments], None if number is None else b"%d" % number, buffers=len(messages) > 1
    )


@always(arguments=_few_buffers, namespace=_namespaces, number=st.integers(0, MAX_SAFE_INTEGER))
def test_10_an_acknowledgement_arrives_as_it_was_sent(arguments: list[Any], namespace: str, number: int) -> None:
    """The id 0 included."""
    assert _feed(*_written(socketio.packet.ACK, arguments, namespace, number)) == Ack(namespace, number, arguments)


@always(auth=st.none() | st.dictionaries(texts, json_values, max_size=3), namespace=_namespaces)
def test_connect_and_disconnect_arrive_as_they_were_sent(auth: dict[str, Any] | None, namespace: str) -> None:
    """With and without `auth`; a query behind the namespace is left out."""
    assert _feed(*_written(socketio.packet.CONNECT, auth, namespace)) == Connect(namespace, auth or {})
    assert _feed(*_written(socketio.packet.DISCONNECT, None, namespace)) == Disconnect(namespace)
    assert _feed(f"0{namespace}?token=abc,{{}}") == Connect(namespace, {})


@st.composite
def _packets(draw: st.DrawFn) -> list[Message]:
    kind = draw(st.sampled_from([socketio.packet.EVENT, socketio.packet.ACK, socketio.packet.CONNECT]))
    if kind == socketio.packet.CONNECT:
        return _written(kind, draw(st.none() | st.dictionaries(texts, json_values, max_size=2)), draw(_namespaces))
    data = [*([draw(_names)] if kind == socketio.packet.EVENT else []), *draw(_few_buffers)]
    number = draw(_numbers if kind == socketio.packet.EVENT else st.integers(0, MAX_SAFE_INTEGER))
    return _written(kind, data, draw(_namespaces), number)


@always(packets=st.lists(_packets(), max_size=5))
def test_packets_that_follow_one_another_do_not_disturb_each_other(packets: list[list[Message]]) -> None:
    """A packet is complete with its last message, and leaves nothing behind."""
    decoder = _decoder()
    for messages in packets:
        *early, last = [_take(decoder, message) for message in messages]
        assert early == [None] * len(early)
        assert last == _feed(*messages)


_heads = st.builds(
    "".join,
    st.tuples(
        st.sampled_from([*"0123456789", "", "-", "²", "٢"]),
        st.sampled_from(["", "0-", "1-", "2-", "10-", "11-", "999-", "9999999999-", "-", "1", "01-", "²-"]),
        st.sampled_from(["", "/,", "/a,", "/a", "a,", ",", "/?q,", "/" + "x" * 300 + ","]),
        st.sampled_from(["", "0", "7", "007", str(2**53 - 1), str(2**53), "9" * 17, "9" * 101, "²", "٢", "-1", "1.5"]),
    ),
)
_ITEMS = [
    *('"a"', '"connect"', "1", "null", "{}", "[]", "NaN", "1e999", "9007199254740992", "[" * 9 + "]" * 9),
    *(f'{{"_placeholder":true,"num":{number}}}' for number in ("0", "1", "-1", '"0"', "0.0")),
    *('{"_placeholder":true}', '{"_placeholder":1,"num":0}', '{"num":0,"_placeholder":true,"x":1}'),
]
_bodies = st.one_of(
    st.just(""),
    values.map(lambda value: dumps([value]).text.decode()),
    st.lists(st.sampled_from(_ITEMS), max_size=4).map(lambda items: f"[{','.join(items)}]"),
    st.text(max_size=10),
)
_near = st.builds("{}{}".format, _heads, _bodies)
_off = damaged(_packets().map(lambda messages: str(messages[0]).encode())).map(lambda raw: raw.decode(errors="replace"))


@always(
    few=500,
    many=2_000,
    messages=st.lists(_near | _off | st.binary(max_size=600) | st.text(max_size=20), min_size=1, max_size=8),
)
def test_8_whatever_comes_is_a_packet_or_breaks_the_protocol(messages: list[Message]) -> None:
    """Any messages in any order: packets that follow the rules or `PacketError`; what is kept has a limit."""
    decoder = _decoder()
    kept = missing = 0
    for message in messages:
        assert kept <= MAX_SIZE + 400  # and the header
        try:
            found = _take(decoder, message)
        except PacketError:
            return  # the connection is closed now
        if found is None:
            kept += len(message)
            missing = missing - 1 if missing else int(str(message).partition("-")[0][1:])
            assert 1 <= missing <= 10
        else:
            assert missing in (0, 1)
            kept = missing = 0
            _check(found)
    if missing:
        with pytest.raises(PacketError, match=r"^text while Buffers are missing$"):
            _take(decoder, '2["a"]')
    else:
        assert _take(decoder, '2["a"]') == Event("/", ["a"], None, buffers=False)


def _check(found: Packet) -> None:
    assert found.namespace.startswith("/")
    assert "," not in found.namespace
    assert len(found.namespace) <= 256
    if isinstance(found, Event):
        assert isinstance(found.event[0], str)
        assert found.event[0] not in RESERVED
    if isinstance(found, Event | Unreadable):
        assert found.ack is None or (found.ack.isdigit() and int(found.ack) <= MAX_SAFE_INTEGER)
    if isinstance(found, Unreadable):
        assert found.error.code in (Code.RESOURCE_EXHAUSTED, Code.INVALID_ARGUMENT)
    if isinstance(found, Ack):
        assert 0 <= found.id <= MAX_SAFE_INTEGER


def _place(number: object) -> str:
    return f'{{"_placeholder":true,"num":{number}}}'


PLACE = _place(0)
TOWER = "[" * 9 + "]" * 9
_BROKEN: dict[str, list[Any]] = {
    "no packet header": [
        *(
            [wrong]
            for wrong in ("", "7", "8", "9", "x", " 2", "-", "2x", "2-", "21-x", "²", "٢[]", "2٢[]", "\n", "2\n")
        ),
        *([wrong] for wrong in ("2²[]", "2" + "9" * 17 + "[]", "5" + "9" * 10 + "-[]", "2,[]", "2a,[]")),
        *([wrong] for wrong in ("2/" + "x" * 256 + ",[]", "2null", "2true", "2 []", "0null", "2-1[]", "21.5[]")),
    ],
    "a packet that a client does not send": [
        *(
            [wrong]
            for wrong in (
                "2{}",
                '2"a"',
                "2[]",
                "2[null]",
                "2[{}]",
                "2[[]]",
                "2[1]",
                "2[true]",
                "2",
                "2/a,",
                "2/a[]",
                "27",
            )
        ),
        *([wrong] for wrong in ("37{}", '37"a"', "37", "4", '4{"message":"x"}', "1[]", "1{}", "51-7", "51-{}", "51-")),
        [f"51-[{PLACE}]"],
        [f'61-7{{"a":{PLACE}}}'],
    ],
    "a reserved event name": [
        *([f'2["{name}"]'] for name in sorted(RESERVED)),
        *([f'2/a,7["{name}",{{}},{{}}]'] for name in sorted(RESERVED)),
        *([f'51-["{name}",{PLACE}]'] for name in sorted(RESERVED)),
        ['2["\\u0063onnect"]'],
    ],
    "no JSON": [
        *([wrong] for wrong in ("2[", "2[]]", '2["a",NaN]', '2["a",-Infinity]', '2["a",1e999]', '2["a","\\ud800"]')),
        *([wrong] for wrong in ('2["a","\ud800"]', '2["a" "b"]', "2['a']", "0{", '2["a"]\0', '2"\\ud800"', "2[" * 100)),
    ],
    "an acknowledgement without an id": [["3[]"], ["61-[]"], ["3/a,[]"]],
    "an id where none belongs": [["07{}"], ["17"], ["0/a,7"]],
    "an id beyond 2^53-1": [[f"2{2**53}[]"], [f"3{'9' * 16}[]"]],
    "Buffers announced in a packet that has none": [['21-["a"]'], ["01-{}"], ["20-[]"], ["11-"]],
    "0 Buffers; 1 to 10 are allowed": [['5["a"]'], ['50-["a"]']],
    "11 Buffers; 1 to 10 are allowed": [['511-["a"]']],
    "999 Buffers; 1 to 10 are allowed": [["6999-7[]"]],
    "auth is no object": [["0[]"], ['0"token"'], ['0/a,["a"]']],
    "a Buffer that nobody announced": [[b""], ['2["a"]', b"x"], [f'51-["a",{PLACE}]', b"", b""]],
    "text while Buffers are missing": [[f'51-["a",{PLACE}]', '2["b"]'], ['52-["a"]', b"x", ""]],
    "Buffers beyond the size of a message": [
        ['52-["a"]', b"x" * (MAX_SIZE // 2), b"x" * (MAX_SIZE // 2)],
        ['51-["a"]', b"x" * (MAX_SIZE + 1)],
        [f'51-["{"a" * (MAX_SIZE - 100)}"]', b"x" * 100],
    ],
    "a placeholder that names no Buffer, or one twice": [
        *([f'51-["a",{_place(wrong)}]', b"x"] for wrong in (1, -1, '"0"', "null", "0.0", "true", "[]", 10)),
        ['51-["a",{"_placeholder":true}]', b"x"],
        [f'51-["a",{PLACE},{PLACE}]', b"x"],
        [f'51-["a",{",".join([PLACE] * 60)}]', b"x"],
    ],
    "a Buffer that no placeholder names": [
        ['51-["a"]', b"x"],
        [f'52-["a",{_place(1)}]', b"x", b"y"],
        ['51-["a",{"_placeholder":1,"num":0}]', b"x"],
        ['51-["a",{"_placeholder":"true","num":0}]', b"x"],
    ],
    "beyond the limits": [
        ["0" + '{"a":' * 9 + "1" + "}" * 9],
        ['0{"a":9007199254740992}'],
        ["37" + TOWER],
        ["61-7[9007199254740992]"],
    ],
}


@pytest.mark.parametrize(
    ("messages", "message"), [(messages, message) for message, cases in _BROKEN.items() for messages in cases]
)
def test_8_what_breaks_the_protocol_is_said(messages: list[Message], message: str) -> None:
    """For the log, in few words of ours: nothing of what the client sent."""
    decoder = _decoder()
    for early in messages[:-1]:
        _take(decoder, early)
    with pytest.raises(PacketError) as broken:
        _take(decoder, messages[-1])
    assert str(broken.value) == message


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("[" * 9 + "]" * 9, Code.RESOURCE_EXHAUSTED),
        ("[" * 100_000, Code.RESOURCE_EXHAUSTED),
        ('["a",9007199254740992]', Code.INVALID_ARGUMENT),
    ],
)
def test_7_an_event_past_a_limit_can_be_answered(body: str, code: Code) -> None:
    """The packet follows the protocol, so the client is told, under its id; its Buffers are waited for first."""
    for head, buffers in (("2", 0), ("27", 0), ("51-", 1), ("510-/a,7", 10)):
        decoder = Decoder(max_depth=8, max_size=200_000)
        found = _take(decoder, head + body)
        for _ in range(buffers):
            assert found is None
            found = _take(decoder, b"x")
        assert isinstance(found, Unreadable)
        assert (found.namespace, found.ack, found.error.code) == (
            "/a" if "/a" in head else "/",
            b"7" if head.endswith("7") else None,
            code,
        )
        assert _take(decoder, '2["b"]') == Event("/", ["b"], None, buffers=False)


@pytest.mark.parametrize("ack", ["", "7", "123456789012345"])
def test_the_plainest_event_goes_the_short_way(ack: str) -> None:
    """Others take the long one, and are seen alike."""
    seen: list[tuple[list[Value], bytes | None, bool]] = []
    assert _decoder().event(f'42{ack}["a",{{"b":1}}]'.encode(), lambda *event: seen.append(event))
    assert seen == [(["a", {"b": 1}], ack.encode() or None, False)]
    for other in (b"4", b"42", b"40", b'42/,["a"]', b'42["connect"]', b"42[1]", b"42{}", b'421234567890123456["a"]'):
        assert not _decoder().event(other, lambda *event: seen.append(event))
    assert len(seen) == 1


def test_8_each_buffer_stands_in_exactly_one_place() -> None:
    """In whatever order the placeholders come, however deep."""
    for order in itertools.permutations(range(3)):
        arguments = ",".join(f'{{"x":[{_place(number)}]}}' for number in order)
        found = _feed(f'53-["a",{arguments}]', b"0", b"1", b"2")
        assert isinstance(found, Event)
        assert found.event[1:] == [{"x": [str(number).encode()]} for number in order]


def test_8_a_placeholder_in_a_packet_without_buffers_is_plain_data() -> None:
    """Only a packet that announces Buffers has placeholders."""
    plain: Any = {"_placeholder": True, "num": 0}
    assert _feed("2" + json.dumps(["a", plain])) == Event("/", ["a", plain], None, buffers=False)


@pytest.mark.parametrize(
    "messages",
    [
        ['2["a",1]'],
        [f'51-["a",[{_place(0)}]]', b"x"],
        [f'51-["a",{_place(1)}]', b"x"],
        [f"51-[{TOWER}]", b"x"],
        [f"2[{TOWER}]"],
        ["2[9007199254740992]"],
        ["2[NaN]"],
    ],
)
def test_8_a_packet_is_let_go_at_once(messages: list[Message]) -> None:
    """Read or refused, no cycle keeps its text and its Buffers until the garbage collector comes by."""
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(PacketError):
            _feed(*messages)
        assert gc.collect() == 0
    finally:
        gc.enable()


_SLOW: dict[str, Callable[[int], str]] = {
    "a namespace without an end": lambda n: "2/" + "x" * n,
    "commas": lambda n: "2/" + "," * n,
    "digits": lambda n: "2" + "1" * n,
    "digits of attachments": lambda n: "5" + "1" * n + "-[]",
    "a long name": lambda n: '2["' + "a" * n + '"]',
    "brackets": lambda n: '2["a"' + "[]" * (n // 2),
    "what looks like placeholders": lambda n: '51-["a"' + ',{"_placeholder":true,"num":1}' * (n // 30) + "]",
}


@pytest.mark.parametrize("make", _SLOW.values(), ids=_SLOW)
def test_8_time_grows_with_the_packet_and_not_faster(make: Callable[[int], str]) -> None:
    """Sixteen times the packet takes some sixteen times as long; were the time quadratic, it would be 256 times."""

    def spent(size: int) -> float:
        text = make(size)
        times = []
        for _ in range(3):
            decoder = Decoder(max_depth=64, max_size=10 * size)
            start = time.thread_time()
            try:
                _take(decoder, text)
                _take(decoder, b"x")
            except PacketError:
                pass
            times.append(time.thread_time() - start)
        return min(times)

    assert spent(800_000) <= 100 * max(spent(50_000), 0.0005)


# ------------------------------------------------------------------- out


@always(name=texts, value=values, number=st.none() | st.integers(0, MAX_SAFE_INTEGER))
def test_an_event_is_read_by_others_as_it_was_meant(name: str, value: Any, number: int | None) -> None:
    """With Buffers it is a binary event with so many attachments."""
    payload = dumps(value)
    read = _read(packet.event(name, payload, number))
    kind = socketio.packet.BINARY_EVENT if payload.buffers else socketio.packet.EVENT
    assert (read.packet_type, read.namespace, read.id) == (kind, None, number)
    assert read.data == [name, value]


@always(value=values, number=st.integers(0, MAX_SAFE_INTEGER))
def test_an_acknowledgement_is_read_by_others_as_it_was_meant(value: Any, number: int) -> None:
    """Under the id that it answers."""
    payload = dumps(value)
    read = _read(packet.acknowledgement(b"%d" % number, payload.text, payload.buffers))
    kind = socketio.packet.BINARY_ACK if payload.buffers else socketio.packet.ACK
    assert (read.packet_type, read.id, read.data) == (kind, number, [value])


@always(message=texts, namespace=_namespaces)
def test_connections_are_let_in_and_refused_in_words_that_others_read(message: str, namespace: str) -> None:
    """CONNECT with the session's id, CONNECT_ERROR with the message and what goes with it."""
    let_in = _read((packet.connected(namespace, "sid1"), ()))
    assert (let_in.packet_type, let_in.namespace or "/", let_in.data) == (0, namespace, {"sid": "sid1"})
    refused = _read((packet.refused(namespace, message, {"code": "unauthenticated"}), ()))
    assert (refused.packet_type, refused.namespace or "/") == (4, namespace)
    assert refused.data == {"message": message, "data": {"code": "unauthenticated"}}


def test_the_text_of_packets() -> None:
    """As the protocol's examples have it."""
    assert packet.event("message", Json(b'"hi"')) == (b'42["message","hi"]', ())
    assert packet.event("q", Json(placeholder(0), (b"x",)), 5) == (b'451-5["q",{"_placeholder":true,"num":0}]', (b"x",))
    assert packet.emission(Json(b'["a",1,2]'), "/x", 7) == (b'42/x,7["a",1,2]', ())
    assert packet.acknowledgement(b"0", b"null", ()) == (b"430[null]", ())
    assert packet.connected("/", "abc") == b'40{"sid":"abc"}'
    assert packet.refused("/x", "no", {}) == b'44/x,{"message":"no","data":{}}'
    assert packet.refused("/x", "no") == b'44/x,{"message":"no"}'
