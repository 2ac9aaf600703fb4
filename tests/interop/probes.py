"""The plugins that scenarios call beside the demonstration: one to try the kernel with, one that asks who is there."""

from __future__ import annotations

from pathlib import Path

from tests.support.plugins import NO_QUARANTINE, write_plugin

PROBE = '''
    import asyncio
    from collections import Counter
    from datetime import date

    from pydantic import BaseModel, ConfigDict
    from jackfield import Call, CallError, Service, Value, hookimpl

    service = Service("api.probe")
    runs = Counter()


    class Appointment(BaseModel):
        model_config = ConfigDict(strict=True, extra="forbid")

        day: date
        seats: int = 1


    class Order(BaseModel):
        items: list[Appointment]
        photo: bytes | None = None


    class Failure(BaseModel):
        code: str
        retry_after: int | None = None
        detail: str | None = None


    class Inner(BaseModel):
        event: str
        data: Value = None


    @service.function
    async def count(call: Call, data: Value = None) -> int:
        """Tell how often this client has run this function, this time included."""
        runs[call.client.id] += 1
        return runs[call.client.id]

    @service.function
    async def buffers(call: Call, data: int) -> list[bytes]:
        """Return so many Buffers, each with its own number in it."""
        return [bytes([number]) for number in range(data)]

    @service.function
    async def number(call: Call, data: str) -> int:
        """Return an integer of any size."""
        return int(data)

    @service.function
    async def real(call: Call, data: str) -> float:
        """Return what Python reads as a float: NaN and infinities too."""
        return float(data)

    @service.function
    async def deep(call: Call, data: str) -> Value:
        """Return the same inside other things."""
        return {"list": [1, {"here": float(data)}]}

    @service.function
    async def mistaken(call: Call) -> int:
        """Return what was not promised."""
        return "seven"

    @service.function
    async def secret(call: Call) -> None:
        """Fail with a text that nobody may see."""
        raise RuntimeError("the password is hunter2")

    @service.function
    async def leave(call: Call) -> None:
        """Try to end the server."""
        raise SystemExit("the password is hunter2")

    @service.function
    async def fails(call: Call, data: Failure) -> None:
        """Fail with a code on purpose."""
        details = [{"path": ["items", 3, "name"], "type": "missing", "message": data.detail}] if data.detail else ()
        raise CallError(data.code, "As you wished.", retry_after=data.retry_after, details=details)

    @service.function
    async def meta(call: Call) -> dict[str, str]:
        """Return the headers of the call."""
        return dict(call.meta)

    @service.function
    async def remaining(call: Call) -> float:
        """Return the seconds that are left."""
        return call.remaining()

    @service.function(timeout=7)
    async def brief(call: Call) -> float:
        """Return the seconds that are left, of the seven that the author gives."""
        return call.remaining()

    @service.function
    async def nothing(call: Call) -> None:
        """Take nothing and give nothing."""

    @service.function
    async def optional(call: Call, data: int = 7) -> int:
        """Return the number, 7 if there was none."""
        return data

    @service.function
    async def appointment(call: Call, data: Appointment) -> Appointment:
        """Return the appointment."""
        return data

    @service.function
    async def order(call: Call, data: Order) -> int:
        """Return how many appointments there were."""
        return len(data.items)

    @service.function
    async def emits(call: Call, data: Value) -> str:
        """Emit the data as `news`, then answer."""
        await call.emit("news", data)
        return "emitted"

    @service.function
    async def emitsReal(call: Call, data: str) -> None:
        """Emit a float, NaN and infinities too."""
        await call.emit("news", float(data))

    @service.function
    async def patient(call: Call) -> None:
        """Wait for ever, and tell when that begins and when it is over."""
        await call.emit("news", "started")
        try:
            await asyncio.Event().wait()
        finally:
            await call.emit("news", "stopped")

    @service.function
    async def waits(call: Call) -> None:
        """Wait for ever."""
        await asyncio.Event().wait()

    @service.function(ordered=True)
    async def inTurn(call: Call, data: bool = False) -> str:
        """Wait for ever, if told so; one at a time."""
        if data:
            await asyncio.Event().wait()
        return "done"

    @service.function
    async def asks(call: Call, data: Value) -> Value:
        """Ask the client a question."""
        return await call.client.request("question", data)

    @service.function
    async def asksBriefly(call: Call, data: Value) -> Value:
        """Ask the client a question, and wait a fifth of a second."""
        return await call.client.request("question", data, timeout=0.2)

    @service.function
    async def invokes(call: Call, data: Inner) -> Value:
        """Call another function."""
        return await call.invoke(data.event, data.data)

    @service.function
    async def tries(call: Call, data: Inner) -> Value:
        """Call another function, and return the code with which it fails."""
        try:
            return await call.invoke(data.event, data.data)
        except CallError as error:
            return error.code

    @service.function
    async def hidden(call: Call, data: int) -> int:
        """Never be seen."""
        return data

    @service.function
    async def forbidden(call: Call, data: int) -> int:
        """Be seen, but not called."""
        return data

    @hookimpl
    def jackfield_services():
        return [service]

    @hookimpl
    def jackfield_authorize(function):
        if function.event == "api.probe.hidden":
            return False
        if function.event == "api.probe.forbidden":
            raise CallError("permission_denied", "Only on Sundays.")
        return None
'''

