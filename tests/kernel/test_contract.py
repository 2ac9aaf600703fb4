"""What a signature promises: which are refused and why, what arguments are taken, what results are sent."""

from __future__ import annotations

import functools
import math
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

import pytest
from pydantic import (
    Base64Bytes,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    computed_field,
    field_serializer,
    field_validator,
)
from typing_extensions import TypedDict

from jackfield import Call, CallError, EncodeError, Kind, Value
from jackfield._contract import Contract
from jackfield._errors import ContractError
from jackfield._json import Json

HERE = __file__


def taking(annotation: object, *default: object) -> Contract:
    """Return the contract of a function that takes such data and returns nothing."""

    async def take(call: Call, data: Any) -> None: ...

    take.__annotations__ = {"call": Call, "data": annotation, "return": None}
    take.__defaults__ = default or None
    return Contract(take)


def giving(annotation: object) -> Contract:
    """Return the contract of a function that promises such a result."""

    async def give(call: Call) -> Any: ...

    give.__annotations__ = {"call": Call, "return": annotation}
    return Contract(give)


def place(function: Callable[..., object]) -> str:
    """Return how a reason names the function."""
    return f"{function.__qualname__} ({HERE}:{function.__code__.co_firstlineno})"


def refused(function: Callable[..., object]) -> tuple[str, str]:
    """Return the kind and the reason with which the function is refused; its place is cut off."""
    with pytest.raises(ContractError) as caught:
        Contract(function)
    return caught.value.kind, caught.value.reason.removeprefix(place(function))


# ------------------------------------------------------------------- signatures that promise nothing

EMPTY: Any = None


