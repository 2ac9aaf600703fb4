"""What the kernel asks the plugin for."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Final

from jackfield import Call, Kernel, hookimpl
from jackfield_ratelimit.buckets import Buckets
from jackfield_ratelimit.limiter import Limiter, local
from jackfield_ratelimit.settings import RatelimitSettings, Rule

if TYPE_CHECKING:
    from jackfield_ratelimit.sharing import Sharing

_admit: Final[dict[Kernel, Callable[[Call], None]]] = {}
"""What lets calls in, by the kernel that serves them: a process may run several."""

_sharing: Final[dict[Kernel, Sharing]] = {}
"""What tells other servers, by the kernel."""


@hookimpl
def jackfield_settings() -> type[RatelimitSettings]:
    """Return the model of `[plugins.ratelimit]`."""
    return RatelimitSettings


@hookimpl
def jackfield_abstain(settings: RatelimitSettings) -> Collection[str]:
    """Let no call pass here where there are no rules, and say nothing of Redis where there is none."""
    if not settings.rules:
        return ("jackfield_admit", "jackfield_health")
    return () if settings.redis_url is not None else ("jackfield_health",)


@hookimpl
async def jackfield_startup(kernel: Kernel, settings: RatelimitSettings) -> None:
    """Make the buckets, all of them full, and look for Redis."""
    if not settings.rules or settings.redis_url is None:
        _admit[kernel] = Limiter(settings).admit
        return
    from jackfield_ratelimit.sharing import Sharing  # noqa: PLC0415 - who shares nothing need not have the package

    sharing = Sharing(settings.redis_url.get_secret_value(), settings.redis_prefix)
    _admit[kernel] = Limiter(settings, partial(_shared, sharing, settings)).admit
    _sharing[kernel] = sharing
    await sharing.open()


@hookimpl
async def jackfield_shutdown(kernel: Kernel) -> None:
    """Forget them."""
    del _admit[kernel]
    if (sharing := _sharing.pop(kernel, None)) is not None:
        await sharing.close()


@hookimpl
async def jackfield_health(kernel: Kernel) -> str:
    """Tell whether other servers know of the calls; without that, a server is still better than none."""
    trouble = _sharing[kernel].trouble
    if trouble is None:
        return "limits hold over all servers together"
    return f"Redis cannot be used ({trouble}): limits hold for this server by itself"


@hookimpl
def jackfield_admit(call: Call) -> None:
    """Let a call in, or tell when to come again."""
    _admit[call.kernel](call)


def _shared(sharing: Sharing, settings: RatelimitSettings, rule: Rule) -> Buckets:
    # No other server has the same connection.
    return local(rule) if rule.per == "connection" else sharing.buckets(rule, settings.redis_ahead)
