"""What a client meets before its first call: origins, namespaces, the handshake, and how polls are answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import socketio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from jackfield import CallError, Handshake, Principal
from jackfield._transport.packet import RESERVED
from tests.interop.inside import Inside, listening
from tests.support.client import connected
from tests.support.dispatching import make_dispatcher
from tests.support.server import Server, serving
from tests.support.waiting import until
from tests.support.wire import wire

LIMIT = 20.0
GOOD = "https://good.example"
EVIL = [
    "https://evil.example",
    "null",
    "http://good.example",
    "https://good.example:8443",
    "https://good.example.evil.example",
    "https://GOOD.example",
    "https://good.example/",
]


# ------------------------------------------------------------------- polling by hand


@dataclass
class Polls:
    """An Engine.IO session over HTTP."""

    http: aiohttp.ClientSession
    address: str
    sid: str = ""

    async def get(self) -> list[str]:
        """Poll, and return the packets of the answer."""
        async with asyncio.timeout(LIMIT), self.http.get(self._url()) as response:
            assert response.status == 200, await response.text()
            return (await response.text()).split("\x1e")

    async def post(self, *packets: str) -> int:
        """Send packets in one request, and return its status."""
        async with asyncio.timeout(LIMIT), self.http.post(self._url(), data="\x1e".join(packets)) as response:
            await response.read()
            return response.status

    def _url(self) -> str:
        return f"{self.address}&sid={self.sid}" if self.sid else self.address


@asynccontextmanager
async def _polling(
    url: str, connect_packet: str = "40", headers: Mapping[str, str] | None = None
) -> AsyncIterator[Polls]:
    async with aiohttp.ClientSession(headers=headers) as http:
        polls = Polls(http, _address(url))
        (opened,) = await polls.get()
        polls.sid = opened.partition('"sid":"')[2].partition('"')[0]
        assert await polls.post(connect_packet) == 200
        yield polls


def _address(url: str, transport: str = "polling") -> str:
    scheme = "ws" if transport == "websocket" else "http"
    return f"{url.replace('http', scheme, 1)}/socket.io/?EIO=4&transport={transport}"


# ------------------------------------------------------------------- origins


@pytest.fixture(scope="module", name="listed")
def _listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that pages of one origin may connect to."""
    with serving(tmp_path_factory.mktemp("listed"), config=f'[server]\ncors_origins = ["{GOOD}"]\n') as server:
        yield server


@pytest.fixture(scope="module", name="open_to_all")
def _open_to_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that pages of any origin may connect to."""
    with serving(tmp_path_factory.mktemp("open"), config='[server]\ncors_origins = ["*"]\n') as server:
        yield server


async def _poll_from(url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str]]:
    """Return the status of a handshake by polling, and its CORS headers in lower case."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession() as http, http.request(method, _address(url), headers=named) as response:
        cors = {name.lower(): value for name, value in response.headers.items() if name.lower().startswith("access")}
        return response.status, cors