async def no_call() -> None: ...
async def three(call: Call, a: int, b: int) -> None: ...
async def variable(call: Call, *data: int) -> None: ...
async def keyword_only(call: Call, *, data: int) -> None: ...
async def keywords(call: Call, **data: int) -> None: ...
async def no_type(call: Call, data) -> None: ...
async def no_result(call: Call, data: int): ...
async def unresolvable(call: Call, data: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
async def yields_nothing(call: Call, data: int) -> AsyncIterator[int]: ...  # type: ignore[empty-body]
async def takes_and_yields_nothing(call: Call, items: AsyncIterator[int]) -> AsyncGenerator[int, None]: ...  # type: ignore[empty-body]
def plain_taker(call: Call, items: AsyncIterable[int]) -> int: ...  # type: ignore[empty-body]
async def with_default(call: Call, items: AsyncIterator[int] = EMPTY) -> int: ...  # type: ignore[empty-body]
async def of_what(call: Call, items: AsyncIterator) -> int: ...  # type: ignore[type-arg,empty-body]
async def what_not(call: Call, items: AsyncIterator[Nowhere]) -> int: ...  # type: ignore[name-defined,empty-body]  # noqa: F821


async def gives_what(call: Call) -> AsyncIterator:  # type: ignore[type-arg]
    yield 1


def plain_generator(call: Call, data: int) -> Iterator[int]:
    yield 1


async def yields_what(call: Call):
    yield 1


async def plain_items(call: Call, items: Iterator[int]) -> int: ...  # type: ignore[empty-body]


SHAPE = " takes (call), (call, data) or (call, items), and nothing else"
YIELDS = " promises a stream, but yields nothing: it has to be an async def that yields its items"
PLAIN = " has an iterator for a stream that comes with time: write AsyncIterator[…]"
OF_WHAT = " does not say what its stream is made of: write AsyncIterator[…]"
WRITE = "write the type, or typing.Any for anything at all"


@pytest.mark.parametrize(
    ("function", "kind", "reason"),
    [
        (no_call, "ContractError", SHAPE),
        (three, "ContractError", SHAPE),
        (variable, "ContractError", SHAPE),
        (keyword_only, "ContractError", SHAPE),
        (keywords, "ContractError", SHAPE),
        (no_type, "ContractError", f" has no annotation for parameter 'data'; {WRITE}"),
        (no_result, "ContractError", f" has no annotation for its result; {WRITE}"),
        (unresolvable, "NameError", ": an annotation cannot be resolved: name 'Nowhere' is not defined"),
        (yields_nothing, "ContractError", YIELDS),
        (takes_and_yields_nothing, "ContractError", YIELDS),
        (plain_taker, "ContractError", " takes a stream in a plain def: it has to be an async def"),
        (
            with_default,
            "ContractError",
            " has a default for its stream; a stream that the client sends may simply be empty",
        ),
        (of_what, "ContractError", OF_WHAT),
        (gives_what, "ContractError", OF_WHAT),
        (what_not, "NameError", ": an annotation cannot be resolved: name 'Nowhere' is not defined"),
        (yields_what, "ContractError", " has no annotation for its result; it yields, so write AsyncIterator[…]"),
        (plain_items, "ContractError", PLAIN),
        (plain_generator, "ContractError", " yields in a plain def: a stream is an async def that yields"),
    ],
)
def test_a_signature_that_says_too_little(function: Callable[..., object], kind: str, reason: str) -> None:
    """The reason names the function, its place, what is missing and what to write."""
    assert refused(function) == (kind, reason)


def test_a_name_that_is_not_there_when_the_server_runs() -> None:
    """The hint is for those who import it for their type checker alone."""
    for function in (unresolvable, what_not):
        with pytest.raises(ContractError) as caught:
            Contract(function)
        assert caught.value.hint == (
            "import the name outside of `if TYPE_CHECKING:`; annotations are read when the server runs"
        )


class Opaque:
    """A type that pydantic knows nothing of."""


@pytest.mark.parametrize(("what", "contract"), [("argument", taking), ("result", giving)])
def test_a_type_that_cannot_be_checked(what: str, contract: Callable[[object], Contract]) -> None:
    """The reason tells which side it is on, in pydantic's words."""
    with pytest.raises(ContractError) as caught:
        contract(Opaque)
    assert caught.value.kind == "PydanticSchemaGenerationError"
    told = (
        f"the type of its {what} cannot be checked or described: Unable to generate pydantic-core schema for {Opaque!r}"
    )
    assert told in caught.value.reason


@pytest.mark.parametrize(("what", "contract"), [("argument", taking), ("result", giving)])
def test_a_type_that_cannot_be_described(what: str, contract: Callable[[object], Contract]) -> None:
    """What has no JSON Schema is refused too, though it could be checked."""
    with pytest.raises(ContractError) as caught:
        contract(Callable[[int], int])
    assert caught.value.kind == "PydanticInvalidForJsonSchema"
    assert f"the type of its {what} cannot be checked or described: " in caught.value.reason


@pytest.mark.parametrize(
    "handler",
    [pytest.param(functools.partial(three, a=1), id="partial"), pytest.param(Opaque(), id="object")],
)
def test_what_is_no_function(handler: Callable[..., object]) -> None:
    """Its annotations cannot be read."""
    with pytest.raises(
        ContractError, match=r"an annotation cannot be resolved: .* is not a module, class, method, or function"
    ):
        Contract(handler)


# ------------------------------------------------------------------- signatures that do


class Methods:
    """Functions that are bound to something."""

    async def method(self, call: Call, data: int) -> str:
        """Take and give."""
        return str(data)


def test_what_a_contract_knows() -> None:
    """Its kind, whether it needs a thread, whether it takes data, and both schemas."""

    def plain(call: Call) -> list[int]:
        return []

    contract = Contract(plain)
    assert (contract.kind, contract.threaded, contract.takes_data) == (Kind.UNARY, True, False)
    assert contract.output_schema == {"type": "array", "items": {"type": "integer"}}
    contract = Contract(Methods().method)
    assert (contract.kind, contract.threaded, contract.takes_data) == (Kind.UNARY, False, True)
    assert (contract.input_schema, contract.output_schema) == ({"type": "integer"}, {"type": "string"})


async def to_client(call: Call, data: int) -> AsyncIterator[str]:
    yield "1"


async def from_client(call: Call, items: AsyncIterable[int]) -> str: ...  # type: ignore[empty-body]


async def both_ways(call: Call, items: AsyncIterator[int]) -> AsyncGenerator[str, None]:
    yield "1"


@pytest.mark.parametrize(
    ("function", "kind"), [(to_client, Kind.SERVER), (from_client, Kind.CLIENT), (both_ways, Kind.BOTH)]
)
def test_the_kind_of_a_stream_is_in_the_signature(function: Callable[..., object], kind: Kind) -> None:
    """Where there is a stream, types and schemas are those of its items."""
    contract = Contract(function)
    assert (contract.kind, contract.threaded, contract.takes_data) == (kind, False, True)
    assert (contract.input_schema, contract.output_schema) == ({"type": "integer"}, {"type": "string"})
    assert contract.validate(5, buffers=False) == 5
    assert contract.dump("five").text == b'"five"'


def test_a_generator_must_promise_a_stream() -> None:
    """What yields does not return what it promises."""

    async def yielding(call: Call) -> int:  # type: ignore[misc]
        yield 1

    with pytest.raises(ContractError, match=r"yields, so its result is a stream: annotate it as AsyncIterator\[…\]$"):
        Contract(yielding)


def test_a_decorated_function_keeps_its_contract() -> None:
    """`functools.wraps` is enough."""

    def twice(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def wrapper(call: Call, data: object) -> object:
            return [await function(call, data)] * 2

        return wrapper

    @twice
    async def one(call: Call, data: int) -> list[int]:
        return [data]

    contract = Contract(one)
    assert contract.validate(3, buffers=False) == 3
    assert contract.threaded is False


# ------------------------------------------------------------------- arguments


class Color(Enum):
    """Two colors."""

    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    """A dataclass with a Buffer."""

    x: int
    blob: bytes = b""


class Options(TypedDict, total=False):
    """A typed dict with a Buffer."""

    size: int
    blob: bytes


class Pair(NamedTuple):
    """A named tuple."""

    left: int
    right: str


class Inner(BaseModel):
    """A model inside another."""

    blob: bytes
    note: str = ""


class Outer(BaseModel):
    """A model with models inside."""

    inner: Inner
    more: list[Inner] = []
    by_name: dict[str, Inner | None] = {}


class Open(BaseModel):
    """A model that takes anything."""

    model_config = ConfigDict(extra="allow")

    size: int = 0


class Aliased(BaseModel):
    """A model whose names on the wire are others."""

    from_: str = Field(alias="from")
    taken: int = Field(validation_alias="taken-in", serialization_alias="taken-out")


class Strict(BaseModel):
    """A model that converts nothing."""

    model_config = ConfigDict(strict=True)

    when: date
    count: int
    blob: bytes = b""


class Tree(BaseModel):
    """A model that holds itself."""

    blob: bytes
    children: list[Tree] = []


T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """A generic model."""

    items: list[T]


class Names(RootModel[list[str]]):
    """A model that is a list."""


class Cat(BaseModel):
    """One of two."""

    kind: Literal["cat"]
    blob: bytes


class Dog(BaseModel):
    """The other."""

    kind: Literal["dog"]
    name: str


Animal = Annotated[Cat | Dog, Field(discriminator="kind")]


@pytest.mark.parametrize(
    ("annotation", "data", "expected"),
    [
        (int, 3, 3),
        (int, "3", 3),
        (float, 3, 3.0),
        (str, "ü", "ü"),
        (None, None, None),
        (int | None, None, None),
        (bytes, b"\x00\xff", b"\x00\xff"),
        (list[bytes], [b"a", b"b"], [b"a", b"b"]),
        (dict[str, bytes], {"a": b"b"}, {"a": b"b"}),
        (bytes | str, "a", "a"),
        (bytes | str, b"a", b"a"),
        (bytes | None, None, None),
        (Any, {"a": [b"b", 1, None]}, {"a": [b"b", 1, None]}),
        (object, [b"b"], [b"b"]),
        (Value, {"a": [b"b", 1.5, None, True]}, {"a": [b"b", 1.5, None, True]}),
        (dict, {"a": b"b", "c": [b"d"]}, {"a": b"b", "c": [b"d"]}),
        (list, [b"a", {"b": b"c"}], [b"a", {"b": b"c"}]),
        (dict[str, Any], {"a": b"b"}, {"a": b"b"}),
        (tuple[int, ...], [1, 2], (1, 2)),
        (set[int], [1, 2, 2], {1, 2}),
        (date, "2026-11-23", date(2026, 11, 23)),
        (UUID, "12345678-1234-5678-1234-567812345678", UUID(int=0x12345678123456781234567812345678)),
        (Decimal, "1.50", Decimal("1.50")),
        (Color, "red", Color.RED),
        (Literal["a", 1], 1, 1),
        (Annotated[int, Field(ge=1)], 1, 1),
        (Point, {"x": 1, "blob": b"b"}, Point(1, b"b")),
        (Point, {"x": 1}, Point(1)),
        (Options, {"size": 1, "blob": b"b"}, {"size": 1, "blob": b"b"}),
        (Pair, [1, "b"], Pair(1, "b")),
        (
            Outer,
            {"inner": {"blob": b"a"}, "more": [{"blob": b"b"}], "by_name": {"c": {"blob": b"c"}, "d": None}},
            Outer(inner=Inner(blob=b"a"), more=[Inner(blob=b"b")], by_name={"c": Inner(blob=b"c"), "d": None}),
        ),
        (Open, {"size": 1, "more": [b"a", {"b": b"c"}]}, Open.model_validate({"size": 1, "more": [b"a", {"b": b"c"}]})),
        (Aliased, {"from": "a", "taken-in": 1}, Aliased.model_validate({"from": "a", "taken-in": 1})),
        (Strict, {"when": "2026-11-23", "count": 1}, Strict(when=date(2026, 11, 23), count=1)),
        (Tree, {"blob": b"a", "children": [{"blob": b"b"}]}, Tree(blob=b"a", children=[Tree(blob=b"b")])),
        (Page[Inner], {"items": [{"blob": b"a"}]}, Page[Inner](items=[Inner(blob=b"a")])),
        (Names, ["a"], Names(["a"])),
        (Animal, {"kind": "cat", "blob": b"a"}, Cat(kind="cat", blob=b"a")),
        (Base64Bytes, "aGk=", b"hi"),
    ],
)
def test_an_argument_that_fits(annotation: object, data: Any, expected: object) -> None:
    """It arrives as the type that the function asks for, Buffers in their places."""
    found = taking(annotation).validate(data, buffers=True)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "data", "details"),
    [
        (int, "x", [([], "int_parsing")]),
        (int, 1.5, [([], "int_from_float")]),
        (int, None, [([], "int_type")]),
        (str, 1, [([], "string_type")]),
        (bytes, "text", [([], "buffer_type")]),
        (bytes, [1, 2], [([], "buffer_type")]),
        (list[bytes], [b"a", "b"], [([1], "buffer_type")]),
        (list[int], [1, "x", 2, []], [([1], "int_parsing"), ([3], "int_type")]),
        (Color, "green", [([], "enum")]),
        (Point, {"blob": "text"}, [(["x"], "missing"), (["blob"], "buffer_type")]),
        (
            Outer,
            {"inner": {"blob": "text"}, "more": [{}]},
            [(["inner", "blob"], "buffer_type"), (["more", 0, "blob"], "missing")],
        ),
        (Tree, {"blob": b"a", "children": [{}]}, [(["children", 0, "blob"], "missing")]),
        (Strict, {"when": "2026-11-23", "count": "1"}, [(["count"], "int_type")]),
        (Strict, {"when": "2026-11-23", "count": 1, "blob": b""}, [(["when"], "date_type")]),
        (Animal, {"kind": "cow"}, [([], "union_tag_invalid")]),
        (float, {}, [([], "float_type")]),
    ],
)
def test_an_argument_that_does_not_fit(annotation: object, data: Any, details: list[Any]) -> None:
    """Every fault is told: where it is, and of which kind."""
    with pytest.raises(CallError) as caught:
        taking(annotation).validate(data, buffers=True)
    count = "1 fault" if len(details) == 1 else f"{len(details)} faults"
    assert (caught.value.code, caught.value.message) == (
        "invalid_argument",
        f"The data does not fit: {count}, see details.",
    )
    assert [(detail["path"], detail["type"]) for detail in caught.value.details] == details


