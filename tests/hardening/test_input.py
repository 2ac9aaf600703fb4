"""Bad input: each is answered with the right code or closes its own connection, and the next client is served."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import math
import re
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from jackfield import Call, CallError, Value
from jackfield._contract import Contract
from tests.hardening.hostile import (
    ATTACKS,
    ECHO,
    PACKETS,
    PLACE,
    SILENCE,
    UNPACKED,
    Attack,
    BadText,
    Frames,
)
from tests.hardening.polling import polling
from tests.support.bombs import MIB, gzip_zeroes, padded_gzip, zstd_zeroes
from tests.support.client import connected
from tests.support.diary import write_diary
from tests.support.plugins import NO_QUARANTINE, write_plugin
from tests.support.server import Server, serving
from tests.support.wire import Wire, wire

FENCE = f'428["{ECHO}","fence"]'


@pytest.fixture(scope="module", name="target")
def _target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the demonstration, for attacks."""
    with serving(tmp_path_factory.mktemp("target")) as server:
        yield server


# ------------------------------------------------------------------- the table


async def _say(wire: Wire, attack: Attack) -> None:
    for message in attack.messages:
        if isinstance(message, BadText):
            await wire.socket.send(message.payload, text=True)
        elif isinstance(message, Frames):
            wire.socket.transport.write(message.octets)
        else:
            await wire.send(message)


def _answer(message: str | bytes) -> str | None:
    """Return the code of an answer to an attack, or None if the message is something else."""
    if not isinstance(message, str):
        return None
    if message.startswith("437["):
        [reply] = json.loads(message[3:])
    elif message.startswith(('42["message",', '42["stream",')):
        reply = json.loads(message[2:])[1]
    else:
        return None
    replies = reply if isinstance(reply, list) else [reply]
    return ", ".join(sorted({reply["error"]["code"] if "error" in reply else "ok" for reply in replies}))


async def _become(attacker: Wire, attack: Attack) -> str | int:
    """Carry out an attack on a connection, and return what became of it."""
    try:
        await _say(attacker, attack)
        await attacker.send(FENCE)
        answer = SILENCE
        fenced = False
        while not fenced or (answer == SILENCE != attack.expected):
            message = await attacker.receive()
            fenced = fenced or str(message).startswith("438[")
            answer = _answer(message) or answer
    except ConnectionClosed:
        code = attacker.socket.close_code or 0
        # Of what is cut off while much of it is on its way, the close code is lost with the connection.
        return attack.expected if code == 1006 and attack.expected == 1009 else code
    return answer


async def _by_websocket(url: str, *attacks: Attack) -> list[str | int]:
    """Carry out attacks, on one connection for as long as it lives, and return what became of each."""
    found: list[str | int] = []
    while len(found) < len(attacks):
        async with wire(url) as attacker:
            for attack in attacks[len(found) :]:
                found.append(await _become(attacker, attack))
                if attack.leaves or isinstance(found[-1], int):
                    break
    return found


async def _by_polling(url: str, attack: Attack) -> str | int:
    async with polling(url) as attacker:
        messages = [message for message in attack.messages if isinstance(message, str | bytes)]
        await attacker.post(*(message for message in messages))
        await attacker.post(FENCE)
        answer = SILENCE
        fenced = False
        while not fenced or (answer == SILENCE != attack.expected):
            message = await attacker.receive()
            if message is None:
                return 1008
            fenced = fenced or str(message).startswith("438[")
            answer = _answer(message) or answer
        return answer


async def _is_served(url: str) -> None:
    async with wire(url) as client:
        assert await client.ask(f'427["{ECHO}","hello"]') == {"data": "hello"}


def test_the_table_is_long_and_its_names_tell_apart() -> None:
    """More than sixty kinds of hostile input."""
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) > 150


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_hostile_input_is_refused_and_the_next_client_is_served(target: Server, attack: Attack) -> None:
    """By websocket: the right code and the connection goes on, or the right close code."""
    assert await _by_websocket(target.url, attack) == [attack.expected]
    await _is_served(target.url)


