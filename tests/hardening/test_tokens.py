"""25, 26: tokens that are not good, and tokens that are no longer good."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import socketio

from tests.support.client import connected
from tests.support.server import Server, serving
from tests.support.tokens import AUDIENCE, ISSUER, SECRET, base64, jwk, public_pem, settings, token, without
from tests.support.waiting import until
from tests.support.wire import Wire, wire

REFUSED: Final = {
    "message": "Nobody here knows who you are: check the token.",
    "data": {"code": "unauthenticated"},
}
SHARED: Final = "the secret of a key that is in a set of public ones"
WHOAMI: Final = '427["api.auth.whoami"]'


def rs(claims: Any = None, header: Any = None, *, key: str = "rsa", **options: Any) -> str:
    """Return a token of the issuer whose keys the server has."""
    return token(claims, header, alg="RS256", key=key, **options)


def claimed(text: str) -> str:
    """Return a token whose claims are JSON that no library would write, `EXP` in it being a good time."""
    return rs(text.replace("EXP", str(int(time.time()) + 600)).encode())


def unsigned(algorithm: str, signature: str = "") -> str:
    """Return a token that says it needs no signature."""
    _, payload, _ = rs().split(".")
    return f"{base64(json.dumps({'alg': algorithm, 'kid': 'rsa'}).encode())}.{payload}.{signature}"


def tampered(part: int, change: Callable[[str], str]) -> str:
    """Return a good token with one of its parts changed."""
    parts = rs().split(".")
    parts[part] = change(parts[part])
    return ".".join(parts)


def confused(secret: bytes) -> str:
    """Return a token that is signed with the public key, as if that were a secret."""
    head = base64(json.dumps({"alg": "HS256", "kid": "rsa"}).encode())
    signed = f"{head}.{rs().split('.')[1]}"
    return f"{signed}.{base64(hmac.digest(secret, signed.encode(), 'sha256'))}"


def ahead(seconds: float) -> int:
    """Return a time, in seconds since the epoch."""
    return int(time.time() + seconds)


GOOD_CLAIMS: Final = f'"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"alice"'

BAD: dict[str, Callable[[], Any]] = {
    "alg none": lambda: unsigned("none"),
    "alg none with a signature": lambda: unsigned("none", rs().split(".")[2]),
    "alg None": lambda: unsigned("None", "AA"),
    "alg nOnE": lambda: unsigned("nOnE", "AA"),
    "no signature": lambda: unsigned("RS256"),
    "an empty signature, padded": lambda: unsigned("RS256", "===="),
    "alg left out": lambda: rs(header={"kid": "rsa", **without("alg")}),
    "alg null": lambda: rs(header={"kid": "rsa", "alg": None}),
    "alg a list": lambda: rs(header={"kid": "rsa", "alg": ["RS256"]}),
    "alg in small letters": lambda: rs(header={"kid": "rsa", "alg": "rs256"}),
    "HS256 with the public key in PEM": lambda: confused(public_pem("rsa")),
    "HS256 with the public key in PEM, stripped": lambda: confused(public_pem("rsa").strip()),
    "HS256 with the JWK": lambda: confused(json.dumps(jwk("rsa")).encode()),
    "HS256 with nothing": lambda: confused(b""),
    "HS256 with a secret of the set": lambda: token(header={"kid": "shared"}, key=SHARED),
    "PS256, which is not allowed": lambda: token(alg="PS256", key="rsa"),
    "RS512, which is not allowed": lambda: token(alg="RS512", key="rsa"),
    "ES256 with the id of the RSA key": lambda: token(header={"kid": "rsa"}, alg="ES256", key="ec"),
    "the key of somebody else": lambda: rs(header={"kid": "rsa"}, key="rsa-other"),
    "a key that is too small": lambda: rs(key="small"),
    "a key for encryption": lambda: rs(key="rsa-enc"),
    "a key for another algorithm": lambda: rs(key="rsa-512"),
    "a private key in the set": lambda: rs(key="rsa-leaked"),
    "claims that were changed": lambda: tampered(1, lambda part: base64(b"{" + b" " * len(part))),
    "claims of another token": lambda: tampered(1, lambda _: rs({"sub": "root"}).split(".")[1]),
    "a signature that was cut": lambda: tampered(2, lambda part: part[:-8]),
    "a signature with another last bit": lambda: tampered(
        2, lambda part: part[:-1] + ("B" if part[-1] == "A" else "A")
    ),
    "exp left out": lambda: rs(without("exp")),
    "exp null": lambda: rs({"exp": None}),
    "exp past": lambda: rs({"exp": ahead(-60)}),
    "exp 0": lambda: rs({"exp": 0}),
    "exp negative": lambda: rs({"exp": -1}),
    "exp text": lambda: rs({"exp": str(ahead(600))}),
    "exp a fraction": lambda: rs({"exp": time.time() + 600.5}),
    "exp true": lambda: rs({"exp": True}),
    "exp a list": lambda: rs({"exp": [ahead(600)]}),
    "exp NaN": lambda: claimed(f'{{{GOOD_CLAIMS},"exp":NaN}}'),
    "exp Infinity": lambda: claimed(f'{{{GOOD_CLAIMS},"exp":Infinity}}'),
    "exp 1e999": lambda: claimed(f'{{{GOOD_CLAIMS},"exp":1e999}}'),
    "exp of a thousand digits": lambda: claimed(f'{{{GOOD_CLAIMS},"exp":{"9" * 1000}}}'),
    "exp of five thousand digits": lambda: claimed(f'{{{GOOD_CLAIMS},"exp":{"9" * 5000}}}'),
    "exp in 10^18 seconds": lambda: rs({"exp": 10**18}),
    "exp more than a day ahead": lambda: rs({"exp": ahead(86400 + 60)}),
    "aud left out": lambda: rs(without("aud")),
    "aud another": lambda: rs({"aud": "somebody-else"}),
    "aud others": lambda: rs({"aud": ["somebody", "else"]}),
    "aud an empty list": lambda: rs({"aud": []}),
    "aud a number in a list": lambda: rs({"aud": [AUDIENCE, 1]}),
    "aud an object": lambda: rs({"aud": {AUDIENCE: 1}}),
    "aud a part of it": lambda: rs({"aud": AUDIENCE[:-1]}),
    "iss left out": lambda: rs(without("iss")),
    "iss another": lambda: rs({"iss": "https://evil.test"}),
    "iss with a slash more": lambda: rs({"iss": f"{ISSUER}/"}),
    "iss a list": lambda: rs({"iss": [ISSUER]}),
    "sub left out": lambda: rs(without("sub")),
    "sub empty": lambda: rs({"sub": ""}),
    "sub a number": lambda: rs({"sub": 7}),
    "sub null": lambda: rs({"sub": None}),
    "sub with a null in it": lambda: rs({"sub": "alice\0root"}),
    "sub with a line break": lambda: rs({"sub": "alice\nroot"}),
    "sub very long": lambda: rs({"sub": "a" * 257}),
    "sub anonymous": lambda: rs({"sub": "anonymous"}),
    "jti a number": lambda: rs({"jti": 7}),
    "nbf in the future": lambda: rs({"nbf": ahead(60)}),
    "nbf text": lambda: rs({"nbf": "0"}),
    "iat in the future": lambda: rs({"iat": ahead(60)}),
    "iat a fraction": lambda: rs({"iat": time.time() - 10}),
    "scope a number": lambda: rs({"scope": 7}),
    "scope a list with a number": lambda: rs({"scope": ["a", 1]}),
    "scope a list with two words in one": lambda: rs({"scope": ["a jackfield:operator"]}),
    "crit": lambda: rs(header={"kid": "rsa", "crit": ["exp"]}),
    "crit that is not known": lambda: rs(header={"kid": "rsa", "crit": ["x"], "x": 1}),
    "crit empty": lambda: rs(header={"kid": "rsa", "crit": []}),
    "b64 false": lambda: rs(header={"kid": "rsa", "crit": ["b64"], "b64": False}),
    "zip": lambda: rs(header={"kid": "rsa", "zip": "DEF"}),
    "kid not known": lambda: rs(header={"kid": "unknown"}),
    "kid of a file": lambda: rs(header={"kid": "../../../../dev/null"}),
    "kid of SQL": lambda: rs(header={"kid": "x' UNION SELECT 'secret"}),
    "kid a number": lambda: rs(header={"kid": 1}),
    "kid null": lambda: rs(header={"kid": None}),
    "kid an object": lambda: rs(header={"kid": {"rsa": 1}}),
    "kid empty": lambda: rs(header={"kid": ""}),
    "kid with a null in it": lambda: rs(header={"kid": "rsa\0"}),
    "kid very long": lambda: rs(header={"kid": "r" * 300}),
    "jku": lambda: rs(header={"kid": "rsa", "jku": "http://127.0.0.1:9/keys"}),
    "x5u": lambda: rs(header={"kid": "rsa", "x5u": "http://127.0.0.1:9/cert"}),
    "x5c": lambda: rs(header={"kid": "rsa", "x5c": ["AAAA"]}),
    "jwk, its own": lambda: rs(header={"kid": "rsa", "jwk": jwk("rsa-other")}, key="rsa-other"),
    "typ of another kind": lambda: rs(header={"kid": "rsa", "typ": "logout+jwt"}),
    "typ a number": lambda: rs(header={"kid": "rsa", "typ": 1}),
    "a header that is no object": lambda: rs(header=b'["RS256"]'),
    "a header that is no JSON": lambda: rs(header=b"RS256"),
    "a header that is no UTF-8": lambda: rs(header=b'{"alg":"RS256","kid":"\xff"}'),
    "a header with alg twice": lambda: rs(header=b'{"alg":"none","kid":"rsa","alg":"RS256"}'),
    "claims that are no object": lambda: rs(b'"alice"'),
    "claims that are a list": lambda: rs(b"[1]"),
    "claims that are no JSON": lambda: rs(b"alice"),
    "claims with sub twice": lambda: claimed(f'{{{GOOD_CLAIMS},"exp":EXP,"sub":"root"}}'),
    "claims that are very deep": lambda: claimed(f'{{{GOOD_CLAIMS},"exp":EXP,"x":{"[" * 2000}{"]" * 2000}}}'),
    "a token longer than the limit": lambda: rs({"padding": "x" * 8000}),
    "base64 with padding": lambda: rs() + "=",
    "base64 of the other alphabet": lambda: tampered(2, lambda part: "+/" + part[2:]),
    "base64 with a line break": lambda: rs() + "\n",
    "letters of another alphabet": lambda: "é" + rs(),
    "two parts": lambda: rs().rsplit(".", 1)[0],
    "four parts": lambda: rs() + ".AA",
    "five parts, encrypted": lambda: rs() + ".AA.AA",
    "Bearer before it": lambda: f"Bearer {rs()}",
    "an empty text": lambda: "",
    "a word": lambda: "token",
    "a number": lambda: 7,
    "true": lambda: True,
    "a list": lambda: [rs()],
    "an object": lambda: {"token": rs()},
}


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with public keys, and with some in its set that are not to be used."""
    folder = tmp_path_factory.mktemp("tokens")
    keys = [
        jwk("rsa"),
        jwk("ec"),
        jwk("ed"),
        jwk("rsa-512", alg="RS512"),
        jwk("rsa-enc", use="enc"),
        jwk("rsa-leaked", secret=True),
        jwk("small"),
        {"kty": "oct", "kid": "shared", "k": base64(SHARED.encode())},
    ]
    (folder / "keys.json").write_text(json.dumps({"keys": keys}), encoding="utf-8")
    config = settings('algorithms = ["RS256", "ES256", "EdDSA"]', 'jwks_file = "keys.json"')
    with serving(folder, config=f'[plugins]\npolicy = "listed"\nenabled = ["jwt"]\n{config}') as server:
        yield server


