"""Who hears of calls: the log, and the plugins' observers."""

from __future__ import annotations

import asyncio
import logging
import secrets
import traceback
from collections.abc import Callable, Container, Iterable, Sequence
from time import monotonic
from typing import Final, TypeAlias

from jackfield._call import Call
from jackfield._errors import CallError, Code
from jackfield._guard import TimeIsUp
from jackfield._hooks import Meter, Observer
from jackfield._host import FunctionInfo
from jackfield._throttle import Throttle

Meters: TypeAlias = Sequence[tuple[str, Meter]]
"""What measures the calls of one function, each with its plugin's name; the same list all the time."""

log: Final = logging.getLogger("jackfield.calls")


class Reporter:
    """Writes what went wrong inside the server, under an id that the caller is given too."""

    def __init__(self) -> None:
        self._throttle = Throttle()

    def internal(self, error: BaseException, what: str, call: Call | None = None) -> CallError:
        """Log an exception and return what its caller may know of it.

        The log gets a line for every error, and the traceback once a second for each place that raises.
        """
        error_id = secrets.token_hex(8)
        place = _last_place(error)
        full = self._throttle.ready((type(error), place))
        text = " ".join(str(error).split())[:200]
        told = (what, error_id, type(error).__name__, text, place)
        extra = {"error_id": error_id, "call": call}
        log.error("%s failed, error_id %s: %s: %s (%s)", *told, exc_info=error if full else None, extra=extra)
        return CallError(Code.INTERNAL, f"Something went wrong in the server (error {error_id}).", error_id=error_id)

    def overdue(self, event: str, place: str) -> None:
        """Log that a call did not end in time, once a second for each function."""
        if self._throttle.ready(("overdue", event)):
            log.warning("%s did not end in time; it was at %s", event, place)

    def complain(self, error: BaseException, what: str) -> None:
        """Log an exception that changes nothing for anybody, once a second for each `what`."""
        if self._throttle.ready(what):
            log.error("%s raised %s", what, type(error).__name__, exc_info=error)


class Audience:
    """Who hears of calls: the plugins' observers, and the log where a function fails.

    Args:
        observers: The observers, with their plugins' names.
        reporter: The log; it is an attribute, too.
        blame: Told of each call that failed by its function's fault, how, and by which exception.

    Attributes:
        starting: What is told of the start of a call, with its plugin; the same list all the time.
        ending: What is told of its end, likewise.
    """

    def __init__(
        self,
        observers: Iterable[tuple[str, Observer]],
        reporter: Reporter,
        blame: Callable[[Call, str, BaseException | None], None],
    ) -> None:
        self.starting: list[tuple[str, Callable[[Call], None]]] = []
        self.ending: list[tuple[str, Callable[[Call, CallError | None], None]]] = []
        self.reporter = reporter
        self._blame = blame
        self._observers = tuple(observers)
        self._meters: list[tuple[list[tuple[str, Meter]], Meters]] = []
        self.tell({plugin for plugin, _ in self._observers})

    def tell(self, plugins: Container[str]) -> None:
        """Tell the observers of these plugins from now on, and no others."""
        found = [(plugin, each) for plugin, each in self._observers if plugin in plugins]
        self.starting[:] = [(name, each.started) for name, each in found if type(each).started is not Observer.started]
        self.ending[:] = [(name, each.ended) for name, each in found if type(each).ended is not Observer.ended]
        for told, meters in self._meters:
            told[:] = [pair for pair in meters if pair[0] in plugins]

    def meters(self, function: FunctionInfo) -> Meters:
        """Ask the observers for what measures the calls of a function; they are asked once."""
        found: list[tuple[str, Meter]] = []
        for plugin, observer in self._observers:
            try:
                if (meter := observer.meter(function)) is not None:
                    found.append((plugin, meter))
            except BaseException as error:  # noqa: BLE001 - a plugin may raise anything; the function is served
                self.reporter.complain(error, f"meter of the observer of plugin {plugin}")
        self._meters.append((found[:], found))
        return self._meters[-1][0]

    def started(self, call: Call) -> None:
        """Tell the observers that a call is about to run."""
        self._tell("started", self.starting, call)

    def ended(self, call: Call, told: CallError | None, meters: Meters) -> None:
        """Tell the observers that a call is over, and which error its caller got."""
        if meters:
            code = told.code if told is not None else Code.CANCELED if call.cancelled else None
            self._tell("meter", meters, monotonic() - call.started, code)
        if self.ending:
            self._tell("ended", self.ending, call, told)

    def _tell(self, method: str, observers: Iterable[tuple[str, Callable[..., None]]], *told: object) -> None:
        for plugin, tell in observers:
            try:
                tell(*told)
            except BaseException as error:  # noqa: BLE001 - a plugin may raise anything
                self.reporter.complain(error, f"{method} of the observer of plugin {plugin}")

    def failed(self, call: Call, error: BaseException) -> CallError:
        """Return what the caller is told of an exception, and log it if it is the function's fault."""
        if isinstance(error, CallError):
            return error
        if call.cancelled and isinstance(error, asyncio.CancelledError):
            return CallError(Code.CANCELED, "The call was cancelled.")
        told = self.reporter.internal(error, call.event, call)
        self._blame(call, f"{type(error).__name__} in {call.event} ({_last_place(error)})", error)
        return told

    def expired(self, call: Call, place: str) -> None:
        """Take note of a call that had all the time that its function gets, and did not end."""
        self.reporter.overdue(call.event, place)
        self._blame(call, f"{call.event} did not end in time; it was at {place}", None)


def _last_place(error: BaseException) -> str:
    """Return the file and the line that raised."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, TimeIsUp):
        del frames[-1:]  # that is who raised it in the middle of the function
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?:0"
