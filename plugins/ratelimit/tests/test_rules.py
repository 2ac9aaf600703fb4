"""Which calls a rule counts, seen from outside."""

from __future__ import annotations

from typing import Any

import pytest

from jackfield import CallError, Principal
from jackfield.testing import Client, RunningKernel
from plugins.ratelimit.tests import counting
from tests.support.client import connected

RULES: list[dict[str, Any]] = [
    {"functions": "api.counter.own", "rate": 0.001, "burst": 3},
    {"functions": ["api.counter.each", "api.counter.other"], "per": "function", "rate": 0.001, "burst": 2},
    {"functions": "api.counter.each", "rate": 0.002, "burst": 1},
    {"functions": "api.counter.refilled", "per": "connection", "rate": 0.1, "burst": 1},
    {"functions": "api.counter.inner", "per": "function", "rate": 0.001, "burst": 2, "inside": True},
    {"functions": "api.counter.stream", "per": "connection", "rate": 0.001, "burst": 2},
    {"functions": "api.counter.deep.*", "per": "server", "rate": 0.001, "burst": 3},
]
REFUSED = "resource_exhausted"
ANN, BOB = Principal("ann"), Principal("bob")

pytestmark = pytest.mark.jackfield(
    settings={"rules": RULES},
    neighbours={"counter": counting, "system": "system"},
    config={"access": {"rules": [{"functions": "*"}]}},
    authenticated=True,
)
network = pytest.mark.jackfield(network=True)
"""For what the Python client does not do: long-polling, batches, the answers to packets as they are."""


def codes(replies):
    """Return what replies that came as packets say, each in a word."""
    return [reply["error"]["code"] if "error" in reply else reply["data"] for reply in replies]


async def said(client: Client, function: str, times: int = 1) -> list[str]:
    """Call a function so many times, one after the other; return each result, or the code of its refusal."""
    found: list[str] = []
    for _ in range(times):
        try:
            found.append(await client.call(function))
        except CallError as error:
            found.append(error.code)
    return found


async def refusal(client: Client, function: str) -> CallError:
    """Call a function that is refused."""
    with pytest.raises(CallError) as raised:
        await client.call(function)
    assert raised.value.code == REFUSED
    return raised.value


@network
async def test_a_caller_is_limited_whatever_connections_it_has(jackfield_kernel: RunningKernel) -> None:
    """And nobody else is harmed: each has a bucket of its own."""
    url, ticket = jackfield_kernel.url, jackfield_kernel.ticket
    async with (
        connected(url, "websocket", auth=ticket(ANN)) as ann,
        connected(url, "polling", auth=ticket(ANN)) as again,
        connected(url, "websocket", auth=ticket(BOB)) as bob,
    ):
        replies = [await (ann, again)[turn % 2].call("api.counter.own") for turn in range(50)]
        assert codes(replies) == ["in"] * 3 + [REFUSED] * 47
        assert codes([await bob.call("api.counter.own") for _ in range(3)]) == ["in"] * 3
        assert codes([await ann.call("api.system.ping")]) == ["pong"]  # no rule names it


@pytest.mark.jackfield(as_=ANN)
async def test_a_refusal_names_the_rule_and_the_moment(jackfield_client: Client) -> None:
    """The message says what the limit is, `retry_after` when one call will pass."""
    assert await said(jackfield_client, "api.counter.own", 3) == ["in"] * 3
    error = (await refusal(jackfield_client, "api.counter.own")).as_dict()
    retry_after = error.pop("retry_after")
    assert isinstance(retry_after, int)
    assert 990_000 < retry_after <= 1_000_000
    assert error == {
        "code": REFUSED,
        "message": "Too many calls: api.counter.own takes 0.001 a second for each caller, 3 at once "
        "(plugins.ratelimit, rule 1).",
    }


@network
async def test_each_entry_of_a_batch_counts(jackfield_kernel: RunningKernel) -> None:
    """Those past the limit are refused, the others answered."""
    async with connected(jackfield_kernel.url, "websocket", auth=jackfield_kernel.ticket(ANN)) as ann:
        replies = await ann.send([{"event": "api.counter.own"}] * 10)
    assert codes(replies) == ["in"] * 3 + [REFUSED] * 7


