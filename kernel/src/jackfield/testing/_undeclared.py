"""Codes that a function answers with on purpose and that are missing in what it declares."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Mapping
from typing import Any, Final

from jackfield._audience import Audience
from jackfield._call import Call
from jackfield._dispatch import Dispatcher
from jackfield._errors import CallError, Code
from jackfield._service import Function

_KERNEL: Final = "jackfield"


class Listener(Audience):
    """Hears which codes functions raise.

    Attributes:
        functions: The functions by event.
        undeclared: Events with codes that are missing in `errors=`, in the order of their coming.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.functions: Mapping[str, Function] = {}
        self.undeclared: dict[tuple[str, Code], None] = {}

    def failed(self, call: Call, error: BaseException) -> CallError:
        """Return what the caller is told of an exception."""
        function = self.functions.get(call.event)
        if function is not None and isinstance(error, CallError) and _is_missing(error, function):
            self.undeclared[call.event, error.code] = None
        return super().failed(call, error)


class GivenDispatcher(Dispatcher):
    """A dispatcher that is told of them."""

    audience = Listener
    _audience: Listener

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._audience.functions = {event: entry.served.function for event, entry in self._registry.table.items()}

    def warn(self) -> None:
        """Warn of each function and code, for the tests that have brought them about."""
        for event, code in self._audience.undeclared:
            warnings.warn(
                f"{event} answers with {code}, which it does not declare: add Code.{code.name} to the errors= of its "
                "@service.function, or answer with a code that is there",
                stacklevel=1,
            )


def _is_missing(error: CallError, function: Function) -> bool:
    """Tell whether the function, or what it uses, raised this; not the kernel, nor a function that it called."""
    if not function.errors or error.code.value in function.errors:  # who declares nothing says nothing of errors
        return False
    handler = getattr(function.handler, "__code__", None)
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    inside = [number for number, frame in enumerate(frames) if frame.f_code is handler]
    if not inside:
        return False
    modules = [str(frame.f_globals.get("__name__")) for frame in frames[inside[-1] :]]
    return all(module.partition(".")[0] != _KERNEL for module in modules)
