"""The server's TLS: gRPC credentials from files that are read again for each new connection.

Certificates are renewed while a server runs, every few weeks or every few hours. Existing connections continue; new
ones use what the files hold by then, whether these were written in place, renamed or replaced by their folder's link,
as Kubernetes does. Files that do not match, are not valid now, or that gRPC cannot use are logged, and the ones before
them stay in use.
"""

import hashlib
import itertools
import logging
import os
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import grpc

from pruning_service.auth.reloaded_file import ReloadedFile, warn_if_world_readable
from pruning_service.auth.validity import validities
from pruning_service.local_settings import SettingsError
from pruning_service.settings import Settings, variable_of

_READS: Final = 3
"""How many times files are read that change while they are read."""

_TRIAL: Final = "unix-abstract:pruning-tls-{}-{}"
"""Where files are tried: a socket without a path, which no other machine can reach, and where there are no methods.

Filled in with the process and a number used once: gRPC closes a stopped server's socket some time later.
"""

_trial_numbers: Final = itertools.count()

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
        """The SHA-256 that `openssl x509 -fingerprint -sha256` shows: it identifies the certificate in the log."""
        first = self.certificate.decode("ascii", "replace").partition(_BEGIN)
        pem = "".join(first[1:]).partition("-----END CERTIFICATE-----")
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert("".join(pem[:2]))).hexdigest()

    def credentials(self) -> grpc.ServerCredentials:
        asks = self.client_ca is not None
        return grpc.ssl_server_credentials([(self.key, self.certificate)], self.client_ca, require_client_auth=asks)

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate)], self.client_ca)


@dataclass(frozen=True, slots=True)
class _Files:
    certificate: Path
    key: Path
    client_ca: Path | None

    def read(self) -> _Contents:
        """Return what they hold, once it is known to match. Raises: SettingsError."""
        for _ in range(_READS):
            contents = self._read()
            fault = self._fault()
            if contents == self._read():  # what was checked is what was read
                break
        else:
            fault = "the files for TLS change faster than they can be read"
        if fault is None and _BEGIN.encode() not in contents.certificate:  # OpenSSL reads other kinds, gRPC does not
            fault = f"{self.certificate} ({variable_of('tls_certificate')}) holds no {_BEGIN}"
        fault = fault or self._not_valid(contents) or self._unusable(contents)
        if fault is not None:
            raise SettingsError(fault)
        return contents

    def _not_valid(self, contents: _Contents) -> str | None:
        """Return which certificate is not valid now: the server's, or all of the CA's."""
        now = datetime.now(UTC)
        try:
            if fault := validities(contents.certificate)[0].fault(now):
                return f"{self.certificate} ({variable_of('tls_certificate')}) {fault}"
            faults = [each.fault(now) for each in validities(contents.client_ca or b"")]
        except (ValueError, IndexError) as error:
            return f"{self.certificate} or {self.client_ca} holds a certificate without a readable validity: {error}"
        return f"{self.client_ca} ({variable_of('tls_client_ca')}) {faults[0]}" if faults and all(faults) else None

    def _unusable(self, contents: _Contents) -> str | None:
        """Return that gRPC takes nothing of the files, such as a curve that OpenSSL knows and it does not."""
        trial = grpc.server(ThreadPoolExecutor(1))
        try:
            trial.add_secure_port(_TRIAL.format(os.getpid(), next(_trial_numbers)), contents.credentials())
        except RuntimeError:
            return (
                f"gRPC cannot use {self.certificate} ({variable_of('tls_certificate')}), its key or the client CA; "
                f"use RSA of 2048 bits or more, or an elliptic curve of NIST"
            )
        trial.start()  # gRPC never closes the port of a server that was not started
        trial.stop(None)
        return None

    def _read(self) -> _Contents:
        try:
            client_ca = None if self.client_ca is None else self.client_ca.read_bytes()
            return _Contents(self.certificate.read_bytes(), self.key.read_bytes(), client_ca)
        except OSError as error:
            raise SettingsError(f"cannot read {error.filename} for TLS: {error.strerror}") from error

    def _fault(self) -> str | None:
        """Return what is wrong with the files. gRPC would accept a key that belongs to another certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_pass_phrase)
        except (OSError, ValueError) as error:
            both = f"{self.certificate} ({variable_of('tls_certificate')}) and {self.key} ({variable_of('tls_key')})"
            return f"{both} are not a certificate in PEM and its private key without a pass phrase: {error}"
        try:
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
        except (OSError, ValueError) as error:
            return f"{self.client_ca} ({variable_of('tls_client_ca')}) holds no certificate in PEM: {error}"
        return None


class ServerTls:
    """The credentials of the main port, from files that are read again.

    Raises: SettingsError if the files cannot be read, do not match, or are not valid.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        files = _Files(certificate, key, client_ca)
        self._reloaded = ReloadedFile(
            "tls", files.read, describe=_describe, kept=lambda old: f"{_describe(old)} stays in use"
        )
        self._given = self._reloaded.contents
        _log.info("tls %s", _describe(self._given))
        warn_if_world_readable(key)

    def credentials(self) -> grpc.ServerCredentials:
        """Return what gRPC listens with."""
        return grpc.dynamic_ssl_server_credentials(
            self._given.configuration(),
            self._configuration_if_changed,  # type: ignore[arg-type] # its None is gRPC's "unchanged"
            require_client_authentication=self._given.client_ca is not None,
        )

    def is_stale(self) -> bool:
        """Whether the files cannot be used now, so that those before them are, or the same ones beyond their time."""
        self._reloaded.reload()
        return self._reloaded.is_stale

    def expires_at(self) -> float:
        """Return when the certificate in use expires. Units: seconds since 1970."""
        return validities(self._reloaded.contents.certificate)[0].end.timestamp()

    def _configuration_if_changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Called by gRPC, in a thread of its own, for each new connection. None: nothing has changed."""
        self._reloaded.reload()
        contents = self._reloaded.contents
        if contents == self._given:
            return None
        self._given = contents
        return contents.configuration()


def server_tls(settings: Settings) -> ServerTls | None:
    """Return the TLS of the main port; None for plaintext. Raises: SettingsError."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return ServerTls(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)


def _describe(contents: _Contents) -> str:
    return f"certificate={contents.fingerprint}"


def _no_pass_phrase() -> str:
    """Answer in place of the terminal, where OpenSSL would ask."""
    return ""
