"""Observers are told of what they want to hear, and calls do not pay for the rest."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jackfield import CallError, Code
from jackfield._audience import Audience, Reporter
from jackfield._facade import does_nothing


class Half:
    """Hears of ends alone."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def started(self, call: Any) -> None:
        """Nothing is to be done here."""

    def ended(self, call: Any, error: Any) -> None:
        self.heard.append(call)


class Whole(Half):
    """Counts calls, too."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def meter(self, function: Any) -> Callable[..., None] | None:
        self.asked.append(function)
        if function == "odd":
            raise ValueError("an odd function")
        return None if function == "other" else lambda *told: self.heard.append(told)


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
    """And who is not told any more hears nothing, until it is told again."""
    half, call = Half(), cast(Any, SimpleNamespace(started=monotonic(), cancelled=False))
    audience = Audience([("half", half)], Reporter(), lambda *_: None)
    assert (len(audience.starting), len(audience.ending)) == (0, 1)
    ending = audience.ending
    for told in ((), {"half"}):
        audience.ended(call, None, ())
        audience.tell(told)
        audience.ended(call, None, ())
    assert half.heard == [call, call]
    assert audience.ending is ending


@pytest.mark.parametrize(
    ("error", "cancelled", "code"),
    [
        (None, False, None),
        (CallError("aborted", "as planned"), False, Code.ABORTED),
        (None, True, Code.CANCELED),
        (CallError("deadline_exceeded", "as planned"), True, Code.DEADLINE_EXCEEDED),
    ],
)
def test_a_meter_hears_how_long_calls_took_and_how_they_failed(
    error: CallError | None, cancelled: bool, code: Code | None
) -> None:
    """One of a plugin that went out of service hears nothing until that is back, and is not asked for again."""
    whole = Whole()
    call = cast(Any, SimpleNamespace(started=monotonic() - 10, cancelled=cancelled))
    audience = Audience([("whole", whole), ("half", Half())], Reporter(), lambda *_: None)
    meters = audience.meters(cast(Any, "function"))
    for told in ({"half"}, {"half", "whole"}):
        audience.tell(told)
        audience.ended(call, error, meters)
    (seconds, heard), seen = whole.heard
    assert (10 <= seconds < 1000, heard, seen, whole.asked) == (True, code, call, ["function"])


def test_functions_without_a_meter_are_not_measured(caplog: pytest.LogCaptureFixture) -> None:
    """Where an observer has none for them, and where it raises, which the log tells."""
    audience = Audience([("whole", Whole())], Reporter(), lambda *_: None)
    assert [list(audience.meters(cast(Any, name))) for name in ("other", "odd")] == [[], []]
    assert "meter of the observer of plugin whole raised ValueError" in caplog.text
