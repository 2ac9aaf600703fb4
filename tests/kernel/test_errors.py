"""What an author is told who raises an error with a code that there is not."""

from __future__ import annotations

import pytest

from jackfield import Call, CallError, Code, Service

RULE = (
    "'poll_closed' is none of the sixteen codes: take the nearest, and put a word of your own into details: "
    "CallError(Code.FAILED_PRECONDITION, message, "
    """details=[{"path": [], "type": 'poll_closed', "message": message}]); the codes are """ + ", ".join(Code)
)


def test_a_word_of_ones_own_is_no_code() -> None:
    """The error says where such a word goes, and which codes there are."""
    with pytest.raises(ValueError, match="poll_closed") as raised:
        CallError("poll_closed", "The poll is closed.")
    assert str(raised.value) == RULE


def test_a_word_of_ones_own_is_not_declared() -> None:
    """Where a function is declared the rule is the same one."""

    async def vote(call: Call) -> None:
        """Vote."""

    with pytest.raises(ValueError, match="poll_closed") as raised:
        Service("api.poll").function(errors=[Code.NOT_FOUND, "poll_closed"])(vote)
    assert str(raised.value) == RULE
