"""What can be wrong with a request; each message is for the person who made it.

* `JobsFault`
    * `NotAJob`: a function that is not to be run as a job
    * `BadData`: data that no job can be given
    * `NotFound`: no job of the caller's has this id
    * `KeyTaken`: another job of the caller's has this key
    * `NotAdmin`: a question about everybody's jobs
    * `TooMuch`: a limit is reached
    * `Away`: the store cannot be used now
"""

from __future__ import annotations

from typing import ClassVar

from jackfield import Code


class JobsFault(Exception):
    """Base of what is refused; the text is shown to the caller, with the code."""

    code: ClassVar[Code]


class NotAJob(JobsFault):
    """A function that is not to be run as a job."""

    code = Code.PERMISSION_DENIED


class BadData(JobsFault):
    """Data that no job can be given."""

    code = Code.INVALID_ARGUMENT


class NotFound(JobsFault):
    """No job of the caller's has this id: there is none, or it is somebody else's."""

    code = Code.NOT_FOUND


class KeyTaken(JobsFault):
    """Another job of the caller's has this key, and calls another function or with other data."""

    code = Code.ALREADY_EXISTS


class NotAdmin(JobsFault):
    """A question about everybody's jobs, from who sees their own alone."""

    code = Code.PERMISSION_DENIED


class TooMuch(JobsFault):
    """A limit is reached."""

    code = Code.RESOURCE_EXHAUSTED


class Away(JobsFault):
    """The store cannot be used now; a later try can succeed."""

    code = Code.UNAVAILABLE
