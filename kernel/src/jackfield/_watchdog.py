"""The watchdog: says who holds the event loop, interrupts it, and in the end gives the process up.

The event loop beats. A thread looks for the beat, and where it is late at the stack of the loop's thread: whose
code stays there from one look to the next has not given the loop back. Code that comes and goes is no culprit, for a
loop with much to do is late too.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from types import FrameType, TracebackType
from typing import Final

from jackfield._culprit import Culprits, Sighting
from jackfield._guard import SIGNAL, STDERR, TimeIsUp
from jackfield._settings import WatchdogSettings
from jackfield._throttle import Throttle

EXIT_STUCK: Final = 70
_BEAT: Final = 0.05
"""Seconds between two beats."""
_AGAIN: Final = 0.2
"""Seconds between two attempts to interrupt what swallows them."""
_LONG: Final = 10
"""Thresholds by which the loop has to be late for a line in the log, where no plugin is to blame."""
_WAKES: Final = 2
"""A thread that waits for Python's lock wakes every 5 ms; one that got no processor has not woken so often."""
_LOCKED: Final = 1.0
"""Seconds that the thread has to end the process, before faulthandler does without Python's lock."""

log: Final = logging.getLogger("jackfield.watchdog")


@dataclass(frozen=True, slots=True)
class Block:
    """A time in which the event loop did not come round, now that it is over.

    Attributes:
        plugin: Whose code held it; None if no plugin's did.
        what: The event of the function, or the qualified name of what else it was.
        file: Where the innermost line of that code was, when it was last seen.
        line: Its number.
        seconds: For how long, at least.
    """

    plugin: str | None
    what: str
    file: str
    line: int
    seconds: float


class _Hold:
    """One piece of code that stays on the stack.

    Attributes:
        sighting: Where it was seen last.
        start: Since when it may have been there.
        seen: For how many seconds it has certainly been there.
        told: Whether the log has said so.
    """

    __slots__ = ("_since", "seen", "sighting", "start", "told")

    def __init__(self, sighting: Sighting, start: float, since: float) -> None:
        self.sighting = sighting
        self.start = start
        self.seen = 0.0
        self.told = False
        self._since = since

    def see(self, sighting: Sighting, now: float) -> None:
        """Take note that it is still there."""
        self.sighting = sighting
        self.seen = now - self._since


