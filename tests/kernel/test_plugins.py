"""Which plugins may be loaded, in which order, and why one is not."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from jackfield._errors import PluginError
from jackfield._guard import TimeIsUp
from jackfield._manifest import Found, Manifest
from jackfield._plugins import Plugin, State, blame_dependency, describe, in_order
from jackfield._selection import select
from jackfield._settings import PluginSettings


def manifest(name: str, *namespaces: str, distribution: str | None = None, **fields: Any) -> Manifest:
    """Return the manifest of a plugin of which no more is said than the test needs."""
    distribution = distribution or f"jackfield-{name}"
    return Manifest(name=name, target="m", distribution=distribution, version="1", namespaces=namespaces, **fields)


def plugin(name: str, *requires: str, distribution: str | None = None) -> Plugin:
    """Return a plugin that needs others, named by their distributions."""
    return Plugin(manifest(name, distribution=distribution, requires=frozenset(requires)))


def states(plugins: Sequence[Plugin]) -> dict[str, tuple[str, str | None]]:
    """Return what was decided for each."""
    return {one.name: (one.state, one.fault.kind if one.fault else None) for one in plugins}


def names(waves: Sequence[Sequence[Plugin]]) -> list[list[str]]:
    """Return the waves by name."""
    return [[one.name for one in wave] for wave in waves]


# ------------------------------------------------------------------- select


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ("discovered", "discovered")),
        ({"disabled": ["one"]}, ("disabled", "discovered")),
        ({"disabled": ["jackfield-one:one"]}, ("disabled", "discovered")),
        ({"disabled": ["other:one", "nobody"]}, ("discovered", "discovered")),
        ({"enabled": ["one"]}, ("discovered", "discovered")),
        ({"policy": "listed"}, ("refused", "refused")),
        ({"policy": "listed", "enabled": ["two"]}, ("refused", "discovered")),
        ({"policy": "listed", "enabled": ["jackfield-two:two"]}, ("refused", "discovered")),
        ({"policy": "listed", "enabled": ["one"], "disabled": ["one"]}, ("disabled", "refused")),
    ],
)
def test_the_lists_decide(settings: dict[str, Any], expected: tuple[str, str]) -> None:
    """Names, or distribution:name; disabled wins over enabled; a list that is not the policy keeps nobody out."""
    found = [Found(manifest("one")), Found(manifest("two"))]
    plugins, faults = select(found, PluginSettings(**settings), "0.1.0")
    assert (tuple(one.state.value for one in plugins), faults) == (expected, [])


def test_a_plugin_that_is_not_listed_tells_how_to_list_it() -> None:
    """The reason comes with the command that changes it."""
    (one,), _ = select([Found(manifest("one"))], PluginSettings(policy="listed"), "0.1.0")
    assert one.info.reason == "it is not on the list"
    assert one.info.hint == "jackfield plugins enable one"


@pytest.mark.parametrize(
    ("requires", "kernel", "state"),
    [
        ("", "0.1.0", "discovered"),
        (">=0.1,<0.2", "0.1.0", "discovered"),
        (">=0.1,<0.2", "0.1.5.dev3", "discovered"),
        (">=0.1,<0.2", "0.2.0", "refused"),
        (">=1", "0.1.0", "refused"),
    ],
)
def test_the_kernel_must_be_one_that_the_plugin_allows(requires: str, kernel: str, state: str) -> None:
    """A development version of the kernel counts as one of its series."""
    (one,), faults = select([Found(manifest("one", requires_kernel=requires))], PluginSettings(), kernel)
    assert (one.state, faults) == (state, [])
    if state == "refused":
        assert one.info.reason == f"it needs jackfield {requires}, this is {kernel}"


def test_what_is_out_anyway_collides_with_nobody() -> None:
    """A name or a namespace is claimed only by plugins that may be loaded."""
    found = [
        Found(manifest("one", "api.one")),
        Found(manifest("one", "api.one", distribution="off")),
        Found(manifest("one", "api.one", distribution="old", requires_kernel=">=9")),
        Found(manifest("one", "api.one", distribution="bad"), "its manifest is invalid"),
    ]
    plugins, faults = select(found, PluginSettings(disabled=("off:one",)), "0.1.0")
    assert [one.state.value for one in plugins] == ["discovered", "disabled", "refused", "refused"]
    assert faults == []


def test_every_collision_and_every_missing_plugin_is_a_fault() -> None:
    """All claimants are named, not just the first two, and a name that is not installed comes with the nearest."""
    found = [Found(manifest("one", "api.same", distribution=d)) for d in ("a", "b", "c")]
    _, faults = select(found, PluginSettings(enabled=("onne", "a:one", "x:one")), "0.1.0")
    assert faults == [
        "plugins.enabled: no plugin 'onne' is installed; did you mean 'one'?",
        "plugins.enabled: no plugin 'x:one' is installed; did you mean 'one'?",
        "two plugins claim the name 'one': a:one and b:one and c:one; "
        'put one of them into plugins.disabled, such as disabled = ["c:one"]',
        "two plugins claim the namespace 'api.same': a:one and b:one and c:one; "
        'put one of them into plugins.disabled, such as disabled = ["c:one"]',
    ]


# ------------------------------------------------------------------- in_order


def test_dependencies_come_first() -> None:
    """Each wave needs earlier ones only, and is sorted by name."""
    plugins = [plugin("top", "jackfield-b", "jackfield-a"), plugin("b", "jackfield-base"), plugin("base")]
    plugins += [plugin("a", "jackfield-base", "pydantic"), plugin("alone")]
    assert names(in_order(plugins)) == [["alone", "base"], ["a", "b"], ["top"]]


def test_the_plugins_of_one_distribution_stand_together() -> None:
    """A distribution that requires itself, by way of an extra, waits for nobody."""
    plugins = [plugin("one", "both", distribution="Both"), plugin("two", distribution="both"), plugin("user", "both")]
    assert names(in_order(plugins)) == [["one", "two"], ["user"]]


def test_nothing_is_in_no_order() -> None:
    """No plugins, no waves."""
    assert in_order([]) == []


def test_a_circle_is_taken_out() -> None:
    """Plugins that need each other are quarantined, with the circle in the order in which they do; others go on."""
    circle = [plugin("a", "jackfield-b"), plugin("b", "jackfield-c"), plugin("c", "jackfield-a")]
    pair = [plugin("x", "jackfield-y"), plugin("y", "jackfield-x")]
    others = [plugin("needs_a", "jackfield-a"), plugin("alone")]
    assert names(in_order([*circle, *pair, *others])) == [["alone", "needs_a"]]
    assert states([*circle, *pair]) == dict.fromkeys("abcxy", ("quarantined", "DependencyCycle"))
    reason = circle[0].info.reason
    assert reason is not None
    path = reason.removeprefix("it depends on itself: ").split(" → ")
    assert {(left[-1], right[-1]) for left, right in itertools.pairwise(path)} == {
        ("a", "b"),
        ("b", "c"),
        ("c", "a"),
    }


def test_who_needs_a_quarantined_plugin_is_quarantined_too() -> None:
    """The reason names the plugin that is needed; one that is merely disabled is nobody's fault."""
    broken, off = plugin("broken", distribution="Broken.Plugin"), plugin("off")
    broken.quarantine(PluginError("no disk"))
    off.state = State.DISABLED
    user, other = plugin("user", "broken-plugin"), plugin("other", "jackfield-off")
    assert blame_dependency(user, [broken, off])
    assert not blame_dependency(other, [broken, off])
    assert user.info.reason == "it needs the plugin broken, which is quarantined"
    assert states([user, other]) == {"user": ("quarantined", "DependencyError"), "other": ("discovered", None)}