STREAMS = '''
    from collections.abc import AsyncIterator


    class Fault(BaseModel):
        after: int = 0
        code: str | None = None


    def broken(code):
        return CallError(code, "As you wished.") if code else RuntimeError("the password is hunter2")

    @service.function
    async def numbers(call: Call, data: int) -> AsyncIterator[int]:
        """Give the numbers from 1 to this one."""
        for number in range(1, data + 1):
            yield number

    @service.function
    async def gives(call: Call, data: list[Value]) -> AsyncIterator[Value]:
        """Give one after the other, whatever it is."""
        for one in data:
            yield one

    @service.function
    async def promises(call: Call, data: list[Value]) -> AsyncIterator[int]:
        """Give one after the other, and promise that all are integers."""
        for one in data:
            yield one

    @service.function
    async def breaks(call: Call, data: Fault) -> AsyncIterator[int]:
        """Give some numbers, and fail: with a code on purpose, without one by accident."""
        for number in range(1, data.after + 1):
            yield number
        raise broken(data.code)

    @service.function
    async def breaksWith(call: Call, data: int) -> AsyncIterator[Value]:
        """Give an item that is fine, and one that holds so many Buffers."""
        yield 0
        yield [b"x"] * data

    @service.function
    async def tells(call: Call, data: Value = None) -> AsyncIterator[int]:
        """Count without end, and tell when that begins and when it is over."""
        await call.emit("news", "started")
        try:
            number = 0
            while True:
                number += 1
                yield number
        finally:
            await call.emit("news", "stopped")

    @service.function
    async def collects(call: Call, items: AsyncIterator[Value]) -> list[Value]:
        """Return all items."""
        return [item async for item in items]

    @service.function
    async def takesOne(call: Call, items: AsyncIterator[Value]) -> Value:
        """Return the first item, and take no other."""
        async for item in items:
            return item
        return "nothing"

    @service.function
    async def books(call: Call, items: AsyncIterator[Appointment]) -> int:
        """Return how many appointments there were."""
        return len([item async for item in items])

    @service.function
    async def breaksOn(call: Call, items: AsyncIterator[Value]) -> int:
        """Fail when an item says so: `{"code": …}` on purpose, `{}` by accident."""
        count = 0
        async for item in items:
            if isinstance(item, dict):
                raise broken(item.get("code"))
            count += 1
        return count

    @service.function
    async def refuses(call: Call, items: AsyncIterator[Value]) -> int:
        """Fail before anything was sent."""
        raise CallError("failed_precondition", "As you wished.")

    @service.function
    async def rejects(call: Call, items: AsyncIterator[Value]) -> int:
        """Take all items, and fail."""
        async for item in items:
            pass
        raise CallError("out_of_range", "As you wished.")

    @service.function(timeout=0.2)
    async def rushes(call: Call) -> AsyncIterator[int]:
        """Count for a fifth of a second, which is all that the author gives."""
        yield 1
        await asyncio.Event().wait()

    @service.function(ordered=True)
    async def queues(call: Call, data: int) -> AsyncIterator[int]:
        """Give the same number without end; one at a time."""
        while True:
            yield data

    @service.function
    async def misjudges(call: Call, items: AsyncIterator[Value]) -> int:
        """Return what was not promised."""
        return [item async for item in items]

    @service.function
    async def listens(call: Call, items: AsyncIterator[Value]) -> None:
        """Take no item, wait for ever, and tell when that begins and when it is over."""
        await call.emit("news", "started")
        try:
            await asyncio.Event().wait()
        finally:
            await call.emit("news", "stopped")

    @service.function
    async def reads(call: Call, items: AsyncIterator[Value]) -> None:
        """Take every item, tell of each and of the end, and wait for ever."""
        try:
            async for item in items:
                await call.emit("news", item)
            await call.emit("news", "read")
            await asyncio.Event().wait()
        finally:
            await call.emit("news", "stopped")

    @service.function
    async def mirrors(call: Call, items: AsyncIterator[Value]) -> AsyncIterator[Value]:
        """Give every item back."""
        async for item in items:
            yield item

    @service.function
    async def greets(call: Call, items: AsyncIterator[Value]) -> AsyncIterator[Value]:
        """Give `hello` before it takes anything and `bye` after all, and each item in between."""
        yield "hello"
        async for item in items:
            yield item
        yield "bye"

    @service.function
    async def talks(call: Call, items: AsyncIterator[Value]) -> AsyncIterator[Value]:
        """Give every item back, and tell when that begins and when it is over."""
        await call.emit("news", "started")
        try:
            async for item in items:
                yield item
        finally:
            await call.emit("news", "stopped")

    @service.function
    async def quits(call: Call, items: AsyncIterator[Value]) -> AsyncIterator[Value]:
        """Give one item back, and end."""
        async for item in items:
            yield item
            return

    @service.function
    async def pardons(call: Call, items: AsyncIterator[int]) -> AsyncIterator[Value]:
        """Give every number back, and the code of what goes wrong with them."""
        try:
            async for item in items:
                yield item
        except CallError as error:
            yield error.code

    @service.function
    async def blobs(call: Call, data: int) -> AsyncIterator[bytes]:
        """Give so many Buffers, each longer than the one before."""
        for number in range(data):
            yield bytes([number]) * number

    @service.function
    async def large(call: Call, data: int) -> AsyncIterator[Value]:
        """Give so many items of 50 kB."""
        for number in range(data):
            yield {"number": number, "text": "ü" * 25_000}

    @service.function
    async def weighs(call: Call, items: AsyncIterator[bytes]) -> int:
        """Return how many bytes there were in all."""
        return sum([len(item) async for item in items])

    @service.function
    async def measures(call: Call, items: AsyncIterator[Value]) -> int:
        """Return how many items there were."""
        return len([item async for item in items])

    @service.function
    async def dawdles(call: Call, items: AsyncIterator[Value]) -> None:
        """Take every item, and wait for ever."""
        async for item in items:
            pass
        await asyncio.Event().wait()

    @service.function
    async def paces(call: Call) -> str:
        """Tell of its progress once."""
        call.progress(1, 2, "half")
        return "done"

    @service.function
    def pacesInThread(call: Call) -> str:
        """Tell of its progress once, from a worker thread."""
        call.progress(0.5)
        return "done"

    @service.function
    async def pacesStream(call: Call) -> AsyncIterator[int]:
        """Tell of its progress, then give one item."""
        call.progress(1, total=4)
        yield 1

    @service.function
    async def relays(call: Call, data: Inner) -> AsyncIterator[Value]:
        """Give what another function gives."""
        async for item in call.stream(data.event, data.data):
            yield item

    @service.function
    async def entrusts(call: Call, data: Inner) -> Value:
        """Have another function take a list, item by item, and return its result."""
        return await call.invoke(data.event, items=in_turn(data.data))

    @service.function
    async def passes(call: Call, data: Inner) -> AsyncIterator[Value]:
        """Have another function take a list, item by item, and give what it gives."""
        async for item in call.stream(data.event, items=in_turn(data.data)):
            yield item

    async def in_turn(values):
        for value in values:
            yield value
'''