@pytest.mark.parametrize("attack", [attack for attack in PACKETS if attack.packet], ids=lambda attack: attack.name)
async def test_hostile_packets_by_polling_are_refused_too(target: Server, attack: Attack) -> None:
    """By polling: the right code, or the session is closed."""
    assert await _by_polling(target.url, attack) == attack.expected
    await _is_served(target.url)


async def _rounds(server: Server, attacks: list[Attack]) -> None:
    """Carry out attacks ten times; after the last round the server holds hardly more than after the third."""
    memory = []
    for _ in range(10):
        if all(isinstance(attack.expected, int) for attack in attacks):  # each ends its connection, some after seconds
            found = [one for (one,) in await asyncio.gather(*(_by_websocket(server.url, attack) for attack in attacks))]
        else:
            found = await _by_websocket(server.url, *attacks)
        assert found == [attack.expected for attack in attacks]
        memory.append(server.rss)
    assert memory[9] <= memory[2] + 8 * MIB, [size // MIB for size in memory]


_HEAVY = [attack for attack in ATTACKS if attack.heavy]


@pytest.mark.parametrize(
    "attacks",
    [
        pytest.param([attack for attack in _HEAVY if re.search(r"bomb|crowd", attack.name)], id="bombs"),
        pytest.param(_HEAVY, id="all", marks=[pytest.mark.full, pytest.mark.timeout(300)]),
    ],
)
async def test_6_memory_does_not_grow_with_heavy_attacks(tmp_path: Path, attacks: list[Attack]) -> None:
    """Ten rounds of what is large: after the tenth the server holds what it held after the third."""
    with serving(
        tmp_path, config="[server]\nping_interval = 1.0"
    ) as server:  # engineio keeps a session to its next ping
        await _rounds(server, attacks)
        await _is_served(server.url)


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_memory_does_not_grow_with_any_attack(target: Server, attack: Attack) -> None:
    """Ten rounds of one attack, ten times each, twice where it is heavy."""
    await _rounds(target, [attack] * (2 if attack.heavy else 10))


# ------------------------------------------------------------------- 6: bombs


def _peak(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="utf-8")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


linux = pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")

_BOMBS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "gzip": lambda: (f'451-7["event",{{"event":"{ECHO}","encoding":"gzip","data":{PLACE}}}]', gzip_zeroes()),
    "base64+gzip": lambda: (
        f'427["event",{{"event":"{ECHO}","encoding":"base64+gzip","data":"{base64.b64encode(gzip_zeroes()).decode()}"}}]',
    ),
    "zstd": lambda: (
        f'451-7["event",{{"event":"{ECHO}","encoding":"zstd+bytes","data":{PLACE}}}]',
        zstd_zeroes(),
    ),
    "gzip+gzip": lambda: (
        f'451-7["event",{{"event":"{ECHO}","encoding":"gzip+gzip","data":{PLACE}}}]',
        padded_gzip(gzip_zeroes()),
    ),
    "a whole envelope": lambda: (f'451-7["event",{PLACE}]', gzip_zeroes()),
}


@linux
@pytest.mark.parametrize("bomb", _BOMBS)
async def test_6_a_bomb_costs_no_more_than_twice_the_limit(target: Server, bomb: str) -> None:
    """272 kB for 200 MiB: the peak is what came, and twice what may be unpacked; the connection stays."""
    forget_peak = Path(f"/proc/{target.process.pid}/clear_refs").write_text
    packet, *buffers = _BOMBS[bomb]()
    size = len(packet) + sum(map(len, buffers))
    async with wire(target.url) as client:
        for _ in range(3):  # what is allocated once and kept is no matter
            assert (await client.ask(packet, *buffers))["error"]["code"] == "resource_exhausted"
        forget_peak("5")
        before = target.rss
        assert (await client.ask(packet, *buffers))["error"]["code"] == "resource_exhausted"
        assert _peak(target) - before <= 2 * UNPACKED + 6 * size + 2 * MIB
        assert await client.ask(f'427["{ECHO}",1]') == {"data": 1}


