"""What the kernel asks the plugin for."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from jackfield import Call, Kernel, hookimpl
from jackfield_ratelimit.limiter import Limiter
from jackfield_ratelimit.settings import RatelimitSettings

_admit: Final[dict[Kernel, Callable[[Call], None]]] = {}
"""What lets calls in, by the kernel that serves them: a process may run several."""


@hookimpl
def jackfield_settings() -> type[RatelimitSettings]:
    """Return the model of `[plugins.ratelimit]`."""
    return RatelimitSettings


@hookimpl
def jackfield_abstain(settings: RatelimitSettings) -> Collection[str]:
    """Let no call pass here where there are no rules."""
    return () if settings.rules else ("jackfield_admit",)


@hookimpl
async def jackfield_startup(kernel: Kernel, settings: RatelimitSettings) -> None:
    """Make the buckets, all of them full."""
    _admit[kernel] = Limiter(settings).admit


@hookimpl
async def jackfield_shutdown(kernel: Kernel) -> None:
    """Forget them."""
    del _admit[kernel]


@hookimpl
def jackfield_admit(call: Call) -> None:
    """Let a call in, or tell when to come again."""
    _admit[call.kernel](call)
