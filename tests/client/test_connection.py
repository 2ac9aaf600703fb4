"""How a client gets in, what it says where it does not, and how it comes back."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from jackfield import CallError, Code
from jackfield.client import ConnectError, ConnectionLost, connect
from tests.client.deaf import deaf_server, hasty_server
from tests.client.probes import PROBE, happened, told
from tests.interop.places import make_certificate
from tests.support.plugins import write_plugin
from tests.support.proxy import proxied
from tests.support.server import Server, serving
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Come back at once."""
    monkeypatch.setattr("jackfield.client._caller._FIRST_DELAY", 0.02)


def free_port() -> int:
    """Return a port that nothing listens on just now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# ------------------------------------------------------------------- getting in


async def test_nobody_there_is_an_error() -> None:
    """It says how to start a server."""
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ConnectError) as caught:
        async with connect(url):
            pass
    assert caught.value.code is Code.UNAVAILABLE
    assert caught.value.message == f"no server answers at {url}: start one with jackfield serve"


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_refusal_has_the_code_of_the_server(probed: Server, transport: str) -> None:
    """As it was told in connect_error."""
    with pytest.raises(CallError) as caught:
        async with connect(probed.url, token="wrong", transports=[transport]):
            pass
    assert caught.value.code is Code.UNAUTHENTICATED
    assert caught.value.message == "Nobody here knows who you are: check the token."


async def test_what_is_no_server_is_an_error(probed: Server) -> None:
    """A server that answers something else was meant otherwise."""
    with pytest.raises(ConnectError) as caught:
        async with connect(probed.url, path="/elsewhere"):
            pass
    assert caught.value.message == (
        f"what answers at {probed.url}/elsewhere is no jackfield server (Unexpected status code 404 in server response)"
    )


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_server_that_takes_no_clients_now_is_one(tmp_path: Path, transport: str) -> None:
    """As a proxy says that has no server to ask: nothing is wrong with the address."""
    with serving(tmp_path, config="[limits]\nconnections = 1") as server:
        async with connect(server.url):
            with pytest.raises(
                ConnectError, match=r"^unavailable: no server takes clients at http\S+/socket\.io now \(.*503"
            ):
                async with connect(server.url, transports=[transport]):
                    pass


async def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    """It has the time that the caller gives it."""
    writers: list[asyncio.StreamWriter] = []
    listening = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    async with listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        with pytest.raises(ConnectError, match=r"is no jackfield server \(it said nothing for 0\.1 s\)"):
            async with connect(url, timeout=0.1):
                pass
        for writer in writers:
            writer.close()


async def test_the_polling_transport_is_tried_where_websockets_do_not_work(tmp_path: Path) -> None:
    """One transport that works is enough."""
    with serving(tmp_path, config='[server]\ntransports = ["polling"]') as server:
        async with connect(server.url) as client:
            assert await client.call("api.system.ping") == "pong"


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("127.0.0.1:8000", {}, r"'127\.0\.0\.1:8000' is no address of a server, such as http://127\.0\.0\.1:8000"),
        ("http://127.0.0.1:8000/socket.io", {}, "a path goes in path="),
        (
            "http://127.0.0.1:8000",
            {"transports": ["carrier pigeon"]},
            r"transports are some of \('websocket', 'polling'\)",
        ),
        ("http://127.0.0.1:8000", {"transports": []}, "transports are some of"),
    ],
)
async def test_an_address_that_is_none_is_refused(url: str, options: dict[str, list[str]], message: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match=message):
        async with connect(url, **options):  # type: ignore[arg-type]
            pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transports": "websocket"}, r"transports are a list, such as \['websocket'\], not 'websocket'"),
        ({"timeout": "1"}, "timeout is a number of seconds, not '1'"),
        ({"timeout": None}, "timeout is a number of seconds, not None"),
    ],
)
async def test_an_argument_of_another_type_is_refused(options: dict[str, Any], message: str) -> None:
    """The error says what is wanted."""
    with pytest.raises(TypeError, match=message):
        async with connect("http://127.0.0.1:8000", **options):
            pass


async def test_headers_are_shown_with_every_request(tmp_path: Path) -> None:
    """Plugins and proxies see them."""
    source = """
        from jackfield import Handshake, Principal, hookimpl

        @hookimpl
        async def jackfield_authenticate(handshake: Handshake) -> Principal | None:
            return Principal("me") if handshake.headers.get("x-pass") == "word" else None
    """
    folder = write_plugin(tmp_path, "door", source)
    with serving(folder / "server", path=[folder]) as server:
        for transport in ("websocket", "polling"):
            async with connect(server.url, headers={"X-Pass": "word"}, transports=[transport]) as client:
                assert await client.call("api.system.ping") == "pong"
        with pytest.raises(CallError, match="unauthenticated"):
            async with connect(server.url):
                pass


async def test_a_certificate_is_checked(tmp_path: Path) -> None:
    """By those that the machine trusts, or by those that the caller does."""
    certificate, key = make_certificate(tmp_path)
    config = f'[server]\ntls_certificate = "{certificate}"\ntls_key = "{key}"'
    with serving(tmp_path / "server", config=config) as server:
        with pytest.raises(ConnectError) as caught:
            async with connect(server.url):
                pass
        assert caught.value.message == (
            f"{server.url} shows a certificate that is not trusted (self-signed certificate): "
            "name the file of one that vouches for it in the variable SSL_CERT_FILE"
        )
        context = ssl.create_default_context(cafile=certificate)
        for transport in ("websocket", "polling"):
            async with connect(server.url, ssl=context, transports=[transport]) as client:
                assert await client.call("api.system.ping") == "pong"


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["websocket", "polling"]], ids=" ".join)
async def test_a_server_without_tls_is_no_failure_of_its_protocol(probed: Server, transports: list[str]) -> None:
    """The error says that it is TLS that failed, and what the address may have to be."""
    url = probed.url.replace("http:", "https:")
    with pytest.raises(ConnectError) as caught:
        async with connect(url, transports=transports):
            pass
    assert caught.value.message.startswith(f"TLS with {url} failed (")
    assert "[SSL" in caught.value.message
    assert caught.value.message.endswith("): if the server there has no TLS, its address begins with http://")


def test_importing_the_client_loads_no_carrier() -> None:
    """What it needs to connect is loaded when it connects."""
    script = "import sys, jackfield.client; print([m for m in ('socketio', 'aiohttp') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


async def test_without_aiohttp_the_error_says_what_to_install(probed: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found out when it is needed."""
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(ConnectError) as caught:
        async with connect(probed.url):
            pass
    assert caught.value.code is Code.FAILED_PRECONDITION
    assert caught.value.message == 'speaking with a server needs aiohttp: pip install "jackfield[standard]"'


