"""What can be configured: the table `[plugins.kv]`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class KvSettings(BaseModel):
    """`[plugins.kv]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(Path("kv.sqlite3"), description="The file of the values; made by the first call.")
    redis_url: SecretStr | None = Field(
        None, description="Where a Redis server is that keeps the values in the place of the file, for several servers."
    )
    redis_prefix: str = Field(
        "jackfield:kv",
        min_length=1,
        pattern=r"^[^{}]*$",
        description="What the names of its keys begin with; servers with the same one have the same values.",
    )
    max_key: int = Field(512, ge=1, le=4096, description="Bytes of a key in UTF-8.")
    max_value: int = Field(
        256 * 1024, ge=1, le=16 * 1024 * 1024, description="Bytes of a value: its JSON text, and its Buffers."
    )
    max_keys: int = Field(100_000, ge=1, description="Keys that have a value.")
    quota: int = Field(256 * 1024 * 1024, ge=1, description="Bytes of all keys and values.")
    history: int = Field(
        1000, ge=1, le=1_000_000, description="Changes that are remembered, for watches that are behind."
    )
    max_watches: int = Field(1000, ge=1, description="Watches that a server has at once.")

    @field_validator("redis_url")
    @classmethod
    def _usable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        if find_spec("jackfield_redis") is None:
            raise ValueError('the package jackfield-redis is missing: pip install "jackfield-kv[redis]"')
        check: Callable[[SecretStr], SecretStr] = import_module("jackfield_redis").check_url
        return check(value)
