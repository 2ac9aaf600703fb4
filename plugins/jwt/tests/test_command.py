"""`jackfield token`: tokens that a server with the same configuration takes, and no others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner, Result

from jackfield_jwt.command import command
from tests.support.tokens import AUDIENCE, ISSUER, SECRET, jwk, private_pem, public_pem, settings

Run = Callable[..., Result]


@pytest.fixture(name="run")
def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run it in a folder with a configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JACKFIELD_CONFIG", raising=False)
    for name in ("rsa", "ec", "rsa-other", "small"):
        (tmp_path / f"{name}.pem").write_bytes(private_pem(name))
        (tmp_path / f"{name}.pub").write_bytes(public_pem(name))
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [jwk("ec"), jwk("rsa")]}), encoding="utf-8")

    def run(*arguments: str, config: str = "") -> Result:
        (tmp_path / "jackfield.toml").write_text(config, encoding="utf-8")
        return CliRunner().invoke(command, arguments)

    return run


def test_one_of_the_secret(run: Run) -> None:
    """With what was said, and what the configuration says."""
    arguments = ("--sub", "alice", "--scope", "files:read  files:write", "--scope", "a", "--for", "2h", "--jti", "x")
    done = run(*arguments, config=settings())
    assert (done.exit_code, done.stderr) == (0, "")
    claims = jwt.decode(done.stdout.strip(), SECRET, ["HS256"], audience=AUDIENCE, issuer=ISSUER)
    assert claims["exp"] - claims["iat"] == 7200
    assert (claims["sub"], claims["scope"], claims["jti"]) == ("alice", "files:read files:write a", "x")


@pytest.mark.parametrize(
    ("lines", "file", "kid"),
    [
        (['algorithms = "RS512"', 'public_key_file = "rsa.pub"'], "rsa", None),
        (['algorithms = ["RS256", "ES256"]', 'jwks_file = "keys.json"'], "ec", "ec"),
        (['algorithms = ["RS256", "ES256"]', 'jwks_file = "keys.json"'], "rsa", "rsa"),
        (['algorithms = "ES256"', 'jwks_url = "https://issuer.test/keys"'], "ec", "mine"),
    ],
)
def test_one_of_a_private_key(run: Run, lines: list[str], file: str, kid: str | None) -> None:
    """Its id is that of the set, or what was said."""
    done = run("--sub", "alice", "--key-file", f"{file}.pem", "--kid", "mine", config=settings(*lines))
    assert (done.exit_code, done.stderr) == (0, "")
    made = done.stdout.strip()
    header = jwt.get_unverified_header(made)
    assert header.get("kid") == kid
    jwt.decode(made, public_pem(file), [header["alg"]], audience=AUDIENCE)


def test_a_good_secret(run: Run) -> None:
    """It is long enough for every algorithm, another one each time, and needs no configuration."""
    made = {run("--generate-secret", config="[sever]").stdout.strip() for _ in range(3)}
    assert len(made) == 3
    for secret in made:
        config = settings('algorithms = "HS512"', f'secret = "{secret}"')
        assert run("--sub", "alice", config=config).exit_code == 0


PUBLIC = settings('algorithms = "RS256"', 'public_key_file = "rsa.pub"')


@pytest.mark.parametrize(
    ("arguments", "config", "said"),
    [
        ([], settings(), "Missing option '--sub': who is the token for?"),
        (["--sub", "a", "--for", "soon"], settings(), "'soon' is no time such as 90, 30s, 15m, 1h or 1d"),
        (["--sub", "a", "--for", "0"], settings(), "'0' is no time"),
        (["--sub", "a", "--for", "2d"], settings(), "refuses such a token: it lasts longer than max_age"),
        (["--sub", "a\nb"], settings(), "refuses such a token: its sub is no printable text"),
        (["--sub", "anonymous"], settings(), "refuses such a token: its sub is the name of clients without a token"),
        (["--sub", "a"], "", "plugins.jwt has no key, so no server asks for a token"),
        (["--sub", "a"], "[sever]", "sever: there is no such key; did you mean server"),
        (
            ["--sub", "a"],
            '[plugins.jwt]\nsecret = "short"',
            "with secret it needs algorithms and issuer and audience too",
        ),
        (["--sub", "a"], PUBLIC, "public keys alone, which sign nothing   → give --key-file with the private one"),
        (["--sub", "a", "--key-file", "rsa.pub"], PUBLIC, "holds no private key in PEM"),
        (["--sub", "a", "--key-file", "rsa-other.pem"], PUBLIC, "whose public half the configuration does not have"),
        (["--sub", "a", "--key-file", "ec.pem"], PUBLIC, "holds a key that does not fit RS256"),
        (["--sub", "a", "--key-file", "small.pem"], PUBLIC, "an RSA key of 1024 bits; 2048 are the least"),
        (["--sub", "a", "--key-file", "rsa.pem"], settings(), "has a secret, which signs tokens: leave --key-file out"),
        (["--sub", "a", "--key-file", "away.pem"], PUBLIC, "does not exist"),
    ],
    ids=lambda value: None if isinstance(value, list) else value[-40:],
)
def test_what_no_server_would_take_is_not_made(run: Run, arguments: list[str], config: str, said: str) -> None:
    """Nothing goes to standard output, and no secret to standard error."""
    done = run(*arguments, config=config)
    assert done.exit_code in (1, 2)
    assert done.stdout == ""
    assert said in done.stderr
    assert SECRET not in done.stderr
