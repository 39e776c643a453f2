"""How much parts read: samples a little, so that all together are two readings and a fifth."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from safetensors.torch import save

from pruning_client import Recipe, rules
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service import local
from pruning_service.local_settings import LocalSettings
from tests.service import raw
from tests.service.parts.in_parts import InParts, at_once, files_of, options_for, result_of, split

MIB = 1 << 20


def model(dtype: torch.dtype) -> bytes:
    """Return 24 MiB in tensors of 2 MiB, whose rows differ, and small ones."""
    generator = torch.Generator().manual_seed(2)
    rows = 2 * MIB // dtype.itemsize // 1024
    tensors = {
        f"layers.{at}.weight": (
            torch.randn(rows, 1024, generator=generator) * torch.rand(rows, 1, generator=generator)
        ).to(dtype)
        for at in range(12)
    }
    return save({**tensors, "norm.weight": torch.ones(8)})


RULES = {
    "magnitude": ([rules.l1_unstructured(0.5, scope="global")], 2.2),
    "random": ([rules.random_unstructured(0.5, scope="global")], 2.0),
    "nothing": ([rules.l1_unstructured(0, scope="global")], 1.2),
    "local": ([rules.l1_unstructured(0.5)], 1.0),
    "zeros count": ([rules.l1_unstructured(0.5, scope="global", prior="zeros")], 3.0),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", RULES)
def test_parts_read_no_more_than_they_need(name: str, dtype: torch.dtype) -> None:
    each, most = RULES[name]
    content = model(dtype)
    options = options_for(content, each, pb.OUTPUT_FORM_PRUNED)
    found = InParts(options, content, files_of(result_of(options, content), 3))
    assert found.run() == at_once(options, content)
    assert found.store.read_bytes <= most * (len(content) - len(found.header))
    assert max(map(len, found.records.values())) < 5 * MIB


@pytest.mark.parametrize("digests", [False, True])
def test_local_run_that_does_not_fit_reads_its_file_twice_and_a_little(digests: bool) -> None:
    content = model(torch.float32)
    options = options_for(content, RULES["magnitude"][0], pb.OUTPUT_FORM_PRUNED, digests=digests)
    header, buffer = split(content)
    read: list[int] = []
    reports: list[pb.Report] = []
    result = bytearray()

    def pieces() -> Iterator[bytes]:
        yield header
        for at in range(0, len(buffer), MIB):
            read.append(len(buffer[at : at + MIB]))
            yield buffer[at : at + MIB]

    def again(ranges: Sequence[tuple[int, int]]) -> Iterator[memoryview]:
        for begin, end in ranges:
            read.append(end - begin)
            yield memoryview(buffer)[begin:end]

    def receive(message: pb.PruneResponse | memoryview) -> None:
        if isinstance(message, memoryview):
            result.extend(message)
        elif message.HasField("report"):
            reports.append(message.report)
        else:
            assert not message.HasField("failure"), message.failure.message

    local.prune(options, pieces(), receive, LocalSettings(threads=1, memory_bytes=44 * MIB), again)
    assert 2 * len(buffer) < sum(read) <= 2.2 * len(buffer)
    expected = at_once(options, content)
    assert bytes(result) == expected.data
    assert (reports[-1].input_sha256, reports[-1].result_sha256) == (
        expected.report.input_sha256,
        expected.report.result_sha256,
    )


def test_tensors_at_odd_places_are_sampled() -> None:
    weights = {f"w{at}.weight": np.random.default_rng(at).random((512, 1024)) for at in range(3)}
    described = {name: ("F64", [512, 1024], array.tobytes()) for name, array in weights.items()}
    content = raw.file({"a": ("U8", [3], b"abc"), **described})
    options = options_for(content, RULES["magnitude"][0], pb.OUTPUT_FORM_MASK)
    assert InParts(options, content, files_of(result_of(options, content), 2)).run() == at_once(options, content)


@pytest.mark.parametrize("is_near", [True, False], ids=["near", "far"])
def test_large_model_is_held_by_a_local_run_only_if_it_is_far(is_near: bool) -> None:
    weight = np.random.default_rng(1).standard_normal(17 * MIB // 4).astype("<f4").tobytes() * 4
    header, buffer = split(raw.file({f"w{at}.weight": ("F32", [17, MIB], weight) for at in range(4)}))
    content_bytes = len(header) + len(buffer)
    recipe = Recipe(RULES["magnitude"][0], seed=1).to_message()
    options = pb.PruneOptions(recipe=recipe, output=pb.OUTPUT_FORM_MASK, total_bytes=content_bytes)
    read: list[int] = []
    plans: list[pb.Plan] = []

    def again(ranges: Sequence[tuple[int, int]]) -> Iterator[memoryview]:
        for begin, end in ranges:
            read.append(end - begin)
            yield memoryview(buffer)[begin:end]

    def receive(message: pb.PruneResponse | memoryview) -> None:
        if isinstance(message, pb.PruneResponse) and message.HasField("plan"):
            plans.append(message.plan)

    settings = LocalSettings(threads=1, memory_bytes=1 << 40)
    local.prune(options, [header, memoryview(buffer)], receive, settings, again, is_near=is_near)
    if is_near:
        assert len(buffer) < sum(read) < 1.2 * len(buffer)
        assert plans[-1].peak_bytes < content_bytes
    else:
        assert read == []
        assert plans[-1].peak_bytes > content_bytes
