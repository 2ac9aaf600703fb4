"""Judges what became of publications, as Jepsen does: from what was acknowledged and what was seen, whatever happened.

A test publishes values that differ, lets faults happen, writes down what each side was told, and asks `judge`. It knows
nothing of servers or stores, so it is the same for one server and for several.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from jackfield import Position


@dataclass(frozen=True)
class Seen:
    """A publication that came."""

    position: Position
    value: object


@dataclass(frozen=True)
class Missed:
    """The word that some did not come."""

    position: Position
    count: int | None


@dataclass
class Session:
    """One subscription of a follower, from its reply to whatever ended it.

    Args:
        since: Up to where the follower said that it had everything.
        position: Where the server said that the channel is; None where no reply came.
        recovered: What the server said of what was missed.
        heard: What came, in order.
    """

    since: Position | None
    position: Position | None = None
    recovered: bool | None = None
    heard: list[Seen | Missed] = field(default_factory=list)

    @property
    def start(self) -> Position | None:
        """Up to where the follower has everything before anything comes."""
        return self.since if self.recovered else self.position

    @property
    def end(self) -> Position | None:
        """Up to where it has everything in the end."""
        return self.heard[-1].position if self.heard else self.start


@dataclass(frozen=True)
class Kept:
    """What the channel's history holds in the end: all after the floor, up to the top."""

    epoch: str
    floor: int
    top: int
    values: dict[int, object]


Sessions: TypeAlias = Sequence[Session]


def judge(
    sent: Iterable[object],
    acknowledged: Iterable[Seen],
    followers: Iterable[Sessions],
    kept: Kept | None = None,
    *,
    complete: bool = False,
) -> list[str]:
    """Return what was promised and not kept.

    Args:
        sent: Every value that anybody tried to publish.
        acknowledged: Those that were acknowledged, with their positions.
        followers: The sessions of each follower of the channel, one after the other.
        kept: The history, where everything that was acknowledged has to be, if it is not older than the history.
        complete: Whether each follower was connected in the end, until nothing more came.
    """
    acknowledged, followers = list(acknowledged), [list(sessions) for sessions in followers]
    faults = _of_values(set(sent), [*acknowledged, *(one for s in followers for one in _heard(s))])
    for number, sessions in enumerate(followers):
        for session in sessions:
            faults += [f"follower {number}: {fault}" for fault in _of_session(session, kept)]
        for before, after in pairwise(sessions):
            if after.since is not None and before.end is not None and after.since != before.end:
                faults.append(f"follower {number} asked since {after.since} when it had {before.end}")
        if complete and kept is not None and sessions and sessions[-1].end != Position(kept.top, kept.epoch):
            faults.append(f"follower {number} ended at {sessions[-1].end}, and the channel at {kept.top}")
    return faults + (_of_history(acknowledged, kept) if kept is not None else [])


def _heard(sessions: Sessions) -> Iterable[Seen]:
    return (one for session in sessions for one in session.heard if isinstance(one, Seen))


def _of_values(sent: set[object], told: Iterable[Seen]) -> list[str]:
    """One value has one position, and one position one value, whoever is asked."""
    faults: list[str] = []
    positions: dict[object, Position] = {}
    values: dict[Position, object] = {}
    for one in told:
        if one.value not in sent:
            faults.append(f"{one.value!r} was never published")
        if positions.setdefault(one.value, one.position) != one.position:
            faults.append(f"{one.value!r} is at {positions[one.value]} and at {one.position}")
        if values.setdefault(one.position, one.value) != one.value:
            faults.append(f"at {one.position} are {values[one.position]!r} and {one.value!r}")
    return faults


def _of_session(session: Session, kept: Kept | None) -> list[str]:
    """All comes, in order and once; a hole is told, with its size."""
    faults: list[str] = []
    since, position, at = session.since, session.position, session.start
    if position is None or at is None:
        return [] if not session.heard else [f"{session.heard[0]} came to somebody who was not subscribed"]
    if session.recovered and (since is None or since.epoch != position.epoch or since.offset > position.offset):
        faults.append(f"recovered from {since} at {position}")
    if session.recovered is None and since is not None:
        faults.append(f"nothing was said of what was missed since {since}")
    if session.recovered is False and since == position:
        faults.append(f"not recovered from {since}, though nothing came after it")
    if session.recovered is False and since is not None and kept is not None:
        reached = kept.floor <= since.offset <= position.offset
        if reached and since.epoch == kept.epoch == position.epoch:
            faults.append(f"not recovered from {since}, though all is there from {kept.floor} on")
    for one in session.heard:
        step = one.position.offset - at.offset
        if one.position.epoch != at.epoch:
            if isinstance(one, Seen):
                faults.append(f"after {at} came {one.position} without a word")
        elif isinstance(one, Missed) and one.count != step:
            faults.append(f"after {at} {one.count} are said to be missed up to {one.position}")
        elif isinstance(one, Seen) and step != 1:
            faults.append(f"after {at} came {one.position}: {'a hole' if step > 1 else 'again, or late'}")
        at = one.position
    return faults


def _of_history(acknowledged: Iterable[Seen], kept: Kept) -> list[str]:
    """What was acknowledged is there, at its place."""
    there = range(kept.floor + 1, kept.top + 1)
    faults = [f"the history has no {offset}" for offset in there if offset not in kept.values]
    for one in acknowledged:
        at = one.position
        if at.epoch != kept.epoch:
            faults.append(f"{one.value!r} was acknowledged at {at}, and the epoch is {kept.epoch}")
        elif at.offset > kept.top:
            faults.append(f"{one.value!r} was acknowledged at {at}, and the top is {kept.top}")
        elif at.offset > kept.floor and kept.values.get(at.offset) != one.value:
            faults.append(f"{one.value!r} was acknowledged at {at}, where {kept.values.get(at.offset)!r} is")
    return faults
