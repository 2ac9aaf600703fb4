"""A kernel with just the plugin under test, whatever is installed."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import socketio

import jackfield_demo
from jackfield import CallError, JackfieldError, Principal, Service, hookimpl
from jackfield.client import ConnectError
from jackfield.testing import SetupError, serve
from tests.support.client import connected
from tests.testing.plugins import Door, Echo, echo_service, importable, make_neighbour, write_project

both = pytest.mark.parametrize("network", [False, True], ids=["memory", "network"])
ANN = Principal("ann", scopes=frozenset({"orders:read"}))


# ------------------------------------------------------------------- which plugin


@pytest.mark.parametrize(
    ("plugin", "name"),
    [("demo", "demo"), (jackfield_demo, "demo"), (Service("api.one.two"), "two"), (Echo(), "echo")],
    ids=["name", "module", "service", "object"],
)
async def test_nothing_is_served_but_the_plugin_under_test(plugin: object, name: str) -> None:
    """However it is named; what is installed beside it is not looked at."""
    async with serve(plugin) as kernel:
        assert [(one.name, one.state) for one in kernel.plugins] == [(name, "started")]
        assert kernel.plugin == kernel.plugins[0]
        assert kernel.name == name


async def test_the_projects_own_file_names_plugins_that_are_not_installed(tmp_path: Path) -> None:
    """With the manifest that the build would make."""
    project = write_project(tmp_path, "fresh")
    with importable(project):
        async with serve("fresh", project=project / "src") as kernel:
            plugin = kernel.plugin
            client = await kernel.connect()
            assert await client.call("api.fresh.hello") == "hello"
    assert (plugin.distribution, plugin.version, plugin.summary) == ("jackfield-fresh", "1.2", "The plugin fresh")
    assert plugin.namespaces == ("api.fresh",)


async def test_a_module_without_a_project_is_a_plugin_too() -> None:
    """What its manifest would say of its namespaces it says itself."""
    module = ModuleType("jackfield_made_up")
    vars(module)["jackfield_services"] = Echo().jackfield_services
    vars(module)["jackfield_settings"] = Echo().jackfield_settings
    async with serve(module, settings={"prefix": "> "}) as kernel:
        assert kernel.name == "made_up"
        client = await kernel.connect()
        assert await client.call("api.echo.echo", "x") == "> x"


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (
            "dmeo",
            "there is no plugin 'dmeo'; did you mean 'demo'? {file} names fresh, and installed are demo, files, jwt, "
            "metrics, ratelimit, system",
        ),
        (
            object,
            "<class 'object'> is no plugin: give the name of an entry point, a module, a Service, or an object with "
            "methods that are marked with @hookimpl, such as jackfield_settings",
        ),
    ],
)
async def test_what_is_no_plugin_is_told(tmp_path: Path, plugin: object, message: str) -> None:
    """With what there is."""
    project = write_project(tmp_path, "fresh")
    with pytest.raises(SetupError) as raised:
        async with serve(plugin, project=project):
            pass
    assert re.sub(
        r"installed are .*", "installed are demo, files, jwt, metrics, ratelimit, system", str(raised.value)
    ) == (message.format(file=project / "pyproject.toml"))


async def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """With the fault."""
    (tmp_path / "pyproject.toml").write_text("[project")
    with pytest.raises(SetupError, match=r"pyproject\.toml cannot be read: Expected"):
        async with serve("demo", project=tmp_path):
            pass


# ------------------------------------------------------------------- settings, neighbours


async def test_settings_are_validated_by_the_plugins_model() -> None:
    """A fault ends the start with the kernel's own words; with strict=False it quarantines, as in a server."""
    with pytest.raises(JackfieldError) as raised:
        async with serve(Echo(), settings={"prefx": "!"}):
            pass
    reason = "plugins.echo.prefx: there is no such key; did you mean plugins.echo.prefix?"
    assert str(raised.value) == f"plugin echo is quarantined: {reason}"
    async with serve(Echo(), settings={"prefx": "!"}, strict=False) as kernel:
        assert (kernel.plugin.state, kernel.plugin.reason) == ("quarantined", reason)


