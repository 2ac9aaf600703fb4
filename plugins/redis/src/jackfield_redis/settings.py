"""What can be configured: the table `[plugins.redis]`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class RedisSettings(BaseModel):
    """`[plugins.redis]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: SecretStr | None = Field(None, description="Where Redis is; without it each server is for itself.")
    prefix: str = Field(
        "jackfield",
        min_length=1,
        pattern=r"^[^{}]*$",
        description="What the names of its topics begin with; servers with the same one belong together.",
    )
    keys: tuple[Annotated[SecretStr, Field(min_length=16)], ...] = Field(
        (), description="Keys that seal what servers tell each other: the first one seals, each is accepted."
    )
    message_size: int = Field(
        4 * 1024 * 1024,
        ge=1024,
        le=16 * 1024 * 1024,
        description="Bytes of what servers tell each other at once; larger events reach this server's clients only.",
    )
    required: bool = Field(False, description="Whether a server that does not find Redis refuses to start.")

    @field_validator("url")
    @classmethod
    def _usable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():  # a variable that is not set
            return None
        from jackfield_redis.address import check_url  # noqa: PLC0415 - who uses no Redis need not wait for redis-py

        return check_url(value)