async def _websocket_from(url: str, **headers: str) -> int:
    """Return the status of a handshake by websocket."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        async with connect(_address(url, "websocket"), additional_headers=named) as socket:
            assert str(await socket.recv()).startswith("0{")
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


@pytest.mark.parametrize("origin", [*EVIL, GOOD])
async def test_no_page_may_connect_by_default(server: Server, origin: str) -> None:
    """Without `cors_origins` every `Origin` is refused, over both carriers, and nothing invites the browser."""
    assert await _poll_from(server.url, Origin=origin) == (403, {})
    assert await _websocket_from(server.url, Origin=origin) == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"X_Forwarded_Host": "evil.example", "X_Forwarded_Proto": "https"},
        {"Forwarded": "host=evil.example;proto=https"},
    ],
    ids=lambda headers: next(iter(headers)),
)
async def test_no_header_makes_an_origin_our_own(server: Server, headers: dict[str, str]) -> None:
    """An origin is compared with the configuration, never with what the request says of the server."""
    for scheme in ("http", "https"):
        status, cors = await _poll_from(server.url, Origin=f"{scheme}://evil.example", **headers)
        assert (status, cors.get("access-control-allow-origin")) == (403, None)
        assert await _websocket_from(server.url, Origin=f"{scheme}://evil.example", **headers) == 403


async def test_a_program_without_a_page_may_connect(server: Server, listed: Server) -> None:
    """Only browsers send `Origin`; whoever sends none is let in."""
    for url in (server.url, listed.url):
        status, cors = await _poll_from(url)
        assert (status, cors.get("access-control-allow-origin")) == (200, None)
        assert await _websocket_from(url) == 101


async def test_a_page_of_an_allowed_origin_may_connect(listed: Server) -> None:
    """The origin that is listed passes over both carriers, with its credentials."""
    allowed = {"access-control-allow-origin": GOOD, "access-control-allow-credentials": "true"}
    assert await _poll_from(listed.url, Origin=GOOD) == (200, allowed)
    assert await _websocket_from(listed.url, Origin=GOOD) == 101
    async with connected(listed.url, headers={"Origin": GOOD}) as client:
        assert await client.call("api.system.ping") == {"data": "pong"}
        assert client.sio.transport() == "websocket"


@pytest.mark.parametrize("origin", EVIL)
async def test_a_page_of_another_origin_may_not(listed: Server, origin: str) -> None:
    """An origin has to be the very one that is listed."""
    status, cors = await _poll_from(listed.url, Origin=origin)
    assert (status, cors.get("access-control-allow-origin")) == (403, None)
    assert await _websocket_from(listed.url, Origin=origin) == 403


async def test_a_preflight_is_answered_for_allowed_origins_only(listed: Server) -> None:
    """A browser that asks first is told the methods and headers, if its page may connect."""
    asking = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type"}
    assert await _poll_from(listed.url, "OPTIONS", Origin=GOOD, **asking) == (
        200,
        {
            "access-control-allow-origin": GOOD,
            "access-control-allow-methods": "OPTIONS, GET, POST",
            "access-control-allow-headers": "content-type",
            "access-control-allow-credentials": "true",
        },
    )
    status, cors = await _poll_from(listed.url, "OPTIONS", Origin=EVIL[0], **asking)
    assert (status, cors.get("access-control-allow-origin")) == (403, None)


@pytest.mark.parametrize("origin", [GOOD, "https://evil.example", "null"])
async def test_any_origin_means_no_credentials(open_to_all: Server, origin: str) -> None:
    """With `*` every page may connect, but no browser sends or shows it the user's cookies."""
    assert await _poll_from(open_to_all.url, Origin=origin) == (200, {"access-control-allow-origin": origin})
    status, cors = await _poll_from(open_to_all.url, "OPTIONS", Origin=origin)
    assert (status, cors.get("access-control-allow-credentials")) == (200, None)
    assert await _websocket_from(open_to_all.url, Origin=origin) == 101


async def test_a_page_cannot_speak_in_the_session_of_another(listed: Server) -> None:
    """A request with a foreign `Origin` is refused for a session that is open too."""
    async with _polling(listed.url) as polls:
        assert (await polls.get())[0].startswith("40{")
        packet = '420["api.system.ping"]'
        async with polls.http.post(
            f"{_address(listed.url)}&sid={polls.sid}", data=packet, headers={"Origin": EVIL[0]}
        ) as response:
            assert response.status == 403
        assert await polls.post('421["api.system.ping"]') == 200
        assert await polls.get() == ['431[{"data":"pong"}]']


async def test_nothing_else_is_served(server: Server) -> None:
    """Beside the Socket.IO path there is nothing."""
    async with aiohttp.ClientSession() as http:
        for path in ("/", "/socket.iox/", "/socket", "/admin", "/socket.io/../"):
            async with http.get(server.url + path) as response:
                assert response.status == 404


# ------------------------------------------------------------------- namespaces


@pytest.mark.parametrize("namespace", ["/admin", "/api", "/*", "/socket.io"])
async def test_there_is_one_namespace(server: Server, namespace: str) -> None:
    """Any other is refused in the words of the reference server, and `/` stays open."""
    async with wire(server.url, join=False) as socket:
        await socket.send(f"40{namespace},")
        refusal = f'44{namespace},{{"message":"Invalid namespace"}}'
        assert await socket.receive() == refusal
        assert str(await socket.join()).startswith('40{"sid":')
        await socket.send(f"40{namespace}?a=b,")
        assert await socket.receive() == refusal
        assert await socket.ask('427["api.system.ping"]') == {"data": "pong"}


