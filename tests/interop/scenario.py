"""What a scenario is: steps that any Socket.IO client can take, and what it is to see.

The steps are plain data, so that runners in several languages can take them. What is expected stays here:
the runners only report, and `Scenario.faults` compares, in one place.

A runner understands these operations:

| `op`    | fields                   | what it does                                        | what it reports      |
|---------|--------------------------|-----------------------------------------------------|----------------------|
| `call`  | `event`, `args`          | emits with an acknowledgement, and waits for it     | its arguments        |
| `start` | `event`, `args`, `label` | emits with an acknowledgement, and goes on          | null                 |
| `ack`   | `label`                  | waits for the acknowledgement of `start`            | its arguments        |
| `emit`  | `event`, `args`          | emits without an acknowledgement                    | null                 |
| `next`  | `event`                  | waits for the first event of this name not yet read | its arguments        |
| `order` |                          | nothing                                             | labels as acked      |

Frames with which the server grants credit are kept apart from other events `stream`, as the event `credit`, and those
that no `next` has read are not reported: when the server returns credit, and how much at a time, is its own affair.

At the end it calls `api.system.ping`, so that whatever was to come has come, and reports the events that no
`next` has read. A connection of its own is made for each scenario.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.interop.packing import unpack

NO_ANSWER: Final = None
"""In `Scenario.answers`: the client never acknowledges this event."""


@dataclass(frozen=True)
class Step:
    """One operation, and what is to be seen of it."""

    do: Mapping[str, Any]
    expect: Any = None


@dataclass(frozen=True)
class Scenario:
    """A conversation of one client.

    Args:
        name: What a failing test is called.
        section: The section of the protocol.
        steps: What is done, one after the other.
        server: Which server: `main`, or `gate`, which asks who is there.
        auth: The `auth` object of the connection.
        headers: Headers of the handshake.
        namespace: The namespace that is connected to.
        answers: What the client acknowledges which event with: a list of arguments, or `NO_ANSWER`.
        refused: What `connect_error` is to tell, for connections that are refused.
    """

    name: str
    section: str
    steps: tuple[Step, ...] = ()
    server: str = "main"
    auth: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    namespace: str = "/"
    answers: Mapping[str, Sequence[Any] | None] = field(default_factory=dict)
    refused: Any = None

    def plan(self) -> dict[str, Any]:
        """Return what the runners need, as JSON has it."""
        return {
            "name": self.name,
            "server": self.server,
            "auth": self.auth,
            "headers": dict(self.headers),
            "namespace": self.namespace,
            "answers": to_neutral(dict(self.answers)),
            "steps": [to_neutral(dict(step.do)) for step in self.steps],
        }

    def faults(self, report: Mapping[str, Any]) -> list[str]:
        """Return what is not as it should be in a runner's report; nothing if all is well."""
        if self.refused is not None:
            return list(_differences(self.refused, report.get("refused"), "connect_error"))
        if "failed" in report:
            return [report["failed"]]
        if "refused" in report:
            return [f"the connection was refused: {report['refused']!r}"]
        seen = [from_neutral(one) for one in report["seen"]]
        faults: list[str] = []
        for number, (step, one) in enumerate(zip(self.steps, seen, strict=True), 1):
            faults += _differences(step.expect, one, f"step {number} ({step.do['op']})")
        faults += _differences([], from_neutral(report["left"]), "events that nobody waited for")
        return faults


# ------------------------------------------------------------------- steps


def call(argument: Any, expect: Any, event: str = "event") -> Step:
    """Emit one argument and expect an acknowledgement with one."""
    return call_with([argument], expect, event)


def call_with(arguments: list[Any], expect: Any, event: str = "event") -> Step:
    """Emit any number of arguments and expect an acknowledgement with one."""
    return Step({"op": "call", "event": event, "args": arguments}, [expect])


def start(label: str, argument: Any, event: str = "event") -> Step:
    """Emit with an acknowledgement that is awaited later, under this label."""
    return Step({"op": "start", "event": event, "args": [argument], "label": label})


def answer(label: str, expect: Any) -> Step:
    """Expect the acknowledgement of what was started."""
    return Step({"op": "ack", "label": label}, [expect])


def emit(argument: Any, event: str = "event") -> Step:
    """Emit one argument without an acknowledgement."""
    return emit_with([argument], event)


def emit_with(arguments: list[Any], event: str = "event") -> Step:
    """Emit any number of arguments without an acknowledgement."""
    return Step({"op": "emit", "event": event, "args": arguments})


