"""The kernel as a test has it at hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from jackfield._host import Kernel, PluginInfo
from jackfield._identity import Principal
from jackfield._limited import first
from jackfield.client import Handler
from jackfield.client._place import Place
from jackfield.client._token import Token
from jackfield.testing._client import Client, connected
from jackfield.testing._clock import Clock
from jackfield.testing._errors import SetupError
from jackfield.testing._ground import Ground
from jackfield.testing._kernel import GivenKernel

_LIMIT: Final = 10.0
"""Seconds that the kernel has to let a client in."""


class RunningKernel:
    """A kernel that serves the plugin under test; `serve` makes it.

    Attributes:
        name: The name of the plugin under test.
        kernel: The kernel as plugins see it: call functions from inside, ask it for its plugins, quarantine one.
        clock: Its time, which can be moved.
        url: Its address; one that nobody listens on where it is in memory.
    """

    def __init__(self, kernel: GivenKernel, name: str, ground: Ground, clock: Clock) -> None:
        self.name = name
        self.clock = clock
        self._kernel = kernel
        self._ground = ground
        self._clients: list[Client] = []
        self._ending = asyncio.Event()

    @property
    def kernel(self) -> Kernel:
        """The kernel as plugins see it."""
        return self._kernel

    @property
    def url(self) -> str:
        """Its address."""
        return self._ground.url

    @property
    def plugin(self) -> PluginInfo:
        """What the kernel tells of the plugin under test: its state, and the reason where it is out of service."""
        return self._kernel.plugin(self.name).info

    @property
    def plugins(self) -> Sequence[PluginInfo]:
        """What the kernel tells of each plugin."""
        return self._kernel.plugins()

    async def connect(
        self,
        *,
        as_: Principal | None = None,
        auth: Mapping[str, Any] | None = None,
        token: Token | None = None,
        headers: Mapping[str, str] | None = None,
        on: Mapping[str, Handler] | None = None,
        reconnect: bool = False,
    ) -> Client:
        """Connect a client, which is disconnected at the kernel's end.

        Args:
            as_: Who it is; needs a kernel with `authenticated=True`.
            auth: What it shows when it connects, for the plugins that say who clients are.
            token: As in `jackfield.client.connect`: shown as `{"token": …}`, and again by `client.refresh`.
            headers: HTTP headers of its request.
            on: Handlers by event, which miss nothing of what comes first.
            reconnect: Whether it comes back when the connection is lost.

        Raises:
            ConnectError: It is not let in, with the code that the kernel gave.
            SetupError: `as_` where nobody takes the test's word for it.
        """
        if as_ is not None:
            auth = {**(auth or {}), **self.ticket(as_)}
        if auth is not None and token is not None:
            raise SetupError("auth and token exclude each other: a token is shown as auth={'token': …}")
        place = Place(
            self.url,
            transports=["websocket"],
            token=token,
            auth=auth,
            headers=dict(headers or {}),
            limit=_LIMIT,
        )
        client = await connected(place, self._ground, on or {}, again=reconnect)
        self._clients.append(client)
        return client

    def ticket(self, principal: Principal) -> dict[str, str]:
        """Return what clients of any kind show, as the `auth` of their connection, to be this one.

        Args:
            principal: Who they are.

        Raises:
            SetupError: Nobody takes the test's word for it: the kernel is not `authenticated`.
        """
        if self._kernel.principals is None:
            raise SetupError(
                "as_ or a ticket says who a client is, and this kernel asks nobody: serve with authenticated=True "
                "(@pytest.mark.jackfield(authenticated=True)), or show what a plugin knows with auth="
            )
        return self._kernel.principals.ticket(principal)

    def quarantine(self, plugin: str, reason: str = "the test wants it so") -> None:
        """Take a plugin out of service, as `jackfield plugins quarantine` does.

        Raises:
            CallError: `not_found`: there is no such plugin; `failed_precondition`: it is not in service at all.
        """
        self._kernel.quarantine(plugin, reason)

    def release(self, plugin: str) -> None:
        """Take a plugin back into service.

        Raises:
            CallError: `not_found`; `failed_precondition`: it is in service.
        """
        self._kernel.release(plugin)

    async def drain(self) -> None:
        """Begin to end, as on SIGTERM; return when no call is taken any more.

        Calls that run have `server.drain_timeout` to end; those that are made now are answered with `unavailable`.
        """
        self._ending.set()
        while not self._kernel.draining:  # noqa: ASYNC110 - a few turns, in which the other task gets there
            await asyncio.sleep(0)

    @asynccontextmanager
    async def in_service(self) -> AsyncIterator[None]:
        """Serve while a block runs; `serve` does it."""
        ready = asyncio.Event()
        # In a task of its own, as a server has: it can end while the test looks on.
        task = asyncio.create_task(self._serve(ready), name="serve")
        await first(task, ready.wait())
        try:
            if task.done():
                task.result()
            yield
        finally:
            for client in self._clients:
                await client.disconnect()
            self._ending.set()
            for _ in range(2):  # the second time says that calls which run are not waited for
                self._kernel.stop()
            await asyncio.wait([task])
        task.result()

    async def _serve(self, ready: asyncio.Event) -> None:
        async with self._ground.served():
            ready.set()
            await self._ending.wait()
