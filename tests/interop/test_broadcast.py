"""Broadcasts and rooms: who gets what, in which order, how often; in one server, and in two behind a client manager."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import socketio
from socketio.async_pubsub_manager import AsyncPubSubManager

from jackfield import Call, CallError, Service
from jackfield import _json as kernel_json
from jackfield._dispatch import Dispatcher
from jackfield._errors import StartError
from jackfield._settings import Limits, ServerSettings
from jackfield._transport.border import Border
from jackfield._transport.rooms import LocalDelivery
from jackfield._transport.server import HttpServer
from tests.hardening.rounds import CARRIERS, config
from tests.support.client import Client, connected
from tests.support.dispatching import make_dispatcher
from tests.support.plugins import write_plugin
from tests.support.server import START_LIMIT, Server, launch, serving
from tests.support.waiting import until
from tests.support.wire import Wire, wire

NEWS = """
    import datetime, math
    from pydantic import BaseModel
    from jackfield import Call, CallError, EncodeError, Service, hookimpl

    service = Service("api.news")

    class Story(BaseModel):
        title: str
        when: datetime.date

    UNUSUAL = {
        "model": Story(title="Moon", when=datetime.date(1969, 7, 20)),
        "nan": math.nan,
        "object": object(),
        "integer": 2**53,
    }

    @service.function(requires=())
    async def tell(call: Call, data: list) -> str:
        event, value, room = data
        await call.kernel.emit(event, value, room=room)
        return "told"

    @service.function(requires=())
    async def unusual(call: Call, data: str) -> str:
        try:
            await call.kernel.emit("news", UNUSUAL[data])
        except EncodeError:
            return "refused"
        return "told"

    @service.function(requires=())
    async def count(call: Call, data: int) -> int:
        for number in range(data):
            await call.kernel.emit("news", number)
        return data

    @service.function(requires=())
    async def mixed(call: Call, data: int) -> None:
        await call.emit("news", [data, "own"])
        await call.kernel.emit("news", [data, "all"])

    @service.function(requires=())
    async def join(call: Call, data: str) -> None:
        await call.client.join(data)

    @service.function(requires=())
    async def leave(call: Call, data: str) -> None:
        await call.client.leave(data)

    @service.function(requires=())
    async def join_number(call: Call) -> str:
        try:
            await call.client.join(5)
        except TypeError as error:
            return str(error)

    @service.function(requires=())
    async def tell_number(call: Call) -> str:
        try:
            await call.kernel.emit("news", room=5)
        except TypeError as error:
            return str(error)

    @hookimpl
    async def jackfield_authenticate(handshake):
        if handshake.auth.get("token") == "wrong":
            raise CallError("permission_denied", "no")
        from jackfield import Principal
        return Principal("somebody")

    @hookimpl
    async def jackfield_connect(client):
        for room in (client.id, "watchers"):
            await SERVER[0].emit("came", client.id, room=room)

    @hookimpl
    async def jackfield_disconnect(client, reason):
        await client.join("ghosts")
        await SERVER[0].emit("went", client.id, room="watchers")

    SERVER = []

    @hookimpl
    async def jackfield_startup(kernel):
        SERVER.append(kernel)
        await kernel.emit("news", "nobody is there")

    @hookimpl
    def jackfield_services():
        return [service]
