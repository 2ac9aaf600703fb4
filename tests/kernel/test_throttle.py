"""What clients can cause is logged in a few words, a few times."""

from __future__ import annotations

import logging

import pytest

from jackfield import _throttle
from jackfield._throttle import QUIET, Throttle, ThrottledFilter


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_throttle, "time", clock)
    return clock


def test_22_a_key_passes_once_a_second(clock: Clock) -> None:
    """Each key has a second of its own."""
    throttle = Throttle()
    assert [throttle.ready("a") for _ in range(3)] == [True, False, False]
    assert throttle.ready("b")
    clock.now += 0.999
    assert not throttle.ready("a")
    clock.now += 0.001
    assert [throttle.ready(key) for key in ("a", "a", "b", "b")] == [True, False, True, False]


def test_22_another_interval(clock: Clock) -> None:
    """In seconds."""
    throttle = Throttle(10)
    assert throttle.ready("a")
    clock.now += 9
    assert not throttle.ready("a")
    clock.now += 1
    assert throttle.ready("a")


def test_22_very_many_keys_are_forgotten(clock: Clock) -> None:
    """Memory has a limit, at the price of a line too many."""
    throttle = Throttle()
    assert all(throttle.ready(number) for number in range(100_000))
    assert len(throttle._next) <= 1024


def _records(clock: Clock) -> tuple[logging.Logger, list[str]]:
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    logger = logging.Logger("library")
    logger.addHandler(Keep())
    logger.addFilter(ThrottledFilter())
    return logger, lines


def test_22_a_place_in_the_code_logs_once_a_second(clock: Clock) -> None:
    """The place counts, not the text: the text is the client's."""
    logger, lines = _records(clock)
    for number in range(5):
        logger.error("first %s", number)
        logger.error("second %s", number)
    assert lines == ["first 0", "second 0"]
    clock.now += 1
    logger.error("another place")
    assert lines[2:] == ["another place"]


def test_22_a_record_is_one_short_line(clock: Clock) -> None:
    """Line breaks become spaces, and what is long is cut."""
    logger, lines = _records(clock)
    logger.error("a\nb\r\n\tc %s", "x" * 1000)
    assert lines == [f"a b c {'x' * 194}"]


def test_22_a_traceback_is_the_name_of_its_error(clock: Clock) -> None:
    """Its text may hold what the client sent."""
    logger, lines = _records(clock)
    try:
        int("secret")
    except ValueError:
        logger.exception("failed")
    logger.error("no error", exc_info=True)
    assert lines == ["failed (ValueError)", "no error"]


def test_22_adding_the_filter_twice_counts_once() -> None:
    """Loggers are global, and servers may be made again in one process."""
    logger = logging.Logger("library")
    logger.addFilter(QUIET)
    logger.addFilter(QUIET)
    assert logger.filters == [QUIET]
