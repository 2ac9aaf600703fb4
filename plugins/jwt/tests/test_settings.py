"""The settings and the files of keys: what is refused at the start, and with which words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from jackfield_jwt.keys import read_local, read_set
from jackfield_jwt.settings import JwtSettings
from tests.support.tokens import SECRET, jwk, private_pem, public_pem

USUAL: dict[str, Any] = {"issuer": "https://issuer.test", "audience": "tests", "algorithms": ["HS256"]}
WITH_SECRET = {**USUAL, "secret": SECRET}
WITH_URL = {**USUAL, "algorithms": ["RS256"], "jwks_url": "https://issuer.test/keys"}

BAD: list[tuple[dict[str, Any], str]] = [
    ({"issuer": "x"}, "it has no key: give one of secret, secret_file, public_key_file, jwks_file, jwks_url"),
    ({"secret": SECRET}, "with secret it needs algorithms and issuer and audience too"),
    ({**WITH_SECRET, "audience": []}, "with secret it needs audience too"),
    ({**WITH_SECRET, "secret_file": "x"}, "secret and secret_file exclude each other"),
    ({**WITH_SECRET, "algorithms": ["none"]}, "Input should be 'HS256', 'HS384'"),
    ({**WITH_SECRET, "algorithms": ["HS256", "RS256"]}, "a secret is for HS256, HS384 and HS512 alone"),
    ({**WITH_SECRET, "algorithms": ["RS256"]}, "a secret is for HS256, HS384 and HS512 alone"),
    ({**WITH_URL, "algorithms": ["RS256", "HS256"]}, "HS algorithms need secret or secret_file"),
    ({**USUAL, "algorithms": ["RS256", "PS256"], "public_key_file": "x"}, "algorithms are of 2 families"),
    ({**WITH_SECRET, "secret": ""}, "secret has 0 bytes, and HS256 needs 32 or more"),
    ({**WITH_SECRET, "secret": "s" * 47, "algorithms": ["HS256", "HS384"]}, "secret has 47 bytes, and HS384 needs 48"),
    ({**WITH_SECRET, "secret": "s" * 63, "algorithms": "HS512"}, "secret has 63 bytes, and HS512 needs 64 or more"),
    ({**WITH_URL, "jwks_url": "http://issuer.test/keys"}, "it begins with https://; http:// is for this machine alone"),
    ({**WITH_URL, "jwks_url": "http://127.0.0.1.issuer.test/keys"}, "it begins with https://"),
    ({**WITH_URL, "jwks_url": "file:///etc/passwd"}, "it has a host"),
    ({**WITH_URL, "jwks_url": "ftp://127.0.0.1/keys"}, "it begins with https://"),
    ({**WITH_URL, "jwks_url": "https://user:word@issuer.test/keys"}, "neither a user, a password nor a fragment"),
    ({**WITH_SECRET, "leeway": -1}, "greater than or equal to 0"),
    ({**WITH_SECRET, "max_age": float("inf")}, "less than or equal to 2678400"),
    ({**WITH_SECRET, "leeway": float("nan")}, "less than or equal to 300"),
    ({**WITH_SECRET, "anonymous_scopes": ["two words"]}, "a scope is a word without white space"),
    ({**WITH_SECRET, "secrets": "x"}, "Extra inputs are not permitted"),
]


@pytest.mark.parametrize(("given", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_25_settings_that_promise_too_little_are_refused(given: dict[str, Any], reason: str) -> None:
    """With what is missing, and never with the secret."""
    with pytest.raises(ValidationError, match=reason) as caught:
        JwtSettings.model_validate(given)
    assert "s" * 47 not in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/k", "http://[::1]/k", "http://localhost/k", "https://i.test/k?a=b"]
)
def test_25_keys_may_come_from_this_machine_in_the_clear(url: str) -> None:
    """And from elsewhere over TLS."""
    assert JwtSettings.model_validate({**WITH_URL, "jwks_url": url}).jwks_url == url


def test_nothing_configured_is_no_mistake() -> None:
    """Nobody is asked for a token then."""
    assert not JwtSettings().configured


def test_a_secret_is_not_shown() -> None:
    """Neither by the settings nor by the key."""
    made = JwtSettings.model_validate(WITH_SECRET)
    assert SECRET not in f"{made!r} {made} {made.model_dump()} {read_local(made)!r}"


def _dsa() -> bytes:
    key = dsa.generate_private_key(1024).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _set(*keys: object) -> bytes:
    return json.dumps({"keys": keys}).encode()


FILES: list[tuple[str, list[str], bytes | None, str]] = [
    ("public_key_file", ["RS256"], None, "'key' cannot be read: No such file or directory"),
    ("public_key_file", ["RS256"], b"", "public_key_file 'key' holds no public key in PEM"),
    ("public_key_file", ["RS256"], private_pem("rsa"), "holds a private key, which belongs to the issuer alone"),
    ("public_key_file", ["ES256"], public_pem("rsa"), "holds a key that does not fit ES256"),
    ("public_key_file", ["ES384"], public_pem("ec"), "holds a key that does not fit ES384"),
    ("public_key_file", ["RS256"], public_pem("small"), "an RSA key of 1024 bits; 2048 are the least"),
    ("public_key_file", ["RS256"], _dsa(), "holds a key that does not fit RS256"),
    ("public_key_file", ["RS256"], b"x" * 300_000, "'key' has more than 262144 bytes"),
    ("secret_file", ["HS256"], b"\n", "secret_file 'key' has 0 bytes, and HS256 needs 32 or more"),
    ("secret_file", ["HS256"], b" " * 40 + b"short\n", "secret_file 'key' has 5 bytes"),
    ("jwks_file", ["RS256"], b"[]", "no JWK Set: no object"),
    ("jwks_file", ["RS256"], b'{"keys": {}}', "no JWK Set: it has no list `keys`"),
    ("jwks_file", ["RS256"], b'{"keys": [], "keys": []}', "no JWK Set: a name twice"),
    ("jwks_file", ["RS256"], b"[" * 100_000, "no JWK Set: no JSON"),
    ("jwks_file", ["RS256"], _set(*[1] * 101), "a JWK Set of 101 keys; 100 are enough"),
    ("jwks_file", ["RS256"], _set(), "has no key that may be used"),
    ("jwks_file", ["RS256"], _set(jwk("small")), "key 0: an RSA key of 1024 bits"),
]


@pytest.mark.parametrize(("source", "algorithms", "content", "reason"), FILES, ids=[reason for *_, reason in FILES])
def test_25_a_file_without_a_good_key_ends_the_start(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    algorithms: list[str],
    content: bytes | None,
    reason: str,
) -> None:
    """The reason names the setting and the file."""
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("key").write_bytes(content)
    with pytest.raises(ValidationError, match=re.escape(reason)):
        JwtSettings.model_validate({**USUAL, "algorithms": algorithms, source: "key"})


MEMBERS: list[tuple[object, str]] = [
    (7, "no object"),
    ({"kty": "oct", "k": "AAAA"}, "a key that is shared"),
    ({"kty": "AKP"}, "its type is not known"),
    ({"kty": ["RSA"]}, "its type is not known"),
    ({}, "its type is not known"),
    (jwk("rsa", use="enc"), "it is not for signatures"),
    (jwk("rsa", key_ops=["encrypt"]), "it is not for signatures"),
    (jwk("rsa", key_ops="verify"), "it is not for signatures"),
    (jwk("rsa", secret=True), "it is private"),
    (jwk("rsa", alg="RS512"), "it fits none of the algorithms"),
    (jwk("rsa", alg=["RS256"]), "it fits none of the algorithms"),
    (jwk("rsa", alg="HS256"), "it fits none of the algorithms"),
    (jwk("ed"), "it fits none of the algorithms"),
    (jwk("rsa", n="AA"), "an RSA key of|it cannot be read"),
    (jwk("rsa", n=7), "it cannot be read"),
    (jwk("ec", crv="P-384"), "it cannot be read"),
    (jwk("ec", x="AA"), "it cannot be read"),
    (jwk("rsa") | {"kid": 7}, "its id is none"),
    (jwk("rsa") | {"kid": "k" * 257}, "its id is none"),
    (jwk("rsa-2") | {"kid": "rsa"}, "another one has the same id"),
]


@pytest.mark.parametrize(("member", "reason"), MEMBERS, ids=[reason for _, reason in MEMBERS])
def test_25_keys_of_a_set_that_are_not_to_be_used_are_left_out(member: object, reason: str) -> None:
    """And the others of the set are used."""
    found = read_set(_set(jwk("rsa"), member, jwk("ec")), ["RS256", "ES256"])
    assert [key.id for key in found.keys] == ["rsa", "ec"]
    assert len(found.ignored) == 1
    assert re.search(reason, found.ignored[0])


def test_25_a_key_is_for_one_family() -> None:
    """An RSA key verifies what it says, or else the family that comes first."""
    found = read_set(_set(jwk("rsa"), jwk("rsa-2", alg="PS256")), ["RS256", "PS256", "RS512"])
    assert [sorted(key.algorithms) for key in found.keys] == [["RS256", "RS512"], ["PS256"]]
    assert found.find("PS256", "rsa") is None
    assert found.find("PS256", None) == found.keys[1]
    assert read_set(_set(jwk("rsa"), jwk("rsa-2")), ["RS256"]).find("RS256", None) is None
