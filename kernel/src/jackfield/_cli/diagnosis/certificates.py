"""Until when a certificate is good, read from the file itself: the standard library has no reader for one's own."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from jackfield._cli.diagnosis.finding import Finding, fault, ok, warning

_SOON: Final = timedelta(days=14)
_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x17, 0x18, 0xA0


def lifetime(file: Path) -> Finding:
    """Say how long the first certificate of a PEM file is good for.

    Args:
        file: What `server.tls_certificate` names; OpenSSL has taken it.
    """
    found = _PEM.search(file.read_text(encoding="utf-8", errors="replace"))
    begin, end = _validity(ssl.PEM_cert_to_DER_cert(found[0])) if found else (None, None)
    if begin is None or end is None:
        return warning("certificate", f"{file}: until when it is good cannot be read", f"openssl x509 -in {file}")
    now = datetime.now(UTC)
    if now < begin:
        return fault(
            "certificate", f"{file} is good from {begin:%Y-%m-%d} on, not yet", "see the clock of this machine"
        )
    if now > end:
        return fault("certificate", f"{file} has expired on {end:%Y-%m-%d}", "renew it, and start the server anew")
    if now > end - _SOON:
        return warning("certificate", f"{file} expires on {end:%Y-%m-%d}", "renew it, and start the server anew")
    return ok("certificate", f"{file}, good until {end:%Y-%m-%d}")


def _validity(der: bytes) -> tuple[datetime | None, datetime | None]:
    """Return from when and until when a certificate is good (RFC 5280: the fourth field after the version)."""
    try:
        ((_, certificate), *_) = _fields(der)
        ((_, body), *_) = _fields(certificate)
        fields = [content for tag, content in _fields(body) if tag != _VERSION]
        times = [_time(tag, content) for tag, content in _fields(fields[3])]
    except (IndexError, ValueError):
        return None, None
    return (times[0], times[1]) if len(times) == 2 else (None, None)


def _fields(der: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size], "big"), at + size
        yield tag, der[at : at + length]
        at += length


def _time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME:  # two digits of the year, of 1950 to 2049
        text = ("19" if text >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError(f"{tag:#x} is no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