# ------------------------------------------------------------------- coming back


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_connection_that_is_cut_comes_back(probed: Server, transport: str) -> None:
    """What was in flight ends at once; a call that is made meanwhile waits."""
    async with proxied(probed.url) as (url, proxy), connect(url, transports=[transport]) as client:
        begun = await told(client, "begun")
        task = asyncio.create_task(client.call("api.probe.wait"))
        await happened(client, "begun", begun + 1)
        proxy.open = False
        proxy.cut()
        with pytest.raises(ConnectionLost, match="The connection was lost before the call was answered"):
            await task
        proxy.open = True
        assert await client.call("api.system.ping") == "pong"
        assert client.connected


async def test_a_call_waits_for_the_connection_within_its_time(probed: Server) -> None:
    """Nothing of it was run, and the error says so."""
    async with proxied(probed.url) as (url, proxy), connect(url) as client:
        proxy.open = False
        proxy.cut()
        await until(lambda: not client.connected)
        with pytest.raises(ConnectionLost) as caught:
            await client.call("api.system.ping", timeout=0.1)
        assert caught.value.message == f"The connection to {url} is lost, and did not come back within 0.1 s."
        proxy.open = True
        assert await client.call("api.system.ping") == "pong"


async def test_without_reconnecting_a_lost_connection_stays_lost(probed: Server) -> None:
    """Later calls end at once."""
    async with proxied(probed.url) as (url, proxy), connect(url, reconnect=False) as client:
        proxy.cut()
        await until(lambda: not client.connected)
        with pytest.raises(ConnectionLost, match=f"^unavailable: The connection to {url} is lost.$"):
            await client.call("api.system.ping")
        assert proxy.accepted == 2  # the knock, and the connection


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_server_that_is_started_anew_is_found_again(tmp_path: Path, transport: str) -> None:
    """On the same port; the farewell of the old one is no error."""
    port = str(free_port())
    with serving(tmp_path / "first", "--port", port) as server:
        async with connect(server.url, transports=[transport]) as client:
            assert await client.call("api.system.ping") == "pong"
            task = asyncio.create_task(client.call("api.services.test.sleep", {"seconds": 0.3}))
            await client.call("api.system.ping")
            assert await asyncio.to_thread(server.stop) == 0
            assert await task == {"seconds": 0.3}
            with serving(tmp_path / "second", "--port", port):
                async with asyncio.timeout(20):
                    assert await client.call("api.system.ping") == "pong"


