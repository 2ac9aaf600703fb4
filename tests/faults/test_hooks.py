"""The fault matrix of hooks: what a hook does while the server serves harms neither its neighbours nor the server."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.client import Client, connected
from tests.support.plugins import write_neighbour, write_plugin
from tests.support.server import Server, serving
from tests.support.waiting import until
from tests.support.wire import wire

FAULTS = {
    "error": ("raise RuntimeError('a secret')", "RuntimeError"),
    "exit": ("sys.exit('a secret')", "SystemExit"),
    "interrupt": ("raise KeyboardInterrupt('a secret')", "KeyboardInterrupt"),
    "base": ("raise BaseException('a secret')", "BaseException"),
    "cancel": ("raise asyncio.CancelledError('a secret')", "CancelledError"),
    "close": ("raise GeneratorExit('a secret')", "GeneratorExit"),
}

MODES = "import asyncio, sys\n\n" + "".join(f"def {mode}():\n    {code}\n\n" for mode, (code, _) in FAULTS.items())

FAULTY = (
    MODES
    + """
from jackfield import Call, Observer, Service, hookimpl

service = Service("api.faulty")
modes = {}

def misbehave(hook):
    if hook in modes:
        globals()[modes[hook]]()

@service.function
async def set(call: Call, data: dict[str, str]) -> None:
    modes.clear()
    modes.update(data)

@service.function
async def target(call: Call) -> str:
    return "hit"

@hookimpl
def jackfield_services():
    return [service]

@hookimpl
def jackfield_authorize(function):
    if function.event == "api.faulty.target":
        misbehave("authorize")

@hookimpl
def jackfield_admit(call):
    if call.event == "api.faulty.target":
        misbehave("admit")

@hookimpl
async def jackfield_call(call, proceed):
    if call.event == "api.faulty.target":
        misbehave("call")
    return await proceed()

class Watcher(Observer):
    def started(self, call):
        misbehave("started")

    def ended(self, call, error):
        misbehave("ended")

@hookimpl
def jackfield_observe():
    return Watcher()

@hookimpl(tryfirst=True)
async def jackfield_connect():
    if modes.get("connect") == "hang":
        await asyncio.Event().wait()
    misbehave("connect")

@hookimpl(tryfirst=True)
async def jackfield_disconnect():
    if modes.get("disconnect") == "hang":
        await asyncio.Event().wait()
    misbehave("disconnect")
"""
)

LISTENING = """
    from jackfield import Call, Service, hookimpl

    service = Service("api.listening")
    heard: list[str] = []

    @service.function(name="heard")
    async def tell(call: Call) -> list[str]:
        return heard

    @hookimpl
    def jackfield_services():
        return [service]

    @hookimpl
    async def jackfield_connect(client):
        heard.append(f"{client.id} came")

    @hookimpl
    async def jackfield_disconnect(client, reason):
        heard.append(f"{client.id} went")
"""

AUTHENTICATING = (
    MODES
    + """
from jackfield import Principal, hookimpl

@hookimpl
async def jackfield_authenticate(handshake):
    mode = handshake.auth["mode"]
    if mode == "hang":
        await asyncio.Event().wait()
    if mode == "own timeout":
        await asyncio.wait_for(asyncio.Event().wait(), 0.01)
    if mode in globals():
        globals()[mode]()
    return Principal("somebody")
