"""What the functions take and give."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_TTL = 10 * 365 * 86_400
"""Seconds that a value may last, if not for ever."""

Number = Annotated[int, Field(ge=0, le=2**53 - 1)]
Key = Annotated[
    str, Field(description="A text without control characters; keys are compared code point by code point.")
]
Version = Annotated[Number, Field(description="The revision of the change that made the value.")]
Revision = Annotated[Number, Field(description="The number of a change, one more than that of the change before it.")]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class GetRequest(_Request):
    """Which value to get."""

    key: Key


class Entry(BaseModel):
    """A key and its value."""

    key: Key
    value: Any = Field(description="JSON with Buffers anywhere in it; null where values were not asked for.")
    version: Version
    expires: datetime | None = Field(description="When the value is gone, by the clock of the store.")


class SetRequest(_Request):
    """Which value to set."""

    key: Key
    value: Any = Field(description="JSON with Buffers anywhere in it.")
    ttl: float | None = Field(
        None,
        gt=0,
        le=MAX_TTL,
        allow_inf_nan=False,
        description="Seconds after which the value is gone; null for never.",
    )
    if_version: Version | None = Field(None, description="Set it only if the value before has this version.")
    if_absent: bool = Field(False, description="Set it only if there is no value before.")

    @model_validator(mode="after")
    def _one_condition(self) -> SetRequest:
        if self.if_absent and self.if_version is not None:
            raise ValueError("give either if_version or if_absent")
        return self


class Written(BaseModel):
    """The value is kept."""

    version: Version


class DeleteRequest(_Request):
    """Which value to delete."""

    key: Key
    if_version: Version | None = Field(None, description="Delete it only if it has this version.")


class Deleted(BaseModel):
    """The value is gone."""

    revision: Revision


class ListRequest(_Request):
    """Which keys to list."""

    prefix: str = Field("", description="Only those that begin with this.")
    after: str = Field("", description="Only those behind this one.")
    limit: Annotated[int, Field(ge=1, le=2**53 - 1)] | None = Field(None, description="How many at the most.")
    values: bool = Field(True, description="Whether values are wanted too.")


class WatchRequest(_Request):
    """What to watch: one key, or all that begin with a prefix."""

    key: Key | None = None
    prefix: str = Field("", description="Only keys that begin with this.")
    after: Revision | None = Field(
        None, description="Tell every change after this revision; left out, begin with what there is."
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> WatchRequest:
        if self.key is not None and self.prefix:
            raise ValueError("give either key or prefix")
        return self


class WatchItem(BaseModel):
    """A change; or, with `reached`, that all changes up to a revision have been told."""

    event: Literal["set", "delete", "expire", "reached"]
    revision: Revision
    key: Key | None = Field(None, description="What has changed; null with `reached`.")
    value: Any = Field(None, description="The new value, with `set`; its version is the revision.")
    expires: datetime | None = Field(None, description="When the new value is gone, by the clock of the store.")
