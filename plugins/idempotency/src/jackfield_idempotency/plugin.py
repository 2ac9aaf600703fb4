"""What the kernel asks the plugin for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from jackfield import Call, Json, Kernel, Proceed, Value, hookimpl
from jackfield_idempotency import faults
from jackfield_idempotency.keys import key_in, ticket
from jackfield_idempotency.once import Once
from jackfield_idempotency.settings import IdempotencySettings

_opened: Final[dict[Kernel, Once]] = {}
"""What is open, by the kernel that serves it: a process may run several."""


@hookimpl
def jackfield_settings() -> type[IdempotencySettings]:
    """Return the model of `[plugins.idempotency]`."""
    return IdempotencySettings


@hookimpl
async def jackfield_startup(kernel: Kernel, settings: IdempotencySettings) -> None:
    """Open the store, so that a server that cannot use its file says so at its start; Redis may come later."""
    _opened[kernel] = await Once.open(settings)


@hookimpl
async def jackfield_shutdown(kernel: Kernel) -> None:
    """Close it."""
    await _opened.pop(kernel).close()


@hookimpl
async def jackfield_health(kernel: Kernel) -> None:
    """Tell whether calls with a key can be done.

    Raises:
        RuntimeError: They cannot.
    """
    if (trouble := _opened[kernel].trouble()) is not None:
        raise RuntimeError(f"calls with an idempotency-key cannot be done: {trouble}")


@hookimpl(tryfirst=True)  # what wraps a call is done once, too
async def jackfield_call(
    call: Call, proceed: Proceed, data: Value, encode: Callable[[object], Json] | None, meta: Mapping[str, str]
) -> object:
    """Let a call run, or, if one with the same key has, give it the same reply."""
    # Calls that a function makes carry the headers of its own call; they are a part of what is done once.
    key = None if call.depth else key_in(meta)
    if key is None or not (once := _opened[call.kernel]).concerns(call.event):
        return await proceed()
    if encode is None:
        raise faults.stream()
    return await once.run(ticket(call, key, data), call, proceed, encode)
