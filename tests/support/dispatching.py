"""A dispatcher with no socket: functions in, a connection that keeps what it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import orjson

from jackfield import CallError, FunctionInfo, Handshake, PluginInfo, Position, Principal, Service, Value
from jackfield._contract import Contract
from jackfield._dispatch import Dispatcher
from jackfield._facade import Hooks
from jackfield._host import Behalf, Items, Stats
from jackfield._json import Json
from jackfield._manifest import Manifest
from jackfield._plugins import Plugin, Served, State
from jackfield._registry import Registry
from jackfield._session import Session
from jackfield._settings import Limits, Settings


class Recorder:
    """A connection that keeps what is sent, in the order in which it was."""

    def __init__(self) -> None:
        self.sid = "recorder"
        self.acknowledged: list[tuple[bytes, Any]] = []
        self.rooms: set[str] = set()
        self.aborted: str | None = None
        self.closed: tuple[int, str] | None = None
        self.emitted: list[tuple[str, Any]] = []
        self.changed = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()

    def emit(self, event: str, payload: Json) -> None:
        self.emitted.append((event, _plain(payload)))
        self.changed.set()

    @property
    def congested(self) -> bool:
        return not self.reads.is_set()

    def acknowledge(self, ack: bytes, text: bytes, buffers: tuple[bytes, ...] = ()) -> None:
        self.acknowledged.append((ack, _plain(Json(text, buffers))))
        self.changed.set()

    async def drained(self) -> None:
        await self.reads.wait()

    def abort(self, why: str) -> None:
        self.aborted = why

    def close(self, code: int, why: str) -> None:
        self.closed = (code, why)

    async def join(self, room: str) -> None:
        self.rooms.add(room)

    async def leave(self, room: str) -> None:
        self.rooms.discard(room)

    async def request(self, event: str, payload: Json, timeout: float) -> Value:
        raise CallError("unavailable", "nobody is there")

    async def reply(self, ack: bytes) -> Any:
        """Return what `ack` was acknowledged with, waiting for it."""
        async with asyncio.timeout(20):
            while not (found := [reply for number, reply in self.acknowledged if number == ack]):
                self.changed.clear()
                await self.changed.wait()
        assert len(found) == 1
        return found[0]


class KernelView:
    """What functions see as `call.kernel`, where no test asks for more."""

    version = "0"
    protocol = 1
    limits: Mapping[str, int | float] = {}

    def plugins(self) -> Sequence[PluginInfo]:
        return []

    def functions(self, principal: Principal | None) -> Sequence[FunctionInfo]:
        return []

    def on_behalf_of(self, principal: Principal | None) -> Behalf:
        raise CallError("unavailable", "no kernel")

    def stats(self) -> Stats:
        return Stats({}, 0, 0, 0.0, {})

    def quarantine(self, plugin: str, reason: str) -> None:
        raise CallError("unavailable", "no kernel")

    def release(self, plugin: str) -> None:
        raise CallError("unavailable", "no kernel")

    async def invoke(
        self,
        event: str,
        data: object = None,
        *,
        items: Items | None = None,
        timeout: float | None = None,
    ) -> Value:
        raise CallError("unavailable", "no kernel")

    def stream(
        self,
        event: str,
        data: object = None,
        *,
        items: Items | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[Value, None]:
        raise CallError("unavailable", "no kernel")

    def send(self, event: str, data: object, clients: Iterable[str], *, volatile: bool = False) -> list[str]:
        raise CallError("unavailable", "no kernel")

    async def publish(self, channel: str, data: object = None, *, id: str | None = None) -> Position:
        raise CallError("unavailable", "no kernel")

    async def emit(self, event: str, data: object = None, *, room: str | None = None, volatile: bool = False) -> None:
        raise CallError("unavailable", "no kernel")


def make_dispatcher(*services: Service, limits: Limits | None = None, **hooks: Any) -> Dispatcher:
    """Return a dispatcher that serves services as one plugin, with implementations of hooks by name."""
    manifest = Manifest(
        name="test",
        target="test",
        distribution="jackfield-test",
        version="1",
        namespaces=tuple(service.namespace for service in services),
    )
    served = tuple(
        Served(f"{service.namespace}.{function.name}", function, Contract(function.handler))
        for service in services
        for function in service.functions
    )
    plugin = Plugin(manifest, state=State.STARTED, served=served)
    settings = Settings(limits=limits or Limits())
    implementations = Hooks([("test", SimpleNamespace(**hooks))])
    return Dispatcher(KernelView(), Registry([plugin]), implementations, settings, [plugin])


async def join(dispatcher: Dispatcher, recorder: Recorder) -> Session:
    """Connect a recorder."""
    session = await dispatcher.connect(recorder, Handshake())
    dispatcher.connected(session)
    return session


def _plain(payload: Json) -> Any:
    return payload.value() if payload.buffers else orjson.loads(payload.text)