@pytest.fixture(name="alice")
async def _alice(server: Server) -> AsyncIterator[Wire]:
    """Somebody with a good token, who stays on."""
    async with wire(server.url, join=False) as client:
        assert str(await client.join(json.dumps({"token": rs()}))).startswith("40{")
        yield client


async def _answer(server: Server, auth: Any) -> str:
    async with wire(server.url, join=False) as client:
        return str(await client.join(json.dumps(auth)))


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
async def test_25_a_bad_token_is_refused(server: Server, make: Callable[[], Any]) -> None:
    """With one message and one code, whatever is wrong with it."""
    answer = await _answer(server, {"token": make()})
    assert answer.startswith("44"), answer
    assert json.loads(answer[2:]) == REFUSED


async def test_25_who_is_in_is_asked_the_same_at_a_refresh(server: Server, alice: Wire) -> None:
    """A bad token gets the same message there, the connection goes on, and nothing of it is in the log."""
    error = {"code": "unauthenticated", "message": REFUSED["message"]}
    tokens = [made for make in BAD.values() if isinstance(made := make(), str)]
    for shown in tokens:
        answer = await alice.ask(f'427["api.auth.refresh",{json.dumps({"token": shown})}]')
        assert answer == {"error": error}, shown
    assert (await alice.ask(WHOAMI))["data"]["sub"] == "alice"
    log = server.log
    assert "is refused: " in log
    assert "Error" not in log
    assert not [part for shown in tokens for part in shown.split(".") if len(part) > 20 and part in log]


