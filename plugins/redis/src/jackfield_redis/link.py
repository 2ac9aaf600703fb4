"""The link to Redis: it comes back by itself, and nobody who uses it waits for long.

Commands go out together, in the order in which they were asked for, on one connection; on another one comes what is
published. Both are looked after by a heartbeat that goes out by the one and comes back by the other. When either fails
everything that waits is told so at once, and what is asked for meanwhile is refused at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any, Final, Protocol, TypeAlias

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import NoScriptError, ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from jackfield_redis.address import open_redis

log: Final = logging.getLogger(__name__)

DEADLINE: Final = 2.0
"""Seconds after which Redis is taken to be away if it says nothing."""
_BEAT: Final = 0.5
"""Seconds between two heartbeats."""
_LONG: Final = 3600.0
"""Seconds for which it is listened to what is published, before that is begun again: redis-py needs a number."""
_TOGETHER: Final = 100
"""Commands that go out together at the most, and messages that are heard without a pause."""
_FIRST_RETRY: Final = 0.05
_LAST_RETRY: Final = 1.0
"""Seconds between two attempts to connect, at first and in the end; each is up to twice as long."""

Part: TypeAlias = str | bytes | int
Reply: TypeAlias = Any
"""What Redis answers: bytes, a number, None, or a list of these."""


class Away(Exception):
    """Redis cannot be used now.

    Args:
        reason: Why.
        sent: Whether the command was on its way, so that it may have been carried out.
    """

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class Script:
    """A script in Lua.

    Args:
        text: It.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.name = sha1(text.encode(), usedforsecurity=False).hexdigest()


class Listener(Protocol):
    """Whoever has a link."""

    async def began(self) -> None:
        """Do what is to be done whenever Redis is there, again, and before anything is asked.

        It uses `Link.tell`. What it raises is taken for a failure of Redis.
        """

    def heard(self, topic: str, message: bytes) -> None:
        """Take a message that was published."""

    def lost(self) -> None:
        """Take note that Redis is away."""


