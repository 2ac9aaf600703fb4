"""A subscription to a channel, which is gone on with after a lost connection: `Client.subscribe` makes it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from jackfield._errors import CallError, Code
from jackfield._host import Position
from jackfield._limited import first
from jackfield.client._caller import Caller, Request
from jackfield.client._errors import ConnectionLost

_MISSED: Final = "missed"
_SUBSCRIBE: Final = "api.channels.subscribe"
_UNSUBSCRIBE: Final = "api.channels.unsubscribe"
_AHEAD: Final = 1000
"""Publications that wait for whoever iterates; what comes beyond them is asked for again."""
_PAUSE: Final = 1.0
"""Seconds after which a server that was not available is asked again, if it does not say."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What was published to a channel.

    Args:
        channel: Its name.
        position: Which publication of the channel it is.
        data: JSON's values, and bytes for Buffers.
    """

    channel: str
    position: Position
    data: Any


class Subscription(AsyncIterator[Publication]):
    """The publications of a channel, in order and each once; a context manager, in whose block it is iterated over.

    When the connection is lost and comes back, what was missed comes first. Where the server has not all of that any
    more, the iteration raises `data_loss` once: read the state of things anew. Iterated over further, it goes on with
    what is published after that.

    Attributes:
        position: That of the newest publication that was given out, or where the channel was before; `since` of a
            later subscription.
    """

    def __init__(self, caller: Caller, channel: str, since: Position | None, data: object) -> None:
        if channel.endswith("*"):
            raise ValueError(
                f"{channel!r} is a pattern, which has no position: use client.on('channel', …), "
                "and call api.channels.subscribe"
            )
        self.position = since
        self._caller = caller
        self._channel = channel
        self._data = data
        self._known = since  # up to where all has come, or was said to be missing
        self._ready: deque[tuple[Position, Publication | CallError]] = deque()
        self._early: list[tuple[str, Mapping[str, Any]]] | None = None  # what comes while the server is asked
        self._full = False
        self._over: CallError | None = None
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Subscription:
        self._caller.follow(self._channel, self._take)
        try:
            await self._ask()
        except BaseException:
            self._caller.unfollow(self._channel)
            raise
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._caller.unfollow(self._channel)
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self._caller.connected:
            with contextlib.suppress(CallError):
                await self._caller.call(Request(event=_UNSUBSCRIBE, data={"channel": self._channel}))

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Publication:
        """Return the next publication.

        Raises:
            CallError: `data_loss`: some before it are missing; or the server does not let the client subscribe again.
            ConnectionLost: The connection is lost, and does not come back.
        """
        while not self._ready:
            if self._over is not None:
                raise self._over.with_traceback(None)
            if self._full:
                self._wanted.set()
            self._changed.clear()
            await self._changed.wait()
        self.position, item = self._ready.popleft()
        if isinstance(item, CallError):
            raise item
        return item

    async def _keep(self) -> None:
        """Subscribe again when the connection was lost, and when what was left out is wanted."""
        while self._over is None:
            link = self._caller.link
            await first(self._wanted.wait(), *([] if link is None else [link.lost]))
            self._wanted.clear()
            await self._ask_again()
        self._changed.set()

    async def _ask_again(self) -> None:
        while self._over is None:
            try:
                return await self._ask()
            except ConnectionLost:
                self._over = self._caller.over  # else it may come back
            except CallError as error:
                if error.code != Code.UNAVAILABLE:
                    self._over = error
                else:
                    await asyncio.sleep(_PAUSE if error.retry_after is None else error.retry_after / 1000)

    async def _ask(self) -> None:
        """Subscribe, since all that has come."""
        early: list[tuple[str, Mapping[str, Any]]] = []
        self._early = early
        request: dict[str, object] = {"channel": self._channel, "data": self._data}
        if (since := self._known) is not None:
            request["since"] = {"epoch": since.epoch, "offset": since.offset}
        said = await self._caller.call(Request(event=_SUBSCRIBE, data=request))
        now = Position(said["offset"], said["epoch"])
        if self._known is None:
            self._known = self.position = now
        elif not said["recovered"]:
            self._lose(now)
        self._early, self._full = None, False
        # What came before the answer, of the subscription before, does not follow what is known.
        while early and not self._follows(early[0][1]):
            del early[0]
        for event, argument in early:
            self._take(event, argument)

    def _take(self, event: str, argument: Mapping[str, Any]) -> None:
        """Take what the server emits."""
        if self._early is not None:
            self._early.append((event, argument))
        elif not self._full and self._known is not None:
            now = Position(argument["offset"], argument["epoch"])
            if now.epoch == self._known.epoch and now.offset <= self._known.offset:
                return
            if event == _MISSED or not self._follows(argument):
                self._lose(now)
            if event != _MISSED:
                self._ready.append((now, Publication(self._channel, now, argument["data"])))
            self._known = now
            self._full = len(self._ready) >= _AHEAD
            self._changed.set()

    def _follows(self, argument: Mapping[str, Any]) -> bool:
        known = self._known
        return known is not None and argument["epoch"] == known.epoch and argument["offset"] == known.offset + 1

    def _lose(self, now: Position) -> None:
        known = self._known
        if known is not None and known.epoch == now.epoch:
            what = f"up to {now.offset} are missing and cannot be had"
        else:
            what = "may be missing and cannot be had, for it has another epoch"
        todo = "read the state of things anew, and iterate further."
        error = CallError(Code.DATA_LOSS, f"Publications of {self._channel!r} {what}: {todo}")
        self._ready.append((now, error))
        self._known = now
        self._changed.set()
