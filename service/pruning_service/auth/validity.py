"""When certificates are valid: the one part of X.509 that Python's standard library does not show of a file.

Source: RFC 5280, section 4.1; the encoding is ITU-T X.690's DER.
"""

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far the clock of whoever signs may be ahead: many certificates are valid from the minute they are signed."""

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_VERSION_TAG: Final = 0xA0
_UTC_TIME: Final = 0x17
_BEFORE_VALIDITY: Final = 3
"""Serial number, signature algorithm, issuer."""


@dataclass(frozen=True, slots=True)
class Validity:
    """From when to when a certificate is valid."""

    begin: datetime
    end: datetime

    def fault(self, now: datetime) -> str | None:
        """Return why a certificate is not valid now; None: it is."""
        if now > self.end:
            return f"expired on {self.end:%Y-%m-%d %H:%M} UTC"
        if now < self.begin - CLOCK_SKEW:
            return f"is valid only from {self.begin:%Y-%m-%d %H:%M} UTC"
        return None


def validities(pem: bytes) -> list[Validity]:
    """Return the validity of each certificate of a file, in order. Raises: ValueError."""
    found = (match.group().decode("ascii", "replace") for match in _CERTIFICATE.finditer(pem))
    return [_validity(ssl.PEM_cert_to_DER_cert(text)) for text in found]


def _validity(der: bytes) -> Validity:
    """Return the validity in a certificate: Certificate, TBSCertificate, [version,] three others, Validity."""
    ((_, certificate),) = _elements(der)
    _, signed = next(_elements(certificate))
    fields = [(tag, content) for tag, content in _elements(signed) if tag != _VERSION_TAG]
    begin, end = (_time(tag, content) for tag, content in _elements(fields[_BEFORE_VALIDITY][1]))
    return Validity(begin, end)


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Return the elements that follow one another in DER, each with its tag. Raises: ValueError."""
    at = 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1] if at + 1 < len(der) else len(der), at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size], "big"), at + size
        if at + length > len(der):
            raise ValueError("a certificate ends in the middle")
        yield tag, der[at : at + length]
        at += length


def _time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME:  # two digits of the year: 50 is 1950
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
