"""What can be configured: the table `[plugins.redis]`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from jackfield_redis.address import RedisUrl


class RedisSettings(BaseModel):
    """`[plugins.redis]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: RedisUrl | None = Field(None, description="Where Redis is; without it each server is for itself.")
    prefix: str = Field(
        "jackfield",
        min_length=1,
        pattern=r"^[^{}]*$",
        description="What the names of its topics begin with; servers with the same one belong together.",
    )
    keys: tuple[Annotated[SecretStr, Field(min_length=16)], ...] = Field(
        (), description="Keys that seal what servers tell each other: the first one seals, each is accepted."
    )
    required: bool = Field(False, description="Whether a server that does not find Redis refuses to start.")
