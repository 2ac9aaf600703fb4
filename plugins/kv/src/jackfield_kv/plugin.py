"""What the kernel asks the plugin for."""

from __future__ import annotations

from typing import Final

from jackfield import Call, Kernel, Service, hookimpl
from jackfield_kv.handlers import make_service
from jackfield_kv.kv import Kv
from jackfield_kv.settings import KvSettings

_opened: Final[dict[Kernel, Kv]] = {}
"""What is open, by the kernel that serves it: a process may run several."""


@hookimpl
def jackfield_settings() -> type[KvSettings]:
    """Return the model of `[plugins.kv]`."""
    return KvSettings


@hookimpl
def jackfield_services() -> list[Service]:
    """Return the one service."""
    return [make_service(_opened_for)]


@hookimpl
async def jackfield_startup(kernel: Kernel, settings: KvSettings) -> None:
    """Open the store, so that a server that cannot use its file says so at its start; Redis may come later."""
    _opened[kernel] = await Kv.open(settings)


@hookimpl
async def jackfield_shutdown(kernel: Kernel) -> None:
    """Close it."""
    await _opened.pop(kernel).close()


@hookimpl
async def jackfield_health(kernel: Kernel) -> None:
    """Tell whether the store can be reached.

    Raises:
        RuntimeError: It cannot.
    """
    if (trouble := _opened[kernel].trouble()) is not None:
        raise RuntimeError(f"the store cannot be reached: {trouble}")


def _opened_for(call: Call) -> Kv:
    return _opened[call.kernel]
