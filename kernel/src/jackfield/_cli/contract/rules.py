"""The rules by which a change of a contract breaks its callers, or does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of change.

    Attributes:
        breaking: Whether callers who keep to the old contract may fail with the new one.
        reason: Why, in one sentence.
    """

    breaking: bool
    reason: str


RULES: Final = {
    "namespace-removed": Rule(True, "Every call to it is answered with not_found."),
    "function-removed": Rule(True, "Calls to it are answered with not_found."),
    "kind-changed": Rule(True, "Who sends a stream is a part of how a function is called."),
    "data-required": Rule(True, "Calls without data, which were answered, are refused."),
    "input-field-required": Rule(True, "Callers who leave the field out are refused."),
    "input-field-removed": Rule(True, "What callers send in the field is refused, or ignored in silence."),
    "input-closed": Rule(True, "Callers who send a field that was ignored are refused."),
    "input-narrowed": Rule(True, "Callers may send what was allowed and is refused now."),
    "input-default-changed": Rule(True, "Callers who leave the field out get something else than before."),
    "output-field-removed": Rule(True, "Callers who read the field do not find it."),
    "output-field-optional": Rule(True, "Callers who read the field may not find it."),
    "output-extended": Rule(True, "The old contract says that there are no other fields."),
    "output-widened": Rule(True, "Callers may get what they were never told of."),
    "error-added": Rule(True, "Callers may get an error that they were not told of."),
    "scope-added": Rule(True, "Callers without the scope are refused."),
    "access-closed": Rule(True, "Nobody may call it until an operator says who."),
    "event-removed": Rule(True, "Callers who wait for the event wait in vain."),
    "event-widened": Rule(True, "Callers may get data with the event that they were never told of."),
    "order-lost": Rule(True, "Calls of one connection run side by side, and may overtake one another."),
    "detached-lost": Rule(True, "A call ends with the connection of its caller, and may stop half-way."),
    "deadline-shortened": Rule(True, "Calls that had the time fail with deadline_exceeded."),
    "cannot-tell": Rule(True, "It cannot be decided whether the new contract keeps what the old one promised."),
    "namespace-added": Rule(False, "Nobody calls it yet."),
    "function-added": Rule(False, "Nobody calls it yet."),
    "data-optional": Rule(False, "Calls with data are answered as before."),
    "input-field-added": Rule(False, "Callers may leave the field out."),
    "input-field-optional": Rule(False, "Callers may send the field as before."),
    "input-widened": Rule(False, "What callers send is still taken, and more is."),
    "output-field-added": Rule(False, "Callers who do not know the field pass over it."),
    "output-narrowed": Rule(False, "Callers are ready for all that they get."),
    "error-removed": Rule(False, "Callers are ready for an error that does not come."),
    "scope-removed": Rule(False, "Callers need less than they have."),
    "access-opened": Rule(False, "Callers who were refused are let in."),
    "event-added": Rule(False, "Nobody waits for the event yet."),
    "event-narrowed": Rule(False, "Callers are ready for all that comes with the event."),
    "order-added": Rule(False, "Calls of one connection wait for one another, and are answered as before."),
    "detached-added": Rule(False, "A call goes on when its caller leaves."),
    "deadline-lengthened": Rule(False, "Calls have more time than before."),
    "deprecated": Rule(False, "It works as before, and its author asks for another to be used."),
    "undeprecated": Rule(False, "It may be used again."),
    "kernel-changed": Rule(False, "Operators need another jackfield; callers see nothing of it."),
}
"""By their ids, which stay the same from version to version."""
