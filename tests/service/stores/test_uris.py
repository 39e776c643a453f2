"""URIs of stores: what they name, and what they cannot."""

import pytest

from pruning_service.stores.uris import StoreUri, UriError, is_uri

VALID = {
    "s3://bucket/a/b.safetensors": ("s3", "bucket", "a/b.safetensors"),
    "S3://my-bucket.v2/a": ("s3", "my-bucket.v2", "a"),
    "s3://bucket": ("s3", "bucket", ""),
    "s3://bucket/": ("s3", "bucket", ""),
    "gs://bucket/folder/": ("gs", "bucket", "folder"),
    "az://container/Ä b+c=d%20e": ("az", "container", "Ä b+c=d%20e"),
    "file:///tmp/a": ("file", "", "tmp/a"),
    "file:///": ("file", "", ""),
}


@pytest.mark.parametrize(("text", "parts"), VALID.items(), ids=VALID)
def test_parts(text: str, parts: tuple[str, str, str]) -> None:
    uri = StoreUri.parse(text)
    assert (uri.scheme, uri.bucket, uri.path) == parts
    assert StoreUri.parse(str(uri)) == uri


INVALID = {
    "model.safetensors": "is not a URI",
    "/data/model": "is not a URI",
    "s3:/bucket/a": "is not a URI",
    "http://169.254.169.254/latest/meta-data": "scheme 'http'",
    "https://bucket.s3.amazonaws.com/key": "scheme 'https'",
    "s3a://bucket/a": "scheme 's3a'",
    "s3://": "names no bucket",
    "s3:///a": "names no bucket",
    "s3://host:9000/a": "hosts, ports and credentials come from the settings",
    "s3://key:secret@bucket/a": "hosts, ports and credentials come from the settings",
    "s3://../a": "hosts, ports and credentials",
    "s3://bucket?endpoint=evil/a": "hosts, ports and credentials",
    "s3://bucket/a?versionId=3": "in its path",
    "s3://bucket/a#b": "in its path",
    "s3://bucket/a\\b": "in its path",
    "s3://bucket/a\nb": "in its path",
    "s3://bucket/a//b": "empty part",
    "s3://bucket//a": "empty part",
    "s3://bucket/../other/a": "`..`",
    "s3://bucket/a/./b": "`..`",
    "file:///tmp/../etc/passwd": "`..`",
    "file://host/tmp/a": "names the host 'host'",
    "file://tmp/a": "three slashes",
}


@pytest.mark.parametrize(("text", "message"), INVALID.items(), ids=INVALID)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(UriError, match=message):
        StoreUri.parse(text)


@pytest.mark.parametrize("text", ["s3://user:hunter2@bucket/a", "s3://bucket/a?token=hunter2"])
def test_error_shows_no_secret(text: str) -> None:
    with pytest.raises(UriError) as caught:
        StoreUri.parse(text)
    assert "hunter2" not in str(caught.value)


def test_child_parent_and_name() -> None:
    bucket = StoreUri.parse("s3://bucket")
    file = bucket.child("model").child("a/b.json")
    assert str(file) == "s3://bucket/model/a/b.json"
    assert (file.name, str(file.parent), bucket.parent) == ("b.json", "s3://bucket/model/a", bucket)


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/a", "a//b", "a?b", "."])
def test_child_does_not_leave_its_place(name: str) -> None:
    with pytest.raises(UriError):
        StoreUri.parse("s3://bucket/model").child(name)


@pytest.mark.parametrize(
    ("other", "is_inside"),
    {
        "s3://bucket/team": True,
        "s3://bucket/team/a/b": True,
        "s3://bucket/team-b/a": False,
        "s3://bucket/tea": False,
        "s3://bucket2/team": False,
        "gs://bucket/team": False,
    }.items(),
)
def test_contains_by_whole_parts(other: str, is_inside: bool) -> None:
    assert StoreUri.parse("s3://bucket/team").contains(StoreUri.parse(other)) is is_inside


@pytest.mark.parametrize(("text", "expected"), [("s3://b/a", True), ("ftp://b/a", True), ("a/b", False)])
def test_what_is_meant_as_a_uri(text: str, expected: bool) -> None:
    assert is_uri(text) is expected
