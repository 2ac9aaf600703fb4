"""Who may call a function: the operator's word, else its author's, else nobody's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from jackfield._host import FunctionInfo
from jackfield._identity import Principal
from jackfield._service import Function
from jackfield._settings import AccessRule


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call one function.

    Args:
        requires: The scopes that a caller needs; None where nobody has said.
        visible: Whether callers who may not call it may know of it.
        denied: Whether nobody may call it.
    """

    requires: tuple[str, ...] | None = None
    visible: bool = False
    denied: bool = False

    def admits(self, principal: Principal | None) -> bool | None:
        """Tell whether a caller may call it; None where nobody has said.

        Where plugins say who is calling, a call without a principal comes from a plugin, as itself.
        """
        if self.denied:
            return False
        if principal is None:
            return True
        return None if self.requires is None else principal.scopes.issuperset(self.requires)

    @property
    def refusal(self) -> str:
        """What a caller is told who may know of it."""
        if self.denied or not self.requires:
            return "You may not call this function."
        return f"You may not call this function: it requires {' and '.join(self.requires)}."


class Rules:
    """The rules of a server.

    Args:
        rules: Those of the operator; the first that matches decides.
        authenticated: Whether clients have to say who they are. If not, authors' words say nothing yet.
    """

    def __init__(self, rules: Sequence[AccessRule] = (), *, authenticated: bool = False) -> None:
        self._rules = rules
        self.authenticated = authenticated

    def of(self, event: str, function: Function | None = None) -> Access | None:
        """Return who may call a function, of which no more than its name may be known; None where everybody may."""
        rule = next((r for r in self._rules if any(fnmatchcase(event, p) for p in r.functions)), None)
        if rule is not None and rule.deny:
            return Access(denied=True, visible=rule.visible)
        if not self.authenticated:
            return None
        if rule is not None:
            return Access(rule.requires, rule.visible)
        return Access() if function is None else Access(function.requires, function.visible)

    def unopened(self, functions: Iterable[FunctionInfo]) -> list[str]:
        """Return a sentence for each namespace with functions that nobody may call, for nobody has said who may."""
        if not self.authenticated:
            return []
        closed = Counter(
            one.event.rpartition(".")[0]
            for one in functions
            if one.requires is None
            and not any(fnmatchcase(one.event, p) for rule in self._rules for p in rule.functions)
        )
        return [
            f"{namespace}: nobody may call {count} of its functions: their author names no scope, "
            "and no rule of access.rules opens them"
            for namespace, count in sorted(closed.items())
        ]

    @property
    def need_scopes(self) -> bool:
        """Whether a rule makes sense only where clients have to say who they are."""
        return any(not rule.deny for rule in self._rules)
