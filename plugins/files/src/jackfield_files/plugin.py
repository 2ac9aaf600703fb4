"""What the kernel asks the plugin for."""

from __future__ import annotations

from typing import Final

from jackfield import Call, Kernel, Service, hookimpl
from jackfield_files.files import Files
from jackfield_files.handlers import make_service
from jackfield_files.messages import FilesSettings

_opened: Final[dict[Kernel, Files]] = {}
"""What is open, by the kernel that serves it: a process may run several."""


@hookimpl
def jackfield_settings() -> type[FilesSettings]:
    """Return the model of `[plugins.files]`."""
    return FilesSettings


@hookimpl
def jackfield_services() -> list[Service]:
    """Return the one service."""
    return [make_service(_opened_for)]


@hookimpl
async def jackfield_startup(kernel: Kernel, settings: FilesSettings) -> None:
    """Open the root, so that a server that cannot serve it says so at its start."""
    _opened[kernel] = await Files.open(settings)


@hookimpl
async def jackfield_shutdown(kernel: Kernel) -> None:
    """Close it."""
    await _opened.pop(kernel).close()


def _opened_for(call: Call) -> Files:
    return _opened[call.kernel]
