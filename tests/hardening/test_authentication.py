"""Who is not let in leaves nothing behind, and nothing runs before somebody is let in."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio
import socketio.exceptions

from tests.hardening.polling import Polling, polling
from tests.support.bombs import MIB
from tests.support.client import connected
from tests.support.plugins import KNOWN_MAY_CALL_ALL, write_plugin
from tests.support.server import Server, serving
from tests.support.waiting import until
from tests.support.wire import Wire, wire

GATE = """
    import asyncio
    import gc
    from collections import Counter

    from jackfield import Call, CallError, Observer, Principal, Service, hookimpl

    service = Service("api.gate")
    seen = Counter()
    told = []
    OWN = {"Link", "Decoder", "Session", "Peer", "Client"}

    @service.function(requires=())
    async def look(call: Call) -> dict[str, int]:
        gc.collect()
        alive = Counter(type(found).__name__ for found in gc.get_objects() if type(found).__name__ in OWN)
        asked = [task for task in asyncio.all_tasks() if task.get_name() == "authenticate"]
        return {**{name: 0 for name in OWN}, **alive, "hooks": len(asked), **seen}

    @service.function(requires=())
    async def who(call: Call) -> str:
        return call.principal.id

    @service.function(requires=(), detached=True)
    async def askLater(call: Call) -> None:
        me = call.client.id
        while call.client.connected:
            await asyncio.sleep(0.01)
        try:
            told.append([me, await call.client.request("question", timeout=5.0)])
        except CallError as error:
            told.append([me, call.client.id, error.code])

    @service.function(requires=())
    async def answers(call: Call) -> list[list[str]]:
        return told

    class Watcher(Observer):
        def started(self, call):
            if call.event not in ("api.gate.look", "api.gate.answers"):
                seen["calls"] += 1

        def ended(self, call, error):
            pass

    WRONG = {
        "scopes": lambda: Principal("ada", scopes=["all"]),
        "id": lambda: Principal(7),
        "empty": lambda: Principal(""),
        "time": lambda: Principal("ada", expires=float("nan")),
        "text": lambda: "ada",
        "yes": lambda: True,
    }

    async def patient():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen["cancelled"] += 1
            raise

    async def stubborn():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen["swallowed"] += 1
            await asyncio.sleep(2)

    @hookimpl
    async def jackfield_authenticate(handshake):
        token = handshake.auth.get("token") or handshake.headers.get("authorization", "").removeprefix("Bearer ")
        seen[f"asked {token}"[:20]] += 1
        if token.startswith("user:"):
            return Principal(token.removeprefix("user:"))
        if token == "patient":
            await patient()
        elif token == "stubborn":
            await stubborn()
        elif token == "timeout":
            raise TimeoutError("the database is at 10.0.0.7")
        elif token == "error":
            raise RuntimeError("the password is hunter2")
        elif token.startswith("wrong:"):
            return WRONG[token.removeprefix("wrong:")]()
        elif token == "exit":
            raise SystemExit(4)
        elif token == "busy":
            raise CallError("resource_exhausted", "Too many of you.", retry_after=100)
        return None

    @hookimpl
    async def jackfield_connect(client, principal):
        seen["connect"] += 1
        if principal and principal.id == "guard":
            await client.emit("counted")

    @hookimpl
    async def jackfield_disconnect(client, reason):
        seen["disconnect"] += 1

    @hookimpl
    def jackfield_observe():
        return Watcher()

    @hookimpl
    def jackfield_services():
        return [service]