async def test_a_token_that_is_not_known_any_more_is_not_shown_again(tmp_path: Path) -> None:
    """Calls end with the refusal."""
    folder = write_plugin(tmp_path, "probe", PROBE, namespaces=["api.probe"])
    with serving(folder / "server", path=[folder]) as server:
        async with proxied(server.url) as (url, proxy), connect(url, token="right") as client:
            (folder / "server" / "locked").touch()
            proxy.cut()
            await until(lambda: not client.connected)
            for _ in range(2):
                with pytest.raises(CallError) as caught:
                    await client.call("api.system.ping")
                assert caught.value.code is Code.UNAUTHENTICATED


async def test_a_server_that_cannot_let_anybody_in_just_now_is_asked_again(tmp_path: Path) -> None:
    """A refusal that may pass is no reason to stay away."""
    source = """
        import os
        from jackfield import CallError, Handshake, Principal, hookimpl

        @hookimpl
        async def jackfield_authenticate(handshake: Handshake) -> Principal | None:
            if os.path.exists("busy"):
                os.rename("busy", "asked")
                raise CallError("unavailable", "Come back.", retry_after=10)
            return Principal("me")
    """
    folder = write_plugin(tmp_path, "busy", source)
    with serving(folder / "server", path=[folder]) as server:
        async with proxied(server.url) as (url, proxy), connect(url, transports=["websocket"]) as client:
            (folder / "server" / "busy").touch()
            proxy.cut()
            await until(lambda: not client.connected)
            assert await client.call("api.system.ping") == "pong"
        assert (folder / "server" / "asked").exists()


async def test_a_reply_that_comes_with_the_farewell_is_a_reply() -> None:
    """In one response to a poll: what came before the end is taken first."""
    async with hasty_server() as url, connect(url, transports=["polling"], reconnect=False) as client:
        assert await client.call("api.any.thing") == "bye"
        await until(lambda: not client.connected)