async def test_the_kernels_configuration_is_the_tests() -> None:
    """Not that of a file or of variables; a fault is told as ever."""
    async with serve(Echo(), config={"limits": {"calls": 7}}) as kernel:
        assert kernel.kernel.limits["calls"] == 7
    with pytest.raises(JackfieldError, match=r"^limits\.cals: there is no such key; did you mean limits\.calls\?$"):
        async with serve(Echo(), config={"limits": {"cals": 7}}):
            pass


@both
async def test_neighbours_are_there_by_the_name_that_the_test_gives(network: bool) -> None:
    """And can be taken out of service, and back in."""
    async with serve(Echo(), neighbours={"next_door": make_neighbour()}, network=network) as kernel:
        client = await kernel.connect()
        assert await client.call("api.echo.neighbour") == "still here"
        kernel.quarantine("next_door", "to see what happens")
        with pytest.raises(CallError, match=r"^unavailable: "):
            await client.call("api.echo.neighbour")
        kernel.release("next_door")
        assert await client.call("api.echo.neighbour") == "still here"
        with pytest.raises(CallError, match=r"^not_found: There is no plugin 'nobody'\.$"):
            kernel.quarantine("nobody")


async def test_an_installed_neighbour_keeps_its_name() -> None:
    """Its own settings and calls go by that."""
    with pytest.raises(SetupError, match=r"^the neighbour 'test' is called 'demo' where it is installed: give it that"):
        async with serve(Echo(), neighbours={"test": jackfield_demo}):
            pass
    config = {"plugins": {"demo": {"greeting": "Hi"}}}
    async with serve(Echo(), neighbours={"demo": "demo"}, config=config) as kernel:
        client = await kernel.connect()
        assert await client.call("api.services.test.greet", {"name": "Ann"}) == {"text": "Hi Ann!"}


async def test_a_bad_name_for_a_neighbour_is_told() -> None:
    """By the rule of names."""
    with pytest.raises(
        SetupError, match=r"^a plugin cannot be called 'strict': 'strict' is a key of the configuration"
    ):
        async with serve(Echo(), neighbours={"strict": make_neighbour()}):
            pass


# ------------------------------------------------------------------- clients


@both
async def test_the_whole_protocol_is_there(network: bool) -> None:
    """Calls, headers, errors, streams of all kinds, requests to the client; in memory as over a network."""
    async with serve(echo_service(), network=network) as kernel:
        client = await kernel.connect(on={"question": lambda asked: f"{asked}!"})
        assert client.connected
        assert await client.call("api.echo.echo", "é\U0001f600") == "é\U0001f600"
        assert await client.call("api.echo.header", "x-one", meta={"x-one": "1"}) == "1"
        assert await client.call("api.echo.ask", "who") == "who!"
        with pytest.raises(CallError, match=r"^invalid_argument: ") as raised:
            await client.call("api.echo.echo", 1)
        assert raised.value.details[0]["path"] == []
        got = [item async for item in client.stream("api.echo.numbers", 100, credit=2)]
        assert got == [number.to_bytes(10_000, "big") for number in range(100)]
        sent = [f"item {number}" for number in range(100)]
        assert [item async for item in client.stream("api.echo.both", items=sent)] == sent
        await kernel.kernel.emit("news", {"all": True})
        assert await client.next_event("news") == {"all": True}
        with pytest.raises(CallError, match=r"^deadline_exceeded: "):
            await client.call("api.echo.wait", 10, timeout=0.05)


@both
async def test_who_a_client_is_can_be_said(network: bool) -> None:
    """With the access rules that then hold; who says nothing is not let in."""
    async with serve(echo_service(), authenticated=True, network=network) as kernel:
        ann = await kernel.connect(as_=ANN)
        assert await ann.call("api.echo.orders") == "orders"
        other = await kernel.connect(as_=Principal("bob"))
        with pytest.raises(CallError, match=r"^not_found: "):
            await other.call("api.echo.orders")
        with pytest.raises(ConnectError, match=r"^unauthenticated: "):
            await kernel.connect()


