"""What can be configured: the table `[plugins.jobs]`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class JobsSettings(BaseModel):
    """`[plugins.jobs]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(Path("jobs.sqlite3"), description="The file of the jobs; made by the first one.")
    queue: SecretStr | None = Field(
        None, description="Where a Redis server is that keeps the jobs in the place of the file, for several machines."
    )
    queue_name: str = Field(
        "jackfield:jobs",
        pattern=r"^[\w.:-]+$",
        description="What the names of its keys begin with; servers with the same one have the same jobs.",
    )
    functions: tuple[str, ...] = Field(
        ("*",), description="Patterns of functions that may be run as jobs; a * stands for dots too."
    )
    running: int = Field(4, ge=0, le=1000, description="Jobs that this server runs at once; 0: it only takes them in.")
    timeout: float = Field(
        3600.0,
        gt=0,
        le=30 * 86_400,
        allow_inf_nan=False,
        description="Seconds that one attempt may take, if the submitter does not say less.",
    )
    attempts: int = Field(3, ge=1, le=100, description="Attempts that a job has, if the submitter does not say.")
    keep: int = Field(86_400, ge=1, le=10 * 365 * 86_400, description="Seconds for which a job that has ended is kept.")
    max_kept: int = Field(1000, ge=1, description="Ended jobs of one principal that are kept; then the oldest go.")
    max_open: int = Field(10_000, ge=1, description="Jobs that have not ended.")
    max_open_per_principal: int = Field(1000, ge=1, description="Jobs of one principal that have not ended.")
    max_data: int = Field(256 * 1024, ge=1, le=16 * 1024 * 1024, description="Bytes of a job's data.")
    max_result: int = Field(
        512 * 1024, ge=1, le=16 * 1024 * 1024, description="Bytes of a result; a job that gives more has failed."
    )
    max_watches: int = Field(1000, ge=1, description="Watches that a server has at once.")
    lease: float = Field(
        15.0,
        ge=0.5,
        le=3600,
        allow_inf_nan=False,
        description="Seconds after which the jobs of a silent server go to others, or to itself restarted.",
    )

    @field_validator("queue")
    @classmethod
    def _usable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        missing = [name for name in ("jackfield_redis", "saq") if find_spec(name) is None]
        if missing:
            raise ValueError(f'{" and ".join(missing)} must be installed: pip install "jackfield-jobs[redis]"')
        check: Callable[[SecretStr], SecretStr] = import_module("jackfield_redis").check_url
        return check(value)
