"""The shortest way of a call: what most calls need, compiled for each function, and nothing else."""

from __future__ import annotations

import types
from collections import defaultdict
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextvars import copy_context
from functools import partial
from time import monotonic
from typing import Final, Protocol, TypeAlias

from pydantic import ValidationError

from jackfield._audience import Audience
from jackfield._call import CURRENT, Call, Client, Scope
from jackfield._connection import Connection
from jackfield._envelope import Envelope, error_reply, reply
from jackfield._errors import CallError
from jackfield._identity import Principal
from jackfield._invocation import Invocation, Launch, Outcome, Places, finish, run_inline, sendable
from jackfield._json import Value
from jackfield._pipeline import Pipeline

_TABLES: Final = 256
"""Tables at the most: who has yet another set of scopes goes the longer way."""
_NO_WAYS: Final[Mapping[str, Quick]] = {}
_Step: TypeAlias = tuple[Call, Coroutine[object, None, object]]


class Caller(Protocol):
    """Who makes calls; the session implements it."""

    client: Client
    connection: Connection
    running: Places


Quick: TypeAlias = Callable[[Caller, bytes, Value, bool], None]
"""Takes who calls, the id to acknowledge, the data, and whether it may hold Buffers."""


class Table:
    """The shortest ways that one set of scopes opens; sessions hold it.

    Attributes:
        ways: The ways by event; none while the server takes nothing new.
        kept: Those that there are when it does.
        principal: One of those whose table it is.
    """

    __slots__ = ("kept", "principal", "ways")

    def __init__(self, principal: Principal | None) -> None:
        self.principal = principal
        self.kept: dict[str, Quick] = {}
        self.ways = _NO_WAYS


class Shortcuts:
    """The shortest ways, in a table for each set of scopes.

    Args:
        ways: The shortest ways that there are, by event, each with the function that it leads to.
    """

    def __init__(self, ways: Mapping[str, tuple[Pipeline, Quick]]) -> None:
        self._ways: dict[str, dict[str, tuple[Pipeline, Quick]]] = defaultdict(dict)
        for event, (pipeline, quick) in ways.items():
            self._ways[pipeline.info.plugin][event] = pipeline, quick
        # Scopes that no function requires make no difference.
        self._scopes = frozenset(
            scope for pipeline, _ in ways.values() if pipeline.access for scope in pipeline.access.requires or ()
        )
        self._tables: dict[frozenset[str] | None, Table] = {}
        self._none = Table(None)  # for those beyond the last table: the longer way is always right
        self._shut = False

    def of(self, principal: Principal | None) -> Table:
        """Return the table of a principal."""
        key = None if principal is None else principal.scopes & self._scopes
        table = self._tables.get(key)
        if table is None:
            if len(self._tables) >= _TABLES:
                return self._none
            table = self._tables[key] = Table(principal)
            for plugin in self._ways:
                self._fill(table, plugin)
            if not self._shut:
                table.ways = table.kept
        return table

    def shut(self) -> None:
        """Shut all ways."""
        self._shut = True
        for table in self._tables.values():
            table.ways = _NO_WAYS

    def open(self) -> None:
        """Open the ways again that are not shut for their plugin's sake."""
        self._shut = False
        for table in self._tables.values():
            table.ways = table.kept

    def switch(self, plugin: str) -> None:
        """Shut or open the ways to a plugin that went out of service, or is back."""
        for table in self._tables.values():
            self._fill(table, plugin)

    def _fill(self, table: Table, plugin: str) -> None:
        for event, (pipeline, quick) in self._ways[plugin].items():
            if pipeline.breaker.shut:
                table.kept.pop(event, None)
            elif pipeline.access is None or pipeline.access.admits(table.principal):
                table.kept[event] = quick


def make_quick(pipeline: Pipeline, scope: Scope, audience: Audience, launch: Launch) -> Quick | None:
    """Return the shortest way to a function for the plainest call: acknowledged, with data and nothing else.

    It is the way of most calls, so everything that a step could cost is decided here. None if a plugin has to be asked
    whether the call may be made, or it opens a stream.
    """
    seconds = pipeline.seconds
    if pipeline.authorizers or pipeline.streams or seconds is None:
        return None
    at_once = _make_immediate(pipeline, seconds, scope, audience)
    return at_once or _make_launched(pipeline, seconds, scope, audience, launch)


