"""What can be configured: the table `[plugins.idempotency]`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class IdempotencySettings(BaseModel):
    """`[plugins.idempotency]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(
        Path("idempotency.sqlite3"), description="The file of the keys and replies; made by the first call with a key."
    )
    redis_url: SecretStr | None = Field(
        None, description="Where a Redis server is that keeps them in the place of the file, for several machines."
    )
    redis_prefix: str = Field(
        "jackfield:idempotency",
        min_length=1,
        pattern=r"^[^{}]*$",
        description="What the names of its keys begin with; servers with the same one know the same calls.",
    )
    own: tuple[str, ...] = Field(
        (), description="Patterns of functions that look after keys themselves; a * stands for dots too."
    )
    window: int = Field(
        300,
        ge=1,
        le=30 * 86_400,
        description="Seconds for which a key and its reply are kept when the call has ended.",
    )
    max_result: int = Field(
        64 * 1024, ge=0, le=16 * 1024 * 1024, description="Bytes of a result, with its Buffers, that is kept."
    )
    max_keys: int = Field(
        10_000, ge=1, description="Keys of one principal that are kept; callers who are nobody have them in common."
    )
    lease: float = Field(
        10.0,
        ge=0.5,
        le=3600,
        allow_inf_nan=False,
        description="Seconds after which nobody waits any longer for a call of a server that is silent.",
    )

    @field_validator("redis_url")
    @classmethod
    def _usable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        if find_spec("jackfield_redis") is None:
            raise ValueError('the package jackfield-redis is missing: pip install "jackfield-idempotency[redis]"')
        check: Callable[[SecretStr], SecretStr] = import_module("jackfield_redis").check_url
        return check(value)