async def test_6_fifty_bombs_in_turn_leave_the_connection_as_it_was(target: Server) -> None:
    """Each is answered, and the next call is served."""
    async with wire(target.url) as client:
        for number in range(50):
            packet, *buffers = _BOMBS[sorted(_BOMBS)[number % len(_BOMBS)]]()
            assert (await client.ask(packet, *buffers))["error"]["code"] == "resource_exhausted"
        assert await client.ask(f'427["{ECHO}",1]') == {"data": 1}


@linux
@pytest.mark.parametrize("name", ["a crowd of nils", "a bomb of gzip", "data that the function does not take"])
async def test_6_what_is_refused_is_let_go_at_once(target: Server, name: str) -> None:
    """The peak of thirty refusals in turn is that of one: nothing waits for the garbage collector."""
    [attack] = [attack for attack in ATTACKS if attack.name == name]
    forget_peak = Path(f"/proc/{target.process.pid}/clear_refs").write_text

    async def peak(count: int) -> int:
        forget_peak("5")
        assert await _by_websocket(target.url, *[attack] * count) == [attack.expected] * count
        return _peak(target)

    first = max(await peak(1), await peak(3))
    assert await peak(30) <= first + 12 * MIB


@pytest.mark.parametrize("more", [gzip.compress(b"2"), b"\0", b"2"], ids=["a member", "a zero", "a byte"])
async def test_6_nothing_may_follow_the_one_member(target: Server, more: bytes) -> None:
    """What others join or ignore is refused; the member alone is taken."""
    packet = f'451-7["event",{{"event":"{ECHO}","encoding":"gzip","data":{PLACE}}}]'
    async with wire(target.url) as client:
        refused = await client.ask(packet, gzip.compress(b"1") + more)
        assert refused["error"] == {
            "code": "invalid_argument",
            "message": "Not valid gzip: something follows its end.",
        }
        assert await client.ask(packet, gzip.compress(b"1")) == {"data": 1}


async def test_6_websockets_are_never_compressed(target: Server) -> None:
    """A client that offers deflate is served without it."""
    address = target.url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket"
    async with connect(address, compression="deflate", ping_interval=None) as socket:
        assert socket.request is not None
        assert socket.response is not None
        assert "permessage-deflate" in socket.request.headers["Sec-WebSocket-Extensions"]
        assert "Sec-WebSocket-Extensions" not in socket.response.headers
        client = Wire(socket)
        await client.receive()
        await client.join()
        assert await client.ask(f'427["{ECHO}",1]') == {"data": 1}


# ------------------------------------------------------------------- 7: numbers, in and out

ODD = """
    from typing import Any

    from pydantic import BaseModel
    from jackfield import Call, CallError, Service, hookimpl

    NUMBERS = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf"), "big": 2**53, "huge": 10**30}
    service = Service("api.odd")

    class Reading(BaseModel):
        value: float

    class Loose(BaseModel):
        value: Any

    @service.function
    async def number(call: Call, data: str) -> float:
        return NUMBERS[data]

    @service.function
    async def anything(call: Call, data: str) -> Any:
        return {"list": [1, {"here": NUMBERS[data]}]}

    @service.function
    async def model(call: Call, data: str) -> Reading:
        return Reading.model_construct(value=NUMBERS[data])

    @service.function
    async def loose(call: Call, data: str) -> list[Loose]:
        return [Loose(value=NUMBERS[data])]

    @service.function
    async def surrogate(call: Call) -> Any:
        return ["\\ud800"]

    @service.function
    async def emit(call: Call, data: str) -> str:
        await call.emit("news", {"value": [NUMBERS[data]]})
        return "emitted"

    @service.function
    async def ask(call: Call, data: str) -> Any:
        return await call.client.request("question", NUMBERS[data])

    @hookimpl
    def jackfield_services():
        return [service]
"""