"""


@pytest.fixture(scope="module", params=CARRIERS, name="news")
def _news(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("news")
    plugins = write_plugin(folder / "plugins", "news", NEWS, namespaces=["api.news"])
    with serving(folder, config=config(request.param), path=[plugins]) as server:
        yield server


@asynccontextmanager
async def _clients(url: str) -> AsyncIterator[tuple[Client, ...]]:
    """Connect one client on each way: a websocket, polling, and the upgrade from one to the other."""
    async with (
        connected(url, "websocket") as websocket,
        connected(url, "polling") as polling,
        connected(url) as upgraded,
    ):
        yield websocket, polling, upgraded


# ------------------------------------------------------------------- one server


@pytest.mark.parametrize(
    "value",
    ["hello", None, 0, [1, [2]], {"a": {"b": None}}, b"\x00\xff", {"a": [b"one", b"", b"three"]}],
    ids=repr,
)
async def test_everybody_gets_it_once(news: Server, value: Any) -> None:
    """Whatever carries a client, who told it included; Buffers come in their places."""
    async with _clients(news.url) as clients:
        for _ in range(2):
            assert await clients[1].call("api.news.tell", ["news", value, None]) == {"data": "told"}
            assert await clients[0].call("api.news.tell", ["end", 1, None]) == {"data": "told"}
            for client in clients:
                assert await client.next("end") == 1
                assert await client.next("news") == value
                assert client.received["news"].empty()


async def test_models_and_dates(news: Server) -> None:
    """They are sent as a result of theirs would be."""
    async with _clients(news.url) as clients:
        assert await clients[0].call("api.news.unusual", "model") == {"data": "told"}
        for client in clients:
            assert await client.next("news") == {"title": "Moon", "when": "1969-07-20"}


@pytest.mark.parametrize("value", ["nan", "object", "integer"])
async def test_what_cannot_be_sent_is_an_error_of_the_caller(news: Server, value: str) -> None:
    """Nobody hears anything of it."""
    async with wire(news.url) as client:
        assert await client.ask(f'427["api.news.unusual","{value}"]') == {"data": "refused"}
        await client.send('428["api.news.tell",["end",1,null]]')
        heard = [str(await client.receive()) for _ in range(2)]
        assert not [message for message in heard if message.startswith('42["news"')]


async def test_rooms(news: Server) -> None:
    """Who is in a room gets what is sent to it; who has left it does not, and a room of nobody is no fault."""
    async with _clients(news.url) as clients:
        teller, *members = clients
        for client in members:
            await client.call("api.news.join", "den")
            await client.call("api.news.join", "den")
        await teller.call("api.news.tell", ["news", b"first", "den"])
        await members[0].call("api.news.leave", "den")
        await members[0].call("api.news.leave", "never there")
        await teller.call("api.news.tell", ["news", "second", "den"])
        await teller.call("api.news.tell", ["news", "nobody", "empty"])
        await teller.call("api.news.tell", ["news", "nobody", ""])
        await teller.call("api.news.tell", ["news", "end", None])
        assert [await teller.next("news")] == ["end"]
        assert [await members[0].next("news") for _ in range(2)] == [b"first", "end"]
        assert [await members[1].next("news") for _ in range(3)] == [b"first", "second", "end"]


async def test_a_client_has_a_room_for_itself(news: Server) -> None:
    """Its id is the name; nobody else may join it, and it cannot leave it."""
    async with wire(news.url, join=False) as one, connected(news.url, "websocket") as other:
        sid = json.loads(str(await one.join())[2:])["sid"]
        error = {"code": "permission_denied", "message": "A room that is named as a client is takes nobody else."}
        assert await other.call("api.news.join", sid) == {"error": error}
        assert await one.ask(f'427["api.news.join","{sid}"]') == {"data": None}
        assert await one.ask(f'427["api.news.leave","{sid}"]') == {"data": None}
        await other.call("api.news.tell", ["news", "for one", sid])
        while (message := await one.receive()) != '42["news","for one"]':
            assert str(message).startswith('42["came"')
        assert other.received["news"].empty()


@pytest.mark.parametrize("function", ["join_number", "tell_number"])
async def test_the_name_of_a_room_is_a_string(news: Server, function: str) -> None:
    """Anything else is the author's mistake."""
    async with connected(news.url, "websocket") as client:
        assert await client.call(f"api.news.{function}") == {"data": "a room's name is a string, not 5"}


async def test_who_is_not_in_hears_nothing(news: Server) -> None:
    """Neither before CONNECT, nor after a refusal, nor after DISCONNECT; back again, it is in no room."""
    async with wire(news.url, join=False) as early, wire(news.url, join=False) as refused, wire(news.url) as left:
        assert str(await refused.join('{"token":"wrong"}')).startswith("44")
        await left.ask('427["api.news.join","den"]')
        async with connected(news.url, "websocket") as teller:
            await teller.call("api.news.join", "watchers")
            await left.send("41")
            await teller.next("went")
            for room in (None, "den", "ghosts"):
                await teller.call("api.news.tell", ["news", "secret", room])
            for client in (early, refused, left):
                assert str(await client.join()).startswith("40{")
            await teller.call("api.news.tell", ["news", "hidden", "den"])
            await teller.call("api.news.tell", ["news", "hidden", "ghosts"])
            await teller.call("api.news.tell", ["news", "open", None])
            for client in (early, refused, left):
                while (message := str(await client.receive())).startswith(('42["came"', '42["went"')):
                    pass
                assert message == '42["news","open"]'


