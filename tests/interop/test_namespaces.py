"""Namespaces of python-socketio's own handlers beside that of the plugins, on one connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import socketio

from jackfield._settings import Limits
from tests.interop.inside import Inside, greeter, listening
from tests.support.dispatching import make_dispatcher
from tests.support.wire import Wire, wire

LIMITS = Limits(connect_timeout=0.3)


@asynccontextmanager
async def _serving() -> AsyncIterator[Inside]:
    """Serve the namespace `/more` beside the plugins'."""
    async with listening(make_dispatcher(greeter()), LIMITS, namespaces=["/", "/more"]) as inside:

        async def echo(sid: str, data: Any) -> Any:
            return data

        inside.border.on("echo", echo, namespace="/more")
        yield inside


async def _both(client: Wire) -> None:
    """Let a client that is in neither join both."""
    assert str(await client.join()).startswith("40{")
    await client.send("40/more,")
    assert str(await client.receive()).startswith("40/more,{")


async def _echoes(client: Wire) -> None:
    """Be answered in the namespace `/more`."""
    await client.send('42/more,7["echo","you"]')
    assert await client.receive() == '43/more,7["you"]'


async def _stays(inside: Inside) -> None:
    """Wait as long as a client may stay that is in no namespace."""
    async with wire(inside.url, join=False) as idle:
        assert await idle.closed() == 1000


async def test_each_gets_its_own() -> None:
    """Plugins' functions in the one, handlers in the other."""
    async with _serving() as inside, wire(inside.url, join=False) as client:
        await _both(client)
        assert await client.ask('427["api.here.hello","you"]') == {"data": "jackfield says you"}
        await _echoes(client)


async def test_who_leaves_the_plugins_stays_in_the_other() -> None:
    """For longer than a client may be in neither."""
    async with _serving() as inside, wire(inside.url, join=False) as client:
        await _both(client)
        await client.send("41")
        await _stays(inside)
        await _echoes(client)


async def test_who_comes_back_to_the_plugins_may_leave_the_other() -> None:
    """It is in a namespace, so it stays."""
    async with _serving() as inside, wire(inside.url, join=False) as client:
        await _both(client)
        await client.send("41")
        assert str(await client.join()).startswith("40{")
        await client.send("41/more,")
        await _stays(inside)
        assert await client.ask('427["api.here.hello","again"]') == {"data": "jackfield says again"}


async def test_who_leaves_both_is_closed() -> None:
    """After the time that a client has to say CONNECT."""
    async with _serving() as inside, wire(inside.url, join=False) as client:
        await _both(client)
        await client.send("41", "41/more,")
        assert await client.closed() == 1000


class _Failing(socketio.AsyncManager):  # type: ignore[misc]  # python-socketio is untyped
    """A client manager that takes nobody in the first time it is asked."""

    failed = False

    async def connect(self, eio_sid: str, namespace: str) -> Any:
        """Fail once."""
        if not self.failed:
            self.failed = True
            raise ConnectionError("out of order")
        return await super().connect(eio_sid, namespace)


async def test_a_client_manager_that_fails_to_take_a_client_in() -> None:
    """The client hears so at once, and may try again."""
    async with listening(make_dispatcher(greeter())) as inside:
        inside.border.use("failing", _Failing())
        async with wire(inside.url, join=False) as client:
            refusal = str(await client.join())
            assert refusal.startswith('44{"message":"The server could not take you in; try again."')
            assert '"code":"unavailable"' in refusal
            assert "out of order" not in refusal
            assert str(await client.join()).startswith("40{")
            assert await client.ask('427["api.here.hello","you"]') == {"data": "jackfield says you"}
