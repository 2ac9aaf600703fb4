"""What tests of streams share: a plugin that writes down what becomes of its functions, and a client by hand."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

import aiohttp
from websockets.exceptions import ConnectionClosed

from tests.hardening.polling import polling
from tests.support.plugins import write_plugin
from tests.support.wire import wire

Id: TypeAlias = "str | int"
Frame: TypeAlias = "dict[str, Any]"

_FLOW: Final = '''
    import asyncio
    from collections import Counter
    from collections.abc import AsyncIterator
    from pathlib import Path

    from jackfield import Call, Service, Value, hookimpl

    service = Service("api.flow")
    diary = []
    made = Counter()
    farewells = {}
    gate = asyncio.Event()


    class Told:
        """Writes down that a function begins, and that its `finally` has run."""

        def __init__(self, call):
            self.name = f"{call.event.rpartition('.')[2]} {call.id}"

        def __enter__(self):
            diary.append(f"{self.name} began")

        def __exit__(self, *_):
            diary.append(f"{self.name} ended")
            with Path("ended").open("a") as file:
                print(self.name, file=file)

    @service.function
    async def count(call: Call, data: int = 0) -> AsyncIterator[Value]:
        """Count without end; with a size, each number has so much text beside it."""
        with Told(call):
            while True:
                made[call.id] += 1
                yield [made[call.id], "x" * data] if data else made[call.id]

    @service.function
    async def upTo(call: Call, data: int) -> AsyncIterator[int]:
        """Count to a number."""
        with Told(call):
            for number in range(1, data + 1):
                yield number

    @service.function
    async def waits(call: Call) -> AsyncIterator[str]:
        """Wait for `release`, then give one item."""
        with Told(call):
            await gate.wait()
            yield "released"

    @service.function
    async def stays(call: Call) -> AsyncIterator[int]:
        """Count without end, and do not end before `release`, even when cancelled."""
        with Told(call):
            try:
                while True:
                    yield 1
            finally:
                diary.append(f"stays {call.id} stops")
                await gate.wait()

    @service.function
    async def hoards(call: Call, items: AsyncIterator[Value]) -> None:
        """Take no item, and wait for ever."""
        with Told(call):
            await asyncio.Event().wait()

    @service.function
    async def drinks(call: Call, items: AsyncIterator[Value]) -> int:
        """Return how many items there were."""
        with Told(call):
            count = 0
            async for item in items:
                count += 1
            return count

    @service.function
    async def mirrors(call: Call, items: AsyncIterator[Value]) -> AsyncIterator[Value]:
        """Give every item back."""
        with Told(call):
            async for item in items:
                yield item

    @service.function
    async def release(call: Call) -> None:
        """Let go those that wait."""
        gate.set()

    @service.function
    async def clear(call: Call) -> None:
        """Begin anew."""
        diary.clear()
        made.clear()
        gate.clear()

    @service.function
    async def read(call: Call) -> list[str]:
        """Return the diary."""
        return diary

    @service.function
    async def howMany(call: Call, data: Value) -> int:
        """Return how many items the stream with this id has made."""
        return made[data]

    @service.function
    async def whoAmI(call: Call) -> str:
        """Return the id of the client."""
        return call.client.id

    @service.function
    async def farewell(call: Call, data: str) -> str | None:
        """Return why a client has gone, if it has."""
        return farewells.get(data)

    @service.function
    async def census(call: Call) -> list[str]:
        """Return the names of the tasks that run calls, this one's aside."""
        names = [task.get_name() for task in asyncio.all_tasks()]
        return [name for name in names if name.startswith("call:") and name != "call:api.flow.census"]

    @hookimpl
    async def jackfield_disconnect(client, reason):
        farewells[client.id] = reason

    @hookimpl
    def jackfield_services():
        return [service]
