"""The watchdog: says who holds the event loop, interrupts it, and in the end gives the process up.

The event loop beats. A thread looks for the beat, and where it is late at the stack of the loop's thread: whose
code stays there from one look to the next has not given the loop back. Code that comes and goes is no culprit, for a
loop with much to do is late too.
"""

from __future__ import annotations

import asyncio
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
    """One piece of code that stays on the stack; all times are those of `_Clock.time`.

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
        on_beat: Called in the event loop with every beat: by how many seconds it was late, and whether a
            plugin held the loop.
    """

    def __init__(
        self,
        settings: WatchdogSettings,
        culprits: Culprits,
        on_block: Callable[[Block], None],
        on_beat: Callable[[float, bool], None],
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
        self._clock = _Clock(self._ident)
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
        self._clock.close()
        if self._armed:
            faulthandler.cancel_dump_traceback_later()

    @property
    def late(self) -> float:
        """By how many seconds the next beat is late."""
        return max(0.0, monotonic() - self._due - self._paused)

    # In the event loop.

    def _beat(self) -> None:
        now, late, holds, traced = monotonic(), self.late, self._holds, False
        self._timer = self._loop.call_later(_BEAT, self._beat)
        self._beats += 1
        interrupted, self._interrupted = self._interrupted, False
        self._holds, self._paused, self._due = [], 0.0, now + _BEAT
        if self._thread is not None:
            self._arm(now)
        end = self._clock.time() if holds else 0.0
        for hold, after in zip(holds, [*(hold.start for hold in holds[1:]), end], strict=False):
            if self._is_guilty(hold, seconds := after - hold.start):
                traced = True
                if hold.told:
                    how = ", and was interrupted" if interrupted else ""
                    what = (hold.sighting.plugin, seconds, how, hold.sighting)
                    log.warning("plugin %s gave the event loop back after %.2f s%s: %s", *what)
                seen = hold.sighting
                self._on_block(Block(seen.plugin, seen.what, seen.file, seen.line, seconds))
        self._on_beat(late, traced)

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
        now, sighting = self._clock.time(), self._culprits.find(frame, None)
        hold = self._holds[-1] if self._holds else None
        if hold is None or hold.sighting.holder is not sighting.holder:
            # Code that has let nobody look has been there since the last look.
            start = now - min(monotonic() - max(self._due, self._looked), time.thread_time() - self._ran)
            hold = _Hold(sighting, start, start)
        seconds = now - hold.start
        if sighting.plugin and seconds > self._settings.interrupt and self._culprits.may_be_interrupted(frame):
            hold.see(sighting, now)
            hold.told = self._interrupted = True
            self._holds = [hold]
            raise TimeIsUp(f"it held the event loop for {seconds:.1f} s and was interrupted (watchdog.interrupt)")

    # In the thread.

    def _watch(self) -> None:
        clock, rest = self._clock, _BEAT
        clock.ask()
        while not self._over.wait(rest):
            now = monotonic()
            overslept = now - clock.asked - rest
            kept = 0.0
            if overslept > self._quarter:
                ran, waited, wakes = clock.elapsed()
                if ran + waited < overslept / 20:
                    self._paused += overslept  # the process was stopped, or another thread kept Python's lock
                elif ran > (overslept - waited) / 2 and wakes > _WAKES:
                    kept = overslept - waited  # code in C has kept the lock, so it has been there all the time
            rest = self._look(now, kept)
            clock.ask()

    def _look(self, now: float, kept: float) -> float:
        """Look who holds the loop, if it is late.

        Args:
            now: The time.
            kept: For how many seconds the loop's thread has let nobody else run.

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
        sighting = self._culprits.find(frame, asyncio.current_task(self._loop))
        if sighting.debugged:
            self._paused = now - due
        elif beats == self._beats:
            self._judge(sighting, kept, late)
        return self._quarter

    def _judge(self, sighting: Sighting, kept: float, late: float) -> None:
        holds, settings, now = self._holds, self._settings, self._clock.time()
        if not holds or sighting.holder is None or holds[-1].sighting.holder is not sighting.holder:
            since = now - kept
            holds.append(_Hold(sighting, since if holds else min(since, now - late + self._clock.waited), since))
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
            log.warning(
                "the event loop is late by %.1f s, through no plugin alone; just now it is in %s", late, sighting
            )

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
    """The time as the loop's thread has it, and what it has done while the watching thread lay waiting.

    Args:
        ident: The loop's thread.

    Attributes:
        asked: When the watching thread lay down to wait.
    """

    def __init__(self, ident: int) -> None:
        self.asked = 0.0
        self._ident = ident
        self._before = (0.0, 0.0, 0.0)
        self._own: int | None = None
        loop = next((thread.native_id for thread in threading.enumerate() if thread.ident == ident), None)
        self._loop = _open(loop)

    def time(self) -> float:
        """Return the seconds of a clock that stands still while the loop's thread is ready and gets no processor."""
        return monotonic() - self._read(self._loop)[1]

    def ask(self) -> None:
        """Take note that the watching thread lies down to wait; called by that thread alone."""
        if self._own is None and self._loop is not None:
            self._own = _open(threading.get_native_id())
        self.asked = monotonic()
        self._before = self._now()

    def elapsed(self) -> tuple[float, float, float]:
        """Return for how long the loop's thread has since run, and been ready to; how often the watching one woke."""
        ran, waited, wakes = (now - before for now, before in zip(self._now(), self._before, strict=True))
        return ran, waited, wakes

    @property
    def waited(self) -> float:
        """The seconds that the loop's thread was ready since the watching thread last lay down."""
        return self._now()[1] - self._before[1]

    def close(self) -> None:
        """Close its files."""
        for file in (self._loop, self._own):
            if file is not None:
                os.close(file)
        self._loop = self._own = None

    def _now(self) -> tuple[float, float, float]:
        return *self._read(self._loop)[:2], self._read(self._own)[2]

    def _read(self, file: int | None) -> tuple[float, float, float]:
        if file is None:  # as if nobody ever waited for a processor
            linux = sys.platform == "linux"
            ran = time.clock_gettime(time.pthread_getcpuclockid(self._ident)) if linux else monotonic()
            return ran, 0.0, monotonic() * 1000
        ran, waited, wakes = map(int, os.pread(file, 100, 0).split())
        return ran / 1e9, waited / 1e9, wakes


def _open(thread: int | None) -> int | None:
    try:
        return os.open(f"/proc/self/task/{thread}/schedstat", os.O_RDONLY)
    except OSError:
        return None
