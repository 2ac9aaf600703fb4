"""One function, ready to be called: what was decided at the start, so that a call need not ask again."""

from __future__ import annotations

import asyncio
import contextlib
import dis
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from functools import partial
from types import FunctionType, MethodType
from typing import Any, Final, Protocol, TypeAlias

from jackfield import _codec
from jackfield._access import Access
from jackfield._audience import Meters
from jackfield._breaker import Breaker
from jackfield._bulkhead import Bulkhead
from jackfield._call import Call, delay
from jackfield._channel import Outlet
from jackfield._codec import Encoding
from jackfield._contract import Contract, Kind
from jackfield._envelope import NO_OPTIONS, Envelope
from jackfield._errors import CallError, Code
from jackfield._facade import Hooks, Implementation
from jackfield._frames import Item
from jackfield._hooks import Proceed
from jackfield._identity import Principal
from jackfield._json import Json, Value
from jackfield._registry import Entry
from jackfield._settings import Limits
from jackfield._workers import Workers

_Handler: TypeAlias = Callable[..., Any]
_Admitter: TypeAlias = Callable[[Call], None]
Work: TypeAlias = Callable[[], Coroutine[Any, Any, Json]]
"""Runs one call from its data to its packed result.

It raises `CallError` with what the caller is to be told, `EncodeError` where the result cannot be sent, and whatever
the function raises.
"""
_Serve: TypeAlias = Callable[[Call, Value, bool], Coroutine[Any, Any, Json]]
_Dump: TypeAlias = Callable[[object], Json]

_YIELD: Final = dis.opmap["YIELD_VALUE"]
_NOTHING: Final = Json(b"null")


class Ends(Protocol):
    """The two ends of a stream on the function's side."""

    @property
    def items(self) -> AsyncIterator[object]:
        """What the caller sends, where it sends a stream."""

    @property
    def outlet(self) -> Outlet:
        """What takes the function's items, where it yields any."""

    def open(self) -> None:
        """Tell the caller that the stream is open."""

    async def close(self) -> None:
        """Take no more items; the function has ended."""


class Pipeline:
    """The way of a call through one function, with those steps only that something asks for.

    Args:
        entry: The function.
        hooks: The hooks of all plugins in service.
        workers: The threads of the function's plugin.
        limits: The limits of the protocol.
        bulkheads: Where its calls take a place each.
        breaker: What counts its plugin's faults.
        meters: What measures its calls; it is an attribute, too.
        headers: Whether it is for calls that have headers.

    Attributes:
        info: The function as others see it.
        function: The function as its author declared it.
        task_name: The name of the tasks that run it.
        seconds: The time that a call has when its caller does not say; None if it may take for ever, as a stream may.
        inline: Whether a call never suspends, so that it needs no task.
        streams: Whether its caller or itself sends a stream.
        headed: The way of calls that have headers.
        wrappers: What of plugins stands around the function, and may look at what came.
        quick: Whether nothing stands around the function: it is inline, and no plugin is asked who may call it.
        admitters: Who is asked whether a call is let in now.
        handler: What is called in the end, with the call and the argument.
        contract: What checks its argument and its result.
        access: Who may call it; None where everybody may.
        authorizers: Which plugins are asked before a call, too.
        open: Whether nobody is asked.
        bulkheads: Where a call that suspends takes a place first, in this order.
        breaker: What stands between callers and its plugin.
        serve: Runs a call whose envelope has no options. It takes what the function is given as its call, the data, and
            whether the client's message held Buffers.
    """

    def __init__(
        self,
        entry: Entry,
        hooks: Hooks,
        workers: Workers,
        limits: Limits,
        bulkheads: tuple[Bulkhead, ...],
        breaker: Breaker,
        meters: Meters,
        headers: bool = False,
    ) -> None:
        self.info = entry.info
        self.meters = meters
        self.access: Access | None = entry.access
        self.bulkheads = bulkheads
        self.breaker = breaker
        self.function = entry.served.function
        self.task_name = f"call:{entry.info.event}"
        self.authorizers = hooks.authorizers()
        self.open = self.access is None and not self.authorizers
        self.contract = contract = entry.served.contract
        self.streams = contract.kind is not Kind.UNARY
        asked = self.function.timeout
        if asked is None and not self.streams:
            asked = limits.call_timeout
        self.seconds = None if asked is None else min(asked, limits.max_timeout)
        self.wrappers = wrappers = hooks.wrappers(headed=headers)
        self.headed = self
        if not headers and wrappers != hooks.wrappers():
            self.headed = Pipeline(entry, hooks, workers, limits, bulkheads, breaker, meters, headers=True)
        handler: _Handler = self.function.handler
        # What is over at once needs no turn either.
        self.inline = not wrappers and not self.streams and cannot_suspend(handler)
        if not self.inline:
            if self.streams:
                handler = _gathering(handler) if contract.kind is Kind.CLIENT else _pumping(handler, contract)
            elif contract.threaded:
                handler = _threaded(handler, workers)
            if self.function.ordered:
                handler = _in_turn(handler, self.info.event)
            if wrappers:
                handler = _wrapped(handler, wrappers, contract)
        self.handler = handler if contract.takes_data or self.streams else _without_data(handler)
        self.admitters: Sequence[_Admitter] = hooks.admitters()
        self._bounds = limits.bounds
        self.quick = self.inline and not self.authorizers
        self.serve = _compiled(self.handler, contract, self.admitters)

    def work(self, call: Call, envelope: Envelope, buffers: bool) -> Work:
        """Return what runs a call.

        Args:
            call: What the function is given.
            envelope: What the client sent.
            buffers: Whether its message held Buffers.
        """
        if envelope.options is NO_OPTIONS:
            return partial(self.serve, call, envelope.data, buffers)
        return partial(self._serve_packed, call, envelope, buffers)

    async def stream(self, call: Call, envelope: Envelope, buffers: bool, ends: Ends) -> Json:
        """Run a call with a stream, and return its result, if it has one beside the stream.

        Args:
            call: What the function is given.
            envelope: What the client sent to open the stream.
            buffers: Whether its message held Buffers.
            ends: Where the items go and come from.

        Raises:
            CallError: What the caller is to be told; if that is before `ends` was opened, nothing has been.
            EncodeError: An item or the result cannot be sent.
        """
        for admit in self.admitters:
            admit(call)
        options = envelope.options
        dump = self._dump(options.accept)
        if self.contract.kind is Kind.SERVER:
            argument = self._take(envelope.data, options.encoding, buffers)
        elif envelope.data is not None:
            raise CallError(
                Code.INVALID_ARGUMENT, "The argument of this function is a stream: leave out data, and send its items."
            )
        else:
            argument = ends.items
        ends.open()
        try:
            result = await self.handler(call, argument, ends.outlet, dump)
        finally:
            await ends.close()
        return dump(result) if self.contract.kind is Kind.CLIENT else _NOTHING

    def take(self, item: Item, buffers: bool) -> object:
        """Return an item that the client sent as the function's type.

        Raises:
            CallError: It is not what the function takes.
        """
        return self._take(item.data, item.encoding, buffers)

    async def _serve_packed(self, call: Call, envelope: Envelope, buffers: bool) -> Json:
        for admit in self.admitters:
            admit(call)
        options = envelope.options
        result = await self.handler(call, self._take(envelope.data, options.encoding, buffers))
        return self._dump(options.accept)(result)

    def _take(self, data: Value, encoding: Encoding | None, buffers: bool) -> object:
        if encoding is None:
            return self.contract.validate(data, buffers)
        return self.contract.validate(_codec.unpack(data, encoding, self._bounds), True)

    def _dump(self, accept: Encoding | None) -> _Dump:
        dump = self.contract.dump
        if accept is None:
            return dump
        wide = accept.kind == "msgpack"
        return lambda result: _codec.pack(dump(result, wide), accept)

    def allows(self, principal: Principal | None) -> bool:
        """Tell whether the principal may call the function, and so may know of it.

        Raises:
            CallError: `permission_denied`, where the caller may know of it.
        """
        granted = True if self.access is None else self.access.admits(principal)
        for ask in self.authorizers:
            said = ask(principal=principal, function=self.info)
            if said is False:
                granted = False
                break
            if said and granted is None:
                granted = True
        if not granted and self.access is not None and self.access.visible:
            raise CallError(Code.PERMISSION_DENIED, self.access.refusal)
        return bool(granted)


