"""Calls with a key: which of them run, and what the others get; with stores of both kinds."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from jackfield import Call, CallError, Principal, Proceed, hookimpl
from jackfield.client import ConnectionLost
from plugins.idempotency.tests.effects import KEY, keyed
from tests.support.waiting import until

UNKNOWN = r"^aborted: The call with this idempotency-key was begun and cut short, so nobody knows whether it was done"


async def test_a_call_with_a_key_is_done_once(serve_shop, effects):
    """Whatever client of the same caller makes it again, and whichever way it writes the header."""
    async with serve_shop() as kernel:
        client, other = await kernel.connect(), await kernel.connect()
        assert await keyed(client, "buy", {"goods": "tea"}) == 1
        assert await keyed(client, "buy", {"goods": "tea"}) == 1
        assert await other.call("shop.buy", {"goods": "tea"}, meta={"trace": "x", "Idempotency-Key": KEY}) == 1
        assert effects.done["buy"] == 1
        assert await client.call("shop.buy", {"goods": "tea"}) == 2
        assert await keyed(client, "buy", {"goods": "tea"}, key=KEY + "2") == 3


async def test_a_key_is_that_of_a_function(serve_shop):
    """Another one with the same key is another call."""
    async with serve_shop() as kernel:
        client = await kernel.connect()
        assert await keyed(client, "buy") == 1
        assert await keyed(client, "sell") == 1


async def test_a_key_is_that_of_somebody(serve_shop, effects):
    """Who knows another one's key gets nothing by it."""
    async with serve_shop(authenticated=True) as kernel:
        ann, bea = [await kernel.connect(as_=Principal(name)) for name in ("ann", "bea")]
        assert await keyed(ann, "buy", key="1") == 1
        assert await keyed(bea, "buy", key="1") == 2
        assert await keyed(await kernel.connect(as_=Principal("ann", frozenset({"x"}))), "buy", key="1") == 1


@pytest.mark.parametrize("data", [{"goods": "tee"}, None, b"tea", "tea", [{"goods": "tea"}], 1])
async def test_another_call_takes_another_key(serve_shop, effects, data):
    """Where the data differ it is a mistake of the client, and nothing is done."""
    async with serve_shop() as kernel:
        client = await kernel.connect()
        assert await keyed(client, "buy", {"goods": "tea"}) == 1
        with pytest.raises(CallError, match=r"^invalid_argument: A call with this idempotency-key was made with other"):
            await keyed(client, "buy", data)
        assert effects.done["buy"] == 1


async def test_the_order_of_fields_makes_no_difference(serve_shop):
    """It says nothing in JSON. What stands in a Buffer does."""
    async with serve_shop() as kernel:
        client = await kernel.connect()
        assert await keyed(client, "buy", {"a": b"\x00", "b": [{"c": 1, "d": None}]}) == 1
        assert await keyed(client, "buy", {"b": [{"d": None, "c": 1}], "a": b"\x00"}) == 1
        with pytest.raises(CallError, match=r"^invalid_argument: "):
            await keyed(client, "buy", {"a": b"\x01", "b": [{"c": 1, "d": None}]})


@pytest.mark.parametrize("encoding", ["gzip", "base64+gzip", "json"])
async def test_packed_data_are_the_same_if_packed_alike(serve_shop, encoding):
    """Both ways."""
    async with serve_shop() as kernel:
        client = await kernel.connect()
        for _ in range(2):
            assert await keyed(client, "buy", {"goods": "tea"}, encoding=encoding, accept="gzip") == 1


@pytest.mark.parametrize("key", ["", "x" * 65, f"{KEY}\n", f"{KEY}\x00", f"{KEY}\u2028"])
async def test_a_key_is_short_and_printable(serve_shop, effects, key):
    """Anything else is refused, rather than looked over."""
    async with serve_shop() as kernel:
        with pytest.raises(CallError) as no:
            await keyed(await kernel.connect(), "buy", key=key)
        assert no.value.code == "invalid_argument"
        assert no.value.message == "An idempotency-key has 1 to 64 printable characters."
        assert not effects.done


