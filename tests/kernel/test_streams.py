"""Streams without a socket: whatever the two sides do, in whichever order, the rules of credit and of the end hold."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import strategies as st

from jackfield import Call, CallError, Service
from jackfield._dispatch import Dispatcher
from jackfield._json import Json
from jackfield._session import Session
from jackfield._settings import Limits
from tests.support.dispatching import Recorder, join, make_dispatcher
from tests.support.properties import always

LIMITS = Limits(message_size=1000, stream_buffer=5000, cancels=10_000)
AHEAD = LIMITS.stream_buffer // LIMITS.message_size
"""Items that the client may have been granted, and the functions not taken, over all streams."""

PATIENCE = 200
"""Turns of the loop after which whatever is going to happen without the client has happened."""


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Functions crash here by the thousand, and writing that down takes longer than all the rest."""
    caplog.set_level(logging.CRITICAL, "jackfield.calls")


@dataclass
class Plan:
    """What the function of one stream does: its steps, and then its fate."""

    kind: str
    steps: Sequence[str]
    fate: str


@dataclass
class Story:
    """What became of one stream, as its function and its client know it."""

    plan: Plan
    credit: int
    granted: int = 0
    given: list[Any] = field(default_factory=list)
    may_send: int = 0
    promised: int = 0
    sent: int = 0
    finished: bool = False
    excess: bool = False
    taken: list[Any] = field(default_factory=list)
    began: int = 0
    finals: int = 0
    asked: bool = False
    opened: bool = False
    ends: list[Any] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return self.opened and not self.ends


async def _play(story: Story, items: AsyncIterator[int] | None) -> AsyncGenerator[int, None]:
    """Do what the plan says; `give` is for those that yield, `take` for those that are sent something."""
    story.began += 1
    number = 0
    try:
        for step in story.plan.steps:
            if step == "give" and story.plan.kind != "client":
                number += 1
                yield number
            elif step == "take" and items is not None:
                async for item in items:
                    story.taken.append(item)
                    break
            else:
                await asyncio.sleep(0)
        if story.plan.fate == "fail":
            raise CallError("aborted", "As planned.")
        if story.plan.fate == "crash":
            raise ValueError("as planned")
        if story.plan.fate == "stay":
            await asyncio.Event().wait()
    finally:
        story.finals += 1
        await asyncio.sleep(0)


def _service(stories: Sequence[Story]) -> Service:
    service = Service("api.test")

    def told(call: Call) -> Story:
        assert isinstance(call.id, int)
        return stories[call.id]

    @service.function
    async def server(call: Call) -> AsyncIterator[int]:
        async with aclosing(_play(told(call), None)) as steps:
            async for number in steps:
                yield number

    @service.function
    async def client(call: Call, items: AsyncIterator[int]) -> str:
        async with aclosing(_play(told(call), items)) as steps:
            async for _ in steps:
                raise AssertionError("a client stream gives nothing")
        return "result"

    @service.function
    async def both(call: Call, items: AsyncIterator[int]) -> AsyncIterator[int]:
        async with aclosing(_play(told(call), items)) as steps:
            async for number in steps:
                yield number

    return service


class Client(Recorder):
    """A client that checks every frame as it comes; what is wrong is kept, since nobody may raise in a connection."""

    def __init__(self, stories: Sequence[Story]) -> None:
        super().__init__()
        self.faults: list[str] = []
        self._stories = stories

    def acknowledge(self, ack: bytes, text: bytes, buffers: tuple[bytes, ...] = ()) -> None:
        super().acknowledge(ack, text, buffers)
        reply = self.acknowledged[-1][1]
        story = self._stories[reply["id"]]
        self._expect(not story.opened, f"opened twice: {reply}")
        if "error" in reply:
            self.faults.append(f"not opened: {reply}")
            return
        self._expect(reply["stream"] == story.plan.kind, f"the wrong kind: {reply}")
        self._expect(("credit" in reply) is (story.plan.kind != "server"), f"credit: {reply}")
        story.opened = True
        story.granted = story.credit
        self._promise(story, reply.get("credit", 0))

    def emit(self, event: str, payload: Json) -> None:
        super().emit(event, payload)
        frame = self.emitted[-1][1]
        self._expect(event == "stream", f"{event} {frame}")
        story = self._stories[frame["id"]]
        self._expect(story.open, f"a frame before the opening, or after the end: {frame}")
        if "error" in frame or "end" in frame:
            story.ends.append(frame)
        elif "credit" in frame:
            self._expect(frame["credit"] > 0 and not story.finished, f"credit for nothing: {frame}")
            self._promise(story, frame["credit"])
        else:
            story.given.append(frame["data"])
            self._expect(len(story.given) <= story.granted, f"an item past the credit of {story.granted}: {frame}")

    def _promise(self, story: Story, items: int) -> None:
        story.may_send += items
        story.promised += items
        ahead = sum(one.promised - len(one.taken) for one in self._stories if one.open)
        # A function that is taking an item has not yet written it down.
        self._expect(ahead <= AHEAD + 1, f"{ahead} items are promised, where there is room for {AHEAD}")

    def _expect(self, holds: bool, fault: str) -> None:
        if not holds:
            self.faults.append(fault)


