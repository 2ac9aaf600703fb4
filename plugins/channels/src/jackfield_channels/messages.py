"""What the functions take and give, and what is emitted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from jackfield_channels.store import MANY

_Number = Annotated[int, Field(ge=0, le=2**53 - 1)]
Name = Annotated[str, Field(description="Letters, digits, _, -, : and @, with dots between parts.")]
Offset = Annotated[_Number, Field(description="Which publication of the channel: one more than the one before it.")]
Epoch = Annotated[
    str,
    Field(max_length=64, description="Which count the offset is of; it changes when the channel's history is lost."),
]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Since(_Request):
    """Up to where a client has everything."""

    epoch: Epoch
    offset: Offset


class SubscribeRequest(_Request):
    """Where to subscribe, and up to where the client has everything, if it has been there before."""

    channel: Annotated[str, Field(description="A channel, or a pattern such as orders.*")]
    since: Since | None = Field(None, description="The position of the newest publication that came.")
    data: Any = Field(None, description="JSON that others see in presence.")


class Subscribed(BaseModel):
    """The client is subscribed; what is published from now on comes after this."""

    epoch: Epoch | None = Field(description="Of the channel; null for a pattern.")
    offset: Offset | None = Field(description="Of the newest publication; null for a pattern.")
    recovered: bool | None = Field(
        None, description="Whether all that was missed follows; false if not all of it is there; null without since."
    )
    replayed: int = Field(0, description="How many publications that were missed follow, as events, in order.")


class UnsubscribeRequest(_Request):
    """Which subscription to end."""

    channel: str


class PublishRequest(_Request):
    """What to publish."""

    channel: Name
    data: Any = Field(None, description="JSON with Buffers anywhere in it.")
    id: str | None = Field(
        None, min_length=1, max_length=64, description="Of two publications with the same id, the second is none."
    )


class Published(BaseModel):
    """The publication is stored."""

    epoch: Epoch
    offset: Offset


class HistoryRequest(_Request):
    """Which publications to read."""

    channel: Name
    since: Since | None = Field(None, description="Only those after this position; with reverse, before it.")
    limit: Annotated[int, Field(ge=1, le=MANY)] = Field(MANY, description="How many at the most.")
    reverse: bool = Field(False, description="Whether the newest come first.")


class Entry(BaseModel):
    """One publication."""

    offset: Offset
    data: Any


class History(BaseModel):
    """Publications of a channel."""

    epoch: Epoch
    offset: Offset
    publications: list[Entry]
    more: bool = Field(description="Whether there are others: go on from the last one.")


class PresenceRequest(_Request):
    """Where to look."""

    channel: Name


class Member(BaseModel):
    """A subscriber."""

    client: str = Field(description="The id of its connection.")
    user: str | None = Field(description="Who it is, if that is known.")
    data: Any = Field(description="What it shows of itself.")


class Presence(BaseModel):
    """Who is there."""

    count: int
    members: list[Member] = Field(description="As many as are listed.")


class Publication(BaseModel):
    """The event `channel`: something was published."""

    channel: Name
    offset: Offset
    epoch: Epoch
    data: Any


class Missed(BaseModel):
    """The event `missed`: the client did not keep up, and goes on after this position."""

    channel: str
    epoch: Epoch | None
    offset: Offset | None
    missed: int | None = Field(description="How many publications it has not got; null where that is not known.")


class PresenceChange(Member):
    """The event `presence`: somebody came or went."""

    channel: Name
    event: Literal["join", "leave"]
