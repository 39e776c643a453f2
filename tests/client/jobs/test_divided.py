"""Jobs in parts: the bytes and the report of a run on the disk, whatever was done before and whoever was killed."""

import struct
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from pruning_client import Recipe, Rule, rules
from pruning_client.errors import MismatchError
from pruning_client.huggingface.folder import FolderOptions, prune_folder
from pruning_client.jobs.divided.client import DividedClient
from pruning_client.jobs.divided.connection import DividedRun
from pruning_client.jobs.divided.part_records import StoredRecords
from pruning_client.jobs.executors import Task
from pruning_client.jobs.executors.local import LocalExecutor
from pruning_client.local.client import LocalClient
from pruning_client.results.output_format import Output
from pruning_client.results.report import Report
from pruning_client.statistics.statistics import Statistics
from pruning_client.statistics.tensor import StatisticsTensor, in_memory
from pruning_client.stored.prune import StoredRun, prune_stored
from pruning_service.local import settings_from
from pruning_service.stores.errors import ObjectChangedError
from pruning_service.stores.store import Store
from pruning_service.stores.stores import Stores, StoreSettings
from tests.client.stored import tiny_models
from tests.client.stored.tiny_models import contents


class CountingExecutor(LocalExecutor):
    """Notes the names of tasks, and fails as a process that is killed after some."""

    def __init__(self, most: int | None = None) -> None:
        self.names: list[str] = []
        self._most = most

    def submit(self, task: Task) -> "Future[bytes]":
        if self._most is not None and len(self.names) >= self._most:
            raise KeyboardInterrupt
        self.names.append(task.name)
        return super().submit(task)


@pytest.fixture
def stores(store: Store, request: pytest.FixtureRequest) -> Iterator[Stores]:
    """What opens the places of `store`."""
    endpoint = request.getfixturevalue("s3").endpoint if store.uri.scheme == "s3" else ""
    with Stores(StoreSettings(endpoint=endpoint)) as stores:
        yield stores


def put_folder(store: Store, folder: Path) -> None:
    for name, data in contents(folder).items():
        store.put(f"model/{name}", data)


def stored(store: Store) -> Mapping[str, bytes]:
    return {found.key.removeprefix("result/"): store.get(found.key)[0] for found in store.list("result")}


def stable(report: Report) -> Report:
    """A report without what differs from run to run."""
    return replace(report, seconds={}, request_id="")


def in_parts(
    stores: Stores,
    store: Store,
    options: FolderOptions,
    executor: LocalExecutor,
    check: Callable[[], object] = lambda: None,
) -> Report:
    """Carry a job out, or go on with it."""
    records = StoredRecords(stores.open(store.uri.child("records")))
    run = DividedRun(label="job", stores=stores, records=records, executor=executor, settings=settings_from({}))
    with DividedClient(run) as client:
        source, target = store.uri.child("model"), store.uri.child("result")
        job = StoredRun(source=source, target=target, options=options, check=check)
        return prune_stored(client, stores, job)


def on_disk(tmp_path: Path, model: Path, options: FolderOptions) -> tuple[Report, Mapping[str, bytes]]:
    """Do the same in one go."""
    with LocalClient() as client:
        report = prune_folder(
            client,
            model,
            tmp_path / "local",
            options.recipe,
            output=options.output,
            max_shard_bytes=options.max_shard_bytes,
            statistics=options.statistics,
        )
    return report, contents(tmp_path / "local")


RECIPES: Mapping[str, tuple[Rule, Output, int]] = {
    "l1": (rules.l1_unstructured(0.5), "pruned", 3),
    "global l1": (rules.l1_unstructured(0.5, scope="global"), "pruned", 9),
    "random": (rules.random_unstructured(0.5, scope="global"), "pruned", 9),
    "n of m": (rules.n_of_m(2, 4), "pruned", 3),
    "ln": (rules.ln_structured(0.5, n=2, dim=0), "pruned", 3),
    "lamp": (rules.lamp(0.5), "pruned", 0),
    "removed channels": (rules.remove_units(0.5, map="llama_mlp", same_width=True), "removed", 0),
    "removed layers": (rules.drop_layers([1]), "removed", 3),
}


@pytest.mark.parametrize("name", RECIPES)
def test_result_is_that_of_a_run_on_the_disk(name: str, stores: Stores, store: Store, tmp_path: Path) -> None:
    rule, output, tasks = RECIPES[name]
    model = tiny_models.write_sharded(tmp_path / "model")
    put_folder(store, model)
    options = FolderOptions(recipe=Recipe([rule], seed=3), output=output)
    expected, files = on_disk(tmp_path, model, options)
    executor = CountingExecutor()
    report = in_parts(stores, store, options, executor)
    assert stored(store) == files
    assert stable(report) == stable(expected)
    assert len(executor.names) == tasks


GLOBAL = FolderOptions(recipe=Recipe([RECIPES["global l1"][0]], seed=3), output="pruned")


@pytest.mark.parametrize("most", range(9))
def test_job_that_is_killed_goes_on(most: int, stores: Stores, store: Store, tmp_path: Path) -> None:
    model = tiny_models.write_sharded(tmp_path / "model")
    put_folder(store, model)
    first, second = CountingExecutor(most), CountingExecutor()
    with pytest.raises(KeyboardInterrupt):
        in_parts(stores, store, GLOBAL, first)
    report = in_parts(stores, store, GLOBAL, second)
    expected, files = on_disk(tmp_path, model, GLOBAL)
    assert stored(store) == files
    assert stable(report) == stable(expected)
    assert len(first.names) == most
    assert sorted(first.names + second.names) == sorted({*first.names, *second.names})  # each part once
    assert len(first.names + second.names) == 9


