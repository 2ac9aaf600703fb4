"""`jackfield schema --format asyncapi` and `jsonschema`, judged by the official schema and by a validator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from tests.cli.shell import Shell
from tests.contract.projects import unpack, wheel_of, write_project
from tests.support.server import Server

OFFICIAL = Path(__file__).parents[1] / "interop/node_modules/@asyncapi/specs/schemas/3.1.0.json"
ALL_KINDS = """
    from collections.abc import AsyncIterator
    from typing import Annotated, Generic, Literal, TypeVar

    from pydantic import BaseModel, Field, Json

    from jackfield import Call, Service, hookimpl

    service = Service("api.seats")
    T = TypeVar("T")

    class Cat(BaseModel):
        kind: Literal["cat"]

    class Dog(BaseModel):
        kind: Literal["dog"]
        friend: "Dog | None" = Field(None, description="Another one.")

    class Page(BaseModel, Generic[T]):
        items: list[T]
        place: tuple[int, str] = (1, "")
        rest: Json = None

    Pet = Annotated[Cat | Dog, Field(discriminator="kind")]

    @service.function(emits={"moved/away": Pet, "data": bytes}, errors=["aborted"], requires=["a"], deprecated="use g")
    async def f(call: Call, data: Pet) -> Page[Pet]:
        \"\"\"Say it in a word.

        And then in many.
        \"\"\"

    @service.function
    async def out(call: Call) -> AsyncIterator[Pet]:
        yield None

    @service.function
    async def both(call: Call, items: AsyncIterator[bytes]) -> AsyncIterator[dict[str, int]]:
        yield {}

    @hookimpl
    def jackfield_services():
        return [service]
"""


@pytest.fixture(scope="module", name="site")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an installed plugin of every kind of function, and every kind of schema."""
    folder = tmp_path_factory.mktemp("kinds")
    return unpack(wheel_of(write_project(folder / "project", ALL_KINDS)), folder / "site")


def _judged(document: dict[str, Any], require_all: bool) -> None:
    """Check a document against the official schema, and that each reference in it leads somewhere."""
    if not OFFICIAL.exists():
        if require_all:
            pytest.fail(f"{OFFICIAL} is not installed")
        pytest.skip("@asyncapi/specs is not installed: make test installs it where npm is")
    official = json.loads(OFFICIAL.read_text(encoding="utf-8"))
    errors = [error.message for error in Draft7Validator(official).iter_errors(document)]
    assert errors == []
    _follow(document, document)
    for schema in document["components"]["schemas"].values():
        Draft7Validator.check_schema(schema)
        assert not {"$defs", "prefixItems"} & _keywords(schema)


def _follow(node: Any, document: dict[str, Any]) -> None:
    if isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            target: Any = document
            for part in reference.removeprefix("#/").split("/"):
                target = target[part]
        for value in node.values():
            _follow(value, document)
    elif isinstance(node, list):
        for value in node:
            _follow(value, document)


def _keywords(node: Any) -> set[str]:
    if isinstance(node, dict):
        return set(node).union(*map(_keywords, node.values()))
    return set().union(*map(_keywords, node)) if isinstance(node, list) else set()


def test_asyncapi_of_all_that_is_installed(shell: Shell, require_all: bool) -> None:
    """Every plugin of this repository."""
    result = shell("schema", "--format", "asyncapi")
    assert result.status == 0
    _judged(result.json, require_all)
    assert result.json["info"]["title"] == "jackfield"
    assert "api.services.test" in result.json["channels"]


def test_asyncapi_of_every_kind(shell: Shell, site: Path, require_all: bool) -> None:
    """Streams, unions with a tag, models that hold themselves, Buffers, events."""
    document = shell("schema", "seats", "--format", "asyncapi", path=[site]).json
    _judged(document, require_all)
    assert document["info"] == {"title": "jackfield-seats", "version": "1.0"}
    operation = document["operations"]["api.seats.f"]
    assert operation["action"] == "receive"
    assert operation["summary"] == "Say it in a word."
    assert operation["description"].endswith("And then in many.")
    assert operation["x-jackfield"] == {
        "kind": "unary",
        "optional": False,
        "errors": ["aborted"],
        "requires": ["a"],
        "ordered": False,
        "detached": False,
        "timeout": None,
        "deprecated": "use g",
    }
    assert document["operations"]["api.seats.f.emits.moved_away"]["action"] == "send"
    message = document["channels"]["api.seats"]["messages"]["f.emits.moved_away"]
    assert message["name"] == "moved/away"
    schemas = document["components"]["schemas"]
    assert schemas["api.seats.f.input"]["discriminator"] == "kind"
    [page] = [one for name, one in schemas.items() if "place" in one.get("properties", {})]
    assert page["properties"]["place"]["items"] == [{"type": "integer"}, {"type": "string"}]
    assert page["properties"]["place"]["additionalItems"] is False


def test_asyncapi_of_a_server(shell: Shell, server: Server, require_all: bool) -> None:
    """With its address; what it tells is what the caller may call."""
    document = shell("schema", server.url, "--format", "asyncapi").json
    _judged(document, require_all)
    [place] = document["servers"].values()
    assert place == {
        "host": server.url.removeprefix("http://"),
        "protocol": "socketio",
        "protocolVersion": "5",
        "pathname": "/socket.io",
    }
    assert "api.system.describe" in document["operations"]


def test_json_schema_of_every_kind(shell: Shell, site: Path) -> None:
    """One document of 2020-12, in which every reference leads somewhere and values can be validated."""
    document = shell("schema", "seats", "--format", "jsonschema", path=[site]).json
    Draft202012Validator.check_schema(document)
    _follow(document, document)
    assert {"api.seats.f.input", "api.seats.f.output", "api.seats.f.emits.moved_away"} <= document["$defs"].keys()

    def fits(value: object, name: str) -> bool:
        return Draft202012Validator({**document, "$ref": f"#/$defs/{name}"}).is_valid(value)

    assert fits({"kind": "dog", "friend": {"kind": "dog"}}, "api.seats.f.input")
    assert not fits({"kind": "dog", "friend": {"kind": "cat"}}, "api.seats.f.input")
    assert not fits({"kind": "bird"}, "api.seats.f.input")
    assert fits({"n": 1}, "api.seats.both.output")