async def test_a_client_may_be_refused_one_namespace_and_stay_in_another(server: Server) -> None:
    """python-socketio's client hears of the namespace that there is not, and goes on in the one that there is."""
    sio = socketio.AsyncClient(reconnection=False)
    refused: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def keep(data: Any) -> None:
        refused.set_result(data)

    sio.on("connect_error", keep, namespace="/admin")
    await sio.connect(server.url, namespaces=["/", "/admin"], wait=False)
    async with asyncio.timeout(LIMIT):
        assert await refused == {"message": "Invalid namespace"}
        await until(lambda: "/" in sio.namespaces)
        assert await sio.call("api.system.ping", ()) == {"data": "pong"}
    await sio.disconnect()


@pytest.mark.parametrize("name", sorted(RESERVED))
async def test_a_name_that_socketio_reserves_closes_the_connection(server: Server, name: str) -> None:
    """No stock client emits one."""
    async with wire(server.url) as socket:
        await socket.send(f'421["{name}",1]')
        assert await socket.closed() == 1008


# ------------------------------------------------------------------- the handshake


AUTH = {"token": "t", "deep": [{"ü": None}]}


@pytest.mark.parametrize(("transports", "began"), [((), "polling"), (("websocket",), "websocket")])
async def test_the_hook_is_given_what_the_client_showed(
    inside_gate: Gate, transports: tuple[str, ...], began: str
) -> None:
    """`auth` and the headers reach `jackfield_authenticate`, and the carrier that the connection began with."""
    headers = {"Authorization": "Bearer b", "X-Tenant": "one"}
    async with connected(inside_gate.inside.url, *transports, auth=AUTH, headers=headers):
        (handshake,) = inside_gate.seen
    assert handshake.auth == AUTH
    assert (handshake.headers["authorization"], handshake.headers["x-tenant"]) == ("Bearer b", "one")
    assert (handshake.address, handshake.local) == ("127.0.0.1", True)
    assert (handshake.transport, handshake.secure) == (began, False)


async def test_the_hook_is_given_what_a_client_that_polls_showed(inside_gate: Gate) -> None:
    """The headers are those of the request that opened the session, the `auth` object that of CONNECT."""
    headers = {"Authorization": "Bearer b"}
    async with _polling(inside_gate.inside.url, f"40{json.dumps(AUTH)}", headers) as polls:
        assert (await polls.get())[0].startswith("40{")
    (handshake,) = inside_gate.seen
    assert handshake.auth == AUTH
    assert handshake.headers["authorization"] == "Bearer b"
    assert (handshake.transport, handshake.secure) == ("polling", False)


async def test_no_auth_is_an_empty_one(inside_gate: Gate) -> None:
    """A client that sends no `auth` object shows an empty one."""
    inside_gate.opened.set()
    async with wire(inside_gate.inside.url) as socket:
        await socket.send("41")
        assert inside_gate.seen[-1].auth == {}
    async with wire(inside_gate.inside.url, join=False) as socket:
        assert str(await socket.join("{}")).startswith("40{")
        assert inside_gate.seen[-1].auth == {}


@dataclass
class Gate:
    """A server whose authentication waits until it is opened, for those with the token `slow`."""

    inside: Inside
    seen: list[Handshake]
    asked: asyncio.Event
    opened: asyncio.Event


@pytest.fixture(name="inside_gate")
async def _inside_gate() -> AsyncIterator[Gate]:
    seen: list[Handshake] = []
    asked, opened = asyncio.Event(), asyncio.Event()

    async def jackfield_authenticate(handshake: Handshake) -> Principal:
        seen.append(handshake)
        token = handshake.auth.get("token")
        if token in ("slow", "slow and wrong"):
            asked.set()
            await opened.wait()
        if token == "slow and wrong":
            raise CallError("unauthenticated", "No.")
        return Principal("somebody")

    async with listening(make_dispatcher(jackfield_authenticate=_hook(jackfield_authenticate))) as inside:
        yield Gate(inside, seen, asked, opened)


