"""25: who may call what, with real tokens: the operator's word, else the author's, else nobody's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.plugins import write_plugin
from tests.support.server import Server, serving
from tests.support.tokens import settings, token
from tests.support.wire import Wire, wire

SHOP = """
    from collections.abc import AsyncIterator

    from jackfield import Call, CallError, Service, hookimpl

    service = Service("api.shop")
    kernels = []

    @service.function
    async def unsaid(call: Call) -> str:
        return "unsaid"

    @service.function(requires=())
    async def window(call: Call) -> str:
        return "window"

    @service.function(requires="shop:buy")
    async def buy(call: Call, data: int = 1) -> int:
        return data

    @service.function(requires=["shop:buy", "shop:staff"], visible=True)
    async def refund(call: Call, data: int = 1) -> int:
        return data

    @service.function(requires="shop:staff")
    async def stock(call: Call) -> AsyncIterator[int]:
        for number in range(2):
            yield number

    @service.function(requires=())
    async def errand(call: Call, data: str) -> object:
        return await call.invoke(data)

    @service.function(requires=())
    async def asItself(call: Call, data: str) -> object:
        return await kernels[0].invoke(data)

    @service.function(requires=())
    async def closed(call: Call) -> str:
        return "closed"

    @service.function(requires=())
    async def shut(call: Call) -> str:
        return "shut"

    @service.function(requires="shop:nobody")
    async def opened(call: Call) -> str:
        return "opened"

    @service.function(requires=())
    async def secretPlan(call: Call) -> str:
        return "plan"

    @hookimpl
    async def jackfield_startup(kernel):
        kernels.append(kernel)

    @hookimpl
    def jackfield_services():
        return [service]
"""
RULES = """
[[access.rules]]
functions = "api.shop.closed"
deny = true
[[access.rules]]
functions = "api.shop.shut"
deny = true
visible = true
[[access.rules]]
functions = ["api.shop.opened", "api.other.*"]
[[access.rules]]
functions = "api.shop.secretP*"
requires = "shop:plans"
[[access.rules]]
functions = "api.shop.secret*"
"""
NOBODY: frozenset[str] = frozenset()
BUYER = frozenset({"shop:buy"})
STAFF = frozenset({"shop:buy", "shop:staff"})
EVERYTHING = STAFF | {"shop:plans", "jackfield:operator", "shop:nobody"}


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a shop, and rules of its operator; clients without a token may look at the window."""
    folder = tmp_path_factory.mktemp("access")
    path = write_plugin(folder / "plugins", "shop", SHOP, namespaces=["api.shop"])
    config = '[plugins]\npolicy = "listed"\nenabled = ["jwt", "system", "shop"]\n'
    config += settings("anonymous_scopes = []") + RULES
    with serving(folder, config=config, path=[path]) as server:
        yield server


@asynccontextmanager
async def visitor(server: Server, scopes: frozenset[str] | None) -> AsyncIterator[Wire]:
    """Connect somebody with these scopes; with None, somebody without a token."""
    auth = "" if scopes is None else json.dumps({"token": token({"scope": sorted(scopes)})})
    async with wire(server.url, join=False) as client:
        assert str(await client.join(auth)).startswith("40{")
        yield client


def unknown(event: str) -> dict[str, Any]:
    """Return what is said of a function that does not exist."""
    return {"error": {"code": "not_found", "message": f"There is no function '{event}'."}}


def denied(words: str) -> dict[str, Any]:
    """Return what is said of a function that is known to exist."""
    return {"error": {"code": "permission_denied", "message": f"You may not call this function{words}."}}


async def call(client: Wire, name: str, data: Any = None) -> Any:
    """Call a function of the shop by the envelope."""
    return await client.ask(f"427{json.dumps(['event', {'event': f'api.shop.{name}', 'data': data}])}")


REFUND = ": it requires shop:buy and shop:staff"
TABLE: list[tuple[frozenset[str] | None, dict[str, Any]]] = [
    (None, {"window": "window", "buy": None, "refund": REFUND, "unsaid": None, "opened": "opened", "secretPlan": None}),
    (NOBODY, {"window": "window", "buy": None, "refund": REFUND, "unsaid": None, "closed": None, "shut": ""}),
    (BUYER, {"window": "window", "buy": 1, "refund": REFUND, "unsaid": None, "closed": None, "opened": "opened"}),
    (STAFF, {"window": "window", "buy": 1, "refund": 1, "unsaid": None, "secretPlan": None, "shut": ""}),
    (EVERYTHING, {"buy": 1, "refund": 1, "unsaid": None, "closed": None, "shut": "", "secretPlan": "plan"}),
]


