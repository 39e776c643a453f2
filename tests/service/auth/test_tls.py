"""TLS: a server that speaks it, certificates that are renewed while it serves, and clients that show theirs."""

import logging
import os
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from pruning_client import Client, Tls, rules
from pruning_client.errors import CapacityError, UnavailableError
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.addresses import host_and_port
from pruning_service.auth.tls import server_tls
from pruning_service.local_settings import SettingsError
from pruning_service.settings import Settings
from tests.client.both import BOTH, Connect
from tests.client.certificates import SERVER_NAME, Certificates, Signed, made_in, made_with
from tests.client.tiny_files import weight, written
from tests.servers import ServerProcess, running_server
from tests.service.raw import wait_until
from tests.service.secured import capabilities_on, open_call, over_tls, showing, written_anew
from tests.service.test_server import samples

HALF = rules.l1_unstructured(0.5)


@pytest.fixture(scope="module")
def tls_server(certificates: Certificates) -> Iterator[ServerProcess]:
    with running_server(**over_tls(certificates.server)) as server:
        yield server


@pytest.fixture(scope="module")
def mutual(certificates: Certificates) -> Iterator[ServerProcess]:
    """A server with mTLS, that takes one call at once."""
    asks = {"tls_client_ca": str(certificates.ca), "max_calls": "1"}
    with running_server(**over_tls(certificates.server, **asks)) as server:
        yield server


@BOTH
def test_both_clients_prune_over_tls(
    connect: Connect, tls_server: ServerProcess, certificates: Certificates, tmp_path: Path
) -> None:
    file = written(tmp_path / "in.safetensors", weight(4, -1, 3, -2))
    with connect(tls_server.address, tls=Tls(ca=certificates.ca)) as client:
        assert client.dry_run(file, HALF).pruned == 2


@BOTH
def test_client_in_the_clear_is_told_of_tls(connect: Connect, tls_server: ServerProcess) -> None:
    with (
        connect(tls_server.address, retries=0) as client,
        pytest.raises(UnavailableError, match="if it speaks TLS give tls=True, --tls"),
    ):
        client.capabilities()


@BOTH
def test_client_over_tls_is_told_of_a_server_in_the_clear(
    connect: Connect, server: ServerProcess, certificates: Certificates
) -> None:
    with (
        connect(server.address, tls=Tls(ca=certificates.ca), retries=0) as client,
        pytest.raises(UnavailableError, match=r"what listens there speaks no TLS: leave TLS out"),
    ):
        client.capabilities()


@BOTH
def test_client_that_shows_its_certificate_is_let_in(
    connect: Connect, mutual: ServerProcess, certificates: Certificates
) -> None:
    with connect(mutual.address, tls=showing(certificates, certificates.client)) as client:
        assert client.capabilities().methods


@BOTH
@pytest.mark.parametrize(
    "shown",
    [lambda _: None, lambda certificates: certificates.stranger],
    ids=["no certificate", "a certificate that another CA signed"],
)
def test_client_without_a_certificate_of_the_ca_gets_no_connection(
    connect: Connect,
    mutual: ServerProcess,
    certificates: Certificates,
    shown: Callable[[Certificates], Signed | None],
) -> None:
    own = shown(certificates)
    tls = Tls(ca=certificates.ca) if own is None else showing(certificates, own)
    with (
        connect(mutual.address, tls=tls, retries=0) as client,
        pytest.raises(UnavailableError, match="if it asks for the client's certificate give one that it knows"),
    ):
        client.capabilities()


def test_log_names_the_caller_by_its_certificate(
    mutual: ServerProcess, certificates: Certificates, tmp_path: Path
) -> None:
    file = written(tmp_path / "in.safetensors", weight(1, 2))
    with Client(mutual.address, tls=showing(certificates, certificates.client)) as client:
        request_id = client.dry_run(file, HALF).request_id
    assert wait_until(lambda: any(f"{request_id} " in line and " caller=client " in line for line in mutual.log))


def test_log_names_the_caller_of_a_refused_call_too(
    mutual: ServerProcess, certificates: Certificates, tmp_path: Path
) -> None:
    file = written(tmp_path / "in.safetensors", weight(1, 2))
    own = certificates.client
    credentials = grpc.ssl_channel_credentials(certificates.ca.read_bytes(), *own.pair)
    with (
        grpc.secure_channel(mutual.address, credentials) as channel,
        open_call(channel, pb.PruneRequest()),
        Client(mutual.address, tls=showing(certificates, own), retries=0) as client,
        pytest.raises(CapacityError) as caught,
    ):
        client.dry_run(file, HALF)
    assert wait_until(lambda: any(f"refused request_id={caught.value.request_id} " in line for line in mutual.log))
    (line,) = [line for line in mutual.log if str(caught.value.request_id) in line]
    assert " caller=client " in line