async def test_the_empty_bucket_alone_is_asked(jackfield_kernel: RunningKernel) -> None:
    """A call that one rule refuses takes nothing from the buckets of the others, whichever comes first."""
    ann, bob = [await jackfield_kernel.connect(as_=principal) for principal in (ANN, BOB)]
    assert await said(ann, "api.counter.each", 19) == ["in"] + [REFUSED] * 18
    error = await refusal(ann, "api.counter.each")
    assert "rule 3" in error.message
    assert error.retry_after is not None
    assert error.retry_after <= 500_000
    assert await said(bob, "api.counter.each") == ["in"]  # the second of the function's two
    last = await refusal(bob, "api.counter.each")
    assert "rule 2" in last.message  # of two empty buckets, the one that takes longer
    assert last.retry_after is not None
    assert last.retry_after > 500_000
    assert await said(bob, "api.counter.other", 3) == ["in", "in", REFUSED]


@pytest.mark.jackfield(as_=ANN, network=False)
async def test_a_bucket_is_filled_again(jackfield_kernel: RunningKernel, jackfield_client: Client) -> None:
    """Who was refused is let in by the same connection when it was told to come again."""
    assert await said(jackfield_client, "api.counter.refilled") == ["in"]
    error = await refusal(jackfield_client, "api.counter.refilled")
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 10_000
    await jackfield_kernel.clock.advance(error.retry_after / 1000)
    assert await said(jackfield_client, "api.counter.refilled") == ["in"]


@pytest.mark.jackfield(as_=ANN)
async def test_calls_from_inside_count_where_a_rule_says_so(jackfield_client: Client) -> None:
    """And only there."""
    assert await jackfield_client.call("api.counter.outer", "api.counter.own") == ["in"] * 4
    assert await jackfield_client.call("api.counter.outer", "api.counter.inner") == ["in", "in", REFUSED, REFUSED]


@network
async def test_a_stream_counts_when_it_is_opened(jackfield_kernel: RunningKernel) -> None:
    """The third is refused, and has never been opened."""
    async with connected(jackfield_kernel.url, "websocket", auth=jackfield_kernel.ticket(ANN)) as ann:
        replies = [await ann.call("api.counter.stream", id=number, credit=8) for number in range(3)]
    assert [reply.get("stream") for reply in replies] == ["server", "server", None]
    assert replies[2]["error"]["code"] == REFUSED


async def test_one_bucket_for_all(jackfield_kernel: RunningKernel) -> None:
    """All callers and all functions of a pattern share it."""
    ann, bob = [await jackfield_kernel.connect(as_=principal) for principal in (ANN, BOB)]
    assert await said(ann, "api.counter.deep.first") == ["in"]
    assert await said(bob, "api.counter.deep.second") == ["in"]
    assert await said(bob, "api.counter.deep.first") == ["in"]
    assert await said(ann, "api.counter.deep.second") == [REFUSED]


@pytest.mark.parametrize(("scope", "exempt"), [("jackfield:operator", True), ("operator", False)])
async def test_operators_are_exempt(jackfield_kernel: RunningKernel, scope: str, exempt: bool) -> None:
    """By the scope that the settings name, and no other."""
    client = await jackfield_kernel.connect(as_=Principal("lea", scopes=frozenset({"x", scope})))
    expected = ["in"] * 9 if exempt else ["in"] * 3 + [REFUSED] * 6
    assert await said(client, "api.counter.own", 9) == expected


@pytest.mark.jackfield(
    settings={
        "rules": [
            {"functions": "api.counter.own", "rate": 0.001, "burst": 3},
            {"functions": "api.counter.other", "per": "address", "rate": 0.001, "burst": 2},
            {"functions": ["api.counter.deep.*", "api.system.ping"], "per": "plugin", "rate": 0.001, "burst": 2},
        ]
    },
    authenticated=False,
    config={},
    network=True,
)
async def test_who_is_nobody_is_an_address(jackfield_kernel: RunningKernel) -> None:
    """Where clients need not say who they are, all connections of an address share its bucket; plugins have theirs."""
    url = jackfield_kernel.url
    async with connected(url, "websocket") as one, connected(url, "polling") as two:
        replies = [await turn.call("api.counter.own") for turn in (one, two, one, two)]
        assert codes(replies) == ["in"] * 3 + [REFUSED]
        assert codes([await turn.call("api.counter.other") for turn in (one, two, one)]) == ["in"] * 2 + [REFUSED]
        replies = [await one.call(f"api.counter.deep.{name}") for name in ("first", "second", "first")]
        assert codes(replies) == ["in"] * 2 + [REFUSED]
        assert codes([await one.call("api.system.ping") for _ in range(3)]) == ["pong"] * 2 + [REFUSED]
