"""Observers are told of what they want to hear, and calls do not pay for the rest."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jackfield import Call, CallError, Code, Observer
from jackfield._audience import Audience, Reporter


class Half(Observer):
    """Hears of ends alone."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def ended(self, call: Call, error: CallError | None) -> None:
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


def test_what_is_not_overridden_is_not_called() -> None:
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
