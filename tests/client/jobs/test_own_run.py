"""Runs of one process in parts: what they leave, and what is said of those that have none."""

from pathlib import Path

import pytest

from pruning_client import Recipe, Rule, rules
from pruning_client.huggingface.folder import FolderOptions
from pruning_client.jobs.own_run import OwnRun, client_of_run, on_disk
from pruning_client.stored.prune import StoredRun, prune_stored
from pruning_service.stores.stores import Stores
from tests.client.stored import tiny_models


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (rules.l1_unstructured(0.5, scope="global"), None),
        (rules.lamp(0.5), "rules[0] ranks tensors that are in 3 parts against each other"),
    ],
    ids=["divided", "undivided"],
)
def test_run_leaves_nothing_but_its_result(rule: Rule, why: str | None, tmp_path: Path) -> None:
    source, target = on_disk(tiny_models.write_sharded(tmp_path / "model")), on_disk(tmp_path / "result")
    options = FolderOptions(recipe=Recipe([rule]), output="pruned")
    with Stores() as stores, client_of_run(stores, OwnRun(target, "local")) as client:
        prune_stored(client, stores, StoredRun(source=source, target=target, options=options))
        assert (client.why_undivided or "").partition(",")[0] == (why or "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "result"]
