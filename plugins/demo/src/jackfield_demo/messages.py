"""What the functions take and give, and the plugin's settings."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class DemoSettings(BaseModel):
    """`[plugins.demo]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    greeting: str = Field("Hello", description="How `greet` begins.")


class Addends(BaseModel):
    """Two numbers to add."""

    model_config = ConfigDict(extra="forbid")

    a: int
    b: int


class Sum(BaseModel):
    """Their sum."""

    sum: int


class Guest(BaseModel):
    """Somebody to greet."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    born: date | None = None


class Greeting(BaseModel):
    """A greeting."""

    text: str


class Digest(BaseModel):
    """The SHA-256 of some bytes, and how many they were."""

    sha256: str
    size: int


class Pause(BaseModel):
    """How long to take, in seconds."""

    seconds: Annotated[float, Field(ge=0, le=60)] = 5.0


class Count(BaseModel):
    """How far to count, and how fast."""

    model_config = ConfigDict(extra="forbid")

    to: Annotated[int, Field(ge=0)] | None = None
    """The last number; without one the counting goes on for ever."""
    pause: Annotated[float, Field(ge=0, le=60)] = 0.0
    """Seconds between two numbers."""


class Number(BaseModel):
    """One number."""

    n: int


class Total(BaseModel):
    """The sum of some numbers, and how many they were."""

    sum: int
    count: int


class Work(BaseModel):
    """How much work to do, and how long all of it takes, in seconds."""

    model_config = ConfigDict(extra="forbid")

    steps: Annotated[int, Field(ge=1, le=10_000)] = 10
    seconds: Annotated[float, Field(ge=0, le=60)] = 5.0


class Done(BaseModel):
    """How much work was done."""

    steps: int