def test_a_fault_is_told_in_words() -> None:
    """The message is for a person; what was sent is not repeated."""
    with pytest.raises(CallError) as caught:
        taking(Outer).validate({"inner": {"blob": "secret", "note": 1}}, buffers=False)
    assert caught.value.details == (
        {"path": ["inner", "blob"], "type": "buffer_type", "message": "Input should be a Buffer"},
        {"path": ["inner", "note"], "type": "string_type", "message": "Input should be a valid string"},
    )


def test_of_very_many_faults_fifty_are_told() -> None:
    """The count is of all."""
    with pytest.raises(CallError) as caught:
        taking(list[int]).validate(["x"] * 1000, buffers=False)
    assert caught.value.message == "The data does not fit: 1000 faults, see details."
    assert len(caught.value.details) == 50


@pytest.mark.parametrize("buffers", [True, False])
def test_a_validator_of_the_author_s(buffers: bool) -> None:
    """What it raises as `ValueError` is the caller's fault, anything else is the plugin's."""

    class Checked(BaseModel):
        size: int
        blob: bytes | None = None

        @field_validator("size")
        @classmethod
        def _even(cls, size: int) -> int:
            if size == 13:
                raise LookupError("superstition")
            if size % 2:
                raise ValueError("it is odd")
            return size

    contract = taking(Checked)
    data: dict[str, Any] = {"size": 3, "blob": b"" if buffers else None}
    with pytest.raises(CallError) as caught:
        contract.validate(data, buffers=buffers)
    assert caught.value.details == ({"path": ["size"], "type": "value_error", "message": "Value error, it is odd"},)
    with pytest.raises(LookupError):
        contract.validate({**data, "size": 13}, buffers=buffers)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("annotation", "wrap"),
    [
        pytest.param(list[float | bytes], lambda number: [b"", number], id="list"),
        pytest.param(dict[str, float | bytes], lambda number: {"a": b"", "b": number}, id="dict"),
    ],
)
def test_a_float_is_finite_even_beside_a_buffer(
    annotation: object, wrap: Callable[[float], Any], number: float
) -> None:
    """Where data is not read from JSON, its rules hold all the same."""
    with pytest.raises(CallError) as caught:
        taking(annotation).validate(wrap(number), buffers=True)
    assert "finite_number" in {detail["type"] for detail in caught.value.details}


