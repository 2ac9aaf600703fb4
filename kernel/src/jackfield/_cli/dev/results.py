"""What functions return, yield and emit, looked at more closely than a server in production has the time for.

In production pydantic takes an instance of a model for valid, whatever was done to its fields since, and nobody looks
at what is emitted. Here both are looked at; what does not fit is told, and sent as it would be anyway.
"""

from __future__ import annotations

import logging
from typing import Any, Final, Literal

import orjson
from pydantic import ValidationError
from pydantic_core import CoreSchema, ErrorDetails, SchemaSerializer, SchemaValidator

from jackfield import _json
from jackfield._contract import Contract, Kind
from jackfield._errors import Detail, EncodeError
from jackfield._json import Json
from jackfield._plugins import Served
from jackfield._schema import OPAQUE, serializer, validator

_MANY: Final = 5
"""Faults of one value that are told."""
_SHOWN: Final = 80
_NOT_TWICE: Final = ("function-", "json", "custom-error")
"""How the kinds of schemas begin for which what came out need not be fit to go in again, as with Base64Bytes."""

log: Final = logging.getLogger("jackfield.dev")


class Misfit(EncodeError):
    """A result that cannot be sent, for it is not what its function promises.

    Args:
        text: Which function it is of, and where that is.
        what: What does not fit.
        details: The same as one entry a fault, if pydantic knows of any.
    """

    def __init__(self, text: str, what: str, details: list[Detail]) -> None:
        self.text = text
        self.details = details
        super().__init__(f"{text}: {what}")

    @property
    def told(self) -> str:
        """What the caller is told, to whom the details go too."""
        return f"{self.text}, see details." if self.details else str(self)


class CheckedContract(Contract):
    """A contract that looks at results closely, and at what is emitted.

    Args:
        served: The function.

    Attributes:
        where: The function's name, its file and its line.
    """

    def __init__(self, served: Served) -> None:
        self._results: list[CoreSchema] = []
        self._told: set[object] = set()
        super().__init__(served.function.handler, served.function.emits)
        self.where = self._where
        self._event = served.event
        result, *emitted = self._results
        self._again = validator(_looking_inside(result))
        self._emitted = {
            event: (validator(_looking_inside(schema)), serializer(schema))
            for event, schema in zip(served.function.emits, emitted, strict=True)
        }
        name = "an item" if self.kind in (Kind.SERVER, Kind.BOTH) else "the result"
        self._sentence = f"{self._event}: {name} does not fit what {self._where} promises"
        self.glance = lambda result: None

    def dump(self, result: object, wide: bool = False) -> Json:
        """Return the result as the wire carries it; see `Contract.dump`.

        Raises:
            Misfit: The result is not what the function promised, or cannot be sent.
        """
        try:
            sent = super().dump(result, wide)
        except EncodeError as error:
            faults = _faults(self._again, result)
            what = _written(faults) if faults else str(error)
            raise Misfit(self._sentence, what, [_detail(fault) for fault in faults]) from error
        faults = _faults(self._again, result)
        if faults and self._is_news(faults):
            consequence = "it is sent all the same, for only a look into its models shows it"
            log.warning("%s: %s; %s", self._sentence, _written(faults), consequence)
        return sent

    def check_emitted(self, event: str, data: object, place: str) -> None:
        """Warn if what the function emits is not what it says; where it says nothing, it may be anything.

        Args:
            event: The event.
            data: Its data.
            place: The file and the line where it is emitted.
        """
        if not self._emitted:
            return
        if event not in self._emitted:
            faults, what = [], f"its contract names {' and '.join(map(repr, self._emitted))} only"
        else:
            check, write = self._emitted[event]
            faults = _faults(check, data)
            what = _written(faults) or _difference(check, write, data)
        if what and self._is_news(faults, event, place):
            log.warning(
                "%s emits %r at %s, which does not fit what the function promises: %s; it is sent all the same",
                *(self._event, event, place, what),
            )

    def _adapter(
        self, annotation: object, mode: Literal["validation", "serialization"]
    ) -> tuple[CoreSchema, dict[str, Any]]:
        schema, described = super()._adapter(annotation, mode)
        if mode == "serialization":  # first that of the result, then those of what is emitted
            self._results.append(schema)
        return schema, described

    def _is_news(self, faults: list[ErrorDetails], *more: str) -> bool:
        key = (*more, *((_general(fault["loc"]), fault["type"]) for fault in faults))
        if key in self._told:
            return False
        self._told.add(key)
        return True


def _looking_inside(schema: Any) -> Any:
    """Return a schema by which instances of models are validated as if they were new."""
    if isinstance(schema, list | tuple):
        return type(schema)(map(_looking_inside, schema))
    if not isinstance(schema, dict):
        return schema
    new = {key: value if key in OPAQUE else _looking_inside(value) for key, value in schema.items()}
    if schema.get("type") in ("model", "dataclass") and _goes_in_again(schema["schema"]):
        new["revalidate_instances"] = "always"
        # What an instance holds is under the names of its fields.
        new["config"] = {**schema.get("config", {}), "validate_by_name": True, "validate_by_alias": True}
    return new


def _goes_in_again(schema: Any) -> bool:
    if isinstance(schema, list | tuple):
        return all(map(_goes_in_again, schema))
    if not isinstance(schema, dict):
        return True
    kind = schema.get("type")
    if isinstance(kind, str) and kind.startswith(_NOT_TWICE):
        return False
    return all(key in OPAQUE or _goes_in_again(value) for key, value in schema.items())


def _faults(check: SchemaValidator, value: object) -> list[ErrorDetails]:
    try:
        check.validate_python(value)
    except ValidationError as error:
        return error.errors(include_url=False, include_context=False)
    except Exception:  # noqa: BLE001 - validators of authors may raise anything; production meets the same, or nothing
        return []
    return []


def _difference(check: SchemaValidator, write: SchemaSerializer, data: object) -> str:
    """Return how what is sent differs from what the type would have sent, or nothing."""
    try:
        sent = _json.dumps(data)
        promised = write.to_json(check.validate_python(data), context=[], by_alias=True)
    except Exception:  # noqa: BLE001 - as above
        return ""
    if sent.buffers or orjson.loads(sent.text) == orjson.loads(promised):
        return ""
    return f"it is {_short(sent.text.decode())} where its type is written as {_short(promised.decode())}"


def _written(faults: list[ErrorDetails]) -> str:
    told = [
        f"{'.'.join(map(str, fault['loc'])) or 'all of it'}: {fault['msg']}, and is {_short(repr(fault['input']))} "
        f"[{fault['type']}]"
        for fault in faults[:_MANY]
    ]
    return "; ".join([*told, *([f"{len(faults) - _MANY} more"] if len(faults) > _MANY else [])])


def _detail(fault: ErrorDetails) -> Detail:
    return {"path": list(fault["loc"]), "type": fault["type"], "message": fault["msg"]}


def _general(place: tuple[int | str, ...]) -> tuple[str, ...]:
    """Return a place in a value without the positions in lists, so that a thousand items with one fault are one."""
    return tuple("*" if isinstance(part, int) else part for part in place)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
