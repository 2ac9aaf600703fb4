"""The replies of a batch: collected as they come, sent in order when the last is there."""

from __future__ import annotations

from collections.abc import Callable

from jackfield import _envelope
from jackfield._envelope import CallId, Envelope
from jackfield._errors import CallError, Code
from jackfield._invocation import Answer, Outcome
from jackfield._json import MAX_BUFFERS, Json


class Batch:
    """Collects the replies of one batch.

    Args:
        size: How many entries it has.
        send: Called with the array of all replies.
    """

    def __init__(self, size: int, send: Callable[[Json], None]) -> None:
        self._replies: list[Json | None] = [None] * size
        self._ids: list[CallId | None] = [None] * size
        self._missing = size
        self._send = send

    def replier(self, index: int, envelope: Envelope) -> Answer:
        """Return what the entry at `index` is answered with."""
        options = envelope.options
        return lambda outcome: self.put(index, outcome, options.id, options.accept_text)

    def put(self, index: int, outcome: Outcome, call_id: CallId | None, encoding: str | None) -> None:
        """Keep the reply of an entry, and send them all if it was the last that was missing."""
        self._replies[index] = reply(outcome, call_id, encoding)
        self._ids[index] = call_id
        self._missing -= 1
        if not self._missing:
            self.send()

    def send(self) -> None:
        """Send the replies; in the place of one that does not fit in, the error that says so."""
        texts: list[bytes] = []
        buffers: list[bytes] = []
        replies = [reply for reply in self._replies if reply is not None]
        binary = any(reply.buffers for reply in replies)
        for reply, call_id in zip(replies, self._ids, strict=True):
            fitting = reply
            if len(buffers) + len(reply.buffers) > MAX_BUFFERS:
                error = CallError(
                    Code.RESOURCE_EXHAUSTED, f"The replies of this batch hold more than {MAX_BUFFERS} Buffers."
                )
                fitting = _envelope.error_reply(error, call_id)
            elif binary and reply.pretends:
                error = CallError(
                    Code.FAILED_PRECONDITION,
                    "The reply has a field '_placeholder', which clients take for one of the batch's Buffers:"
                    " call it by itself.",
                )
                fitting = _envelope.error_reply(error, call_id)
            texts.append(fitting.renumbered(len(buffers)))
            buffers.extend(fitting.buffers)
        self._send(Json(b"[" + b",".join(texts) + b"]", tuple(buffers)))


def reply(outcome: Outcome, call_id: CallId | None, encoding: str | None) -> Json:
    """Return the reply to a call, whichever way it has ended."""
    if isinstance(outcome, CallError):
        return _envelope.error_reply(outcome, call_id)
    return _envelope.reply(outcome, call_id, encoding)
