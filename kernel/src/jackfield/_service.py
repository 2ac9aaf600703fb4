"""A service: a namespace, and the functions that are called under it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar, overload

from jackfield._contract import Handler
from jackfield._errors import Code

NAMESPACE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

F = TypeVar("F", bound=Handler)


@dataclass(frozen=True, slots=True)
class Function:
    """One function as its author declared it; see `Service.function`."""

    name: str
    handler: Handler
    ordered: bool = False
    detached: bool = False
    timeout: float | None = None
    errors: tuple[str, ...] = ()
    requires: tuple[str, ...] | None = None
    visible: bool = False
    deprecated: str | None = None
    emits: Mapping[str, object] = field(default_factory=dict)

    @property
    def doc(self) -> str:
        """The docstring, without its indentation."""
        return inspect.getdoc(self.handler) or ""


class Service:
    """A namespace and its functions.

    Args:
        namespace: Dotted path, such as `api.services.test`; the plugin's metadata declares the same.

    Raises:
        ValueError: `namespace` is no dotted path.

    Example:
        >>> service = Service("api.greetings")
        >>> @service.function
        ... async def hello(call: Call, data: str) -> str:
        ...     return f"Hello {data}"
    """

    def __init__(self, namespace: str) -> None:
        if not NAMESPACE.fullmatch(namespace):
            raise ValueError(f"A namespace is a dotted path in letters, digits and _, not {namespace!r}.")
        self.namespace = namespace
        self._functions: dict[str, Function] = {}

    def __repr__(self) -> str:
        return f"<Service {self.namespace} functions={sorted(self._functions)}>"

    @property
    def functions(self) -> tuple[Function, ...]:
        """The functions in the order in which they were declared."""
        return tuple(self._functions.values())

    @overload
    def function(self, handler: F, /) -> F: ...

    @overload
    def function(
        self,
        /,
        *,
        name: str | None = None,
        ordered: bool = False,
        detached: bool = False,
        timeout: float | None = None,
        errors: Iterable[Code | str] = (),
        requires: str | Iterable[str] | None = None,
        visible: bool = False,
        deprecated: str | None = None,
        emits: Mapping[str, object] | None = None,
    ) -> Callable[[F], F]: ...

    def function(  # noqa: PLR0913 - each is a word of the declaration, and has a default
        self,
        handler: F | None = None,
        /,
        *,
        name: str | None = None,
        ordered: bool = False,
        detached: bool = False,
        timeout: float | None = None,
        errors: Iterable[Code | str] = (),
        requires: str | Iterable[str] | None = None,
        visible: bool = False,
        deprecated: str | None = None,
        emits: Mapping[str, object] | None = None,
    ) -> F | Callable[[F], F]:
        """Declare a function: `async def`, or a plain `def`, which runs in a worker thread.

        Its signature is its contract: `(call: Call, data: In) -> Out`, or `(call: Call) -> Out`, where `In` and
        `Out` are anything that pydantic can validate. Use it as a decorator, or call it with any callable.

        Args:
            handler: The function; the decorator gives it back as it was.
            name: The last segment of the event; the function's own name if left out.
            ordered: Calls of one connection run one at a time, in the order of arrival.
            detached: It runs on when its client goes away.
            timeout: Seconds that a call has when the caller says nothing; `limits.call_timeout` if left out.
            errors: The codes that it answers with on purpose, for `api.system.describe`.
            requires: The scopes that a caller needs, all of them; `()` lets in everybody who is known. Left out, nobody
                may call it until the operator says who. Where nobody has to say who they are, this means nothing.
            visible: Callers who may not call it are told `permission_denied`; to others it does not exist.
            deprecated: What callers are to use instead; the function works as before.
            emits: The events that it emits to its caller, each with the type of its data, for its contract.

        Raises:
            ValueError: The name is taken or no name, the timeout is not positive, a code is none of the sixteen, a
                scope is empty or has white space in it.
        """

        def declare(function: F) -> F:
            own_name: str = getattr(function, "__name__", "")
            self._add(
                Function(
                    name=name or own_name,
                    handler=function,
                    ordered=ordered,
                    detached=detached,
                    timeout=timeout,
                    errors=tuple(Code(code).value for code in errors),
                    requires=None if requires is None else read_scopes(requires),
                    visible=visible,
                    deprecated=deprecated,
                    emits=dict(emits or {}),
                )
            )
            return function

        return declare if handler is None else declare(handler)

    def _add(self, function: Function) -> None:
        if not _NAME.fullmatch(function.name):
            raise ValueError(f"A function's name has letters, digits and _ only, not {function.name!r}.")
        if function.name in self._functions:
            raise ValueError(f"{self.namespace} has two functions named {function.name!r}.")
        if function.timeout is not None and function.timeout <= 0:
            raise ValueError(f"The timeout of {function.name!r} must be more than 0 seconds.")
        self._functions[function.name] = function


def read_scopes(scopes: str | Iterable[str]) -> tuple[str, ...]:
    """Return scopes as a tuple; one alone needs no list around it.

    Raises:
        ValueError: A scope is empty or has white space in it.
    """
    found = (scopes,) if isinstance(scopes, str) else tuple(scopes)
    for scope in found:
        if not scope or scope.split() != [scope]:
            raise ValueError(f"A scope is a word without white space, not {scope!r}.")
    return found