def test_certificate_is_renewed_and_connections_that_are_there_live_on(
    certificates: Certificates, tmp_path: Path
) -> None:
    served = _copied(certificates.server, tmp_path)
    with (
        running_server(**over_tls(served)) as server,
        Client(server.address, tls=Tls(ca=certificates.ca)) as before,
        Client(server.address, tls=Tls(ca=certificates.ca, server_name=SERVER_NAME)) as after,
    ):
        before.capabilities()
        written_anew(served.key, certificates.named.key.read_bytes())
        written_anew(served.certificate, certificates.named.certificate.read_bytes())
        assert after.capabilities().methods
        assert before.capabilities().methods  # a new connection would find another name in the certificate
        assert wait_until(lambda: any("tls renewed certificate=" in line for line in server.log))


def write_in_place(served: Signed, new: Signed) -> None:
    served.certificate.write_bytes(new.certificate.read_bytes())
    served.key.write_bytes(new.key.read_bytes())


def rename(served: Signed, new: Signed) -> None:
    written_anew(served.certificate, new.certificate.read_bytes())
    written_anew(served.key, new.key.read_bytes())


def swap_the_folder(served: Signed, new: Signed) -> None:
    """As Kubernetes does: the files are links into a folder that is itself a link."""
    folder = served.certificate.parent
    _copied(new, folder / "2")
    (folder / "data.new").symlink_to("2")
    (folder / "data.new").rename(folder / "data")


@pytest.mark.parametrize("renew", [write_in_place, rename, swap_the_folder], ids=lambda way: way.__name__)
def test_new_connections_see_files_that_were(
    renew: Callable[[Signed, Signed], None], certificates: Certificates, tmp_path: Path
) -> None:
    served = _linked(certificates.server, tmp_path)
    with _listening(served) as address:
        assert _met_at(address) == _der(certificates.server)
        renew(served, certificates.named)
        assert _met_at(address) == _der(certificates.named)


def test_files_can_be_read_again_at_once(certificates: Certificates) -> None:
    tls = server_tls(Settings(tls_certificate=certificates.server.certificate, tls_key=certificates.server.key))
    assert tls is not None
    assert not any(tls.is_stale() for _ in range(200))


def test_renewals_leave_no_socket(certificates: Certificates, tmp_path: Path) -> None:
    """Each renewal is tried on a port of its own, which gRPC closes some time later."""
    served = _copied(certificates.server, tmp_path)
    tls = server_tls(Settings(tls_certificate=served.certificate, tls_key=served.key))
    assert tls is not None
    for number in range(20):
        write_in_place(served, (certificates.named, certificates.server)[number % 2])
        assert not tls.is_stale()

    def left() -> int:
        return Path("/proc/self/net/unix").read_text().count(f"@pruning-tls-{os.getpid()}-")

    assert wait_until(lambda: left() == 0)


def other_key(served: Signed, certificates: Certificates) -> None:
    served.key.write_bytes(certificates.named.key.read_bytes())


def junk(served: Signed, _: Certificates) -> None:
    served.certificate.write_text("junk")


def gone(served: Signed, _: Certificates) -> None:
    served.key.unlink()


def expired(served: Signed, _: Certificates) -> None:
    new = made_with(served.certificate.parent, "expired", "20200101000000Z", "20200201000000Z")
    write_in_place(served, new)


def not_yet_valid(served: Signed, _: Certificates) -> None:
    new = made_with(served.certificate.parent, "early", "20900101000000Z", "20900201000000Z")
    write_in_place(served, new)


def of_another_curve(served: Signed, _: Certificates) -> None:
    """A pair that OpenSSL takes and gRPC does not."""
    new = made_with(served.certificate.parent, "curve", curve="secp256k1")
    write_in_place(served, new)


