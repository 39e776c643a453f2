"""Experts that are removed by a real server: what is sent, and what comes back."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save_file

from pruning_client import Client, Rule, rules
from pruning_client.checkpoints.state_dict import StateDictSource
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.both import BOTH, Connect
from tests.client.tiny_experts import EXPERTS, HIDDEN, LAYERS, WIDTH, arrays, block, folder
from tests.servers import ServerProcess

if TYPE_CHECKING:
    from pruning_client.calls.exchange import Progress

WEIGHTS = arrays()
SIZE = StateDictSource(WEIGHTS).layout.total_bytes


def kept_experts(result: dict[str, object], layer: int) -> list[int]:
    """The experts whose tensors, under their new numbers, and whose rows of the router are in a result."""
    rows, weights = result[f"{block(layer)}.gate.weight"], WEIGHTS[f"{block(layer)}.gate.weight"]
    kept = [next(at for at in range(EXPERTS) if np.array_equal(weights[at], row)) for row in rows]  # type: ignore[attr-defined]
    for number, expert in enumerate(kept):
        for name in ("w1", "w2", "w3"):
            new, old = (f"{block(layer)}.experts.{each}.{name}.weight" for each in (number, expert))
            assert np.array_equal(result[new], WEIGHTS[old])  # type: ignore[arg-type]
    assert f"{block(layer)}.experts.{len(kept)}.w1.weight" not in result
    return kept


def largest(scores: list[float], count: int) -> list[int]:
    return sorted(sorted(range(len(scores)), key=lambda unit: scores[unit])[-count:])


@BOTH
def test_listed_experts_are_removed_and_not_sent(server: ServerProcess, connect: Connect) -> None:
    seen: list[Progress] = []
    with connect(server.address) as client:
        result = client.prune(WEIGHTS, rules.drop_experts([1]), output="removed", progress=seen.append)
    assert [kept_experts(result.state_dict, layer) for layer in range(LAYERS)] == [[0, 2, 3]] * LAYERS
    assert result.plan.skipped_bytes == LAYERS * 4 * (3 * WIDTH * HIDDEN + HIDDEN)  # an expert, and its router's row
    assert seen[-1].sent_bytes == seen[-1].total_bytes == SIZE - result.plan.skipped_bytes


@BOTH
def test_experts_are_ranked_by_their_routers(server: ServerProcess, connect: Connect) -> None:
    with connect(server.address) as client:
        result = client.prune(WEIGHTS, rules.keep_experts(2), output="removed")
    for layer in range(LAYERS):
        scores = np.abs(WEIGHTS[f"{block(layer)}.gate.weight"]).sum(1).tolist()
        assert kept_experts(result.state_dict, layer) == largest(scores, 2)


@BOTH
def test_experts_of_a_file_are_ranked_by_the_router_of_their_layer(
    server: ServerProcess, connect: Connect, tmp_path: Path
) -> None:
    """The routers are parts of one file, sent together; each must be read before it is sent, not after."""
    file = tmp_path / "model.safetensors"
    save_file(WEIGHTS, file)
    with connect(server.address) as client:
        result = client.prune(file, rules.keep_experts(2), output="removed").to_numpy()
    kept = [kept_experts(result, layer) for layer in range(LAYERS)]
    scores = [np.abs(WEIGHTS[f"{block(layer)}.gate.weight"]).sum(1).tolist() for layer in range(LAYERS)]
    assert kept == [largest(each, 2) for each in scores]
    assert len({tuple(each) for each in kept}) > 1  # the layers differ, so that a mistake would be seen


def test_experts_are_ranked_by_their_norm(server: ServerProcess, tmp_path: Path) -> None:
    index = folder(tmp_path / "model", WEIGHTS) / "model.safetensors.index.json"
    with Client(server.address) as client:
        result = client.prune(index, rules.keep_experts(1, score="magnitude"), output="removed").to_numpy()
    for layer in range(LAYERS):
        parts = [f"{block(layer)}.experts.{{}}.{name}.weight" for name in ("w1", "w2", "w3")]
        scores = [sum(float((WEIGHTS[part.format(at)] ** 2).sum()) for part in parts) for at in range(EXPERTS)]
        assert kept_experts(result, layer) == largest(scores, 1)


@BOTH
def test_with_digests_everything_is_sent(server: ServerProcess, connect: Connect) -> None:
    seen: list[Progress] = []
    with connect(server.address) as client:
        rule = rules.drop_experts([0])
        result = client.prune(WEIGHTS, rule, output="removed", digests=True, progress=seen.append)
    assert result.report.input_sha256 is not None
    assert seen[-1].sent_bytes == SIZE


def test_rows_of_the_vocabulary_are_ranked_first(server: ServerProcess) -> None:
    with Client(server.address) as client:
        result = client.prune(WEIGHTS, rules.keep_tokens(5), output="removed")
    tables = ("model.embed_tokens.weight", "lm_head.weight")
    kept = largest(sum((WEIGHTS[name] ** 2).sum(1) for name in tables).tolist(), 5)
    assert all(np.array_equal(result.state_dict[name], WEIGHTS[name][kept]) for name in tables)


def test_other_rules_act_on_what_is_left(server: ServerProcess) -> None:
    both = [rules.drop_experts("1-3"), rules.l1_unstructured(1.0, include="*.experts.0.w1.weight")]
    with Client(server.address) as client:
        result = client.prune(WEIGHTS, both, output="removed").state_dict
    assert not result[f"{block(1)}.experts.0.w1.weight"].any()
    assert np.array_equal(result[f"{block(1)}.experts.0.w2.weight"], WEIGHTS[f"{block(1)}.experts.0.w2.weight"])


def test_numbered_tensors_are_coupled_in_groups_of_the_caller(server: ServerProcess) -> None:
    rule = pb.Rule(score=pb.Score(listed=pb.ListedUnits(every_group=pb.UnitList(pruned=[0]))))
    rule.granularity.units.groups.append(pb.Group(for_each="model", ties=[pb.Tie(tensor="layers.{unit}.*")]))
    with Client(server.address) as client:
        result = client.prune(WEIGHTS, Rule.from_message(rule), output="removed").state_dict
    assert np.array_equal(result[f"{block(0)}.gate.weight"], WEIGHTS[f"{block(1)}.gate.weight"])
    assert not any("layers.1" in name for name in result)
