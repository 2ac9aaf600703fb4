"""Channels in Redis: the store and the presence of several servers, on one link."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from jackfield_channels.presence import Changed
from jackfield_channels.redis_presence import COMINGS, RedisPresence
from jackfield_channels.redis_store import NEWS, Followed, Moved, RedisStore
from jackfield_channels.settings import ChannelsSettings
from jackfield_channels.store import Bounds
from jackfield_redis import Link, Seal

log: Final = logging.getLogger(__name__)

_QUIET: Final = 60.0
"""Seconds between two lines in the log about what was refused."""


class RedisEngine:
    """Listens to Redis.

    Args:
        settings: The plugin's settings, with an address of Redis.
        bounds: How much is kept.
        followed: Which channels have subscribers here.
        moved: Called with how far these are.
        changed: Called when somebody comes or goes.
        interrupted: Called when Redis is there, and something may have been published until then.

    Attributes:
        store: The store; opening and closing it opens and closes all.
        presence: Who is there.
    """

    def __init__(
        self,
        settings: ChannelsSettings,
        bounds: Bounds,
        followed: Followed,
        moved: Moved,
        changed: Changed,
        interrupted: Callable[[], None],
    ) -> None:
        if settings.redis_url is None:
            raise ValueError("there is no address of Redis")
        url = settings.redis_url.get_secret_value()
        link = Link(url, settings.redis_prefix, [NEWS, COMINGS], self, "channels")
        self._seal = Seal([key.get_secret_value() for key in settings.redis_keys])
        self.store = RedisStore(link, self._seal, bounds, followed, moved)
        self.presence = RedisPresence(link, self.store.run, self._seal, changed, settings.max_members)
        self._heard = {
            link.name(NEWS): self.store.heard,
            link.name(COMINGS): self.presence.heard,
            link.own: self.store.answered,
        }
        self._interrupted = interrupted
        self._quiet_until = 0.0

    @property
    def refused(self) -> int:
        """How much came that is none of our servers'."""
        return self._seal.refused

    async def began(self) -> None:
        """Find out what has happened meanwhile."""
        self._interrupted()
        await self.store.began()
        await self.presence.began()

    def heard(self, topic: str, message: bytes) -> None:
        """Pass on what was published; what makes no sense is somebody else's."""
        refused = self._seal.refused
        try:
            self._heard[topic](message)
        except ValueError:
            self._seal.refused += 1
        if self._seal.refused != refused and (now := time.monotonic()) >= self._quiet_until:
            self._quiet_until = now + _QUIET
            log.warning(
                "refused what came by %s: it is none of our servers', or one has other redis_keys; %d so far",
                topic,
                self._seal.refused,
            )

    def lost(self) -> None:
        """Let nobody wait for Redis."""
        self.store.lost()
