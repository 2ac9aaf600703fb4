"""`jackfield diff` on a labelled list of changes: each finds its rule, and none that breaks callers passes."""

from __future__ import annotations

import pytest

from jackfield import Service
from jackfield._cli.contract import rules
from jackfield._cli.contract.comparing import Change, compare
from jackfield._cli.contract.document import Document, PluginContract, functions_of, parse
from jackfield._contract import Contract
from jackfield._manifest import Manifest
from jackfield._plugins import Plugin, Served, State
from jackfield._registry import Registry
from tests.contract.changes import BREAKING, KEPT, Author, Pair

NAMESPACE = "api.seats"


def contract(author: Author) -> Document:
    """Return the contract of a plugin with one service, as it is read back from its file."""
    service = Service(NAMESPACE)
    author(service)
    plugin = Plugin(
        Manifest(name="seats", target="seats", distribution="seats", version="1", namespaces=(NAMESPACE,)),
        state=State.LOADED,
        served=tuple(
            Served(f"{NAMESPACE}.{one.name}", one, Contract(one.handler, one.emits)) for one in service.functions
        ),
    )
    functions = functions_of("seats", [entry.info for entry in Registry([plugin]).table.values()])
    made = Document(plugins=(PluginContract(name="seats", version="1", namespaces=(NAMESPACE,), functions=functions),))
    assert parse(made.to_json(), "the file") == made
    return made


def changes(pair: Pair) -> list[Change]:
    return compare(contract(pair.before), contract(pair.after))


@pytest.mark.parametrize("pair", BREAKING, ids=lambda pair: pair.name)
def test_what_breaks_callers_is_found(pair: Pair) -> None:
    """With its rule, and a reason."""
    found = [change for change in changes(pair) if change.breaking]
    assert pair.rule in {change.rule for change in found}
    assert all(change.reason.endswith(".") for change in found)


@pytest.mark.parametrize("pair", KEPT, ids=lambda pair: pair.name)
def test_what_breaks_nobody_passes(pair: Pair) -> None:
    """It is told of where it is more than other words for the same."""
    found = changes(pair)
    assert [change for change in found if change.breaking] == []
    assert {change.rule for change in found} == ({pair.rule} if pair.rule else set())


@pytest.mark.parametrize("pair", [*BREAKING, *KEPT], ids=lambda pair: pair.name)
def test_a_contract_is_what_it_is(pair: Pair) -> None:
    """Nothing has changed between a contract and itself."""
    assert compare(contract(pair.before), contract(pair.before)) == []
    assert compare(contract(pair.after), contract(pair.after)) == []


def test_every_rule_of_functions_is_on_the_list() -> None:
    """Save those of whole plugins and namespaces, which other tests are about."""
    listed = {pair.rule for pair in (*BREAKING, *KEPT)} - {""}
    assert rules.RULES.keys() - listed == {"namespace-removed", "namespace-added", "kernel-changed"}
    assert {pair.rule for pair in BREAKING} == {name for name in listed if rules.RULES[name].breaking}
