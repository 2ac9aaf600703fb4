"""Every function of `api.system`, called by a client."""

from __future__ import annotations

from pathlib import Path

import pytest

from jackfield import Call, CallError, Principal, Service
from jackfield.testing import Client, RunningKernel, assert_plugin_contract
from plugins.system.tests.conftest import NEIGHBOUR, Hiding

ASKING = Service("api.asking")


@ASKING.function(requires="orders:read")
async def orders(call: Call) -> str:
    """Tell the orders."""
    return "orders"


@ASKING.function
async def unsaid(call: Call) -> str:
    """Nobody has said who may call it."""
    return "never"


pytestmark = pytest.mark.jackfield(
    neighbours={"neighbour": NEIGHBOUR, "hiding": Hiding(), "broken": "broken"},
    config={"limits": {"calls": 7}},
    strict=False,
)
asking = pytest.mark.jackfield(
    neighbours={"asking": ASKING},
    config={"access": {"rules": [{"functions": "api.system.info", "requires": ["jackfield:operator"]}]}},
    authenticated=True,
)


def test_it_keeps_the_contract() -> None:
    """What every plugin owes to the server that installs it."""
    assert_plugin_contract("system", project=Path(__file__).parent)


async def test_ping_answers(jackfield_client: Client) -> None:
    """`ping` answers `pong`."""
    assert await jackfield_client.call("api.system.ping") == "pong"


async def test_info_tells_versions_and_limits(jackfield_client: Client) -> None:
    """`info` shows the limits as they are configured."""
    info = await jackfield_client.call("api.system.info")
    assert (info["name"], info["version"], info["protocol"]) == ("jackfield", "0.1.0", 1)
    assert info["limits"]["calls"] == 7


async def test_plugins_shows_a_local_client_every_reason(jackfield_client: Client) -> None:
    """A client on the same machine sees why a plugin is out of service, and what to do."""
    rows = {row["name"]: row for row in await jackfield_client.call("api.system.plugins")}
    assert {name: row["state"] for name, row in rows.items()} == {
        "broken": "quarantined",
        "hiding": "started",
        "neighbour": "started",
        "system": "started",
    }
    assert rows["broken"]["kind"] == "ModuleNotFoundError"
    assert "No module named 'no_such_module'" in rows["broken"]["reason"]
    assert rows["broken"]["hint"] == "pip install no_such_module"


async def test_plugins_shows_a_remote_client_the_kind_alone(jackfield_kernel: RunningKernel) -> None:
    """Behind a proxy nobody is local: the reason stays in the server, its kind is shown."""
    client = await jackfield_kernel.connect(headers={"X-Forwarded-For": "203.0.113.7"})
    rows = {row["name"]: row for row in await client.call("api.system.plugins")}
    assert rows["broken"]["kind"] == "ModuleNotFoundError"
    assert rows["broken"]["reason"] is None
    assert rows["broken"]["hint"] is None


async def test_functions_lists_what_the_caller_may_call(jackfield_client: Client) -> None:
    """`functions` lists events with kind and plugin, all of them or those that match."""
    every = await jackfield_client.call("api.system.functions")
    assert [row["event"] for row in every] == [
        "api.neighbour.hello",
        "api.system.describe",
        "api.system.functions",
        "api.system.info",
        "api.system.ping",
        "api.system.plugins",
        "api.system.quarantine",
        "api.system.release",
    ]
    some = await jackfield_client.call("api.system.functions", {"pattern": "*.p*"})
    assert some[0] == {
        "event": "api.system.ping",
        "kind": "unary",
        "plugin": "system",
        "summary": "Answer `pong`.",
        "requires": [],
    }


async def test_describe_gives_the_contract(jackfield_client: Client) -> None:
    """`describe` gives schemas, doc and errors of one function, and `not_found` for any other."""
    told = await jackfield_client.call("api.system.describe", {"event": "api.system.describe"})
    assert told["kind"] == "unary"
    assert told["errors"] == ["not_found"]
    assert told["requires"] == []
    other = await jackfield_client.call("api.system.describe", {"event": "api.neighbour.hello"})
    assert other["requires"] is None
    assert told["input"]["required"] == ["event"]
    assert told["output"]["title"] == "Description"
    with pytest.raises(CallError, match=r"^not_found: There is no function 'api.system.nothing'\.$"):
        await jackfield_client.call("api.system.describe", {"event": "api.system.nothing"})


@asking
async def test_everybody_who_is_known_may_look_around(jackfield_kernel: RunningKernel) -> None:
    """Where clients say who they are, they are shown what they may call, with the scopes that it requires."""
    plain: dict[str, list[str]] = {
        "api.system.describe": [],
        "api.system.functions": [],
        "api.system.ping": [],
        "api.system.plugins": [],
    }
    client = await jackfield_kernel.connect(as_=Principal("ann"))
    rows = await client.call("api.system.functions")
    assert {row["event"]: row["requires"] for row in rows} == plain
    with pytest.raises(CallError, match=r"^not_found: "):
        await client.call("api.system.info")
    with pytest.raises(CallError, match=r"^not_found: "):
        await client.call("api.system.describe", {"event": "api.asking.orders"})
    scopes = frozenset({"orders:read", "jackfield:operator"})
    client = await jackfield_kernel.connect(as_=Principal("ann", scopes=scopes))
    rows = await client.call("api.system.functions")
    assert {row["event"]: row["requires"] for row in rows} == {
        **plain,
        "api.asking.orders": ["orders:read"],
        "api.system.info": ["jackfield:operator"],  # the operator's word
        "api.system.quarantine": ["jackfield:operator"],
        "api.system.release": ["jackfield:operator"],
    }
    told = await client.call("api.system.describe", {"event": "api.asking.orders"})
    assert told["requires"] == ["orders:read"]


async def test_an_operator_takes_a_plugin_out_of_service(jackfield_client: Client) -> None:
    """And back in again."""
    await jackfield_client.call("api.system.quarantine", {"plugin": "neighbour", "reason": "it is tried out"})
    with pytest.raises(CallError, match=r"^unavailable: "):
        await jackfield_client.call("api.neighbour.hello")
    await jackfield_client.call("api.system.release", {"plugin": "neighbour"})
    assert await jackfield_client.call("api.neighbour.hello") == "still here"
