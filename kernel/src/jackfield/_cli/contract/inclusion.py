"""Is every value of one JSON Schema a value of another? For the part of JSON Schema that pydantic writes.

`Inclusion(sub, sup)` looks for values of `sub` that `sup` does not take. It never says that there are none where there
are: what it cannot decide, such as two different regular expressions, is a fault that is not `certain`.

Three readings differ from the letter of JSON Schema, since they are what pydantic and the wire do:

* An object that says nothing of further properties (`extra="ignore"`) is sent with those alone that it declares, and
  taken with any others, which are ignored. So a new optional property takes nothing away.
* `format: binary` is a Buffer, and no string.
* Other formats are more than a remark: a text that is no date is refused where a date is wanted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from math import ceil, floor
from typing import Any, Final, Literal, TypeAlias

from jackfield._cli.contract.shapes import (
    ANYTHING,
    TEXT,
    Fault,
    Node,
    Path,
    Reader,
    Schema,
    accepts,
    key_of,
    values_of,
)

Role: TypeAlias = Literal["input", "output"]
"""Whether values are what callers send, or what they get."""

_SIZES: Final = {
    "string": ("minLength", "maxLength", "long"),
    "buffer": ("minLength", "maxLength", "bytes long"),
    "array": ("minItems", "maxItems", "items"),
    "object": ("minProperties", "maxProperties", "properties"),
}
_FEW: Final[Mapping[str, list[Any]]] = {"null": [None], "boolean": [False, True]}
_NAMES: Final = {"buffer": "Buffer"}
_WORDS: Final = {
    "pattern": "pattern",
    "format": "format",
    "contentMediaType": "content",
    "contentEncoding": "encoding",
}
_CHOOSY: Final = frozenset({"pattern", "format", "minLength", "maxLength"})
"""Where a string is none of these every pattern takes something away."""
_INFINITE: Final = float("inf")


class Inclusion:
    """Looks for values of one schema that another does not take.

    Args:
        sub: The schema whose values are looked at, with its `$defs`.
        sup: The schema that is to take them, with its own.
        role: For an input `sub` is what callers were promised, for an output what they get now.
    """

    def __init__(self, sub: Schema, sup: Schema, role: Role) -> None:
        self._sub, self._sup = Reader(sub), Reader(sup)
        self._roots = sub, sup
        self._role = role
        self._held: set[tuple[str, int, int]] = set()
        self._failed: dict[tuple[str, int, int], list[Fault]] = {}

    def faults(self) -> list[Fault]:
        """Return where `sub` has values that `sup` does not take, or may have; nothing where it has none."""
        if key_of(self._roots[0]) == key_of(self._roots[1]):  # for Python, 1 and true are one value
            return []
        try:
            return list(dict.fromkeys(self._compare(*self._roots, ())))
        except RecursionError:
            return [Fault((), "type", "nested too deeply", "nested too deeply", certain=False)]

    def _compare(self, sub: Node, sup: Node, path: Path) -> list[Fault]:
        wanted = self._sup.branches(sup)
        return [fault for branch in self._sub.branches(sub) for fault in self._branch(branch, wanted, path)]

    def _branch(self, sub: Schema, wanted: list[Schema], path: Path) -> list[Fault]:
        """Compare one alternative of `sub` with all those of `sup`, one of which has to take it."""
        if sub is ANYTHING:
            free = any(one is ANYTHING for one in wanted)
            return [] if free else [Fault(path, "type", "anything", self._sup.brief(wanted))]
        values = values_of(sub)
        if values is not None:
            return self._values(values, wanted, path)
        return [fault for kind in self._sub.types(sub) for fault in self._kind(kind, sub, wanted, path)]

    def _values(self, values: Iterable[Any], wanted: list[Schema], path: Path) -> list[Fault]:
        found = []
        for value in values:
            answers = [accepts(value, one, self._sup) for one in wanted]
            if True not in answers:
                found.append(Fault(path, "value", key_of(value), self._sup.brief(wanted), certain=None not in answers))
        return found

    def _kind(self, kind: str, sub: Schema, wanted: list[Schema], path: Path) -> list[Fault]:
        if kind in _FEW:
            return self._values(_FEW[kind], wanted, path)
        of_kind = [one for one in wanted if self._sup.takes(kind, one)]
        if not of_kind:
            return [Fault(path, "type", _NAMES.get(kind, kind), self._sup.brief(wanted))]
        attempts = []
        for one in of_kind:
            attempt = self._attempt(kind, sub, one, path)
            if not attempt:
                return []
            attempts.append(attempt)
        if len(attempts) == 1:
            return attempts[0]
        # Where the alternatives have tags one is meant; else several may take together what none takes alone.
        tagged = [any(fault.rule == "value" and fault.certain for fault in attempt) for attempt in attempts]
        if tagged.count(False) == 1:
            return attempts[tagged.index(False)]
        return [Fault(path, "type", self._sub.brief([sub]), self._sup.brief(of_kind), certain=all(tagged))]

    def _attempt(self, kind: str, sub: Schema, sup: Schema, path: Path) -> list[Fault]:
        """Compare two alternatives. A pair that is met again within itself holds, if all else in it does."""
        pair = kind, id(sub), id(sup)
        if pair in self._held:
            return []
        if pair in self._failed:
            return self._failed[pair]
        before = set(self._held)
        self._held.add(pair)
        found = self._same_kind(kind, sub, sup, path)
        if found:  # what was found to hold on the way may have been so on the strength of this pair
            self._held = before
            self._failed[pair] = found
        return found

    def _same_kind(self, kind: str, sub: Schema, sup: Schema, path: Path) -> list[Fault]:
        if sup is ANYTHING:
            return []
        values = values_of(sup)
        if values is not None:
            return [Fault(path, "value", self._sub.brief([sub]), self._sup.brief([sup]))]
        found = [
            Fault(path, "keyword", f"{keyword!r} of one kind", f"{keyword!r} of another", certain=False)
            for keyword in self._sup.undecidable(sup)
        ]
        if kind in ("integer", "number"):
            return found + list(_numbers(kind, sub, sup, path))
        found += _size(kind, self._smallest(kind, sub), self._largest(kind, sub), sup, path)
        if kind == "string":
            found += _words(sub, sup, path)
        elif kind == "array":
            found += self._arrays(sub, sup, path)
        elif kind == "object":
            found += self._objects(sub, sup, path)
        return found

    # --- how long, how many ---

    def _smallest(self, kind: str, schema: Schema) -> int:
        least = int(schema.get(_SIZES[kind][0], 0))
        return max(least, len(schema.get("required", ()))) if kind == "object" else least

    def _largest(self, kind: str, schema: Schema) -> float:
        most = float(schema.get(_SIZES[kind][1], _INFINITE))
        if kind == "object" and _open(schema) in (None, False) and "patternProperties" not in schema:
            most = min(most, len(schema.get("properties", ())))
        if kind == "array" and schema.get("items") is False:
            most = min(most, len(schema.get("prefixItems", ())))
        return most

    # --- arrays ---

    def _arrays(self, sub: Schema, sup: Schema, path: Path) -> Iterator[Fault]:
        most = self._largest("array", sub)
        if sup.get("uniqueItems") and not sub.get("uniqueItems") and most > 1:
            yield Fault(path, "size", "an array that may repeat items", "an array of different items")
        places = max(len(sub.get("prefixItems", ())), len(sup.get("prefixItems", ())))
        for index in range(places):
            if index < most:
                yield from self._compare(_item(sub, index), _item(sup, index), (*path, str(index)))
        if places < most:
            yield from self._compare(_item(sub, places), _item(sup, places), (*path, "[]"))

    # --- objects ---

    def _objects(self, sub: Schema, sup: Schema, path: Path) -> Iterator[Fault]:
        required = set(sub.get("required", ()))
        has, wants = sub.get("properties", {}), sup.get("properties", {})
        for name in sup.get("required", ()):
            if name not in required:
                gone = name not in has
                yield Fault(
                    (*path, name), "absent" if gone else "required", "absent" if gone else "optional", "required"
                )
        for name, inner in has.items():
            yield from self._property(name, inner, sup, (*path, name))
        for name, inner in wants.items():
            if name not in has:
                yield from self._undeclared(name, inner, sub, sup, (*path, name))
        yield from self._further(sub, sup, path)
        if "propertyNames" in sup:
            yield from self._names(sub, sup, path)

    def _property(self, name: str, inner: Node, sup: Schema, path: Path) -> Iterator[Fault]:
        """Compare a property that `sub` declares with what `sup` says of it."""
        wants = sup.get("properties", {})
        if name in wants:
            yield from self._compare(inner, wants[name], path)
            yield from _default(inner, wants[name], self._role, path)
        elif "patternProperties" in sup:
            yield Fault(path, "name", "declared", "a key that has to match a pattern", certain=False)
        elif (further := _open(sup)) is False:
            yield Fault(path, "undeclared", "declared", "not allowed")
        elif further is not None:
            yield from self._compare(inner, further, path)
        elif self._role == "input":
            yield Fault(path, "undeclared", "declared", "ignored")

    def _undeclared(self, name: str, inner: Node, sub: Schema, sup: Schema, path: Path) -> Iterator[Fault]:
        """Compare what `sub` allows under a name that `sup` alone declares."""
        if "patternProperties" in sub:
            yield Fault(path, "name", "a key that has to match a pattern", "declared", certain=False)
        elif (further := _open(sub)) not in (None, False):
            yield from self._compare(further, inner, path)
        elif self._role == "output" and name not in sup.get("required", ()):
            yield Fault(path, "absent", "absent", "optional")

    def _further(self, sub: Schema, sup: Schema, path: Path) -> Iterator[Fault]:
        """Compare what both say of properties that they do not declare."""
        further, taken = _open(sub), _open(sup)
        patterns, wanted = sub.get("patternProperties", {}), sup.get("patternProperties", {})
        inside = (*path, "{}")
        for pattern, inner in patterns.items():
            if pattern in wanted:
                yield from self._compare(inner, wanted[pattern], inside)
            elif wanted or sup.get("properties"):
                yield Fault(path, "name", f"keys that match {pattern}", "other keys", certain=False)
            elif taken is not None:
                yield from self._compare(inner, taken, inside)
        if further is None:
            if taken is False and not patterns and self._role == "input":
                yield Fault(path, "closed", "ignored", "refused")
        elif further is not False:
            if wanted:
                yield Fault(path, "name", "any key", f"keys that match {' or '.join(wanted)}", certain=not patterns)
            elif taken is not None:
                yield from self._compare(further, taken, inside)
            elif self._role == "input" and "properties" in sup:
                yield Fault(inside, "undeclared", "declared", "ignored")

    def _names(self, sub: Schema, sup: Schema, path: Path) -> Iterator[Fault]:
        rule = sup["propertyNames"]
        if "propertyNames" in sub:
            yield from self._compare(sub["propertyNames"], rule, (*path, "{key}"))
        elif _open(sub) in (None, False) and "patternProperties" not in sub:
            yield from self._values(sub.get("properties", {}), self._sup.branches(rule), (*path, "{key}"))
        else:
            yield from self._compare(TEXT, rule, (*path, "{key}"))


def _open(schema: Schema) -> Node | None:
    """Return what is said of properties that are not declared; None where nothing is."""
    further: Node | None = schema.get("additionalProperties")
    return further


def _item(schema: Schema, index: int) -> Node:
    first = schema.get("prefixItems", ())
    inner: Node = first[index] if index < len(first) else schema.get("items", True)
    return inner


def _default(sub: Node, sup: Node, role: Role, path: Path) -> Iterator[Fault]:
    """Compare what a field is for those who leave it out."""
    if role == "output" or not isinstance(sub, Mapping) or not isinstance(sup, Mapping):
        return
    if "default" in sub and "default" in sup and key_of(sub["default"]) != key_of(sup["default"]):
        yield Fault(path, "default", key_of(sub["default"]), key_of(sup["default"]))


def _size(kind: str, least: int, most: float, sup: Schema, path: Path) -> Iterator[Fault]:
    low, high, unit = _SIZES[kind]
    if least < sup.get(low, 0):
        yield Fault(path, "size", f"at least {least} {unit}", f"at least {sup[low]} {unit}")
    if most > sup.get(high, _INFINITE):
        was = "without a limit" if most == _INFINITE else f"at most {most:g} {unit}"
        yield Fault(path, "size", was, f"at most {sup[high]} {unit}")


def _words(sub: Schema, sup: Schema, path: Path) -> Iterator[Fault]:
    for keyword, name in _WORDS.items():
        wants, has = sup.get(keyword), sub.get(keyword)
        if wants is not None and has != wants:
            was = "any string" if has is None else f"{name} {has}"
            # Of two patterns nobody can tell in general, nor of a pattern and a format.
            certain = keyword != "pattern" or not _CHOOSY & sub.keys()
            yield Fault(path, name, was, f"{name} {wants}", certain=certain)


def _numbers(kind: str, sub: Schema, sup: Schema, path: Path) -> Iterator[Fault]:
    step, has = sup.get("multipleOf"), sub.get("multipleOf")
    whole = kind == "integer"
    if sup.get("type") == "integer" and not whole and not _divides(1, has):
        yield Fault(path, "type", "number", "integer")
    if step is not None and not _divides(step, has) and not (whole and _divides(step, 1)):
        was = f"a multiple of {has}" if has is not None else "any number"
        yield Fault(path, "bound", was, f"a multiple of {step}")
    for low, word in ((True, "at least"), (False, "at most")):
        wants, limit = _bound(sup, low=low, whole=whole), _bound(sub, low=low, whole=whole)
        if wants is not None and (limit is None or (limit < wants if low else limit > wants)):
            yield Fault(path, "bound", "any number" if limit is None else _text(limit, word), _text(wants, word))


_Bound: TypeAlias = tuple[Fraction, int]
"""A number, and where the first one that is allowed lies: on it (0), a hair above (1) or below (-1)."""


def _bound(schema: Schema, *, low: bool, whole: bool) -> _Bound | None:
    """Return the tighter of both bounds on one side."""
    inclusive, exclusive = ("minimum", "exclusiveMinimum") if low else ("maximum", "exclusiveMaximum")
    beside = 1 if low else -1
    found: list[_Bound] = []
    if inclusive in schema:
        found.append((Fraction(str(schema[inclusive])), 0))
    if exclusive in schema:
        found.append((Fraction(str(schema[exclusive])), beside))
    if whole:
        found = [(_whole(number, side, beside), 0) for number, side in found]
    return (max(found) if low else min(found)) if found else None


def _whole(number: Fraction, side: int, beside: int) -> Fraction:
    """Return the first whole number within a bound."""
    nearest = Fraction(ceil(number) if beside > 0 else floor(number))
    return nearest + side if nearest == number else nearest


def _text(bound: _Bound, word: str) -> str:
    number, beside = bound
    said = word if beside == 0 else "more than" if beside > 0 else "less than"
    return f"{said} {float(number):g}"


def _divides(step: Any, number: Any) -> bool:
    return number is not None and (Fraction(str(number)) / Fraction(str(step))).denominator == 1
