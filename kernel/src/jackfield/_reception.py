"""Clients come and go: who they are is asked, and plugins are told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet

from jackfield import _limited
from jackfield._audience import Reporter
from jackfield._call import Client
from jackfield._errors import CallError, Code
from jackfield._facade import Hooks
from jackfield._host import Kernel
from jackfield._identity import Handshake, Principal
from jackfield._settings import Limits

_RECONNECT_MS: Final = (500, 5000)
"""Who is turned away is told to come back after a time between these, so that not all do at once."""

_jitter: Final = random.SystemRandom()


def retry_after() -> int:
    """Return after how many milliseconds somebody is to come back."""
    return _jitter.randint(*_RECONNECT_MS)


class Reception:
    """Asks who clients are, and tells plugins of their coming and going.

    Args:
        kernel: The kernel that they come to.
        hooks: The hooks of all plugins in service.
        limits: The limits of the protocol.
        reporter: The log.
        closed: Why nobody is let in, where that is so.
    """

    def __init__(self, kernel: Kernel, hooks: Hooks, limits: Limits, reporter: Reporter, closed: str | None) -> None:
        self._kernel = kernel
        self._hooks = hooks
        self._limits = limits
        self._reporter = reporter
        self._closed = closed
        self._background: set[asyncio.Task[None]] = set()
        self._present: dict[str, WeakSet[Client]] = {}
        self._told: WeakKeyDictionary[Client, asyncio.Task[None]] = WeakKeyDictionary()

    async def authenticate(self, handshake: Handshake) -> Principal | None:
        """Return who is there; None where nobody has to say.

        Raises:
            CallError: They are not let in.
        """
        if self._closed is not None:
            raise CallError(Code.UNAVAILABLE, self._closed, retry_after=retry_after())
        if not self._hooks.authenticates:
            return None
        try:
            principal = await _limited.run(
                self._hooks.authenticate(handshake, self._kernel), self._limits.auth_timeout, "authenticate"
            )
        except CallError:
            raise
        except _limited.OutOfTime:
            raise CallError(
                Code.UNAVAILABLE, "Authentication takes too long; try again later.", retry_after=retry_after()
            ) from None
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            raise self._reporter.internal(error, "jackfield_authenticate") from None
        if principal is None:
            raise CallError(Code.UNAUTHENTICATED, "Nobody here knows who you are: check the token.")
        return principal

    def count(self, client: Client) -> None:
        """Count a client's connection among those of its principal.

        Raises:
            CallError: `resource_exhausted`: there are too many.
        """
        most, principal = self._limits.connections_per_principal, client.principal
        if not most or principal is None:
            return
        present = self._present.setdefault(principal.id, WeakSet())
        if len(present) >= most:
            raise CallError(
                Code.RESOURCE_EXHAUSTED,
                f"You have {most} connections, and may have no more (limits.connections_per_principal).",
                retry_after=retry_after(),
            )
        present.add(client)

    def arrived(self, client: Client) -> None:
        """Tell the plugins of a client that now knows that it is connected."""
        self._tell("jackfield_connect", self._hooks.connected(client, client.principal), client)

    def left(self, client: Client, reason: str) -> None:
        """Tell the plugins of a client that has gone."""
        if client.principal is not None and (present := self._present.get(client.principal.id)) is not None:
            present.discard(client)
            if not present:
                del self._present[client.principal.id]
        self._tell("jackfield_disconnect", self._hooks.disconnected(client, reason), client)

    async def close(self, timeout: float) -> None:
        """Give the plugins so many seconds to hear all of it."""
        if self._background:
            await asyncio.wait(self._background, timeout=timeout)

    def _tell(self, hook: str, listeners: Sequence[tuple[str, Callable[[], Any]]], client: Client) -> None:
        if listeners:
            told = self._told.get(client)
            task = asyncio.get_running_loop().create_task(self._tell_all(hook, listeners, told))
            self._told[client] = task
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _tell_all(
        self, hook: str, listeners: Iterable[tuple[str, Callable[[], Any]]], before: asyncio.Task[None] | None
    ) -> None:
        if before is not None:  # nobody hears of a client's going before its coming
            await asyncio.wait([before])
        first, *others = (self._tell_one(hook, plugin, tell) for plugin, tell in listeners)
        if others:  # side by side, so that one that hangs keeps the others waiting for nothing
            await asyncio.gather(first, *others)
        else:
            await first

    async def _tell_one(self, hook: str, plugin: str, tell: Callable[[], Any]) -> None:
        try:
            await _limited.run(tell(), self._limits.call_timeout, f"{hook}:{plugin}")
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            self._reporter.complain(error, f"{hook} of plugin {plugin}")
