"""Clients that publish and follow, and write down what they are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jackfield import Position
from jackfield.client import Client
from plugins.channels.tests.calls import history, subscribe
from tests.support.judge import Kept, Missed, Seen, Session


def position_of(said: Mapping[str, Any]) -> Position:
    """Return the position in an event or an answer."""
    return Position(said["offset"], said["epoch"])


class Follower:
    """Follows a channel over any number of connections.

    Args:
        channel: The channel.

    Attributes:
        sessions: What it was told on each.
    """

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.sessions: list[Session] = []

    @property
    def position(self) -> Position | None:
        """Up to where it has everything."""
        return next((one.end for one in reversed(self.sessions) if one.end is not None), None)

    def begin(self) -> Mapping[str, Callable[[Any], None]]:
        """Begin a session, and return its handlers."""
        session = Session(self.position)
        self.sessions.append(session)

        def published(said: Any) -> None:
            session.heard.append(Seen(position_of(said), said["data"]))

        def missed(said: Any) -> None:
            session.heard.append(Missed(position_of(said), said["missed"]))

        return {"channel": published, "missed": missed}

    async def subscribe(self, client: Client) -> None:
        """Subscribe, since where the last session ended."""
        session = self.sessions[-1]
        since = session.since
        more = {} if since is None else {"since": {"epoch": since.epoch, "offset": since.offset}}
        answer = await subscribe(client, self.channel, **more)
        session.position, session.recovered = position_of(answer), answer["recovered"]


async def kept(client: Client, channel: str) -> Kept:
    """Read all of a channel's history."""
    values: dict[int, object] = {}
    page = await history(client, channel)
    while page["publications"]:
        values |= {one["offset"]: one["data"] for one in page["publications"]}
        page = await history(client, channel, since={"epoch": page["epoch"], "offset": max(values)})
    return Kept(page["epoch"], min(values, default=page["offset"] + 1) - 1, page["offset"], values)
