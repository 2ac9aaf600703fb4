"""What a function's signature promises: its kind, what it takes, what it gives.

A contract is compiled once, when its plugin is loaded. A call then only runs what was compiled.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Generator, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final, NoReturn, Protocol, TypeAlias, cast

import orjson
from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, PydanticSerializationError

from jackfield import _json, _shape
from jackfield._errors import CallError, Code, ContractError, Detail, EncodeError
from jackfield._json import Json, Value
from jackfield._schema import rewritten, serializer, validator
from jackfield._shape import FlatModel

Handler = Callable[..., object]

_UNRESOLVED: Final = "import the name outside of `if TYPE_CHECKING:`; annotations are read when the server runs"
_MAX_DETAILS: Final = 50
_MAX_KEY: Final = 64
_MANY_FAULTS: Final = 1000
"""Past this number faults are counted alone: pydantic makes a dictionary of every one, or of none."""
_PLAIN_STREAMS: Final = (Iterator, Generator)
_STREAMS: Final = (AsyncIterator, AsyncIterable, AsyncGenerator)


class Kind(StrEnum):
    """Who sends a stream in a call: nobody, the server, the client, or both."""

    UNARY = "unary"
    SERVER = "server"
    CLIENT = "client"
    BOTH = "both"


class Validate(Protocol):
    """How a contract takes an argument."""

    def __call__(self, data: Value, buffers: bool) -> object:
        """Return the argument as the function's type.

        Args:
            data: The unpacked data of the envelope.
            buffers: Whether it may hold Buffers. Where it holds none, pydantic's rules for JSON apply, so that
                a strict model takes an ISO date.

        Raises:
            CallError: `invalid_argument` with one detail a fault.
        """


Take: TypeAlias = Callable[[Any], object]
Glance: TypeAlias = Callable[[object], bytes | None]


class Contract:
    """The compiled promise of one function.

    Where the client sends a stream, what is said here of the argument is said of each of its items; where the server
    does, what is said of the result.

    Args:
        handler: The author's function: `(call)` or `(call, data)`, every part annotated. Where `data` has a default,
            a call without data gets it.
        emits: The events that it emits, each with the type of its data.

    Raises:
        ContractError: The signature does not say enough, or says what cannot be checked or described.

    Attributes:
        kind: Who sends a stream.
        threaded: Whether it is a plain `def`, which runs in a worker thread.
        takes_data: Whether it has a parameter for the argument.
        optional: Whether a call may leave the argument out.
        input_schema: JSON Schema (2020-12) of the argument.
        output_schema: JSON Schema (2020-12) of the result.
        emits: JSON Schema (2020-12) of the data of each event.
        validate: Takes an argument.
        take: Takes an argument, or raises pydantic's `ValidationError`, upon which `validate` tells the fault; None
            where it takes more to find out whether it is one.
        glance: Gives the text of a result that needs no closer look, and None for any other.
    """

    def __init__(self, handler: Handler, emits: Mapping[str, object] | None = None) -> None:
        self._where = _place(handler)
        hints = self._hints(handler)
        parameters = list(inspect.signature(handler).parameters.values())
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        if not 1 <= len(parameters) <= 2 or any(p.kind not in positional for p in parameters):
            self._refuse("takes (call), (call, data) or (call, items), and nothing else")
        self.takes_data = len(parameters) == 2
        self._default = parameters[1].default if self.takes_data else None
        self.optional = self.takes_data and self._default is not inspect.Parameter.empty
        data_type = self._annotation(handler, hints, parameters[1].name) if self.takes_data else None
        result_type = self._annotation(handler, hints, "return")
        self.kind = _kind(data_type, result_type)
        self.threaded = not inspect.iscoroutinefunction(handler) and not inspect.isasyncgenfunction(handler)
        self._check_kind(handler)
        self._what = "an item" if self.kind in (Kind.SERVER, Kind.BOTH) else "the result"
        data_type, result_type = self._item(data_type), self._item(result_type)
        argument, self.input_schema = self._adapter(data_type, "validation")
        argument_validator = validator(argument)
        self._validate_python = argument_validator.validate_python
        self._validate_json = argument_validator.validate_json
        self.take: Take | None = None
        self.validate: Validate = self._validate
        if self.takes_data and not self.optional and _shape.same_in_both_modes(argument):
            self.take = self._validate_python
            self.validate = _in_python_mode(self._validate_python, self._validate)
        result, self.output_schema = self._adapter(result_type, "serialization")
        self.emits = {event: self._adapter(kind, "serialization")[1] for event, kind in (emits or {}).items()}
        self._validate_result = validator(result).validate_python
        self._to_json = serializer(result).to_json
        self._checks_integers = _shape.holds_integers(result)
        self._checks_floats = _shape.holds_floats(result)
        self._holds_buffers = _shape.holds_buffers(result)
        self._holds_models = _shape.holds_models(result)
        self._is_buffer = _shape.is_buffer(result)
        self.glance: Glance = _no_glance
        flat = None if self._checks_floats else _shape.flat_model(result)
        if flat is not None and (flat.plain or not self._checks_integers):
            self.glance = _at_a_glance(flat, self._to_json)

    def _check_kind(self, handler: Handler) -> None:
        yields = inspect.isasyncgenfunction(handler)
        if yields and self.kind in (Kind.UNARY, Kind.CLIENT):
            self._refuse("yields, so its result is a stream: annotate it as AsyncIterator[…]")
        if inspect.isgeneratorfunction(handler):
            self._refuse("yields in a plain def: a stream is an async def that yields")
        if self.kind in (Kind.SERVER, Kind.BOTH) and not yields:
            self._refuse("promises a stream, but yields nothing: it has to be an async def that yields its items")
        if self.kind is Kind.CLIENT and self.threaded:
            self._refuse("takes a stream in a plain def: it has to be an async def")
        if self.kind in (Kind.CLIENT, Kind.BOTH) and self.optional:
            self._refuse("has a default for its stream; a stream that the client sends may simply be empty")

    def _item(self, annotation: object) -> object:
        """Return the type of a stream's items; of anything else, the type itself."""
        if (typing.get_origin(annotation) or annotation) in _PLAIN_STREAMS:
            self._refuse("has an iterator for a stream that comes with time: write AsyncIterator[…]")
        if (typing.get_origin(annotation) or annotation) not in _STREAMS:
            return annotation
        items = typing.get_args(annotation)
        if not items:
            self._refuse("does not say what its stream is made of: write AsyncIterator[…]")
        return cast(object, items[0])

    def _validate(self, data: Value, buffers: bool) -> object:
        if not self.takes_data:
            if data is not None:
                raise CallError(Code.INVALID_ARGUMENT, "This function takes no data.")
            return None
        if data is None and self.optional:
            return self._default
        try:
            if buffers and _json.holds_buffers(data):
                return self._validate_python(data)
            return self._validate_json(orjson.dumps(data))
        except ValidationError as error:
            raise _invalid(error) from None

    def dump(self, result: object, wide: bool = False) -> Json:
        """Return the result as the wire carries it.

        Args:
            result: What the function returned, or what this has returned before.
            wide: Whether it goes out as MessagePack, which carries integers beyond ±(2^53−1).

        Raises:
            EncodeError: The result is not what the function promised, or cannot be sent.
        """
        plain = self.glance(result)
        if plain is not None:
            return Json(plain)
        if type(result) is Json:  # encoded before, for a plugin that wraps calls
            return result if wide else _json.checked(result.text, list(result.buffers))
        if self._is_buffer and type(result) is bytes:
            return Json(_json.placeholder(0), (result,))
        buffers: list[bytes] = []
        try:
            value = self._validate_result(result)
            if self._holds_models or self._holds_buffers:
                # Pydantic takes an instance for valid, whatever was done to its fields since: it shows here.
                text = self._to_json(value, context=buffers, by_alias=True, warnings="error")
            else:
                text = self._to_json(value, by_alias=True)
        except ValidationError as error:
            raise EncodeError(f"{self._what} is not what the function promises: {_summary(error)}") from None
        except (PydanticSerializationError, RecursionError) as error:
            raise EncodeError(f"{self._what} cannot be sent: {error}") from error
        if self._checks_floats and (b"NaN" in text or b"Infinity" in text):
            _refuse_non_finite(text)
        if self._checks_integers and not wide:
            _json.check_integers(text)
        return _json.paired(text, buffers)

    def _hints(self, handler: Handler) -> Mapping[str, object]:
        try:
            return typing.get_type_hints(handler, include_extras=True)
        except Exception as error:
            raise ContractError(
                f"{self._where}: an annotation cannot be resolved: {error}",
                kind=type(error).__name__,
                hint=_UNRESOLVED if isinstance(error, NameError) else None,
            ) from error

    def _annotation(self, handler: Handler, hints: Mapping[str, object], name: str) -> object:
        if name in hints:
            return hints[name]
        what = "its result" if name == "return" else f"parameter {name!r}"
        wanted = "write the type, or typing.Any for anything at all"
        if name == "return" and inspect.isasyncgenfunction(handler):
            wanted = "it yields, so write AsyncIterator[…]"
        self._refuse(f"has no annotation for {what}; {wanted}")

    def _adapter(
        self, annotation: object, mode: typing.Literal["validation", "serialization"]
    ) -> tuple[CoreSchema, dict[str, Any]]:
        what = "argument" if mode == "validation" else "result"
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(cast(Any, annotation))
            return rewritten(adapter), adapter.json_schema(mode=mode)
        except (PydanticSchemaGenerationError, PydanticUserError) as error:
            raise ContractError(
                f"{self._where}: the type of its {what} cannot be checked or described: {error.message}",
                kind=type(error).__name__,
            ) from error

    def _refuse(self, problem: str) -> NoReturn:
        raise ContractError(f"{self._where} {problem}")


