"""The server's TLS: files to gRPC's credentials, read anew for each connection that is made.

Certificates are renewed while a server runs, every few weeks or every few hours. Connections that are there live on;
new ones are met with what the files hold by then, whether they were written in place, renamed or swapped by their
folder's link, as Kubernetes does. Files that do not fit together are told in the log, and those before stay in use.
"""

import hashlib
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from pruning_service.auth.open_files import warn_if_open
from pruning_service.settings import PREFIX, Settings, SettingsError

_TRIES: Final = 3
"""How often files are read that change while they are read."""

_BEGIN: Final = "-----BEGIN CERTIFICATE-----"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, repr=False)
class _Contents:
    """What the files hold."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None

    @property
    def fingerprint(self) -> str:
        """What names the certificate in a log: the SHA-256 that `openssl x509 -fingerprint -sha256` shows."""
        first = self.certificate.decode("ascii", "replace").partition(_BEGIN)
        pem = "".join(first[1:]).partition("-----END CERTIFICATE-----")
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert("".join(pem[:2]))).hexdigest()

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate)], self.client_ca)


@dataclass(frozen=True, slots=True)
class _Files:
    certificate: Path
    key: Path
    client_ca: Path | None

    def read(self) -> _Contents:
        """Give what they hold, known to fit together. Raises: SettingsError."""
        for _ in range(_TRIES):
            contents = self._read()
            wrong = self._fault()
            if contents == self._read():  # what was checked is what was read
                break
        else:
            wrong = "the files for TLS change faster than they can be read"
        if wrong is None and _BEGIN.encode() not in contents.certificate:  # OpenSSL knows other kinds
            wrong = f"{self.certificate} ({PREFIX}TLS_CERTIFICATE) holds no {_BEGIN}"
        if wrong is not None:
            raise SettingsError(wrong)
        return contents

    def _read(self) -> _Contents:
        try:
            client_ca = None if self.client_ca is None else self.client_ca.read_bytes()
            return _Contents(self.certificate.read_bytes(), self.key.read_bytes(), client_ca)
        except OSError as error:
            raise SettingsError(f"cannot read {error.filename} for TLS: {error.strerror}") from error

    def _fault(self) -> str | None:
        """Say what is wrong with them. gRPC would take a key that belongs to another certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_pass_phrase)
        except (OSError, ValueError) as error:
            return (
                f"{self.certificate} ({PREFIX}TLS_CERTIFICATE) and {self.key} ({PREFIX}TLS_KEY) are no certificate in "
                f"PEM and its private key without a pass phrase: {error}"
            )
        try:
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
        except (OSError, ValueError) as error:
            return f"{self.client_ca} ({PREFIX}TLS_CLIENT_CA) holds no certificate in PEM: {error}"
        return None


class _Renewed:
    """The files as they were when they last fitted together."""

    def __init__(self, files: _Files) -> None:
        self.served = files.read()
        self._files = files
        self._complaint = ""
        _log.info("tls certificate=%s", self.served.fingerprint)
        warn_if_open(files.key)

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Give what has changed; None: nothing. Called by gRPC, in a thread of its own, for each new connection."""
        try:
            contents = self._files.read()
        except SettingsError as error:
            self._complain(str(error))
            return None
        self._complaint = ""
        if contents == self.served:
            return None
        self.served = contents
        _log.info("tls renewed certificate=%s", contents.fingerprint)
        return contents.configuration()

    def _complain(self, wrong: str) -> None:
        if wrong != self._complaint:  # once, not for each connection
            _log.error("tls not renewed, certificate=%s stays in use: %s", self.served.fingerprint, wrong)
        self._complaint = wrong


def credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """Give what the server listens with; None: nothing, it speaks in the clear.

    Raises: SettingsError if the files cannot be read, or do not fit together.
    """
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    renewed = _Renewed(_Files(settings.tls_certificate, settings.tls_key, settings.tls_client_ca))
    return grpc.dynamic_ssl_server_credentials(
        renewed.served.configuration(),
        renewed.fetch,  # type: ignore[arg-type] # its None is gRPC's "unchanged"
        require_client_authentication=settings.tls_client_ca is not None,
    )


def _no_pass_phrase() -> str:
    """Answer for the terminal, where OpenSSL would ask."""
    return ""
