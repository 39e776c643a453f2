"""Channels removed by statistics over a real server: a LLaMA of transformers, saved, pruned, and loaded again."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load, load_file, save, save_file

from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from tests.servers import ServerProcess
from tests.service import raw
from tests.service.raw import Outcome

Tensors = dict[str, torch.Tensor]

HIDDEN, WIDTH, LAYERS, HEADS, KV_HEADS = 16, 24, 2, 4, 2
HEAD_DIM = HIDDEN // HEADS
SIZES: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
    "head_dim": HEAD_DIM,
}
TOKENS = torch.arange(128).view(8, 16) * 7 % 32
MLP = pb.Granularity(units=pb.Units(map="llama_mlp"))
ATTENTION = pb.Granularity(units=pb.Units(map="llama_kv_groups", head_dim=HEAD_DIM))
OBS = pb.Score(obs=pb.ObsScore())
REFIT = pb.Update(refit=pb.Refit())


def llama(*, width: int = WIDTH, heads: int = HEADS, kv_heads: int = KV_HEADS) -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        **SIZES, intermediate_size=width, num_attention_heads=heads, num_key_value_heads=kv_heads
    )
    model: Any = transformers.LlamaForCausalLM(config)
    return model.eval()


def output(model: Any) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=TOKENS).logits
        return logits


def statistics(model: Any, projection: str) -> Tensors:
    """Return the Gram matrix of the inputs of every such projection, measured on the tokens."""
    found: Tensors = {}

    def take(name: str):  # type: ignore[no-untyped-def]
        def hook(_: torch.nn.Module, arguments: tuple[torch.Tensor]) -> None:
            rows = arguments[0].flatten(0, -2).double()
            found[f"{name}.weight:in_gram"] = rows.T @ rows

        return hook

    chosen = [(name, module) for name, module in model.named_modules() if name.endswith(projection)]
    handles = [module.register_forward_pre_hook(take(name)) for name, module in chosen]
    output(model)
    for handle in handles:
        handle.remove()
    return found


def rule(granularity: pb.Granularity, **fields: object) -> pb.Rule:
    given = {"score": OBS, "amount": pb.Amount(fraction=0.5), "update": REFIT} | fields
    return pb.Rule(granularity=granularity, **given)  # type: ignore[arg-type]


def pruned(server: ServerProcess, tensors: Tensors, *rules: pb.Rule, **fields: object) -> Outcome:
    return raw.prune(server.address, save(tensors), rules=list(rules), **fields)


@pytest.mark.parametrize(
    ("granularity", "projection", "sizes"),
    [
        pytest.param(MLP, "down_proj", {"width": WIDTH // 2}, id="mlp"),
        pytest.param(ATTENTION, "o_proj", {"heads": HEADS // 2, "kv_heads": KV_HEADS // 2}, id="attention"),
    ],
)
def test_smaller_llama_computes_what_the_masked_one_does(
    server: ServerProcess, tmp_path: Path, granularity: pb.Granularity, projection: str, sizes: dict[str, int]
) -> None:
    model = llama()
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    tensors = saved | statistics(model, projection)

    removed = pruned(server, tensors, rule(granularity), output=pb.OUTPUT_FORM_REMOVED)
    masked = pruned(server, tensors, rule(granularity), output=pb.OUTPUT_FORM_PRUNED)
    alone = pruned(server, tensors, rule(granularity, update=None), output=pb.OUTPUT_FORM_PRUNED)

    small = llama(**sizes)
    save_file(load(removed.data), tmp_path / "model.safetensors", {"format": "pt"})
    small.config.save_pretrained(tmp_path)
    again: Any = transformers.LlamaForCausalLM.from_pretrained(tmp_path)
    large, without = llama(), llama()
    large.load_state_dict(load(masked.data))
    without.load_state_dict(load(alone.data))
    torch.testing.assert_close(output(again), output(large), rtol=1e-4, atol=1e-5)
    whole = output(model)
    assert (output(again) - whole).norm() < 0.9 * (output(without) - whole).norm()


def test_report_has_errors_of_the_consumers(server: ServerProcess) -> None:
    model = llama()
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()} | statistics(model, "down_proj")

    report = pruned(server, tensors, rule(MLP), output=pb.OUTPUT_FORM_REMOVED).report

    errors = {tensor.name: tensor for tensor in report.tensors}
    for layer in range(LAYERS):
        consumer = errors[f"model.layers.{layer}.mlp.down_proj.weight"]
        assert 0 < consumer.predicted_error < consumer.masked_error < 1
        assert not errors[f"model.layers.{layer}.mlp.up_proj.weight"].HasField("predicted_error")
    assert [len(group.kept) for group in report.groups] == [WIDTH // 2] * LAYERS
    assert dict(report.groups[0].config) == {"intermediate_size": WIDTH // 2}
    assert not report.reproducible


SUMS: Tensors = {"in_sum2": torch.arange(1.0, 7), "in_sum": torch.zeros(6), "in_count": torch.tensor(1.0)}
TIES = [pb.Tie(tensor="up.weight"), pb.Tie(tensor="down.weight", dim=1)]
PAIR = pb.Granularity(units=pb.Units(groups=[pb.Group(ties=TIES)]))


@pytest.mark.parametrize(
    ("score", "needed"),
    [
        pytest.param(pb.Score(flap=pb.Flap()), list(SUMS), id="flap"),
        pytest.param(pb.Score(activation_norm=pb.ActivationNorm()), ["in_sum2"], id="activation_norm"),
    ],
)
def test_weaker_inputs_are_removed(server: ServerProcess, score: pb.Score, needed: list[str]) -> None:
    tensors = {"up.weight": torch.ones(6, 3), "down.weight": torch.ones(4, 6)}
    sent = {f"down.weight:{name}": SUMS[name] for name in needed}

    found = pruned(server, tensors | sent, rule(PAIR, score=score, update=None), output=pb.OUTPUT_FORM_REMOVED)

    assert list(found.report.groups[0].kept) == [3, 4, 5]


def test_scores_that_the_caller_sends(server: ServerProcess) -> None:
    tensors = {
        "up.weight": torch.ones(6, 3),
        "up.weight:unit_scores": torch.tensor([5, 4, 3, 2, 1, 0], dtype=torch.int16),
        "down.weight": torch.ones(4, 6),
    }
    score = pb.Score(unit_scores=pb.UnitScores())

    found = pruned(server, tensors, rule(PAIR, score=score, update=None), output=pb.OUTPUT_FORM_REMOVED)

    assert list(found.report.groups[0].kept) == [0, 1, 2]


@pytest.mark.parametrize(
    ("sent", "fields", "reason", "field"),
    [
        pytest.param({}, {}, Reason.MISSING_COMPANION, "recipe.rules[0].score", id="no statistics"),
        pytest.param(
            {"down.weight:in_gram": torch.eye(6)},
            {"update": pb.Update(sparsegpt=pb.SparseGpt())},
            Reason.INVALID_RECIPE,
            "recipe.rules[0].update",
            id="sparsegpt",
        ),
        pytest.param(
            {"down.weight:in_gram": torch.eye(6), "up.weight:in_gram": torch.eye(3)},
            {},
            Reason.UNUSED_COMPANION,
            "",
            id="statistics of producers",
        ),
    ],
)
def test_refusals(server: ServerProcess, sent: Tensors, fields: dict[str, object], reason: Reason, field: str) -> None:
    tensors = {"up.weight": torch.ones(6, 3), "down.weight": torch.ones(4, 6)} | sent

    failure = pruned(server, tensors, rule(PAIR, **fields)).failure

    assert failure.reason == reason
    assert not field or field in [violation.field for violation in failure.violations]
