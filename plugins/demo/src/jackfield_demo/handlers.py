"""The functions of `api.services.test`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

from jackfield import Call, CallError, Code, Service, Value
from jackfield_demo.messages import (
    Addends,
    Count,
    DemoSettings,
    Digest,
    Done,
    Greeting,
    Guest,
    Number,
    Pause,
    Sum,
    Total,
    Work,
)

_FOR_EVER = Count()


def make_service(settings: DemoSettings) -> Service:
    """Return the service; `settings` go into the functions that need them."""
    service = Service("api.services.test")
    _add_calls(service, settings)
    _add_long_calls(service)
    _add_streams(service)
    return service


def _add_calls(service: Service, settings: DemoSettings) -> None:
    @service.function
    async def testFunc(call: Call, data: str) -> str:
        """Return what was sent, and emit it to the caller as `message`."""
        await call.emit("message", data)
        return data

    @service.function
    async def echo(call: Call, data: Value) -> Value:
        """Return what was sent, whatever it is, Buffers included."""
        return data

    @service.function
    async def add(call: Call, data: Addends) -> Sum:
        """Add two whole numbers."""
        return Sum(sum=data.a + data.b)

    @service.function
    async def greet(call: Call, data: Guest) -> Greeting:
        """Greet somebody, in the words of the plugin's settings."""
        return Greeting(text=f"{settings.greeting} {data.name}!")

    @service.function
    async def reverse(call: Call, data: bytes) -> bytes:
        """Return the bytes of a Buffer from back to front."""
        return data[::-1]

    @service.function
    def digest(call: Call, data: bytes) -> Digest:
        """Hash a Buffer. A plain `def`: it runs in a worker thread and holds nobody up."""
        return Digest(sha256=hashlib.sha256(data).hexdigest(), size=len(data))

    @service.function(errors=[Code.FAILED_PRECONDITION])
    async def fail(call: Call, data: str = "") -> None:
        """Fail on purpose, in a way that the caller is meant to see."""
        raise CallError(Code.FAILED_PRECONDITION, data or "This function always fails, on purpose.")

    @service.function
    async def crash(call: Call) -> None:
        """Fail by accident: the caller gets an `error_id`, the log gets the same with the traceback."""
        raise RuntimeError("the demonstration crashed, as it was asked to")


def _add_long_calls(service: Service) -> None:
    @service.function
    async def sleep(call: Call, data: Pause) -> Pause:
        """Take long; it can be cancelled, and has a deadline like any other."""
        await asyncio.sleep(data.seconds)
        return data

    @service.function(ordered=True)
    async def inTurn(call: Call, data: Pause) -> Pause:
        """Take long, one at a time for each connection, in the order of arrival."""
        await asyncio.sleep(data.seconds)
        return data

    @service.function(detached=True)
    async def background(call: Call, data: Pause) -> Pause:
        """Take long, and go on when the caller goes away."""
        await asyncio.sleep(data.seconds)
        return data

    @service.function
    async def work(call: Call, data: Work) -> Done:
        """Take long, and tell how far it is to a caller that wants to know."""
        for step in range(1, data.steps + 1):
            await asyncio.sleep(data.seconds / data.steps)
            call.progress(step, data.steps, f"step {step} is done")
        return Done(steps=data.steps)

    @service.function
    async def addAll(call: Call, data: list[int]) -> int:
        """Add many numbers by calling `add` again and again, as the same caller and within the same deadline."""
        total = 0
        for number in data:
            answer = await call.invoke("api.services.test.add", {"a": total, "b": number})
            total = Sum.model_validate(answer).sum
        return total

    @service.function
    async def ask(call: Call, data: str) -> Value:
        """Ask the caller a question, as the event `question`, and return its answer."""
        if call.client is None:
            raise CallError(Code.FAILED_PRECONDITION, "Only a client can be asked.")
        return await call.client.request("question", data, timeout=5.0)


def _add_streams(service: Service) -> None:
    @service.function
    async def count(call: Call, data: Count = _FOR_EVER) -> AsyncIterator[Number]:
        """Count from 1, as far as the caller takes the numbers."""
        n = 0
        while data.to is None or n < data.to:
            n += 1
            yield Number(n=n)
            if data.pause:
                await asyncio.sleep(data.pause)

    @service.function
    async def total(call: Call, items: AsyncIterator[Number]) -> Total:
        """Add the numbers that the caller sends."""
        total = Total(sum=0, count=0)
        async for number in items:
            total.sum += number.n
            total.count += 1
        return total

    @service.function
    async def shout(call: Call, items: AsyncIterator[str]) -> AsyncIterator[str]:
        """Give back each text that the caller sends, in capitals."""
        async for text in items:
            yield text.upper()
