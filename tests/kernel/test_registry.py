"""The frozen table: what is in it, who owns a namespace, and what a caller may have meant."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from jackfield import Call, Service
from jackfield._contract import Contract
from jackfield._errors import PluginError
from jackfield._manifest import Manifest
from jackfield._plugins import Plugin, Served, State
from jackfield._registry import Registry


async def documented(call: Call, data: int) -> str:
    """Say a number.

    In words, and in English.
    """
    return str(data)


async def silent(call: Call) -> None: ...


def plugin(
    name: str, functions: Iterable[str], *, state: State = State.STARTED, namespaces: tuple[str, ...] | None = None
) -> Plugin:
    """Return a plugin that serves functions without a promise."""
    services: dict[str, Service] = {}
    for event in functions:
        namespace, _, function = event.rpartition(".")
        services.setdefault(namespace, Service(namespace)).function(silent, name=function)  # type: ignore[call-overload]
    served = tuple(
        Served(f"{service.namespace}.{function.name}", function, Contract(function.handler))
        for service in services.values()
        for function in service.functions
    )
    declared = tuple(services) if namespaces is None else namespaces
    manifest = Manifest(name=name, target="m", distribution=f"d-{name}", version="1", namespaces=declared)
    return Plugin(manifest, state=state, served=served)


def anybody(name: str) -> bool:
    """Let everything be seen."""
    return True


def test_the_table_is_sorted_and_frozen() -> None:
    """Functions of all plugins in service stand in it by event; nothing can be added."""
    registry = Registry([plugin("two", ["api.b.y", "api.b.x"]), plugin("one", ["api.a.z"], state=State.LOADED)])
    assert list(registry.table) == ["api.a.z", "api.b.x", "api.b.y"]
    assert [entry.plugin for entry in registry.table.values()] == ["one", "two", "two"]
    with pytest.raises(TypeError):
        registry.table["api.c.d"] = registry.table["api.a.z"]  # type: ignore[index]


@pytest.mark.parametrize("state", [State.DISABLED, State.REFUSED, State.QUARANTINED, State.STOPPED, State.DISCOVERED])
def test_what_is_out_of_service_says_so(state: State) -> None:
    """Its functions are not in the table; each of its namespaces knows why, known function or not."""
    registry = Registry([plugin("one", ["api.one.f"], state=state), plugin("two", ["api.two.f"])])
    assert list(registry.table) == ["api.two.f"]
    assert registry.out_of_service("api.one.f", None) == f"api.one.f: the plugin one is {state.value}."
    assert registry.out_of_service("api.one.g", None) == f"api.one.g: the plugin one is {state.value}."
    assert registry.out_of_service("api.two.g", None) is None
    assert registry.out_of_service("api.three.g", None) is None
    assert registry.out_of_service("api.one", None) is None
    assert registry.out_of_service("f", None) is None


def test_a_namespace_belongs_to_the_plugin_in_service() -> None:
    """Whoever else claims it, first or last."""
    rivals = [
        plugin("off", [], state=State.DISABLED, namespaces=("api.one",)),
        plugin("on", ["api.one.f"]),
        plugin("bad", [], state=State.REFUSED, namespaces=("api.one",)),
    ]
    for order in (rivals, rivals[::-1]):
        assert Registry(order).out_of_service("api.one.g", None) is None


def test_why_it_is_out_of_service_is_not_told_to_callers() -> None:
    """The state is; the reason is for operators."""
    broken = plugin("one", ["api.one.f"])
    broken.quarantine(PluginError("the password is 1234"))
    assert Registry([broken]).out_of_service("api.one.f", None) == "api.one.f: the plugin one is quarantined."


EVENTS = ["api.orders.create", "api.orders.cancel", "api.orders.list", "api.users.create", "shop.basket.empty"]


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("api.orders.creat", ["api.orders.create"]),
        ("api.orders.cance1", ["api.orders.cancel"]),
        ("api.order.create", ["api.orders.create", "api.users.create"]),
        ("create.create", ["api.orders.create", "api.users.create"]),
        ("api.order.creat", ["api.orders.create"]),
        ("shop.bascet.emty", ["shop.basket.empty"]),
        ("api.users.list", ["api.orders.list"]),
        ("nothing.like.it", []),
        ("create", ["api.orders.create", "api.users.create"]),
        ("", []),
    ],
)
def test_the_nearest_names(wrong: str, meant: list[str]) -> None:
    """Near functions of the namespace, the same function elsewhere, near functions of a near namespace."""
    assert Registry([plugin("one", EVENTS)]).nearest(wrong, anybody) == meant


def test_no_more_than_three_and_nothing_that_is_hidden() -> None:
    """What the caller may not see is no hint."""
    registry = Registry([plugin("one", [f"api.n.name{number}" for number in range(9)])])
    nearest = registry.nearest("api.n.name", anybody)
    assert len(nearest) == 3
    assert registry.nearest("api.n.name", lambda name: name != nearest[1]) == [nearest[0], nearest[2]]
    assert registry.nearest("api.n.name", lambda name: False) == []


def test_a_function_is_described() -> None:
    """Kind, plugin, the first line of its docstring and all of it, errors and both schemas."""
    service = Service("api.one")
    service.function(errors=["not_found"])(documented)
    served = tuple(Served("api.one.documented", one, Contract(one.handler)) for one in service.functions)
    described = plugin("one", [], namespaces=("api.one",))
    described.served = served
    info = Registry([described]).table["api.one.documented"].info
    assert (info.kind, info.plugin, info.summary, info.errors) == ("unary", "one", "Say a number.", ("not_found",))
    assert info.doc == "Say a number.\n\nIn words, and in English."
    assert (info.input, info.output) == ({"type": "integer"}, {"type": "string"})


def test_a_function_is_described_as_it_was_declared() -> None:
    """Order, life, deadline, deprecation, what it emits, and whether data may be left out."""
    service = Service("api.one")

    @service.function(ordered=True, detached=True, timeout=5, deprecated="use g", emits={"moved": bytes})
    async def f(call: Call, data: int = 1) -> None: ...

    described = plugin("one", [], namespaces=("api.one",))
    [function] = service.functions
    described.served = (Served("api.one.f", function, Contract(function.handler, function.emits)),)
    info = Registry([described]).table["api.one.f"].info
    assert (info.ordered, info.detached, info.timeout, info.deprecated) == (True, True, 5, "use g")
    assert info.emits == {"moved": {"type": "string", "format": "binary"}}
    assert info.optional is True


def test_a_function_without_data_takes_null() -> None:
    """Its input is described as such, and a missing docstring as an empty one."""
    info = Registry([plugin("one", ["api.one.f"])]).table["api.one.f"].info
    assert (info.input, info.output, info.summary, info.doc) == ({"type": "null"}, {"type": "null"}, "", "")