async def test_clients_of_any_kind_can_show_who_they_are() -> None:
    """The stock client, over long-polling; a ticket that nobody gave lets nobody in."""
    async with serve(echo_service(), authenticated=True, network=True) as kernel:
        ticket = kernel.ticket(ANN)
        async with connected(kernel.url, "polling", auth=ticket) as client:
            assert await client.call("api.echo.orders") == {"data": "orders"}
        with pytest.raises(socketio.exceptions.ConnectionError):
            async with connected(kernel.url, "polling", auth=dict.fromkeys(ticket, "made up")):
                pass


@both
async def test_what_a_client_shows_reaches_the_real_hook(network: bool) -> None:
    """Of a plugin that says who clients are."""
    rules = {"access": {"rules": [{"functions": "*"}]}}
    async with serve(Door(), neighbours={"echo": echo_service()}, config=rules, network=network) as kernel:
        client = await kernel.connect(auth={"password": "open sesame"})
        assert await client.call("api.echo.who") == "ann"
        with pytest.raises(ConnectError, match=r"^unauthenticated: "):
            await kernel.connect(auth={"password": "guess"})


async def test_nobody_can_be_anybody_where_nobody_asks() -> None:
    """The message says what to write."""
    async with serve(echo_service()) as kernel:
        with pytest.raises(SetupError) as raised:
            await kernel.connect(as_=ANN)
        with pytest.raises(SetupError, match=re.escape(str(raised.value))):
            kernel.ticket(ANN)
        assert str(raised.value) == (
            "as_ or a ticket says who a client is, and this kernel asks nobody: serve with authenticated=True "
            "(@pytest.mark.jackfield(authenticated=True)), or show what a plugin knows with auth="
        )
        with pytest.raises(SetupError, match=r"^auth and token exclude each other: a token is shown as auth="):
            await kernel.connect(auth={}, token="x")


async def test_an_event_that_does_not_come_is_told_with_what_has() -> None:
    """As a failure of the test."""
    async with serve(echo_service()) as kernel:
        client = await kernel.connect()
        await kernel.kernel.emit("one", 1)
        await kernel.kernel.emit("two", 2)
        with pytest.raises(
            AssertionError, match=r"^no event 'three' came within 0\.01 s; what has come so far: one, two$"
        ):
            await client.next_event("three", timeout=0.01)


# ------------------------------------------------------------------- the end


@both
async def test_the_end_waits_for_nobody(network: bool) -> None:
    """Calls that run are ended, clients are disconnected, and the next kernel starts as if nothing had been."""
    for _ in range(2):
        async with serve(echo_service(), network=network) as kernel:
            client = await kernel.connect()
            call = asyncio.create_task(client.call("api.echo.wait", 1000))
            await client.call("api.echo.echo", "x")
        assert not client.connected
        with pytest.raises(CallError, match=r"^unavailable: "):
            await call


async def test_an_error_of_the_test_is_the_tests() -> None:
    """It comes out as it was raised."""
    with pytest.raises(ZeroDivisionError):
        async with serve(echo_service()):
            raise ZeroDivisionError


async def test_in_memory_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket is bound."""
    bound: list[Any] = []
    monkeypatch.setattr(socket.socket, "bind", lambda self, address: bound.append(address))
    async with serve(echo_service()) as kernel:
        await kernel.connect()
    assert bound == []


async def test_a_plugin_that_does_not_start_ends_the_start() -> None:
    """With its reason."""

    class Broken(Echo):
        @hookimpl
        async def jackfield_startup(self) -> None:
            raise OSError("no database")

    with pytest.raises(JackfieldError, match=r"^plugin broken is quarantined: OSError: no database"):
        async with serve(Broken()):
            pass
