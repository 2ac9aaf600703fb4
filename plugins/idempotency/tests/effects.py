"""Functions whose effects are counted, and clients that call them with a key."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

from pydantic import BaseModel, Field, SerializationInfo, field_serializer

from jackfield import Call, CallError, Service
from jackfield.testing import Client

KEY = "0f8fad5b-d9cb-469f-a165-70867728950e"


class Receipt(BaseModel):
    """What is written in another way than it is read."""

    day: date = Field(serialization_alias="on")
    picture: bytes = b""
    cents: int = 0

    @field_serializer("cents")
    def _euros(self, value: int, _: SerializationInfo) -> str:
        return f"{value / 100:.2f} €"


class Effects:
    """A service, and how often each of its functions has run; `go` lets those of `hold` end."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.ended: list[str] = []
        self.go = asyncio.Event()
        self.stop = threading.Event()
        service = self.service = Service("shop")

        @service.function(requires=())
        async def buy(call: Call, data: Any = None) -> int:
            """Buy; tell how often that was done."""
            self.done["buy"] += 1
            return self.done["buy"]

        @service.function(requires=())
        async def sell(call: Call, data: Any = None) -> int:
            self.done["sell"] += 1
            return self.done["sell"]

        @service.function(requires=())
        async def receipt(call: Call) -> Receipt:
            self.done["receipt"] += 1
            return Receipt(day=date(2026, 12, 24), picture=b"\x00\xff", cents=self.done["receipt"])

        @service.function(requires=())
        async def give(call: Call, data: Any) -> Any:
            self.done["give"] += 1
            return data

        @service.function(requires=())
        async def large(call: Call) -> int:
            """Give what MessagePack alone carries."""
            self.done["large"] += 1
            return 2**60

        @service.function(requires=())
        async def hold(call: Call, data: Any = None) -> int:
            self.done["hold"] += 1
            try:
                await self.go.wait()
            finally:
                self.ended.append("hold")
            return self.done["hold"]

        @service.function(requires=())
        def thread(call: Call) -> bool:
            """Take a while in a thread, and tell whether somebody waits."""
            self.done["thread"] += 1
            while not self.stop.is_set() and not call.cancelled:
                time.sleep(0.01)
            return not call.cancelled

        @service.function(requires=())
        async def fail(call: Call, data: dict[str, Any]) -> str:
            """Fail so many times, with the error that the data say."""
            self.done["fail"] += 1
            if self.done["fail"] <= data.pop("times", 1000):
                raise CallError(**data)
            return "at last"

        @service.function(requires=())
        async def crash(call: Call) -> None:
            self.done["crash"] += 1
            raise ZeroDivisionError

        @service.function(requires=())
        async def both(call: Call) -> list[Any]:
            """Call a function twice, which has the headers of this call."""
            self.done["both"] += 1
            return [await call.invoke("shop.buy"), await call.invoke("shop.buy")]

        @service.function(requires=())
        async def count(call: Call) -> AsyncIterator[int]:
            self.done["count"] += 1
            yield 1

        @service.function(requires=())
        async def total(call: Call, items: AsyncIterator[int]) -> int:
            self.done["total"] += 1
            return sum([item async for item in items])


async def keyed(client: Client, function: str, data: Any = None, *, key: str = KEY, **more: Any) -> Any:
    """Call a function with a key."""
    return await client.call(f"shop.{function}", data, meta={"idempotency-key": key}, **more)
