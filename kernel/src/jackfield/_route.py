"""What a plugin serves over plain HTTP, beside its functions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

AsgiApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI 3 application: a coroutine function of scope, receive and send."""


@dataclass(frozen=True, slots=True)
class Route:
    """An ASGI application that a plugin serves, and who may see it.

    Args:
        app: The ASGI 3 application; it gets no lifespan of its own.
        public: Whether it is for everybody; else it is for the operator alone.
    """

    app: AsgiApp
    public: bool = False
