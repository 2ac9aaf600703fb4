"""Number 38: the rules of credit, tried in any order against a real server, and kept by the clients."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.hardening.rounds import CARRIERS, config
from tests.hardening.streaming import Talker, say, talking, write_flow
from tests.interop.flows import Flow, run_javascript
from tests.interop.streamer import run_python
from tests.interop.test_scenarios import missing
from tests.support.server import Server, serving
from tests.support.waiting import LIMIT

SIZE = 10_000
"""Bytes that one message may have: enough for the envelopes of many streams in one POST."""

BUFFER = 16
"""Items that a client may be allowed, over all its streams."""


@pytest.fixture(scope="module", params=CARRIERS, name="server")
def _server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("credit")
    limits = f"message_size = {SIZE}\nstream_buffer = {SIZE * BUFFER}\ncancels = 10_000\n"
    with serving(
        folder / "server", config=config(request.param, limits=limits), path=[write_flow(folder / "plugins")]
    ) as server:
        yield server


@dataclass
class Stream:
    """One stream as its client knows it."""

    id: int
    kind: str
    granted: int = 0
    received: int = 0
    sent: int = 0
    finished: bool = False

    @property
    def gives(self) -> bool:
        """Whether the server sends items."""
        return self.kind in ("count", "mirrors")

    @property
    def takes(self) -> bool:
        """Whether the client may send items."""
        return self.kind != "count" and not self.finished

    @property
    def due(self) -> int:
        """How many items must have come by now, and not one more."""
        return self.granted if self.kind == "count" else min(self.granted, self.sent)


class Credit(RuleBasedStateMachine):
    """A client that does in turn whatever a client may do, and some of what it may not, with several streams."""

    url: str
    way: str

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._client: Talker = self._do(self._stack.enter_async_context(talking(self.url, self.way)))
        self._streams: list[Stream] = []
        self._ended: list[int] = []
        self._number = 0

    def _do(self, coroutine: Any) -> Any:
        async def limited() -> Any:
            async with asyncio.timeout(LIMIT):
                return await coroutine

        return self._runner.run(limited())

    def teardown(self) -> None:
        """Hang up, whatever there is that was not read: a farewell would wait behind it."""
        if self.way == "websocket":
            self._client.carrier.socket.transport.abort()
        self._do(self._stack.aclose())
        self._runner.close()

    def _pick(self, number: int, *kinds: str) -> Stream | None:
        fitting = [stream for stream in self._streams if not kinds or stream.kind in kinds]
        return fitting[number % len(fitting)] if fitting else None

    @rule(kind=st.sampled_from(["count", "hoards", "drinks", "mirrors"]), credit=st.integers(0, 5))
    @precondition(lambda self: len(self._streams) < 5)
    def open(self, kind: str, credit: int) -> None:
        """Open a stream; the ids of those that have ended are used again."""
        self._number += 1
        id = self._ended.pop() if len(self._ended) > 3 else self._number
        self._streams.append(Stream(id, kind, granted=credit))
        self._do(self._opened(self._streams[-1], credit))

    async def _opened(self, stream: Stream, credit: int) -> None:
        reply = await self._client.open(stream.kind, stream.id, credit=credit)
        assert reply["stream"] == {"count": "server", "mirrors": "both"}.get(stream.kind, "client")
        assert ("credit" in reply) is (stream.kind != "count")

    @rule(number=st.integers(0, 4), credit=st.integers(1, 5))
    def grant(self, number: int, credit: int) -> None:
        """Let the server send more."""
        if stream := self._pick(number, "count", "mirrors"):
            stream.granted += credit
            self._do(self._client.say(stream.id, credit=credit))

    @rule(number=st.integers(0, 4), most=st.integers(1, 6))
    def send(self, number: int, most: int) -> None:
        """Send as many items as may be sent, or fewer."""
        stream = self._pick(number, "hoards", "drinks", "mirrors")
        if stream and stream.takes and (count := min(most, self._client.credit[stream.id])):
            self._do(self._sent(stream, count))

    async def _sent(self, stream: Stream, count: int) -> None:
        self._client.credit[stream.id] -= count
        items = [say(stream.id, data=stream.sent + one + 1) for one in range(count)]
        stream.sent += count
        await self._client.send(*items)

    @rule(number=st.integers(0, 4))
    def wait_for_credit(self, number: int) -> None:
        """What the function has taken comes back as credit. If others hold all of it, what one of them sends does."""
        stream = self._pick(number, "drinks")
        if stream and stream.takes and not any(other.kind in ("hoards", "mirrors") for other in self._streams):
            assert 0 < self._do(self._may_send(stream)) <= BUFFER

    async def _may_send(self, stream: Stream) -> int:
        credit, others = self._client.credit, [other for other in self._streams if other is not stream]
        while not credit[stream.id]:
            if sum(credit[other.id] for other in others) == BUFFER:
                await self._sent(max(others, key=lambda other: credit[other.id]), 1)
            else:
                await self._client.read()
        return credit[stream.id]

    @rule(number=st.integers(0, 4))
    def end(self, number: int) -> None:
        """Send no more items; what was sent is counted, or comes back as far as there is credit."""
        stream = self._pick(number, "drinks", "mirrors")
        if stream and stream.takes:
            stream.finished = True
            self._do(self._client.say(stream.id, end=True))
            if stream.kind == "drinks":
                assert self._do(self._client.hear(stream.id)) == {"id": stream.id, "end": True, "data": stream.sent}
                self._over(stream)

    @rule(number=st.integers(0, 4))
    def cancel(self, number: int) -> None:
        """Cancel one; its last items, if they were under way, come before the error."""
        if stream := self._pick(number):
            self._do(self._caught_up(stream))
            if stream in self._streams:
                self._do(self._client.say(stream.id, cancel=True))
                self._fails(stream, "canceled")

    @rule(number=st.integers(0, 4), grant=st.sampled_from([0, -1, 0.5, "2", True, 2**31]))
    def grant_nonsense(self, number: int, grant: Any) -> None:
        """A grant that is none ends the stream."""
        if stream := self._pick(number, "count", "mirrors"):
            self._do(self._caught_up(stream))
            if stream in self._streams:
                self._do(self._client.say(stream.id, credit=grant))
                self._fails(stream, "invalid_argument")

    @rule(number=st.integers(0, 4))
    def send_too_much(self, number: int) -> None:
        """Items for which there is no credit end the stream: here none is returned, since none is taken."""
        stream = self._pick(number, "hoards")
        if stream:
            excess = [say(stream.id, data="excess")] * (BUFFER + 1)
            self._do(self._client.send(*excess))
            self._fails(stream, "resource_exhausted")

    @rule(frame=st.sampled_from([{"data": 1}, {"end": True}, {"credit": 3}, {"credit": 0}, {"cancel": True}]))
    @precondition(lambda self: self._ended)
    def say_something_late(self, frame: dict[str, Any]) -> None:
        """Nobody minds what is said of a stream that has ended."""
        self._do(self._client.say(self._ended[-1], **frame))

    @rule()
    def look(self) -> None:
        """All items for which there is credit have come, or come now, in order; and not one more."""
        for stream in list(self._streams):
            self._do(self._caught_up(stream))
        ids = [stream.id for stream in self._streams]
        self._do(self._client.is_quiet(*ids, *self._ended))

    async def _caught_up(self, stream: Stream) -> None:
        if not stream.gives:
            return
        missing = stream.due - stream.received
        got = await self._client.items(stream.id, missing)
        expected = range(stream.received + 1, stream.due + 1)
        if stream.kind == "mirrors":
            assert got == list(expected)
        else:  # one counter for all streams that have this id
            assert got == list(range(got[0], got[0] + missing)) if got else not missing
        stream.received = stream.due
        if stream.finished and stream.received == stream.sent:
            assert await self._client.hear(stream.id) == {"id": stream.id, "end": True}
            self._over(stream)

    def _fails(self, stream: Stream, code: str) -> None:
        assert self._do(self._client.fails(stream.id)) == code
        self._over(stream)

    def _over(self, stream: Stream) -> None:
        self._streams.remove(stream)
        self._ended.append(stream.id)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("way", "examples"),
    [
        ("websocket", 60),
        # Two thousand by websocket, half of them on each carrier of websockets; fewer by polling, which needs neither.
        pytest.param("websocket", 1_000, marks=pytest.mark.full),
        pytest.param("polling", 250, marks=pytest.mark.full),
    ],
)
def test_38_the_rules_of_credit_hold_in_any_order(server: Server, way: str, examples: int) -> None:
    """Whatever a client does: no item without credit, each with credit comes, in order, once; one end; no more."""
    machine = type("Machine", (Credit,), {"url": server.url, "way": way})
    limits = settings(
        max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(machine, settings=limits)


CROWD = [
    *(
        Flow(f"client {number}", "api.flow.drinks", sends=list(range(50)), result=50, gives=False)
        for number in range(20)
    ),
    *(
        Flow(f"both {number}", "api.flow.mirrors", sends=list(range(50)), items=list(range(50)), credit=number % 5 + 1)
        for number in range(20)
    ),
    *(
        Flow(f"server {number}", "api.flow.upTo", 50, items=list(range(1, 51)), credit=number % 5 + 1)
        for number in range(20)
    ),
]
"""Streams that send much more at once than a client may: each has to wait for its turn."""


@pytest.mark.parametrize("way", ["websocket", pytest.param("polling", marks=pytest.mark.full)])
@pytest.mark.parametrize("language", ["javascript", "python"])
def test_38_clients_that_wait_for_credit_come_to_their_end(
    server: Server, language: str, way: str, tmp_path: Path, require_all: bool
) -> None:
    """Sixty streams at once, and room for sixteen items: who sends one too many loses its stream, and none does."""
    if language == "python":
        reports = run_python(CROWD, way, server.url)
    elif lack := missing():
        (pytest.fail if require_all else pytest.skip)(lack)
    else:
        reports = run_javascript(CROWD, way, server.url, tmp_path)
    assert [fault for flow in CROWD for fault in flow.faults(reports[flow.name])] == []
