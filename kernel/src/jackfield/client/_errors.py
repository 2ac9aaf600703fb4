"""What a caller has to expect beside the errors that the server answers with.

All are `CallError`, so that whoever catches one catches them all:

* `CallError`: the server's answer, or `deadline_exceeded` where it did not come in time
    * `ConnectError`: no connection came about; nothing was called
        * `NobodyThere`: nothing listens at the address
        * `Refused`: the server does not let the client in, with the code that it gave
    * `ConnectionLost`: the connection ended before the call did
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from jackfield._errors import CallError, Code

_CODES: Final = {code.value: code for code in Code}


class ConnectError(CallError):
    """No connection came about, so nothing was called.

    Args:
        reason: What is the matter.
        remedy: What to do about it, if that is known.
        code: `unavailable`, unless trying again is in vain.
    """

    def __init__(self, reason: str, remedy: str | None = None, *, code: Code = Code.UNAVAILABLE) -> None:
        self.reason = reason
        self.remedy = remedy
        super().__init__(code, f"{reason}: {remedy}" if remedy else reason)


class NobodyThere(ConnectError):
    """Nothing accepts a connection at the address."""


class Refused(ConnectError):
    """The server does not let the client in.

    Args:
        error: What it said, as the wire carries an error.
    """

    def __init__(self, error: Mapping[str, Any]) -> None:
        told = from_wire(error)
        super().__init__(told.message, code=told.code)
        self.details, self.retry_after, self.error_id = told.details, told.retry_after, told.error_id


class ConnectionLost(CallError):
    """The connection ended before the call did; whether the call was run, nobody knows.

    A call that is made while there is no connection, and none comes within its time, ends so too.

    Args:
        message: What happened.
    """

    def __init__(self, message: str) -> None:
        super().__init__(Code.UNAVAILABLE, message)


def from_wire(error: object) -> CallError:
    """Return an error of the wire as an exception; a code that is not known here is `unknown`."""
    if not isinstance(error, Mapping):
        return CallError(Code.INTERNAL, "What the server answered is no reply of jackfield's protocol.")
    code = error.get("code")
    details, retry_after, error_id = error.get("details"), error.get("retry_after"), error.get("error_id")
    return CallError(
        _CODES.get(str(code), Code.UNKNOWN),
        str(error.get("message", "")),
        details=cast(Any, [one for one in details if isinstance(one, dict)]) if isinstance(details, list) else (),
        retry_after=retry_after if isinstance(retry_after, int) else None,
        error_id=str(error_id) if error_id is not None else None,
    )