async def test_plugins_broadcast_who_comes_and_goes(news: Server) -> None:
    """In the hooks of a client's coming and going; who has come hears of it, who has gone does not."""
    async with connected(news.url, "websocket") as watcher:
        assert await watcher.next("came") == watcher.sio.get_sid()
        await watcher.call("api.news.join", "watchers")
        async with wire(news.url, join=False) as client:
            sid = json.loads(str(await client.join())[2:])["sid"]
            assert await client.receive() == f'42["came","{sid}"]'
        assert await watcher.next("came") == sid
        assert await watcher.next("went") == sid


async def test_the_order_is_kept(news: Server) -> None:
    """Among broadcasts, and with what is emitted to one client and replied to it."""
    async with wire(news.url) as caller, wire(news.url) as other:
        for number in range(50):
            await caller.send(f'42{number}["api.news.mixed",{number}]')
        expected = [
            message
            for number in range(50)
            for message in (
                f'42["news",[{number},"own"]]',
                f'42["news",[{number},"all"]]',
                f'43{number}[{{"data":null}}]',
            )
        ]
        for client, share in ((caller, expected), (other, expected[1::3])):
            heard: list[str] = []
            while len(heard) < len(share):
                message = str(await client.receive())
                if not message.startswith(('42["came"', '42["went"')):
                    heard.append(message)
            assert heard == share


@pytest.mark.parametrize(
    ("clients", "count"), [(200, 20), pytest.param(1_000, 20, marks=[pytest.mark.full, pytest.mark.timeout(300)])]
)
async def test_very_many_get_each_once_and_in_order(news: Server, clients: int, count: int) -> None:
    """Also where some hang up in the middle of it."""
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(wire(news.url)) for _ in range(clients)]
        gone, stay = wires[::10], [one for number, one in enumerate(wires) if number % 10]
        await stay[0].send(f'427["api.news.count",{count}]')
        for one in gone:
            one.socket.transport.abort()

        async def hear(one: Wire) -> list[str]:
            heard: list[str] = []
            while len(heard) < count:
                message = str(await one.receive())
                if message.startswith('42["news"'):
                    heard.append(message)
            return heard

        expected = [f'42["news",{number}]' for number in range(count)]
        assert all(heard == expected for heard in await asyncio.gather(*map(hear, stay)))
        await stay[0].ask('427["api.news.tell",["end",1,null]]')
        for one in stay[1:]:
            while (message := str(await one.receive())) != '42["end",1]':
                assert not message.startswith('42["news"')


# ------------------------------------------------------------------- behind the border


@asynccontextmanager
async def _listening(
    dispatcher: Dispatcher, manager: object = None, websocket: Literal["picows", "asgi"] = "picows"
) -> AsyncIterator[SimpleNamespace]:
    """A server in this process, behind a client manager; when the block ends, so do all its tasks."""
    settings, limits = ServerSettings(port=0, websocket=websocket), Limits()
    border = Border(settings, limits)
    if manager is not None:
        border.use("test", manager)
    border.serve(dispatcher)
    server = HttpServer(settings, limits, border.eio)
    await server.start()
    try:
        yield SimpleNamespace(url=server.url, border=border)
    finally:
        await border.eio.close_polls()
        await server.stop()
        await dispatcher.close(1.0)
        await border.shutdown()
        assert not border._tasks


async def _tell(border: Border, value: object, *, room: str | None = None, volatile: bool = False) -> None:
    await border.broadcast("news", kernel_json.dumps(value), room, volatile=volatile)


def _service() -> Service:
    service = Service("api.here")

    @service.function
    async def join(call: Call, data: str) -> None:
        assert call.client is not None
        await call.client.join(data)

    @service.function
    async def ask(call: Call, data: str) -> object:
        assert call.client is not None
        return await call.client.request("question", data)

    return service