class Watchdog:
    """Watches the event loop in which it is entered, until it is left.

    Args:
        settings: `[watchdog]`.
        culprits: Knows whose code is whose.
        on_block: Called in the event loop, when it is back, for each piece of code that held it.
        on_beat: Called in the event loop with every beat: by how many seconds it was late, where that was no plugin's
            doing.
    """

    def __init__(
        self,
        settings: WatchdogSettings,
        culprits: Culprits,
        on_block: Callable[[Block], None],
        on_beat: Callable[[float], None],
    ) -> None:
        self._settings = settings
        self._quarter = settings.threshold / 4
        self._culprits = culprits
        self._on_block = on_block
        self._on_beat = on_beat
        self._over = threading.Event()
        self._throttle = Throttle()
        self._timer: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self._interrupts = False
        self._due = self._looked = self._armed = self._rang = self._ran = 0.0
        self._paused = 0.0
        self._beats = 0
        self._holds: list[_Hold] = []
        self._interrupted = False

    def __enter__(self) -> Watchdog:
        self._loop = asyncio.get_running_loop()
        self._ident = threading.get_ident()
        self._due = monotonic()
        if self._settings.threshold:
            self._thread = threading.Thread(target=self._watch, name="jackfield-watchdog", daemon=True)
            main = threading.current_thread() is threading.main_thread()
            self._interrupts = main and self._settings.interrupt > 0
        if self._interrupts:
            self._before = signal.signal(SIGNAL, self._ring)
        self._beat()
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._over.set()
        if self._thread is not None:
            self._thread.join()  # it sends nothing any more that would meet the handler from before
        if self._interrupts:
            self._interrupts = False
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(SIGNAL, self._before)
        if self._armed:
            faulthandler.cancel_dump_traceback_later()

    @property
    def late(self) -> float:
        """By how many seconds the next beat is late."""
        return max(0.0, monotonic() - self._due - self._paused)

    # In the event loop.

    def _beat(self) -> None:
        now, late, holds = monotonic(), self.late, self._holds
        self._timer = self._loop.call_later(_BEAT, self._beat)
        self._beats += 1
        interrupted, self._interrupted = self._interrupted, False
        self._holds, self._paused, self._due = [], 0.0, now + _BEAT
        if self._thread is not None:
            self._arm(now)
        for hold, after in zip(holds, [*(hold.start for hold in holds[1:]), now], strict=False):
            if self._is_guilty(hold, seconds := after - hold.start):
                late -= seconds
                if hold.told:
                    how = ", and was interrupted" if interrupted else ""
                    what = (hold.sighting.plugin, seconds, how, hold.sighting)
                    log.warning("plugin %s gave the event loop back after %.2f s%s: %s", *what)
                seen = hold.sighting
                self._on_block(Block(seen.plugin, seen.what, seen.file, seen.line, seconds))
        self._on_beat(max(0.0, late))

    def _arm(self, now: float) -> None:
        """Set what needs no lock of Python's: it serves where C code keeps the thread from looking."""
        if self._interrupts:
            self._ran = time.thread_time()
            signal.setitimer(signal.ITIMER_VIRTUAL, self._settings.interrupt, _AGAIN)
        if self._settings.exit_after and now > self._armed:
            self._armed = now + _LOCKED
            seconds = self._settings.exit_after + 2 * _LOCKED
            faulthandler.dump_traceback_later(seconds, exit=True, file=STDERR)

    def _ring(self, signum: int, frame: FrameType | None) -> None:
        if not self._interrupts or frame is None:
            return
        now, sighting = monotonic(), self._culprits.find(frame, None)
        hold = self._holds[-1] if self._holds else None
        if hold is None or hold.sighting.holder is not sighting.holder:
            # Code that has let nobody look has been there since the last look.
            start = now - min(now - max(self._due, self._looked), time.thread_time() - self._ran)
            hold = _Hold(sighting, start, start)
        seconds = now - hold.start
        if sighting.plugin and seconds > self._settings.interrupt and self._culprits.may_be_interrupted(frame):
            hold.see(sighting, now)
            hold.told = self._interrupted = True
            self._holds = [hold]
            raise TimeIsUp(f"it held the event loop for {seconds:.1f} s and was interrupted (watchdog.interrupt)")

    # In the thread.

    def _watch(self) -> None:
        with contextlib.closing(_Clock(self._ident)) as clock:
            self._keep_looking(clock)

    def _keep_looking(self, clock: _Clock) -> None:
        rest = _BEAT
        while not self._over.wait(rest):
            now = monotonic()
            overslept = now - clock.asked - rest
            since = now
            if overslept > self._quarter:
                ran, wakes = clock.elapsed()
                if ran < overslept / 20:
                    self._paused += overslept  # the process was stopped, or another thread kept Python's lock
                elif ran > overslept / 2 and wakes > _WAKES:
                    since -= overslept  # code in C has kept the lock, so it has been there all the time
            rest = self._look(now, since)
            clock.ask()

    def _look(self, now: float, since: float) -> float:
        """Look who holds the loop, if it is late.

        Args:
            now: The time.
            since: For how long the loop's thread has let nobody else run.

        Returns:
            Seconds until the next look.
        """
        beats, due, late = self._beats, self._due, self.late
        self._looked = now
        if late < self._quarter:
            return max(self._quarter, due + self._quarter - now)
        frame = sys._current_frames().get(self._ident)
        if frame is None:
            return self._quarter
        task = asyncio.current_task(self._loop)
        sighting = self._culprits.find(frame, None if task is None else task.get_name())
        if sighting.debugged:
            self._paused = now - due
        elif beats == self._beats:
            self._judge(sighting, now, since, late)
        return self._quarter

    def _judge(self, sighting: Sighting, now: float, since: float, late: float) -> None:
        holds, settings = self._holds, self._settings
        if not holds or sighting.holder is None or holds[-1].sighting.holder is not sighting.holder:
            holds.append(_Hold(sighting, since if holds else now - late, since))
        hold = holds[-1]
        hold.see(sighting, now)
        seconds = now - hold.start
        if settings.exit_after and late > settings.exit_after:
            self._give_up(sighting, late)
        if self._interrupts and sighting.plugin and seconds > settings.interrupt and now > self._rang + _AGAIN:
            self._rang = now
            signal.pthread_kill(self._ident, SIGNAL)
        if self._is_guilty(hold, seconds):
            if self._throttle.ready((sighting.what, sighting.file, sighting.line)):
                hold.told = True
                what = (sighting.plugin, seconds, sighting)
                log.warning("plugin %s blocks the event loop, for %.1f s so far: %s", *what)
        elif late > _LONG * settings.threshold and self._throttle.ready(None):
            log.warning("the event loop is late by %.1f s, and no plugin holds it: it is in %s", late, sighting)

    def _is_guilty(self, hold: _Hold, seconds: float) -> bool:
        return hold.sighting.plugin is not None and hold.seen > 3 * self._quarter and seconds > 4 * self._quarter

    def _give_up(self, sighting: Sighting, late: float) -> None:
        log.critical(
            "the event loop has not come round for %.1f s (watchdog.exit_after): %s holds it; the process ends",
            late,
            f"{sighting} of plugin {sighting.plugin}" if sighting.plugin else sighting,
        )
        faulthandler.dump_traceback(file=STDERR, all_threads=True)
        os._exit(EXIT_STUCK)


class _Clock:
    """Tells what the loop's thread has done since this thread lay down to wait.

    Args:
        ident: The loop's thread.

    Attributes:
        asked: When that was.
    """

    def __init__(self, ident: int) -> None:
        loop = next((t.native_id for t in threading.enumerate() if t.ident == ident), None)
        self._ident = ident
        self._files: list[int] = []
        with contextlib.suppress(OSError):
            self._files = [
                os.open(f"/proc/self/task/{thread}/schedstat", os.O_RDONLY)
                for thread in (loop, threading.get_native_id())
            ]
        self.ask()

    def close(self) -> None:
        """Close its files."""
        for file in self._files:
            os.close(file)

    def ask(self) -> None:
        """Begin anew."""
        self.asked = monotonic()
        self._before = self._read()

    def elapsed(self) -> tuple[float, float]:
        """Return the seconds that the loop's thread ran or was ready to, and how often this one has woken up."""
        (ran, wakes), (ran_before, wakes_before) = self._read(), self._before
        return ran - ran_before, wakes - wakes_before

    def _read(self) -> tuple[float, float]:
        if not self._files:  # as if it woke all the time
            linux = sys.platform == "linux"
            ran = time.clock_gettime(time.pthread_getcpuclockid(self._ident)) if linux else monotonic()
            return ran, monotonic() * 1000
        (busy, ready, _), (_, _, wakes) = (os.pread(file, 100, 0).split() for file in self._files)
        return (int(busy) + int(ready)) / 1e9, int(wakes)