GOOD: dict[str, Callable[[], str]] = {
    "RS256": rs,
    "ES256": lambda: token(alg="ES256", key="ec"),
    "EdDSA": lambda: token(alg="EdDSA", key="ed"),
    "without the id of its key": lambda: token(header=without("kid"), alg="ES256", key="ec"),
    "typ at+jwt": lambda: rs(header={"kid": "rsa", "typ": "at+JWT"}),
    "without typ": lambda: rs(header={"kid": "rsa", **without("typ")}),
    "several audiences": lambda: rs({"aud": ["other", AUDIENCE]}),
    "without iat": lambda: rs(without("iat")),
    "a clock that is a little ahead": lambda: rs({"iat": ahead(3), "nbf": ahead(3)}),
    "a little past": lambda: rs({"exp": ahead(-2)}),
    "almost a day": lambda: rs({"exp": ahead(86400)}),
    "more claims": lambda: rs({"email": "alice@example.org", "deep": {"a": [1.5, None]}}),
}


@pytest.mark.parametrize("make", GOOD.values(), ids=GOOD)
async def test_25_a_good_token_is_taken(server: Server, make: Callable[[], str]) -> None:
    """The table of bad ones would prove little otherwise."""
    async with wire(server.url, join=False) as client:
        assert str(await client.join(json.dumps({"token": make()}))).startswith("40{")
        assert (await client.ask(WHOAMI))["data"]["sub"] == "alice"


