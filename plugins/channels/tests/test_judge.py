"""The judge of the other tests finds what it is there to find."""

from __future__ import annotations

import pytest

from jackfield import Position
from tests.support.judge import Kept, Missed, Seen, Session, judge


def at(offset: int, epoch: str = "e") -> Position:
    return Position(offset, epoch)


def seen(*offsets: int, epoch: str = "e") -> list[Seen | Missed]:
    return [Seen(at(offset, epoch), f"v{offset}") for offset in offsets]


KEPT = Kept("e", 2, 5, {3: "v3", 4: "v4", 5: "v5"})
SENT = [f"v{number}" for number in range(1, 7)]
GOOD = [Session(None, at(0), None, seen(1, 2)), Session(at(2), at(4), True, seen(3, 4, 5))]


def test_what_was_promised_was_kept() -> None:
    """In order, once, with a hole that was told; a session without a reply says nothing."""
    acknowledged = [Seen(at(number), f"v{number}") for number in (1, 3, 5)]
    assert judge(SENT, acknowledged, [GOOD, [Session(None)]], KEPT) == []
    told = [Session(None, at(0), None, [*seen(1), Missed(at(4), 3), *seen(5)])]
    lost = [Session(at(1, "old"), at(3), False, seen(4, 5))]
    new = [Session(None, at(9, "old"), None, [Missed(at(4), None), *seen(5)])]
    assert judge(SENT, acknowledged, [told, lost, new], KEPT, complete=True) == []


@pytest.mark.parametrize(
    ("sessions", "fault"),
    [
        ([Session(None, at(0), None, seen(1, 3))], "a hole"),
        ([Session(None, at(0), None, seen(1, 1))], "again, or late"),
        ([Session(None, at(0), None, seen(2))], "a hole"),
        ([Session(None, at(3), None, seen(3))], "again, or late"),
        ([Session(None, at(0), None, [*seen(1), *seen(1, epoch="f")])], "without a word"),
        ([Session(None, at(0), None, [Missed(at(3), 2)])], "2 are said to be missed"),
        ([Session(at(2), at(4), True, seen(4))], "a hole"),
        ([Session(at(2, "old"), at(4), True, [])], "recovered from"),
        ([Session(at(5), at(4), True, [])], "recovered from"),
        ([Session(at(2), at(4), None, [])], "nothing was said"),
        ([Session(at(3), at(4), False, [])], "not recovered from"),
        ([Session(at(1), at(1), False, [])], "though nothing came after it"),
        ([Session(None, None, None, seen(1))], "not subscribed"),
        ([*GOOD[:1], Session(at(1), at(4), True, seen(2, 3))], "asked since"),
        ([Session(None, at(0), None, [Seen(at(1), "else")])], "was never published"),
        ([Session(None, at(0), None, [Seen(at(1), "v1"), Seen(at(2), "v1")])], "'v1' is at"),
        ([Session(None, at(0), None, [Seen(at(1), "v2")])], "are 'v1' and 'v2'"),
    ],
)
def test_what_a_follower_was_not_to_be_told(sessions: list[Session], fault: str) -> None:
    """Each kind of fault."""
    acknowledged = [Seen(at(1), "v1")]
    found = judge(SENT, acknowledged, [sessions], KEPT)
    assert any(fault in one for one in found), found


@pytest.mark.parametrize(
    ("acknowledged", "kept", "fault"),
    [
        (Seen(at(3), "v6"), KEPT, "where 'v3' is"),
        (Seen(at(6), "v6"), KEPT, "the top is 5"),
        (Seen(at(3, "f"), "v3"), KEPT, "the epoch is e"),
        (Seen(at(4), "v4"), Kept("e", 2, 4, {3: "v3"}), "the history has no 4"),
    ],
)
def test_what_was_acknowledged_and_is_not_there(acknowledged: Seen, kept: Kept, fault: str) -> None:
    """Lost, or another in its place."""
    found = judge(SENT, [acknowledged], [], kept)
    assert any(fault in one for one in found), found


def test_who_does_not_get_to_the_end() -> None:
    """Though it was there."""
    assert judge(SENT, [], [GOOD[:1]], KEPT, complete=True) == [
        "follower 0 ended at Position(offset=2, epoch='e'), and the channel at 5"
    ]