# ------------------------------------------------------------------- describe


def raised(code: str, file: str = "/plugins/theirs.py") -> BaseException:
    """Return what the code raises."""
    try:
        exec(compile(code, file, "exec"), {})
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError(code)


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        ("raise OSError('no disk')", "OSError", "OSError: no disk (/plugins/theirs.py:1)"),
        ("\n\nraise SystemExit", "SystemExit", "SystemExit (/plugins/theirs.py:3)"),
        ("def f():\n  1 / 0\nf()", "ZeroDivisionError", "ZeroDivisionError: division by zero (/plugins/theirs.py:2)"),
        ("x =", "SyntaxError", "SyntaxError: invalid syntax (/plugins/theirs.py:1)"),
        ("raise ValueError('a\\n\\n  b')", "ValueError", "ValueError: a b (/plugins/theirs.py:1)"),
        (
            "e = ValueError('a'); e.add_note('and a note'); raise e",
            "ValueError",
            "ValueError: a and a note (/plugins/theirs.py:1)",
        ),
    ],
)
def test_an_exception_becomes_a_reason(code: str, kind: str, reason: str) -> None:
    """One line: what was raised, its whole text, and the place in the plugin."""
    fault = describe(raised(code))
    assert (fault.kind, fault.reason, fault.hint) == (kind, reason, None)


def test_a_missing_module_comes_with_what_to_install() -> None:
    """The hint names the distribution that the module is most likely in."""
    fault = describe(raised("import there_is_no.such_module"))
    assert fault.hint == "pip install there_is_no"


def test_out_of_time_is_said_in_words() -> None:
    """The exception that the guard raises is no business of the operator's."""
    fault = describe(TimeIsUp())
    assert (fault.kind, fault.reason) == ("TimeIsUp", "it took too long")
    assert fault.hint == "raise server.start_timeout, or mend the plugin"


def test_a_reason_of_our_own_is_kept() -> None:
    """What is a `PluginError` already says all there is to say."""
    fault = PluginError("it is blue", kind="Color", hint="paint it")
    assert describe(fault) is fault


def test_the_log_has_a_line_for_each_plugin_that_is_out(caplog: pytest.LogCaptureFixture) -> None:
    """An error where something is broken, a warning where something is refused."""
    plugin("one").quarantine(PluginError("it is blue"))
    plugin("two").refuse(PluginError("it is not on the list"))
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "plugin one is quarantined: it is blue"),
        (logging.WARNING, "plugin two is refused: it is not on the list"),
    ]
