"""What the kernel asks the plugin for."""

from __future__ import annotations

{% if cookiecutter.background %}
import asyncio
{% endif %}
{% if cookiecutter.background or not cookiecutter.settings %}
from typing import Final

{% endif %}
{% if cookiecutter.background %}
from jackfield import Call, Kernel, Service, hookimpl
{% else %}
from jackfield import Service, hookimpl
{% endif %}

from {{ cookiecutter.__package }}.handlers import make_service
{% if cookiecutter.settings %}
from {{ cookiecutter.__package }}.messages import Settings
{% endif %}
from {{ cookiecutter.__package }}.service import Tally

{% if not cookiecutter.settings %}
MAX_THINGS: Final = 1000
"""How many things have a total at once."""
{% if cookiecutter.background %}
KEEP: Final = 3600.0
"""Seconds after which a thing that nobody counts is forgotten."""
{% endif %}

{% endif %}
{% if cookiecutter.background %}
_running: Final[dict[Kernel, tuple[Tally, asyncio.Task[None]]]] = {}
"""What counts, and the task that forgets, by the kernel that they are for: a process may run several.

The task begins when the server starts. jackfield_services is asked before that, and not told for which kernel.
"""

{% endif %}
{% if cookiecutter.background or not cookiecutter.settings %}

{% endif %}
{% if cookiecutter.settings %}
{% if not cookiecutter.background %}

{% endif %}
@hookimpl
def jackfield_settings() -> type[Settings]:
    """Return the model of `[plugins.{{ cookiecutter.name }}]`."""
    return Settings


{% endif %}
{% if cookiecutter.background %}
@hookimpl
def jackfield_services() -> list[Service]:
    """Return the one service."""
    return [make_service(_tally_of)]


@hookimpl
{% if cookiecutter.settings %}
async def jackfield_startup(kernel: Kernel, settings: Settings) -> None:
    """Begin to count, and to forget in the background."""
    tally = Tally(settings.max_things)
    task = asyncio.create_task(tally.forget(settings.keep), name="{{ cookiecutter.name }}-forget")
    _running[kernel] = tally, task
{% else %}
async def jackfield_startup(kernel: Kernel) -> None:
    """Begin to count, and to forget in the background."""
    tally = Tally(MAX_THINGS)
    task = asyncio.create_task(tally.forget(KEEP), name="{{ cookiecutter.name }}-forget")
    _running[kernel] = tally, task
{% endif %}


@hookimpl
async def jackfield_shutdown(kernel: Kernel) -> None:
    """End the background work."""
    _, task = _running.pop(kernel)
    task.cancel()
    await asyncio.wait([task])


@hookimpl
async def jackfield_health(kernel: Kernel) -> None:
    """Tell whether the background work goes on.

    Raises:
        RuntimeError: It has ended, which it never should.
    """
    _, task = _running[kernel]
    if task.done():
        raise RuntimeError(f"the background work has ended: {task.exception()!r}")


def _tally_of(call: Call) -> Tally:
    tally, _ = _running[call.kernel]
    return tally
{% elif cookiecutter.settings %}
@hookimpl
def jackfield_services(settings: Settings) -> list[Service]:
    """Return the one service, with what counts: each kernel asks for its own."""
    return [make_service(Tally(settings.max_things))]
{% else %}
@hookimpl
def jackfield_services() -> list[Service]:
    """Return the one service, with what counts: each kernel asks for its own."""
    return [make_service(Tally(MAX_THINGS))]
{% endif %}
