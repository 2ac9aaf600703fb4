"""The log: what clients cause takes fewer bytes than they sent, and nothing of theirs is in it."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.hardening.hostile import ATTACKS, ECHO, PACKETS, PLACE
from tests.hardening.polling import polling
from tests.support.bombs import gzip_zeroes
from tests.support.client import connected
from tests.support.plugins import KNOWN_MAY_CALL_ALL, NO_QUARANTINE, write_plugin
from tests.support.server import Server, serving
from tests.support.wire import Wire, wire

FAULTY = """
    from typing import Any

    from jackfield import Call, CallError, Principal, Service, hookimpl

    service = Service("api.faulty")

    @service.function(requires=())
    async def here(call: Call, data: Any = None) -> None:
        raise RuntimeError("it broke here")

    @service.function(requires=())
    async def there(call: Call, data: Any = None) -> None:
        raise KeyError("it broke there")

    @service.function(requires=())
    def thread(call: Call, data: Any = None) -> None:
        raise OSError("it broke in a thread")

    @service.function(requires=())
    async def mistaken(call: Call, data: Any) -> int:
        return data

    @service.function(requires=())
    async def unsendable(call: Call, data: Any) -> Any:
        return [float("nan"), data]

    @service.function(requires=())
    async def lines(call: Call) -> None:
        raise RuntimeError("one\\ntwo\\r\\n2030-01-01 00:00:00,000 ERROR   jackfield  three")

    @hookimpl
    async def jackfield_authenticate(handshake):
        token = str(handshake.auth.get("token"))
        if token.startswith("broken"):
            raise RuntimeError("no database")
        return None if token.startswith("wrong") else Principal("somebody")

    @hookimpl
    def jackfield_services():
        return [service]
"""


@pytest.fixture(scope="module", name="logged", params=["info", "debug"])
def _logged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose log is read; it writes all that it can, or what it does by default."""
    folder = tmp_path_factory.mktemp("logged")
    path = write_plugin(folder / "plugins", "faulty", FAULTY, namespaces=["api.faulty"])
    config = f'[log]\nlevel = "{request.param}"\n[plugins]\ndisabled = ["files"]\n'  # which would make its folder
    config += KNOWN_MAY_CALL_ALL + NO_QUARANTINE
    with serving(folder, path=[path], config=config) as server:
        yield server


# ------------------------------------------------------------------- how much

_BROKEN = [
    text
    for attack in PACKETS
    if attack.expected == 1008
    and len(attack.messages) == 1
    and isinstance(text := attack.messages[0], str)
    and len(text) < 100
]
"""Short packets that end the connection."""


async def _break(url: str, texts: list[str]) -> int:
    """Send broken packets on one connection; return how many bytes they had."""
    async with wire(url) as client:
        await client.send(*texts)
        assert await client.closed() == 1008
    return sum(len(text.encode()) for text in texts)


async def _many(url: str, connections: int, each: int) -> int:
    sent = 0
    for start in range(0, connections, 10):
        packets = [
            [_BROKEN[(number * each + index) % len(_BROKEN)] for index in range(each)]
            for number in range(start, start + 10)
        ]
        sent += sum(await asyncio.gather(*(_break(url, texts) for texts in packets)))
    return sent


@pytest.mark.parametrize(
    ("connections", "each"),
    [(200, 15), pytest.param(3000, 1, marks=[pytest.mark.full, pytest.mark.timeout(600)])],
)
async def test_22_three_thousand_bad_packets_cost_fewer_bytes_than_they_had(
    logged: Server, connections: int, each: int
) -> None:
    """The log grows by less than what came in, and by no traceback."""
    before = logged.log
    sent = await _many(logged.url, connections, each)
    written = logged.log[len(before) :]
    assert len(written.encode()) <= sent
    assert "Traceback" not in written


async def test_22_of_each_kind_a_second_has_one_line(logged: Server) -> None:
    """However many clients break the protocol, or ask over HTTP for what there is not."""
    before = logged.log
    start = time.monotonic()
    await _many(logged.url, 30, 5)
    async with aiohttp.ClientSession() as http:
        for number in range(100):
            for query in (
                f"EIO=4&transport=polling&sid=nobody{number}",
                f"EIO={number + 5}",
                "transport=carrier-pigeon",
            ):
                async with http.get(f"{logged.url}/socket.io/?{query}") as response:
                    assert response.status == 400
    seconds = time.monotonic() - start
    kinds = Counter(re.sub(r"^\S+ \S+ ", "", line) for line in logged.log[len(before) :].splitlines())
    assert kinds
    assert max(kinds.values()) <= seconds + 2


