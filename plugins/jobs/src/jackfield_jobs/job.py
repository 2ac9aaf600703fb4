"""A job: a call that the server makes for somebody, later and with nobody waiting."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, TypeAlias

import msgpack

from jackfield import CallError, Code, Principal, Value
from jackfield_jobs.faults import BadData, NotAJob

State: TypeAlias = Literal["queued", "running", "succeeded", "failed", "canceled"]
Told: TypeAlias = Mapping[str, Value]
"""How far a job is, or how it failed, with the fields that the wire has for it."""

LOST: Final[Told] = {
    "code": Code.ABORTED.value,
    "message": "The server stopped while the job ran, and no attempt is left.",
}
"""What becomes of a job whose server is gone."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as a store keeps it. Times are milliseconds since 1970.

    Args:
        id: Its name; of two jobs the later one's comes later.
        owner: The id of the principal that it belongs to; empty for callers who did not have to say who they are.
        scopes: What that principal may do.
        function: What is called.
        attempts: How often it may be called.
        timeout: Seconds that each time may take.
        created: When it was submitted.
        key: The submitter's own name for it.
        data: The argument, packed; None where it was not asked for.
        state: What has become of it.
        attempt: How often it was called.
        due: When it is called next, while it is queued.
        started: When it was called last.
        ended: When it ended.
        progress: How far the call is.
        result: What it gave, packed.
        error: How it failed; of a job that is queued again, how the last attempt did.
        asked: Whether somebody wants it canceled.
    """

    id: str
    owner: str
    scopes: tuple[str, ...]
    function: str
    attempts: int
    timeout: float
    created: int
    key: str | None = None
    data: bytes | None = None
    state: State = "queued"
    attempt: int = 0
    due: int = 0
    started: int | None = None
    ended: int | None = None
    progress: Told | None = None
    result: bytes | None = None
    error: Told | None = None
    asked: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.ended is not None

    @property
    def principal(self) -> Principal | None:
        """Whose rights it has."""
        return Principal(self.owner, frozenset(self.scopes)) if self.owner else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ends.

    Args:
        state: As what.
        result: What it gave, packed.
        error: How it failed.
        progress: How far it came.
    """

    state: State
    result: bytes | None = None
    error: Told | None = None
    progress: Told | None = None


def new_id(created: int) -> str:
    """Return a name that nobody can guess; those of later jobs come later in order."""
    return f"{created:011x}{secrets.token_hex(10)}"


def now() -> int:
    """Return the time, in milliseconds since 1970."""
    return int(time.time() * 1000)


def owner_of(principal: Principal | None) -> str:
    """Return the name under which jobs belong to somebody."""
    return "" if principal is None else principal.id


def check_function(function: str, patterns: Iterable[str]) -> None:
    """Refuse a function that is not to be run as a job: those of this plugin never are, so that none makes others.

    Raises:
        NotAJob: It is not.
    """
    if function.startswith("api.jobs.") or not any(fnmatchcase(function, pattern) for pattern in patterns):
        raise NotAJob(f"{function} is not to be run as a job (plugins.jobs.functions).")


def pack(value: object) -> bytes:
    """Return a value as bytes.

    Raises:
        BadData: It came as MessagePack, and holds what JSON does not.
    """
    try:
        return bytes(msgpack.packb(value))
    except (OverflowError, TypeError, ValueError) as error:
        raise BadData(f"The data of a job has to be JSON, with Buffers anywhere in it: {error}.") from None


def unpack(packed: bytes) -> Any:
    """Return the value that `pack` was given."""
    return msgpack.unpackb(packed)


def told(error: CallError) -> Told:
    """Return how a call failed, as its caller would be told."""
    return {name: value for name, value in error.as_dict().items() if name != "retry_after"}  # type: ignore[misc]
