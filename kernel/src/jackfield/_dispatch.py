"""The dispatcher: lets clients in, finds functions, starts calls, and brings them to an end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from jackfield import _json, _limited
from jackfield._call import Call, Client, Connection, FunctionInfo, Kernel
from jackfield._envelope import MAX_EVENT, Envelope
from jackfield._errors import CallError, Code, EncodeError
from jackfield._facade import Hooks
from jackfield._identity import Handshake, Principal
from jackfield._invocation import Answer, Invocation, Reporter
from jackfield._json import Value
from jackfield._pipeline import Pipeline
from jackfield._registry import Entry, Registry
from jackfield._session import Session, deadline
from jackfield._settings import Limits
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
    """

    def __init__(self, kernel: Kernel, registry: Registry, hooks: Hooks, limits: Limits) -> None:
        self.limits = limits
        self._kernel = kernel
        self._registry = registry
        self._hooks = hooks
        self._reporter = Reporter()
        self._observers = hooks.observers()
        self._workers = {entry.plugin: Workers(entry.plugin, limits.threads) for entry in registry.table.values()}
        self._pipelines = {
            event: Pipeline(entry, hooks, self._workers[entry.plugin], limits.bounds)
            for event, entry in registry.table.items()
        }
        self._sessions: set[Session] = set()
        self._running: set[Invocation] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._told: WeakKeyDictionary[Session, asyncio.Task[None]] = WeakKeyDictionary()
        self._quiet = asyncio.Event()
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
        if pipeline is not None:
            if self._allows(pipeline, principal):
                return pipeline
        elif reason := self._registry.out_of_service(event):
            raise CallError(Code.UNAVAILABLE, reason)

        def visible(entry: Entry) -> bool:
            with contextlib.suppress(CallError):
                return self._allows(self._pipelines[entry.info.event], principal)
            return False

        nearest = self._registry.nearest(event[:MAX_EVENT], visible)
        hint = f" Did you mean {' or '.join(nearest)}?" if nearest else ""
        raise CallError(Code.NOT_FOUND, f"There is no function {event[:MAX_EVENT]!r}.{hint}")

    def functions(self, principal: Principal | None) -> list[FunctionInfo]:
        """Return the functions that the principal may call."""
        found = []
        for pipeline in self._pipelines.values():
            with contextlib.suppress(CallError):
                if self._allows(pipeline, principal):
                    found.append(pipeline.info)
        return found

    def make_call(self, envelope: Envelope, pipeline: Pipeline, client: Client, principal: Principal | None) -> Call:
        """Return what a function is given for a call from a client."""
        return Call(
            event=envelope.event,
            id=envelope.id,
            meta=envelope.meta,
            principal=principal,
            client=client,
            kernel=self._kernel,
            deadline=deadline(envelope, pipeline, self.limits),
            depth=0,
            turns=frozenset(),
            invoke=self.invoke,
        )

    def launch(
        self,
        pipeline: Pipeline,
        call: Call,
        envelope: Envelope,
        *,
        buffers: bool,
        answer: Answer,
        ended: Callable[[], None],
    ) -> Invocation:
        """Start a call of a client; `ended` is called when its function is over."""
        invocation = Invocation(
            pipeline,
            call,
            envelope,
            buffers=buffers,
            answer=answer,
            observers=self._observers,
            reporter=self._reporter,
        )

        def over() -> None:
            self._running.discard(invocation)
            if not self._running:
                self._quiet.set()
            ended()

        self._running.add(invocation)
        self._quiet.clear()
        invocation.start(over)
        return invocation

    async def invoke(self, outer: Call | None, event: str, data: object, timeout: float | None = None) -> Value:
        """Call a function from inside the server, as part of `outer` if there is one.

        Raises:
            CallError: As a client would be told.
        """
        call = self._inner_call(outer, event, timeout)
        pipeline = self.find(event, call.principal)
        try:
            argument = _json.dumps(data)
        except EncodeError as error:
            raise CallError(Code.INVALID_ARGUMENT, f"The data for {event} cannot be sent: {error}.") from error
        envelope = Envelope(event, argument.value(), meta=call.meta)
        remaining = call.remaining()
        if remaining == 0:
            raise CallError(Code.DEADLINE_EXCEEDED, f"No time is left for {event}.")
        result: asyncio.Future[_json.Json] = asyncio.get_running_loop().create_future()

        def answer(outcome: _json.Json | CallError) -> None:
            if not result.done():
                if isinstance(outcome, CallError):
                    result.set_exception(outcome)
                else:
                    result.set_result(outcome)

        invocation = self.launch(
            pipeline, call, envelope, buffers=bool(argument.buffers), answer=answer, ended=lambda: None
        )
        try:
            return (await result).value()
        except asyncio.CancelledError:
            invocation.abandon()
            raise

    async def drain(self, timeout: float) -> None:
        """Take no new calls, tell the clients, and give what runs `timeout` seconds to end.

        What runs even then is answered with `unavailable` and cancelled.
        """
        self._draining = True
        for session in self._sessions:
            session.notify("server", {"state": "draining", "reconnect_in": _jitter.randint(*_RECONNECT_MS)})
        if self._running:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), timeout)
        for invocation in list(self._running):
            invocation.cancel(CallError(Code.UNAVAILABLE, "The server is going away.", retry_after=_retry_after()))

    async def close(self, timeout: float) -> list[str]:
        """Say goodbye to every client, wait for what is still ending, and name what does not end.

        Args:
            timeout: Seconds to wait.
        """
        for session in list(self._sessions):
            self.disconnect(session, "server shutting down")
        if self._running:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), timeout)
        if self._background:
            await asyncio.wait(self._background, timeout=timeout)
        for workers in self._workers.values():
            workers.close()
        return sorted({invocation.call.event for invocation in self._running})

    def _inner_call(self, outer: Call | None, event: str, timeout: float | None) -> Call:
        if outer is None:
            seconds = min(self.limits.call_timeout if timeout is None else timeout, self.limits.max_timeout)
            return Call(
                event=event,
                id=None,
                meta={},
                principal=None,
                client=None,
                kernel=self._kernel,
                deadline=time.monotonic() + seconds,
                depth=0,
                turns=frozenset(),
                invoke=self.invoke,
            )
        if outer.depth >= self.limits.invoke_depth:
            raise CallError(
                Code.RESOURCE_EXHAUSTED,
                f"{self.limits.invoke_depth} calls stand inside one another (limits.invoke_depth).",
            )
        return Call(
            event=event,
            id=None,
            meta=outer.meta,
            principal=outer.principal,
            client=outer.client,
            kernel=self._kernel,
            deadline=outer.deadline,
            depth=outer.depth + 1,
            turns=outer.turns,
            invoke=self.invoke,
        )

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
        # Side by side, so that one that hangs keeps the others waiting for nothing.
        await asyncio.gather(*(self._tell_one(hook, plugin, tell) for plugin, tell in listeners))

    async def _tell_one(self, hook: str, plugin: str, tell: Callable[[], Any]) -> None:
        try:
            await _limited.run(tell(), self.limits.call_timeout, f"{hook}:{plugin}")
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            self._reporter.complain(error, f"{hook} of plugin {plugin}")


def _retry_after() -> int:
    return _jitter.randint(*_RECONNECT_MS)
