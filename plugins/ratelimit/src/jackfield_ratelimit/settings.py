"""What can be configured: the table `[plugins.ratelimit]`."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

Per: TypeAlias = Literal["principal", "connection", "address", "function", "plugin", "server"]
"""What has a bucket of its own."""

_OF_CALLERS: Final = ("principal", "connection", "address")


def _listed(value: object) -> object:
    """Take one where a list is meant."""
    return [value] if isinstance(value, str) else value


class Rule(BaseModel):
    """`[[plugins.ratelimit.rules]]`: how often some functions may be called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    functions: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        ("*",), min_length=1, description="Patterns of functions, such as api.files.*; a * stands for dots too."
    )
    per: Per = Field("principal", description="What has a bucket of its own.")
    rate: float = Field(
        ge=0.000_001, le=100_000, allow_inf_nan=False, description="Calls per second, such as 10 or 0.5."
    )
    burst: int | None = Field(
        None, ge=1, le=1_000_000, description="Calls that may come at once; as many as come in a second if left out."
    )
    inside: bool = Field(False, description="Whether calls count that plugins make, beside those of clients.")

    @model_validator(mode="after")
    def _calls_from_inside_have_no_caller(self) -> Rule:
        if self.inside and self.per in _OF_CALLERS:
            raise ValueError(f'inside = true needs per = "function", "plugin" or "server", not "{self.per}"')
        return self

    @property
    def size(self) -> int:
        """How many calls may come at once."""
        return self.burst or max(1, math.ceil(self.rate))


class RatelimitSettings(BaseModel):
    """`[plugins.ratelimit]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: tuple[Rule, ...] = Field((), description="The rules; a call has to pass all that name its function.")
    exempt: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        ("jackfield:operator",), description="Scopes whose owners are not limited."
    )
    redis_url: SecretStr | None = Field(
        None, description="Where a Redis server is through which several servers have the same limits."
    )
    redis_prefix: str = Field(
        "jackfield:ratelimit",
        min_length=1,
        pattern=r"^[^{}]*$",
        description="What the names of its keys begin with; servers with the same one belong together.",
    )
    redis_ahead: float = Field(
        0.25, gt=0, le=1, description="The part of a burst that each server may let in before the others know."
    )

    @field_validator("redis_url")
    @classmethod
    def _usable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        if find_spec("jackfield_redis") is None:
            raise ValueError('the package jackfield-redis is missing: pip install "jackfield-ratelimit[redis]"')
        check: Callable[[SecretStr], SecretStr] = import_module("jackfield_redis").check_url
        return check(value)