def _make_launched(pipeline: Pipeline, seconds: float, scope: Scope, audience: Audience, launch: Launch) -> Quick:
    serve, breaker, event = pipeline.serve, pipeline.breaker, pipeline.info.event
    plain = None if pipeline.wrappers else Envelope(event)

    def run(who: Caller, ack: bytes, data: Value, buffers: bool) -> None:
        connection, client = who.connection, who.client

        def answer(outcome: Outcome) -> None:
            if isinstance(outcome, CallError):
                outcome = error_reply(outcome, None)
                connection.acknowledge(ack, outcome.text, outcome.buffers)
            else:
                connection.acknowledge(ack, b'{"data":' + outcome.text + b"}", outcome.buffers)

        breaker.calls += 1
        now = monotonic()
        call = Call(plain or Envelope(event, data), client.principal, client, now, now + seconds, scope)
        work = partial(serve, call, data, buffers)
        if pipeline.inline:
            copy_context().run(finish, run_inline(pipeline, call, work, answer, audience))
        else:
            launch(Invocation(pipeline, call, work, answer, audience), who.running)

    return run


def _make_immediate(pipeline: Pipeline, seconds: float, scope: Scope, audience: Audience) -> Quick | None:
    handler, contract, breaker = pipeline.handler, pipeline.contract, pipeline.breaker
    take, validate, glance, dump = contract.take, contract.validate, contract.glance, contract.dump
    if not pipeline.quick or take is None:
        return None
    envelope = Envelope(pipeline.info.event)
    admitters, meters, starting, ending = pipeline.admitters, pipeline.meters, audience.starting, audience.ending
    result_of = _make_runner()

    def run(who: Caller, ack: bytes, data: Value, buffers: bool) -> None:
        nonlocal result_of
        breaker.calls += 1
        client, now = who.client, monotonic()
        call = Call(envelope, client.principal, client, now, now + seconds, scope)
        context = copy_context()
        text: bytes | None = None
        told: CallError | None = None
        if starting:
            context.run(audience.started, call)
        try:
            for admit in admitters:
                admit(call)
            try:
                argument = take(data)
            except ValidationError:
                argument = validate(data, buffers)
            result = context.run(result_of, (call, handler(call, argument)))
            text = glance(result)
            if text is None:
                packed = sendable(dump(result))
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything; sys.exit() must not end the server
            told = audience.failed(call, error)
            result_of = _make_runner()  # an exception ends the other one
        if text is not None:
            who.connection.acknowledge(ack, b'{"data":' + text + b"}")
        else:
            answer = reply(packed, None) if told is None else error_reply(told, None)
            who.connection.acknowledge(ack, answer.text, answer.buffers)
        for plugin, meter in meters:  # as `audience.ended` does it
            try:
                meter(monotonic() - now, None if told is None else told.code)
            except BaseException as error:  # noqa: BLE001 - a plugin may raise anything; the call was answered
                audience.reporter.complain(error, f"meter of the observer of plugin {plugin}")
        for plugin, ended in ending:
            try:
                context.run(ended, call, told)
            except BaseException as error:  # noqa: BLE001 - a plugin may raise anything; the call was answered
                audience.reporter.complain(error, f"ended of the observer of plugin {plugin}")

    return run


def _make_runner() -> Callable[[_Step], object]:
    """Return what runs coroutines that never suspend, one after the other, and returns their results.

    A coroutine that is driven by hand returns by raising `StopIteration`, which costs as much as all the rest of it.
    One that is awaited does not, so a generator that never ends awaits them all.
    """
    runner = _run_all()
    next(runner)
    return runner.send


@types.coroutine
def _run_all() -> Generator[object, _Step, None]:
    result: object = None
    while True:
        call, coroutine = yield result
        CURRENT.set(call)
        result = yield from coroutine  # type: ignore[func-returns-value]  # mypy does not know types.coroutine
