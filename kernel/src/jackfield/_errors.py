"""What can go wrong, in one tree.

* `JackfieldError`: everything that this package raises on purpose
    * `CallError`: a call failed; the caller sees its code and message
        * `CodecError`: bytes or text from a client that are not what they claim, or too much of it
            * `JsonSyntaxError`: text that is no JSON at all
    * `EncodeError`: a value of the server's own that cannot be sent
    * `PluginError`: something about one plugin; it is quarantined or refused with this reason
        * `ContractError`: a function whose signature promises nothing that can be checked
    * `StartError`: the server cannot start (exit status 3); carries every fault that was found
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NoReturn, TypedDict


class Code(StrEnum):
    """The error codes of the wire; the names and meanings are those of gRPC and Connect."""

    CANCELED = "canceled"
    UNKNOWN = "unknown"
    INVALID_ARGUMENT = "invalid_argument"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    NOT_FOUND = "not_found"
    ALREADY_EXISTS = "already_exists"
    PERMISSION_DENIED = "permission_denied"
    RESOURCE_EXHAUSTED = "resource_exhausted"
    FAILED_PRECONDITION = "failed_precondition"
    ABORTED = "aborted"
    OUT_OF_RANGE = "out_of_range"
    UNIMPLEMENTED = "unimplemented"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"
    DATA_LOSS = "data_loss"
    UNAUTHENTICATED = "unauthenticated"

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        own = f'message, details=[{{"path": [], "type": {value!r}, "message": message}}]'
        rule = f"take the nearest, and put a word of your own into details: CallError(Code.FAILED_PRECONDITION, {own})"
        raise ValueError(f"{value!r} is none of the sixteen codes: {rule}; the codes are {', '.join(cls)}")


class Detail(TypedDict):
    """One fault of an argument, or a reason of the function's own: where it is, which kind, and what a person reads."""

    path: list[str | int]
    type: str
    message: str


class JackfieldError(Exception):
    """Base of every error that jackfield raises on purpose."""


class CallError(JackfieldError):
    """A call that failed in a way its caller may know about.

    Raise it in a function to answer with an error; `call.invoke` and `call.client.request` raise it.

    Args:
        code: What kind of failure, a `Code` or its text.
        message: For a person: what happened and what to do. It is sent to the caller as it is.
        details: One entry a fault, for failed validations; for a reason of your own one with an empty path.
        retry_after: Milliseconds after which a later try can succeed, if one can.
        error_id: The id under which the server's log tells more; the kernel sets it.

    Raises:
        ValueError: `code` is none of the sixteen.

    Example:
        >>> raise CallError("not_found", "No order has the number 17.")
        Traceback (most recent call last):
        ...
        jackfield.CallError: not_found: No order has the number 17.
    """

    def __init__(
        self,
        code: Code | str,
        message: str,
        *,
        details: Sequence[Detail] = (),
        retry_after: int | None = None,
        error_id: str | None = None,
    ) -> None:
        self.code = Code(code)
        self.message = message
        self.details = tuple(details)
        self.retry_after = retry_after
        self.error_id = error_id
        super().__init__(code, message)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code.value!r}, {self.message!r})"

    def as_dict(self) -> dict[str, object]:
        """Return the error as the wire carries it; absent fields are left out."""
        shape: dict[str, object] = {"code": self.code.value, "message": self.message}
        if self.details:
            shape["details"] = list(self.details)
        if self.retry_after is not None:
            shape["retry_after"] = self.retry_after
        if self.error_id is not None:
            shape["error_id"] = self.error_id
        return shape


class CodecError(CallError):
    """Input of a client that cannot be decoded, or not within the limits."""


class JsonSyntaxError(CodecError):
    """Text that is not JSON (RFC 8259)."""

    def __init__(self, problem: str) -> None:
        super().__init__(Code.INVALID_ARGUMENT, f"Not valid JSON: {problem}.")


class EncodeError(JackfieldError):
    """A result or an emitted value that the wire cannot carry: NaN, a cycle, an unknown type."""


class PluginError(JackfieldError):
    """Something is wrong with one plugin.

    Args:
        reason: What is wrong, for the operator.
        kind: A short name of the fault, usually an exception's type; shown to callers who may not see the reason.
        hint: What to do about it, if that is known.
    """

    def __init__(self, reason: str, *, kind: str | None = None, hint: str | None = None) -> None:
        self.reason = reason
        self.kind = kind or type(self).__name__
        self.hint = hint
        super().__init__(reason)


class ContractError(PluginError):
    """A function whose signature cannot be turned into a contract."""


class StartError(JackfieldError):
    """The server cannot start.

    Args:
        faults: Every fault that was found, each a sentence for the operator.
    """

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))