OFF = """
    raise AssertionError("a plugin that is disabled is never imported")
"""

BROKEN = """
    raise RuntimeError("the password is hunter2")
"""

GATE = '''
    from jackfield import Call, CallError, Principal, Service, Value, hookimpl

    service = Service("api.gate")
    shown = {}

    @service.function(requires=())
    async def whoami(call: Call) -> Value:
        """Return who the caller is, and what it showed."""
        return {"id": call.principal.id, **shown[call.principal.id]}

    @service.function(requires=())
    async def vault(call: Call) -> str:
        """Be there for one caller only."""
        return "gold"

    @hookimpl
    def jackfield_services():
        return [service]

    @hookimpl
    def jackfield_authorize(principal, function):
        return function.event != "api.gate.vault" or principal.id == "banker"

    @hookimpl
    async def jackfield_authenticate(handshake):
        token = handshake.auth.get("token") or handshake.headers.get("authorization", "").removeprefix("Bearer ")
        if token == "locked":
            raise CallError("permission_denied", "This account is locked.", retry_after=60000)
        if token == "crash":
            raise RuntimeError("the password is hunter2")
        if token not in ("ada", "banker", "eve", "grace"):
            return None
        shown[token] = {
            "auth": dict(handshake.auth),
            "authorization": handshake.headers.get("authorization"),
            "transport": handshake.transport,
            "secure": handshake.secure,
            "local": handshake.local,
        }
        return Principal(token)
'''

CONFIG = f'[plugins]\ndisabled = ["off"]\n[limits]\nunpacked_size = 200_000\n{NO_QUARANTINE}'
"""Of the server `main`: one plugin is off, little may be unpacked, and plugins may fail as often as they like."""


def write_main(folder: Path) -> Path:
    """Write the plugins of the server `main`: one works, one is to be disabled, one cannot be imported."""
    write_plugin(folder, "probe", PROBE + STREAMS, namespaces=["api.probe"])
    write_plugin(folder, "off", OFF, namespaces=["api.off"])
    return write_plugin(folder, "broken", BROKEN, namespaces=["api.broken"])


def write_gate(folder: Path) -> Path:
    """Write the plugin of the server `gate`, which lets in whom it knows."""
    return write_plugin(folder, "gate", GATE, namespaces=["api.gate"])
