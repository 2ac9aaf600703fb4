"""What judges the scenarios: a comparison that overlooks something would make every client look well."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.packing import pack
from tests.interop.scenario import (
    Between,
    Holding,
    Packed,
    Scenario,
    Text,
    call,
    emit,
    error,
    from_neutral,
    hear,
    internal,
    to_neutral,
)
from tests.interop.scenarios import ALL

GZIP = pack({"a": [1]}, "gzip")

ALIKE: list[tuple[Any, Any]] = [
    (None, None),
    (1, 1.0),
    ("ü", "ü"),
    (b"x", b"x"),
    ({"a": [1, {"b": b""}]}, {"a": [1, {"b": b""}]}),
    (Text("^a+$"), "aaa"),
    (Between(1, 2), 1.5),
    (Holding({"a": 1}), {"a": 1, "b": 2}),
    (Packed("gzip", {"a": [1]}), GZIP),
    (Packed("base64+gzip", {"a": [1]}), pack({"a": [1]}, "base64+gzip")),
    (error("canceled", "gone", id=0), {"error": {"code": "canceled", "message": "It is gone."}, "id": 0}),
]

DIFFERENT: list[tuple[Any, Any]] = [
    (None, 0),
    (None, False),
    (1, True),
    (0, False),
    (True, 1),
    (1, "1"),
    (1, 2),
    ("x", b"x"),
    (b"x", "x"),
    ([1], [1, 2]),
    ([1, 2], [1]),
    ([], None),
    ([], {}),
    ({"a": 1}, {"a": 1, "b": 2}),
    ({"a": 1, "b": 2}, {"a": 1}),
    ({"a": [1, {"b": 1}]}, {"a": [1, {"b": 2}]}),
    (Text("^a+$"), "b"),
    (Text(""), None),
    (Text("1"), 1),
    (Between(1, 2), 3),
    (Between(0, 2), True),
    (Between(1, 2), None),
    (Holding({"a": 1}), {"b": 2}),
    (Holding({"a": 1}), [1]),
    (Packed("gzip", {"a": [1]}), GZIP[:-1]),
    (Packed("gzip", {"a": [2]}), GZIP),
    (Packed("gzip", {"a": [1]}), {"a": [1]}),
    (Packed("gzip", {"a": [1]}), pack({"a": [1]}, "base64+gzip")),
    (error("canceled", "gone"), {"error": {"code": "canceled", "message": "gone"}, "id": 0}),
    (error("canceled", "gone", id=0), {"error": {"code": "canceled", "message": "gone"}}),
    (error("canceled", "gone", id=0), {"error": {"code": "canceled", "message": "gone"}, "id": False}),
    (error("canceled", "gone"), {"error": {"code": "canceled", "message": "gone", "details": []}}),
    (error("canceled", "gone"), {"data": None, "error": {"code": "canceled", "message": "gone"}}),
    (internal(), {"error": {"code": "internal", "message": "oops", "error_id": "0" * 16}}),
    (internal(), {"error": {"code": "internal", "message": f"Something went wrong in the server (error {'0' * 16})."}}),
]


def _report(*seen: Any, left: list[Any] | None = None) -> dict[str, Any]:
    return {"name": "x", "seen": to_neutral(list(seen)), "left": to_neutral(left or [])}


@pytest.mark.parametrize(("expected", "seen"), ALIKE)
def test_what_is_alike_passes(expected: Any, seen: Any) -> None:
    """What was expected is no fault."""
    assert Scenario("x", "0", (call(1, expected),)).faults(_report([seen])) == []


@pytest.mark.parametrize(("expected", "seen"), DIFFERENT)
def test_what_differs_is_a_fault(expected: Any, seen: Any) -> None:
    """Anything else is a fault, which names the step."""
    (fault,) = Scenario("x", "0", (call(1, expected),)).faults(_report([seen]))
    assert fault.startswith("step 1 (call)[0]")


@pytest.mark.parametrize("arguments", [[], [1, 1], [[1]], None])
def test_an_acknowledgement_has_one_argument(arguments: Any) -> None:
    """A reply is one argument, not none and not two."""
    assert Scenario("x", "0", (call(1, 1),)).faults(_report(arguments)) != []


def test_an_event_that_nobody_waited_for_is_a_fault() -> None:
    """Silence is expected wherever nothing else is."""
    scenario = Scenario("x", "0", (emit(1), hear("message", 1)))
    assert scenario.faults(_report(None, [1])) == []
    (fault,) = scenario.faults(_report(None, [1], left=[["message", 2]]))
    assert fault.startswith("events that nobody waited for")


def test_a_runner_that_gave_up_is_a_fault() -> None:
    """So is a connection that was let in where it was to be refused, and the reverse."""
    failed = {"name": "x", "seen": [], "failed": "step 1: the connection ended"}
    assert Scenario("x", "0", (call(1, 1),)).faults(failed) == ["step 1: the connection ended"]
    assert Scenario("x", "0", refused={"message": "No."}).faults(_report()) != []
    assert Scenario("x", "0", refused={"message": "No."}).faults({"name": "x", "refused": {"message": "No."}}) == []
    assert Scenario("x", "0").faults({"name": "x", "seen": [], "refused": {"message": "No."}}) != []


def test_the_neutral_notation_loses_nothing() -> None:
    """Buffers survive the way to a runner and back."""
    value = {"a": [b"\x00\xff", b"", {"b": "x", "c": None}], "d": "$buffer"}
    assert from_neutral(to_neutral(value)) == value


def test_each_scenario_has_a_name_of_its_own() -> None:
    """A failing test names one scenario."""
    names = [scenario.name for scenario in ALL]
    assert sorted(names) == sorted(set(names))