@pytest.fixture(scope="module", name="odd")
def _odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose plugin returns what JSON does not have."""
    folder = tmp_path_factory.mktemp("odd")
    path = write_plugin(folder / "plugins", "odd", ODD, namespaces=["api.odd"])
    with serving(folder, path=[path], config=NO_QUARANTINE) as server:
        yield server


NOT_FINITE = ["nan", "inf", "-inf"]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize(
    ("function", "number"),
    [
        *(
            (function, number)
            for function in ("number", "anything", "model", "loose", "emit", "ask")
            for number in NOT_FINITE
        ),
        *((function, number) for function in ("anything", "loose", "emit", "ask") for number in ("big", "huge")),
    ],
)
async def test_7_what_json_does_not_have_never_leaves_the_server(
    odd: Server, transport: str, function: str, number: str
) -> None:
    """A result, an emitted event and a request that hold NaN fail in the server; the client lives and hears nothing."""
    async with connected(odd.url, transport) as client:
        reply = await client.call(f"api.odd.{function}", number)
        assert (reply["error"]["code"], set(reply)) == ("internal", {"error"})
        assert await client.call(ECHO, 1.5) == {"data": 1.5}
        assert not client.received["news"].qsize()


async def test_7_a_lone_surrogate_never_leaves_the_server(odd: Server) -> None:
    """It has no form in UTF-8."""
    async with connected(odd.url, "websocket") as client:
        assert (await client.call("api.odd.surrogate"))["error"]["code"] == "internal"
        assert await client.call(ECHO, "\U0001f600") == {"data": "\U0001f600"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9007199254740991", 2**53 - 1),
        ('{"a":1,"b":[],"a":2}', {"a": 2, "b": []}),
        ('"\\ud83d\\ude00\\u0000\\/"', "\U0001f600\0/"),
        ("[" * 60 + "]" * 60, None),
        ("-0.0", -0.0),
        ("1e308", 1e308),
        ("5e-324", 5e-324),
        ('["9007199254740993", 90071992547409.93]', ["9007199254740993", 90071992547409.93]),
    ],
)
async def test_7_what_is_unusual_but_right_is_served(target: Server, text: str, value: Any) -> None:
    """The edges of what JSON and its clients can hold come back as they went."""
    async with wire(target.url) as client:
        reply = (await client.ask(f'427["{ECHO}",{text}]'))["data"]
    if value is not None:
        assert (reply, math.copysign(1, reply) if isinstance(value, float) else 1) == (
            value,
            math.copysign(1, value) if isinstance(value, float) else 1,
        )


# ------------------------------------------------------------------- 9: event names


@pytest.fixture(scope="module", name="watched")
def _watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that keeps a list of connections, calls and farewells."""
    folder = tmp_path_factory.mktemp("watched")
    with serving(folder, path=[write_diary(folder)]) as server:
        yield server


@pytest.fixture(name="watcher")
async def _watcher(watched: Server) -> AsyncIterator[Wire]:
    """A client of the server that is watched."""
    async with wire(watched.url) as client:
        yield client


async def _seen(watcher: Wire, sid: str) -> list[list[str]]:
    """Return what the server saw of a client that has gone, and of nobody else."""
    while True:
        log = (await watcher.ask('427["api.diary.read"]'))["data"]
        if any(entry[:2] == ["disconnect", sid] for entry in log):
            return [entry for entry in log if entry[1] == sid]


@pytest.mark.parametrize(
    "name", ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]
)
@pytest.mark.parametrize("form", ['42["{}"]', '427["{}",{{}},{{}}]', '42["{}","client disconnect"]', '451-["{}",{}]'])
async def test_9_reserved_names_close_the_connection(watched: Server, watcher: Wire, name: str, form: str) -> None:
    """Nothing runs, neither a function nor a hook, save the one farewell."""
    async with wire(watched.url, join=False) as client:
        sid = json.loads(str(await client.join())[2:])["sid"]
        await client.send(form.format(name, PLACE))
        assert await client.closed() == 1008
    assert await _seen(watcher, sid) == [["connect", sid], ["disconnect", sid, "parse error"]]


@pytest.mark.parametrize("name", ["null", "1", "1.5", "true", "{}", '["event"]', '{"_placeholder":true,"num":0}'])
async def test_9_names_that_are_no_text_close_the_connection(watched: Server, watcher: Wire, name: str) -> None:
    """The same."""
    async with wire(watched.url, join=False) as client:
        sid = json.loads(str(await client.join())[2:])["sid"]
        await client.send(f"42[{name},{{}}]")
        assert await client.closed() == 1008
    assert await _seen(watcher, sid) == [["connect", sid], ["disconnect", sid, "parse error"]]


