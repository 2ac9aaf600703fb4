"""What the functions take and give."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from jackfield_jobs.job import State

Id = Annotated[str, Field(description="The id of a job, as `submit` gave it.")]
Time = datetime | None


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SubmitRequest(_Request):
    """Which function to call, and how."""

    function: str = Field(min_length=1, max_length=1024, description="A function that gives one result.")
    data: Any = Field(None, description="Its argument: JSON with Buffers anywhere in it.")
    key: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="A name of your own: it makes one job, however often you submit.",
    )
    attempts: int | None = Field(
        None, ge=1, le=100, description="How often it may be called; 1: never twice. null for what the server says."
    )
    timeout: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Seconds that one attempt may take; null for what the server says, which is also the most.",
    )
    delay: float = Field(
        0.0, ge=0, le=365 * 86_400, allow_inf_nan=False, description="Seconds before which it is not called."
    )


class OneRequest(_Request):
    """Which job."""

    id: Id


class ListRequest(_Request):
    """Which jobs to list, the newest first."""

    state: State | None = Field(None, description="Only those in this state.")
    function: str | None = Field(None, description="Only calls of this function.")
    limit: int = Field(100, ge=1, le=500, description="How many at the most.")
    cursor: str | None = Field(None, max_length=100, description="The `next` of the page before.")
    everybody: bool = Field(False, description="Not only your own; requires the scope jobs:admin.")


class Progress(BaseModel):
    """How far a job is, as its function tells."""

    done: int | float = Field(description="How much is done, in the function's own unit.")
    total: int | float | None = Field(None, description="How much there is to be done, if that is known.")
    message: str | None = Field(None, description="What is being done, for a person.")


class Detail(BaseModel):
    """One fault of the data."""

    path: list[str | int] = Field(description="Where it is.")
    type: str = Field(description="Which kind it is.")
    message: str = Field(description="What a person should read.")


class Error(BaseModel):
    """How a call failed, as its caller would be told."""

    code: str = Field(description="One of the codes of errors.")
    message: str = Field(description="For a person.")
    details: list[Detail] | None = Field(None, description="For failed validations, one a fault.")
    error_id: str | None = Field(None, description="The id under which the server's log tells more.")


class Job(BaseModel):
    """A job."""

    id: Id
    function: str = Field(description="What is called.")
    owner: str | None = Field(description="Whose it is; null where nobody has to say who they are.")
    key: str | None = Field(description="The submitter's own name for it.")
    state: State = Field(description="What has become of it.")
    attempt: int = Field(description="How often it was called.")
    attempts: int = Field(description="How often it may be called.")
    created: datetime = Field(description="When it was submitted.")
    due: Time = Field(description="When it is called, while it is queued.")
    started: Time = Field(description="When it was called last.")
    ended: Time = Field(description="When it ended.")
    progress: Progress | None = Field(description="How far it is, or has come.")
    error: Error | None = Field(description="How it failed; while it is queued, why it has to wait.")


class WholeJob(Job):
    """A job, with its result."""

    result: Any = Field(None, description="What the function gave, if the job has succeeded.")


class Jobs(BaseModel):
    """A page of jobs."""

    jobs: list[Job] = Field(description="Without their results.")
    next: str | None = Field(description="The `cursor` of the next page; null where this was the last.")