"""
KEY = '{"token":"user:guard"}'
PATIENT = '40{"token":"patient"}'
PLACE = '{"_placeholder":true,"num":0}'


@asynccontextmanager
async def _guard(server: Server) -> AsyncIterator[Wire]:
    async with wire(server.url, join=False) as guard:
        assert str(await guard.join(KEY)).startswith("40{")
        assert await guard.receive() == '42["counted",null]'
        yield guard


async def _look(guard: Wire) -> dict[str, int]:
    found: dict[str, int] = (await guard.ask('427["api.gate.look"]'))["data"]
    return found


async def _seen(guard: Wire, name: str, least: int) -> dict[str, int]:
    """Return what was seen, once it was seen so often."""
    async with asyncio.timeout(20):
        while (found := await _look(guard)).get(name, 0) < least:
            pass
    return found


@pytest.fixture(scope="module", name="gate")
def _gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks who is connecting, with the time limits that it has by default."""
    folder = tmp_path_factory.mktemp("gate")
    path = write_plugin(folder / "plugins", "gate", GATE, namespaces=["api.gate"])
    with serving(folder, path=[path], config=KNOWN_MAY_CALL_ALL) as server:
        yield server


@pytest.fixture(scope="module", name="hasty")
def _hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same with short limits, also for how long engineio keeps a session that has ended."""
    folder = tmp_path_factory.mktemp("hasty")
    path = write_plugin(folder / "plugins", "gate", GATE, namespaces=["api.gate"])
    config = """
        [server]
        ping_interval = 1.0
        ping_timeout = 0.5
        [limits]
        auth_timeout = 0.3
        connect_timeout = 1.0
    """
    with serving(folder, path=[path], config=config) as server:
        yield server


@pytest.fixture(name="guard")
async def _guard_fixture(gate: Server) -> AsyncIterator[Wire]:
    """A client that was let in."""
    async with _guard(gate) as guard:
        yield guard


def _refusal(packet: str | bytes | None) -> dict[str, Any]:
    assert str(packet).startswith("44{")
    refused: dict[str, Any] = json.loads(str(packet)[2:])
    return refused


# ------------------------------------------------------------------- the answer

NOBODY = {"message": "Nobody here knows who you are: check the token.", "data": {"code": "unauthenticated"}}


@pytest.mark.parametrize("auth", ["", "{}", '{"token":"nobody"}', '{"token":null}', '{"user":"user:guard"}'])
async def test_24_whom_nobody_knows_is_refused(gate: Server, auth: str) -> None:
    """As soon as one plugin asks who is connecting, None means no."""
    async with wire(gate.url, join=False) as client:
        assert _refusal(await client.join(auth)) == NOBODY
    async with polling(gate.url, join=False) as session:
        await session.post(f"40{auth}")
        assert _refusal(await session.receive()) == NOBODY


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_24_a_stock_client_hears_why(gate: Server, transport: str) -> None:
    """In its event for that; with the right token, in `auth` or in a header, it is let in."""
    heard: list[Any] = []
    stock = socketio.AsyncClient(reconnection=False)
    stock.on("connect_error", heard.append)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await stock.connect(gate.url, transports=[transport], auth={"token": "nobody"})
    assert heard == [NOBODY]
    async with connected(gate.url, transport, auth={"token": "user:ada"}) as client:
        assert await client.call("api.gate.who") == {"data": "ada"}
    # By polling every request has to show the header, as it does where it belongs to the HTTP session.
    async with (
        aiohttp.ClientSession(headers={"Authorization": "Bearer user:grace"}) as http,
        connected(gate.url, transport, http_session=http) as client,
    ):
        assert await client.call("api.gate.who") == {"data": "grace"}


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        ("error", "RuntimeError"),
        ("exit", "PluginError"),
        ("timeout", "TimeoutError"),
        ("wrong:scopes", "TypeError"),
        ("wrong:id", "TypeError"),
        ("wrong:empty", "TypeError"),
        ("wrong:time", "TypeError"),
        ("wrong:text", "TypeError"),
        ("wrong:yes", "TypeError"),
    ],
)
async def test_24_a_hook_that_fails_refuses(gate: Server, token: str, kind: str) -> None:
    """The client gets an id, the log the reason under the same id; the server lives."""
    async with wire(gate.url, join=False) as client:
        refused = _refusal(await client.join(f'{{"token":"{token}"}}'))
    error_id = refused["data"].pop("error_id")
    assert refused == {
        "message": f"Something went wrong in the server (error {error_id}).",
        "data": {"code": "internal"},
    }
    lines = [line for line in gate.log.splitlines() if error_id in line]
    assert len(lines) == 1
    assert f"jackfield_authenticate failed, error_id {error_id}: {kind}: " in lines[0]


async def test_24_a_hook_may_refuse_in_its_own_words(gate: Server) -> None:
    """A `CallError` goes out with its code, message and time to wait."""
    async with wire(gate.url, join=False) as client:
        assert _refusal(await client.join('{"token":"busy"}')) == {
            "message": "Too many of you.",
            "data": {"code": "resource_exhausted", "retry_after": 100},
        }


@pytest.mark.parametrize(("token", "mark"), [("patient", "cancelled"), ("stubborn", "swallowed")])
async def test_24_a_hook_that_takes_too_long_refuses(hasty: Server, token: str, mark: str) -> None:
    """A hook that sleeps for a minute is cancelled in time, also where it swallows that; the client may try again."""
    async with _guard(hasty) as guard:
        before = (await _look(guard)).get(mark, 0)
        async with wire(hasty.url, join=False) as client:
            refused = _refusal(await client.join(f'{{"token":"{token}"}}'))
            assert refused["message"] == "Authentication takes too long; try again later."
            assert refused["data"].pop("retry_after") > 0
            assert refused["data"] == {"code": "unavailable"}
            assert str(await client.join(KEY)).startswith("40{")
            assert await client.ask('427["api.gate.who"]') == {"data": "guard"}
        await _seen(guard, mark, before + 1)


# ------------------------------------------------------------------- before anybody is let in

EARLY: dict[str, list[str | bytes]] = {
    "an event": ['427["api.gate.who"]'],
    "an envelope": ['427["event",{"event":"api.gate.who"}]'],
    "an event of many": ['42["api.gate.who"]'] * 50,
    "a Buffer's announcement": [f'451-7["api.gate.who",{PLACE}]'],
    "a Buffer's announcement and the Buffer": [f'451-7["api.gate.who",{PLACE}]', bytes(15_000)],
    "an announcement of very many": ['459999999999-["api.gate.who"]', bytes(15_000)],
    "a Buffer": [bytes(15_000)],
    "an acknowledgement": ["431[]"],
    "a farewell": ["41"],
    "more than 16 KiB": ["40" + json.dumps({"token": "x" * 16_400})],
    "more than 16 KiB of rubbish": ["4" + "x" * 20_000],
    "much more than 16 KiB": ["4" + "x" * 900_000],
    "a Buffer of more than 16 KiB": [bytes(20_000)],
    "an event past a limit": ['42["a",' + "[" * 100 + "]" * 100 + "]"],
    "auth past a limit": ["40" + '{"a":' * 100 + "1" + "}" * 100],
    "auth that is no object": ['40["user:guard"]'],
    "rubbish": ["4abc"],
    "a reserved name": ['42["connect",{}]'],
}


@pytest.mark.parametrize("messages", EARLY.values(), ids=EARLY)
async def test_24_nothing_but_connect_may_come_first(gate: Server, guard: Wire, messages: list[str | bytes]) -> None:
    """Anything else closes the connection, by websocket and by polling, and nothing runs."""
    before = await _look(guard)
    async with wire(gate.url, join=False) as client:
        await client.send(*messages)
        assert await client.closed() == 1008
    async with polling(gate.url, join=False) as session:
        await session.post(*messages)
        assert await session.receive() is None
    after = await _look(guard)
    assert {name: after.get(name, 0) for name in ("calls", "connect")} == {
        name: before.get(name, 0) for name in ("calls", "connect")
    }


@pytest.mark.parametrize("messages", [*EARLY.values(), [PATIENT]], ids=[*EARLY, "CONNECT again"])
async def test_24_nothing_may_come_while_the_client_is_being_asked(
    gate: Server, guard: Wire, messages: list[str | bytes]
) -> None:
    """The connection is closed, the hook is cancelled, and nothing runs or is kept."""
    before = await _seen(guard, "calls", 0)
    async with wire(gate.url, join=False) as client:
        await client.send(PATIENT, *messages)
        assert await client.closed() == 1008
    async with polling(gate.url, join=False) as session:
        await session.post(PATIENT)
        await session.post(*messages)
        assert await session.receive() is None
    after = await _seen(guard, "cancelled", before.get("cancelled", 0))
    while (after := await _look(guard))["hooks"]:
        pass
    assert {name: after.get(name, 0) for name in ("calls", "connect", "Session")} == {
        name: before.get(name, 0) for name in ("calls", "connect", "Session")
    }


async def test_24_the_first_packet_has_16_kib(gate: Server) -> None:
    """A large token fits; one character more does not."""

    def packet(length: int) -> str:
        frame = json.dumps({"token": "user:big", "padding": ""})
        return frame.replace('""', f'"{"x" * (length - len(frame) - 1)}"')

    async with wire(gate.url, join=False) as client:
        assert str(await client.join(packet(16 * 1024))).startswith("40{")
    async with wire(gate.url, join=False) as client:
        await client.send("40" + packet(16 * 1024 + 1))
        assert await client.closed() == 1008


async def test_24_after_that_messages_have_their_own_limit(gate: Server) -> None:
    """Once let in, a client may say more at once."""
    async with wire(gate.url, join=False) as client:
        await client.join('{"token":"user:ada"}')
        assert await client.ask(f'427["api.services.test.echo","{"x" * 500_000}"]') == {"data": "x" * 500_000}


# ------------------------------------------------------------------- the end of it


@pytest.mark.parametrize("by", ["websocket", "polling"])
async def test_24_a_client_that_goes_away_is_not_asked_on(gate: Server, guard: Wire, by: str) -> None:
    """The hook is cancelled when the connection ends."""
    before = await _look(guard)
    if by == "websocket":
        async with wire(gate.url, join=False) as client:
            await client.send(PATIENT)
            await _seen(guard, "asked patient", before.get("asked patient", 0) + 1)
    else:
        async with polling(gate.url, join=False) as session:
            await session.post(PATIENT)
            await _seen(guard, "asked patient", before.get("asked patient", 0) + 1)
            await session.post("1")
    after = await _seen(guard, "cancelled", before.get("cancelled", 0) + 1)
    assert after.get("connect", 0) == before.get("connect", 0)


@pytest.mark.parametrize("first", [[], ["40/other,"], ['40{"token":"nobody"}'], [f"40{KEY}", "41"]], ids=repr)
async def test_24_a_client_that_does_not_connect_in_time_is_closed(hasty: Server, first: list[str]) -> None:
    """Though it answers pings: if it never connects, is refused, or leaves and does not come back."""
    async with wire(hasty.url, join=False) as client, polling(hasty.url, join=False) as session:
        for message in first:
            await client.send(message)
            await session.post(message)
            if message.startswith("40"):
                assert await client.receive()
                assert await session.receive()
        assert await client.closed() == 1000
        while await session.receive() is not None:
            pass


async def test_24_three_refusals_close_the_connection(gate: Server) -> None:
    """Two mistakes are forgiven, also to a client that leaves in between."""
    async with wire(gate.url, join=False) as client:
        for _ in range(2):
            assert _refusal(await client.join()) == NOBODY
        assert str(await client.join('{"token":"user:ada"}')).startswith("40{")
        await client.send("41", "40")
        assert _refusal(await client.receive()) == NOBODY
        assert await client.closed() == 1000
    async with polling(gate.url, join=False) as session:
        for _ in range(3):
            answer = asyncio.ensure_future(session.receive())
            await session.post("40")
            assert _refusal(await answer) == NOBODY
        assert await session.receive() is None


async def test_24_who_comes_back_is_not_who_left(gate: Server, guard: Wire) -> None:
    """A call of one principal does not reach the next one on the same session."""
    async with wire(gate.url, join=False) as client:
        first = json.loads(str(await client.join('{"token":"user:one"}'))[2:])["sid"]
        await client.send('42["api.gate.askLater"]')
        assert await client.ask('427["api.gate.who"]') == {"data": "one"}
        await client.send("41")
        second = json.loads(str(await client.join('{"token":"user:two"}'))[2:])["sid"]
        assert second != first
        async with asyncio.timeout(20):
            while not (told := (await guard.ask('427["api.gate.answers"]'))["data"]):
                pass
        assert told == [[first, first, "unavailable"]]
        assert await client.ask('427["api.gate.who"]') == {"data": "two"}


# ------------------------------------------------------------------- nothing is left behind


async def _refused_by_websocket(url: str) -> None:
    async with wire(url, join=False) as client:
        assert _refusal(await client.join(json.dumps({"token": "nobody", "padding": "x" * 16_000}))) == NOBODY


async def _cut_off_by_websocket(url: str) -> None:
    async with wire(url, join=False) as client:
        await client.send(PATIENT, f'451-["api.gate.who",{PLACE}]', bytes(900_000))
        await client.closed()


async def _cut_off_by_polling(url: str) -> None:
    """While the hook is busy, announce Buffers and send them on the same session."""
    async with polling(url, join=False) as session:
        await session.post(PATIENT)
        await session.post('459999999999-["api.gate.who"]')
        await _flood(session)


async def _cut_off_by_polling_with_one_buffer(url: str) -> None:
    async with polling(url, join=False) as session:
        await session.post(PATIENT)
        await session.post(f'452-["api.gate.who",{PLACE}]')
        await _flood(session)


async def _flood(session: Polling) -> None:
    for _ in range(3):
        assert await session.post(bytes(600_000)) >= 400
    assert await session.receive() is None


@pytest.mark.parametrize(
    "attack",
    [_refused_by_websocket, _cut_off_by_websocket, _cut_off_by_polling, _cut_off_by_polling_with_one_buffer],
)
async def test_24_a_hundred_clients_that_were_not_let_in_leave_nothing(hasty: Server, attack: Any) -> None:
    """Nothing of them is alive afterwards, and the server holds no more memory than after the first thirty."""
    async with _guard(hasty) as guard:

        async def settled() -> None:
            end = time.monotonic() + 20
            while more := {
                name: count for name, count in (await _look(guard)).items() if count > alone.get(name, count)
            }:
                assert time.monotonic() < end, more

        alone = {"Link": 1, "Decoder": 1, "Session": 1, "Client": 1, "AsyncSocket": 1, "hooks": 0}
        await settled()
        memory = []
        for count in (30, 70):
            for _ in range(count):
                await attack(hasty.url)
                await guard.ask('427["api.gate.who"]')  # which also answers pings
            await settled()
            memory.append(hasty.rss)
        assert memory[1] <= memory[0] + 8 * MIB, [size // MIB for size in memory]


async def test_24_a_farewell_follows_every_welcome_and_no_refusal(hasty: Server) -> None:
    """The hooks of connections come in pairs."""
    async with _guard(hasty) as guard:
        before = await _seen(guard, "connect", 1)
        for token in ("user:a", "nobody", "error", "user:b"):
            async with wire(hasty.url, join=False) as client:
                await client.join(f'{{"token":"{token}"}}')
        after = await _seen(guard, "disconnect", before.get("disconnect", 0) + 2)
        assert after["connect"] == before["connect"] + 2


async def test_24_without_a_plugin_that_asks_everybody_is_let_in(tmp_path: Path) -> None:
    """And nobody has a principal."""
    with serving(tmp_path) as server:
        async with wire(server.url, join=False) as client:
            assert str(await client.join('{"token":"anything"}')).startswith("40{")
        await until(lambda: server.process.poll() is None)
