"""What the functions take and give{% if cookiecutter.settings %}, and the settings{% endif %}: what callers and operators rely on."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=100)]
"""What a thing is called."""


{% if cookiecutter.settings %}
class Settings(BaseModel):
    """`[plugins.{{ cookiecutter.name }}]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_things: int = Field(1000, ge=1, description="How many things have a total at once.")
{% if cookiecutter.background %}
    keep: float = Field(3600.0, gt=0, description="Seconds after which a thing that nobody counts is forgotten.")
{% endif %}


{% endif %}
class Thing(BaseModel):
    """A thing that is counted."""

    model_config = ConfigDict(extra="forbid")

    thing: Name


class Addition(Thing):
    """Some more of a thing."""

    count: Annotated[int, Field(ge=1, le=1_000_000)] = 1


class Total(BaseModel):
    """How many of a thing there are."""

    thing: str
    total: int
