"""The server as it is for the author of a plugin: with checks on, and errors that are told to who made them."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import FrameType
from typing import Any, Final

from jackfield._audience import Reporter
from jackfield._call import Call, Client, current
from jackfield._cli.dev.awaits import Awaits
from jackfield._cli.dev.blocking import Blocking, audit_sleep
from jackfield._cli.dev.results import CheckedContract, Misfit
from jackfield._cli.dev.tasks import Tasks
from jackfield._culprit import Culprits
from jackfield._dispatch import Dispatcher
from jackfield._errors import CallError, Code
from jackfield._kernel import JackfieldKernel
from jackfield._manifest import Found
from jackfield._plugins import Served
from jackfield._settings import Settings

_LONGEST: Final = 500
"""Characters of an exception's text that callers are told."""
_LOOK: Final = 1.0
"""Seconds between two looks whether the process that started this one is still there."""

log: Final = logging.getLogger("jackfield.dev")


class DevReporter(Reporter):
    """Tells callers on this machine what went wrong, and everybody else what they would be told anyway.

    Attributes:
        owner: Returns the plugin that a file of code is part of, if there is one.
        functions: Where each function is, by its event.
    """

    def __init__(self) -> None:
        super().__init__()
        self.owner: Callable[[str], str | None] = lambda file: None
        self.functions: Mapping[str, str] = {}

    def internal(self, error: BaseException, what: str, call: Call | None = None) -> CallError:
        """Log an exception, with the line of the plugin's code that it came through, and return what callers see."""
        error_id = secrets.token_hex(8)
        extra = {"error_id": error_id, "call": call}
        details = error.details if isinstance(error, Misfit) else []
        if isinstance(error, Misfit):
            said = error.told
            log.error("%s (error_id %s)", error, error_id, extra=extra)
        else:
            text = " ".join(str(error).split())[:_LONGEST]
            said = f"{type(error).__name__}: {text}" if text else type(error).__name__
            said += f" ({self._place(error, call)})"
            log.error("%s failed: %s (error_id %s)", what, said, error_id, exc_info=error, extra=extra)
        if call is None or call.client is None or not call.client.local:
            said, details = f"Something went wrong in the server (error {error_id}).", []
        return CallError(Code.INTERNAL, said, details=details, error_id=error_id)

    def _place(self, error: BaseException, call: Call | None) -> str:
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [frame for frame in frames if self.owner(frame.filename) is not None]
        if not theirs and call is not None and call.event in self.functions:
            return self.functions[call.event]
        innermost = (theirs or frames)[-1:]
        return "".join(f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in innermost) or "nowhere"


class DevClient(Client):
    """A client for whom what is emitted to it is looked at first."""

    __slots__ = ()

    async def emit(self, event: str, data: object = None) -> None:
        """Send the client a Socket.IO event; see `Client.emit`."""
        call = current()
        if call is not None and call.client is self and isinstance(call.kernel, DevKernel):
            call.kernel.check_emitted(call, event, data, sys._getframe(1))
        await super().emit(event, data)


class DevDispatcher(Dispatcher):
    """A dispatcher that has them."""

    client = DevClient
    reporter = DevReporter
    _reporter: DevReporter

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._reporter.owner = self.culprits.owner
        contracts = {event: entry.served.contract for event, entry in self._registry.table.items()}
        self._reporter.functions = {
            event: contract.where for event, contract in contracts.items() if isinstance(contract, CheckedContract)
        }


class DevKernel(JackfieldKernel):
    """A server with the checks of development mode.

    Args:
        settings: The configuration.
        found: As for `JackfieldKernel`.
    """

    dispatcher = DevDispatcher

    def __init__(self, settings: Settings, found: Sequence[Found] | None = None) -> None:
        super().__init__(settings, found)
        self._contracts: dict[str, CheckedContract] = {}
        self._blocking = Blocking(lambda: self._culprits)
        self._tasks = Tasks(self._owner)
        self._awaits = Awaits(self._owner)
        logging.getLogger("jackfield.plugins").setLevel(logging.DEBUG)  # it has the tracebacks of starts that fail

    def load(self) -> None:
        """Import and check the plugins that may be, and have a closer look at the results of their functions."""
        audit_sleep()
        super().load()
        for plugin in self._plugins:
            plugin.served = tuple(self._checked(served) for served in plugin.served)

    async def serve(self, ready: Callable[[], None], fd: int | None = None) -> None:
        """Serve, and watch what plugins do meanwhile; see `JackfieldKernel.serve`."""
        self._tasks.watch(asyncio.get_running_loop())
        self._awaits.watch()
        self._blocking.watch()
        self._look_for_parent(os.getppid())
        await super().serve(ready, fd)

    def check_emitted(self, call: Call, event: str, data: object, frame: FrameType) -> None:
        """Look at what the function of a call emits to its caller.

        Args:
            call: The call.
            event: The event.
            data: Its data.
            frame: Where it is emitted.
        """
        seen = None if self._culprits is None else self._culprits.find(frame, None)
        if call.event in self._contracts and seen is not None:
            self._contracts[call.event].check_emitted(event, data, f"{seen.file}:{seen.line}")

    def _checked(self, served: Served) -> Served:
        try:
            contract = self._contracts[served.event] = CheckedContract(served)
        except Exception:  # a type that can be served can be developed
            log.exception("nobody looks closely at what %s returns; this is a fault of jackfield", served.event)
            return served
        return replace(served, contract=contract)

    def _look_for_parent(self, parent: int) -> None:
        """End with the process that started this one, however that ends: nobody else would let go of the address."""
        if os.getppid() == parent:
            asyncio.get_running_loop().call_later(_LOOK, self._look_for_parent, parent)
        else:
            for _ in range(2):  # without waiting for calls
                self.stop()

    @property
    def _culprits(self) -> Culprits | None:
        return None if self._dispatcher is None else self._dispatcher.culprits

    def _owner(self, file: str) -> str | None:
        return None if self._culprits is None else self._culprits.owner(file)

    async def _cancel_leftovers(self) -> None:
        self._tasks.report(asyncio.all_tasks())
        await super()._cancel_leftovers()