def _compiled(handler: _Handler, contract: Contract, admitters: Sequence[_Admitter]) -> _Serve:
    validate, dump = contract.validate, contract.dump

    async def serve(call: Call, data: Value, buffers: bool) -> Json:
        for admit in admitters:
            admit(call)
        return dump(await handler(call, validate(data, buffers)))

    return serve


def _without_data(handler: _Handler) -> _Handler:
    return lambda call, _: handler(call)


def _pumping(handler: _Handler, contract: Contract) -> _Handler:
    """Return a coroutine function that sends what an async generator yields, and closes it whatever happens."""
    takes_data = contract.takes_data

    async def pump(call: Call, argument: object, outlet: Outlet, dump: _Dump) -> None:
        async with contextlib.aclosing(handler(call, argument) if takes_data else handler(call)) as items:
            async for item in items:
                if call.cancelled:  # the function has swallowed that, and yields on: it is closed where it stands
                    return
                if not outlet.put(dump(item)):
                    await outlet.flush()

    return pump


def _gathering(handler: _Handler) -> _Handler:
    """Return a coroutine function that is called as the others are, for one that takes a stream and gives a result."""

    async def gather(call: Call, items: object, outlet: Outlet, dump: _Dump) -> object:
        return await handler(call, items)

    return gather


def cannot_suspend(handler: Callable[..., object]) -> bool:
    """Tell whether a handler is a coroutine function that waits for nothing, whichever way it goes.

    Only the code of a plain function or method tells; of anything else, it may wait.
    """
    function = handler.__func__ if isinstance(handler, MethodType) else handler
    if not isinstance(function, FunctionType) or not function.__code__.co_flags & inspect.CO_COROUTINE:
        return False
    # Every second byte is an instruction. A coroutine leaves the processor in this one only, be it for await, async
    # for or async with; functions and generators inside it have code of their own.
    return _YIELD not in function.__code__.co_code[::2]


def _threaded(handler: _Handler, workers: Workers) -> _Handler:
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


def _in_turn(handler: _Handler, event: str) -> _Handler:
    async def in_turn(call: Call, *arguments: object) -> object:
        if call.client is None or event in call.turns:
            return await handler(call, *arguments)
        call.turns |= {event}
        turn = call.client.turn(event)
        if turn.locked():
            delay()
        async with turn:
            return await handler(call, *arguments)

    return in_turn


def _wrapped(handler: _Handler, wrappers: Sequence[Implementation], contract: Contract) -> _Handler:
    encode = partial(contract.dump, wide=True) if contract.kind is Kind.UNARY else None

    def wrapped(call: Call, *arguments: object) -> Awaitable[object]:
        proceed: Proceed = partial(handler, call, *arguments)
        for wrap in reversed(wrappers):
            proceed = partial(wrap, call=call, proceed=proceed, data=call.envelope.data, encode=encode, meta=call.meta)
        return proceed()

    return wrapped
