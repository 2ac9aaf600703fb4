"""The Python client with tokens: fresh ones at each connection, and before they end."""

from __future__ import annotations

import pytest

from jackfield import CallError
from jackfield.client import ConnectError
from jackfield.testing import RunningKernel
from tests.support.tokens import AUDIENCE, ISSUER, SECRET, token
from tests.support.waiting import until

WHOAMI = "api.auth.whoami"
COUNT = "api.services.test.count"

pytestmark = pytest.mark.jackfield(
    settings={"issuer": ISSUER, "audience": AUDIENCE, "algorithms": ["HS256"], "secret": SECRET},
    neighbours={"demo": "demo"},
    config={"access": {"rules": [{"functions": "api.services.test.*"}]}},
)
"""Whoever is known may call the demonstration."""


class Source:
    """Gives tokens, and remembers how many."""

    def __init__(self, **options: object) -> None:
        self.given = 0
        self.options = options

    async def __call__(self) -> str:
        self.given += 1
        return token({"jti": f"{id(self)}-{self.given}", "scope": f"n{self.given}"}, **self.options)  # type: ignore[arg-type]


async def test_a_token_is_refreshed_before_it_ends(jackfield_kernel: RunningKernel) -> None:
    """The stream that runs meanwhile shows that the connection is the same."""
    # In real time: the library that verifies tokens asks `datetime.now`, which the kernel's clock does not move.
    source = Source(lasts=3)
    client = await jackfield_kernel.connect(token=source)
    async with client.stream(COUNT, credit=1) as stream:
        await anext(stream)
        await until(lambda: source.given >= 2)
        while (scopes := (await client.call(WHOAMI))["scopes"]) == ["n1"]:
            pass
        assert scopes[0] in {f"n{number}" for number in range(2, source.given + 1)}
        assert await anext(stream) == {"n": 2}


async def test_each_connection_has_a_fresh_token(jackfield_kernel: RunningKernel) -> None:
    """When the first one is revoked the client comes back with another."""
    source = Source()
    operator = await jackfield_kernel.connect(token=token({"scope": "jackfield:operator"}))
    client = await jackfield_kernel.connect(token=source, reconnect=True)
    assert (await client.call(WHOAMI))["scopes"] == ["n1"]
    assert await operator.call("api.auth.revoke", {"jti": f"{id(source)}-1"}) == {"closed": 1}
    await until(lambda: not client.connected or source.given > 1)
    assert (await client.call(WHOAMI))["scopes"] == ["n2"]


async def test_a_plain_function_will_do(jackfield_kernel: RunningKernel) -> None:
    """And `refresh` asks it at once."""
    scopes = ["a"]
    client = await jackfield_kernel.connect(token=lambda: token({"scope": scopes[0]}))
    scopes[0] = "b c"
    answer = await client.refresh()
    assert answer["scopes"] == ["b", "c"]
    assert (await client.call(WHOAMI)) == {"sub": "alice", **answer}


async def test_a_refresh_that_is_refused_changes_nothing(jackfield_kernel: RunningKernel) -> None:
    """The error is the server's; a client without a token has none to show."""
    tokens = [token({"sub": "bob"}), "rubbish", token()]
    client = await jackfield_kernel.connect(token=tokens.pop)
    with pytest.raises(CallError, match="unauthenticated"):
        await client.refresh()
    with pytest.raises(CallError, match="permission_denied"):
        await client.refresh()
    with pytest.raises(ConnectError, match=r"the function that gives the token failed \(IndexError\)"):
        await client.refresh()
    assert (await client.call(WHOAMI))["sub"] == "alice"


async def test_a_function_that_gives_no_token_lets_nobody_in(jackfield_kernel: RunningKernel) -> None:
    """The error names what it returned or raised."""

    def fails() -> str:
        raise LookupError("my secret")

    with pytest.raises(ConnectError, match=r"the function that gives the token failed \(LookupError\)$"):
        await jackfield_kernel.connect(token=fails)
    with pytest.raises(ConnectError, match="the function that gives the token returned a NoneType"):
        await jackfield_kernel.connect(token=lambda: None)  # type: ignore[arg-type]
