"""The dispatcher: lets clients in, finds functions, starts calls, and brings them to an end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary

from jackfield import _limited
from jackfield._call import Call, Client, Connection
from jackfield._envelope import MAX_EVENT, CallId, Envelope
from jackfield._errors import CallError, Code
from jackfield._facade import Hooks
from jackfield._frames import Writer
from jackfield._host import FunctionInfo, Kernel
from jackfield._identity import Handshake, Principal
from jackfield._inside import Inside
from jackfield._invocation import WATCH, Answer, Audience, Invocation, Outcome, Places, Reporter, finish, run_inline
from jackfield._pipeline import Ends, Pipeline, Work
from jackfield._progress import Progress
from jackfield._quick import Caller, Quick, make_quick
from jackfield._registry import Registry
from jackfield._session import Session
from jackfield._settings import Limits
from jackfield._streams import Channel, Stream
from jackfield._workers import Workers

_RECONNECT_MS: Final = (500, 5000)
"""Clients of a server that drains are told to come back after a time between these, so that they do not all at once."""

_jitter: Final = random.SystemRandom()


class Dispatcher:
    """Everything between a connection and a function.

    Args:
        kernel: What functions see as `call.kernel`.
        registry: The frozen table.
        hooks: The hooks of all plugins in service.
        limits: The limits of the protocol.

    Attributes:
        bounds: The limits of unpacking.
        inside: What functions call one another through.
        events: The names of all functions.
        quick: The shortest ways through those that have one; empty as soon as nothing new is taken.
    """

    def __init__(self, kernel: Kernel, registry: Registry, hooks: Hooks, limits: Limits) -> None:
        self.kernel = kernel
        self.limits = limits
        self.bounds = limits.bounds
        self.inside = Inside(self)
        self._registry = registry
        self._hooks = hooks
        self._reporter = Reporter()
        self._audience = Audience(hooks.observers(), self._reporter)
        plugins = {entry.plugin for entry in registry.table.values()}
        self._workers = {plugin: Workers(plugin, limits.threads) for plugin in plugins}
        self._pipelines = {
            event: Pipeline(entry, hooks, self._workers[entry.plugin], limits)
            for event, entry in registry.table.items()
        }
        self.events: Mapping[str, object] = self._pipelines
        self.quick: dict[str, Quick] = {
            event: quick
            for event, pipeline in self._pipelines.items()
            if (quick := make_quick(pipeline, self.inside, self._audience, self._launch)) is not None
        }
        self._sessions: set[Session] = set()
        self._running: set[Invocation] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._told: WeakKeyDictionary[Session, asyncio.Task[None]] = WeakKeyDictionary()
        self._draining = False

    def accept(self) -> None:
        """Raise `CallError` if the server takes nothing new because it is going away."""
        if self._draining:
            raise CallError(Code.UNAVAILABLE, "The server is going away.", retry_after=_retry_after())

    async def connect(self, connection: Connection, handshake: Handshake) -> Session:
        """Let a client in.

        Raises:
            CallError: It is refused, and this is what it is told.
        """
        self.accept()
        principal = await self._authenticate(handshake) if self._hooks.authenticates else None
        client = Client(connection, address=handshake.address, local=handshake.local)
        return Session(self, connection, client, principal)

    def connected(self, session: Session) -> None:
        """Take note of a client that now knows that it is connected, and tell the plugins."""
        self._sessions.add(session)
        self._tell("jackfield_connect", self._hooks.connected(session.client, session.principal), session)

    def disconnect(self, session: Session, reason: str) -> None:
        """Bring a client's calls to an end, and tell the plugins."""
        if session in self._sessions:
            self._sessions.remove(session)
            session.close()
            self._tell("jackfield_disconnect", self._hooks.disconnected(session.client, reason), session)

    def find(self, event: str, principal: Principal | None) -> Pipeline:
        """Return the function that `event` names.

        Raises:
            CallError: `not_found` if there is none that this principal may see, `unavailable` if its plugin is not in
                service.
        """
        pipeline = self._pipelines.get(event)
        if pipeline is not None and (not pipeline.authorizers or self._allows(pipeline, principal)):
            return pipeline
        if pipeline is None and (reason := self._registry.out_of_service(event)):
            raise CallError(Code.UNAVAILABLE, reason)

        nearest = self._registry.nearest(event[:MAX_EVENT], lambda name: self._shows(self._pipelines[name], principal))
        hint = f" Did you mean {' or '.join(nearest)}?" if nearest else ""
        raise CallError(Code.NOT_FOUND, f"There is no function {event[:MAX_EVENT]!r}.{hint}")

    def functions(self, principal: Principal | None) -> list[FunctionInfo]:
        """Return the functions that the principal may call."""
        return [pipeline.info for pipeline in self._pipelines.values() if self._shows(pipeline, principal)]

    def start(self, pipeline: Pipeline, envelope: Envelope, buffers: bool, caller: Caller, answer: Answer) -> None:
        """Start a call of a client; one that suspends takes a place until its function is over."""
        call, answer = self._call(pipeline, envelope, caller, answer)
        self.run(pipeline, call, envelope, buffers, answer, caller.running)

    def open(
        self,
        pipeline: Pipeline,
        envelope: Envelope,
        buffers: bool,
        caller: Caller,
        channel: Channel,
        ended: Callable[[CallId, bool], None],
    ) -> None:
        """Start a stream of a client; see `Stream` for `ended`."""
        call, answer = self._call(pipeline, envelope, caller, channel.finish)
        work = partial(pipeline.stream, call, envelope, buffers, channel)
        stream = Stream(pipeline, call, work, answer, self._audience, channel, self.limits.stream_idle, ended)
        self._launch(stream, caller.running)

    def run(
        self,
        pipeline: Pipeline,
        call: Call,
        envelope: Envelope,
        buffers: bool,
        answer: Answer,
        places: Places,
        ends: Ends | None = None,
    ) -> None:
        """Run a call, with a stream if it has `ends`."""
        if ends is not None:
            work: Work = partial(pipeline.stream, call, envelope, buffers, ends)
        else:
            work = pipeline.work(call, envelope, buffers)
        if pipeline.inline:
            # In a context of its own, as a task would be: what it sets is not seen by the next call.
            copy_context().run(finish, run_inline(call, work, answer, self._audience))
        else:
            self._launch(Invocation(pipeline, call, work, answer, self._audience), places)

    async def drain(self, timeout: float) -> None:
        """Take no new calls, tell the clients, and give what runs `timeout` seconds to end.

        What runs even then is answered with `unavailable` and cancelled.
        """
        self._draining = True
        self.quick.clear()
        for session in self._sessions:
            session.notify("server", {"state": "draining", "reconnect_in": _jitter.randint(*_RECONNECT_MS)})
        await self._settled(timeout)
        for invocation in list(self._running):
            invocation.cancel(CallError(Code.UNAVAILABLE, "The server is going away.", retry_after=_retry_after()))

    async def close(self, timeout: float) -> list[str]:
        """Say goodbye to every client, wait for what is still ending, and name what does not end.

        Args:
            timeout: Seconds to wait.
        """
        for session in list(self._sessions):
            self.disconnect(session, "server shutting down")
        await self._settled(timeout)
        if self._background:
            await asyncio.wait(self._background, timeout=timeout)
        for workers in self._workers.values():
            workers.close()
        return sorted({invocation.call.event for invocation in self._running})

    def _call(self, pipeline: Pipeline, envelope: Envelope, caller: Caller, answer: Answer) -> tuple[Call, Answer]:
        """Return what the function is given, and how its caller is answered."""
        options = envelope.options
        seconds = pipeline.seconds if options.timeout is None else min(options.timeout / 1000, self.limits.max_timeout)
        deadline = None if seconds is None else time.monotonic() + seconds
        if not options.progress or options.id is None:
            return Call(envelope, caller.principal, caller.client, deadline, self.inside), answer
        progress = Progress(Writer(options.id), partial(caller.connection.emit, "stream"))

        def last(outcome: Outcome) -> None:
            progress.end()
            answer(outcome)

        return Call(envelope, caller.principal, caller.client, deadline, self.inside, progress=progress), last

    def _launch(self, invocation: Invocation, places: Places) -> None:
        invocation.start(self._running, places)
        if self._watch is None:
            self._watch = asyncio.get_running_loop().call_later(WATCH, self._look)

    def _look(self) -> None:
        """Set timers for those calls whose time is up before the next look."""
        self._watch = None
        for invocation in self._running:
            invocation.watch()
        if self._running:
            self._watch = asyncio.get_running_loop().call_later(WATCH, self._look)

    async def _settled(self, timeout: float) -> None:
        """Return when nothing runs any more, or after `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while tasks := [run.task for run in self._running if run.task is not None]:
                    await asyncio.wait(tasks)

    async def _authenticate(self, handshake: Handshake) -> Principal:
        try:
            principal = await _limited.run(
                self._hooks.authenticate(handshake), self.limits.auth_timeout, "authenticate"
            )
        except CallError:
            raise
        except _limited.OutOfTime:
            raise CallError(
                Code.UNAVAILABLE, "Authentication takes too long; try again later.", retry_after=_retry_after()
            ) from None
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            raise self._reporter.internal(error, "jackfield_authenticate") from None
        if principal is None:
            raise CallError(Code.UNAUTHENTICATED, "Nobody here knows who you are: check the token.")
        return principal

    def _allows(self, pipeline: Pipeline, principal: Principal | None) -> bool:
        try:
            return pipeline.allows(principal)
        except CallError:
            raise
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything; sys.exit() must not end the server
            self._reporter.complain(error, "jackfield_authorize")
            return False

    def _shows(self, pipeline: Pipeline, principal: Principal | None) -> bool:
        with contextlib.suppress(CallError):
            return self._allows(pipeline, principal)
        return False

    def _tell(self, hook: str, listeners: Sequence[tuple[str, Callable[[], Any]]], session: Session) -> None:
        if listeners:
            told = self._told.get(session)
            task = asyncio.get_running_loop().create_task(self._tell_all(hook, listeners, told))
            self._told[session] = task
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _tell_all(
        self, hook: str, listeners: Iterable[tuple[str, Callable[[], Any]]], before: asyncio.Task[None] | None
    ) -> None:
        if before is not None:  # nobody hears of a client's going before its coming
            await asyncio.wait([before])
        first, *others = (self._tell_one(hook, plugin, tell) for plugin, tell in listeners)
        if others:  # side by side, so that one that hangs keeps the others waiting for nothing
            await asyncio.gather(first, *others)
        else:
            await first

    async def _tell_one(self, hook: str, plugin: str, tell: Callable[[], Any]) -> None:
        try:
            await _limited.run(tell(), self.limits.call_timeout, f"{hook}:{plugin}")
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            self._reporter.complain(error, f"{hook} of plugin {plugin}")


def _retry_after() -> int:
    return _jitter.randint(*_RECONNECT_MS)
