"""The functions of `{{ cookiecutter.namespace }}`: a model in, a model out."""

{% set tally = "tally_of(call)" if cookiecutter.background else "tally" %}
from __future__ import annotations

{% if cookiecutter.streams and cookiecutter.background %}
from collections.abc import AsyncIterator, Callable
{% elif cookiecutter.streams %}
from collections.abc import AsyncIterator
{% elif cookiecutter.background %}
from collections.abc import Callable
{% endif %}
{% if cookiecutter.streams %}
from contextlib import aclosing
{% endif %}
{% if cookiecutter.streams or cookiecutter.background %}

{% endif %}
from jackfield import Call, CallError, Code, Service

from {{ cookiecutter.__package }}.messages import Addition, Thing, Total
from {{ cookiecutter.__package }}.service import Tally, TooMany

READ = "{{ cookiecutter.name }}:read"
WRITE = "{{ cookiecutter.name }}:write"
"""The scopes that callers need, where they have to say who they are."""


{% if cookiecutter.background %}
def make_service(tally_of: Callable[[Call], Tally]) -> Service:
    """Return the service.

    Args:
        tally_of: Returns what counts for the server that a call came to.
    """
{% else %}
def make_service(tally: Tally) -> Service:
    """Return the service.

    Args:
        tally: What counts.
    """
{% endif %}
    service = Service("{{ cookiecutter.namespace }}")

    @service.function(requires=WRITE, errors=[Code.RESOURCE_EXHAUSTED])
    async def add(call: Call, data: Addition) -> Total:
        """Count a thing, and tell its total."""
        return _add({{ tally }}, data)

    @service.function(requires=READ)
    async def get(call: Call, data: Thing) -> Total:
        """Tell the total of a thing."""
        return Total(thing=data.thing, total={{ tally }}.total(data.thing))
{% if cookiecutter.streams %}

    @service.function(requires=READ)
    async def watch(call: Call, data: Thing) -> AsyncIterator[Total]:
        """Send the total of a thing, now and whenever it changes."""
        async with aclosing({{ tally }}.watch(data.thing)) as totals:
            async for total in totals:
                yield Total(thing=data.thing, total=total)

    @service.function(requires=WRITE, errors=[Code.RESOURCE_EXHAUSTED])
    async def load(call: Call, items: AsyncIterator[Addition]) -> int:
        """Count the things that the caller sends, and tell how many there were."""
        loaded = 0
        async for item in items:
            _add({{ tally }}, item)
            loaded += item.count
        return loaded
{% endif %}

    return service


def _add(tally: Tally, addition: Addition) -> Total:
    try:
        total = tally.add(addition.thing, addition.count)
    except TooMany:
        raise CallError(Code.RESOURCE_EXHAUSTED, f"There is no room for {addition.thing!r}.") from None
    return Total(thing=addition.thing, total=total)
