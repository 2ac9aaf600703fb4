"""What is different between two contracts, and which of it breaks callers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from jackfield._cli.contract.document import Document, FunctionContract, Schema
from jackfield._cli.contract.inclusion import Inclusion, Role
from jackfield._cli.contract.rules import RULES
from jackfield._contract import Kind

_NULL: Final[Schema] = {"type": "null"}
_BROKEN: Final = {
    "input": {
        "absent": "input-field-required",
        "required": "input-field-required",
        "undeclared": "input-field-removed",
        "closed": "input-closed",
        "default": "input-default-changed",
        "": "input-narrowed",
    },
    "output": {
        "absent": "output-field-removed",
        "required": "output-field-optional",
        "undeclared": "output-extended",
        "": "output-widened",
    },
    "event": {"": "event-widened"},
}
"""The rule for a fault of the new schema, by what it is about; the empty one for all others."""
_KEPT: Final = {
    "input": {
        "absent": "input-field-optional",
        "required": "input-field-optional",
        "undeclared": "input-field-added",
        "": "input-widened",
    },
    "output": {"absent": "output-field-added", "": "output-narrowed"},
    "event": {"": "event-narrowed"},
}
"""The same for a new schema without fault, by what the old one would have had."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes:
        rule: The id of its rule, one of `RULES`.
        where: The event, the namespace or the plugin that it is of.
        path: Where in the data it is, outermost first.
        was: What the old contract says, in a few words.
        now: What the new one says.
    """

    rule: str
    where: str
    path: tuple[str, ...] = ()
    was: str = ""
    now: str = ""

    @property
    def breaking(self) -> bool:
        """Whether it breaks callers."""
        return RULES[self.rule].breaking

    @property
    def reason(self) -> str:
        """Why it breaks callers, or does not, in one sentence."""
        return RULES[self.rule].reason

    @property
    def summary(self) -> str:
        """What has changed, and what comes of it, in one line."""
        place = ".".join(self.path)
        change = " → ".join(filter(None, (self.was, self.now)))
        told = ": ".join(filter(None, (place, change)))
        return f"{told}. {self.reason}" if told else self.reason

    def as_dict(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "rule": self.rule,
            "breaking": self.breaking,
            "where": self.where,
            "path": list(self.path),
            "was": self.was,
            "now": self.now,
            "reason": self.reason,
        }


def compare(old: Document, new: Document) -> list[Change]:
    """Return every difference that concerns callers or operators, those that break callers first."""
    found = [*_namespaces(old, new), *_plugins(old, new)]
    gone, come = old.namespaces - new.namespaces, new.namespaces - old.namespaces
    before, after = old.functions, new.functions
    for event in sorted(before.keys() | after.keys()):
        namespace = event.rpartition(".")[0]
        if event not in after:
            found += [] if namespace in gone else [Change("function-removed", event)]
        elif event not in before:
            found += [] if namespace in come else [Change("function-added", event)]
        else:
            found += function_changes(event, before[event], after[event])
    return sorted(dict.fromkeys(found), key=lambda change: not change.breaking)


def function_changes(event: str, old: FunctionContract, new: FunctionContract) -> Iterator[Change]:
    """Yield what is different between two contracts of one function."""
    if old.kind != new.kind:
        # Whoever has to call it otherwise has to look at the data anew as well.
        yield Change("kind-changed", event, was=old.kind, now=new.kind)
        return
    yield from _input(event, old, new)
    yield from _output(event, old, new)
    yield from _errors(event, old, new)
    yield from _access(event, old, new)
    yield from _events(event, old, new)
    yield from _manners(event, old, new)


def _namespaces(old: Document, new: Document) -> Iterator[Change]:
    for namespace in sorted(old.namespaces - new.namespaces):
        yield Change("namespace-removed", namespace)
    for namespace in sorted(new.namespaces - old.namespaces):
        yield Change("namespace-added", namespace)


def _plugins(old: Document, new: Document) -> Iterator[Change]:
    before = {plugin.name: plugin.kernel for plugin in old.plugins if plugin.distribution}
    for plugin in new.plugins:
        was = before.get(plugin.name)
        if was is not None and plugin.distribution and was != plugin.kernel:
            yield Change("kernel-changed", plugin.name, was=was or "any", now=plugin.kernel or "any")


def _input(event: str, old: FunctionContract, new: FunctionContract) -> Iterator[Change]:
    before, after = old.input, new.input
    # A call without data is a call with null.
    was_optional = old.optional or not Inclusion(_NULL, before, "input").faults()
    is_optional = new.optional or not Inclusion(_NULL, after, "input").faults()
    if was_optional and not is_optional:
        yield Change("data-required", event, ("data",), "optional", "required")
    elif is_optional and not was_optional:
        yield Change("data-optional", event, ("data",), "required", "optional")
    if before == _NULL != after and is_optional:
        yield Change("input-widened", event, ("data",), "none", "optional")
    elif before != _NULL:
        yield from _schemas(event, "data", before, after, "input")


def _output(event: str, old: FunctionContract, new: FunctionContract) -> Iterator[Change]:
    yield from _schemas(event, "result", old.output, new.output, "output")


def _events(event: str, old: FunctionContract, new: FunctionContract) -> Iterator[Change]:
    for name in sorted(old.emits.keys() | new.emits.keys()):
        if name not in new.emits:
            yield Change("event-removed", event, (name,))
        elif name not in old.emits:
            yield Change("event-added", event, (name,))
        else:
            yield from _schemas(event, name, old.emits[name], new.emits[name], "event")


def _schemas(event: str, top: str, old: Schema, new: Schema, what: str) -> Iterator[Change]:
    """Yield what is different between two schemas.

    Args:
        event: The function.
        top: What the whole of the data is called.
        old: The old schema.
        new: The new one.
        what: `input` for what callers send; `output` or `event` for what they get.
    """
    role: Role = "input" if what == "input" else "output"
    sub, sup = (old, new) if role == "input" else (new, old)
    faults = Inclusion(sub, sup, role).faults()
    for fault in faults:
        was, now = (fault.sub, fault.sup) if role == "input" else (fault.sup, fault.sub)
        rule = _BROKEN[what].get(fault.rule, _BROKEN[what][""]) if fault.certain else "cannot-tell"
        yield Change(rule, event, (top, *fault.path), was, now)
    for fault in [] if faults else Inclusion(sup, sub, role).faults():
        was, now = (fault.sup, fault.sub) if role == "input" else (fault.sub, fault.sup)
        yield Change(_KEPT[what].get(fault.rule, _KEPT[what][""]), event, (top, *fault.path), was, now)


def _errors(event: str, old: FunctionContract, new: FunctionContract) -> Iterator[Change]:
    for code in _beyond(new.errors, old.errors):
        yield Change("error-added", event, now=code)
    for code in _beyond(old.errors, new.errors):
        yield Change("error-removed", event, was=code)


def _access(event: str, old: FunctionContract, new: FunctionContract) -> Iterator[Change]:
    if old.requires is None or new.requires is None:
        if new.requires is not None:
            yield Change("access-opened", event, was="nobody", now=_scopes(new.requires))
        elif old.requires is not None:
            yield Change("access-closed", event, was=_scopes(old.requires), now="nobody")
        return
    for scope in _beyond(new.requires, old.requires):
        yield Change("scope-added", event, now=scope)
    for scope in _beyond(old.requires, new.requires):
        yield Change("scope-removed", event, was=scope)


def _manners(event: str, old: FunctionContract, new: FunctionContract) -> Iterator[Change]:
    """Yield what is different in how calls run."""
    if old.ordered != new.ordered:
        yield Change("order-added" if new.ordered else "order-lost", event)
    if old.detached != new.detached:
        yield Change("detached-added" if new.detached else "detached-lost", event)
    yield from _deadline(event, old, new)
    if old.deprecated is None and new.deprecated is not None:
        yield Change("deprecated", event, now=new.deprecated)
    if old.deprecated is not None and new.deprecated is None:
        yield Change("undeprecated", event, was=old.deprecated)


def _deadline(event: str, old: FunctionContract, new: FunctionContract) -> Iterator[Change]:
    before, after = old.timeout, new.timeout
    if before == after:
        return
    was, now = _seconds(before), _seconds(after)
    if None in (before, after) and old.kind is Kind.UNARY:
        # What an operator allows where the author says nothing is in no contract.
        yield Change("cannot-tell", event, ("timeout",), was, now)
        return
    shorter = before is None or (after is not None and after < before)
    yield Change("deadline-shortened" if shorter else "deadline-lengthened", event, was=was, now=now)


def _seconds(timeout: float | None) -> str:
    return "not said" if timeout is None else f"{timeout:g} s"


def _scopes(scopes: Iterable[str]) -> str:
    return " and ".join(scopes) or "everybody who is known"


def _beyond(some: Iterable[str], others: Iterable[str]) -> list[str]:
    known = set(others)
    return [one for one in dict.fromkeys(some) if one not in known]