@pytest.mark.parametrize("carrier", ["envelope", "named event", "batch"])
async def test_25_who_may_call_what(server: Server, carrier: str) -> None:
    """With several sets of scopes at once; what is hidden looks like what does not exist, however it is called."""
    async with (
        visitor(server, None) as a,
        visitor(server, NOBODY) as b,
        visitor(server, BUYER) as c,
        visitor(server, STAFF) as d,
        visitor(server, EVERYTHING) as e,
    ):
        for client, (_, functions) in zip((a, b, c, d, e), TABLE, strict=True):
            for name, expected in functions.items():
                event = f"api.shop.{name}"
                if carrier == "envelope":
                    answer = await call(client, name)
                elif carrier == "named event":
                    answer = await client.ask(f'427["{event}"]')
                else:
                    answer = (await client.ask(f'427["event",[{{"event":"{event}"}}]]'))[0]
                if expected is None:
                    assert answer == unknown(event)
                elif name in ("refund", "shut") and isinstance(expected, str):
                    assert answer == denied(expected)
                else:
                    assert answer == {"data": expected}
        assert await call(a, "doesNotExist") == unknown("api.shop.doesNotExist")


@pytest.mark.parametrize("scopes", [row[0] for row in TABLE], ids=lambda scopes: "+".join(sorted(scopes or ["none"])))
async def test_25_looking_around_shows_what_may_be_called(server: Server, scopes: frozenset[str] | None) -> None:
    """`functions` lists it and `describe` describes it, and of nothing else they know."""
    may = {"window", "errand", "asItself", "opened"}
    may |= {"buy"} if scopes and "shop:buy" in scopes else set()
    may |= {"refund", "stock"} if scopes and "shop:staff" in scopes else set()
    may |= {"secretPlan"} if scopes and "shop:plans" in scopes else set()
    async with visitor(server, scopes) as client:
        rows = (await client.ask('427["api.system.functions",{"pattern":"api.shop.*"}]'))["data"]
        assert {row["event"].removeprefix("api.shop.") for row in rows} == may
        for name in ("buy", "unsaid", "closed", "window", "secretPlan"):
            answer = await client.ask(f'427["api.system.describe",{{"event":"api.shop.{name}"}}]')
            if name in may:
                assert answer["data"]["event"] == f"api.shop.{name}"
            else:
                assert answer == unknown(f"api.shop.{name}")
        listed = (await client.ask('427["api.system.functions",{"pattern":"api.auth.*"}]'))["data"]
        own = {"api.auth.refresh", "api.auth.whoami"}
        if scopes and "jackfield:operator" in scopes:
            own.add("api.auth.revoke")
        assert {row["event"] for row in listed} == own


async def test_25_a_stream_is_asked_for_like_a_call(server: Server) -> None:
    """Who may not open it is told that there is none."""
    async with visitor(server, BUYER) as buyer, visitor(server, STAFF) as staff:
        opening = '427["event",{"event":"api.shop.stock","id":1}]'
        assert await buyer.ask(opening) == {"id": 1, **unknown("api.shop.stock")}
        assert await staff.ask(opening) == {"id": 1, "stream": "server"}
        items = [json.loads(str(await staff.receive())[2:])[1].get("data") for _ in range(3)]
        assert items[:2] == [0, 1]


async def test_25_an_errand_is_its_callers(server: Server) -> None:
    """What a function calls on behalf of its caller the caller must be allowed; as itself a plugin calls everything but
    what is denied to all.
    """
    async with visitor(server, BUYER) as buyer, visitor(server, STAFF) as staff:
        assert await call(buyer, "errand", "api.shop.buy") == {"data": 1}
        assert (await call(buyer, "errand", "api.shop.refund"))["error"]["code"] == "permission_denied"
        assert (await call(buyer, "errand", "api.shop.unsaid"))["error"]["code"] == "not_found"
        assert await call(staff, "errand", "api.shop.refund") == {"data": 1}
        assert await call(buyer, "asItself", "api.shop.refund") == {"data": 1}
        assert await call(buyer, "asItself", "api.shop.unsaid") == {"data": "unsaid"}
        assert "error" in await call(buyer, "asItself", "api.shop.closed")


async def test_25_a_client_without_a_token_cannot_become_somebody(server: Server) -> None:
    """It is told to connect anew, and a bad token is no way to be nobody."""
    async with visitor(server, None) as client:
        assert (await client.ask('427["api.auth.whoami"]'))["data"] == {
            "sub": "anonymous",
            "scopes": [],
            "expires": None,
        }
        answer = await client.ask(f'427["api.auth.refresh",{json.dumps({"token": token()})}]')
        assert answer["error"]["code"] == "permission_denied"
    async with wire(server.url, join=False) as client:
        assert "unauthenticated" in str(await client.join('{"token":"rubbish"}'))
