"""Quarantine while the server runs: a plugin with too many faults is taken out of service, and tried again later."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import Final

from jackfield._call import Call
from jackfield._errors import CallError, Code, PluginError
from jackfield._plugins import Plugin, State
from jackfield._settings import QuarantineSettings

_STREAM_GOES_WELL: Final = 5.0
"""Seconds after which a stream on trial has gone well: it may have no end."""
_HINDSIGHT: Final = 0.2
"""Seconds until it is known whether a call has held the event loop."""
_BUSY_MS: Final = 1000
"""When to ask again while a trial runs, or when nobody knows."""

FAILING: Final = "CallsFailed"
BLOCKING: Final = "LoopBlocked"
BY_HAND: Final = "ByHand"
_SAID: Final = {
    FAILING: "too many of its calls have failed",
    BLOCKING: "it has held up the server",
    BY_HAND: "an operator has taken it out of service",
}

log: Final = logging.getLogger("jackfield.plugins")


class Breaker:
    """Stands between the callers and one plugin.

    Args:
        plugin: The plugin.
        settings: When it is taken out of service.
        changed: Called when it was, or is back.

    Attributes:
        plugin: The plugin.
        calls: How many calls have begun since the window did; counted up by whoever begins one.
        shut: Whether the plugin is out of service.
    """

    __slots__ = (
        "_begun",
        "_blocked",
        "_changed",
        "_delay",
        "_due",
        "_failures",
        "_healed",
        "_settings",
        "_successes",
        "_trial",
        "calls",
        "plugin",
        "shut",
    )

    def __init__(self, plugin: Plugin, settings: QuarantineSettings, changed: Callable[[Breaker], None]) -> None:
        self.plugin = plugin
        self.calls = 0
        self.shut = False
        self._settings = settings
        self._changed = changed
        self._begun = float("-inf")
        self._failures = 0
        self._blocked = 0.0
        self._due: float | None = 0.0
        self._delay = settings.retry
        self._healed = float("-inf")
        self._trial: Call | None = None
        self._successes = 0

    def failed(self, call: Call, what: str) -> None:
        """Count a call that failed by the plugin's fault.

        Args:
            call: The call.
            what: How, and where, for the operator.
        """
        if self.shut:
            if call is self._trial:
                self._again(what)
            return
        self._look_at_window()
        self._failures += 1
        budget = self._settings.failures
        if budget and self._failures >= budget and self._failures >= self._settings.ratio * self.calls:
            self._trip(
                FAILING,
                f"{self._failures} of {max(self.calls, self._failures)} calls failed within "
                f"{self._settings.window:g} s, the last: {what}",
            )

    def held(self, seconds: float, what: str) -> None:
        """Count the time for which the plugin has held the event loop.

        Args:
            seconds: How long.
            what: Which function, and where, for the operator.
        """
        if self.shut:
            if self._trial is not None:
                self._again(what)
            return
        self._look_at_window()
        self._blocked += seconds
        if self._settings.blocked and self._blocked >= self._settings.blocked:
            self._trip(BLOCKING, f"it held the event loop for {self._blocked:.1f} s, at last in {what}")

    def quarantine(self, reason: str) -> None:
        """Take the plugin out of service until `release`."""
        self._due = None
        self._shut(PluginError(reason, kind=BY_HAND, hint=f"jackfield plugins release {self.plugin.name}"))

    def release(self) -> None:
        """Take the plugin back into service."""
        self.shut = False
        self.calls = self._failures = self._successes = 0
        self._blocked = 0.0
        self._begun = self._healed = monotonic()
        self._trial = None
        self.plugin.state, self.plugin.fault = State.STARTED, None
        log.warning("plugin %s is back in service", self.plugin.name)
        self._changed(self)

    def check(self, event: str) -> None:
        """Let a call pass only where it may be a trial.

        Raises:
            CallError: `unavailable`: it may not.
        """
        free = self._trial is None or self._trial.cancelled
        if self._due is not None and free and monotonic() >= self._due:
            return
        wait = 0 if self._due is None else int(1000 * (self._due - monotonic()))
        fault = self.plugin.fault
        raise CallError(
            Code.UNAVAILABLE,
            f"{event}: the plugin {self.plugin.name} is quarantined: {_SAID[fault.kind if fault else BY_HAND]}.",
            retry_after=max(wait, _BUSY_MS),
        )

    def try_out(self, call: Call, seconds: float | None) -> Callable[[bool], None]:
        """Make a call a trial, on whose end it depends whether there is another.

        Args:
            call: The call.
            seconds: How long it may take; None if it is a stream, which may have no end.

        Returns:
            What to call when it was answered: with whether that was the plugin's own answer.
        """
        self._trial = call
        log.info("plugin %s is tried with a call of %s", self.plugin.name, call.event)
        limit = _STREAM_GOES_WELL if seconds is None else seconds + 1.0

        def time_is_up() -> None:
            if self._trial is call:
                self._trial = None  # its caller has gone, and nobody knows
                if seconds is None and not call.cancelled:
                    self._went_well()

        loop = asyncio.get_running_loop()
        timer = loop.call_later(limit, time_is_up)

        def well() -> None:
            if self._trial is call:
                self._trial = None
                self._went_well()

        def answered(own: bool) -> None:
            timer.cancel()
            if own:
                loop.call_later(_HINDSIGHT, well)
            elif self._trial is call:
                self._trial = None

        return answered

    def _went_well(self) -> None:
        self._successes += 1
        if self.plugin.state is State.QUARANTINED and self._successes >= self._settings.trials:
            self.release()

    def _look_at_window(self) -> None:
        now = monotonic()
        if now - self._begun > self._settings.window:
            self._begun, self.calls, self._failures, self._blocked = now, min(self.calls, 1), 0, 0.0

    def _trip(self, kind: str, reason: str) -> None:
        again = monotonic() - self._healed <= self._settings.window
        self._delay = min(2 * self._delay, self._settings.max_retry) if again else self._settings.retry
        self._due = monotonic() + self._delay
        self._shut(PluginError(reason, kind=kind, hint=f"jackfield plugins release {self.plugin.name}"))

    def _again(self, what: str) -> None:
        self._trial, self._successes = None, 0
        if self._due is not None:
            self._delay = min(2 * self._delay, self._settings.max_retry)
            self._due = monotonic() + self._delay
        log.warning("plugin %s stays quarantined: the trial failed: %s", self.plugin.name, what)

    def _shut(self, fault: PluginError) -> None:
        self.plugin.quarantine(fault)
        self._successes, self._trial = 0, None
        if not self.shut:
            self.shut = True
            self._changed(self)
