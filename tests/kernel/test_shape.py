"""What is decided from a type alone: where it is decided, the short way and the long way come to the same."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal, NotRequired, Optional
from uuid import UUID

import orjson
import pytest
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AliasPath,
    Base64Bytes,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    TypeAdapter,
    ValidationError,
)
from typing_extensions import TypedDict

from jackfield import Call, CallError, EncodeError
from jackfield._contract import Contract
from jackfield._json import Json
from jackfield._schema import rewritten, validator
from jackfield._shape import (
    flat_model,
    holds_buffers,
    holds_floats,
    holds_integers,
    holds_models,
    is_buffer,
    same_in_both_modes,
)
from tests.support.properties import always, numbers, texts

# ------------------------------------------------------------------- arguments


class Person(BaseModel):
    """A model with what models mostly have."""

    name: Annotated[str, Field(min_length=1, max_length=5)]
    age: int = 3
    height: float | None = None
    tags: list[str] = []
    friend: Optional[Person] = None  # noqa: UP045 - the class is not there yet


class Closed(BaseModel):
    """A model that refuses what it does not know."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, populate_by_name=True)
    flag: bool = Field(alias="theFlag")
    kind: Literal["a", 1, True, None] = "a"


class Open(BaseModel):
    """A model that keeps what it does not know."""

    model_config = ConfigDict(extra="allow")
    flag: bool | None = None


class Keyed(TypedDict):
    """A dictionary with known keys."""

    a: int
    b: NotRequired[float]


@dataclass
class Point:
    """A dataclass."""

    x: int
    y: float = 0.0
    rest: list[Any] = field(default_factory=list)


class Numbers(RootModel[list[int]]):
    """A model with a root."""


SAME = [
    str,
    int,
    float,
    bool,
    None,
    Any,
    Annotated[int, Field(ge=-5, lt=2**40, multiple_of=2)],
    Annotated[float, Field(gt=-1.5, le=1e9)],
    Annotated[str, Field(pattern=r"^[a-c]*$", max_length=3)],
    int | None,
    Literal["a", "b"],
    Literal[1, 0, "1", None],
    Literal[True, 2],
    list,
    list[int],
    list[float | None],
    Annotated[list[bool], Field(min_length=1, max_length=3)],
    dict,
    dict[str, int],
    dict[str, list[str]],
    Person,
    Closed,
    Open,
    Keyed,
    Point,
    Numbers,
    list[Person],
    dict[str, Point],
]


class Color(Enum):
    """An enumeration."""

    RED = "red"


class Strict(BaseModel):
    """A model that converts nothing."""

    model_config = ConfigDict(strict=True)
    when: int


class Lenient(BaseModel):
    """A model that makes text of numbers."""

    model_config = ConfigDict(coerce_numbers_to_str=True)
    text: str


class Deep(BaseModel):
    """A model that takes a field from further down."""

    first: int = Field(0, validation_alias=AliasPath("list", 0))  # type: ignore[pydantic-alias] # it has a default


class Hooked(BaseModel):
    """A model that does something of its own."""

    x: int

    def model_post_init(self, context: Any) -> None:
        """Count."""


class Initialised(BaseModel):
    """A model that does something of its own, and earlier."""

    x: int

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)


class Private(Exception):
    """No type for data."""


DIFFERENT = [
    bytes,
    date,
    UUID,
    Color,
    Strict,
    Lenient,
    Deep,
    Hooked,
    Initialised,
    int | str,
    set[int],
    tuple[int, str],
    dict[int, str],
    Literal[Color.RED],
    Annotated[int, AfterValidator(abs)],
    Annotated[int, Field(strict=True)],
    list[bytes],
]


def _schema(annotation: Any) -> Any:
    return rewritten(TypeAdapter(annotation))


@pytest.mark.parametrize("annotation", SAME, ids=str)
def test_a_type_of_plain_parts_is_read_alike_in_both_modes(annotation: Any) -> None:
    """So that data which was parsed already is not written and parsed again."""
    assert same_in_both_modes(_schema(annotation))


@pytest.mark.parametrize("annotation", DIFFERENT, ids=str)
def test_any_other_type_is_read_by_json_rules(annotation: Any) -> None:
    """Be it that it does differ, or that nobody has looked."""
    assert not same_in_both_modes(_schema(annotation))


