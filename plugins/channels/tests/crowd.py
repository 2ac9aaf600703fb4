"""Publishers, and followers who come back, of one channel; at one server, or at several that are as one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from jackfield import CallError, Code, Position
from jackfield.client import connect
from plugins.channels.tests.calls import publish
from plugins.channels.tests.following import Follower, kept, position_of
from tests.support.judge import Kept, Seen, Session, judge
from tests.support.waiting import until

_REST = 0.05
"""Seconds for which whoever was turned away stays away."""


class Crowd:
    """Publishers and followers of one channel, on all servers at first; each comes back to any of them.

    Args:
        urls: The servers'.
        channel: The channel.
        again: Whether publishers try until they are told that it is done. A store that has forgotten the ids that it
            knew would publish twice.
        pause: Seconds between two publications of a publisher at the most.

    Attributes:
        sent: What anybody tried to publish.
        acknowledged: What was.
        refused: What publishers were told where it was not.
        followers: Those who follow.
    """

    def __init__(self, urls: Sequence[str], channel: str, *, again: bool, pause: float = 0) -> None:
        self.sent: set[object] = set()
        self.acknowledged: list[Seen] = []
        self.refused: list[CallError] = []
        self.followers: list[Follower] = []
        self._urls = urls
        self._channel = channel
        self._again = again
        self._pause = pause
        self._stop = False
        self._moves = 0
        self._writing: list[asyncio.Task[None]] = []
        self._following: list[asyncio.Task[None]] = []

    @property
    def sessions(self) -> list[list[Session]]:
        """Those of each follower."""
        return [follower.sessions for follower in self.followers]

    def begin(self, group: asyncio.TaskGroup, writers: int, followers: int) -> None:
        """Let so many publish and follow."""
        self._writing = [group.create_task(self._publish(number)) for number in range(writers)]
        self._following = [group.create_task(self._follow(number)) for number in range(followers)]

    def move(self) -> None:
        """Let all followers leave, and come back."""
        self._moves += 1

    async def more(self, count: int) -> None:
        """Return when so much more was acknowledged."""
        wanted = len(self.acknowledged) + count
        await until(lambda: len(self.acknowledged) >= wanted)

    async def there(self, turn: int = 0) -> None:
        """Return when each follower is subscribed, for the time of this number at least."""
        await until(lambda: all(len(own) > turn and own[-1].position is not None for own in self.sessions))

    async def settled(self) -> Kept:
        """Let publishers end; return what is kept when all followers have it."""
        self._stop = True
        await asyncio.wait(self._writing)
        async with connect(self._urls[0]) as client:
            found = await kept(client, self._channel)
        await until(lambda: all(one.position == Position(found.top, found.epoch) for one in self.followers))
        return found

    def leave(self) -> None:
        """Let followers end."""
        for task in self._following:
            task.cancel()

    def judged(self, found: Kept) -> list[str]:
        """Return what was promised and not kept, where nothing is lost."""
        return judge(self.sent, self.acknowledged, self.sessions, found, complete=True)

    async def _publish(self, number: int) -> None:
        """Publish one value after the other, over any number of connections."""
        value, left = 0, False
        url = self._urls[number % len(self._urls)]
        while not self._stop or left:
            try:
                async with connect(url, reconnect=False) as client:
                    while not self._stop or left:
                        if not left:
                            value += 1
                        name = f"{number}-{value}"
                        self.sent.add(name)
                        left = self._again
                        at = await publish(client, self._channel, name, id=name)
                        self.acknowledged.append(Seen(position_of(at), name))
                        left = False
                        await asyncio.sleep(random.random() * self._pause)
            except CallError as error:  # of the channel, or of the connection
                if error.code != Code.UNAVAILABLE:
                    raise
                self.refused.append(error)
                await asyncio.sleep(_REST)
            url = random.choice(self._urls)

    async def _follow(self, number: int) -> None:
        """Follow the channel, over any number of connections."""
        follower = Follower(self._channel)
        url = self._urls[number % len(self._urls)]
        self.followers.append(follower)
        while True:
            moves = self._moves
            try:
                async with connect(url, reconnect=False, on=follower.begin()) as client:
                    await follower.subscribe(client)
                    await until(lambda: not client.connected or self._moves != moves, limit=3600)  # noqa: B023
            except CallError as error:
                if error.code != Code.UNAVAILABLE:
                    raise
                await asyncio.sleep(_REST)
            last = follower.sessions[-1]
            if last.position is None and not last.heard:
                follower.sessions.pop()
            url = random.choice(self._urls)


@asynccontextmanager
async def at_work(*crowds: Crowd, writers: int = 4, followers: int = 3) -> AsyncIterator[None]:
    """Let crowds publish and follow while a block runs, in which they are to settle."""
    async with asyncio.TaskGroup() as group:
        for crowd in crowds:
            crowd.begin(group, writers, followers)
        yield
        for crowd in crowds:
            crowd.leave()