@pytest.mark.parametrize(
    "break_", [other_key, junk, gone, expired, not_yet_valid, of_another_curve], ids=lambda way: way.__name__
)
def test_broken_files_leave_the_old_in_use_and_are_told_once(
    break_: Callable[[Signed, Certificates], None],
    certificates: Certificates,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    served = _copied(certificates.server, tmp_path)
    with _listening(served) as address:
        break_(served, certificates)
        for _ in range(3):
            assert _met_at(address) == _der(certificates.server)
    (complaint,) = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert "stays in use" in complaint


def test_ca_of_the_clients_is_renewed_too(certificates: Certificates, tmp_path: Path) -> None:
    ours, others = tmp_path / "ca.pem", tmp_path / "others"
    others.mkdir()
    shutil.copy(certificates.ca, ours)
    with _listening(certificates.server, ours) as address:
        assert _lets_in(address, certificates)
        written_anew(ours, made_in(others).ca.read_bytes())
        assert not _lets_in(address, certificates)


def test_expired_ca_leaves_the_one_before_in_use(
    certificates: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours = Path(shutil.copy(certificates.ca, tmp_path / "ca.pem"))
    with _listening(certificates.server, ours) as address:
        old = made_with(tmp_path, "old", "20200101000000Z", "20200201000000Z")
        written_anew(ours, old.certificate.read_bytes())
        assert _lets_in(address, certificates)
    assert "expired on 2020-02-01 00:00 UTC" in caplog.text


def test_files_that_cannot_be_used_are_a_metric(certificates: Certificates, tmp_path: Path) -> None:
    served = _copied(certificates.server, tmp_path)
    stale = ("pruning_secrets_stale", (("secret", "tls"),))
    with running_server(**over_tls(served)) as server:
        assert samples(server)[stale] == 0
        assert samples(server)["pruning_certificate_expiry_timestamp_seconds", ()] > time.time()
        expired(served, certificates)
        assert samples(server)[stale] == 1
        write_in_place(served, certificates.named)
        assert samples(server)[stale] == 0
        with Client(server.address, tls=Tls(ca=certificates.ca, server_name=SERVER_NAME)) as client:
            assert client.capabilities()  # what the scrape has read is what new connections get


def test_key_that_everybody_on_the_machine_can_read_is_told(
    certificates: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = Path(shutil.copy(certificates.server.key, tmp_path))
    for mode in (0o600, 0o644):
        key.chmod(mode)
        server_tls(Settings(tls_certificate=certificates.server.certificate, tls_key=key))
    assert [message for message in caplog.messages if "can be read by everybody" in message] == [
        f"secret file={key} can be read by everybody on this machine: chmod o= it"
    ]


@pytest.mark.parametrize(
    ("swap", "message"),
    [
        pytest.param(lambda files: files | {"tls_key": files["other"]}, r"PRUNING_TLS_KEY.*mismatch", id="other key"),
        pytest.param(lambda files: files | {"tls_key": files["tls_certificate"]}, "PRUNING_TLS_KEY", id="no key"),
        pytest.param(lambda files: files | {"tls_certificate": files["tls_key"]}, "CERTIFICATE", id="no certificate"),
        pytest.param(
            lambda files: files | {"tls_certificate": files["trusted"]}, "holds no -----BEGIN CERT", id="other kind"
        ),
        pytest.param(lambda files: files | {"tls_client_ca": files["tls_key"]}, "PRUNING_TLS_CLIENT_CA", id="no CA"),
        pytest.param(lambda files: files | {"tls_key": files["secret"]}, "without a pass phrase", id="pass phrase"),
        pytest.param(
            lambda files: files | {"tls_key": Path("nowhere.key")}, r"cannot read .*nowhere\.key", id="nothing"
        ),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_are_refused_by_name(
    swap: Callable[[dict[str, Path]], dict[str, Path]], message: str, certificates: Certificates, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.key"
    secret.write_text(ENCRYPTED)
    server, other, trusted = certificates.server, certificates.named.key, tmp_path / "trusted.pem"
    trusted.write_text(server.certificate.read_text().replace("CERTIFICATE", "TRUSTED CERTIFICATE"))
    files = {"tls_certificate": server.certificate, "tls_key": server.key}
    files |= {"other": other, "secret": secret, "trusted": trusted}
    chosen = swap(files)
    settings = Settings(
        tls_certificate=chosen["tls_certificate"], tls_key=chosen["tls_key"], tls_client_ca=chosen.get("tls_client_ca")
    )
    with pytest.raises(SettingsError, match=message):
        server_tls(settings)


ENCRYPTED = """\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgGoK1nS7fGqAICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEBAAAAAAAAAAAAAAAAAAAAAEgZAA
-----END ENCRYPTED PRIVATE KEY-----
"""


def _copied(signed: Signed, folder: Path) -> Signed:
    """Return the same certificate in files of a folder of their own."""
    folder.mkdir(exist_ok=True)
    copy = Signed(folder / "tls.crt", folder / "tls.key")
    shutil.copy(signed.certificate, copy.certificate)
    shutil.copy(signed.key, copy.key)
    return copy


def _linked(signed: Signed, folder: Path) -> Signed:
    """Return the same certificate as Kubernetes mounts it."""
    _copied(signed, folder / "1")
    (folder / "data").symlink_to("1")
    linked = Signed(folder / "tls.crt", folder / "tls.key")
    linked.certificate.symlink_to("data/tls.crt")
    linked.key.symlink_to("data/tls.key")
    return linked


@contextmanager
def _listening(served: Signed, client_ca: Path | None = None) -> Iterator[str]:
    """Listen with the server's credentials and serve nothing: what is met is the certificate."""
    settings = Settings(tls_certificate=served.certificate, tls_key=served.key, tls_client_ca=client_ca)
    server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
    tls = server_tls(settings)
    assert tls is not None
    port = server.add_secure_port("127.0.0.1:0", tls.credentials())
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def _met_at(address: str) -> bytes:
    """Return the certificate that a new connection meets."""
    host, port = host_and_port(address, "address")
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, port), timeout=20))


def _der(signed: Signed) -> bytes:
    return ssl.PEM_cert_to_DER_cert(signed.certificate.read_text())


def _lets_in(address: str, certificates: Certificates) -> bool:
    """Whether a client with its certificate gets a connection."""
    own = grpc.ssl_channel_credentials(certificates.ca.read_bytes(), *certificates.client.pair)
    with grpc.secure_channel(address, own, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            capabilities_on(channel)(b"", timeout=20)
        except grpc.RpcError as error:
            return error.code() is grpc.StatusCode.UNIMPLEMENTED  # nothing is served
    return False