def test_a_default_stands_for_no_data() -> None:
    """Absent data is null, and gives the default, which is not checked; null that fits needs none."""
    assert taking(int, 7).validate(None, buffers=False) == 7
    assert taking(int, 7).validate(8, buffers=False) == 8
    assert taking(int | None, 7).validate(None, buffers=False) == 7
    assert taking(int | None).validate(None, buffers=False) is None
    assert taking(int, None).validate(None, buffers=False) is None
    with pytest.raises(CallError):
        taking(int).validate(None, buffers=False)


def test_what_it_emits_has_to_be_describable() -> None:
    """As what it takes and gives."""

    async def f(call: Call) -> None: ...

    assert Contract(f, {"moved": int}).emits == {"moved": {"type": "integer"}}
    with pytest.raises(ContractError, match="the type of its result cannot be checked or described"):
        Contract(f, {"moved": object.__init__})


def test_a_function_without_data_takes_none() -> None:
    """Null is none; anything else is refused."""
    contract = giving(None)
    assert contract.validate(None, buffers=False) is None
    with pytest.raises(CallError) as caught:
        contract.validate(0, buffers=False)
    assert str(caught.value) == "invalid_argument: This function takes no data."


# ------------------------------------------------------------------- results


class Secretive(Inner):
    """More than was promised."""

    password: str = "1234"


