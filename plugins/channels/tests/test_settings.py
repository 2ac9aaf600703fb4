"""What can be configured."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

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
