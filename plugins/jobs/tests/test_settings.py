"""What can be configured."""

from __future__ import annotations

import sys

import pytest
from pydantic import ValidationError

from jackfield_jobs.settings import JobsSettings


@pytest.mark.parametrize(
    "name",
    [
        *("timeout", "attempts", "keep", "max_kept", "max_open", "max_open_per_principal", "max_data", "max_result"),
        *("max_watches", "lease"),
    ],
)
def test_no_limit_is_zero(name):
    """A plugin that can do nothing is a mistake; only that a server runs no jobs itself makes sense."""
    with pytest.raises(ValidationError, match="greater than"):
        JobsSettings.model_validate({name: 0})
    assert JobsSettings.model_validate({"running": 0}).running == 0


def test_a_mistyped_key_is_a_mistake():
    """It would be a limit that does not hold."""
    with pytest.raises(ValidationError, match="max_opne"):
        JobsSettings.model_validate({"max_opne": 1})


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://h:port", "redis://:hunter2@[::1"])
def test_addresses_are_looked_at(url):
    """The message holds nothing of what may be a password."""
    with pytest.raises(ValidationError, match="it is no address of Redis, such as redis://:password@host:6379/0") as no:
        JobsSettings.model_validate({"queue": url})
    assert "hunter" not in str(no.value.errors(include_input=False))


def test_an_empty_address_is_none():
    """As from a variable that is not set."""
    assert JobsSettings.model_validate({"queue": ""}).queue is None


@pytest.mark.parametrize("name", ["jackfield_redis", "saq"])
def test_a_missing_package_is_named(monkeypatch, name):
    """With the command that installs it; whoever has no Redis needs none."""
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValidationError, match=rf'{name} must be installed: pip install "jackfield-jobs\[redis\]"'):
        JobsSettings.model_validate({"queue": "redis://localhost"})
    assert JobsSettings.model_validate({}).queue is None


@pytest.mark.parametrize("name", ["", "jobs*", "a b", "{jobs}"])
def test_a_name_of_a_queue_is_plain(name):
    """It is a part of a pattern."""
    with pytest.raises(ValidationError, match="queue_name"):
        JobsSettings.model_validate({"queue_name": name})
