"""Who may do what in which channel: the first rule that matches, and the function that it names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from jackfield import Call, CallError, Code
from jackfield_channels.names import covers, is_pattern, overlap
from jackfield_channels.settings import Rule, Who

Action: TypeAlias = Literal["subscribe", "publish"]

_REMEMBERED: Final = 10_000
"""Channels whose rule is not looked for again."""
_NO_RULE: Final = Rule(match="*")


class Rules:
    """The rules of a server.

    Args:
        rules: Those of the operator; the first that matches decides.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = (*rules, _NO_RULE)
        self._first = lru_cache(_REMEMBERED)(self._find)

    @property
    def keep_history(self) -> bool:
        """Whether any channel has history."""
        return any(rule.history for rule in self._rules)

    def of(self, channel: str) -> Rule:
        """Return the rule for a channel."""
        return self._first(channel)

    def _find(self, channel: str) -> Rule:
        return next(rule for rule in self._rules if covers(rule.match, channel))

    async def check(self, call: Call, action: Action, channel: str) -> None:
        """Refuse a caller who may not do something; with a pattern, who may not do it in all that it stands for.

        Raises:
            CallError: `permission_denied`; or what the function raised that a rule asks.
        """
        if call.client is None and call.principal is None:  # a plugin, as itself
            return
        scopes = frozenset[str]() if call.principal is None else call.principal.scopes
        for rule in self._concerned(channel):
            if (missing := _missing(getattr(rule, action), scopes)) is not None:
                raise _denied(action, channel, f"{missing} (the rule for {rule.match!r} in plugins.channels.rules)")
            if rule.ask is not None:
                said = await call.invoke(rule.ask, {"channel": channel, "action": action})
                if said is not True:
                    raise _denied(action, channel, f"{rule.ask} does not allow it")

    def _concerned(self, channel: str) -> Sequence[Rule]:
        if not is_pattern(channel):
            return (self.of(channel),)
        concerned: list[Rule] = []
        for rule in self._rules:
            if overlap(rule.match, channel):
                concerned.append(rule)
            if covers(rule.match, channel):  # no later one has a say
                break
        return concerned


def _missing(who: Who, scopes: frozenset[str]) -> str | None:
    """Return what keeps a caller with these scopes from being among those who may, if anything does."""
    if isinstance(who, bool):
        return None if who else "no client may"
    return None if scopes.issuperset(who) else f"it requires {' and '.join(who)}"


def _denied(action: Action, channel: str, why: str) -> CallError:
    return CallError(Code.PERMISSION_DENIED, f"You may not {action} to {channel!r}: {why}.")
