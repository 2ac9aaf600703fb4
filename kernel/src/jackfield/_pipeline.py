"""One function, ready to be called: what was decided at the start, so that a call need not ask again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from jackfield import _codec
from jackfield._call import Call, Client, FunctionInfo
from jackfield._codec import Bounds
from jackfield._envelope import Envelope
from jackfield._facade import Hooks
from jackfield._hooks import Proceed
from jackfield._identity import Principal
from jackfield._json import Json, Value
from jackfield._registry import Entry
from jackfield._workers import Workers

Authorizer = Callable[[Principal | None, FunctionInfo], bool | None]


class Pipeline:
    """The way of a call through one function.

    Args:
        entry: The function.
        hooks: The hooks of all plugins in service; only those that somebody implements cost anything.
        workers: The threads of the function's plugin.
        bounds: The limits of the codec.
    """

    def __init__(self, entry: Entry, hooks: Hooks, workers: Workers, bounds: Bounds) -> None:
        self.info = entry.info
        self.function = entry.served.function
        self._contract = entry.served.contract
        self._bounds = bounds
        self._authorizers = hooks.authorizers()
        self._admitters = hooks.admitters()
        self._wrappers = hooks.wrappers()
        self._handler: Callable[..., Awaitable[object]] = (
            _threaded(self.function.handler, workers) if self._contract.threaded else self.function.handler  # type: ignore[assignment]
        )

    def allows(self, principal: Principal | None) -> bool:
        """Tell whether the principal may call the function, and so may know of it.

        Raises:
            CallError: `permission_denied`, where a plugin lets the caller know.
        """
        return all(ask(principal, self.info) is not False for ask in self._authorizers)

    async def run(self, call: Call, envelope: Envelope, *, buffers: bool) -> Json:
        """Run the call from its packed data to its packed result.

        Args:
            call: What the function is given.
            envelope: What the client sent.
            buffers: Whether the client's message held Buffers.

        Raises:
            CallError: What the caller is to be told.
            EncodeError: The function's result cannot be sent.
            Exception: Whatever the function raised.
        """
        for admit in self._admitters:
            admit(call)
        data = self._unpacked(envelope)
        buffers = buffers or envelope.encoding is not None
        if envelope.accept is None:
            return await self.call(call, data, buffers=buffers)
        result = await self.call(call, data, buffers=buffers, wide=envelope.accept.kind == "msgpack")
        return _codec.pack(result, envelope.accept)

    async def call(self, call: Call, data: Value, *, buffers: bool, wide: bool = False) -> Json:
        """Run the call from its data to its result; raises as `run`."""
        argument = self._contract.validate(data, buffers=buffers)
        arguments = (call, argument) if self._contract.takes_data else (call,)
        if self._wrappers:
            result = await _wrapped(self._wrappers, call, lambda: self._invoke(call, arguments))
        else:
            result = await self._invoke(call, arguments)
        return self._contract.dump(result, wide=wide)

    def _invoke(self, call: Call, arguments: tuple[object, ...]) -> Awaitable[object]:
        if self.function.ordered and call.client is not None and self.info.event not in call.turns:
            call.turns = call.turns | {self.info.event}
            return _in_turn(self._handler, call.client, self.info.event, arguments)
        return self._handler(*arguments)

    def _unpacked(self, envelope: Envelope) -> Value:
        if envelope.encoding is None:
            return envelope.data
        return _codec.unpack(envelope.data, envelope.encoding, self._bounds)


def _threaded(handler: Callable[..., object], workers: Workers) -> Callable[..., Awaitable[object]]:
    async def in_thread(*arguments: object) -> object:
        job = workers.submit(lambda: handler(*arguments))
        try:
            return await asyncio.shield(job.future)
        except asyncio.CancelledError:
            if not job.future.done() and not workers.withdraw(job):
                await _finished(job.future)
            raise

    return in_thread


async def _finished(future: asyncio.Future[object]) -> None:
    """Wait until the thread is done, come what may: only then is the call's place free again."""
    while not future.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([future])
    future.exception()  # nobody is left to be told, and asyncio would complain


async def _in_turn(
    handler: Callable[..., Awaitable[object]], client: Client, event: str, arguments: tuple[object, ...]
) -> object:
    async with client.turn(event):
        return await handler(*arguments)


async def _wrapped(wrappers: Iterable[Callable[[Call, Proceed], Any]], call: Call, innermost: Proceed) -> object:
    proceed = innermost
    for wrap in reversed(tuple(wrappers)):
        proceed = _around(wrap, call, proceed)
    return await proceed()


def _around(wrap: Callable[[Call, Proceed], Any], call: Call, inner: Proceed) -> Proceed:
    async def proceed() -> object:
        return await wrap(call, inner)

    return proceed
