"""Every function of `api.system`, called by an ordinary client."""

from __future__ import annotations

from tests.support.client import connected
from tests.support.installed import INSTALLED
from tests.support.server import Server


async def test_ping_answers(server: Server) -> None:
    """`ping` answers `pong`."""
    async with connected(server.url) as client:
        assert await client.call("api.system.ping") == {"data": "pong"}


async def test_info_tells_versions_and_limits(server: Server) -> None:
    """`info` shows the limits as they are configured."""
    async with connected(server.url) as client:
        info = (await client.call("api.system.info"))["data"]
        assert (info["name"], info["version"], info["protocol"]) == ("jackfield", "0.1.0", 1)
        assert info["limits"]["calls"] == 7


async def test_plugins_shows_a_local_client_every_reason(server: Server) -> None:
    """A client on the same machine sees why a plugin is out of service, and what to do."""
    async with connected(server.url) as client:
        rows = {row["name"]: row for row in (await client.call("api.system.plugins"))["data"]}
        assert {name: row["state"] for name, row in rows.items()} == {
            **dict.fromkeys(INSTALLED, "disabled"),
            "broken": "quarantined",
            "hiding": "started",
            "neighbour": "started",
            "system": "started",
        }
        assert rows["broken"]["kind"] == "ModuleNotFoundError"
        assert "No module named 'no_such_module'" in rows["broken"]["reason"]
        assert rows["broken"]["hint"] == "pip install no_such_module"


async def test_plugins_shows_a_remote_client_the_kind_alone(server: Server) -> None:
    """Behind a proxy nobody is local: the reason stays in the server, its kind is shown."""
    async with connected(server.url, headers={"X-Forwarded-For": "203.0.113.7"}) as client:
        rows = {row["name"]: row for row in (await client.call("api.system.plugins"))["data"]}
        assert rows["broken"]["kind"] == "ModuleNotFoundError"
        assert rows["broken"]["reason"] is None
        assert rows["broken"]["hint"] is None


async def test_functions_lists_what_the_caller_may_call(server: Server) -> None:
    """`functions` lists events with kind and plugin, all of them or those that match."""
    async with connected(server.url) as client:
        every = (await client.call("api.system.functions"))["data"]
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
        some = (await client.call("api.system.functions", {"pattern": "*.p*"}))["data"]
        assert some[0] == {
            "event": "api.system.ping",
            "kind": "unary",
            "plugin": "system",
            "summary": "Answer `pong`.",
            "requires": [],
        }


async def test_describe_gives_the_contract(server: Server) -> None:
    """`describe` gives schemas, doc and errors of one function, and `not_found` for any other."""
    async with connected(server.url) as client:
        told = (await client.call("api.system.describe", {"event": "api.system.describe"}))["data"]
        assert told["kind"] == "unary"
        assert told["errors"] == ["not_found"]
        assert told["requires"] == []
        assert (await client.call("api.system.describe", {"event": "api.neighbour.hello"}))["data"]["requires"] is None
        assert told["input"]["required"] == ["event"]
        assert told["output"]["title"] == "Description"
        reply = await client.call("api.system.describe", {"event": "api.system.nothing"})
        assert reply == {"error": {"code": "not_found", "message": "There is no function 'api.system.nothing'."}}


async def test_everybody_who_is_known_may_look_around(asking: Server) -> None:
    """Where clients say who they are, they are shown what they may call, with the scopes that it requires."""
    plain: dict[str, list[str]] = {
        "api.system.describe": [],
        "api.system.functions": [],
        "api.system.ping": [],
        "api.system.plugins": [],
    }
    async with connected(asking.url, auth={}) as client:
        rows = (await client.call("api.system.functions"))["data"]
        assert {row["event"]: row["requires"] for row in rows} == plain
        assert (await client.call("api.system.info"))["error"]["code"] == "not_found"
        reply = await client.call("api.system.describe", {"event": "api.asking.orders"})
        assert reply["error"]["code"] == "not_found"
    async with connected(asking.url, auth={"scopes": ["orders:read", "jackfield:operator"]}) as client:
        rows = (await client.call("api.system.functions"))["data"]
        assert {row["event"]: row["requires"] for row in rows} == {
            **plain,
            "api.asking.orders": ["orders:read"],
            "api.system.info": ["jackfield:operator"],  # the operator's word
            "api.system.quarantine": ["jackfield:operator"],
            "api.system.release": ["jackfield:operator"],
        }
        told = (await client.call("api.system.describe", {"event": "api.asking.orders"}))["data"]
        assert told["requires"] == ["orders:read"]
