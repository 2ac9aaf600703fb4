"""The rules of one server, asked for every call."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from fnmatch import fnmatchcase
from time import monotonic
from typing import Final, NoReturn, TypeAlias

from jackfield import Call, CallError, Code
from jackfield_ratelimit.buckets import Buckets
from jackfield_ratelimit.keys import KeyOf, key_for
from jackfield_ratelimit.settings import RatelimitSettings, Rule

_EACH: Final = {
    "principal": "each caller",
    "connection": "each connection",
    "address": "each address",
    "function": "each function",
    "plugin": "each plugin",
    "server": "all together",
}


def local(rule: Rule) -> Buckets:
    """Return buckets of this server alone."""
    return Buckets(rule.rate, rule.size)


class Limit:
    """One rule with its buckets.

    Args:
        number: Its place among the rules, from 1.
        rule: The rule.
        buckets: Its buckets.
    """

    __slots__ = ("buckets", "message", "rule")

    def __init__(self, number: int, rule: Rule, buckets: Buckets) -> None:
        self.rule = rule
        self.buckets = buckets
        self.message = (
            f"Too many calls: {' '.join(rule.functions)} takes {rule.rate:g} a second for {_EACH[rule.per]}, "
            f"{rule.size} at once (plugins.ratelimit, rule {number})."
        )

    def names(self, event: str) -> bool:
        """Tell whether a function is among those of the rule."""
        return any(fnmatchcase(event, pattern) for pattern in self.rule.functions)


_Check: TypeAlias = tuple[Limit, KeyOf, Callable[[Hashable, float], float]]
"""A rule that names a function, with what every call of that needs of it."""


class Limiter:
    """The rules of one server.

    Args:
        settings: The plugin's.
        make: Makes the buckets of a rule.
    """

    def __init__(self, settings: RatelimitSettings, make: Callable[[Rule], Buckets] = local) -> None:
        self._limits = [Limit(number, rule, make(rule)) for number, rule in enumerate(settings.rules, 1)]
        self._exempt = frozenset(settings.exempt)
        # Which rules name a function is found out with its first call.
        self._of_clients: dict[str, tuple[_Check, ...]] = {}
        self._of_plugins: dict[str, tuple[_Check, ...]] = {}

    def admit(self, call: Call) -> None:
        """Let a call in, and take a token from a bucket of every rule that names its function.

        Raises:
            CallError: `resource_exhausted`: some bucket is empty; none has lost a token.
        """
        known = self._of_plugins if call.depth or call.client is None else self._of_clients
        checks = known.get(call.event)
        if checks is None:
            checks = self._find(known, call)
        principal = call.principal
        if principal is not None and not self._exempt.isdisjoint(principal.scopes):
            return
        now = monotonic()
        for limit, key_of, take in checks:
            if take(key_of(call), now):
                self._refuse(call, checks, limit, now)

    def _find(self, known: dict[str, tuple[_Check, ...]], call: Call) -> tuple[_Check, ...]:
        known[call.event] = checks = tuple(
            (limit, key_for(limit.rule.per, call), limit.buckets.take)
            for limit in self._limits
            if limit.names(call.event) and (limit.rule.inside or known is self._of_clients)
        )
        return checks

    def _refuse(self, call: Call, checks: tuple[_Check, ...], empty: Limit, now: float) -> NoReturn:
        """Give back what was taken before the empty bucket, and tell of the one that is filled last."""
        for limit, key_of, _ in checks:
            if limit is empty:
                break
            limit.buckets.give_back(key_of(call))
        wait, last = max(
            ((limit.buckets.wait(key_of(call), now), limit) for limit, key_of, _ in checks), key=lambda pair: pair[0]
        )
        raise CallError(Code.RESOURCE_EXHAUSTED, last.message, retry_after=math.ceil(wait * 1000))
