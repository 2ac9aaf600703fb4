"""What can be configured."""

from __future__ import annotations

import sys

import pytest
from pydantic import ValidationError

from jackfield_idempotency.settings import IdempotencySettings


@pytest.mark.parametrize("name", ["window", "max_keys", "lease"])
def test_no_limit_is_zero(name):
    """A plugin that can do nothing is a mistake; only that no result is kept makes sense."""
    with pytest.raises(ValidationError, match="greater than"):
        IdempotencySettings.model_validate({name: 0})
    assert IdempotencySettings.model_validate({"max_result": 0}).max_result == 0


def test_a_mistyped_key_is_a_mistake():
    """It would be a limit that does not hold."""
    with pytest.raises(ValidationError, match="windwo"):
        IdempotencySettings.model_validate({"windwo": 1})


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://h:port", "redis://:hunter2@[::1"])
def test_addresses_are_looked_at(url):
    """The message holds nothing of what may be a password."""
    with pytest.raises(ValidationError, match="it is no address of Redis, such as redis://:password@host:6379/0") as no:
        IdempotencySettings.model_validate({"redis_url": url})
    assert "hunter" not in str(no.value.errors(include_input=False))


def test_an_empty_address_is_none():
    """As from a variable that is not set."""
    assert IdempotencySettings.model_validate({"redis_url": ""}).redis_url is None


def test_a_missing_package_is_named(monkeypatch):
    """With the command that installs it; whoever has no Redis needs none."""
    monkeypatch.setitem(sys.modules, "jackfield_redis", None)
    with pytest.raises(ValidationError, match=r'pip install "jackfield-idempotency\[redis\]"'):
        IdempotencySettings.model_validate({"redis_url": "redis://localhost"})
    assert IdempotencySettings.model_validate({}).redis_url is None
