"""Functions to be run as jobs, and clients that wait for them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from pydantic import BaseModel

from jackfield import Call, CallError, Service
from jackfield.testing import Client
from tests.support.waiting import LIMIT


class Sum(BaseModel):
    """Two numbers."""

    a: int
    b: int = 1


class Work:
    """A service, and what becomes of its calls; `go` lets those of `hold` end."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.ended: list[str] = []
        self.now = self.most = 0
        self.go = asyncio.Event()
        service = self.service = Service("work")

        @service.function(requires=())
        async def add(call: Call, data: Sum) -> int:
            self.calls["add"] += 1
            call.progress(1, 2, "adding")
            return data.a + data.b

        @service.function(requires=())
        async def hold(call: Call, data: str = "") -> str:
            self.calls[f"hold{data}"] += 1
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                await self.go.wait()
            finally:
                self.now -= 1
                await asyncio.sleep(0)
                self.ended.append(f"hold{data}")
            return data

        @service.function(requires=())
        async def steps(call: Call, data: int) -> None:
            for step in range(data):
                call.progress(step + 1, data, f"step {step + 1}")
                await asyncio.sleep(0.01)

        @service.function(requires=())
        async def fail(call: Call, data: dict[str, Any]) -> str:
            """Fail so many times, with the error that the data say."""
            self.calls["fail"] += 1
            if self.calls["fail"] <= data.pop("times", 1000):
                raise CallError(**data)
            return "at last"

        @service.function(requires=())
        async def crash(call: Call) -> None:
            self.calls["crash"] += 1
            raise ZeroDivisionError

        @service.function(requires=())
        async def bytes_of(call: Call, data: int) -> bytes:
            return bytes(data)

        @service.function(requires=())
        async def who(call: Call) -> list[Any]:
            principal = call.principal
            return [principal.id, sorted(principal.scopes)] if principal else []

        @service.function(requires="secret")
        async def secret(call: Call) -> str:
            return "of a secret"

        @service.function(requires="secret", visible=True)
        async def known(call: Call) -> None: ...

        @service.function(requires=())
        async def stream(call: Call) -> AsyncIterator[int]:
            yield 1

        @service.function(requires=())
        async def bomb(call: Call) -> None:
            """Submit itself twice."""
            self.calls["bomb"] += 1
            try:
                for _ in range(2):
                    await call.invoke("api.jobs.submit", {"function": "work.bomb"})
            except CallError as error:
                self.calls[error.code.value] += 1


async def submitted(client: Client, function: str, data: Any = None, **more: Any) -> str:
    """Submit a job, and return its id."""
    job: Any = await client.call("api.jobs.submit", {"function": f"work.{function}", "data": data, **more})
    return str(job["id"])


async def state(client: Client, job: str) -> dict[str, Any]:
    """Return a job as it is."""
    found: Any = await client.call("api.jobs.get", {"id": job})
    return dict(found)


async def states(client: Client, job: str) -> list[dict[str, Any]]:
    """Watch a job to its end, and return all that came."""
    async with asyncio.timeout(LIMIT):
        return [item async for item in client.stream("api.jobs.watch", {"id": job})]


async def ended(client: Client, job: str) -> dict[str, Any]:
    """Return a job as it has ended."""
    return (await states(client, job))[-1]


async def done(client: Client, function: str, data: Any = None, **more: Any) -> dict[str, Any]:
    """Submit a job, and return it as it has ended."""
    return await ended(client, await submitted(client, function, data, **more))
