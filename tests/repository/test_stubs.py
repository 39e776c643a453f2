"""The committed stubs are what `make proto` writes."""

from pathlib import Path

import pytest

from scripts.environments import ROOT
from scripts.stubs import generate

STUBS = ["pruning_proto/v1/pruning_pb2.py", "pruning_proto/v1/pruning_pb2.pyi"]


@pytest.fixture(scope="module")
def regenerated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stubs")
    generate(folder)
    return folder


@pytest.mark.integration
@pytest.mark.timeout(600)  # makes an environment the first time
@pytest.mark.parametrize("stub", STUBS)
def test_regenerating_changes_nothing(regenerated: Path, stub: str) -> None:
    assert (regenerated / stub).read_bytes() == (ROOT / "proto" / stub).read_bytes()


def test_no_other_generated_file_is_kept() -> None:
    kept = {str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto").rglob("*_pb2*.py*")}
    assert {path for path in kept if not path.endswith(".pyc")} == set(STUBS)