def hear(event: str, expect: Any) -> Step:
    """Expect an event with one argument."""
    return Step({"op": "next", "event": event}, [expect])


def each(*values: Any) -> tuple[Any, ...]:
    """Return values of several types, to make one scenario of each."""
    return values


def order(*labels: str) -> Step:
    """Expect that what was started has been acknowledged in this order."""
    return Step({"op": "order"}, list(labels))


def cancel(call_id: str | int) -> Step:
    """Cancel a call."""
    return emit({"id": call_id, "cancel": True}, "stream")


# ------------------------------------------------------------------- what to expect


@dataclass(frozen=True)
class Text:
    """A string in which the pattern is found."""

    pattern: str


@dataclass(frozen=True)
class Between:
    """A number within these bounds."""

    low: float
    high: float


@dataclass(frozen=True)
class Holding:
    """An object with at least these fields."""

    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Packed:
    """Something that holds this value when it is unpacked; compressors differ in what they write."""

    encoding: str
    value: Any


ERROR_ID: Final = Text(r"^[0-9a-f]{16}$")


def error(code: str, message: str, *, id: str | int | None = None, **fields: Any) -> dict[str, Any]:
    """Return the error reply to expect.

    Args:
        code: Its code.
        message: A pattern that is found in its message.
        id: The id of the reply, if it is to have one.
        fields: More fields of the error; it is to have no others.
    """
    shape: dict[str, Any] = {"error": {"code": code, "message": Text(message), **fields}}
    return shape if id is None else {**shape, "id": id}


def internal(*, id: str | int | None = None) -> dict[str, Any]:
    """Return the reply to expect where the server is at fault: an id for the log, and no word more."""
    return error("internal", r"^Something went wrong in the server \(error [0-9a-f]{16}\)\.$", id=id, error_id=ERROR_ID)


def notice(event: str | None, failure: dict[str, Any]) -> dict[str, Any]:
    """Return the `message` to expect when a call that asked for no reply fails."""
    return {"event": event, "error": failure["error"]}


# ------------------------------------------------------------------- the neutral notation


def to_neutral(value: Any) -> Any:
    """Return the value as JSON has it; a Buffer is `{"$buffer": <base64>}`."""
    if isinstance(value, bytes):
        return {"$buffer": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {key: to_neutral(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_neutral(item) for item in value]
    return value


def from_neutral(value: Any) -> Any:
    """Return the value with its Buffers."""
    if isinstance(value, dict):
        if value.keys() == {"$buffer"}:
            return base64.b64decode(value["$buffer"])
        return {key: from_neutral(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_neutral(item) for item in value]
    return value


def _differences(expected: Any, seen: Any, where: str) -> Iterator[str]:
    """Yield a sentence for each difference. True is not 1 here; 1.0 is, because JavaScript knows no difference."""
    if isinstance(expected, Packed):
        try:
            seen = unpack(seen, expected.encoding)
        except Exception as fault:  # noqa: BLE001 - whatever does not unpack is what is looked for
            yield f"{where}: not {expected.encoding} ({fault!r}): {seen!r}"
            return
        expected = expected.value
    if isinstance(expected, Text):
        if not isinstance(seen, str) or not re.search(expected.pattern, seen):
            yield f"{where}: expected text with {expected.pattern!r}, saw {seen!r}"
    elif isinstance(expected, Between):
        if isinstance(seen, bool) or not isinstance(seen, int | float) or not expected.low <= seen <= expected.high:
            yield f"{where}: expected {expected.low} to {expected.high}, saw {seen!r}"
    elif isinstance(expected, Holding) and isinstance(seen, dict):
        held = {key: value for key, value in seen.items() if key in expected.fields}
        yield from _differences(dict(expected.fields), held, where)
    elif isinstance(expected, dict) and isinstance(seen, dict) and expected.keys() == seen.keys():
        for key, value in expected.items():
            yield from _differences(value, seen[key], f"{where}.{key}")
    elif isinstance(expected, list) and isinstance(seen, list) and len(expected) == len(seen):
        for index, (value, other) in enumerate(zip(expected, seen, strict=True)):
            yield from _differences(value, other, f"{where}[{index}]")
    elif isinstance(expected, bool) is not isinstance(seen, bool) or expected != seen:
        yield f"{where}: expected {expected!r}, saw {seen!r}"
