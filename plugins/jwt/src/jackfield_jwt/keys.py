"""Keys: what each may verify, and where they are read from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import PyJWTError
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from pydantic import SecretStr

from jackfield_jwt.algorithms import Algorithm, check_secret, family
from jackfield_jwt.reading import Unreadable, read_object

MAX_KEYS: Final = 100
MAX_SET: Final = 256 * 1024
"""Bytes of a JWK Set."""
_MAX_ID: Final = 256
_MIN_RSA: Final = 2048
_CURVES: Final = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
_READERS: Final[dict[str, Any]] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class Sources(Protocol):
    """The settings that say where keys come from; one of them does."""

    @property
    def algorithms(self) -> tuple[Algorithm, ...]:
        """What tokens may be signed with."""

    @property
    def secret(self) -> SecretStr | None:
        """The secret that is shared with the issuer."""

    @property
    def secret_file(self) -> Path | None:
        """The file of that secret."""

    @property
    def public_key_file(self) -> Path | None:
        """The file of the issuer's public key, in PEM."""

    @property
    def jwks_file(self) -> Path | None:
        """The file of the issuer's public keys, a JWK Set."""


class KeyFault(ValueError):
    """A key that cannot be used; the text says why, and never what it is."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key, and what it may verify.

    Args:
        value: The key, as PyJWT takes it.
        algorithms: Those that it may verify, all of one family.
        id: Its `kid`, where it has one.
    """

    value: Any
    algorithms: frozenset[str]
    id: str | None = None

    def __repr__(self) -> str:
        return f"<Key {self.id!r} for {', '.join(sorted(self.algorithms))}>"


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of an issuer, and why some of what was found are none."""

    keys: tuple[Key, ...] = ()
    ignored: tuple[str, ...] = ()

    def find(self, algorithm: str, key_id: str | None) -> Key | None:
        """Return the key that a token names, or without a name the only one that there can be."""
        fitting = [key for key in self.keys if algorithm in key.algorithms]
        if key_id is not None:
            named = [key for key in fitting if key.id == key_id]
            fitting = named or [key for key in fitting if key.id is None]
        return fitting[0] if len(fitting) == 1 else None


def read_local(settings: Sources) -> KeySet | None:
    """Return the keys that are on this machine; None where they have to be fetched.

    Raises:
        KeyFault: A file cannot be read, or there is no key in it that may be used.
    """
    if settings.secret is not None:
        return _secret(settings.secret.get_secret_value().encode(), settings.algorithms)
    if settings.secret_file is not None:
        return _secret(read_secret(settings.secret_file, settings.algorithms), settings.algorithms)
    if settings.public_key_file is not None:
        return KeySet((_pem(settings.public_key_file, settings.algorithms),))
    return None if settings.jwks_file is None else _set_file(settings.jwks_file, settings.algorithms)


def read_secret(file: Path, algorithms: Sequence[Algorithm]) -> bytes:
    """Return the secret in a file.

    Raises:
        KeyFault: It cannot be read, or is too short.
    """
    secret = _read(file).strip()
    try:
        check_secret(secret, algorithms, f"secret_file {str(file)!r}")
    except ValueError as error:
        raise KeyFault(str(error)) from None
    return secret


def read_set(raw: bytes, algorithms: Sequence[Algorithm]) -> KeySet:
    """Return the usable keys of a JWK Set (RFC 7517).

    Args:
        raw: The set.
        algorithms: What tokens may be signed with.

    Raises:
        KeyFault: It is none.
    """
    try:
        members = read_object(raw).get("keys")
    except Unreadable as error:
        raise KeyFault(f"no JWK Set: {error}") from None
    if not isinstance(members, list):
        raise KeyFault("no JWK Set: it has no list `keys`")
    if len(members) > MAX_KEYS:
        raise KeyFault(f"a JWK Set of {len(members)} keys; {MAX_KEYS} are enough")
    keys: list[Key] = []
    ignored: list[str] = []
    for number, member in enumerate(members):
        try:
            keys.append(_member(member, algorithms, keys))
        except KeyFault as fault:
            ignored.append(f"key {number}: {fault}")
    return KeySet(tuple(keys), tuple(ignored))


def _member(member: object, algorithms: Sequence[Algorithm], others: Sequence[Key]) -> Key:
    if not isinstance(member, dict):
        raise KeyFault("no object")
    key_id, kind, algorithm = member.get("kid"), member.get("kty"), member.get("alg")
    if key_id is not None and not (isinstance(key_id, str) and 0 < len(key_id) <= _MAX_ID):
        raise KeyFault("its id is none")
    if kind not in tuple(_READERS):
        raise KeyFault("a key that is shared does not belong into a set" if kind == "oct" else "its type is not known")
    if _PRIVATE & member.keys():
        raise KeyFault("it is private, and should be known to its issuer alone")
    if member.get("use", "sig") != "sig" or "verify" not in _listed(member.get("key_ops", ["verify"])):
        raise KeyFault("it is not for signatures")
    try:
        value = _READERS[kind].from_jwk(member)
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        raise KeyFault("it cannot be read") from None
    can = able(value, [one for one in algorithms if algorithm in (None, one)])
    if not can:
        raise KeyFault("it fits none of the algorithms")
    if any(key_id == other.id and can & other.algorithms for other in others):
        raise KeyFault("another one has the same id")
    return Key(value, can, key_id)


def _listed(value: object) -> Iterable[object]:
    return value if isinstance(value, list) else ()


def able(value: object, algorithms: Sequence[str]) -> frozenset[str]:
    """Return which of the algorithms a public key may verify: those of one family, the first that fits."""
    if isinstance(value, rsa.RSAPublicKey):
        if value.key_size < _MIN_RSA:
            raise KeyFault(f"an RSA key of {value.key_size} bits; {_MIN_RSA} are the least")
        fitting = [algorithm for algorithm in algorithms if family(algorithm) in ("RS", "PS")]
    elif isinstance(value, ec.EllipticCurvePublicKey):
        fitting = [algorithm for algorithm in algorithms if _CURVES.get(algorithm) == value.curve.name]
    elif isinstance(value, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        fitting = [algorithm for algorithm in algorithms if algorithm == "EdDSA"]
    else:
        fitting = []
    return frozenset(algorithm for algorithm in fitting if family(algorithm) == family(fitting[0]))


def _set_file(file: Path, algorithms: Sequence[Algorithm]) -> KeySet:
    found = read_set(_read(file), algorithms)
    if not found.keys:
        why = f": {'; '.join(found.ignored)}" if found.ignored else ""
        raise KeyFault(f"jwks_file {str(file)!r} has no key that may be used{why}")
    return found


def _secret(secret: bytes, algorithms: Sequence[Algorithm]) -> KeySet:
    return KeySet((Key(secret, frozenset(algorithms)),))


def _pem(file: Path, algorithms: Sequence[Algorithm]) -> Key:
    name = f"public_key_file {str(file)!r}"
    raw = _read(file)
    if b"PRIVATE KEY-----" in raw:
        raise KeyFault(f"{name} holds a private key, which belongs to the issuer alone")
    try:
        value = load_pem_public_key(raw)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is no key
        raise KeyFault(f"{name} holds no public key in PEM") from None
    try:
        can = able(value, algorithms)
    except KeyFault as fault:
        raise KeyFault(f"{name}: {fault}") from None
    if can != frozenset(algorithms):
        raise KeyFault(f"{name} holds a key that does not fit {', '.join(sorted(set(algorithms) - can))}")
    return Key(value, can)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_SET + 1)
    except OSError as error:
        raise KeyFault(f"{str(file)!r} cannot be read: {error.strerror}") from None
    if len(raw) > MAX_SET:
        raise KeyFault(f"{str(file)!r} has more than {MAX_SET} bytes")
    return raw
