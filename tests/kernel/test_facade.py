"""Hooks: how they are checked, and in which order they are asked."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import BaseModel

from jackfield import Handshake, Kernel, Observer, Principal, Service, hookimpl
from jackfield._errors import PluginError, StartError
from jackfield._facade import Hooks, check_hooks, forgotten_marks, hook_names
from tests.support.dispatching import KernelView


def plugin(**hooks: Callable[..., Any]) -> SimpleNamespace:
    """Return a plugin with these hooks, marked."""
    return SimpleNamespace(**{name: hookimpl(function) for name, function in hooks.items()})


def refused(found: object) -> tuple[str, str]:
    """Return the kind and the reason with which a plugin is refused."""
    with pytest.raises(PluginError) as caught:
        check_hooks(found, "theirs")
    return caught.value.kind, caught.value.reason


KERNEL = cast(Kernel, object())


# ------------------------------------------------------------------- checks


def test_the_hooks_are_those_that_are_documented() -> None:
    """In the order of their declaration."""
    assert hook_names() == (
        "jackfield_settings",
        "jackfield_abstain",
        "jackfield_services",
        "jackfield_startup",
        "jackfield_shutdown",
        "jackfield_client_manager",
        "jackfield_publish",
        "jackfield_http",
        "jackfield_health",
        "jackfield_authenticate",
        "jackfield_connect",
        "jackfield_disconnect",
        "jackfield_authorize",
        "jackfield_admit",
        "jackfield_observe",
        "jackfield_call",
    )


def test_a_plugin_may_have_any_of_them_with_fewer_arguments() -> None:
    """No hook is needed, and no argument is."""

    def services() -> list[Service]:
        return []

    async def start() -> None: ...

    check_hooks(SimpleNamespace(), "theirs")
    check_hooks(plugin(jackfield_services=services, jackfield_startup=start), "theirs")


def test_every_misspelt_hook_is_named_with_the_nearest() -> None:
    """One that resembles none is named alone."""
    found = plugin(jackfield_conect=lambda: None, jackfield_setings=lambda: None, zzz=lambda: None)
    assert refused(found) == (
        "PluginValidationError",
        "there is no hook 'jackfield_conect'; did you mean 'jackfield_connect'?; "
        "there is no hook 'jackfield_setings'; did you mean 'jackfield_settings'?; "
        "there is no hook 'zzz'",
    )


def test_an_argument_that_the_hook_does_not_have() -> None:
    """The reason shows those that it has."""

    def admit(request: object) -> None: ...

    assert refused(plugin(jackfield_admit=admit)) == (
        "PluginValidationError",
        "jackfield_admit takes call, and has no 'request'",
    )

    def settings(config: object) -> None: ...

    async def startup(config: object, kernel: object, other: object) -> None: ...

    assert refused(plugin(jackfield_settings=settings, jackfield_startup=startup, zzz=settings))[1] == (
        "jackfield_settings takes no arguments, and has no 'config'; "
        "jackfield_startup takes kernel, settings, and has no 'config', 'other'; "
        "there is no hook 'zzz'"
    )


ASYNC = {
    "jackfield_startup",
    "jackfield_shutdown",
    "jackfield_publish",
    "jackfield_health",
    "jackfield_authenticate",
    "jackfield_connect",
    "jackfield_disconnect",
    "jackfield_call",
}


@pytest.mark.parametrize("hook", hook_names())
def test_coroutine_functions_stand_where_they_must(hook: str) -> None:
    """And plain functions everywhere else."""

    def plain() -> None: ...

    async def coroutine() -> None: ...

    right, wrong = (coroutine, plain) if hook in ASYNC else (plain, coroutine)
    check_hooks(plugin(**{hook: right}), "theirs")
    should = "must be a coroutine function (async def)" if hook in ASYNC else "must be a plain function (def)"
    assert refused(plugin(**{hook: wrong})) == ("PluginError", f"{hook} {should}")


@pytest.mark.parametrize("mark", [hookimpl(wrapper=True), hookimpl(hookwrapper=True)])
def test_wrappers_are_refused(mark: Callable[[Any], Any]) -> None:
    """Both kinds that pluggy has."""

    def wrap() -> Any:
        yield

    found = SimpleNamespace(jackfield_settings=mark(wrap))
    reason = "jackfield_settings is a wrapper, which jackfield does not support: use jackfield_call"
    assert refused(found) == ("PluginError", reason)


def test_forgotten_marks_are_found() -> None:
    """Functions that have the name of a hook, but not the mark."""
    found = plugin(jackfield_admit=lambda: None)
    found.jackfield_services = list
    found.jackfield_startup = "no function"
    found.jackfield_nothing = lambda: None
    assert forgotten_marks(found) == ["jackfield_services"]


# ------------------------------------------------------------------- what one plugin says


def test_settings_and_services_of_one_plugin() -> None:
    """The model is asked for first, its instance is handed on."""

    class Model(BaseModel):
        name: str = "api.one"

    hooks = Hooks(
        [
            (
                "one",
                plugin(
                    jackfield_settings=lambda: Model,
                    jackfield_services=lambda settings: (Service(settings.name),),
                ),
            )
        ]
    )
    assert hooks.settings_model() is Model
    assert [service.namespace for service in hooks.services(Model())] == ["api.one"]


def test_a_plugin_without_hooks_says_nothing() -> None:
    """No settings, no services, nobody to ask."""
    hooks = Hooks([("one", SimpleNamespace())])
    assert (hooks.settings_model(), hooks.services(None), hooks.authenticates) == (None, [], False)
    assert (hooks.authorizers(), hooks.admitters(), hooks.observers(), hooks.wrappers()) == ((), (), (), ())


@pytest.mark.parametrize("services", [None, Service("api.one"), [object()], "api", {"a": Service("api.one")}])
def test_services_that_are_no_list_of_services(services: object) -> None:
    """The reason shows what was returned instead."""
    hooks = Hooks([("one", plugin(jackfield_services=lambda: services))])
    with pytest.raises(PluginError) as caught:
        hooks.services(None)
    assert caught.value.reason == f"jackfield_services must return a list of Service objects, not {services!r:.100}"


def test_an_observer_is_asked_for_once() -> None:
    """Who was given the answer does not ask again."""
    asked = []

    def observe() -> Observer:
        asked.append(True)
        return Observer()

    found = plugin(jackfield_observe=observe)
    alone = Hooks([("one", found)]).observers()
    together = Hooks([("one", found)], dict(alone)).observers()
    assert together == alone
    assert len(asked) == 1


def test_the_client_manager_is_that_of_one_plugin() -> None:
    """Those that return None have none; the plugin's name comes with it."""
    manager = object()
    found = [("one", plugin(jackfield_client_manager=lambda: None)), ("two", SimpleNamespace())]
    assert Hooks(found).client_manager(KERNEL) is None
    asked: list[Kernel] = []

    def make(kernel: Kernel) -> object:
        asked.append(kernel)
        return manager

    found.append(("three", plugin(jackfield_client_manager=make)))
    assert Hooks(found).client_manager(KERNEL) == ("three", manager)
    assert asked == [KERNEL]


