"""What can be configured: the table `[plugins.channels]`."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from jackfield import CallError
from jackfield_channels.names import check_name_or_pattern

_FUNCTION: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+", re.ASCII)


def _checked(match: str) -> str:
    try:
        check_name_or_pattern(match)
    except CallError as error:
        raise ValueError(error.message) from None
    return match


def _scopes(who: bool | tuple[str, ...]) -> bool | tuple[str, ...]:
    for scope in () if isinstance(who, bool) else who:
        if not scope or scope.split() != [scope]:
            raise ValueError(f"a scope is a word without white space, not {scope!r}")
    return who


Who: TypeAlias = Annotated[bool | tuple[str, ...], AfterValidator(_scopes)]
"""Everybody, nobody, or those who have all of some scopes."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(_Table):
    """One of `[[plugins.channels.rules]]`."""

    match: Annotated[str, AfterValidator(_checked)] = Field(
        description="A channel's name, or a pattern such as orders.*, which stands for all that begin with orders."
    )
    history: int = Field(0, ge=0, le=100_000, description="Publications of a channel that are kept.")
    ttl: float = Field(300, gt=0, le=31_536_000, description="Seconds that they are kept.")
    subscribe: Who = Field(
        True,
        description="Who may subscribe, and read history and presence: true is everybody, false nobody; or scopes.",
    )
    publish: Who = Field(False, description="Which clients may publish; plugins always may.")
    ask: str | None = Field(
        None,
        pattern=_FUNCTION.pattern,
        description="A function that is asked too, as the client, with channel and action; it returns true to allow.",
    )
    presence: bool = Field(False, description="Whether subscribers can see who is there.")
    joins: bool = Field(False, description="Whether they are told who comes and goes.")
    slow: Literal["disconnect", "skip"] = Field(
        "disconnect", description="What becomes of a subscriber that does not keep up: see slow subscribers."
    )


class ChannelsSettings(_Table):
    """`[plugins.channels]`."""

    rules: tuple[Rule, ...] = Field(
        (), description="What holds for which channels; of several rules that match, the first."
    )
    store: Literal["sqlite", "memory", "redis"] = Field(
        "sqlite",
        description="Where history is kept: memory forgets it at the end, and several servers have redis in common.",
    )
    path: Path = Field(
        Path("channels.sqlite3"), description="The file of sqlite; made at the start, if a rule keeps history."
    )
    redis_url: SecretStr | None = Field(None, description="Where Redis is, for redis.")
    redis_prefix: str = Field(
        "jackfield:channels",
        min_length=1,
        pattern=r"^[^{}]*$",
        description="What the names of its keys begin with; servers with the same one belong together.",
    )
    redis_keys: tuple[Annotated[SecretStr, Field(min_length=16)], ...] = Field(
        (), description="Keys that seal what is in Redis: the first one seals, each is accepted."
    )
    max_data: int = Field(
        64 * 1024, ge=1, le=16 * 1024 * 1024, description="Bytes of a publication: its JSON text, and its Buffers."
    )
    max_subscriptions: int = Field(128, ge=1, description="Subscriptions of one connection.")
    max_channels: int = Field(10_000, ge=1, description="Channels that are known at once; not in redis.")
    max_members: int = Field(
        1000, ge=1, description="Subscribers that presence lists; with more, nobody is told who comes and goes."
    )
    max_member: int = Field(1024, ge=0, description="Bytes that a subscriber may show of itself, as JSON.")
    quota: int = Field(
        256 * 1024 * 1024,
        ge=1,
        description="Bytes of all history, not in redis; past it the channel that rested longest loses its.",
    )
    remember: float = Field(
        604_800,
        ge=1,
        le=315_360_000,
        description="Seconds after which a channel without history or subscribers is forgotten.",
    )
    dedup: float = Field(
        300, gt=0, le=86_400, description="Seconds in which a second publication with the same id is none."
    )

    @field_validator("redis_url")
    @classmethod
    def _usable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        if find_spec("jackfield_redis") is None:
            raise ValueError('the package jackfield-redis is missing: pip install "jackfield-channels[redis]"')
        check: Callable[[SecretStr], SecretStr] = import_module("jackfield_redis").check_url
        return check(value)

    @model_validator(mode="after")
    def _redis_is_somewhere(self) -> ChannelsSettings:
        if (self.store == "redis") != (self.redis_url is not None):
            raise ValueError('store = "redis" and redis_url go together')
        return self
