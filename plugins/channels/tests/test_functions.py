"""Every function of `api.channels`, called by a client: who may, and what is wrong."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgpack
import pytest

from jackfield import Call, CallError, Principal, Service
from jackfield.testing import Client, serve
from plugins.channels.tests.calls import history, presence, publish, subscribe
from tests.support.client import connected


@pytest.fixture
def jackfield_settings(tmp_path: Path) -> dict[str, object]:
    """Rules, and limits that tests come to."""
    return {
        "path": tmp_path / "channels.sqlite3",
        "rules": [
            {"match": "kept.*", "history": 5, "publish": True},
            {"match": "seen.*", "presence": True, "joins": True},
            {"match": "closed.*", "subscribe": False},
            {"match": "open.*", "publish": True},
        ],
        "max_data": 100,
        "max_member": 20,
        "max_members": 2,
        "max_subscriptions": 3,
    }


async def refused(client: Client, function: str, data: Any) -> CallError:
    """Return what the server says against a call."""
    with pytest.raises(CallError) as error:
        await client.call(f"api.channels.{function}", data)
    return error.value


BAD = "is refused: a name is letters, digits, _, -, : and @, with dots between its parts, and a pattern ends with .*."


@pytest.mark.parametrize(
    ("function", "data", "code", "message"),
    [
        ("subscribe", {"channel": ""}, "invalid_argument", f"The channel '' {BAD}"),
        ("subscribe", {"channel": "a..b"}, "invalid_argument", f"The channel 'a..b' {BAD}"),
        (
            "subscribe",
            {"channel": "open.*", "since": {"epoch": "x", "offset": 1}},
            "invalid_argument",
            "A pattern has no position: leave since out.",
        ),
        (
            "subscribe",
            {"channel": "closed.a"},
            "permission_denied",
            "You may not subscribe to 'closed.a': no client may (the rule for 'closed.*' in plugins.channels.rules).",
        ),
        (
            "subscribe",
            {"channel": "*"},
            "permission_denied",
            "You may not subscribe to '*': no client may (the rule for 'closed.*' in plugins.channels.rules).",
        ),
        (
            "subscribe",
            {"channel": "seen.a", "data": "x" * 19},
            "resource_exhausted",
            "What others are to see has 21 bytes, and may have 20 (plugins.channels.max_member).",
        ),
        ("unsubscribe", {"channel": "a b"}, "invalid_argument", f"The channel 'a b' {BAD}"),
        (
            "publish",
            {"channel": "open.*"},
            "invalid_argument",
            "The channel 'open.*' is refused: it is a pattern, and one channel is wanted.",
        ),
        (
            "publish",
            {"channel": "news", "data": 1},
            "permission_denied",
            "You may not publish to 'news': no client may (the rule for '*' in plugins.channels.rules).",
        ),
        (
            "publish",
            {"channel": "open.a", "data": "x" * 99},
            "resource_exhausted",
            "The publication has 101 bytes, and may have 100 (plugins.channels.max_data).",
        ),
        ("history", {"channel": "kept.*"}, "invalid_argument", "The channel 'kept.*' is refused: it is a pattern, "),
        ("history", {"channel": "closed.a"}, "permission_denied", "You may not subscribe to 'closed.a': no client may"),
        (
            "history",
            {"channel": "kept.a", "since": {"epoch": "x", "offset": 0}},
            "out_of_range",
            "The history of 'kept.a' cannot begin at 0 of 'x': the epoch is ",
        ),
        (
            "presence",
            {"channel": "open.a"},
            "failed_precondition",
            "Nobody can see who is in 'open.a': set presence in its rule in plugins.channels.rules.",
        ),
        (
            "presence",
            {"channel": "closed.a"},
            "permission_denied",
            "You may not subscribe to 'closed.a': no client may",
        ),
        ("presence", {"channel": "seen.*"}, "invalid_argument", "The channel 'seen.*' is refused: it is a pattern, "),
    ],
)
async def test_what_is_wrong_is_said(jackfield_client, function, data, code, message):
    """In words for the person who reads it."""
    error = await refused(jackfield_client, function, data)
    assert (error.code, error.message[: len(message)]) == (code, message)


@pytest.mark.parametrize(
    ("function", "data", "path", "message"),
    [
        ("subscribe", {}, ["channel"], "Field required"),
        ("subscribe", {"channel": 5}, ["channel"], "Input should be a valid string"),
        ("subscribe", {"channel": "a", "sinc": 1}, ["sinc"], "Extra inputs are not permitted"),
        ("subscribe", {"channel": "a", "since": {"offset": 1}}, ["since", "epoch"], "Field required"),
        (
            "subscribe",
            {"channel": "a", "since": {"epoch": "x", "offset": -1}},
            ["since", "offset"],
            "Input should be greater than or equal to 0",
        ),
        (
            "subscribe",
            {"channel": "a", "since": {"epoch": "x" * 65, "offset": 1}},
            ["since", "epoch"],
            "String should have at most 64 characters",
        ),
        ("publish", {"channel": "a", "id": ""}, ["id"], "String should have at least 1 character"),
        ("publish", {"channel": "a", "id": "x" * 65}, ["id"], "String should have at most 64 characters"),
        ("history", {"channel": "a", "limit": 0}, ["limit"], "Input should be greater than or equal to 1"),
        ("history", {"channel": "a", "limit": 101}, ["limit"], "Input should be less than or equal to 100"),
        ("presence", {"channel": None}, ["channel"], "Input should be a valid string"),
    ],
)
async def test_what_does_not_fit_is_named(jackfield_client, function, data, path, message):
    """With the place where it is."""
    error = await refused(jackfield_client, function, data)
    assert error.code == "invalid_argument"
    (detail,) = error.details
    assert (detail["path"], detail["message"][: len(message)]) == (path, message)


async def test_what_only_messagepack_carries_is_refused(jackfield_settings):
    """What not every client could be sent would be an error of the server for all who are to have it."""
    cases = [
        ("publish", "open.a", 2**60, "The data cannot be sent to every client: An integer is beyond ±(2^53−1), which"),
        ("publish", "open.a", [b""] * 11, "The publication has 11 Buffers, and may have 10: make one of several."),
        (
            "publish",
            "open.a",
            [{"_placeholder": True}, b""],
            "The data cannot be sent to every client: a value with Buffers has a field '_placeholder', which clients",
        ),
        ("subscribe", "seen.a", 2**60, "What others are to see is no JSON that can be sent: An integer is beyond"),
        ("subscribe", "seen.a", b"", "What others are to see is no JSON that can be sent: Object of type bytes is not"),
    ]
    async with (
        serve("channels", settings=jackfield_settings, network=True) as kernel,
        connected(kernel.url, "websocket") as client,
    ):
        for function, channel, data, message in cases:
            packed = msgpack.packb({"channel": channel, "data": data})
            error = (await client.call(f"api.channels.{function}", packed, encoding="msgpack"))["error"]
            assert (error["code"], error["message"][: len(message)]) == ("invalid_argument", message)


# ------------------------------------------------------------------- who may


async def test_without_rules_everybody_may_subscribe_and_plugins_publish() -> None:
    """Clients publish nowhere until a rule lets them."""
    press = Service("api.press")

    @press.function
    async def announce(call: Call, data: str) -> int:
        return (await call.publish("news", data)).offset

    @press.function
    async def announceAsNobody(call: Call, data: str) -> Any:
        return await call.kernel.invoke("api.channels.publish", {"channel": "news", "data": data})

    @press.function
    async def announceAsCaller(call: Call, data: str) -> Any:
        return await call.invoke("api.channels.publish", {"channel": "news", "data": data})

    @press.function
    async def hearAsNobody(call: Call) -> Any:
        return await call.kernel.invoke("api.channels.subscribe", {"channel": "news"})

    async with serve("channels", neighbours={"press": press}) as kernel:
        client = await kernel.connect()
        at = await subscribe(client, "news")
        assert at == {"epoch": at["epoch"], "offset": 0, "recovered": None, "replayed": 0}
        with pytest.raises(CallError, match=r"^permission_denied: You may not publish to 'news': no client may"):
            await publish(client, "news")
        with pytest.raises(CallError, match=r"^permission_denied: You may not publish to 'news': no client may"):
            await client.call("api.press.announceAsCaller", "no")
        assert await client.call("api.press.announce", "one") == 1
        assert (await client.call("api.press.announceAsNobody", "two"))["offset"] == 2
        assert [(await client.next_event("channel"))["data"] for _ in range(2)] == ["one", "two"]
        with pytest.raises(
            CallError, match=r"^failed_precondition: Only a client can be subscribed, and none has made"
        ):
            await client.call("api.press.hearAsNobody")


async def test_rules_ask_for_scopes() -> None:
    """All of them; the first rule that matches decides; a pattern is allowed where all that it stands for is."""
    rules = [
        {"match": "orders.secret", "subscribe": ["admin"]},
        {"match": "orders.eu.*", "subscribe": ["orders:read"], "publish": ["orders:read", "orders:write"]},
        {"match": "orders.*", "subscribe": [], "publish": True},
        {"match": "*", "subscribe": False},
    ]
    reader = Principal("reader", scopes=frozenset({"orders:read"}))
    writer = Principal("writer", scopes=frozenset({"orders:read", "orders:write"}))
    nobody = Principal("nobody")
    allowed = {
        ("subscribe", "orders.7"): {"reader", "writer", "nobody"},
        ("subscribe", "orders.secret"): set(),
        ("subscribe", "orders.eu.7"): {"reader", "writer"},
        ("subscribe", "orders.eu.*"): {"reader", "writer"},
        ("subscribe", "orders.us.*"): {"reader", "writer", "nobody"},
        ("subscribe", "orders.*"): set(),
        ("subscribe", "*"): set(),
        ("subscribe", "other"): set(),
        ("publish", "orders.7"): {"reader", "writer", "nobody"},
        ("publish", "orders.eu.7"): {"writer"},
        ("publish", "orders.secret"): set(),
        ("publish", "other"): set(),
        ("history", "orders.eu.7"): {"reader", "writer"},
    }
    async with serve("channels", settings={"rules": rules}, authenticated=True) as kernel:
        found: dict[tuple[str, str], set[str]] = {wanted: set() for wanted in allowed}
        for principal in (reader, writer, nobody):
            client = await kernel.connect(as_=principal)
            for function, channel in allowed:
                said = await asyncio.gather(
                    client.call(f"api.channels.{function}", {"channel": channel}), return_exceptions=True
                )
                if not isinstance(said[0], CallError) or said[0].code != "permission_denied":
                    found[function, channel].add(principal.id)
        assert found == allowed
        with pytest.raises(CallError, match=r"it requires orders:read and orders:write .the rule for 'orders.eu"):
            await publish(client, "orders.eu.7")


async def test_a_scope_means_nobody_where_nobody_has_any() -> None:
    """A server that asks nobody who it is lets in nobody where somebody in particular is wanted."""
    rules = [{"match": "*", "subscribe": ["a"], "publish": ["a"]}]
    async with serve("channels", settings={"rules": rules}) as kernel:
        client = await kernel.connect()
        for function in ("subscribe", "publish"):
            assert (await refused(client, function, {"channel": "x"})).code == "permission_denied"


async def test_a_function_is_asked() -> None:
    """As the caller, after the scopes; only true allows, and what it raises is told."""
    asked: list[tuple[str | None, str, str]] = []
    guard = Service("api.guard")

    @guard.function(requires=())
    async def may(call: Call, data: dict[str, str]) -> Any:
        user = call.principal.id if call.principal else None
        asked.append((user, data["action"], data["channel"]))
        if data["channel"] == "users.broken":
            raise CallError("unavailable", "Nobody can tell.")
        return data["channel"] == f"users.{user}" or ("truthy" if data["channel"] == "users.odd" else False)

    rules = [{"match": "users.*", "publish": True, "ask": "api.guard.may"}, {"match": "*", "ask": "api.guard.nobody"}]
    async with serve("channels", settings={"rules": rules}, neighbours={"guard": guard}, authenticated=True) as kernel:
        client = await kernel.connect(as_=Principal("ann"))
        assert (await subscribe(client, "users.ann"))["offset"] == 0
        assert (await publish(client, "users.ann"))["offset"] == 1
        for channel in ("users.bob", "users.odd", "users.*"):
            with pytest.raises(
                CallError, match=r"^permission_denied: You may not subscribe to .* api.guard.may does not"
            ):
                await subscribe(client, channel)
        with pytest.raises(CallError, match=r"^unavailable: Nobody can tell\.$"):
            await subscribe(client, "users.broken")
        with pytest.raises(CallError, match=r"^not_found: There is no function 'api\.guard\.nobody'"):
            await subscribe(client, "else")
    assert asked[:3] == [
        ("ann", "subscribe", "users.ann"),
        ("ann", "publish", "users.ann"),
        ("ann", "subscribe", "users.bob"),
    ]


# ------------------------------------------------------------------- what comes back


async def test_history_is_read_in_pages(jackfield_client: Client) -> None:
    """From the oldest that is kept, or from the newest; with what is needed to go on."""
    for number in range(1, 8):
        at = await publish(jackfield_client, "kept.a", number)
    epoch = at["epoch"]

    async def read(**more: Any) -> tuple[list[int], bool]:
        found = await history(jackfield_client, "kept.a", **more)
        assert (found["epoch"], found["offset"]) == (epoch, 7)
        assert all(one["data"] == one["offset"] for one in found["publications"])
        return [one["offset"] for one in found["publications"]], found["more"]

    assert await read() == ([3, 4, 5, 6, 7], False)
    assert await read(limit=2) == ([3, 4], True)
    assert await read(limit=2, since={"epoch": epoch, "offset": 5}) == ([6, 7], False)
    assert await read(since={"epoch": epoch, "offset": 7}) == ([], False)
    assert await read(reverse=True, limit=2) == ([7, 6], True)
    assert await read(reverse=True, since={"epoch": epoch, "offset": 5}) == ([4, 3], False)
    assert await read(reverse=True, since={"epoch": epoch, "offset": 1}) == ([], False)
    for since, message in (
        (
            {"epoch": epoch, "offset": 1},
            f"cannot begin at 1 of '{epoch}': publications up to the offset 2 are not kept a",
        ),
        ({"epoch": epoch, "offset": 8}, f"cannot begin at 8 of '{epoch}': the newest offset is 7"),
    ):
        error = await refused(jackfield_client, "history", {"channel": "kept.a", "since": since})
        assert error.code == "out_of_range"
        assert message in error.message
    error = await refused(
        jackfield_client, "history", {"channel": "kept.a", "since": {"epoch": "x", "offset": 3}, "reverse": True}
    )
    assert error.code == "out_of_range"


async def test_a_channel_without_history_has_an_offset_and_nothing_else(jackfield_client: Client) -> None:
    """So that a gap can be seen."""
    first = await publish(jackfield_client, "open.a", 1)
    second = await publish(jackfield_client, "open.a", 2)
    assert (first["offset"], second["offset"]) == (1, 2)
    assert await history(jackfield_client, "open.a") == {
        "epoch": first["epoch"],
        "offset": 2,
        "publications": [],
        "more": False,
    }


async def test_a_publisher_may_try_again(jackfield_client: Client) -> None:
    """With the same id there is one publication, whatever its data."""
    await subscribe(jackfield_client, "open.a")
    first = await publish(jackfield_client, "open.a", "one", id="x")
    assert await publish(jackfield_client, "open.a", "again", id="x") == first
    assert (await publish(jackfield_client, "open.a", "two"))["offset"] == 2
    assert [(await jackfield_client.next_event("channel"))["data"] for _ in range(2)] == ["one", "two"]


async def test_19_subscriptions_are_counted(jackfield_client: Client) -> None:
    """So many a connection; a second one to the same is none, and an ended one makes room."""
    for channel in ("open.a", "open.b", "open.*", "open.a", "open.*"):
        await subscribe(jackfield_client, channel)
    for channel in ("open.c", "seen.*"):
        error = await refused(jackfield_client, "subscribe", {"channel": channel})
        assert (error.code, error.message) == (
            "resource_exhausted",
            "The connection has 3 subscriptions, and may have no more (plugins.channels.max_subscriptions).",
        )
    await jackfield_client.call("api.channels.unsubscribe", {"channel": "open.*"})
    await jackfield_client.call("api.channels.unsubscribe", {"channel": "never"})
    await subscribe(jackfield_client, "open.c")


# ------------------------------------------------------------------- presence


async def test_who_is_there(jackfield_kernel):
    """With what it shows; others are told who comes and goes, however that happens; nobody is told of itself."""
    async with AsyncExitStack() as stack:
        one = await jackfield_kernel.connect()
        assert await presence(one, "seen.a") == {"count": 0, "members": []}
        await subscribe(one, "seen.a", data={"name": "Ann"})
        assert (await presence(one, "seen.a"))["members"][0]["data"] == {"name": "Ann"}
        two = await stack.enter_async_context(await jackfield_kernel.connect())
        await subscribe(two, "seen.a")
        joined = await one.next_event("presence")
        assert joined == {"channel": "seen.a", "event": "join", "client": joined["client"], "user": None, "data": None}
        await subscribe(two, "seen.a", data=2)  # which is no second coming
        assert {one["client"]: one["data"] for one in (await presence(two, "seen.a"))["members"]}[joined["client"]] == 2
        await two.call("api.channels.unsubscribe", {"channel": "seen.a"})
        assert await one.next_event("presence") == {**joined, "event": "leave", "data": 2}
        await subscribe(two, "seen.a")
        assert (await one.next_event("presence"))["event"] == "join"
        await two.vanish()
        assert (await one.next_event("presence"))["event"] == "leave"
        assert (await presence(one, "seen.a"))["count"] == 1


async def test_presence_has_bounds(jackfield_kernel):
    """More are counted and not listed, and then nobody is told who comes."""
    clients = [await jackfield_kernel.connect() for _ in range(4)]
    for client in clients:
        await subscribe(client, "seen.a")
    found = await presence(clients[0], "seen.a")
    assert (found["count"], len(found["members"])) == (4, 2)
    assert (await clients[0].next_event("presence"))["event"] == "join"
    await clients[3].call("api.channels.unsubscribe", {"channel": "seen.a"})
    await clients[2].call("api.channels.unsubscribe", {"channel": "seen.a"})
    await clients[1].call("api.channels.unsubscribe", {"channel": "seen.a"})
    told = [await clients[0].next_event("presence") for _ in range(2)]
    assert [one["event"] for one in told] == ["leave", "leave"]


async def test_who_it_is_where_that_is_known() -> None:
    """By the id of the principal."""
    rules = [{"match": "*", "presence": True}]
    async with serve("channels", settings={"rules": rules}, authenticated=True) as kernel:
        client = await kernel.connect(as_=Principal("ann"))
        await subscribe(client, "a")
        (member,) = (await presence(client, "a"))["members"]
        assert member["user"] == "ann"


async def test_a_subscription_that_is_ended_before_it_began(jackfield_client: Client) -> None:
    """The last word of the client counts."""
    results = await asyncio.gather(
        subscribe(jackfield_client, "kept.a"),
        jackfield_client.call("api.channels.unsubscribe", {"channel": "kept.a"}),
        return_exceptions=True,
    )
    assert isinstance(results[0], CallError)
    assert results[0].code == "aborted"
    assert (await publish(jackfield_client, "kept.a"))["offset"] == 1
    await subscribe(jackfield_client, "kept.a")
    await publish(jackfield_client, "kept.a", "second")
    assert (await jackfield_client.next_event("channel"))["data"] == "second"