class Computed(BaseModel):
    """A model with fields of its own making."""

    width: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def blob(self) -> bytes:
        """Some bytes."""
        return b"x" * self.width

    @field_serializer("width")
    def _in_words(self, width: int) -> str:
        return f"{width} px"


@pytest.mark.parametrize(
    ("annotation", "result", "expected"),
    [
        (int, 3, Json(b"3")),
        (int, "3", Json(b"3")),
        (float, 1, Json(b"1.0")),
        (None, None, Json(b"null")),
        (str, "NaN, Infinity ü", Json('"NaN, Infinity ü"'.encode())),
        (bytes, b"a", Json(b'{"_placeholder":true,"num":0}', (b"a",))),
        (bytes, bytearray(b"a"), Json(b'{"_placeholder":true,"num":0}', (b"a",))),
        (
            list[bytes],
            [b"a", b"b"],
            Json(b'[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', (b"a", b"b")),
        ),
        (Any, {"a": [b"b", 1]}, Json(b'{"a":[{"_placeholder":true,"num":0},1]}', (b"b",))),
        (Any, Inner(blob=b"a"), Json(b'{"blob":{"_placeholder":true,"num":0},"note":""}', (b"a",))),
        pytest.param(
            Any,
            Point(1, b"b"),
            Json(b'{"x":1,"blob":{"_placeholder":true,"num":0}}', (b"b",)),
        ),
        (Any, {"when": date(2026, 11, 23), "one": {1: 2}}, Json(b'{"when":"2026-11-23","one":{"1":2}}')),
        (Value, ["a", b"b"], Json(b'["a",{"_placeholder":true,"num":0}]', (b"b",))),
        (dict, {"a": b"b"}, Json(b'{"a":{"_placeholder":true,"num":0}}', (b"b",))),
        (list, [[b"a"]], Json(b'[[{"_placeholder":true,"num":0}]]', (b"a",))),
        (datetime, datetime(2026, 1, 2, 3, tzinfo=UTC), Json(b'"2026-01-02T03:00:00Z"')),
        (Color, Color.BLUE, Json(b'"blue"')),
        (Pair, Pair(1, "a"), Json(b'[1,"a"]')),
        (set[int], {1}, Json(b"[1]")),
        (Decimal, Decimal("1.50"), Json(b'"1.50"')),
        (Point, {"x": 1}, Json(b'{"x":1,"blob":{"_placeholder":true,"num":0}}', (b"",))),
        (Options, {"blob": b"a"}, Json(b'{"blob":{"_placeholder":true,"num":0}}', (b"a",))),
        (
            Outer,
            {"inner": {"blob": b"a"}},
            Json(b'{"inner":{"blob":{"_placeholder":true,"num":0},"note":""},"more":[],"by_name":{}}', (b"a",)),
        ),
        (Inner, Secretive(blob=b"a"), Json(b'{"blob":{"_placeholder":true,"num":0},"note":""}', (b"a",))),
        (
            Open,
            Open.model_validate({"more": [b"a"]}),
            Json(b'{"size":0,"more":[{"_placeholder":true,"num":0}]}', (b"a",)),
        ),
        (Aliased, Aliased.model_validate({"from": "a", "taken-in": 1}), Json(b'{"from":"a","taken-out":1}')),
        (
            Tree,
            Tree(blob=b"a", children=[Tree(blob=b"b")]),
            Json(
                b'{"blob":{"_placeholder":true,"num":0},"children":'
                b'[{"blob":{"_placeholder":true,"num":1},"children":[]}]}',
                (b"a", b"b"),
            ),
        ),
        (
            Page[Inner],
            Page[Inner](items=[Inner(blob=b"a")]),
            Json(b'{"items":[{"blob":{"_placeholder":true,"num":0},"note":""}]}', (b"a",)),
        ),
        (Names, Names(["a"]), Json(b'["a"]')),
        (Animal, Dog(kind="dog", name="a"), Json(b'{"kind":"dog","name":"a"}')),
        pytest.param(
            Computed,
            Computed(width=2),
            Json(b'{"width":"2 px","blob":{"_placeholder":true,"num":0}}', (b"xx",)),
        ),
        (Base64Bytes, b"aGk=", Json(b'"aGk="')),
    ],
)
def test_a_result_that_was_promised(annotation: object, result: object, expected: Json) -> None:
    """It is written in the declared type's form, and Buffers are put beside it."""
    assert giving(annotation).dump(result) == expected