'''


def write_flow(folder: Path) -> Path:
    """Write the plugin `flow`, and return the folder."""
    return write_plugin(folder, "flow", _FLOW, namespaces=["api.flow"])


_OFTEN: Final = 5.0
"""Seconds after which somebody who stays asks again; the server pings less often, and waits longer for the answer."""


class Gone(Exception):
    """The connection is over."""


class Talker:
    """A client by hand that has connected; it grants nothing by itself, and may break any rule.

    Attributes:
        carrier: What carries its packets: a `Wire` or a `Polling`.
        credit: How many items it may send more, by the id of the stream.
    """

    def __init__(self, carrier: Any) -> None:
        self.carrier = carrier
        self.credit: Counter[Id] = Counter()
        self._acks = 0
        self._asking = asyncio.Lock()
        self._answers: dict[int, Any] = {}
        self._draining = False
        self._frames: dict[Id, deque[Frame]] = defaultdict(deque)

    async def send(self, *packets: str) -> None:
        """Send packets as they are."""
        await (self.carrier.send if hasattr(self.carrier, "send") else self.carrier.post)(*packets)

    async def ask(self, argument: Any, event: str = "event") -> Any:
        """Emit with an acknowledgement, and return it."""
        async with self._asking:
            self._acks += 1
            number = self._acks
            await self.send(f"42{number}{json.dumps([event, argument])}")
            while number not in self._answers:
                await self.read()
            return self._answers.pop(number)

    async def call(self, function: str, data: Any = None) -> Any:
        """Call a function of `api.flow`, and return its result."""
        return (await self.ask({"event": f"api.flow.{function}", "data": data}))["data"]

    async def open(self, function: str, id: Id, **fields: Any) -> Any:
        """Open a stream of `api.flow`, and return the reply."""
        reply = await self.ask({"event": f"api.flow.{function}", "id": id, **fields})
        if "stream" in reply:
            assert not self._frames[id], "a frame came before the opening reply"
            self.credit[id] = reply.get("credit", 0)
        return reply

    async def say(self, id: Id, **frame: Any) -> None:
        """Send a frame."""
        await self.send(say(id, **frame))

    async def hear(self, id: Id) -> Frame:
        """Return the next frame of a stream that is no credit."""
        while not self._frames[id]:
            await self.read()
        return self._frames[id].popleft()

    async def items(self, id: Id, count: int) -> list[Any]:
        """Return the next items of a stream."""
        return [(await self.hear(id))["data"] for _ in range(count)]

    async def fails(self, id: Id) -> str:
        """Return the code of the error that comes next."""
        return str((await self.hear(id))["error"]["code"])

    async def may_send(self, id: Id) -> int:
        """Return how many items may be sent, which is at least one, waiting for it."""
        while not self.credit[id]:
            await self.read()
        return self.credit[id]

    async def is_quiet(self, *ids: Id) -> None:
        """Check that there is nothing more to be heard of some streams, by when another call has been answered."""
        for _ in range(2):
            assert await self.ask("quiet", event="api.services.test.echo") == {"data": "quiet"}
        assert {id: list(self._frames[id]) for id in ids if self._frames[id]} == {}

    async def is_told_to_go(self) -> None:
        """Wait until the server says that it goes away."""
        while not self._draining:
            await self.read()

    @asynccontextmanager
    async def staying(self) -> AsyncIterator[None]:
        """Read what comes, pings among it, while a block runs that may ask nothing for long; it may do nothing else."""

        async def stay() -> None:
            while True:
                await asyncio.sleep(_OFTEN)
                await self.is_quiet()

        task = asyncio.create_task(stay())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def closed(self) -> None:
        """Wait until the connection is over."""
        try:
            while True:
                await self.read()
        except Gone:
            return

    async def read(self) -> None:
        """Take note of what comes next.

        Raises:
            Gone: The connection is over.
        """
        try:
            message = await self.carrier.receive()
        except ConnectionClosed as error:
            raise Gone from error
        if message is None:
            raise Gone
        assert isinstance(message, str)
        if message.startswith("43"):
            digits, _, rest = message[2:].partition("[")
            self._answers[int(digits)] = json.loads(f"[{rest}")[0]
        elif message.startswith('42["stream",'):
            frame = json.loads(message[2:])[1]
            if "credit" in frame:
                self.credit[frame["id"]] += frame["credit"]
            else:
                self._frames[frame["id"]].append(frame)
        elif message.startswith('42["server",'):
            self._draining = True
        else:
            raise AssertionError(f"nobody waits for {message:.200}")


def say(id: Id, **frame: Any) -> str:
    """Return the packet of a frame."""
    return f"42{json.dumps(['stream', {'id': id, **frame}])}"


@asynccontextmanager
async def talking(url: str, carrier: str = "websocket") -> AsyncIterator[Talker]:
    """Connect a client by hand, by `websocket` or by `polling`."""
    if carrier == "websocket":
        async with wire(url) as socket:
            yield Talker(socket)
        return
    async with polling(url) as session:
        try:
            yield Talker(session)
        finally:  # whoever just polls no more is missed when it answers no ping
            with suppress(aiohttp.ClientError):
                await session.post("1")