_near = st.recursive(
    st.none()
    | st.booleans()
    | numbers
    | texts
    | st.sampled_from([0, 1, 1.0, 0.0, 2.5, -3, 2**53 - 1, 1e300, True, False, None, "", "1", " 1 ", "1.0", "1e3"])
    | st.sampled_from(["true", "off", "a", "aaaaaa", "inf", "nan", "1_000", "0x1", "٣", "2020-01-01"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "age", "height", "tags", "friend", "theFlag", "flag", "kind", "a", "b", "x", "y"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=8,
)
_sound = st.sampled_from(
    [
        {"name": "a", "age": "4", "height": 1, "friend": {"name": "b", "tags": ["x"]}},
        {"theFlag": "yes", "kind": True},
        {"flag": True, "kind": 1},
        {"theFlag": 1, "other": 2},
        {"flag": 1, "more": {"a": [1.5]}},
        {"a": True, "b": 3},
        {"x": 1.0, "y": True, "rest": [{}]},
        ["1", 2.0, True],
    ]
)
_READERS = [(annotation, validator(_schema(annotation))) for annotation in SAME]


@always(few=300, many=3_000, data=_near | _sound)
def test_what_is_read_alike_gives_the_same(data: Any) -> None:
    """Whatever pydantic accepts in its Python mode, it accepts in its JSON mode, as the very same value; and what it
    refuses it refuses."""
    text = orjson.dumps(data)
    for annotation, reader in _READERS:
        try:
            expected = reader.validate_json(text)
        except ValidationError:
            with pytest.raises(ValidationError):
                reader.validate_python(data)
        else:
            assert _exactly(reader.validate_python(data)) == _exactly(expected), annotation


def _exactly(value: Any) -> Any:
    """Return the value with its types, which `==` does not see."""
    if isinstance(value, BaseModel):
        return type(value), _exactly({**value.__dict__, **(value.__pydantic_extra__ or {})}), value.model_fields_set
    if isinstance(value, Point):
        return Point, _exactly(value.__dict__)
    if isinstance(value, dict):
        return dict, [(key, _exactly(item)) for key, item in value.items()]
    if isinstance(value, list):
        return list, [_exactly(item) for item in value]
    return type(value), repr(value)


@always(data=_near)
def test_a_fault_is_told_in_the_words_of_json(data: Any) -> None:
    """Whichever way data was read, its caller gets the same details."""

    async def take(call: Call, data: Person) -> None: ...

    contract = Contract(take)
    try:
        expected: Any = contract._validate(data, buffers=False)
    except CallError as error:
        fault = error.as_dict()
    else:
        assert contract.validate(data, buffers=False) == expected
        return
    with pytest.raises(CallError) as refused:
        contract.validate(data, buffers=False)
    assert refused.value.as_dict() == fault


# ------------------------------------------------------------------- results


class Flat(BaseModel):
    """A model with nothing but texts and truths."""

    text: str
    flag: bool | None = None


class Flatter(Flat):
    """A model below it, with the same fields."""


class Wider(Flat):
    """A model below it, with one more."""

    more: str = ""


class Counted(BaseModel):
    """A flat model with an integer."""

    text: str = ""
    number: int | None = 0


class Renamed(BaseModel):
    """A flat model whose fields are written under other names, or not at all."""

    text: str = Field(default="a", serialization_alias="Text")
    secret: str = Field(default="b", exclude=True)


class RenamedCounted(Counted):
    """A flat model with an integer, written under another name."""

    number: int | None = Field(default=0, serialization_alias="Number")


class Measured(BaseModel):
    """A model with numbers."""

    number: int = 0
    size: float = 0.0


@pytest.mark.parametrize(
    ("annotation", "integers", "floats", "buffers", "models"),
    [
        (str, False, False, False, False),
        (list[bool | None], False, False, False, False),
        (int, True, False, False, False),
        (dict[str, float], False, True, False, False),
        (dict[str, Literal["a"]], True, False, False, False),
        (bytes, False, False, True, False),
        (Any, True, True, True, False),
        (list, True, True, True, False),
        (Flat, False, False, False, True),
        (Measured, True, True, False, True),
        (Open, True, True, True, True),
        (Keyed, True, True, False, False),
        (Point, True, True, True, True),
        (date, True, True, True, True),
        (Color, True, True, True, True),
        (int | str, True, True, True, True),
    ],
    ids=str,
)
def test_what_a_type_may_hold(annotation: Any, integers: bool, floats: bool, buffers: bool, models: bool) -> None:
    """Only that is looked for in results; a type that nobody has looked at may hold anything."""
    schema = _schema(annotation)
    assert holds_integers(schema) is integers
    assert holds_floats(schema) is floats
    assert holds_buffers(schema) is buffers
    assert holds_models(schema) is models


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (bytes, True),
        (Annotated[bytes, Field(max_length=3)], False),
        (Base64Bytes, False),
        (bytes | None, False),
        (list[bytes], False),
        (Any, False),
        (str, False),
    ],
    ids=str,
)
def test_a_type_is_a_buffer_or_not(annotation: Any, expected: bool) -> None:
    """One that takes any bytes, and nothing else, needs no look at them."""
    assert is_buffer(_schema(annotation)) is expected


def test_a_model_is_flat_or_not() -> None:
    """The types that its fields may have are known."""
    assert flat_model(_schema(Flat)) == (
        Flat,
        [("text", frozenset({str})), ("flag", frozenset({bool, type(None)}))],
        True,
    )
    assert flat_model(_schema(Measured)) is not None
    for annotation in (Person, Closed, Open, Numbers, Point, Keyed, str, list[Flat]):
        assert flat_model(_schema(annotation)) is None, annotation


def _giving(annotation: Any) -> Contract:
    async def give(call: Call) -> Any: ...

    give.__annotations__ = {"call": Call, "return": annotation}
    return Contract(give)


