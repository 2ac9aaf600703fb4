"""The client of a test: the public one, which also keeps what it is sent, and can behave badly."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final

from jackfield.client import Client as PublicClient
from jackfield.client import Handler
from jackfield.client._caller import Caller
from jackfield.client._link import Hear, Link
from jackfield.client._place import Place
from jackfield.testing._ground import Ground

EVENT_LIMIT: Final = 5.0
"""Seconds that an event has to come, where the test says nothing else."""


class Client(PublicClient):
    """A client of a kernel under test: all of `jackfield.client.Client`, and what tests need besides.

    `RunningKernel.connect` makes it. It disconnects with the kernel's end, or with the end of its own block if it is
    used as a context manager.
    """

    def __init__(self, caller: Caller, inbox: Inbox, ground: Ground) -> None:
        super().__init__(caller)
        self._inbox = inbox
        self._ground = ground

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()

    async def next_event(self, event: str, timeout: float = EVENT_LIMIT) -> Any:
        """Return the argument of the next event of this name that the server emits, or has emitted; each once.

        Args:
            event: The name.
            timeout: Seconds to wait for it.

        Raises:
            AssertionError: It does not come.
        """
        return await self._inbox.next(event, timeout)

    async def disconnect(self) -> None:
        """Say good-bye; a second time nothing happens."""
        await self._caller.close()

    async def vanish(self) -> None:
        """Be gone without a good-bye, as when a cable is cut; returns when the client itself knows."""
        link = self._link()
        self._ground.cut(link)
        await asyncio.wait([link.lost])

    def stop_reading(self) -> None:
        """Read no more of what the server sends: it waits at the server, and the client counts as slow."""
        self._ground.hold(self._link())

    def read_on(self) -> None:
        """Read what has waited, and all that comes."""
        self._ground.let_go(self._link())

    def _link(self) -> Link:
        link = self._caller.link
        if link is None or link.lost.done():
            raise RuntimeError("this client is not connected")
        return link


class Inbox:
    """The events that a client was sent, by name, until the test asks for them."""

    def __init__(self) -> None:
        self._events: defaultdict[str, deque[Any]] = defaultdict(deque)
        self._came: list[str] = []
        self._changed = asyncio.Event()

    def listen(self, hear: Hear) -> Hear:
        """Return what keeps each event, and passes it on."""

        async def heard(event: str, argument: Any) -> Any:
            self._events[event].append(argument)
            self._came.append(event)
            self._changed.set()
            return await hear(event, argument)

        return heard

    async def next(self, event: str, timeout: float) -> Any:
        """Return the next one; see `Client.next_event`."""
        try:
            async with asyncio.timeout(timeout):
                while not self._events[event]:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            came = ", ".join(self._came) or "nothing"
            raise AssertionError(
                f"no event {event!r} came within {timeout:g} s; what has come so far: {came}"
            ) from None
        return self._events[event].popleft()


async def connected(place: Place, ground: Ground, on: Mapping[str, Handler], *, again: bool) -> Client:
    """Connect a client.

    Args:
        place: What it shows, and how long it waits.
        ground: What makes the connection.
        on: Handlers by event.
        again: Whether to come back when the connection is lost.

    Raises:
        ConnectError: It is not let in.
    """
    inbox = Inbox()
    caller = Caller(
        place, reconnect=again, handlers=on, connect=lambda where, hear: ground.connect(where, inbox.listen(hear))
    )
    await caller.open()
    return Client(caller, inbox, ground)