async def test_a_key_of_nobody_is_one_that_nobody_guesses(serve_shop, effects):
    """Others who are nobody have theirs in the same place."""
    async with serve_shop() as kernel:
        client = await kernel.connect()
        with pytest.raises(CallError) as no:
            await keyed(client, "buy", key="x" * 21)
        assert no.value.code == "invalid_argument"
        assert no.value.message == (
            "Nobody has said who you are, so your idempotency-key has to be one that nobody else has: at least 22 "
            "characters, such as a random UUID."
        )
        assert not effects.done
        assert await keyed(client, "buy", key="é" * 22) == 1


async def test_the_reply_is_the_same_to_the_byte(serve_shop, effects):
    """Also where the function's type is written in another way than it is read; Buffers are Buffers."""
    async with serve_shop() as kernel:
        client = await kernel.connect()
        expected = {"on": "2026-12-24", "picture": b"\x00\xff", "cents": "0.01 €"}
        assert [await keyed(client, "receipt") for _ in range(3)] == [expected] * 3
        assert effects.done["receipt"] == 1


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}, b"", [b"", b"x\n", b""], 2**53 - 1, 0.1, "\n\ud7ff\0"])
async def test_any_value_comes_again(serve_shop, value):
    """Of JSON, with Buffers."""
    async with serve_shop() as kernel:
        client = await kernel.connect()
        assert [await keyed(client, "give", value) for _ in range(2)] == [value, value]


async def test_a_large_number_comes_again_where_it_can_be_sent(serve_shop, effects):
    """MessagePack carries it, and JSON does not; the function has run all the same."""
    async with serve_shop() as kernel:
        client = await kernel.connect()
        for _ in range(2):
            assert await keyed(client, "large", accept="msgpack") == 2**60
        with pytest.raises(CallError, match=r"^internal: "):
            await keyed(client, "large")
        assert effects.done["large"] == 1


async def test_whoever_calls_meanwhile_waits(serve_shop, effects):
    """Any number of them, at any server, until the first one has its reply."""
    async with serve_shop() as one, serve_shop() as two:
        clients = [await one.connect(), await two.connect()]
        calls = [asyncio.create_task(keyed(clients[n % 2], "hold")) for n in range(6)]
        await until(lambda: effects.done["hold"])
        with pytest.raises(CallError, match=r"^deadline_exceeded: "):
            await keyed(clients[1], "hold", timeout=0.3)
        assert not any(call.done() for call in calls)
        effects.go.set()
        assert await asyncio.gather(*calls) == [1] * 6
        assert effects.done["hold"] == 1


async def test_what_was_refused_is_refused_again(serve_shop, effects):
    """With all that was told; the function is not asked again."""
    detail = {"path": [], "type": "sold_out", "message": "There is no tea."}
    data = {"code": "failed_precondition", "message": "Not now.", "details": [detail], "retry_after": 5000}
    async with serve_shop() as kernel:
        client = await kernel.connect()
        for _ in range(2):
            with pytest.raises(CallError) as no:
                await keyed(client, "fail", data)
            assert no.value.as_dict() == data
        assert effects.done["fail"] == 1


@pytest.mark.parametrize("code", ["unavailable", "resource_exhausted"])
async def test_what_was_not_done_may_be_tried_again(serve_shop, effects, code):
    """These two codes say so."""
    data = {"code": code, "message": "Come again.", "times": 2}
    async with serve_shop() as kernel:
        client = await kernel.connect()
        for _ in range(2):
            with pytest.raises(CallError, match=f"^{code}: Come again"):
                await keyed(client, "fail", data)
        assert [await keyed(client, "fail", data) for _ in range(2)] == ["at last", "at last"]
        assert effects.done["fail"] == 3