async def test_it_is_encoded_once_and_the_same_bytes_go_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """One set of frames, which no client has a copy of."""
    fast = pytest.importorskip("jackfield._transport.fast")
    written: list[bytes] = []
    put = fast.FastWire._put

    def keep(self: Any, frame: bytes) -> None:
        written.append(frame)
        put(self, frame)

    monkeypatch.setattr(fast.FastWire, "_put", keep)
    async with _listening(make_dispatcher()) as inside, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(wire(inside.url)) for _ in range(5)]
        written.clear()
        await _tell(inside.border, ["x" * 1000, b"buffer"])
        assert len(written) == 5
        assert len(set(map(id, written))) == 1
        for client in clients:
            assert str(await client.receive()).startswith('451-["news",["xxx')
            assert await client.receive() == b"buffer"


async def test_behind_a_manager_too_it_is_encoded_once_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many clients each has."""
    encoded: list[object] = []
    dumps = kernel_json.dumps

    async with _pair() as pair, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(wire(one.url)) for one in pair for _ in range(3)]
        payload = dumps("hello")

        def count(value: object) -> kernel_json.Json:
            encoded.append(value)
            return dumps(value)

        monkeypatch.setattr(kernel_json, "dumps", count)
        await pair[0].border.broadcast("news", payload, None, volatile=False)
        for client in clients:
            assert await client.receive() == '42["news","hello"]'
        assert encoded == [["news", "hello"]] * 2


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.full)])
async def test_who_leaves_looks_through_no_room_of_others(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many clients leave at once, each costs as much as the rooms that it is in."""
    border = Border(ServerSettings(), Limits())
    sids = [await border.manager.connect(f"eio{number}", "/") for number in range(count)]
    for number, sid in enumerate(sids):
        await border.manager.enter_room(sid, "/", f"room{number}")
        await border.manager.enter_room(sid, "/", "all")
    left = 0
    leave = socketio.AsyncManager.basic_leave_room

    def count_rooms(self: Any, sid: str, namespace: str, room: object) -> None:
        nonlocal left
        left += 1
        leave(self, sid, namespace, room)

    monkeypatch.setattr(socketio.AsyncManager, "basic_leave_room", count_rooms)
    for sid in sids:
        border.manager.basic_disconnect(sid, "/")
    assert left == 4 * count  # its two rooms, its own, everybody's
    assert border.manager.rooms == {}
    assert border.manager._joined == {}


# ------------------------------------------------------------------- two servers behind a client manager


class Hub:
    """What all managers in this process publish to; each message goes as JSON, as by any broker."""

    def __init__(self) -> None:
        self.queues: list[asyncio.Queue[str]] = []
        self.published: list[dict[str, Any]] = []
        self.broken = False


class Queued(AsyncPubSubManager):  # type: ignore[misc]  # python-socketio is untyped
    """A client manager over queues of this process."""

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self._hub = hub
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        hub.queues.append(self._queue)

    async def _publish(self, data: dict[str, Any]) -> None:
        if self._hub.broken:
            raise ConnectionError("the queue has gone, with its secret address")
        self._hub.published.append(data)
        for queue in self._hub.queues:
            queue.put_nowait(json.dumps(data))

    async def _listen(self) -> AsyncIterator[str]:
        while True:
            yield await self._queue.get()


@asynccontextmanager
async def _pair(hub: Hub | None = None) -> AsyncIterator[tuple[SimpleNamespace, SimpleNamespace]]:
    """Two servers that are one."""
    hub = hub or Hub()
    async with (
        _listening(make_dispatcher(_service()), Queued(hub)) as one,
        _listening(make_dispatcher(_service()), Queued(hub), "asgi") as two,
    ):
        yield one, two


@pytest.mark.parametrize("value", ["hello", None, [], [1, [2]], [b"\x00", {"a": b""}], b"only"], ids=repr)
async def test_clients_of_both_servers_get_it_once(value: Any) -> None:
    """Whatever it is, it arrives as it would have without a manager."""
    async with _pair() as pair, connected(pair[0].url, "websocket") as a, connected(pair[1].url, "websocket") as b:
        for one in pair:
            await _tell(one.border, value)
            await one.border.emit("end", 1)
            for client in (a, b):
                assert await client.next("end") == 1
                assert await client.next("news") == value
                assert client.received["news"].empty()


