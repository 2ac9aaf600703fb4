"""The connections that publish to a channel, and those that are subscribed to it: every copy is accounted for."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from picows import WSFrame, WSTransport

from tests.bench.frames import FIRST_ID, event_frame
from tests.bench.generator import LIMIT, BenchError, Connection, Load, now

_FIRST: Final = 1_000_000
"""The numbers of publications have seven digits, so that all are of one size."""
_REPLY: Final = b'[{"data":'
_HALVES: Final = 2
"""What ends a publication: its reply, and that all have it."""


@dataclass(frozen=True)
class Topic:
    """Where publications go.

    Args:
        channel: The channel, or the room.
        namespace: That of the functions `subscribe` and `publish`.
    """

    channel: str
    namespace: str = "api.channels"

    def call(self, function: str, **more: Any) -> list[Any]:
        """Return the array of the event that calls a function."""
        data = {"channel": self.channel, **more}
        return ["event", {"event": f"{self.namespace}.{function}", "data": data}]


@dataclass(slots=True, eq=False)
class Publication:
    """One that is on its way.

    Args:
        number: Which one.
        teller: Whose it is.
        slot: Which of its slots.
        due: The moment from which it counts.
        left: How many subscribers do not have it yet.
        place: Where it stands in the order in which they get them; none has it yet where that is below zero.
    """

    number: int
    teller: Teller
    slot: int
    due: float
    left: int
    place: int = -1


class Book:
    """What is on its way: every subscriber has to get all of it, once, and in the same order as the others.

    Args:
        load: Counts what happens; its latencies are those of all copies.
        topic: Where it goes.
        text: Goes with each publication.
        followers: How many are subscribed.

    Attributes:
        known: Publications by the message that brings them, from the first subscriber that has it to the last.
        complete: How many publications all subscribers have.
    """

    def __init__(self, load: Load, topic: Topic, text: str, followers: int) -> None:
        self.load = load
        self.topic = topic
        self.known: dict[bytes, Publication] = {}
        self.complete = 0
        self._text = text
        self._followers = followers
        self._sent: dict[int, Publication] = {}
        self._numbers = _FIRST
        self._places = 0
        self._tellers: set[Teller] = set()

    def publish(self, teller: Teller, slot: int, due: float) -> int:
        """Enter another publication, and return its number."""
        self._numbers += 1
        self._sent[self._numbers] = Publication(self._numbers, teller, slot, due, self._followers)
        return self._numbers

    def read(self, message: bytes) -> Publication | None:
        """Read a message that is not known, and know it from now on if it brings a publication."""
        if not message.startswith(b'42["channel",'):
            return None
        _, told = json.loads(message[2:])
        number = told["data"].get("n")
        publication = self._sent.get(number)
        expected = (self.topic.channel, {"n": number, "text": self._text})
        if publication is None or publication.place >= 0 or (told["channel"], told["data"]) != expected:
            self.load.fail(f"nobody published this, or it came twice: {message[:200]!r}")
            return None
        publication.place = self._places
        self._places += 1
        self.known[message] = publication
        return publication

    def delivered(self, publication: Publication, message: bytes) -> None:
        """Take note that all have it."""
        del self.known[message]
        del self._sent[publication.number]
        self.complete += 1
        publication.teller.half(publication.slot)
        self._tellers.add(publication.teller)

    def flush(self) -> None:
        """Send what follows publications that all have."""
        for teller in self._tellers:
            teller.flush()
        self._tellers.clear()

    def frame(self, slot: int, number: int) -> bytes:
        """Return the frame that publishes."""
        data = {"n": number, "text": self._text}
        return event_frame(self.topic.call("publish", data=data), FIRST_ID + slot)


class Follower(Connection):
    """Is subscribed to the channel."""

    def __init__(self, book: Book) -> None:
        super().__init__(book.load)
        self._book = book
        self._known = book.known
        self._next = 0
        self._following: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def follow(self) -> None:
        """Subscribe."""
        self.write(event_frame(self._book.topic.call("subscribe"), FIRST_ID))
        await asyncio.wait_for(self._following, LIMIT)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        message = frame.get_payload_as_bytes()
        publication = self._known.get(message) or self._book.read(message)
        if publication is None:
            self.other(message)
            return
        self.took(publication, message)
        if frame.last_in_buffer:
            self._book.flush()

    def took(self, publication: Publication, message: bytes) -> None:
        """Take a publication, whose turn it has to be."""
        if publication.place != self._next:
            self.load.fail(f"a publication out of turn, or one is missing: {message[:200]!r}")
        self._next += 1
        self.load.latencies.append(now() - publication.due)
        publication.left -= 1
        if not publication.left:
            self._book.delivered(publication, message)

    def other(self, message: bytes) -> None:
        if message.startswith(b"43%d%b" % (FIRST_ID, _REPLY)):
            self._following.set_result(None)
        elif message.startswith(b"43"):
            self._following.set_exception(BenchError(f"nobody can subscribe: {message[:200]!r}"))
        else:
            super().other(message)


class Teller(Connection):
    """Publishes to the channel, in each of its slots once the one before is acknowledged and has got to everybody.

    Args:
        book: Where everything is entered.
        slots: How many publications may be on their way.
        paced: Whether each is offered; without that a slot that is free publishes at once.
    """

    def __init__(self, book: Book, slots: int, *, paced: bool) -> None:
        super().__init__(book.load)
        self._book = book
        self._paced = paced
        self._free = list(range(slots))
        self._open = [0] * slots
        self._waiting: deque[float] = deque()
        self._out: list[bytes] = []

    def begin(self) -> None:
        """Publish in all slots."""
        moment = now()
        while self._free:
            self._send(self._free.pop(), moment)
        self.flush()

    def offer(self, due: float) -> None:
        """Publish what was due at a moment, or as soon as a slot is free."""
        if self._free:
            self._send(self._free.pop(), due)
        else:
            self._waiting.append(due)

    def half(self, slot: int) -> None:
        """Take note of a reply, or that all have what was published."""
        self._open[slot] -= 1
        if self._open[slot]:
            return
        self.in_flight -= 1
        if self.load.stopped or (self._paced and not self._waiting):
            self._free.append(slot)
        else:
            self._send(slot, self._waiting.popleft() if self._paced else now())

    def flush(self) -> None:
        if self._out:
            self.write(b"".join(self._out))
            self._out.clear()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        message = frame.get_payload_as_bytes()
        if message.startswith(b"43") and message.startswith(_REPLY, 6):
            self.half(int(message[2:6]) - FIRST_ID)
        else:
            self.other(message)
        if frame.last_in_buffer:
            self.flush()

    def _send(self, slot: int, due: float) -> None:
        self.in_flight += 1
        self._open[slot] = _HALVES
        self._out.append(self._book.frame(slot, self._book.publish(self, slot, due)))
