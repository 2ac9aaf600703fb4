"""python-socketio's client manager over Redis: events, rooms and answers of all servers.

What is told goes to every server of the same prefix once, in the order in which it was told, or not at all: nothing is
sent twice, nothing is kept for a server that is away, and nobody waits for Redis for long.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any, Final

from socketio.async_pubsub_manager import AsyncPubSubManager

from jackfield_redis.link import DEADLINE, Away, Link
from jackfield_redis.messages import Malformed, decode, encode
from jackfield_redis.seal import Seal
from jackfield_redis.settings import RedisSettings

log: Final = logging.getLogger(__name__)

_TOPIC: Final = "rooms"
_WAITING: Final = 32 * 1024 * 1024
"""Bytes that may have come and not been passed on; as many as Redis itself keeps for a server that does not read."""
_SENDERS: Final = 1000
"""Servers whose last number is remembered."""
_AT_ONCE: Final = 32
"""Messages that are passed on in one turn of the event loop: what they bring a client is written together."""
_QUIET: Final = 60.0
"""Seconds between two lines in the log about messages."""


class RedisManager(AsyncPubSubManager):  # type: ignore[misc]  # python-socketio is untyped
    """The client manager of one server.

    Args:
        url: Where Redis is; see `check_url`.
        settings: The rest of what is configured.

    Attributes:
        redis: Its link.
        refused: How many messages came that are none, or not from a server that has a key.
    """

    name = "redis"

    def __init__(self, url: str, settings: RedisSettings) -> None:
        super().__init__()
        self.redis = Link(url, settings.prefix, [_TOPIC], self, "rooms of all servers")
        self.refused = 0
        self._topic = self.redis.name(_TOPIC)
        self._place = self._topic.encode()
        self._keys = [key.get_secret_value() for key in settings.keys]
        self._seal = Seal(self._keys)
        self._largest = settings.message_size
        self._told = 0
        self._inbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._waiting = 0
        self._last: OrderedDict[str, int] = OrderedDict()
        self._quiet_until = 0.0

    async def open(self) -> None:
        """Connect; where Redis is not there, go on trying."""
        await self.redis.open()

    async def close(self) -> None:
        """Close the connections."""
        await self.redis.close()

    # What the link tells.

    async def began(self) -> None:
        """There is nothing to do: rooms are those of each server."""

    def heard(self, topic: str, message: bytes) -> None:
        """Keep a message until its turn comes."""
        if topic != self._topic:
            return
        if len(message) > self._largest:
            self._refuse(f"it has {len(message)} bytes")
        elif self._waiting + len(message) > _WAITING:
            self._refuse("more has come than this server can pass on")
        else:
            self._waiting += len(message)
            self._inbox.put_nowait(message)

    def lost(self) -> None:
        """There is nothing to do: what has come is passed on."""

    # What python-socketio asks for.

    async def _publish(self, data: dict[str, Any]) -> None:
        """Tell the other servers.

        Raises:
            Away: Redis is, or did not answer in time; then it may have been told all the same.
            ValueError: It is too large, or has something that JSON has not.
        """
        self._told += 1
        message = self._seal.close(encode(self.redis.id, self._told, data), self._place)
        if len(message) > self._largest:
            text = f"what is told has {len(message)} bytes, and plugins.redis.message_size is {self._largest}"
            self._warn(text)
            raise ValueError(text)
        try:
            async with asyncio.timeout(DEADLINE):
                await self.redis.ask("PUBLISH", self._topic, message)
        except TimeoutError:
            raise Away(f"it has not answered for {DEADLINE:g} s", sent=True) from None

    async def _listen(self) -> AsyncIterator[dict[str, Any]]:
        for number in itertools.count(1):
            message = await self._inbox.get()
            self._waiting -= len(message)
            if (found := self._open(message)) is not None:
                yield found
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)  # however much has come, calls have their turn

    def _open(self, message: bytes) -> dict[str, Any] | None:
        """Return what another server tells, or None where there is nothing to do for it."""
        content = self._seal.open(message, self._place)
        if content is None:
            self._refuse("it has no seal of plugins.redis.keys: another server has others, or it is of none of them")
            return None
        try:
            found = decode(content)
        except Malformed as error:
            sealed = "" if self._keys else "; a server with plugins.redis.keys may have sent it, and this one has none"
            self._refuse(f"it is malformed: {error}{sealed}")
            return None
        sender, number = found["from"], found["n"]
        if sender == self.redis.id:
            return None
        if number <= self._last.get(sender, 0):
            self._refuse("it came a second time, or too late")
            return None
        self._last[sender] = number
        self._last.move_to_end(sender)
        if len(self._last) > _SENDERS:
            self._last.popitem(last=False)
        return found

    def _refuse(self, reason: str) -> None:
        self.refused += 1
        self._warn(f"a message from Redis is refused: {reason} ({self.refused} so far)")

    def _warn(self, text: str) -> None:
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            log.warning(text)