def _in_python_mode(validate_python: Callable[[Any], object], otherwise: Validate) -> Validate:
    """Return the validation of data that needs no way round by JSON text."""

    def validate(data: Value, buffers: bool) -> object:
        try:
            return validate_python(data)
        except ValidationError:  # its messages name Python's types: let it fail again, in JSON's words
            return otherwise(data, buffers)

    return validate


def _at_a_glance(flat: FlatModel, to_json: Callable[..., bytes]) -> Glance:
    """Return the serialisation of instances of a model with nothing in it but what can be sent as it is.

    Whether an instance is still what its model promises shows in the types of its fields; pydantic takes several times
    as long to find it out.
    """
    model, fields, plain = flat
    count = len(fields)

    def glance(result: object) -> bytes | None:
        if type(result) is not model:
            return None
        values = result.__dict__
        if len(values) != count:
            return None
        for name, types in fields:
            if type(values.get(name, ...)) not in types:
                return None
        try:
            if plain:
                return orjson.dumps(values, None, orjson.OPT_STRICT_INTEGER)
            return to_json(result, by_alias=True)
        except (PydanticSerializationError, orjson.JSONEncodeError):
            return None

    return glance


def _no_glance(result: object) -> None:
    """Return nothing: every result has to be looked at closely."""


def _place(handler: Handler) -> str:
    code = getattr(inspect.unwrap(handler), "__code__", None)
    name = getattr(handler, "__qualname__", repr(handler))
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name