def test_two_client_managers_and_one_that_fails() -> None:
    """All faults are named at once, with their plugins."""

    def fail() -> object:
        raise OSError("no queue")

    makers: list[Callable[[], object]] = [lambda: 1, fail, lambda: 2]
    hooks = Hooks([(f"p{number}", plugin(jackfield_client_manager=make)) for number, make in enumerate(makers)])
    with pytest.raises(StartError) as caught:
        hooks.client_manager(KERNEL)
    assert caught.value.faults == (
        "jackfield_client_manager of plugin p1 failed: OSError: no queue",
        "several plugins return a client manager, and a server can have one: p0 and p2; "
        "put all but one of them into plugins.disabled",
    )


def test_one_plugin_offers_channels() -> None:
    """Of two, neither is guessed at."""

    async def publish() -> None: ...

    async def publish_too() -> None: ...

    assert Hooks([("one", SimpleNamespace())]).publisher() is None
    found = [("one", plugin(jackfield_publish=publish)), ("two", plugin(jackfield_publish=publish_too))]
    asked = Hooks(found[:1]).publisher()
    assert asked is not None
    assert asked.plugin == "one"
    with pytest.raises(StartError) as caught:
        Hooks(found).publisher()
    assert caught.value.faults == (
        "several plugins offer channels (jackfield_publish), and a server can have one: one and two; "
        "put all but one of them into plugins.disabled",
    )


# ------------------------------------------------------------------- order


def named(name: str, *, tryfirst: bool = False, trylast: bool = False) -> tuple[str, SimpleNamespace]:
    """Return a plugin that admits nobody, and says its name."""

    def admit(call: Any) -> None:
        call.append(name)

    return name, SimpleNamespace(jackfield_admit=hookimpl(tryfirst=tryfirst, trylast=trylast)(admit))


def test_plugins_are_asked_in_their_starting_order() -> None:
    """Which `tryfirst` and `trylast` change, each keeping that order among themselves."""
    hooks = Hooks(
        [
            named("a"),
            named("last-b", trylast=True),
            named("first-c", tryfirst=True),
            named("d"),
            named("first-e", tryfirst=True),
            named("last-f", trylast=True),
        ]
    )
    asked: list[str] = []
    for admit in hooks.admitters():
        admit(cast(Any, asked))
    assert asked == ["first-c", "first-e", "a", "d", "last-b", "last-f"]


async def test_the_first_principal_wins() -> None:
    """Who comes later is not asked."""
    asked = []

    def knows(principal: Principal | None) -> SimpleNamespace:
        async def authenticate(handshake: Handshake) -> Principal | None:
            asked.append(principal)
            return principal

        return plugin(jackfield_authenticate=authenticate)

    answers = [None, Principal("one"), Principal("two")]
    hooks = Hooks([(f"p{number}", knows(answer)) for number, answer in enumerate(answers)])
    assert hooks.authenticates
    assert await hooks.authenticate(Handshake(), KernelView()) == Principal("one")
    assert asked == [None, Principal("one")]
    assert await Hooks([("p", knows(None))]).authenticate(Handshake(), KernelView()) is None


async def test_the_first_wrapper_is_the_outermost() -> None:
    """Wrappers come in the order in which the call meets them, with the arguments that they take."""
    told = []

    def wraps(name: str) -> SimpleNamespace:
        async def call(proceed: Any) -> object:
            told.append(name)
            return await proceed()

        return plugin(jackfield_call=call)

    async def proceed() -> str:
        return "result"

    wrappers = Hooks([("one", wraps("one")), ("two", wraps("two"))]).wrappers()
    arguments: dict[str, Any] = {"call": None, "data": None, "encode": None, "meta": {}}
    assert [await wrap(proceed=proceed, **arguments) for wrap in wrappers] == ["result", "result"]
    assert told == ["one", "two"]


async def test_start_and_stop_reach_the_one_plugin() -> None:
    """With the arguments that it takes."""
    told: list[object] = []

    async def start(settings: object) -> None:
        told.append(settings)

    async def stop(kernel: object) -> None:
        told.append(kernel)

    class Model(BaseModel): ...

    hooks = Hooks([("one", plugin(jackfield_startup=start, jackfield_shutdown=stop))])
    model = Model()
    await hooks.startup(KERNEL, model)
    await hooks.shutdown(KERNEL)
    assert told == [model, KERNEL]