@pytest.mark.parametrize(
    ("claim", "scopes"),
    [("files:read files:write", ["files:read", "files:write"]), (["b", "a", "a"], ["a", "b"]), ("", []), ([], [])],
)
async def test_25_scopes_are_words_or_a_list(server: Server, claim: Any, scopes: list[str]) -> None:
    """And none if there is no such claim."""
    async with wire(server.url, join=False) as client:
        await client.join(json.dumps({"token": rs({"scope": claim})}))
        assert (await client.ask(WHOAMI))["data"]["scopes"] == scopes


@pytest.mark.parametrize("auth", [{}, {"token": None}, {"Token": "x"}], ids=repr)
async def test_25_no_token_is_refused_like_a_bad_one(server: Server, auth: Any) -> None:
    """So nobody learns which of both it was."""
    assert json.loads((await _answer(server, auth))[2:]) == REFUSED


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_25_a_token_may_come_in_the_header(server: Server, transport: str) -> None:
    """As `Authorization: Bearer`; another scheme says nothing, and two tokens that differ are none."""
    good = rs()
    for scheme in ("Bearer", "bearer"):
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"{scheme} {good}"}) as http,
            connected(server.url, transport, http_session=http, auth={"token": good}) as client,
        ):
            assert (await client.call("api.auth.whoami"))["data"]["sub"] == "alice"
    for header, shown in [
        (f"Bearer {good}", rs({"sub": "bob"})),
        (f"Bearer {rs(without('exp'))}", good),
        (f"Bearer {good}", 7),
        ("Bearer ", None),
        ("Bearer", None),
        (f"Basic {good}", None),
    ]:
        async with aiohttp.ClientSession(headers={"Authorization": header}) as http:
            with pytest.raises(socketio.exceptions.ConnectionError):
                async with connected(server.url, transport, http_session=http, auth={"token": shown}):
                    pytest.fail(header)


# ------------------------------------------------------------------- the end of a token


