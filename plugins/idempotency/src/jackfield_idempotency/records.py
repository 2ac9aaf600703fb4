"""What is kept of a call: how far it came, and what its caller was told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal, TypeAlias

from jackfield import CallError, Json

State: TypeAlias = Literal["running", "succeeded", "failed", "large", "unknown"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call has ended.

    Args:
        state: `large` is a success whose result is not kept; of `unknown` nobody knows what it was.
        reply: What the caller was told, packed.
    """

    state: State
    reply: bytes = b""


@dataclass(frozen=True, slots=True)
class Record:
    """A call as it was found.

    Args:
        digest: That of its data.
        outcome: How far it came.
        held: While it runs, whether the server that runs it was heard of.
    """

    digest: str
    outcome: Outcome
    held: bool


def succeeded(result: Json, limit: int) -> Outcome:
    """Return the outcome of a call that gave a result, of which so many bytes are kept."""
    parts = (result.text, *result.buffers)
    if sum(map(len, parts)) > limit:
        return Outcome("large")
    lengths = " ".join(str(len(part)) for part in parts)
    return Outcome("succeeded", b"\n".join((lengths.encode(), b"".join(parts))))


def failed(error: CallError) -> Outcome:
    """Return the outcome of a call that was refused."""
    return Outcome("failed", json.dumps(error.as_dict()).encode())


def result_of(outcome: Outcome) -> Json:
    """Return the result that `succeeded` was given."""
    lengths, _, rest = outcome.reply.partition(b"\n")
    parts = []
    for length in map(int, lengths.split()):
        parts.append(rest[:length])
        rest = rest[length:]
    text, *buffers = parts
    return Json(text, tuple(buffers))


def error_of(outcome: Outcome) -> CallError:
    """Return the error that `failed` was given."""
    return CallError(**json.loads(outcome.reply))
