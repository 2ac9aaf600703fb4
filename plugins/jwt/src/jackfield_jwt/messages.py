"""What the functions take and give."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(min_length=1, max_length=256)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Refresh(_Request):
    """A newer token of the same subject."""

    token: str


class Revoke(_Request):
    """Whose tokens, or which token."""

    sub: Name | None = None
    jti: Name | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.sub is None) == (self.jti is None):
            raise ValueError("give either sub or jti")
        return self


class Standing(BaseModel):
    """Until when a connection lasts, in seconds since the epoch, and what its calls may do."""

    expires: float | None
    scopes: list[str]


class Identity(Standing):
    """Who is calling; no `sub` where nobody has to say who they are."""

    sub: str | None


class Revoked(BaseModel):
    """How many connections were closed."""

    closed: int