@pytest.fixture(scope="module", name="brief")
def _brief(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that allows no second more than the token does."""
    config = settings("leeway = 0", "max_revocations = 8", "header = false")
    with serving(
        tmp_path_factory.mktemp("brief"), config=f'[plugins]\npolicy = "listed"\nenabled = ["jwt"]\n{config}'
    ) as server:
        yield server


def _hello(**options: Any) -> str:
    return json.dumps({"token": token(**options)})


def _refresh(shown: str) -> str:
    return f'427["api.auth.refresh",{json.dumps({"token": shown})}]'


async def test_26_a_connection_ends_with_its_token(brief: Server) -> None:
    """With 4001, and not before; a refused refresh changes nothing of that."""
    async with wire(brief.url, join=False) as client:
        expires = ahead(2)
        await client.join(_hello(claims={"exp": expires}))
        assert (await client.ask(_refresh(token({"aud": "other"}))))["error"]["code"] == "unauthenticated"
        assert await client.closed() == 4001
        assert time.time() >= expires


async def test_26_a_refresh_keeps_it_alive(brief: Server) -> None:
    """One client refreshes, the other one does not; when that one has gone the first is still there."""
    async with wire(brief.url, join=False) as stays, wire(brief.url, join=False) as goes:
        await stays.join(_hello(lasts=2))
        await goes.join(_hello(lasts=2))
        later = ahead(600)
        answer = await stays.ask(_refresh(token({"exp": later, "scope": "b a"})))
        assert answer == {"data": {"expires": later, "scopes": ["a", "b"]}}
        assert await goes.closed() == 4001
        assert (await stays.ask(WHOAMI))["data"] == {"sub": "alice", "expires": later, "scopes": ["a", "b"]}


async def test_26_a_connection_stays_with_its_subject(brief: Server) -> None:
    """A good token of somebody else is `permission_denied`, and changes nothing."""
    async with wire(brief.url, join=False) as client:
        await client.join(_hello())
        answer = await client.ask(_refresh(token({"sub": "bob"})))
        assert answer["error"]["code"] == "permission_denied"
        assert (await client.ask(WHOAMI))["data"]["sub"] == "alice"


@pytest.mark.parametrize("data", [None, {}, {"token": 7}, {"token": None}, "x", {"token": "x", "more": 1}], ids=repr)
async def test_26_a_refresh_takes_a_token(brief: Server, data: Any) -> None:
    """Anything else is `invalid_argument`, and nothing of it is repeated."""
    async with wire(brief.url, join=False) as client:
        await client.join(_hello())
        answer = await client.ask(f'427["api.auth.refresh",{json.dumps(data)}]')
        assert answer["error"]["code"] == "invalid_argument"


async def test_26_calls_are_judged_by_the_scopes_of_now(brief: Server) -> None:
    """After a refresh to fewer scopes the same connection may do less, and after one to more, more."""
    revoke = '427["api.auth.revoke",{"sub":"nobody-1"}]'
    async with wire(brief.url, join=False) as client:
        await client.join(_hello(claims={"scope": "jackfield:operator"}))
        assert await client.ask(revoke) == {"data": {"closed": 0}}
        await client.ask(_refresh(token({"scope": "files:read"})))
        assert await client.ask(revoke) == {
            "error": {"code": "not_found", "message": "There is no function 'api.auth.revoke'."}
        }
        await client.ask(_refresh(token({"scope": "jackfield:operator"})))
        assert await client.ask(revoke) == {"data": {"closed": 0}}


async def test_26_a_revoked_subject_is_put_out(brief: Server) -> None:
    """All its connections are closed, its tokens of up to now are refused, and others stay."""
    old = token({"sub": "carol", "iat": ahead(-10)})
    async with (
        wire(brief.url, join=False) as operator,
        wire(brief.url, join=False) as first,
        wire(brief.url, join=False) as second,
    ):
        await operator.join(_hello(claims={"scope": "jackfield:operator"}))
        await first.join(json.dumps({"token": old}))
        await second.join(json.dumps({"token": token({"sub": "carol", **without("iat")})}))
        assert (await second.ask(WHOAMI))["data"]["sub"] == "carol"
        assert await operator.ask('427["api.auth.revoke",{"sub":"carol"}]') == {"data": {"closed": 2}}
        assert await first.closed() == 4001
        assert await second.closed() == 4001
        for shown in (old, token({"sub": "carol", **without("iat")}), token({"sub": "carol", "iat": ahead(0) - 1})):
            assert json.loads((await _answer(brief, {"token": shown}))[2:]) == REFUSED
        moment = ahead(0)
        await until(lambda: time.time() >= moment + 1)
        assert (await _answer(brief, {"token": token({"sub": "carol", "iat": ahead(0)})})).startswith("40{")
        assert (await operator.ask(WHOAMI))["data"]["sub"] == "alice"


async def test_26_a_revoked_token_is_put_out(brief: Server) -> None:
    """By its id; another token of the same subject is still good, but not a refresh with the revoked one."""
    first, second = token({"sub": "dave", "jti": "one"}), token({"sub": "dave", "jti": "two"})
    async with (
        wire(brief.url, join=False) as operator,
        wire(brief.url, join=False) as one,
        wire(brief.url, join=False) as two,
    ):
        await operator.join(_hello(claims={"scope": "jackfield:operator"}))
        await one.join(json.dumps({"token": first}))
        await two.join(json.dumps({"token": second}))
        assert (await two.ask(WHOAMI))["data"]["sub"] == "dave"
        assert await operator.ask('427["api.auth.revoke",{"jti":"one"}]') == {"data": {"closed": 1}}
        assert await one.closed() == 4001
        assert json.loads((await _answer(brief, {"token": first}))[2:]) == REFUSED
        assert (await two.ask(_refresh(first)))["error"]["code"] == "unauthenticated"
        assert (await two.ask(WHOAMI))["data"]["sub"] == "dave"


@pytest.mark.parametrize("data", ["{}", '{"sub":"a","jti":"b"}', '{"sub":""}', '{"jti":7}', "null"])
async def test_26_a_revocation_names_a_subject_or_a_token(brief: Server, data: str) -> None:
    """One of both."""
    async with wire(brief.url, join=False) as operator:
        await operator.join(_hello(claims={"scope": "jackfield:operator"}))
        answer = await operator.ask(f'427["api.auth.revoke",{data}]')
        assert answer["error"]["code"] == "invalid_argument"


@pytest.mark.full
async def test_26_revocations_are_bounded(tmp_path: Path) -> None:
    """Past the limit one is refused, rather than an older one forgotten."""
    config = settings("max_revocations = 3")
    with serving(tmp_path, config=f'[plugins]\npolicy = "listed"\nenabled = ["jwt"]\n{config}') as server:
        async with wire(server.url, join=False) as operator:
            await operator.join(_hello(claims={"scope": "jackfield:operator"}))
            for number in range(3):
                answer = await operator.ask(f'427["api.auth.revoke",{{"sub":"user-{number}"}}]')
                assert answer == {"data": {"closed": 0}}
            answer = await operator.ask('427["api.auth.revoke",{"jti":"late"}]')
            assert answer["error"]["code"] == "resource_exhausted"
            refused = await _answer(server, {"token": token({"sub": "user-0"})})
            assert json.loads(refused[2:]) == REFUSED


async def test_25_where_the_header_is_off_it_says_nothing(brief: Server) -> None:
    """Neither a good token in it nor a bad one."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token({'sub': 'bob'})}"}) as http,
        connected(brief.url, "websocket", http_session=http, auth={"token": token()}) as client,
    ):
        assert (await client.call("api.auth.whoami"))["data"]["sub"] == "alice"


async def test_25_a_secret_that_is_short_lets_nobody_in(tmp_path: Path) -> None:
    """The plugin is quarantined with the reason, which does not show the secret, and the server is closed."""
    config = settings('algorithms = ["HS256"]', f'secret = "{SECRET[:31]}"')
    with serving(tmp_path, config=f'[plugins]\npolicy = "listed"\nenabled = ["jwt", "system"]\n{config}') as server:
        assert server.plugins["jwt"]["state"] == "quarantined"
        reason = server.plugins["jwt"]["reason"]
        assert "secret has 31 bytes, and HS256 needs 32 or more: jackfield token --generate-secret makes one" in reason
        assert SECRET[:31] not in server.log + reason
        answer = await _answer(server, {"token": token(key=SECRET[:31])})
        assert json.loads(answer[2:])["data"]["code"] == "unavailable"
        async with aiohttp.ClientSession() as http, http.get(f"{server.url}/readyz?verbose") as ready:
            assert ready.status == 503
            assert "[-]authentication failed: Nobody can be let in: " in await ready.text()