async def test_a_server_says_when_it_wants_its_clients_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that would come much later comes then."""
    monkeypatch.setattr("jackfield.client._caller._FIRST_DELAY", 1000)
    heard: list[object] = []

    def answer(event: str, argument: object) -> list[tuple[str, object]]:
        return [("server", {"state": "draining", "reconnect_in": 20}), ("ack", {"data": "yes"})]

    async with (
        deaf_server(answer) as server,
        proxied(server) as (url, proxy),
        connect(url, on={"server": heard.append}) as client,
    ):
        assert await client.call("api.any.thing") == "yes"
        assert heard == [{"state": "draining", "reconnect_in": 20}]
        proxy.cut()
        await until(lambda: not client.connected)
        assert await client.call("api.any.thing") == "yes"


async def test_a_server_that_drains_says_so(tmp_path: Path) -> None:
    """What runs ends, new calls are refused at once, and the event `server` tells of it."""
    heard: list[dict[str, Any]] = []
    folder = write_plugin(tmp_path, "probe", PROBE, namespaces=["api.probe"])
    with serving(folder / "server", path=[folder]) as server:
        async with connect(server.url, on={"server": heard.append}) as client:
            opened, ready = asyncio.Event(), asyncio.Event()

            async def word() -> AsyncIterator[str]:
                opened.set()
                await ready.wait()
                yield "last"

            task = asyncio.create_task(client.call("api.probe.first", items=word()))
            await opened.wait()
            server.process.send_signal(signal.SIGTERM)
            await until(lambda: heard)
            assert heard[0]["state"] == "draining"
            assert isinstance(heard[0]["reconnect_in"], int)
            with pytest.raises(CallError) as caught:
                await client.call("api.system.ping")
            assert caught.value.code is Code.UNAVAILABLE
            assert caught.value.retry_after is not None
            ready.set()
            assert await task == "last"


async def test_a_client_may_be_closed_in_another_task(probed: Server) -> None:
    """As by an application that has hooks for its beginning and its end."""
    async with AsyncExitStack() as stack:
        client = await asyncio.create_task(stack.enter_async_context(connect(probed.url)))
        assert await client.call("api.system.ping") == "pong"
        await asyncio.create_task(stack.aclose())
        assert not client.connected


async def test_handlers_that_come_with_the_connection_miss_nothing(tmp_path: Path) -> None:
    """Not even what the server emits as soon as it has let the client in."""
    source = """
        from jackfield import Client, Principal, hookimpl

        @hookimpl
        async def jackfield_connect(client: Client, principal: Principal | None) -> None:
            await client.emit("welcome", "hello")
    """
    folder = write_plugin(tmp_path, "greeter", source)
    heard: list[object] = []
    with serving(folder / "server", path=[folder]) as server:
        for transport in ("websocket", "polling"):
            async with connect(server.url, on={"welcome": heard.append}, transports=[transport]):
                await until(lambda: heard)
            assert heard == ["hello"]
            heard.clear()


async def test_what_an_old_connection_brings_is_nothing_to_a_new_one() -> None:
    """The reply to a call of the first connection, which comes over the second, is none of its calls'."""
    sent = []

    def answer(event: str, argument: dict[str, object]) -> list[tuple[str, object]]:
        sent.append(argument["id"])
        if len(sent) == 1:
            return []
        return [("stream", {"id": sent[0], "error": {"code": "internal", "message": "late"}}), ("ack", {"data": "new"})]

    async with deaf_server(answer) as server, proxied(server) as (url, proxy), connect(url) as client:
        first = asyncio.create_task(client.call("api.any.thing"))
        await until(lambda: sent)
        proxy.cut()
        with pytest.raises(ConnectionLost):
            await first
        assert await client.call("api.any.thing") == "new"
        assert sent == [1, 2]


@pytest.mark.parametrize(
    "reply",
    [None, [], {}, {"id": 1}, {"error": "no"}, "pong", {"stream": "odd"}, {"stream": []}, {"stream": "unary"}],
    ids=json.dumps,
)
async def test_what_is_no_reply_is_an_error(reply: object) -> None:
    """A server that speaks another protocol is not believed."""
    async with deaf_server(lambda *_: [("ack", reply)]) as url, connect(url) as client:
        with pytest.raises(
            CallError, match=r"internal: What the server answered is no reply of jackfield's protocol\."
        ):
            await client.call("api.any.thing")


@pytest.mark.parametrize("code", ["teapot", [], None], ids=json.dumps)
async def test_a_code_that_is_not_known_is_unknown(code: object) -> None:
    """A later server may have more; the message is what it said."""
    error = {"code": code, "message": "short and stout", "retry_after": "soon", "details": "none"}
    async with deaf_server(lambda *_: [("ack", {"error": error})]) as url, connect(url) as client:
        with pytest.raises(CallError) as caught:
            await client.call("api.any.thing")
        assert (caught.value.code, caught.value.message, caught.value.retry_after) == (
            "unknown",
            "short and stout",
            None,
        )