def _kind(data_type: object, result_type: object) -> Kind:
    client = (typing.get_origin(data_type) or data_type) in _STREAMS
    server = (typing.get_origin(result_type) or result_type) in _STREAMS
    return {
        (False, False): Kind.UNARY,
        (False, True): Kind.SERVER,
        (True, False): Kind.CLIENT,
        (True, True): Kind.BOTH,
    }[client, server]


def _invalid(error: ValidationError) -> CallError:
    count = error.error_count()
    if count > _MANY_FAULTS:
        return CallError(Code.INVALID_ARGUMENT, f"The data does not fit: {count} faults, too many to list.")
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    details: list[Detail] = [
        {"path": [_short(part) for part in fault["loc"]], "type": fault["type"], "message": fault["msg"]}
        for fault in faults[:_MAX_DETAILS]
    ]
    return CallError(
        Code.INVALID_ARGUMENT,
        f"The data does not fit: {count} fault{'s' if count > 1 else ''}, see details.",
        details=details,
    )


def _short(part: str | int) -> str | int:
    """Return a step of a path; keys are the client's own, of any length, and stand in every fault below them."""
    return f"{part[:_MAX_KEY]}…" if isinstance(part, str) and len(part) > _MAX_KEY else part


def _summary(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_context=False, include_input=False)[:3]
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'result'}: {fault['msg']}" for fault in faults)


def _refuse_non_finite(text: bytes) -> None:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        raise EncodeError("the result holds NaN or an infinity, which JSON does not have") from None
