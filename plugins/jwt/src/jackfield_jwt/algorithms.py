"""Algorithms that tokens may be signed with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

Algorithm: TypeAlias = Literal[
    "HS256",
    "HS384",
    "HS512",
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
]

HASH_SIZES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Bytes that a secret has at the least: those of the hash (RFC 7518, 3.2)."""


def family(algorithm: str) -> str:
    """Return what algorithms of one key have in common: `HS`, `RS`, `PS`, `ES` or `Ed`."""
    return algorithm[:2]


def check_secret(secret: bytes, algorithms: Sequence[Algorithm], name: str) -> None:
    """See that a secret is long enough.

    Raises:
        ValueError: It is not; its value is not in the message.
    """
    longest = max(algorithms, key=lambda algorithm: HASH_SIZES[algorithm])
    if len(secret) < HASH_SIZES[longest]:
        raise ValueError(
            f"{name} has {len(secret)} bytes, and {longest} needs {HASH_SIZES[longest]} or more: "
            "jackfield token --generate-secret makes one"
        )