async def test_rooms_reach_over_both_servers() -> None:
    """A room has clients of both; `close_room`, `enter_room` and `leave_room` work wherever the client is."""
    async with _pair() as (one, two), connected(one.url, "websocket") as a, connected(two.url, "websocket") as b:
        sids = [client.sio.get_sid() for client in (a, b)]
        for client in (a, b):
            await client.call("api.here.join", "den")
        await _tell(one.border, "both", room="den")
        await one.border.leave_room(sids[1], "den")
        await until(lambda: "den" not in two.border.manager.rooms["/"])
        await _tell(one.border, "a", room="den")
        await one.border.enter_room(sids[1], "attic")
        await until(lambda: "attic" in two.border.manager.rooms["/"])
        await _tell(one.border, "b", room="attic")
        assert [await a.next("news") for _ in range(2)] == ["both", "a"]
        assert [await b.next("news") for _ in range(2)] == ["both", "b"]
        await one.border.close_room("den")
        await two.border.close_room("attic")
        for border in (one.border, two.border):
            await _tell(border, "nobody", room="den")
            await _tell(border, "nobody", room="attic")
        await _tell(two.border, "end")
        assert [await a.next("news"), await b.next("news")] == ["end", "end"]


@pytest.mark.parametrize("asked_by", [0, 1])
async def test_requests_of_both_kinds_get_their_own_answers(asked_by: int) -> None:
    """python-socketio's `call` and the kernel's `request` count together, so that no answer goes astray."""
    async with _pair() as pair, connected(pair[0].url, "websocket") as client:

        async def answer(data: str) -> str:
            return f"answer to {data}"

        client.sio.on("question", answer)
        sid = client.sio.get_sid()
        border = pair[asked_by].border
        answers = await asyncio.gather(
            *(border.call("question", f"call {number}", to=sid) for number in range(10)),
            *(client.call("api.here.ask", f"request {number}") for number in range(10)),
        )
        assert answers[:10] == [f"answer to call {number}" for number in range(10)]
        assert answers[10:] == [{"data": f"answer to request {number}"} for number in range(10)]


@pytest.mark.parametrize("asked", [0, 1])
@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_client_is_disconnected_from_either_server(asked: int, transport: str) -> None:
    """It is told so, and its calls and rooms end with it."""
    async with _pair() as pair, connected(pair[0].url, transport) as client:
        gone = asyncio.Event()
        client.sio.on("disconnect", lambda reason: gone.set())
        await client.call("api.here.join", "den")
        await pair[asked].border.disconnect(client.sio.get_sid())
        await asyncio.wait_for(gone.wait(), START_LIMIT)
        await until(lambda: not pair[0].border.manager.rooms)
        await until(lambda: not pair[0].border.eio.sockets)


async def test_a_manager_that_fails_is_the_emitters_fault_alone() -> None:
    """It gets an error that says what to do and not why; those who can be reached are."""
    hub = Hub()
    async with _pair(hub) as (one, two), connected(one.url, "websocket") as client:
        hub.broken = True
        with pytest.raises(CallError) as caught:
            await _tell(one.border, "news")
        message = "The event may not have reached the clients of other servers; try again later."
        assert caught.value.as_dict() == {"code": "unavailable", "message": message}
        assert await client.next("news") == "news"
        hub.broken = False
        await _tell(two.border, "again")
        assert await client.next("news") == "again"