async def test_who_waits_for_what_is_not_done_does_it(serve_shop, effects):
    """One of them does, and the others wait for that."""
    data = {"code": "unavailable", "message": "Come again.", "times": 1}
    async with serve_shop() as kernel:
        client = await kernel.connect()
        replies = await asyncio.gather(*(keyed(client, "fail", data) for _ in range(5)), return_exceptions=True)
        assert sorted(map(str, replies)) == ["at last"] * 4 + ["unavailable: Come again."]
        assert effects.done["fail"] == 2


async def test_data_that_do_not_fit_use_up_no_key(serve_shop, effects):
    """What the kernel refuses was not begun."""
    async with serve_shop() as kernel:
        client = await kernel.connect()
        with pytest.raises(CallError, match=r"^invalid_argument: The data does not fit"):
            await keyed(client, "fail", "no object")
        data = {"times": 0}
        assert await keyed(client, "fail", data) == "at last"


async def test_after_a_crash_nobody_knows(serve_shop, effects):
    """The first caller gets an id for the log; who asks again is told that it is not done again."""
    async with serve_shop() as kernel:
        client = await kernel.connect()
        with pytest.raises(CallError, match=r"^internal: "):
            await keyed(client, "crash")
        with pytest.raises(CallError, match=UNKNOWN):
            await keyed(client, "crash")
        assert effects.done["crash"] == 1


async def test_after_a_deadline_nobody_knows(serve_shop, effects):
    """The function was cut short."""
    async with serve_shop() as kernel:
        client = await kernel.connect()
        with pytest.raises(CallError, match=r"^deadline_exceeded: "):
            await keyed(client, "hold", timeout=0.3)
        await until(lambda: effects.ended)
        with pytest.raises(CallError, match=UNKNOWN):
            await keyed(client, "hold")
        assert effects.done["hold"] == 1


async def test_after_a_cancellation_nobody_knows(serve_shop, effects):
    """By who made the call; of those who wait for it, that changes nothing."""
    async with serve_shop() as kernel:
        client = await kernel.connect()
        first = asyncio.create_task(keyed(client, "hold"))
        await until(lambda: effects.done["hold"])
        second, third = (asyncio.create_task(keyed(client, "hold")) for _ in range(2))
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert not effects.ended
        first.cancel()
        with pytest.raises(CallError, match=UNKNOWN):
            await third
        assert effects.done["hold"] == 1


@pytest.mark.parametrize("function", ["hold", "thread"])
async def test_a_client_that_goes_away_finds_its_reply(serve_shop, effects, function):
    """The function runs on, as if its author had said `detached`, and notices nothing."""
    async with serve_shop() as kernel:
        client = await kernel.connect()
        first = asyncio.create_task(keyed(client, function))
        await until(lambda: effects.done[function])
        await client.vanish()
        with pytest.raises(ConnectionLost):
            await first
        again = asyncio.create_task(keyed(await kernel.connect(), function))
        effects.go.set()
        effects.stop.set()
        assert await again == 1
        assert effects.done[function] == 1


async def test_without_a_key_a_call_ends_with_its_client(serve_shop, effects):
    """As ever."""
    async with serve_shop() as kernel:
        client = await kernel.connect()
        first = asyncio.create_task(client.call("shop.hold"))
        await until(lambda: effects.done["hold"])
        await client.vanish()
        await until(lambda: effects.ended)
        with pytest.raises(ConnectionLost):
            await first


async def test_what_a_function_calls_is_a_part_of_it(serve_shop, effects):
    """It has the same headers; that makes two calls of one function no retry."""
    async with serve_shop() as kernel:
        client = await kernel.connect()
        assert [await keyed(client, "both") for _ in range(2)] == [[1, 2], [1, 2]]
        assert await keyed(client, "buy") == 3


async def test_streams_take_no_key(serve_shop, effects):
    """They say so, and do nothing."""
    async with serve_shop() as kernel:
        client = await kernel.connect()
        meta = {"idempotency-key": KEY}
        message = r"^invalid_argument: An idempotency-key is for calls with one argument and one result; this is a stre"
        with pytest.raises(CallError, match=message):
            [item async for item in client.stream("shop.count", meta=meta)]
        with pytest.raises(CallError, match=message):
            await client.call("shop.total", items=[1, 2], meta=meta)
        assert not effects.done
        assert await client.call("shop.total", items=[1, 2]) == 3


