"""Changes of a plugin, each with the rule that `jackfield diff` has to find, and whether it breaks callers.

A change is a pair of services as an author would write them, before and after.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from jackfield import Call, Code, Service

Author: TypeAlias = Callable[[Service], object]
"""Declares functions on a service."""


class Pair(NamedTuple):
    """A change, and what is to be found."""

    name: str
    rule: str
    before: Author
    after: Author


# --- the authors' hands: a function that takes, gives, or is declared with something ---


def takes(kind: Any) -> Author:
    def author(service: Service) -> None:
        async def f(call: Call, data: Any) -> None: ...

        f.__annotations__ = {"call": Call, "data": kind, "return": None}
        service.function(f)

    return author


def may_take(kind: Any, default: Any = None) -> Author:
    def author(service: Service) -> None:
        async def f(call: Call, data: Any = default) -> None: ...

        f.__annotations__ = {"call": Call, "data": kind, "return": None}
        service.function(f)

    return author


def gives(kind: Any) -> Author:
    def author(service: Service) -> None:
        async def f(call: Call) -> Any: ...

        f.__annotations__ = {"call": Call, "return": kind}
        service.function(f)

    return author


def declared(**words: Any) -> Author:
    def author(service: Service) -> None:
        @service.function(**words)
        async def f(call: Call) -> None: ...

    return author


def emits(**events: Any) -> Author:
    return declared(emits=events)


def takes_nothing(service: Service) -> None:
    @service.function
    async def f(call: Call) -> None: ...


def serves_nothing(service: Service) -> None:
    """It has no function."""


def two(service: Service) -> None:
    @service.function
    async def f(call: Call) -> None: ...

    @service.function
    async def g(call: Call) -> None: ...


def streams_out(service: Service) -> None:
    @service.function
    async def f(call: Call) -> AsyncIterator[int]:
        yield 1


def streams_in(kind: Any) -> Author:
    def author(service: Service) -> None:
        async def f(call: Call, items: Any) -> None: ...

        f.__annotations__ = {"call": Call, "items": AsyncIterator[kind], "return": None}
        service.function(f)

    return author


def streams(kind: Any) -> Author:
    def author(service: Service) -> None:
        async def f(call: Call) -> AsyncIterator[Any]:
            yield None

        f.__annotations__ = {"call": Call, "return": AsyncIterator[kind]}
        service.function(f)

    return author


# --- what they send and get ---


class Seat(BaseModel):
    row: int
    note: str = ""


class SeatWithoutNote(BaseModel):
    row: int


class SeatWithClass(Seat):
    grade: int


class SeatWithOptionalClass(Seat):
    grade: int = 2


class SeatNoteRequired(BaseModel):
    row: int
    note: str


class SeatOtherDefault(BaseModel):
    row: int
    note: str = "window"


class SeatRowText(BaseModel):
    row: str
    note: str = ""


class SeatRowEither(BaseModel):
    row: int | str
    note: str = ""


class SeatRowMaybe(BaseModel):
    row: int | None
    note: str = ""


class SeatRenamed(BaseModel):
    line: int
    note: str = ""


class SeatAliased(BaseModel):
    row: int = Field(alias="Row")
    note: str = ""


class StrictSeat(Seat):
    model_config = ConfigDict(extra="forbid")


class StrictSeatWithoutNote(SeatWithoutNote):
    model_config = ConfigDict(extra="forbid")


class StrictSeatWithClass(StrictSeat):
    grade: int = 2


class OpenSeat(Seat):
    model_config = ConfigDict(extra="allow")


class OpenSeatWithClass(OpenSeat):
    grade: int = 2


class SeatOtherWords(BaseModel):
    """Other words for the same."""

    row: int = Field(description="Counted from the stage.", title="Row number", examples=[3])
    note: str = ""


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class CatWithName(Cat):
    name: str


class Dog(BaseModel):
    kind: Literal["dog"]
    loud: bool = True


class Bird(BaseModel):
    kind: Literal["bird"]


Pets: TypeAlias = Annotated[Cat | Dog, Field(discriminator="kind")]
MorePets: TypeAlias = Annotated[Cat | Dog | Bird, Field(discriminator="kind")]
NamedPets: TypeAlias = Annotated[CatWithName | Dog, Field(discriminator="kind")]


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


class TreeOfText(BaseModel):
    value: str
    children: list[TreeOfText] = []


class Wood(BaseModel):
    value: int
    children: list[Wood] = []


class WoodMaybe(BaseModel):
    value: int | None
    children: list[WoodMaybe] = []


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class MoreColours(Enum):
    RED = "red"
    BLUE = "blue"
    GREEN = "green"


class Ticket(TypedDict):
    seat: Seat


class TicketStrict(TypedDict):
    seat: SeatWithClass


Short: TypeAlias = Annotated[str, Field(max_length=5)]
Long: TypeAlias = Annotated[str, Field(max_length=9)]
Filled: TypeAlias = Annotated[str, Field(min_length=1)]
Lower: TypeAlias = Annotated[str, Field(pattern="^[a-z]+$")]
Upper: TypeAlias = Annotated[str, Field(pattern="^[A-Z]+$")]
Positive: TypeAlias = Annotated[int, Field(gt=0)]
FromOne: TypeAlias = Annotated[int, Field(ge=1)]
Percent: TypeAlias = Annotated[int, Field(ge=0, le=100)]
Even: TypeAlias = Annotated[int, Field(multiple_of=2)]
Fourth: TypeAlias = Annotated[int, Field(multiple_of=4)]
Few: TypeAlias = Annotated[list[int], Field(max_length=3)]
Some: TypeAlias = Annotated[list[int], Field(min_length=1)]

BREAKING: Final = (
    # functions
    Pair("a function goes", "function-removed", two, takes_nothing),
    Pair("the only function goes", "function-removed", takes_nothing, serves_nothing),
    Pair("unary becomes a stream", "kind-changed", gives(int), streams_out),
    Pair("a stream becomes unary", "kind-changed", streams_out, gives(int)),
    Pair("one argument becomes a stream", "kind-changed", takes(int), streams_in(int)),
    # arguments
    Pair("data where there was none", "data-required", takes_nothing, takes(Seat)),
    Pair("the default of data goes", "data-required", may_take(Seat, Seat(row=1)), takes(Seat)),
    Pair("data may be null no more", "data-required", takes(Seat | None), takes(Seat)),
    Pair("the argument goes", "input-narrowed", takes(Seat), takes_nothing),
    Pair("a new required field", "input-field-required", takes(Seat), takes(SeatWithClass)),
    Pair("an optional field is required", "input-field-required", takes(Seat), takes(SeatNoteRequired)),
    Pair("a field goes, and is ignored", "input-field-removed", takes(Seat), takes(SeatWithoutNote)),
    Pair("a field goes, and is refused", "input-field-removed", takes(StrictSeat), takes(StrictSeatWithoutNote)),
    Pair("a field has another name", "input-field-removed", takes(Seat), takes(SeatRenamed)),
    Pair("a field has another alias", "input-field-required", takes(Seat), takes(SeatAliased)),
    Pair("a field has another type", "input-narrowed", takes(Seat), takes(SeatRowText)),
    Pair("a field takes one type of two", "input-narrowed", takes(SeatRowEither), takes(Seat)),
    Pair("a field may be null no more", "input-narrowed", takes(SeatRowMaybe), takes(Seat)),
    Pair("a field has another default", "input-default-changed", takes(Seat), takes(SeatOtherDefault)),
    Pair("unknown fields are refused", "input-closed", takes(Seat), takes(StrictSeat)),
    Pair("a field where any was allowed", "input-narrowed", takes(OpenSeat), takes(OpenSeatWithClass)),
    Pair("fields that were kept are ignored", "input-field-removed", takes(OpenSeat), takes(Seat)),
    Pair("any map becomes a model", "input-narrowed", takes(dict[str, str]), takes(dict[str, int])),
    Pair("a map becomes a model", "input-field-required", takes(dict[str, Any]), takes(Seat)),
    Pair("anything becomes text", "input-narrowed", takes(Any), takes(str)),
    Pair("numbers become whole", "input-narrowed", takes(float), takes(int)),
    Pair("text becomes a Buffer", "input-narrowed", takes(str), takes(bytes)),
    Pair("a Buffer becomes text", "input-narrowed", takes(bytes), takes(str)),
    Pair("text becomes a date", "input-narrowed", takes(str), takes(date)),
    Pair("a date becomes a time", "input-narrowed", takes(date), takes(datetime)),
    Pair("text becomes a UUID", "input-narrowed", takes(str), takes(UUID)),
    Pair("a shorter limit", "input-narrowed", takes(Long), takes(Short)),
    Pair("a limit where none was", "input-narrowed", takes(str), takes(Short)),
    Pair("empty text is refused", "input-narrowed", takes(str), takes(Filled)),
    Pair("a pattern where none was", "input-narrowed", takes(str), takes(Lower)),
    Pair("another pattern", "cannot-tell", takes(Lower), takes(Upper)),
    Pair("a bound where none was", "input-narrowed", takes(int), takes(Positive)),
    Pair("a tighter bound", "input-narrowed", takes(Positive), takes(Annotated[int, Field(gt=1)])),
    Pair("an upper bound", "input-narrowed", takes(FromOne), takes(Percent)),
    Pair("only even numbers", "input-narrowed", takes(int), takes(Even)),
    Pair("only every fourth", "input-narrowed", takes(Even), takes(Fourth)),
    Pair("fewer choices", "input-narrowed", takes(Literal["a", "b"]), takes(Literal["a"])),
    Pair("choices of another type", "input-narrowed", takes(Literal[1, 2]), takes(Literal["1", "2"])),
    Pair("text becomes choices", "input-narrowed", takes(str), takes(Literal["a", "b"])),
    Pair("an enumeration loses one", "input-narrowed", takes(MoreColours), takes(Colour)),
    Pair("one is true", "input-narrowed", takes(Literal[1]), takes(Literal[True])),
    Pair("truth is true", "input-narrowed", takes(bool), takes(Literal[True])),
    Pair("a kind of a tagged union goes", "input-narrowed", takes(MorePets), takes(Pets)),
    Pair("a kind of a tagged union wants more", "input-field-required", takes(Pets), takes(NamedPets)),
    Pair("items of another type", "input-narrowed", takes(list[int]), takes(list[str])),
    Pair("a shorter list", "input-narrowed", takes(list[int]), takes(Few)),
    Pair("an empty list is refused", "input-narrowed", takes(list[int]), takes(Some)),
    Pair("items may not repeat", "input-narrowed", takes(list[int]), takes(set[int])),
    Pair("a list becomes a pair", "input-narrowed", takes(list[int]), takes(tuple[int, int])),
    Pair("a pair becomes a triple", "input-narrowed", takes(tuple[int, int]), takes(tuple[int, int, int])),
    Pair("one of a pair is another", "input-narrowed", takes(tuple[int, str]), takes(tuple[int, int])),
    Pair("keys are limited", "input-narrowed", takes(dict[str, int]), takes(dict[Literal["a", "b"], int])),
    Pair("keys have a pattern", "input-narrowed", takes(dict[str, int]), takes(dict[Lower, int])),
    Pair("deep in a tree", "input-narrowed", takes(Tree), takes(TreeOfText)),
    Pair("deep in a typed dictionary", "input-field-required", takes(Ticket), takes(TicketStrict)),
    Pair("items of a stream", "input-narrowed", streams_in(int | str), streams_in(int)),
    # results
    Pair("nothing comes back", "output-widened", gives(int), gives(None)),
    Pair("the result may be null", "output-widened", gives(Seat), gives(Seat | None)),
    Pair("a field of the result goes", "output-field-removed", gives(SeatWithClass), gives(Seat)),
    Pair("an optional field of the result goes", "output-field-removed", gives(Seat), gives(SeatWithoutNote)),
    Pair("a field of the result is optional", "output-field-optional", gives(SeatNoteRequired), gives(Seat)),
    Pair("a field of the result has another type", "output-widened", gives(Seat), gives(SeatRowText)),
    Pair("a field of the result may be null", "output-widened", gives(Seat), gives(SeatRowMaybe)),
    Pair("a field that was ruled out", "output-extended", gives(StrictSeat), gives(StrictSeatWithClass)),
    Pair("whole numbers become any", "output-widened", gives(int), gives(float)),
    Pair("one more choice in a result", "output-widened", gives(Colour), gives(MoreColours)),
    Pair("choices become text", "output-widened", gives(Literal["a", "b"]), gives(str)),
    Pair("one more kind in a result", "output-widened", gives(Pets), gives(MorePets)),
    Pair("a longer limit in a result", "output-widened", gives(Short), gives(Long)),
    Pair("a date becomes text", "output-widened", gives(date), gives(str)),
    Pair("text becomes a Buffer in a result", "output-widened", gives(str), gives(bytes)),
    Pair("a pattern goes from a result", "output-widened", gives(Lower), gives(str)),
    Pair("items of a stream that comes", "output-widened", streams(int), streams(str)),
    Pair("deep in a tree that comes", "output-widened", gives(Wood), gives(WoodMaybe)),
    # the rest
    Pair("one more error", "error-added", declared(), declared(errors=[Code.NOT_FOUND])),
    Pair("another error", "error-added", declared(errors=["aborted"]), declared(errors=["not_found"])),
    Pair("a scope where none was", "scope-added", declared(requires=()), declared(requires="seats:write")),
    Pair("another scope", "scope-added", declared(requires="seats:read"), declared(requires="seats:write")),
    Pair("one more scope", "scope-added", declared(requires="a"), declared(requires=("a", "b"))),
    Pair("nobody may call it", "access-closed", declared(requires=()), declared()),
    Pair("an event goes", "event-removed", emits(moved=int), emits()),
    Pair("an event has another name", "event-removed", emits(moved=int), emits(changed=int)),
    Pair("an event brings something else", "event-widened", emits(moved=int), emits(moved=int | None)),
    Pair("an event loses a field", "event-widened", emits(moved=Seat), emits(moved=SeatWithoutNote)),
    Pair("the order goes", "order-lost", declared(ordered=True), declared()),
    Pair("it ends with its caller", "detached-lost", declared(detached=True), declared()),
    Pair("less time", "deadline-shortened", declared(timeout=60), declared(timeout=5)),
    Pair("a time where none was said", "cannot-tell", declared(), declared(timeout=5)),
)
"""Those that break callers."""

KEPT: Final = (
    Pair("a new function", "function-added", takes_nothing, two),
    Pair("data may be left out", "data-optional", takes(Seat), may_take(Seat, Seat(row=1))),
    Pair("optional data where there was none", "input-widened", takes_nothing, may_take(Seat, Seat(row=1))),
    Pair("a new optional field", "input-field-added", takes(Seat), takes(SeatWithOptionalClass)),
    Pair("a new optional field of a strict model", "input-field-added", takes(StrictSeat), takes(StrictSeatWithClass)),
    Pair("a required field is optional", "input-field-optional", takes(SeatNoteRequired), takes(Seat)),
    Pair("a field takes one more type", "input-widened", takes(Seat), takes(SeatRowEither)),
    Pair("a field may be null", "input-widened", takes(Seat), takes(SeatRowMaybe)),
    Pair("unknown fields are ignored", "input-widened", takes(StrictSeat), takes(Seat)),
    Pair("other words", "", takes(Seat), takes(SeatOtherWords)),
    Pair("the same tree under another name", "", takes(Tree), takes(Wood)),
    Pair("the same bound in other words", "", takes(Positive), takes(FromOne)),
    Pair("the same union in another order", "", takes(int | str | None), takes(None | str | int)),
    Pair("whole numbers become any, in", "input-widened", takes(int), takes(float)),
    Pair("a date becomes text, in", "input-widened", takes(date), takes(str)),
    Pair("text becomes anything", "input-widened", takes(list[str]), takes(list[Any])),
    Pair("a longer limit", "input-widened", takes(Short), takes(Long)),
    Pair("a pattern goes", "input-widened", takes(Lower), takes(str)),
    Pair("one more choice", "input-widened", takes(Colour), takes(MoreColours)),
    Pair("choices become text, in", "input-widened", takes(Literal["a", "b"]), takes(Long)),
    Pair("every even number", "input-widened", takes(Fourth), takes(Even)),
    Pair("one more kind", "input-widened", takes(Pets), takes(MorePets)),
    Pair("a pair becomes a list", "input-widened", takes(tuple[int, int]), takes(list[int])),
    Pair("a set becomes a list", "input-widened", takes(set[int]), takes(list[int])),
    Pair("any map", "input-widened", takes(dict[str, int]), takes(dict[str, Any])),
    Pair("decimals as before", "", takes(Decimal), takes(Decimal)),
    Pair("a new field of the result", "output-field-added", gives(Seat), gives(SeatWithClass)),
    Pair("a field of the result always comes", "output-narrowed", gives(Seat), gives(SeatNoteRequired)),
    Pair("the result is never null", "output-narrowed", gives(Seat | None), gives(Seat)),
    Pair("fewer choices in a result", "output-narrowed", gives(MoreColours), gives(Colour)),
    Pair("whole numbers in a result", "output-narrowed", gives(float), gives(int)),
    Pair("fewer kinds in a result", "output-narrowed", gives(MorePets), gives(Pets)),
    Pair("an error less", "error-removed", declared(errors=["aborted"]), declared()),
    Pair("a scope less", "scope-removed", declared(requires=("a", "b")), declared(requires="a")),
    Pair("somebody may call it", "access-opened", declared(), declared(requires=())),
    Pair("a new event", "event-added", emits(), emits(moved=int)),
    Pair("an event brings less", "event-narrowed", emits(moved=int | None), emits(moved=int)),
    Pair("in order", "order-added", declared(), declared(ordered=True)),
    Pair("it goes on without its caller", "detached-added", declared(), declared(detached=True)),
    Pair("more time", "deadline-lengthened", declared(timeout=5), declared(timeout=60)),
    Pair("deprecated", "deprecated", declared(), declared(deprecated="use g")),
    Pair("no more deprecated", "undeprecated", declared(deprecated="use g"), declared()),
)
"""Those that do not."""
