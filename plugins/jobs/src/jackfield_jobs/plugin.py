"""What the kernel asks the plugin for."""

from __future__ import annotations

from typing import Final

from jackfield import Call, Kernel, Service, hookimpl
from jackfield_jobs.handlers import make_service
from jackfield_jobs.jobs import Jobs
from jackfield_jobs.settings import JobsSettings

_opened: Final[dict[Kernel, Jobs]] = {}
"""What is open, by the kernel that serves it: a process may run several."""


@hookimpl
def jackfield_settings() -> type[JobsSettings]:
    """Return the model of `[plugins.jobs]`."""
    return JobsSettings


@hookimpl
def jackfield_services() -> list[Service]:
    """Return the one service."""
    return [make_service(_opened_for)]


@hookimpl
async def jackfield_startup(kernel: Kernel, settings: JobsSettings) -> None:
    """Open the store, so that a server that cannot use its file says so at its start, and begin to run jobs."""
    _opened[kernel] = await Jobs.open(kernel, settings)


@hookimpl
async def jackfield_shutdown(kernel: Kernel) -> None:
    """Put back what runs, and close it."""
    await _opened.pop(kernel).close()


@hookimpl
async def jackfield_health(kernel: Kernel) -> None:
    """Tell whether jobs can be kept.

    Raises:
        RuntimeError: They cannot.
    """
    if (trouble := _opened[kernel].trouble()) is not None:
        raise RuntimeError(f"jobs cannot be kept: {trouble}")


def _opened_for(call: Call) -> Jobs:
    return _opened[call.kernel]
