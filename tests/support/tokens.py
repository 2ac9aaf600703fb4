"""An issuer of tokens, good ones and such as no issuer makes."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from functools import cache
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import get_default_algorithms

SECRET: Final = "a secret of the tests, which has more than 64 bytes so that it is good for all"
ISSUER: Final = "https://issuer.test"
AUDIENCE: Final = "jackfield-tests"

_DROP: Final = object()
"""In the place of a claim or a header that a token is to be without."""


def settings(*lines: str) -> str:
    """Return `[plugins.jwt]` for tokens of this issuer, signed with the secret if `lines` say nothing of keys."""
    given = "\n".join(lines)
    if "algorithms" not in given:
        given += f'\nalgorithms = ["HS256"]\nsecret = "{SECRET}"'
    return f'[plugins.jwt]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\n{given}\n'


@cache
def private(name: str) -> Any:
    """Return a private key, always the same one for a name, which begins with its kind: `rsa`, `small`, `ec`, `ed`."""
    if name.startswith("rsa"):
        return rsa.generate_private_key(65537, 2048)
    if name.startswith("small"):
        return rsa.generate_private_key(65537, 1024)
    return ec.generate_private_key(ec.SECP256R1()) if name.startswith("ec") else ed25519.Ed25519PrivateKey.generate()


def public_pem(name: str) -> bytes:
    """Return the public key in PEM."""
    pem: bytes = private(name).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def private_pem(name: str) -> bytes:
    """Return the private key in PEM."""
    pem: bytes = private(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def jwk(name: str, *, secret: bool = False, **members: Any) -> dict[str, Any]:
    """Return a key as a JWK whose `kid` is its name."""
    kind = "RS256" if name.startswith(("rsa", "small")) else "ES256" if name.startswith("ec") else "EdDSA"
    key = private(name) if secret else private(name).public_key()
    made: dict[str, Any] = get_default_algorithms()[kind].to_jwk(key, as_dict=True)
    made.pop("key_ops", None)
    return {**made, "kid": name, **members}


def without(*names: str) -> dict[str, Any]:
    """Return what takes these out of a token."""
    return dict.fromkeys(names, _DROP)


def token(
    claims: dict[str, Any] | bytes | None = None,
    header: dict[str, Any] | bytes | None = None,
    *,
    alg: str = "HS256",
    key: Any = SECRET,
    lasts: int = 600,
) -> str:
    """Return a token: a good one, save for what is said otherwise.

    Args:
        claims: Changes of the claims, or all of them as bytes.
        header: Changes of the header, or all of it as bytes.
        alg: What it is signed with.
        key: The key: a secret, or the name of a private key.
        lasts: Seconds until `exp`.
    """
    now = int(time.time())
    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now + lasts, "iat": now}
    if alg != "HS256":
        header = {"kid": key, **header} if isinstance(header, dict) else header or {"kid": key}
        key = private(key)
    signed = b".".join(
        [_segment({"alg": alg, "typ": "JWT"}, header), _segment(said, claims)],
    )
    algorithm = get_default_algorithms()[alg]
    signature = algorithm.sign(signed, algorithm.prepare_key(key))
    return f"{signed.decode()}.{base64(signature)}"


def base64(raw: bytes) -> str:
    """Return base64url without padding."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _segment(usual: dict[str, Any], changes: dict[str, Any] | bytes | None) -> bytes:
    if not isinstance(changes, bytes):
        merged = {**usual, **(changes or {})}
        changes = json.dumps({name: value for name, value in merged.items() if value is not _DROP}).encode()
    return base64(changes).encode()
