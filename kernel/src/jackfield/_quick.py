"""The shortest way of a call: what most calls need, compiled for each function, and nothing else."""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from functools import partial
from time import monotonic
from typing import Protocol, TypeAlias

from pydantic import ValidationError

from jackfield._call import Call, Client, Connection, Scope
from jackfield._envelope import Envelope, error_reply, reply
from jackfield._errors import CallError
from jackfield._identity import Principal
from jackfield._invocation import Audience, Invocation, Launch, Outcome, Places, finish, run_inline, sendable
from jackfield._json import Value
from jackfield._pipeline import Pipeline


class Caller(Protocol):
    """Who makes calls; the session implements it."""

    principal: Principal | None
    client: Client
    connection: Connection
    running: Places


Quick: TypeAlias = Callable[[Caller, bytes, Value, bool], None]
"""Takes who calls, the id to acknowledge, the data, and whether it may hold Buffers."""


def make_quick(pipeline: Pipeline, scope: Scope, audience: Audience, launch: Launch) -> Quick | None:
    """Return the shortest way to a function for the plainest call: acknowledged, with data and nothing else.

    It is the way of most calls, so everything that a step could cost is decided here. None if somebody has to be asked
    whether the call may be made, or it opens a stream.
    """
    seconds = pipeline.seconds
    if pipeline.authorizers or pipeline.streams or seconds is None:
        return None
    at_once = _make_immediate(pipeline, seconds, scope, audience)
    return at_once or _make_launched(pipeline, seconds, scope, audience, launch)


def _make_launched(pipeline: Pipeline, seconds: float, scope: Scope, audience: Audience, launch: Launch) -> Quick:
    serve = pipeline.serve
    envelope = Envelope(pipeline.info.event)

    def run(who: Caller, ack: bytes, data: Value, buffers: bool) -> None:
        connection = who.connection

        def answer(outcome: Outcome) -> None:
            if isinstance(outcome, CallError):
                outcome = error_reply(outcome, None)
                connection.acknowledge(ack, outcome.text, outcome.buffers)
            else:
                connection.acknowledge(ack, b'{"data":' + outcome.text + b"}", outcome.buffers)

        call = Call(envelope, who.principal, who.client, monotonic() + seconds, scope)
        work = partial(serve, call, data, buffers)
        if pipeline.inline:
            copy_context().run(finish, run_inline(call, work, answer, audience))
        else:
            launch(Invocation(pipeline, call, work, answer, audience), who.running)

    return run


def _make_immediate(pipeline: Pipeline, seconds: float, scope: Scope, audience: Audience) -> Quick | None:
    handler, contract = pipeline.handler, pipeline.contract
    take, validate, glance, dump = contract.take, contract.validate, contract.glance, contract.dump
    if not pipeline.quick or take is None or audience.observers:
        return None
    envelope = Envelope(pipeline.info.event)
    result_of = _make_runner()

    def run(who: Caller, ack: bytes, data: Value, buffers: bool) -> None:
        nonlocal result_of
        call = Call(envelope, who.principal, who.client, monotonic() + seconds, scope)
        text: bytes | None = None
        outcome: Outcome | None
        try:
            try:
                argument = take(data)
            except ValidationError:
                argument = validate(data, buffers)
            result = copy_context().run(result_of, handler(call, argument))
            text = glance(result)
            outcome = sendable(dump(result)) if text is None else None
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything; sys.exit() must not end the server
            outcome = audience.failed(call, error)
            result_of = _make_runner()  # an exception ends the other one
        if text is not None:
            who.connection.acknowledge(ack, b'{"data":' + text + b"}")
        elif outcome is not None:
            answer = error_reply(outcome, None) if isinstance(outcome, CallError) else reply(outcome, None)
            who.connection.acknowledge(ack, answer.text, answer.buffers)

    return run


def _make_runner() -> Callable[[Coroutine[object, None, object]], object]:
    """Return what runs coroutines that never suspend, one after the other, and returns their results.

    A coroutine that is driven by hand returns by raising `StopIteration`, which costs as much as all the rest of it.
    One that is awaited does not, so a generator that never ends awaits them all.
    """
    runner = _run_all()
    next(runner)
    return runner.send


@types.coroutine
def _run_all() -> Generator[object, Coroutine[object, None, object], None]:
    result: object = None
    while True:
        coroutine = yield result
        result = yield from coroutine  # type: ignore[func-returns-value]  # mypy does not know types.coroutine
