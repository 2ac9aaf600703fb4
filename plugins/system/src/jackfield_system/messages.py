"""What the functions take and give."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Info(BaseModel):
    """The server. `address` is the caller's own, as the server sees it."""

    name: str
    version: str
    protocol: int
    limits: dict[str, int | float]
    address: str | None = None


class PluginRow(BaseModel):
    """One plugin. `reason` and `hint` are there only for those who may see them."""

    name: str
    version: str
    state: str
    namespaces: list[str]
    functions: int
    kind: str | None = None
    reason: str | None = None
    hint: str | None = None


class FunctionRow(BaseModel):
    """One function. `requires` are the scopes that a caller needs, null where nobody has said."""

    event: str
    kind: str
    plugin: str
    summary: str
    requires: list[str] | None


class Which(BaseModel):
    """Which function to describe."""

    model_config = ConfigDict(extra="forbid")

    event: str


class WhichPlugin(BaseModel):
    """Which plugin to take back in."""

    model_config = ConfigDict(extra="forbid")

    plugin: str


class Out(WhichPlugin):
    """Which plugin to take out, and why: other operators read it."""

    reason: str = Field("by hand", min_length=1, max_length=500)


class Description(FunctionRow):
    """One function with its contract; the schemas are JSON Schema 2020-12, `timeout` is in seconds."""

    doc: str
    errors: list[str]
    input: dict[str, Any]
    output: dict[str, Any]
    optional: bool
    ordered: bool
    detached: bool
    timeout: float | None
    deprecated: str | None
    emits: dict[str, dict[str, Any]]


class Pattern(BaseModel):
    """Which functions to list: a pattern as file names have them, such as `api.services.*`."""

    model_config = ConfigDict(extra="forbid")

    pattern: str = "*"
