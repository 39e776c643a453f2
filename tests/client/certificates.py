"""Certificates for tests, made anew by openssl: a CA, what it signed, and what it did not."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import grpc

SERVER_NAME = "pruning.example"
"""The name of `named`, which is not the host that tests call."""


@dataclass(frozen=True)
class Signed:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path

    @property
    def pair(self) -> tuple[bytes, bytes]:
        """Key and certificate, as a server takes them."""
        return self.key.read_bytes(), self.certificate.read_bytes()


@dataclass(frozen=True)
class Certificates:
    """`server` is good for 127.0.0.1 and localhost, `named` for SERVER_NAME; `stranger` signed itself."""

    ca: Path
    server: Signed
    named: Signed
    client: Signed
    stranger: Signed

    def credentials(self, server: Signed | None = None, *, asks_clients: bool = False) -> grpc.ServerCredentials:
        """What a server listens with; `asks_clients`: mTLS."""
        ca = self.ca.read_bytes() if asks_clients else None
        return grpc.ssl_server_credentials([(server or self.server).pair], ca, require_client_auth=asks_clients)


def made_in(folder: Path) -> Certificates:
    """Make all of them."""
    ca = _make(folder, "ca", "basicConstraints=critical,CA:TRUE")
    return Certificates(
        ca=ca.certificate,
        server=_make(folder, "server", "subjectAltName=IP:127.0.0.1,DNS:localhost", ca),
        named=_make(folder, "named", f"subjectAltName=DNS:{SERVER_NAME}", ca),
        client=_make(folder, "client", "basicConstraints=CA:FALSE", ca),
        stranger=_make(folder, "stranger", "subjectAltName=IP:127.0.0.1"),
    )


def made_with(folder: Path, name: str, begin: str = "", end: str = "", curve: str = "prime256v1") -> Signed:
    """Make a pair that signed itself, valid from `begin` to `end` (YYYYMMDDHHMMSSZ), else for a month from now."""
    made, request = Signed(folder / f"{name}.pem", folder / f"{name}.key"), folder / f"{name}.csr"
    config, database = folder / f"{name}.cnf", folder / f"{name}.txt"
    config.write_text(f"{_CA}database={database}\nserial={database}.serial\nnew_certs_dir={folder}\n")
    database.write_text("")
    new_key = ["-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-nodes", "-keyout", str(made.key)]
    asking = ["openssl", "req", "-new", "-config", str(config), *new_key, "-subj", f"/CN={name}", "-out", str(request)]
    subprocess.run(asking, check=True, capture_output=True)
    signing = ["openssl", "ca", "-batch", "-selfsign", "-config", str(config), "-notext", "-rand_serial"]
    signing += ["-in", str(request), "-keyfile", str(made.key), "-out", str(made.certificate)]
    signing += ["-startdate", begin, "-enddate", end] if begin else ["-days", "30"]
    subprocess.run(signing, check=True, capture_output=True)
    return made


_CA = """\
[req]
distinguished_name=none
[none]
[policy]
commonName=supplied
[ca]
default_ca=own
[own]
default_md=sha256
policy=policy
"""


def _make(folder: Path, name: str, extension: str, ca: Signed | None = None) -> Signed:
    made = Signed(folder / f"{name}.pem", folder / f"{name}.key")
    config = folder / f"{name}.cnf"  # of our own: the machine's would add extensions
    config.write_text("[req]\ndistinguished_name=none\n[none]\n")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-config", str(config), "-days", "2", "-subj", f"/CN={name}", "-addext", extension]
    command += ["-out", str(made.certificate), "-keyout", str(made.key)]
    if ca is not None:
        command += ["-CA", str(ca.certificate), "-CAkey", str(ca.key)]
    subprocess.run(command, check=True, capture_output=True)
    return made