"""
)


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("hooks")
    write_plugin(folder / "p", "faulty", FAULTY, namespaces=["api.faulty"])
    write_plugin(folder / "p", "listening", LISTENING, namespaces=["api.listening"])
    write_neighbour(folder / "p")
    with serving(folder / "s", path=[folder / "p"]) as server:
        yield server


@pytest.fixture(name="client")
async def _client(server: Server) -> AsyncIterator[Client]:
    async with connected(server.url, "websocket") as client:
        yield client
        await client.call("api.faulty.set", {})


@pytest.mark.parametrize(("hook", "mode"), list(itertools.product(["admit", "call"], FAULTS)))
async def test_a_hook_around_a_call_fails_that_call(client: Client, server: Server, hook: str, mode: str) -> None:
    """What `jackfield_admit` or `jackfield_call` raises is answered as if the function had raised it."""
    await client.call("api.faulty.set", {hook: mode})
    answer = await client.call("api.faulty.target")
    error_id = answer["error"].pop("error_id")
    message = f"Something went wrong in the server (error {error_id})."
    assert answer == {"error": {"code": "internal", "message": message}}
    assert f"api.faulty.target failed, error_id {error_id}: {FAULTS[mode][1]}: a secret" in server.log
    assert await client.call("api.neighbour.hello") == {"data": "still here"}


@pytest.mark.parametrize("mode", FAULTS)
async def test_an_authorizer_that_raises_denies(client: Client, server: Server, mode: str) -> None:
    """The function looks as if it did not exist, and the log tells why."""
    await client.call("api.faulty.set", {"authorize": mode})
    message = "There is no function 'api.faulty.target'."
    answer = await client.call("api.faulty.target")
    assert answer == {"error": {"code": "not_found", "message": message}}
    assert await client.call("api.neighbour.hello") == {"data": "still here"}
    assert "jackfield_authorize raised" in server.log  # once a second


@pytest.mark.parametrize(("method", "mode"), list(itertools.product(["started", "ended"], FAULTS)))
async def test_an_observer_that_raises_changes_nothing(client: Client, server: Server, method: str, mode: str) -> None:
    """Calls go on as if nobody watched; the log names the plugin."""
    await client.call("api.faulty.set", {method: mode})
    assert await client.call("api.faulty.target") == {"data": "hit"}
    assert await client.call("api.neighbour.hello") == {"data": "still here"}
    assert f"{method} of the observer of plugin faulty raised" in server.log


@pytest.mark.parametrize(("hook", "mode"), list(itertools.product(["connect", "disconnect"], [*FAULTS, "hang"])))
async def test_other_plugins_hear_of_every_client(client: Client, server: Server, hook: str, mode: str) -> None:
    """Whatever one plugin does with the news that a client came or went, the others are told too."""
    await client.call("api.faulty.set", {hook: mode})
    async with connected(server.url, "websocket") as other:
        sid = other.sio.get_sid()
        assert await other.call("api.neighbour.hello") == {"data": "still here"}
        await _heard(client, f"{sid} came")
    if (hook, mode) != ("connect", "hang"):  # nobody hears of a client's going before its coming was heard
        await _heard(client, f"{sid} went")
    if mode != "hang":
        await until(lambda: f"jackfield_{hook} of plugin faulty raised" in server.log)


async def _heard(client: Client, what: str) -> None:
    while what not in (await client.call("api.listening.heard"))["data"]:
        assert client.sio.connected


async def test_a_hook_that_hangs_is_given_up(tmp_path: Path) -> None:
    """After `limits.call_timeout` a hook that was told of a client is cancelled, and the log names its plugin."""
    write_plugin(tmp_path / "p", "faulty", FAULTY, namespaces=["api.faulty"])
    write_plugin(tmp_path / "p", "listening", LISTENING, namespaces=["api.listening"])
    with serving(tmp_path / "s", path=[tmp_path / "p"], config="[limits]\ncall_timeout = 0.3") as server:
        async with connected(server.url, "websocket") as client:
            await client.call("api.faulty.set", {"connect": "hang"})
            async with connected(server.url, "websocket") as other:
                sid = other.sio.get_sid()
            await _heard(client, f"{sid} went")
            await until(lambda: "jackfield_connect of plugin faulty raised OutOfTime" in server.log)


async def test_an_authenticator_that_fails_refuses_one_client(tmp_path: Path) -> None:
    """The client that it fails for is refused, with a code that tells whether to try again; the next is let in."""
    write_plugin(tmp_path / "p", "auth", AUTHENTICATING)
    write_neighbour(tmp_path / "p")
    config = '[limits]\nauth_timeout = 0.2\n[[access.rules]]\nfunctions = "api.neighbour.*"'
    with serving(tmp_path / "s", path=[tmp_path / "p"], config=config) as server:
        for mode in [*FAULTS, "own timeout"]:
            async with wire(server.url, join=False) as client:
                answer = str(await client.join(json.dumps({"mode": mode})))
                refusal = json.loads(answer.removeprefix("44"))
                error_id = refusal["data"].pop("error_id")
                message = f"Something went wrong in the server (error {error_id})."
                assert refusal == {"message": message, "data": {"code": "internal"}}
                cause = FAULTS[mode][1] if mode in FAULTS else "TimeoutError"
                assert f"jackfield_authenticate failed, error_id {error_id}: " in server.log
                assert cause in server.log
        async with wire(server.url, join=False) as client:
            answer = str(await client.join('{"mode":"hang"}'))
            refusal = json.loads(answer.removeprefix("44"))
            assert 500 <= refusal["data"].pop("retry_after") <= 5000
            message = "Authentication takes too long; try again later."
            assert refusal == {"message": message, "data": {"code": "unavailable"}}
        async with connected(server.url, "websocket", auth={"mode": "none"}) as stock:
            assert await stock.call("api.neighbour.hello") == {"data": "still here"}
