"""Tokens: whether one is good, and what it says. Everything that is not required or understood is refused."""

from __future__ import annotations

import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from jwt import (
    DecodeError,
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuedAtError,
    InvalidIssuerError,
    InvalidSignatureError,
    InvalidTokenError,
    MissingRequiredClaimError,
    PyJWTError,
)
from jwt.api_jwt import PyJWT

from jackfield_jwt.keys import Key
from jackfield_jwt.reading import Unreadable, read_object
from jackfield_jwt.settings import JwtSettings

ANONYMOUS: Final = "anonymous"
"""The id of clients without a token, so that of no token."""
_FORM: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+", re.ASCII)
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_OFFERS: Final = frozenset({"jku", "x5u", "jwk", "x5c"})
"""Headers in which a token brings its own key."""
_MAX_ID: Final = 256
_MAX_SCOPES: Final = 1000
_REQUIRED: Final = ["exp", "iss", "aud", "sub"]
_LATEST: Final = 2**53
_FAULTS: Final[Mapping[type[InvalidTokenError], str]] = {
    DecodeError: "it cannot be read",
    ExpiredSignatureError: "it has expired",
    ImmatureSignatureError: "it is not good yet",
    InvalidAudienceError: "its aud is not what `audience` says",
    InvalidIssuedAtError: "its iat is no time",
    InvalidIssuerError: "its iss is not what `issuer` says",
    InvalidSignatureError: "its signature is not that of the key",
    MissingRequiredClaimError: "one of exp, iss, aud and sub is missing",
}
"""What is wrong, in words of our own, since the text of an exception may hold a part of the token."""


class Rejected(Exception):
    """A token that is not good; the text says why, for the log, and nothing of what the token holds."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good token says.

    Args:
        subject: Who it is for.
        scopes: What they may do.
        expires: Until when it is good, in seconds since the epoch.
        issued: When it was made, if it says so.
        id: Its own id, if it has one.
    """

    subject: str
    scopes: frozenset[str]
    expires: int
    issued: int | None = None
    id: str | None = None


class Keys(Protocol):
    """Where keys are found."""

    async def find(self, algorithm: str, key_id: str | None) -> Key | None:
        """Return the key for a token, if there is one."""


class Verifier:
    """Verifies tokens.

    Args:
        settings: What a good token is.
        keys: The keys of its issuer.
    """

    def __init__(self, settings: JwtSettings, keys: Keys) -> None:
        self._settings = settings
        self._keys = keys
        self._jwt = PyJWT()

    async def read(self, token: object) -> Claims:
        """Return what a token says.

        Raises:
            Rejected: It is not good.
            CallError: The keys are not to be had now.
        """
        header, payload = self._parts(token)
        algorithm = self._algorithm(header)
        key = await self._keys.find(algorithm, self._key_id(header))
        if key is None:
            raise Rejected("no key of that id for its algorithm")
        try:
            self._jwt.decode(
                str(token),
                key.value,
                algorithms=[algorithm],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=self._settings.leeway,
                options={"require": _REQUIRED, "enforce_minimum_key_length": True},
            )
        except InvalidTokenError as error:
            raise Rejected(_FAULTS.get(type(error), "it is not valid")) from None
        except (PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise Rejected("it cannot be verified with its key") from None
        return self._claims(_object(payload, "its claims"))

    def _parts(self, token: object) -> tuple[dict[str, Any], str]:
        if not isinstance(token, str):
            raise Rejected("no text")
        if len(token) > self._settings.max_size:
            raise Rejected("it is longer than max_size")
        form = _FORM.fullmatch(token)
        if form is None:
            raise Rejected("it has not the form of a token")
        return _object(form[1], "its header"), form[2]

    def _algorithm(self, header: Mapping[str, Any]) -> str:
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._settings.algorithms:
            raise Rejected("its algorithm is not one of `algorithms`")
        if "crit" in header or "b64" in header or "zip" in header:
            raise Rejected("its header wants an extension")
        if _OFFERS & header.keys():
            raise Rejected("its header brings a key")
        kind = header.get("typ", "JWT")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise Rejected("it is another kind of token")
        return algorithm

    def _key_id(self, header: Mapping[str, Any]) -> str | None:
        if "kid" not in header:
            return None
        return _name(header["kid"], "the id of its key")

    def _claims(self, claims: Mapping[str, Any]) -> Claims:
        now, leeway = time.time(), self._settings.leeway
        expires = _time(claims.get("exp"), "exp")
        if expires + leeway <= now:
            raise Rejected("it has expired")
        if expires > now + leeway + self._settings.max_age:
            raise Rejected("it lasts longer than max_age")
        issued = None
        for name in ("nbf", "iat"):
            if name in claims:
                issued = _time(claims[name], name)
                if issued > now + leeway:
                    raise Rejected(f"its {name} is in the future")
        subject = _name(claims.get("sub"), "its sub")
        if subject == ANONYMOUS:
            raise Rejected("its sub is the name of clients without a token")
        return Claims(
            subject,
            self._scopes(claims.get(self._settings.scope_claim, "")),
            expires,
            issued if "iat" in claims else None,
            _name(claims["jti"], "its jti") if "jti" in claims else None,
        )

    def _scopes(self, claim: object) -> frozenset[str]:
        if isinstance(claim, str):
            return frozenset(claim.split())
        if not isinstance(claim, list) or len(claim) > _MAX_SCOPES:
            raise Rejected("its scopes are neither text nor a list")
        if any(not isinstance(scope, str) or scope.split() != [scope] for scope in claim):
            raise Rejected("one of its scopes is no word")
        return frozenset(claim)


def _object(segment: str, what: str) -> dict[str, Any]:
    try:
        return read_object(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except Unreadable as error:
        raise Rejected(f"{what}: {error}") from None
    except ValueError:
        raise Rejected(f"{what}: no base64url") from None


def _time(value: object, name: str) -> int:
    if type(value) is not int or not 0 <= value <= _LATEST:
        raise Rejected(f"its {name} is no whole number of seconds")
    return value


def _name(value: object, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_ID or not value.isprintable():
        raise Rejected(f"{what} is no printable text of 1 to {_MAX_ID} characters")
    return value
