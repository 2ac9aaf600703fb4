"""Properties: some examples in `make test`, very many in `make test-full`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MAX_SAFE = 2**53 - 1

texts = st.text(st.characters(codec="utf-8"), max_size=20)
"""Text that UTF-8 has: no lone surrogates."""

_keys = texts.filter(lambda key: key != "_placeholder")

numbers = st.one_of(
    st.integers(-MAX_SAFE, MAX_SAFE),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, -1, 2**31, MAX_SAFE, -MAX_SAFE, -0.0, 1e308, 5e-324, 2.0**53]),
)


def trees(leaves: st.SearchStrategy[Any], max_leaves: int = 20) -> st.SearchStrategy[Any]:
    """Return a strategy for leaves in lists and dictionaries inside one another."""
    return st.recursive(
        leaves,
        lambda inside: st.lists(inside, max_size=5) | st.dictionaries(_keys, inside, max_size=5),
        max_leaves=max_leaves,
    )


json_values = trees(st.none() | st.booleans() | numbers | texts)
"""What JSON can hold, and a JavaScript client too."""

values = trees(st.none() | st.booleans() | numbers | texts | st.binary(max_size=20))
"""What a message can hold: JSON and Buffers."""


def always(few: int = 50, many: int = 400, **strategies: Any) -> Callable[[Callable[..., None]], Any]:
    """Turn a function into a test that it holds for all arguments.

    Args:
        few: Examples in `make test`.
        many: Examples in `make test-full`.
        strategies: By the name of the argument.
    """
    sizes = [pytest.param(few, id="few"), pytest.param(many, id="many", marks=pytest.mark.full)]

    def decorate(holds: Callable[..., None]) -> Any:
        @pytest.mark.parametrize("examples", sizes)
        def test(examples: int) -> None:
            limits = settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
            limits(given(**strategies)(holds))()

        test.__name__ = holds.__name__
        test.__qualname__ = holds.__qualname__
        test.__module__ = holds.__module__
        test.__doc__ = holds.__doc__
        return test

    return decorate


@st.composite
def damaged(draw: st.DrawFn, original: st.SearchStrategy[bytes]) -> bytes:
    """Draw bytes in which a few pieces were cut out, put in, or written over."""
    data = bytearray(draw(original))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 4)))
        data[start:end] = draw(st.binary(max_size=4))
    return bytes(data)
