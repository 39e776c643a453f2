"""What a server opens, and for whom."""

from pathlib import Path

import pytest

from pruning_service.local_settings import SettingsError
from pruning_service.stores.allowed import AllowedStores
from pruning_service.stores.errors import NotAllowedError
from pruning_service.stores.stores import Stores, StoreSettings
from pruning_service.stores.uris import StoreUri

SETTING = "s3://open, s3://bucket/shared s3://bucket/team-a=alice,bob file:///data gs://mixed gs://mixed/secret=carol"


@pytest.mark.parametrize(
    ("uri", "caller"),
    [
        ("s3://open/a", ""),
        ("s3://bucket/shared/a/b", "mallory"),
        ("s3://bucket/team-a/x", "alice"),
        ("s3://bucket/team-a/x", "bob"),
        ("file:///data/x", ""),
        ("gs://mixed/x", "mallory"),
        ("gs://mixed/secret/x", "carol"),
    ],
)
def test_what_is_listed_may_be_opened(uri: str, caller: str) -> None:
    assert AllowedStores.parse(SETTING).check(StoreUri.parse(uri), caller)


@pytest.mark.parametrize(
    ("uri", "caller"),
    [
        ("s3://other/a", ""),
        ("s3://opener/a", ""),
        ("s3://bucket/a", ""),
        ("s3://bucket/shared2/a", ""),
        ("s3://bucket/team-a/x", ""),
        ("s3://bucket/team-a/x", "mallory"),
        ("s3://bucket/team-a/x", "alice,bob"),
        ("gs://open/a", ""),
        ("file:///etc/passwd", ""),
        ("file:///database/x", ""),
        ("gs://mixed/secret/x", "mallory"),
        ("s3://open", ""),
        ("s3://open/_pruning/job/lease", ""),
        ("s3://open/a/_pruning", ""),
    ],
)
def test_everything_else_is_refused(uri: str, caller: str) -> None:
    with pytest.raises(NotAllowedError):
        AllowedStores.parse(SETTING).check(StoreUri.parse(uri), caller)


def test_nothing_is_allowed_by_default() -> None:
    with pytest.raises(NotAllowedError, match="PRUNING_STORES"):
        AllowedStores().check(StoreUri.parse("file:///data/x"))


def test_process_of_a_server_opens_nothing_else() -> None:
    with Stores(StoreSettings(allowed=AllowedStores.parse("file:///data"))) as stores, pytest.raises(NotAllowedError):
        stores.open(StoreUri.parse("file:///etc"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bucket", "is not a URI"),
        ("http://host/a", "scheme 'http'"),
        ("s3://bucket/..", "`..`"),
        ("s3://bucket/a=", "names nobody"),
        ("s3://bucket/a=al=ice", "not the name of a caller"),
    ],
)
def test_setting_that_makes_no_sense(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        AllowedStores.parse(text)


def test_place_without_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    AllowedStores.parse(f"s3://bucket/a file://{tmp_path}").check_folders()
    for name in ("missing", "file"):
        with pytest.raises(SettingsError, match=f"PRUNING_STORES: file://{tmp_path}/{name} is not a folder .* make or"):
            AllowedStores.parse(f"file://{tmp_path} file://{tmp_path}/{name}=ci").check_folders()
