"""The plugin's settings."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from jackfield_jwt.algorithms import Algorithm, check_secret, family

SOURCES: Final = ("secret", "secret_file", "public_key_file", "jwks_file", "jwks_url")


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _words(scopes: tuple[str, ...]) -> tuple[str, ...]:
    for scope in scopes:
        if scope.split() != [scope]:
            raise ValueError(f"a scope is a word without white space, not {scope!r}")
    return scopes


def _location(url: str) -> str:
    parts = urlsplit(url)
    if parts.username or parts.password or parts.fragment or not parts.hostname:
        raise ValueError("it has a host, and neither a user, a password nor a fragment")
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname)):
        return url
    raise ValueError("it begins with https://; http:// is for this machine alone, such as http://127.0.0.1/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class JwtSettings(BaseModel):
    """`[plugins.jwt]`: without one of the keys nobody is asked for a token."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    algorithms: Annotated[tuple[Algorithm, ...], BeforeValidator(_listed)] = Field(
        (), description="Algorithms that tokens may be signed with; one family, such as RS256 and RS512, for each key."
    )
    secret: SecretStr | None = Field(None, description="Key: the secret that the HS algorithms share with the issuer.")
    secret_file: Path | None = Field(None, description="Key: the file of that secret; white space around it is left.")
    public_key_file: Path | None = Field(None, description="Key: the issuer's public key, a file in PEM.")
    jwks_file: Path | None = Field(None, description="Keys: the issuer's public keys, a file with a JWK Set.")
    jwks_url: Annotated[str, AfterValidator(_location)] | None = Field(
        None, description="Keys: where the issuer publishes its JWK Set; https, or http on this machine."
    )
    issuer: str | None = Field(None, min_length=1, description="What the claim `iss` has to be.")
    audience: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_listed)] = Field(
        (), description="What the claim `aud` has to be, or to hold; of several, any one."
    )
    leeway: float = Field(5.0, ge=0, le=300, description="Seconds by which the issuer's clock may differ.")
    max_age: float = Field(
        86400.0, gt=0, le=31 * 86400, description="Seconds that a token may last from now, at the most."
    )
    max_size: int = Field(8192, ge=256, le=65536, description="Characters of a token at the most.")
    scope_claim: str = Field(
        "scope", min_length=1, description="The claim with the scopes: words in one string, or a list of them."
    )
    anonymous_scopes: Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_words)] | None = Field(
        None, description="Scopes of clients without a token; if left out, there are no such clients."
    )
    header: bool = Field(True, description="Whether a token may come in the header `Authorization: Bearer`.")
    jwks_lifetime: float = Field(
        600.0, ge=1, description="Seconds after which the keys of `jwks_url` are fetched again, in the background."
    )
    jwks_cooldown: float = Field(
        10.0, ge=0.1, description="Seconds between two fetches because of a key id that is not known."
    )
    jwks_timeout: float = Field(3.0, gt=0, le=60, description="Seconds that a fetch may take.")
    jwks_max_stale: float = Field(
        86400.0, gt=0, description="Seconds that keys are used on while they cannot be fetched again."
    )
    max_revocations: int = Field(
        100_000, ge=1, description="Revocations that are remembered; past that, none is taken until some are over."
    )

    @property
    def configured(self) -> bool:
        """Whether there are keys, and so clients have to say who they are."""
        return any(getattr(self, source) is not None for source in SOURCES)

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        sources = [source for source in SOURCES if getattr(self, source) is not None]
        if not sources:
            if self.model_fields_set:
                raise ValueError(f"it has no key: give one of {', '.join(SOURCES)}")
            return self
        if len(sources) > 1:
            raise ValueError(f"{' and '.join(sources)} exclude each other: keys come from one place")
        missing = [name for name in ("algorithms", "issuer", "audience") if not getattr(self, name)]
        if missing:
            raise ValueError(f"with {sources[0]} it needs {' and '.join(missing)} too")
        self._check_families(sources[0])
        if self.secret is not None:
            check_secret(self.secret.get_secret_value().encode(), self.algorithms, "secret")
        from jackfield_jwt.keys import read_local  # noqa: PLC0415 - who has no key need not wait for it

        read_local(self)  # so that a file without a key is a fault of the settings, which `jackfield check` finds
        return self

    def _check_families(self, source: str) -> None:
        families = sorted({family(algorithm) for algorithm in self.algorithms})
        shared = source in ("secret", "secret_file")
        if shared != ("HS" in families) or (shared and len(families) > 1):
            rule = (
                "a secret is for HS256, HS384 and HS512 alone" if shared else "HS algorithms need secret or secret_file"
            )
            raise ValueError(f"algorithms are {', '.join(self.algorithms)} with {source}: {rule}")
        if source == "public_key_file" and len(families) > 1:
            raise ValueError(
                f"algorithms are of {len(families)} families, and one key is for one: {', '.join(families)}"
            )
