"""Which calls a rule counts, seen from outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from plugins.ratelimit.tests.limiting import limited
from tests.support.client import connected
from tests.support.server import Server

RULES = """
rules = [
    { functions = "api.counter.own", rate = 0.001, burst = 3 },
    { functions = ["api.counter.each", "api.counter.other"], per = "function", rate = 0.001, burst = 2 },
    { functions = "api.counter.each", rate = 0.002, burst = 1 },
    { functions = "api.counter.refilled", per = "connection", rate = 5, burst = 1 },
    { functions = "api.counter.inner", per = "function", rate = 0.001, burst = 2, inside = true },
    { functions = "api.counter.stream", per = "connection", rate = 0.001, burst = 2 },
    { functions = "api.counter.deep.*", per = "server", rate = 0.001, burst = 3 },
]
"""
REFUSED = "resource_exhausted"


@pytest.fixture(scope="module", name="counter")
def _counter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all: each test has functions or names of its own."""
    with limited(tmp_path_factory.mktemp("counter"), RULES) as server:
        yield server


def codes(replies):
    return [reply["error"]["code"] if "error" in reply else reply["data"] for reply in replies]


async def test_a_caller_is_limited_whatever_connections_it_has(counter):
    """And nobody else is harmed: each has a bucket of its own."""
    async with (
        connected(counter.url, "websocket", auth={"name": "ann"}) as ann,
        connected(counter.url, "polling", auth={"name": "ann"}) as again,
        connected(counter.url, "websocket", auth={"name": "bob"}) as bob,
    ):
        replies = [await (ann, again)[turn % 2].call("api.counter.own") for turn in range(50)]
        assert codes(replies) == ["in"] * 3 + [REFUSED] * 47
        assert codes([await bob.call("api.counter.own") for _ in range(3)]) == ["in"] * 3
        assert codes([await ann.call("api.system.ping")]) == ["pong"]  # no rule names it


async def test_a_refusal_names_the_rule_and_the_moment(counter):
    """The message says what the limit is, `retry_after` when one call will pass."""
    async with connected(counter.url, "websocket", auth={"name": "cleo"}) as cleo:
        for _ in range(3):
            await cleo.call("api.counter.own")
        error = (await cleo.call("api.counter.own"))["error"]
    assert 990_000 < error.pop("retry_after") <= 1_000_000
    assert error == {
        "code": REFUSED,
        "message": "Too many calls: api.counter.own takes 0.001 a second for each caller, 3 at once "
        "(plugins.ratelimit, rule 1).",
    }


async def test_each_entry_of_a_batch_counts(counter):
    """Those past the limit are refused, the others answered."""
    async with connected(counter.url, "websocket", auth={"name": "dan"}) as dan:
        replies = await dan.send([{"event": "api.counter.own"}] * 10)
    assert codes(replies) == ["in"] * 3 + [REFUSED] * 7


async def test_the_empty_bucket_alone_is_asked(counter):
    """A call that one rule refuses takes nothing from the buckets of the others, whichever comes first."""
    async with (
        connected(counter.url, "websocket", auth={"name": "eve"}) as eve,
        connected(counter.url, "websocket", auth={"name": "fay"}) as fay,
    ):
        replies = [await eve.call("api.counter.each") for _ in range(20)]
        assert codes(replies) == ["in"] + [REFUSED] * 19
        assert "rule 3" in replies[-1]["error"]["message"]
        assert replies[-1]["error"]["retry_after"] <= 500_000
        assert codes([await fay.call("api.counter.each")]) == ["in"]  # the second of the function's two
        last = (await fay.call("api.counter.each"))["error"]
        assert "rule 2" in last["message"]  # of two empty buckets, the one that takes longer
        assert last["retry_after"] > 500_000
        assert codes([await fay.call("api.counter.other") for _ in range(3)]) == ["in", "in", REFUSED]


async def test_a_bucket_is_filled_again(counter):
    """Who was refused is let in later, by the same connection."""
    async with connected(counter.url, "websocket", auth={"name": "gil"}) as gil:
        replies = await gil.send([{"event": "api.counter.refilled"}] * 2)
        assert codes(replies) == ["in", REFUSED]
        assert 0 < replies[1]["error"]["retry_after"] <= 200
        let_in = False
        while not let_in:
            let_in = "data" in await gil.call("api.counter.refilled")


async def test_calls_from_inside_count_where_a_rule_says_so(counter):
    """And only there."""
    async with connected(counter.url, "websocket", auth={"name": "hal"}) as hal:
        own = await hal.call("api.counter.outer", "api.counter.own")
        inner = await hal.call("api.counter.outer", "api.counter.inner")
    assert own["data"] == ["in"] * 4
    assert inner["data"] == ["in", "in", REFUSED, REFUSED]


async def test_a_stream_counts_when_it_is_opened(counter):
    """The third is refused, and has never been opened."""
    async with connected(counter.url, "websocket", auth={"name": "ida"}) as ida:
        replies = [await ida.call("api.counter.stream", id=number, credit=8) for number in range(3)]
    assert [reply.get("stream") for reply in replies] == ["server", "server", None]
    assert replies[2]["error"]["code"] == REFUSED


async def test_one_bucket_for_all(counter):
    """All callers and all functions of a pattern share it."""
    async with (
        connected(counter.url, "websocket", auth={"name": "jan"}) as jan,
        connected(counter.url, "websocket", auth={"name": "kim"}) as kim,
    ):
        replies = [await jan.call("api.counter.deep.first"), await kim.call("api.counter.deep.second")]
        replies += [await kim.call("api.counter.deep.first"), await jan.call("api.counter.deep.second")]
    assert codes(replies) == ["in", "in", "in", REFUSED]


async def test_operators_are_exempt(counter):
    """By the scope that the settings name, and no other."""
    async with (
        connected(counter.url, "websocket", auth={"name": "lea", "scopes": "x jackfield:operator"}) as lea,
        connected(counter.url, "websocket", auth={"name": "max", "scopes": "x operator"}) as max_,
    ):
        assert codes([await lea.call("api.counter.own") for _ in range(9)]) == ["in"] * 9
        assert codes([await max_.call("api.counter.own") for _ in range(4)]) == ["in"] * 3 + [REFUSED]


async def test_who_is_nobody_is_an_address(tmp_path):
    """Where clients need not say who they are, all connections of an address share its bucket; plugins have theirs."""
    rules = """
    rules = [
        { functions = "api.counter.own", rate = 0.001, burst = 3 },
        { functions = "api.counter.other", per = "address", rate = 0.001, burst = 2 },
        { functions = ["api.counter.deep.*", "api.system.ping"], per = "plugin", rate = 0.001, burst = 2 },
    ]
    """
    with limited(tmp_path, rules, door=False) as server:
        async with connected(server.url, "websocket") as one, connected(server.url, "polling") as two:
            replies = [await turn.call("api.counter.own") for turn in (one, two, one, two)]
            assert codes(replies) == ["in"] * 3 + [REFUSED]
            assert codes([await turn.call("api.counter.other") for turn in (one, two, one)]) == ["in"] * 2 + [REFUSED]
            replies = [await one.call(f"api.counter.deep.{name}") for name in ("first", "second", "first")]
            assert codes(replies) == ["in"] * 2 + [REFUSED]
            assert codes([await one.call("api.system.ping") for _ in range(3)]) == ["pong"] * 2 + [REFUSED]