async def test_what_looks_after_its_keys_is_left_alone(serve_shop):
    """Of whatever kind it is; others are done once as ever."""
    async with serve_shop(own=["shop.s*", "shop.count"]) as kernel:
        client = await kernel.connect()
        assert [await keyed(client, "sell", key="") for _ in range(2)] == [1, 2]
        assert [item async for item in client.stream("shop.count", meta={"idempotency-key": KEY})] == [1]
        assert [await keyed(client, "buy") for _ in range(2)] == [1, 1]


async def test_a_large_result_is_not_kept(serve_shop, effects):
    """Its caller has it; who asks again is told that it was done."""
    async with serve_shop(max_result=100) as kernel:
        client = await kernel.connect()
        fits = [b"x" * (100 - len('[{"_placeholder":true,"num":0}]'))]
        assert [await keyed(client, "give", fits) for _ in range(2)] == [fits, fits]
        large = [fits[0] + b"x"]
        assert await keyed(client, "give", large, key=KEY + "2") == large
        with pytest.raises(CallError) as no:
            await keyed(client, "give", large, key=KEY + "2")
        assert no.value.code == "failed_precondition"
        assert no.value.message == (
            "The call with this idempotency-key was done; its result had more than 100 bytes and was not kept "
            "(plugins.idempotency.max_result)."
        )
        assert effects.done["give"] == 2


async def test_keys_are_counted(serve_shop, effects):
    """For each caller; a call that is made again needs no other one."""
    async with serve_shop(max_keys=2, authenticated=True) as kernel:
        ann, bea = [await kernel.connect(as_=Principal(name)) for name in ("ann", "bea")]
        assert [await keyed(ann, "buy", key=key) for key in ("1", "2", "1")] == [1, 2, 1]
        with pytest.raises(CallError) as no:
            await keyed(ann, "buy", key="3")
        assert no.value.code == "resource_exhausted"
        assert no.value.message == (
            "2 of your idempotency-keys are kept, and there may be no more (plugins.idempotency.max_keys); each is "
            "forgotten after a time."
        )
        assert await keyed(bea, "buy", key="3") == 3
        assert effects.done["buy"] == 3


async def test_it_stands_around_what_other_plugins_put_around_calls(serve_shop, effects):
    """That is done once as well, and what it made of the result is kept."""

    @hookimpl(tryfirst=True)
    async def jackfield_call(call: Call, proceed: Proceed) -> object:
        effects.done["around"] += 1
        return [await proceed()] if call.event == "shop.give" else await proceed()

    async with serve_shop(neighbours={"zoo": SimpleNamespace(jackfield_call=jackfield_call)}) as kernel:
        client = await kernel.connect()
        assert [await keyed(client, "give", 1) for _ in range(2)] == [[1], [1]]
        assert effects.done == {"give": 1, "around": 1}


async def test_a_server_that_is_told_to_go_keeps_what_ends(serve_shop, effects):
    """Another one that starts then has it; what did not end it knows nothing of."""
    async with serve_shop() as kernel:
        client = await kernel.connect()
        assert await keyed(client, "buy") == 1
        first = asyncio.create_task(keyed(client, "hold"))
        await until(lambda: effects.done["hold"])
        await kernel.drain()
        effects.go.set()
        assert await first == 1
    effects.go.clear()
    async with serve_shop() as kernel:
        client = await kernel.connect()
        assert [await keyed(client, "buy"), await keyed(client, "hold")] == [1, 1]
        cut = asyncio.create_task(keyed(client, "hold", key=KEY + "2"))
        await until(lambda: effects.done["hold"] == 2)
    with pytest.raises(CallError, match=r"^unavailable: "):
        await cut
    async with serve_shop() as kernel:
        with pytest.raises(CallError, match=UNKNOWN):
            await keyed(await kernel.connect(), "hold", key=KEY + "2")
    assert effects.done == {"buy": 1, "hold": 2}