def _spoilt(model: BaseModel, **fields: Any) -> BaseModel:
    for name, value in fields.items():
        model.__dict__[name] = value
    return model


def _lacking(model: BaseModel, *fields: str) -> BaseModel:
    for name in fields:
        del model.__dict__[name]
    return model


@pytest.mark.parametrize(
    "result",
    [
        Flat(text="a"),
        Flat(text="ü\u0000", flag=True),
        Flatter(text="a"),
        Wider(text="a", more="b"),
        {"text": "a", "flag": "yes"},
        {"text": 5},
        "no model",
        None,
        _spoilt(Flat(text="a"), text=5),
        _spoilt(Flat(text="a"), text=b"a"),
        _spoilt(Flat(text="a"), flag="yes"),
        _spoilt(Flat(text="a"), text="\ud800"),
        _spoilt(Flat(text="a"), other="b"),
        _lacking(Flat(text="a"), "text"),
        _lacking(Flat(text="a"), "text", "flag"),
    ],
    ids=repr,
)
def test_a_result_is_the_same_the_short_way_and_the_long(result: Any) -> None:
    """A glance at the types lets nothing through that pydantic would find."""
    contract, long_way = _giving(Flat), _giving(Flat)
    long_way.glance = lambda _: None
    assert contract.glance(Flat(text="a")) is not None
    try:
        expected = long_way.dump(result)
    except EncodeError as error:
        fault = str(error)
    else:
        assert contract.dump(result) == expected
        return
    with pytest.raises(EncodeError) as refused:
        contract.dump(result)
    assert str(refused.value) == fault


@pytest.mark.parametrize(
    "result",
    [
        Counted(),
        Counted(text="é", number=None),
        Counted(number=2**53 - 1),
        Counted(number=-(2**53) + 1),
        _spoilt(Counted(), number=True),
        Renamed(),
        Renamed(text="\u2028"),
        RenamedCounted(number=-1),
    ],
    ids=repr,
)
def test_a_flat_result_is_written_as_pydantic_writes_it(result: BaseModel) -> None:
    """Whoever writes it."""
    contract, long_way = _giving(type(result)), _giving(type(result))
    long_way.glance = lambda _: None
    try:
        expected = long_way.dump(result)
    except EncodeError:
        with pytest.raises(EncodeError):
            contract.dump(result)
    else:
        assert contract.dump(result) == expected


@pytest.mark.parametrize("model", [Counted, RenamedCounted])
@pytest.mark.parametrize("number", [2**53, -(2**53), 2**64, 10**30])
def test_an_integer_that_json_readers_would_change_is_found_in_flat_results(model: type[Counted], number: int) -> None:
    """It goes the long way, which says so; as MessagePack it may go out."""
    contract = _giving(model)
    assert contract.glance(model(number=number)) is None
    with pytest.raises(EncodeError):
        contract.dump(model(number=number))


def test_which_flat_results_are_written_at_a_glance() -> None:
    """Those of which pydantic would write nothing else than their fields."""
    assert _giving(Counted).glance(Counted()) == b'{"text":"","number":0}'
    assert _giving(Renamed).glance(Renamed()) == b'{"Text":"a"}'
    assert _giving(RenamedCounted).glance(RenamedCounted()) is None


@pytest.mark.parametrize(
    "result",
    [
        _spoilt(Measured(), number=2**53),
        _spoilt(Measured(), number="1"),
        _spoilt(Measured(), size=math.nan),
        _spoilt(Measured(), size=-math.inf),
    ],
    ids=repr,
)
def test_a_number_that_cannot_be_sent_is_found(result: Measured) -> None:
    """In an instance that pydantic takes as it is."""
    with pytest.raises(EncodeError):
        _giving(Measured).dump(result)


# ------------------------------------------------------------------- names of fields


class Named(BaseModel):
    """A model whose fields are called as parts of a schema are."""

    type: bytes
    default: bytes
    serialization: bytes
    config: float
    fields: dict[str, bytes]


def test_a_field_may_have_any_name() -> None:
    """A Buffer is a Buffer and a float is finite, whatever the field is called."""

    async def same(call: Call, data: Named) -> Named:
        return data

    contract = Contract(same)
    data: dict[str, Any] = {
        "type": b"a",
        "default": b"b",
        "serialization": b"c",
        "config": 1.5,
        "fields": {"type": b"d"},
    }
    assert contract.dump(contract.validate(data, buffers=True)) == Json(
        b'{"type":{"_placeholder":true,"num":0},"default":{"_placeholder":true,"num":1},'
        b'"serialization":{"_placeholder":true,"num":2},"config":1.5,"fields":{"type":{"_placeholder":true,"num":3}}}',
        (b"a", b"b", b"c", b"d"),
    )
    with pytest.raises(CallError) as refused:
        contract.validate({**data, "type": "text", "default": "text", "serialization": "text"}, buffers=True)
    assert [detail["path"] for detail in refused.value.details] == [["type"], ["default"], ["serialization"]]
