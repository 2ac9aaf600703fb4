"""The server's side of TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

from jackfield._errors import StartError


def server_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """Return a context that shows the certificate.

    Args:
        certificate: PEM file of the certificate and its chain.
        key: PEM file of its key, where that is a file of its own.

    Raises:
        StartError: A file cannot be read, or holds something else.
    """
    files = {"server.tls_certificate": certificate, **({"server.tls_key": key} if key is not None else {})}
    faults = [fault for setting, file in files.items() if (fault := _unreadable(file, setting))]
    if faults:
        raise StartError(faults)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        found = " and ".join(map(str, files.values()))
        raise StartError(
            [
                f"cannot serve TLS with {found}: a certificate and the key that belongs to it are needed, in PEM and "
                f"without a password ({error.reason or 'unreadable'}; {', '.join(files)})"
            ]
        ) from None
    return context


def _unreadable(file: Path, setting: str) -> str | None:
    try:
        with file.open("rb"):
            return None
    except OSError as error:
        return f"cannot serve TLS: {file}: {error.strerror} ({setting})"


def _no_password() -> str:
    """Answer for OpenSSL, which would ask whoever sits at the terminal."""
    return ""