@pytest.mark.parametrize(
    "name", ["message", "error", "ping", "reconnect", "server", "channel", "api.diary", "", "\0", "__init__"]
)
async def test_9_foreign_names_are_not_found(watched: Server, watcher: Wire, name: str) -> None:
    """What no plugin declared is nobody's, and the connection stays."""
    async with wire(watched.url, join=False) as client:
        sid = json.loads(str(await client.join())[2:])["sid"]
        reply = await client.ask(f"427[{json.dumps(name)},{{}}]")
        assert reply["error"]["code"] == "not_found"
        assert await client.ask('427["api.services.test.echo",1]') == {"data": 1}
    seen = await _seen(watcher, sid)
    assert sorted(entry[0] for entry in seen[:-1]) == ["call", "connect"]  # a first call runs beside the hook
    assert seen[-1][0] == "disconnect"


@pytest.mark.parametrize("by", ["websocket", "polling"])
async def test_9_leaving_is_told_once_whatever_follows(watched: Server, watcher: Wire, by: str) -> None:
    """DISCONNECT, then something broken, then the end of the carrier: one farewell."""
    if by == "websocket":
        async with wire(watched.url, join=False) as client:
            sid = json.loads(str(await client.join())[2:])["sid"]
            await client.send("41", '42["connect"]', "41", "1")
            assert await client.closed() == 1008
    else:
        async with polling(watched.url, join=False) as session:
            await session.post("40")
            sid = json.loads(str(await session.receive())[2:])["sid"]
            await session.post("41", '42["connect"]', "41", "1")
            assert await session.receive() is None
    seen = await _seen(watcher, sid)
    async with wire(watched.url) as other:  # one more round through the server
        await other.ask(f'427["{ECHO}"]')
    assert await _seen(watcher, sid) == seen == [["connect", sid], ["disconnect", sid, "client disconnect"]]


async def test_9_a_client_may_leave_and_come_back_on_one_session(watched: Server, watcher: Wire) -> None:
    """DISCONNECT and CONNECT in one breath: another id, and each farewell once."""
    sids = []
    async with wire(watched.url, join=False) as client:
        for _ in range(20):
            sids.append(json.loads(str(await client.join())[2:])["sid"])
            await client.send("41")
        sids.append(json.loads(str(await client.join())[2:])["sid"])
        assert await client.ask(f'427["{ECHO}",1]') == {"data": 1}
    assert len(set(sids)) == 21
    for sid in sids:
        assert [entry[0] for entry in await _seen(watcher, sid) if entry[0] != "call"] == ["connect", "disconnect"]


# ------------------------------------------------------------------- arguments that do not fit


async def _numbers(call: Call, data: dict[str, list[int]]) -> None:
    raise NotImplementedError


def _misfit(data: Value) -> CallError:
    with pytest.raises(CallError) as refused:
        Contract(_numbers).validate(data, buffers=False)
    return refused.value


def test_faults_cost_little_however_many_there_are() -> None:
    """A hundred thousand faults: fifty are told, and the others take no memory."""
    tracemalloc.start()
    try:
        error = _misfit({"a": [None] * 100_000})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(error.details) <= 50
    assert peak <= 20 * MIB


def test_faults_are_told_in_no_more_bytes_than_were_sent() -> None:
    """A long key stands in the path of every fault below it, and must not make the reply fifty times the call."""
    error = _misfit({"k" * 100_000: [None] * 50})
    assert len(json.dumps(error.as_dict())) <= 2 * 100_000


# ------------------------------------------------------------------- many at once


async def test_many_connections_at_once_are_as_safe_as_one(target: Server) -> None:
    """Twenty attackers side by side, and a client among them."""
    async with wire(target.url) as client:
        results = asyncio.gather(*(_by_websocket(target.url, attack) for attack in _HEAVY[:20]))
        while not results.done():
            assert await client.ask(f'427["{ECHO}",1]') == {"data": 1}
        assert await results == [[attack.expected] for attack in _HEAVY[:20]]
