"""`Statistics`: lookup by names, files, and merging."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pruning_client import Statistics
from pruning_client.errors import CheckpointError, MismatchError
from pruning_client.statistics.file import KEY
from pruning_client.torch import collect_statistics
from tests.client.statistics.values import statistics, tensor, values
from tests.client.tiny_files import checkpoint, weight

SHARED = statistics(q__in_sum2=[1.0, 2.0], q__in_sum=[3.0, 4.0], aliases={"k:in_sum2": "q:in_sum2"})
STACKED = Statistics(
    kind="norms",
    tensors={"e.0.w:in_sum2": tensor([1.0, 2.0]), "e.1.w:in_sum2": tensor([3.0, 4.0])},
    aliases={f"e.{i}.v:in_sum2": f"e.{i}.w:in_sum2" for i in range(2)},
    module_names={"stack": ("e.0.w", "e.1.w"), "other": "e.1.w"},
)


def test_shared_statistics_belong_to_the_first_weight() -> None:
    found = SHARED.for_weights(["k", "q", "x"])
    assert set(found.tensors) == {"k:in_sum2", "q:in_sum"}
    assert found.aliases == {"q:in_sum2": "k:in_sum2"}
    assert set(SHARED.for_weights(["k"]).tensors) == {"k:in_sum2"}


def test_only_the_suffixes_asked_for_are_returned() -> None:
    assert set(SHARED.for_weights(["q"], [":in_sum"]).tensors) == {"q:in_sum"}


def test_stacked_weights_are_put_together_from_the_parts_on_disk() -> None:
    assert values(STACKED, "stack:in_sum2") == [[1.0, 2.0], [3.0, 4.0]]
    assert values(STACKED, "other:in_sum2") == [3.0, 4.0]
    assert values(STACKED, "e.1.v:in_sum2") == [3.0, 4.0]


def test_weights_are_those_with_tensors_or_aliases() -> None:
    assert SHARED.weights == ("q", "k")
    assert repr(SHARED) == "<Statistics of kind 'norms' for 2 weights, 32 bytes>"


def test_file_has_everything(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ConvTranspose1d(2, 2, 1))
    before = collect_statistics(model, [torch.ones(3, 2, 2)], kind="gram")
    before.save(tmp_path / "file")
    after = Statistics.load(tmp_path / "file")
    assert values(after, "0.weight:in_gram") == values(before, "0.weight:in_gram") == [[6.0, 6.0], [6.0, 6.0]]
    for name in ("kind", "aliases", "input_dims", "tokens", "module_names", "skipped", "unmapped", "model_type"):
        assert getattr(after, name) == getattr(before, name)
    assert "ConvTranspose1d" in after.skipped["1.weight"]


def test_file_keeps_stacks_and_renames(tmp_path: Path) -> None:
    STACKED.save(tmp_path / "file")
    found = Statistics.load(tmp_path / "file")
    assert values(found, "stack:in_sum2") == [[1.0, 2.0], [3.0, 4.0]]
    assert found.module_names == STACKED.module_names


def test_file_is_read_without_torch_and_numpy(tmp_path: Path) -> None:
    SHARED.save(tmp_path / "file")
    program = (
        "import sys; from pruning_client import Statistics; "
        f"found = Statistics.load({str(tmp_path / 'file')!r}).for_weights(['k']); "
        "assert len(found.tensors['k:in_sum2'].data()) == 16; assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def about(**fields: str) -> dict[str, str]:
    text = ", ".join(f'"{name}": {value}' for name, value in fields.items())
    return {KEY: f"{{{text}}}"}


EMPTY = dict.fromkeys(("aliases", "input_dims", "tokens", "module_names", "skipped"), "{}")
VALID = {"version": "1", "kind": '"norms"', "model_type": '""', "unmapped": "[]", **EMPTY}
SUM: dict[str, tuple[str, tuple[int, ...], bytes]] = {"q:in_sum2": ("F64", (1,), bytes(8))}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (weight(1, 2), "has no statistics .* give a file that `Statistics.save` wrote"),
        (checkpoint(SUM, {KEY: "{"}), "damaged"),
        (checkpoint(SUM, about(**VALID | {"version": "2"})), "version 2, and this client reads 1"),
        (checkpoint(SUM, about(**VALID | {"kind": '"hessian"'})), "damaged"),
        (checkpoint(SUM, about(**VALID | {"tokens": "[]"})), "damaged"),
        (
            checkpoint(SUM, about(**VALID | {"aliases": '{"k:in_sum2": "x:in_sum2"}'})),
            "names 'x:in_sum2', which is not",
        ),
        (checkpoint({"q": ("F64", (1,), bytes(8))}, about(**VALID)), "tensor 'q' is not a statistic"),
    ],
    ids=["a model", "no JSON", "version", "kind", "tokens", "alias", "name"],
)
def test_file_that_is_not_one_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        Statistics.load(tmp_path / "file")


def test_file_that_changes_after_loading_is_refused(tmp_path: Path) -> None:
    SHARED.save(tmp_path / "file")
    found = Statistics.load(tmp_path / "file")
    statistics(q__in_sum2=[1.0]).save(tmp_path / "file")
    with pytest.raises(CheckpointError, match="was changed"):
        values(found, "q:in_sum2")


def test_merged_statistics_are_those_of_all_batches(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)).double()
    batches = [torch.randn(5, 3, generator=torch.Generator().manual_seed(i)).double() for i in range(4)]
    together = collect_statistics(model, batches, kind="gram", gram_dtype="F64")
    parts = [collect_statistics(model, [batch], kind="gram", gram_dtype="F64") for batch in batches]
    parts[3].save(tmp_path / "file")
    merged = parts[0].merge(*parts[1:3], Statistics.load(tmp_path / "file"))
    assert merged.tokens == together.tokens == {"0.weight": 20, "1.weight": 20}
    for name in together.tensors:
        np.testing.assert_allclose(values(merged, name), values(together, name), rtol=1e-14, atol=1e-14)


def test_sums_in_fp32_are_added_in_fp64_and_rounded_once() -> None:
    parts = [
        Statistics(kind="gram", tensors={"w:in_gram": tensor([[number]], "F32")}) for number in (2.0**24, 1.0, 1.0)
    ]
    assert values(parts[0].merge(*parts[1:]), "w:in_gram") == [[2.0**24 + 2]]


def test_merged_inputs_are_put_one_after_the_other() -> None:
    one, other = (
        Statistics(kind="inputs", tensors={"w:inputs": tensor(rows, "F16")}) for rows in ([[1.0]], [[2.0], [3.0]])
    )
    merged = one.merge(other)
    assert merged.tensors["w:inputs"].shape == (3, 1)
    assert values(merged, "w:inputs") == [[1.0], [2.0], [3.0]]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (statistics("gram", q__in_sum2=[1.0, 2.0]), "different kinds cannot be merged: 'norms' and 'gram'"),
        (statistics(q__in_sum2=[1.0]), "'q' has 'q:in_sum2' as F64 of shape"),
        (statistics(q__in_sum2=[1.0, 2.0], k__in_sum2=[1.0, 2.0]), "only one of them has 'k:in_sum2'"),
        (Statistics(kind="norms", tensors={"q:in_sum2": tensor([1.0, 2.0], "F32")}), "as F64 of .* and F32 of"),
        (
            Statistics(kind="norms", tensors={"q:in_sum2": tensor([1.0, 2.0])}, model_type="llama"),
            "different models cannot be merged: '' and 'llama'",
        ),
    ],
    ids=["kind", "shape", "weights", "dtype", "model"],
)
def test_statistics_that_do_not_fit_are_not_merged(other: Statistics, message: str) -> None:
    with pytest.raises(MismatchError, match=message):
        statistics(q__in_sum2=[1.0, 2.0]).merge(other)


def test_statistics_that_are_shared_differently_are_not_merged() -> None:
    own = statistics(q__in_sum2=[1.0], k__in_sum2=[1.0])
    shared = statistics(q__in_sum2=[1.0], aliases={"k:in_sum2": "q:in_sum2"})
    for one, other in ((own, shared), (shared, own)):
        with pytest.raises(MismatchError, match="is shared with 'q:in_sum2' in one of them only"):
            one.merge(other)
