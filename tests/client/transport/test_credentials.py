"""What a caller says about TLS and tokens: what is taken, what is refused, and what is never shown."""

from pathlib import Path
from typing import Any

import pytest

from pruning_client import Client, Tls
from pruning_client.transport.credentials import Security, checked, security_of
from tests.client.certificates import Certificates

TOKEN = "s3cret-t0ken"  # noqa: S105 - opens nothing
PEM = b"-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n"


def test_token_becomes_metadata() -> None:
    assert security_of(None, TOKEN).metadata() == (("authorization", f"Bearer {TOKEN}"),)


def test_space_around_a_token_is_that_of_its_file() -> None:
    assert security_of(None, lambda: f" {TOKEN}\n").metadata() == (("authorization", f"Bearer {TOKEN}"),)


@pytest.mark.parametrize(
    ("token", "message"),
    [
        pytest.param("", "the token is empty", id="empty"),
        pytest.param(" \n", "the token is empty", id="space"),
        pytest.param(f"Bearer {TOKEN}", "one word, without `Bearer`", id="with its scheme"),
        pytest.param(f"{TOKEN}\nx", "holds a space", id="two lines"),
        pytest.param(f"{TOKEN}ä", "not ASCII", id="not ASCII"),
    ],
)
def test_what_is_no_token_is_refused_and_not_shown(token: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        checked(token)
    assert TOKEN not in str(caught.value)
    with pytest.raises(ValueError, match=message):
        security_of(None, lambda: token).metadata()


@pytest.mark.parametrize("token", [TOKEN.encode(), 7], ids=["bytes", "number"])
def test_token_of_another_type_is_refused_and_not_shown(token: Any) -> None:
    with pytest.raises(TypeError, match="a token is a string, or what gives one; got") as caught:
        security_of(None, token)
    assert TOKEN not in str(caught.value)


def test_secrets_are_in_no_repr() -> None:
    security = Security(Tls(certificate=PEM, key=PEM), TOKEN)
    assert "s3cret" not in repr(security)


def test_repr_of_tls_names_its_files() -> None:
    assert repr(Tls(ca="ca.pem", server_name="a")) == "Tls(ca='ca.pem', server_name='a')"


@pytest.mark.parametrize(("tls", "expected"), [(None, None), (False, None), (True, Tls()), (Tls(ca="x"), Tls(ca="x"))])
def test_true_is_tls_with_the_roots_that_everyone_trusts(tls: Tls | bool | None, expected: Tls | None) -> None:
    assert security_of(tls, None).tls == expected


def test_tls_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match=r"tls is True, or Tls\(ca=.*got str"):
        security_of("ca.pem", None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        pytest.param({"certificate": "x"}, "a certificate without its key", id="no key"),
        pytest.param({"key": "x"}, "a key without its certificate", id="no certificate"),
        pytest.param({"server_name": ""}, "a server's name is that of its certificate, got ''", id="no name"),
        pytest.param({"server_name": "https://a"}, "got 'https://a'", id="URL"),
    ],
)
def test_parts_of_tls_that_make_no_sense_are_refused(parts: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tls(**parts)


@pytest.mark.parametrize(
    ("ca", "message"),
    [
        pytest.param(b"junk", "ca, 4 bytes, holds no certificate in PEM", id="junk"),
        pytest.param(PEM, "holds no certificate in PEM", id="key"),
        pytest.param(PEM.decode(), "a string that holds PEM is neither", id="PEM as string"),
    ],
)
def test_what_is_no_certificate_is_refused_before_any_call_and_not_shown(ca: bytes | str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Client("localhost:1", tls=Tls(ca=ca))
    assert "s3cret" not in str(caught.value)


def test_key_that_needs_a_pass_phrase_is_refused_with_what_to_do(certificates: Certificates) -> None:
    key = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\ns3cret\n-----END ENCRYPTED PRIVATE KEY-----\n"
    with pytest.raises(ValueError, match=r"is encrypted.*decrypt it \(openssl pkey\)"):
        Tls(certificate=certificates.client.certificate, key=key).credentials()


def test_swapped_files_are_refused_by_name(certificates: Certificates) -> None:
    swapped = Tls(certificate=certificates.client.key, key=certificates.client.certificate)
    with pytest.raises(ValueError, match=r"key, .*client\.pem, holds no private key in PEM"):
        swapped.credentials()


def test_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"ca\.pem"):
        Client("localhost:1", tls=Tls(ca=tmp_path / "ca.pem"))
