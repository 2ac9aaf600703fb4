"""Observers are told of what they want to hear, and calls do not pay for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jackfield._facade import does_nothing
from jackfield._invocation import Audience, Reporter


class Half:
    """Hears of ends alone."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def started(self, call: Any) -> None:
        """Nothing is to be done here."""

    def ended(self, call: Any, error: Any) -> None:
        self.heard.append(call)


class Strange:
    """Is called in another way."""

    def __call__(self, call: Any) -> None:
        """Nothing is to be done here."""


def passes(call: Any) -> None:
    pass


def returns(call: Any) -> None:
    return None


def looks(call: Any) -> None:
    call.event  # noqa: B018 - it may raise


async def waits(call: Any) -> None:
    """What is to be awaited is not nothing."""


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (Half().started, True),
        (passes, True),
        (returns, True),
        (Half().ended, False),
        (looks, False),
        (waits, False),
        (Strange(), False),
        (print, False),
    ],
)
def test_what_does_nothing_is_known(function: Callable[..., Any], expected: bool) -> None:
    """Only where its code shows it; of anything else, it may do something."""
    assert does_nothing(function) is expected


def test_who_does_nothing_is_not_told() -> None:
    """And who is not told any more hears nothing."""
    half, call = Half(), object()
    audience = Audience([("half", half)], Reporter(), lambda *_: None)
    assert (len(audience.starting), len(audience.ending)) == (0, 1)
    ending = audience.ending
    audience.ended(call, None)  # type: ignore[arg-type]
    audience.tell([])
    audience.ended(call, None)  # type: ignore[arg-type]
    assert half.heard == [call]
    assert audience.ending is ending