async def test_22_hostile_input_of_every_kind_is_logged_in_few_words(logged: Server) -> None:
    """The whole table by websocket: no traceback, no line of more than 300 characters."""
    before = logged.log
    async with asyncio.TaskGroup() as group:
        for attack in ATTACKS:
            if not attack.heavy:
                group.create_task(_attempt(logged.url, [m for m in attack.messages if isinstance(m, str | bytes)]))
    written = logged.log[len(before) :]
    assert "Traceback" not in written
    assert max(map(len, written.splitlines()), default=0) <= 300


async def _attempt(url: str, messages: list[str | bytes]) -> None:
    async with wire(url) as client:
        try:
            await client.send(*messages)
            await client.send("41", "42")
            await client.closed()
        except ConnectionClosed:
            pass


# ------------------------------------------------------------------- secrets


async def _in_auth(url: str, secret: str) -> None:
    for token in (f"right {secret}", f"wrong {secret}", f"broken {secret}"):
        async with wire(url, join=False) as client:
            await client.join(json.dumps({"token": token, secret: secret}))
    async with wire(url, join=False) as client:
        await client.send(f'40"{secret}"')
        await client.closed()


async def _in_headers(url: str, secret: str) -> None:
    headers = {
        "Authorization": f"Bearer {secret}",
        "Cookie": f"session={secret}",
        "X-Api-Key": secret,
        "Origin": f"https://{secret}.example",
        "User-Agent": secret,
    }
    for origin in (True, False):
        sent = {name: value for name, value in headers.items() if origin or name != "Origin"}
        async with aiohttp.ClientSession(headers=sent) as http:
            for query in (
                "EIO=4&transport=polling",
                f"EIO=3&key={secret}",
                f"EIO=4&transport={secret}",
                f"sid={secret}",
            ):
                for method in ("GET", "POST", "PUT", "OPTIONS"):
                    async with http.request(method, f"{url}/socket.io/?{query}", data=secret) as response:
                        await response.read()
            async with http.get(f"{url}/{secret}?{secret}") as response:
                assert response.status == 404
        address = url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket"
        try:
            async with connect(address, additional_headers=sent, ping_interval=None) as socket:
                await socket.send(f"4{secret}")
                await Wire(socket).closed()
        except InvalidStatus:
            assert origin


def _failing(secret: str) -> list[tuple[str | bytes, ...]]:
    text = json.dumps(secret)
    packed = base64.b64encode(secret.encode()).decode()
    return [
        *((f'427["api.faulty.{name}",{text}]',) for name in ("here", "there", "thread", "mistaken", "unsendable")),
        (f'427["api.services.test.add",{{"a":{text},{text}:1}}]',),
        (f'427["api.services.test.crash",{text}]',),
        (f'427["api.services.test.fail",{text}]',),
        (f"427[{text},{text}]",),
        (f'427["event",{{"event":{text}}}]',),
        (f'427["event",{{"event":"{ECHO}",{text}:{text}}}]',),
        (f'427["event",{{"event":"{ECHO}","id":[{text}]}}]',),
        (f'427["event",{{"event":"{ECHO}","encoding":{text}}}]',),
        (f'427["event",{{"event":"{ECHO}","encoding":"base64","data":{text}}}]',),
        (f'427["event",{{"event":"{ECHO}","encoding":"base64","data":"{packed}"}}]',),
        (f'427["event",{json.dumps(f"not json: {secret}")}]',),
        (f'451-7["event",{PLACE}]', secret.encode()),
        (f'451-7["event",{{"event":"{ECHO}","encoding":"gzip","data":{PLACE}}}]', secret.encode()),
        (f'451-7["event",{{"event":"{ECHO}","encoding":"msgpack","data":{PLACE}}}]', secret.encode() * 2),
        (f'427["{ECHO}",[{text},{2**53}]]',),
        (f'427["{ECHO}",[{text},' + "[" * 99 + "]" * 99 + "]]",),
        (f'42["stream",{{"id":{text},"data":{text}}}]', f"427[{text}]"),
        (f"4399[{text}]", f"427[{text}]"),
    ]


def _breaking(secret: str) -> list[tuple[str | bytes, ...]]:
    return [
        (f"4{secret}",),
        (f"42[{secret}]",),
        (f'42["connect","{secret}"]',),
        (f'42["{ECHO}",NaN,"{secret}"]',),
        (f'44{{"message":"{secret}"}}',),
        (f'4{{"{secret}":"{secret}"}}',),
        (f'4"{secret}"',),
        (secret.encode(),),
        (f'451-["{ECHO}",{PLACE}]', f"4{secret}"),
        (f"41/{secret},",),
        (secret,),
        (f"b{secret}",),
    ]


