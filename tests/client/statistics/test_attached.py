"""Checkpoints with statistics beside their weights, and which of them a call sends."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save_file

from pruning_client import rules
from pruning_client.calls.request import PruneOptions, PruneRequestSpec, request_of
from pruning_client.calls.sent_statistics import with_all_statistics, with_used_statistics
from pruning_client.checkpoints.byte_ranges import ByteRanges, parts_within
from pruning_client.checkpoints.file import Source
from pruning_client.errors import MismatchError
from pruning_client.results.plan import Plan, TensorPlan
from pruning_client.statistics.attached import SourceWithStatistics
from pruning_client.statistics.statistics import Statistics
from pruning_proto.names import IN_GRAM, IN_SUM2
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.statistics.values import statistics, tensor

QKV = statistics(
    "gram",
    q__in_sum2=[1.0, 2.0],
    q__in_gram=[[1.0, 0.0], [0.0, 2.0]],
    o__in_sum2=[3.0, 4.0],
    aliases={"k:in_sum2": "q:in_sum2", "k:in_gram": "q:in_gram"},
)
WEIGHTS = {name: torch.full((3, 2), float(number)) for number, name in enumerate(("norm", "k", "q", "o"))}


def request(source: Any, given: Statistics = QKV, output: "pb.OutputForm" = pb.OUTPUT_FORM_PRUNED) -> PruneRequestSpec:
    return request_of(source, rules.l1_unstructured(0.5), PruneOptions(output=output, statistics=given))


def sent(source: Source) -> dict[str, torch.Tensor]:
    """Return the tensors of what is sent, read by the official library."""
    return load(bytes(source.header) + b"".join(map(bytes, source.pieces())))


def names(source: Source) -> list[str]:
    return [entry.name for entry in source.layout.tensors]


def plan(**auxiliary: tuple[str, ...]) -> Plan:
    """A plan whose tensors use these suffixes."""
    tensors = tuple(
        TensorPlan(name=name, dtype="F32", shape=(3, 2), rules=(0,), auxiliary=used) for name, used in auxiliary.items()
    )
    return Plan(tensors=tensors, request_id="1", peak_bytes=0, result_bytes=None, seed=0, device="cpu")


@pytest.mark.parametrize("kind", ["state dict", "file"])
def test_used_statistics_are_directly_before_their_first_weight(kind: str, tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "file")
    asked = request(WEIGHTS if kind == "state dict" else tmp_path / "file")
    asked = with_used_statistics(asked, plan(k=(IN_GRAM,), q=(IN_GRAM, IN_SUM2)))
    order = names(asked.source)
    assert order[order.index("k") - 1] == "k:in_gram"
    assert order[order.index("q") - 1] == "q:in_sum2"
    assert len(order) == 6
    assert dict(asked.message.auxiliary_aliases) == {"q:in_gram": "k:in_gram"}
    tensors = sent(asked.source)
    assert tensors["k:in_gram"].tolist() == [[1.0, 0.0], [0.0, 2.0]]
    assert all(tensors[name].equal(WEIGHTS[name]) for name in WEIGHTS)
    assert asked.message.total_bytes == asked.source.layout.total_bytes == len(asked.source.header) + 96 + 32 + 16


def test_plan_has_all_statistics_and_says_that_some_may_be_unused() -> None:
    asked = with_all_statistics(request(WEIGHTS))
    assert set(names(asked.source)) == {*WEIGHTS, "k:in_sum2", "k:in_gram", "o:in_sum2"}
    assert dict(asked.message.auxiliary_aliases) == {"q:in_sum2": "k:in_sum2", "q:in_gram": "k:in_gram"}
    assert asked.message.skip_unused_auxiliary
    assert asked.message.output == pb.OUTPUT_FORM_PLAN
    assert asked.statistics is None


def test_tied_weight_has_the_statistics_of_any_of_its_names() -> None:
    shared = torch.zeros(3, 2)
    asked = request({"embedding": shared, "head": shared}, statistics(head__in_sum2=[1.0, 2.0]))
    assert names(with_all_statistics(asked).source) == ["embedding:in_sum2", "embedding"]


def test_statistics_of_a_masked_pair_have_the_name_of_the_weight() -> None:
    pair = {"q_orig": torch.ones(3, 2), "q_mask": torch.ones(3, 2)}
    asked = with_used_statistics(request(pair), plan(q=(IN_SUM2,)))
    assert names(asked.source) == ["q:in_sum2", "q_orig", "q_mask"]


def test_weights_without_entries_are_no_obstacle() -> None:
    source = {"o": torch.ones(1, 2), "q": torch.ones(0, 2)}
    tensors = sent(with_used_statistics(request(source), plan(q=(IN_SUM2,), o=(IN_SUM2,))).source)
    assert tensors["q:in_sum2"].tolist() == [1.0, 2.0]
    assert tensors["o:in_sum2"].tolist() == [3.0, 4.0]
    assert tensors["o"].tolist() == [[1.0, 1.0]]


def test_experts_are_stacked_for_a_model_in_memory() -> None:
    parts = Statistics(
        kind="norms",
        tensors={f"e.{i}:in_sum2": tensor([i, i + 1]) for i in range(2)},
        module_names={"experts": ("e.0", "e.1")},
        input_dims={"experts": 2, "e.0": 1, "e.1": 1},
    )
    asked = with_used_statistics(request({"experts": torch.ones(2, 3, 2)}, parts), plan(experts=(IN_SUM2,)))
    assert sent(asked.source)["experts:in_sum2"].tolist() == [[0.0, 1.0], [1.0, 2.0]]
    assert dict(asked.message.input_dims) == {"experts": 2}


def test_input_dims_are_sent_where_sizes_do_not_tell() -> None:
    given = Statistics(
        kind="norms",
        tensors={f"{name}:in_sum2": tensor([1.0, 2.0]) for name in ("square", "wide", "unused")},
        input_dims={"square": 0, "wide": 1, "unused": 0},
        model_type="gpt2",
    )
    source = {"square": torch.ones(2, 2), "wide": torch.ones(3, 2), "unused": torch.ones(2, 2)}
    message = with_used_statistics(request(source, given), plan(square=(IN_SUM2,), wide=(IN_SUM2,))).message
    assert dict(message.input_dims) == {"square": 0}
    assert message.model_type == "gpt2"


def test_model_type_of_the_folder_comes_first(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    assert request(tmp_path / "model.safetensors").message.model_type == "llama"


def test_many_shared_statistics_are_sent_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pruning_client.calls.sent_statistics._MOST_ALIASES", 1)
    asked = with_all_statistics(request(WEIGHTS))
    assert dict(asked.message.auxiliary_aliases) == {"q:in_sum2": "k:in_sum2"}
    assert {"q:in_gram", "k:in_gram"} <= set(names(asked.source))


def test_statistics_of_another_model_are_refused() -> None:
    with pytest.raises(MismatchError, match=r"belong to another model.*they are of 'q', 'o', 'k'"):
        with_all_statistics(request({"x": torch.ones(2, 2)}))


def test_statistic_that_the_checkpoint_has_too_is_refused() -> None:
    source = {"q:in_sum2": torch.ones(2), "q": torch.ones(3, 2)}
    with pytest.raises(MismatchError, match="'q:in_sum2' is in the checkpoint and in the statistics"):
        with_all_statistics(request(source))


def test_what_is_no_statistics_is_refused() -> None:
    with pytest.raises(TypeError, match="statistics are a Statistics, or the path of a file"):
        request(WEIGHTS, {"q:in_sum2": np.ones(2)})  # type: ignore[arg-type]


class Pieces:
    """A source in pieces of some bytes."""

    aliases: dict[str, str] = {}  # noqa: RUF012 - constant
    names = ()
    framework = None

    def __init__(self, source: Source, size: int) -> None:
        self.header, self.layout = source.header, source.layout
        self._bytes, self._size = b"".join(map(bytes, source.pieces())), size

    def pieces(self, ranges: ByteRanges | None = None) -> Iterator[memoryview]:
        return self._all_pieces() if ranges is None else parts_within(self._all_pieces(), ranges)

    def _all_pieces(self) -> Iterator[memoryview]:
        block = bytearray(self._size)  # as a file: each piece in the memory of the one before
        for begin in range(0, len(self._bytes), self._size):
            part = self._bytes[begin : begin + self._size]
            block[: len(part)] = part
            yield memoryview(block)[: len(part)]


@pytest.mark.parametrize("ranges", [[(0, 8), (20, 21)], [(3, 30)], [(7, 9), (9, 12)], []])
def test_ranges_are_cut_out_of_weights_and_statistics(ranges: ByteRanges) -> None:
    tensors = {"q:in_sum2": tensor([1.0, 2.0]), "norm:in_sum2": tensor([5.0]), "o:in_sum2": tensor([3.0])}
    source = SourceWithStatistics(request(WEIGHTS).source, tensors)
    whole = b"".join(map(bytes, source.pieces()))
    found = b"".join(map(bytes, source.pieces(ranges)))
    assert found == b"".join(whole[begin:end] for begin, end in ranges)


@pytest.mark.parametrize("size", [1, 7, 24, 25, 1000])
def test_pieces_may_be_cut_anywhere(size: int) -> None:
    whole = request(WEIGHTS).source
    tensors = {"q:in_sum2": tensor([1.0, 2.0]), "norm:in_sum2": tensor([5.0]), "o:in_sum2": tensor([3.0])}
    found = sent(SourceWithStatistics(Pieces(whole, size), tensors))
    assert {name: found[name].tolist() for name in tensors} == {
        "q:in_sum2": [1.0, 2.0],
        "norm:in_sum2": [5.0],
        "o:in_sum2": [3.0],
    }
    assert all(found[name].equal(WEIGHTS[name]) for name in WEIGHTS)
