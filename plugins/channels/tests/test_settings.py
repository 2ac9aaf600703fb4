"""What can be configured."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from jackfield_channels import settings
from jackfield_channels.settings import ChannelsSettings


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({}, "Field required"),
        ({"match": "orders.*x"}, "The channel 'orders.*x' is refused: a name is letters"),
        ({"match": "a", "histroy": 1}, "Extra inputs are not permitted"),
        ({"match": "a", "history": -1}, "greater than or equal to 0"),
        ({"match": "a", "ttl": 0}, "greater than 0"),
        ({"match": "a", "publish": ["orders write"]}, "a scope is a word without white space, not 'orders write'"),
        ({"match": "a", "publish": [""]}, "a scope is a word without white space, not ''"),
        ({"match": "a", "subscribe": "orders"}, "Input should be a valid"),
        ({"match": "a", "ask": "no function"}, "String should match pattern"),
        ({"match": "a", "ask": "one"}, "String should match pattern"),
        ({"match": "a", "slow": "wait"}, "Input should be 'disconnect' or 'skip'"),
    ],
)
def test_a_rule_that_is_none_is_refused(rule: dict[str, Any], message: str) -> None:
    """With what is wrong in it."""
    with pytest.raises(ValidationError) as error:
        ChannelsSettings.model_validate({"rules": [rule]})
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["max_data", "max_subscriptions", "max_channels", "max_members", "quota", "remember"])
def test_no_limit_is_zero(name: str) -> None:
    """Channels in which nothing fits are a mistake."""
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        ChannelsSettings.model_validate({name: 0})


def test_a_mistyped_key_is_a_mistake() -> None:
    """It would be a limit that does not hold."""
    with pytest.raises(ValidationError, match="max_dat"):
        ChannelsSettings.model_validate({"max_dat": 1})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"store": "redis"}, 'store = "redis" and redis_url go together'),
        ({"store": "redis", "redis_url": ""}, 'store = "redis" and redis_url go together'),
        ({"redis_url": "redis://127.0.0.1"}, 'store = "redis" and redis_url go together'),
        ({"store": "redis", "redis_url": "http://:secret@host"}, "it is no address of Redis, such as redis://"),
        ({"store": "redis", "redis_url": "redis://h", "redis_prefix": "{a}"}, "String should match pattern"),
        ({"store": "redis", "redis_url": "redis://h", "redis_keys": ["short"]}, "at least 16"),
    ],
)
def test_a_redis_that_cannot_be_is_refused(table: dict[str, Any], message: str) -> None:
    """Without the password."""
    with pytest.raises(ValidationError) as error:
        ChannelsSettings.model_validate(table)
    told = str([one["msg"] for one in error.value.errors()])
    assert message in told
    assert "secret" not in told


def test_redis_needs_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which the extra brings."""
    monkeypatch.setattr(settings, "find_spec", lambda _: None)
    with pytest.raises(ValidationError, match=r'pip install "jackfield-channels\[redis\]"'):
        ChannelsSettings.model_validate({"store": "redis", "redis_url": "redis://127.0.0.1"})