async def _in_payload(url: str, secret: str) -> None:
    async with wire(url) as client:
        for packet, *buffers in _failing(secret):
            await client.send(str(packet), *buffers)
            while not (message := str(await client.receive())).startswith("437["):
                pass
            assert '"error"' in message
        await client.ask(f'451-7["event",{{"event":"{ECHO}","encoding":"gzip","data":{PLACE}}}]', gzip_zeroes())
    for messages in _breaking(secret):
        async with wire(url) as client:
            await client.send(*messages)
            await client.closed()
        async with polling(url) as session:
            await session.post(*messages)


async def _sids(url: str) -> list[str]:
    """Use sessions by every carrier, rightly and wrongly; return their ids."""
    found = []
    async with polling(url) as session:
        found.append(session.sid)
        address = url.replace("http", "ws", 1) + f"/socket.io/?EIO=4&transport=websocket&sid={session.sid}"
        async with connect(address, ping_interval=None) as socket:
            await socket.send("2probe")
            assert await socket.recv() == "3probe"
            await socket.send("5")
            client = Wire(socket)
            await client.ask(f'427["{ECHO}",1]')
            await session.post("42")  # not by this carrier any more
            await session.receive()
            await client.send("42")
            await client.closed()
        await session.post("42")
    async with polling(url) as session:
        found.append(session.sid)
        await session.post("\x1e", "4", "abc")
        await session.post("1")
        await session.post("42")
    async with polling(url) as session:
        found.append(session.sid)
        await session.post("42")
        await session.receive()
    async with connected(url) as stock:
        found.append(str(stock.sio.eio.sid))  # its public id, `socket.id`, is what the log calls a client by
        await stock.call("api.faulty.here")
        await stock.call("api.nobody.knows")
    return found


async def test_22_secrets_are_never_in_the_log(logged: Server) -> None:
    """Tokens, headers, cookies, payload, the ids of sessions: whatever fails, and even where all is logged."""
    planted = {"auth": "Kd83hQpLs1", "header": "Wn52bXrTz7", "payload": "Yc94mVfJd6"}
    await _in_auth(logged.url, planted["auth"])
    await _in_headers(logged.url, planted["header"])
    await _in_payload(logged.url, planted["payload"])
    sids = await _sids(logged.url)
    assert len(set(sids)) == 4
    assert all(len(sid) >= 16 for sid in sids)
    log = logged.log
    forms = {
        name: [text, text.lower(), base64.b64encode(text.encode()).decode()[:12]] for name, text in planted.items()
    }
    assert [name for name, texts in forms.items() if any(text in log for text in texts)] == []
    assert [sid for sid in sids if sid in log] == []
    assert "error_id" in log  # there was something to tell


# ------------------------------------------------------------------- what the operator needs


async def test_22_every_error_id_has_its_line_and_tracebacks_are_few(logged: Server) -> None:
    """Three hundred failures in three places: a line for each; of each place one traceback a second."""
    before = logged.log
    start = time.monotonic()
    ids: list[str] = []

    async def fail(client: Wire, number: int) -> None:
        name = ("here", "there", "thread")[number % 3]
        reply = await client.ask(f'427["api.faulty.{name}"]')
        assert reply["error"]["code"] == "internal"
        ids.append(reply["error"]["error_id"])

    async with wire(logged.url) as client:
        for number in range(300):
            await fail(client, number)
    seconds = time.monotonic() - start
    written = logged.log[len(before) :]
    lines = [line for line in written.splitlines() if "error_id" in line]
    assert [re.search(r"error_id (\w+):", line)[1] for line in lines] == ids  # type: ignore[index]
    assert len(set(ids)) == 300
    place = re.compile(r"^ *(\w+): .*it broke", re.MULTILINE)
    assert set(place.findall(logged.log)) == {"RuntimeError", "KeyError", "OSError"}
    tracebacks = Counter(place.findall(written))
    assert all(count <= seconds + 1 for count in tracebacks.values())
    assert written.count("Traceback") == tracebacks.total()


async def test_22_the_line_of_an_error_is_one_line(logged: Server) -> None:
    """The text of an exception may come from a client, and must not look like a line of the log's own."""
    async with wire(logged.url) as client:
        error_id = (await client.ask('427["api.faulty.lines"]'))["error"]["error_id"]
    [line] = [line for line in logged.log.splitlines() if error_id in line]
    assert "RuntimeError: one two 2030-01-01 00:00:00,000 ERROR jackfield three" in line


def test_22_the_folder_of_the_log_holds_nothing_else(logged: Server, tmp_path: Path) -> None:
    """A server that was attacked has written no file beside what it was told to."""
    assert sorted(path.name for path in logged.log_file.parent.iterdir()) == ["jackfield.toml", "plugins", "stderr.log"]