@pytest.mark.parametrize("volatile", [True, False])
async def test_the_other_servers_hear_that_it_is_volatile(volatile: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that there too nobody is closed for not reading it."""
    told: list[tuple[Any, bool]] = []
    deliver = LocalDelivery.deliver

    async def keep(self: Any, *args: Any, volatile: bool) -> None:
        told.append((self, volatile))
        await deliver(self, *args, volatile=volatile)

    monkeypatch.setattr(LocalDelivery, "deliver", keep)
    async with _pair() as (one, two), connected(two.url, "websocket") as client:
        await _tell(one.border, "news", volatile=volatile)
        assert await client.next("news") == "news"
        await one.border.emit("end")
        assert await client.next("end") is None
        first, second = one.border.manager, two.border.manager
        assert told == [(first, volatile), (second, volatile), (first, False), (second, False)]


async def test_a_manager_listens_from_the_start_and_no_longer_than_the_server() -> None:
    """Also where no client has come; when the server has ended, nothing of it is left."""
    before = asyncio.all_tasks()
    hub = Hub()
    async with _pair(hub) as (one, _):
        await _tell(one.border, "news")
        await until(lambda: all(queue.empty() for queue in hub.queues))
    await until(lambda: asyncio.all_tasks() <= before)


# ------------------------------------------------------------------- the hook

SHARED = """
    import asyncio, json, socketio
    from jackfield import Call, Service, hookimpl
    from socketio.async_pubsub_manager import AsyncPubSubManager

    class Manager(AsyncPubSubManager):
        async def _publish(self, data):
            raise OSError("secret")

        async def _listen(self):
            try:
                await asyncio.Event().wait()
                yield
            finally:
                print("listening has ended", flush=True)

    order = []
    service = Service("api.shared")

    @service.function
    async def tell(call: Call) -> list[str]:
        await call.kernel.emit("news", 1)
        return order

    @hookimpl
    async def jackfield_startup():
        order.append("startup")

    @hookimpl
    async def jackfield_shutdown():
        print("stopped", flush=True)

    @hookimpl
    def jackfield_client_manager():
        order.append("manager")
        return {made}

    @hookimpl
    def jackfield_services():
        return [service]
"""


def _shared(folder: Path, made: str, name: str = "shared") -> Path:
    source = SHARED.replace("{made}", made).replace("api.shared", f"api.{name}")
    return write_plugin(folder / "plugins", name, source, namespaces=[f"api.{name}"])


async def test_a_plugin_brings_the_manager(tmp_path: Path) -> None:
    """It ends before its plugin does; that it fails shows no client a traceback."""
    with serving(tmp_path, path=[_shared(tmp_path, "Manager()")]) as server:
        async with connected(server.url, "websocket") as client:
            message = "The event may not have reached the clients of other servers; try again later."
            error = {"code": "unavailable", "message": message}
            assert await client.call("api.shared.tell") == {"error": error}
            assert await client.next("news") == 1
        assert server.stop() == 0
        assert server.process.stdout is not None
        assert server.process.stdout.read().split(b"\n")[:2] == [b"listening has ended", b"stopped"]
        assert "Traceback" not in server.log
        assert "secret" not in server.log


async def test_a_plugin_that_brings_none(tmp_path: Path) -> None:
    """It is asked once, after it has started."""
    with serving(tmp_path, path=[_shared(tmp_path, "None")]) as server:
        async with connected(server.url, "websocket") as client:
            assert await client.call("api.shared.tell") == {"data": ["startup", "manager"]}


def test_what_is_no_manager_ends_the_start(tmp_path: Path) -> None:
    """As do two, with exit status 3; what had started is stopped."""
    _shared(tmp_path / "one", "'redis://'")
    _shared(tmp_path / "two", "Manager()", "first")
    _shared(tmp_path / "two", "Manager()", "second")
    faults = {
        "one": "jackfield_client_manager of plugin shared must return an instance of a subclass of "
        "socketio.AsyncManager, such as socketio.AsyncRedisManager, not 'redis://'",
        "two": "several plugins return a client manager, and a server can have one: first and second; "
        "put all but one of them into plugins.disabled",
    }
    for name, fault in faults.items():
        process, log = launch(tmp_path / name, path=[tmp_path / name / "plugins"])
        out, _ = process.communicate(timeout=START_LIMIT)
        assert (process.returncode, set(out.split())) == (3, {b"stopped"}), log.read_text()
        assert [line for line in log.read_text().splitlines() if line.startswith("✗")] == [f"✗ {fault}"]


def test_the_border_takes_no_other_manager() -> None:
    """One of python-socketio's that is not for asyncio is none."""
    with pytest.raises(StartError, match="of plugin theirs must return an instance of a subclass of"):
        Border(ServerSettings(), Limits()).use("theirs", socketio.Manager())