def sums_of_squares() -> Mapping[str, StatisticsTensor]:
    """Those of the inputs of all layers."""
    return {
        f"{name}:in_sum2": in_memory(
            "F32", (shape[1],), memoryview(struct.pack(f"<{shape[1]}f", *range(1, shape[1] + 1)))
        )
        for name, _, shape in tiny_models.tensors()
        if name.endswith("proj.weight")
    }


@pytest.mark.parametrize("scope", ["output_channel", "global"])
def test_statistics_are_put_beside_the_records(scope: str, stores: Stores, store: Store, tmp_path: Path) -> None:
    model = tiny_models.write_sharded(tmp_path / "model")
    put_folder(store, model)
    file = tmp_path / "statistics.safetensors"
    Statistics(kind="norms", tensors=sums_of_squares()).save(file)
    rule = rules.wanda(0.5, scope=scope, include=["*proj.weight"], input_dim=1)  # type: ignore[arg-type]
    options = FolderOptions(recipe=Recipe([rule], seed=3), output="pruned", statistics=file)
    expected, files = on_disk(tmp_path, model, options)
    for tasks in (9 if scope == "global" else 3, 0):  # the second time all is done
        executor = CountingExecutor()
        report = in_parts(stores, store, options, executor)
        assert stored(store) == files
        assert stable(report) == stable(expected)
        assert len(executor.names) == tasks


def test_file_that_is_gone_is_written_again(stores: Stores, store: Store, tmp_path: Path) -> None:
    model = tiny_models.write_sharded(tmp_path / "model")
    put_folder(store, model)
    in_parts(stores, store, GLOBAL, CountingExecutor())
    before = stored(store)
    store.delete("result/model-00002-of-00003.safetensors")
    again = CountingExecutor()
    in_parts(stores, store, GLOBAL, again)
    assert stored(store) == before
    assert again.names == ["job write part 1"]


def test_shard_that_changed_since_the_job_began_is_named(stores: Stores, store: Store, tmp_path: Path) -> None:
    put_folder(store, tiny_models.write_sharded(tmp_path / "model"))
    with pytest.raises(KeyboardInterrupt):
        in_parts(stores, store, GLOBAL, CountingExecutor(7))
    changed = "model/model-00002-of-00003.safetensors"
    data = store.get(changed)[0]
    store.put(changed, data[:-1] + bytes([data[-1] ^ 1]))
    again = CountingExecutor()
    with pytest.raises(ObjectChangedError, match=r"was changed since the job began.*model-00002-of-00003"):
        in_parts(stores, store, GLOBAL, again)
    assert again.names == []


def test_nothing_gets_visible_once_the_job_is_lost(stores: Stores, store: Store, tmp_path: Path) -> None:
    put_folder(store, tiny_models.write_sharded(tmp_path / "model"))

    def check() -> None:
        raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        in_parts(stores, store, GLOBAL, CountingExecutor(), check)
    assert stored(store) == {}


def test_damaged_record_is_not_used(stores: Stores, store: Store, tmp_path: Path) -> None:
    model = tiny_models.write_sharded(tmp_path / "model")
    put_folder(store, model)
    in_parts(stores, store, GLOBAL, CountingExecutor())
    (sample,) = [found.key for found in store.list("records") if "sample" in found.key and found.key.endswith("-1")]
    store.put(sample, store.get(sample)[0][:-1])
    again = CountingExecutor()
    in_parts(stores, store, GLOBAL, again)
    assert again.names == ["job sample-0 part 1"]


def test_other_recipe_does_not_use_the_records(stores: Stores, store: Store, tmp_path: Path) -> None:
    model = tiny_models.write_sharded(tmp_path / "model")
    put_folder(store, model)
    in_parts(stores, store, GLOBAL, CountingExecutor())
    other = replace(GLOBAL, recipe=Recipe([rules.l1_unstructured(0.25, scope="global")], seed=3))
    again = CountingExecutor()
    in_parts(stores, store, other, again)
    assert len(again.names) == 9
    assert stored(store) == on_disk(tmp_path, model, other)[1]


def test_shards_are_made_anew(stores: Stores, store: Store, tmp_path: Path) -> None:
    model = tiny_models.write_sharded(tmp_path / "model")
    put_folder(store, model)
    options = replace(GLOBAL, max_shard_bytes=6000)
    executor = CountingExecutor()
    in_parts(stores, store, options, executor)
    assert stored(store) == on_disk(tmp_path, model, options)[1]
    assert len(executor.names) > 9


def test_error_is_that_of_a_call(stores: Stores, store: Store, tmp_path: Path) -> None:
    put_folder(store, tiny_models.write_sharded(tmp_path / "model"))
    rule = rules.l1_unstructured(10**9, scope="global")
    with pytest.raises(MismatchError, match="1,000,000,000 entries are to be pruned"):
        in_parts(stores, store, replace(GLOBAL, recipe=Recipe([rule], seed=1)), CountingExecutor())
