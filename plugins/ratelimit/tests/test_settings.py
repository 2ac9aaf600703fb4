"""Mistakes in the settings, and none."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from jackfield_ratelimit.plugin import jackfield_abstain
from jackfield_ratelimit.settings import RatelimitSettings


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({}, "rate"),
        ({"rate": 0}, "greater than or equal to"),
        ({"rate": -1}, "greater than or equal to"),
        ({"rate": float("nan")}, "finite"),
        ({"rate": float("inf")}, "finite"),
        ({"rate": 1e9}, "less than or equal to 100000"),
        ({"rate": 1, "burst": 0}, "greater than or equal to 1"),
        ({"rate": 1, "burst": 1.5}, "integer"),
        ({"rate": 1, "per": "user"}, "'principal'"),
        ({"rate": 1, "functions": []}, "at least 1"),
        ({"rate": 1, "funktions": "*"}, "not permitted"),
        ({"rate": 1, "inside": True}, 'needs per = "function", "plugin" or "server", not "principal"'),
    ],
)
def test_a_rule_that_is_none_is_refused(rule, message):
    """With what is wrong with it."""
    with pytest.raises(ValidationError, match=message):
        RatelimitSettings.model_validate({"rules": [rule]})


def test_a_burst_that_is_left_out_is_a_second_long():
    """At least one call, or nobody would ever be let in."""
    rules = RatelimitSettings.model_validate({"rules": [{"rate": 0.1}, {"rate": 2.5}, {"rate": 7, "burst": 1}]}).rules
    assert [rule.size for rule in rules] == [1, 3, 1]


def test_what_is_not_needed_takes_no_part():
    """Without rules calls do not come by, and cost nothing; without Redis there is nothing to say about it."""
    rules = [{"rate": 1}]
    redis: dict[str, object] = {"redis_url": "redis://localhost"}
    cases: list[dict[str, object]] = [{}, redis, {"rules": rules}, {"rules": rules, **redis}]
    absent = [set(jackfield_abstain(RatelimitSettings.model_validate(case))) for case in cases]
    both = {"jackfield_admit", "jackfield_health"}
    assert absent == [both, both, {"jackfield_health"}, set()]
