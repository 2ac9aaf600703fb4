"""Presence over several servers: Redis has the members of all of them.

Each server says again and again that it is there. One that has not for a while has gone, and any other one takes its
members away. One that was only held up for as long finds out that its members were taken away, and brings them back.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

from redis.exceptions import ResponseError

from jackfield import CallError, Code
from jackfield_channels.presence import Changed, Member
from jackfield_channels.redis_scripts import BURY, ENTER, LEAVE
from jackfield_channels.store import split
from jackfield_redis import Away, Link, Part, Reply, Script, Seal

COMINGS: Final = "presence"
"""The topic of who comes and goes."""
_LIFE: Final = 15_000
"""Milliseconds that a server is taken to be there after it has said so; it does every five seconds."""
_PLACES: Final = 1000
"""Members of a server that has gone that are taken away at once."""

Run: TypeAlias = Callable[[Script, Sequence[str], Sequence[Part]], Coroutine[object, object, Reply]]
"""Returns what a script returns, or raises `CallError`."""


class RedisPresence:
    """Knows who is there, on all servers.

    Args:
        link: The way to Redis. Its listener passes on here what it hears of.
        run: What runs a script by that way.
        seal: What tells our members from others.
        changed: Called when somebody comes or goes, on whichever server.
        most: Members that are listed.
    """

    def __init__(self, link: Link, run: Run, seal: Seal, changed: Changed, most: int) -> None:
        self._link = link
        self._run = run
        self._seal = seal
        self._changed = changed
        self._most = most
        self._own: dict[tuple[str, str], Member] = {}
        self._places = link.name("places", link.id)

    def enter(self, channel: str, member: Member) -> None:
        """Let a subscriber be seen."""
        self._own[channel, member.client] = member
        self._enter(channel, member)

    def leave(self, channel: str, client: str) -> None:
        """Let a subscriber be seen no more, if it was."""
        if self._own.pop((channel, client), None) is not None:
            self._leave(channel, client)

    async def members(self, channel: str) -> tuple[int, list[Member]]:
        """Return how many members a channel has, and as many of them as are listed."""
        name = self._link.name("members", channel)
        try:
            count = await self._link.ask("HLEN", name)
            found = await self._link.ask("HRANDFIELD", name, self._most, "WITHVALUES")
        except (Away, ResponseError):
            raise CallError(Code.UNAVAILABLE, "It is not known now who is there.", retry_after=1000) from None
        pairs = zip(found[::2], found[1::2], strict=True)
        members = [self._member(channel, client.decode(), shown) for client, shown in pairs]
        return count, [member for member in members if member is not None]

    async def sweep(self) -> None:
        """Say that this server is there, and take away the members of those that are not."""
        more = True
        while more:
            own = len(self._own)
            known, more = await self._run(BURY, *self._burial())
            if known != own:  # Redis has lost some of them, or was told by another server that this one is not there
                with suppress(Away, ResponseError):  # then the next time
                    await self._restore()

    async def began(self) -> None:
        """Let Redis know again what it may have lost, and forget what was over meanwhile."""
        keys, arguments = self._burial()
        await self._link.tell("EVAL", BURY.text, len(keys), *keys, *arguments)
        await self._restore()

    def heard(self, message: bytes) -> None:
        """Take who has come or gone."""
        change, channel, client, shown = split(message)
        member = self._member(channel.decode(), client.decode(), shown)
        if member is not None:
            self._changed(channel.decode(), "join" if change == b"join" else "leave", member)

    async def _restore(self) -> None:
        """Let Redis know all members of this server, and no others."""
        places: set[bytes] = await self._link.tell("SMEMBERS", self._places)
        there = {(channel.decode(), client.decode()) for channel, client in map(split, places)}
        told = [self._leave(*place) for place in there - self._own.keys()]
        told += [self._enter(channel, member) for (channel, _), member in self._own.items()]
        for reply in told:
            await reply

    def _enter(self, channel: str, member: Member) -> asyncio.Future[Reply]:
        text = json.dumps([member.user, member.data]).encode()
        return self._tell(ENTER, channel, member.client, self._seal.close(text, channel.encode()))

    def _leave(self, channel: str, client: str) -> asyncio.Future[Reply]:
        return self._tell(LEAVE, channel, client)

    def _tell(self, script: Script, channel: str, client: str, *shown: bytes) -> asyncio.Future[Reply]:
        keys = [self._link.name("members", channel), self._places, self._link.name(COMINGS)]
        return self._link.tell("EVAL", script.text, len(keys), *keys, channel, client, self._most, *shown)

    def _burial(self) -> tuple[list[str], list[Part]]:
        """Return the keys and arguments of `BURY`."""
        keys = [self._link.name("servers"), self._link.name(COMINGS)]
        names = [self._link.name(name, "") for name in ("members", "places", "alive")]
        return keys, [self._link.id, _LIFE, *names, self._most, _PLACES]

    def _member(self, channel: str, client: str, shown: bytes) -> Member | None:
        content = self._seal.open(shown, channel.encode())
        if content is None:
            return None
        user, data = json.loads(content)
        return Member(client, user, data)