async def test_a_client_is_told_nothing_while_it_is_authenticated(inside_gate: Gate) -> None:
    """What goes to everybody goes to those who are in; the one at the gate gets the answer, and nothing before it."""
    url, border = inside_gate.inside.url, inside_gate.inside.border
    async with connected(url) as member, wire(url, join=False) as late:
        await late.send('40{"token":"slow"}')
        await inside_gate.asked.wait()
        await border.emit("news", "before")
        assert await member.next("news") == "before"
        inside_gate.opened.set()
        assert str(await late.receive()).startswith('40{"sid":')
        await border.emit("news", "after")
        assert await late.receive() == '42["news","after"]'
        assert await member.next("news") == "after"


async def test_a_client_that_polls_is_told_nothing_while_it_is_authenticated(inside_gate: Gate) -> None:
    """The same for a client that polls."""
    url, border = inside_gate.inside.url, inside_gate.inside.border
    async with connected(url) as member, _polling(url, '40{"token":"slow"}') as late:
        await inside_gate.asked.wait()
        poll = asyncio.create_task(late.get())
        await border.emit("news", "before")
        assert await member.next("news") == "before"
        inside_gate.opened.set()
        (answer,) = await poll
        assert answer.startswith('40{"sid":')
        await border.emit("news", "after")
        assert await late.get() == ['42["news","after"]']


async def test_a_client_that_is_refused_is_told_nothing_else(inside_gate: Gate) -> None:
    """It may try again on the same connection, and never hears of what went on meanwhile."""
    url, border = inside_gate.inside.url, inside_gate.inside.border
    async with connected(url) as member, wire(url, join=False) as late:
        await late.send('40{"token":"slow and wrong"}')
        await inside_gate.asked.wait()
        await border.emit("news", "before")
        inside_gate.opened.set()
        assert await late.receive() == '44{"message":"No.","data":{"code":"unauthenticated"}}'
        await border.emit("news", "after")
        assert [await member.next("news"), await member.next("news")] == ["before", "after"]
        assert str(await late.join('{"token":"right"}')).startswith('40{"sid":')


@pytest.mark.parametrize(
    "packet", ['420["api.system.ping"]', '451-0["event",{"_placeholder":true,"num":0}]', "40", "41"]
)
async def test_a_client_says_nothing_while_it_is_authenticated(inside_gate: Gate, packet: str) -> None:
    """What it sends before the answer ends the connection, and is kept nowhere."""
    async with wire(inside_gate.inside.url, join=False) as early:
        await early.send('40{"token":"slow"}')
        await inside_gate.asked.wait()
        await early.send(packet, *([b"x"] if packet.startswith("45") else []))
        assert await early.closed() == 1008
    assert inside_gate.inside.border.eio.sockets == {}


def _hook(function: Any) -> Any:
    from jackfield import hookimpl

    return hookimpl(function)


# ------------------------------------------------------------------- polls


async def test_a_client_that_leaves_gets_its_poll_answered() -> None:
    """The poll that is waiting ends when the client closes, rather than when it would have been given up."""
    async with listening(make_dispatcher()) as inside, _polling(inside.url) as polls:
        assert (await polls.get())[0].startswith("40{")
        poll = asyncio.create_task(polls.get())
        await until(lambda: inside.border.eio.sockets[polls.sid]._poll)
        assert await polls.post("41", "1") == 200
        assert await poll == ["6"]


async def test_a_poll_brings_no_more_than_stock_clients_read(server: Server) -> None:
    """Many packets come in several polls, all of them, in order."""
    async with _polling(server.url) as polls:
        assert (await polls.get())[0].startswith("40{")
        assert await polls.post(*(f'42{number}["api.system.ping"]' for number in range(40))) == 200
        came: list[str] = []
        while len(came) < 40:
            packets = await polls.get()
            assert len(packets) <= 16
            came += packets
        assert came == [f'43{number}[{{"data":"pong"}}]' for number in range(40)]


async def test_a_stock_client_that_polls_reads_many_answers(server: Server) -> None:
    """python-socketio's client ends a connection whose poll brings too much; ours does not."""
    async with connected(server.url, "polling") as client:
        calls = [client.call("api.services.test.echo", number) for number in range(60)]
        assert await asyncio.gather(*calls) == [{"data": number} for number in range(60)]