LOOP: list[Any] = []
LOOP.append(LOOP)

BROKEN_PROMISE = "the result is not what the function promises: "


@pytest.mark.parametrize(
    ("annotation", "result", "reason"),
    [
        (int, "x", BROKEN_PROMISE + "result: Input should be a valid integer, unable to parse string as an integer"),
        (int, None, BROKEN_PROMISE + "result: Input should be a valid integer"),
        (None, 0, BROKEN_PROMISE + "result: Input should be None"),
        (bytes, "text", BROKEN_PROMISE + "result: Input should be a Buffer"),
        (
            Annotated[bytes, Field(max_length=3)],
            b"long",
            BROKEN_PROMISE + "result: Data should have at most 3 bytes",
        ),
        (Inner, {"note": 1}, BROKEN_PROMISE + "blob: Field required; note: Input should be a valid string"),
        (
            list[int],
            ["a"] * 9,
            BROKEN_PROMISE
            + "; ".join(
                f"{n}: Input should be a valid integer, unable to parse string as an integer" for n in range(3)
            ),
        ),
        (float, math.nan, BROKEN_PROMISE + "result: Input should be a finite number"),
        (list[float], [math.inf], BROKEN_PROMISE + "0: Input should be a finite number"),
        (Any, math.nan, None),
        (int, 2**53, "An integer is beyond ±(2^53−1), which JSON clients cannot hold: send it as a string."),
        (Any, [-(2**53)], "An integer is beyond ±(2^53−1), which JSON clients cannot hold: send it as a string."),
        (Any, object(), None),
        (Any, LOOP, None),
        (Any, {(1, 2): 3}, None),
        (str, "\ud800", None),
        (Any, "\ud800", None),
        (Dog, Dog.model_construct(kind="dog", name=1), None),  # type: ignore[arg-type]
        (
            Any,
            {"_placeholder": True, "num": 0, "a": b"a"},
            "a value with Buffers has a field '_placeholder', which clients take for a Buffer",
        ),
    ],
)
def test_a_result_that_was_not_promised(annotation: object, result: object, reason: str | None) -> None:
    """It is not sent; the log is told why."""
    with pytest.raises(EncodeError) as caught:
        giving(annotation).dump(result)
    assert reason in (None, str(caught.value)), str(caught.value)


class Portion(BaseModel):
    rows: list[int]


@pytest.mark.parametrize(
    ("annotation", "data", "paths"),
    [
        (Portion | bytes, {"rows": ["x"]}, [["Portion", "rows", 0], ["Buffer"]]),
        (bytes | Portion | None, 7, [["Buffer"], ["Portion"]]),
        (Annotated[bytes, Field(max_length=1)] | int, b"ab", [["Buffer"], ["int"]]),
        (dict[str, Portion | bytes], {"a": "x"}, [["a", "Portion"], ["a", "Buffer"]]),
    ],
)
def test_in_a_union_the_path_has_the_name_of_the_alternative(
    annotation: object, data: Value, paths: list[list[object]]
) -> None:
    """A Buffer is called one; nothing of the inside of the kernel shows."""
    with pytest.raises(CallError) as caught:
        taking(annotation).validate(data, isinstance(data, bytes))
    assert [detail["path"] for detail in caught.value.details] == paths