@dataclass(slots=True)
class _Asked:
    """A command, and who waits for its reply."""

    command: Sequence[Part]
    reply: asyncio.Future[Reply] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Link:
    """A link to Redis, from `open` to `close`.

    Args:
        url: Where Redis is; see `check_url`.
        prefix: What the names of all keys and topics begin with.
        topics: What to hear of, without the prefix, beside the link's own topic.
        listener: Whose link it is.
        purpose: What it is for, as the log has it.

    Attributes:
        id: A name that no other link has.
        own: The topic, with the prefix, of which only this link hears.
        trouble: Why Redis cannot be used, if that is so.
    """

    def __init__(self, url: str, prefix: str, topics: Sequence[str], listener: Listener, purpose: str) -> None:
        self.id = secrets.token_hex(8)
        self.trouble: str | None = "there was no connection yet"
        self._url = url
        self._prefix = "{" + prefix + "}:"  # in braces, so that a cluster has all of them in one place
        self.own = self.name("link", self.id)
        self._topics = [self.name(topic) for topic in topics]
        self._listener = listener
        self._purpose = purpose
        self._first = True
        self._up = asyncio.Event()
        self._asked: list[_Asked] = []
        self._sent: list[_Asked] = []
        self._news = asyncio.Event()
        self._connected = False
        self._alive = False
        self._parts: list[asyncio.Task[None]] = []
        self._task: asyncio.Task[None] | None = None

    def name(self, *parts: str) -> str:
        """Return the name of a key or topic."""
        return self._prefix + ":".join(parts)

    async def open(self) -> None:
        """Connect; where Redis is not there, go on trying."""
        self._task = asyncio.create_task(self._keep(), name="redis-link")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEADLINE):
                await self._up.wait()

    async def close(self) -> None:
        """Close the connections; whoever still waits is told so, and the listener of nothing more."""
        if self._task is not None:
            await _end([self._task])
            await _end(self._parts)
        self._refuse("the link is closed")

    async def ask(self, *command: Part) -> Reply:
        """Return the reply to a command.

        Raises:
            Away: Redis cannot be used.
            ResponseError: It does not like the command.
        """
        if not self._up.is_set():
            raise Away(self.trouble or "it is not ready", sent=False)
        return await self.tell(*command)

    def tell(self, *command: Part) -> asyncio.Future[Reply]:
        """Send a command after those that were sent before; whoever does not care need not await the reply.

        Unlike `ask` it may be used while the listener begins.

        Raises, when awaited:
            Away: Redis cannot be used.
            ResponseError: It does not like the command.
        """
        return self._tell(command, len(self._asked))

    async def run(self, script: Script, keys: Sequence[Part], arguments: Sequence[Part]) -> Reply:
        """Return what a script returns.

        Raises:
            Away: Redis cannot be used.
            ResponseError: The script has failed.
        """
        try:
            return await self.ask("EVALSHA", script.name, len(keys), *keys, *arguments)
        except NoScriptError:  # so it has not run
            return await self.ask("EVAL", script.text, len(keys), *keys, *arguments)

    def _tell(self, command: Sequence[Part], place: int) -> asyncio.Future[Reply]:
        asked = _Asked(command)
        asked.reply.add_done_callback(_seen)
        if self._connected:
            self._asked.insert(place, asked)
            self._news.set()
        else:
            asked.reply.set_exception(Away(self.trouble or "it is not ready", sent=False))
        return asked.reply

    def _beat(self) -> asyncio.Future[Reply]:
        """Let the heart beat, before all that waits: where much does, Redis is there all the same."""
        return self._tell(("PUBLISH", self.own, b""), 0)

    async def _keep(self) -> None:
        retry = _FIRST_RETRY
        while True:
            redis = open_redis(self._url, DEADLINE)
            pubsub = redis.pubsub()
            try:
                await self._hold(redis, pubsub)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with Redis, the server goes on
                retry = _FIRST_RETRY if self._up.is_set() else min(2 * retry, _LAST_RETRY)
                self._lost(error)
            finally:
                await self._let_go(redis, pubsub)
            # Not all servers at once, where all have lost the same Redis.
            await asyncio.sleep(retry * random.uniform(1, 2))  # noqa: S311 - nobody gains by guessing it

    async def _hold(self, redis: Redis, pubsub: PubSub) -> None:
        """Connect, and do what there is to do until something fails."""
        subscribed = asyncio.Event()
        await pubsub.subscribe(*self._topics, self.own)
        parts = (self._hear(pubsub, subscribed), self._write(redis), self._begin(subscribed))
        self._parts = [asyncio.create_task(part, name="redis-link") for part in parts]
        await asyncio.wait(self._parts, return_when=asyncio.FIRST_COMPLETED)
        for part in self._parts:
            if part.done() and not part.cancelled():
                part.result()
        raise ConnectionError("it was given up")

    async def _let_go(self, redis: Redis, pubsub: PubSub) -> None:
        try:
            await _end(self._parts)
        finally:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(DEADLINE / 4):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]
                    await redis.aclose()

    async def _begin(self, subscribed: asyncio.Event) -> None:
        """Let commands through when nothing that is published is missed any more; then let the heart beat."""
        async with asyncio.timeout(DEADLINE):
            await subscribed.wait()
        self._connected = True
        await self._beat()  # Redis may not let us, which is to be known before anything is done
        await self._listener.began()
        if self.trouble is not None:
            log.info("%s: Redis is there", self._purpose)
        self.trouble = None
        self._up.set()
        missed = 0
        # The beats are counted, not the time: an event loop that was held up has not read what came meanwhile.
        while missed < DEADLINE / _BEAT:
            self._alive = False
            beat = self._beat()
            await asyncio.sleep(_BEAT)
            if beat.done():
                beat.result()
            missed = 0 if self._alive else missed + 1
        raise TimeoutError

    async def _hear(self, pubsub: PubSub, subscribed: asyncio.Event) -> None:
        missing = len(self._topics) + 1
        for number in itertools.count(1):
            message = await pubsub.get_message(timeout=_LONG)
            if message is None:
                continue
            self._alive = True
            if message["type"] == "message":
                if message["data"]:
                    self._listener.heard(message["channel"].decode(), message["data"])
                if number % _TOGETHER == 0:
                    await asyncio.sleep(0)  # however much has come, others have their turn
            else:
                missing -= 1
                if not missing:
                    subscribed.set()

    async def _write(self, redis: Redis) -> None:
        while True:
            await self._news.wait()
            self._sent = sent = [asked for asked in self._asked[:_TOGETHER] if not asked.reply.done()]
            del self._asked[:_TOGETHER]
            if not self._asked:
                self._news.clear()
            pipeline = redis.pipeline(transaction=False)
            for asked in sent:
                pipeline.execute_command(*asked.command)
            async with asyncio.timeout(DEADLINE):
                replies = await pipeline.execute(raise_on_error=False)
            for asked, reply in zip(sent, replies, strict=True):
                if asked.reply.done():
                    continue
                if isinstance(reply, Exception):
                    asked.reply.set_exception(reply)
                else:
                    asked.reply.set_result(reply)
            self._sent = []
            if any(isinstance(reply, ReadOnlyError) for reply in replies):
                raise ReadOnlyError("it is a replica now")

    def _lost(self, error: BaseException) -> None:
        if isinstance(error, (TimeoutError, RedisTimeoutError)):
            reason = f"it has said nothing for {DEADLINE:g} s"
        else:
            reason = " ".join(str(error).split()) or type(error).__name__
        if self.trouble is None or self._first:
            log.warning("%s: Redis is away (%s); trying again", self._purpose, reason)
        self._first = False
        self._refuse(reason)
        self._listener.lost()

    def _refuse(self, reason: str) -> None:
        self.trouble = reason
        self._up.clear()
        self._connected = False
        sent, waiting = self._sent, self._asked
        self._sent, self._asked = [], []
        for number, asked in enumerate([*sent, *waiting]):
            if not asked.reply.done():
                asked.reply.set_exception(Away(reason, sent=number < len(sent)))


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks until they end: redis-py may lose a cancellation, as `asyncio.wait_for` does before Python 3.12."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=DEADLINE / 4)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # it was the consequence of another one


def _seen(reply: asyncio.Future[Reply]) -> None:
    """Look at the outcome, of which asyncio would complain where nobody waits for it."""
    if not reply.cancelled():
        reply.exception()