_STEPS = ("give", "give", "take", "take", "wait")
_DEEDS = ("open", "grant", "send", "turn", "open", "send", "excess", "grant", "end", "turn", "send", "cancel")


def _steps(data: bytes) -> list[str]:
    return [_STEPS[byte % len(_STEPS)] for byte in data]


def _acts(data: bytes) -> list[tuple[str, int, int]]:
    """Return two bytes as one act; zeros, of which hypothesis draws many, are all of them in turn."""
    pairs = zip(data[::2], data[1::2], strict=False)
    return [
        (_DEEDS[(deed + place) % len(_DEEDS)], rest % 4, 4 - rest // 4 % 4) for place, (deed, rest) in enumerate(pairs)
    ]


# Of bytes, since to draw each step by itself takes hypothesis longer than the streams take.
_PLANS = st.builds(
    Plan,
    kind=st.sampled_from(["server", "client", "both"]),
    steps=st.binary(min_size=3, max_size=15).map(_steps),
    fate=st.sampled_from(["return", "return", "fail", "crash", "stay"]),
)
_STREAMS = st.lists(st.builds(Story, plan=_PLANS, credit=st.integers(0, 4)), min_size=1, max_size=4)
_ACTS = st.binary(min_size=40, max_size=100).map(_acts)


def _act(session: Session, stories: Sequence[Story], act: str, number: int, size: int) -> None:
    """Do what the client does next, if it may."""
    number %= len(stories)
    story = stories[number]
    if act == "open" and not story.asked:
        story.asked = True
        envelope: dict[str, Any] = {"event": f"api.test.{story.plan.kind}", "id": number, "credit": story.credit}
        session.receive(["event", envelope], b"%d" % number, buffers=False)
    elif not story.opened:
        return
    elif act == "grant" and story.plan.kind != "client":
        story.granted += size
        _say(session, {"id": number, "credit": size})
    elif act == "send" and story.plan.kind != "server" and not story.finished:
        for _ in range(min(size, story.may_send)):
            story.may_send -= 1
            story.sent += 1
            _say(session, {"id": number, "data": story.sent})
    elif act == "excess" and story.plan.kind != "server" and not story.finished and story.may_send == 0:
        was_open = story.open
        _say(session, {"id": number, "data": -1})
        if was_open:
            story.excess = True
            assert [frame["error"]["code"] for frame in story.ends] == ["resource_exhausted"]
    elif act == "end" and story.plan.kind != "server" and not story.finished:
        story.finished = True
        story.promised -= story.may_send
        _say(session, {"id": number, "end": True})
    elif act == "cancel":
        _say(session, {"id": number, "cancel": True})


def _say(session: Session, frame: dict[str, Any]) -> None:
    session.receive(["stream", frame], None, buffers=False)


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@always(few=100, many=10_000, stories=_STREAMS, acts=_ACTS, leaves=st.booleans(), rush=st.booleans())
def test_the_rules_hold_in_every_order(
    stories: list[Story], acts: list[tuple[str, int, int]], leaves: bool, rush: bool
) -> None:
    """No item goes past its credit, is lost, doubled or out of order; every stream ends once; no function stays."""
    asyncio.run(_run(stories, acts, leaves, rush))


async def _run(stories: list[Story], acts: list[tuple[str, int, int]], leaves: bool, rush: bool) -> None:
    dispatcher = make_dispatcher(_service(stories), limits=LIMITS)
    client = Client(stories)
    session = await join(dispatcher, client)
    for act, number, size in acts:
        _act(session, stories, act, number, size)
        await _turns(size if act == "turn" or not rush else 0)
    if leaves:
        dispatcher.disconnect(session, "transport close")
        said = len(client.emitted)
        await _turns(PATIENCE)
        late = [frame for _, frame in client.emitted[said:] if "credit" not in frame]
        assert late == [], "items, or an end, for a client that has gone"
    else:
        await _wind_down(session, stories)
    assert client.faults == []
    assert session.running == {}
    for story in stories:
        _check(story, leaves)
    assert await dispatcher.close(10) == []


async def _wind_down(session: Session, stories: Sequence[Story]) -> None:
    """Let every stream come to its end: all is granted, nothing more is sent; what stays is cancelled."""
    await _turns(PATIENCE)
    for number, story in enumerate(stories):
        if story.open:
            story.granted += 100
            _say(session, {"id": number, "credit": 100})
            _act(session, stories, "end", number, 0)
    await _turns(PATIENCE)
    for number, story in enumerate(stories):
        assert story.open == (story.opened and not story.ends)
        if story.open:
            assert story.plan.fate == "stay", f"{story} waits for nothing"
            _say(session, {"id": number, "cancel": True})
    await _turns(PATIENCE)


def _check(story: Story, left: bool) -> None:
    assert story.given == list(range(1, len(story.given) + 1))
    assert story.taken == list(range(1, len(story.taken) + 1))
    assert len(story.taken) <= story.sent
    assert story.finals == story.began <= 1
    if not story.opened:
        return
    if not left:
        assert len(story.ends) == 1
    for frame in story.ends:
        code = frame.get("error", {}).get("code")
        planned = {"return": None, "fail": "aborted", "crash": "internal", "stay": "canceled"}[story.plan.fate]
        assert code in (planned, "canceled") or (story.excess and code == "resource_exhausted"), frame
        if code is None:
            assert frame.get("data") == ("result" if story.plan.kind == "client" else None)
            gives = story.plan.steps.count("give") if story.plan.kind != "client" else 0
            assert len(story.given) == gives
        elif code in ("aborted", "internal"):
            assert story.plan.kind == "client" or len(story.given) == story.plan.steps.count("give")


async def _open(session: Session, recorder: Recorder, event: str, number: int, **fields: Any) -> Any:
    session.receive(["event", {"event": f"api.test.{event}", "id": number, **fields}], b"%d" % number, buffers=False)
    return await recorder.reply(b"%d" % number)


async def _joined(*stories: Story) -> tuple[Dispatcher, Recorder, Session]:
    """Connect a client to a server whose streams, under every id, are told these stories in turn."""

    class Again(list[Story]):
        def __getitem__(self, number: Any) -> Any:
            return stories[number % len(stories)]

    dispatcher = make_dispatcher(_service(Again()), limits=LIMITS)
    recorder = Recorder()
    return dispatcher, recorder, await join(dispatcher, recorder)


async def test_a_thousand_streams_leave_nothing() -> None:
    """However they ended, no task is left, no object of theirs, and all credit is there for the next one."""
    kinds = ("server", "client", "both")
    dispatcher, recorder, session = await _joined(*(Story(Plan(kind, ["give", "take"], "return"), 0) for kind in kinds))

    async def live(number: int) -> None:
        event = kinds[number % 3]
        opened = await _open(session, recorder, event, number)
        assert opened.get("credit") == (None if event == "server" else credit)
        if number % 2:
            _say(session, {"id": number, "cancel": True})
        elif event != "server":
            _say(session, {"id": number, "data": 1})
            _say(session, {"id": number, "end": True})
        recorder.acknowledged.clear()
        while session.running:  # noqa: ASYNC110 - nothing tells of the end, which is a matter of turns of the loop
            await asyncio.sleep(0)

    credit = (await _open(session, recorder, "client", -2))["credit"]
    _say(session, {"id": -2, "cancel": True})
    counts = []
    for begin, end in ((0, 1100), (1100, 1400), (1400, 1700)):  # first more than are remembered when they have ended
        for number in range(begin, end):
            await live(number)
        recorder.emitted.clear()
        gc.collect()
        names = Counter(f"{type(one).__module__}.{type(one).__name__}" for one in gc.get_objects())
        counts.append({name: count for name, count in names.items() if name.startswith("jackfield.")})
    assert counts[1] == counts[2]
    assert len(asyncio.all_tasks()) == 1
    assert await dispatcher.close(10) == []


async def test_the_last_1024_ended_ids_are_remembered() -> None:
    """A frame that comes too late is ignored; one for the id that ended before all those is not_found."""
    dispatcher, recorder, session = await _joined(Story(Plan("server", [], "return"), 0))
    for number in range(1025):
        await _open(session, recorder, "server", number)
        while session.running:  # noqa: ASYNC110 - nothing tells of the end, which is a matter of turns of the loop
            await asyncio.sleep(0)
    recorder.emitted.clear()
    for number in (1, 1024, 0):
        _say(session, {"id": number, "credit": 1})
    assert [(event, frame["id"], frame["error"]["code"]) for event, frame in recorder.emitted] == [
        ("stream", 0, "not_found")
    ]
    await dispatcher.close(10)


async def test_a_function_waits_for_a_client_that_does_not_read() -> None:
    """With any amount of credit it goes no further than the connection takes."""
    story = Story(Plan("server", ["give"] * 50, "return"), 100)
    dispatcher, recorder, session = await _joined(story)
    recorder.reads.clear()
    await _open(session, recorder, "server", 1, credit=100)
    await _turns(PATIENCE)
    assert recorder.emitted == []
    recorder.reads.set()
    await _turns(PATIENCE)
    assert [frame.get("data") for _, frame in recorder.emitted] == [*range(1, 51), None]
    await dispatcher.close(10)
