"""`collect_statistics` on real small models, compared with sums of the observed inputs in fp64."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from pruning_client import Statistics
from pruning_client.errors import MismatchError, RecipeError
from pruning_client.torch import collect_statistics
from tests.client.torch import tiny_models as models
from tests.client.torch.captured import captured

DTYPES = {"F32": np.float32, "F64": np.float64}
MODELS = [
    *(models.llama, models.gpt2, models.bert, models.mixtral, models.qwen3_moe),
    *(models.granite, models.gpt_oss, models.llama4),
]


def array(statistics: Statistics, weight: str, suffix: str) -> Any:
    """Return one statistic of a weight, by a name in memory or on disk."""
    found = statistics.for_weights([weight], [suffix]).tensors[weight + suffix]
    return np.frombuffer(found.data(), DTYPES[found.dtype]).reshape(found.shape)


def assert_equals_sums(statistics: Statistics, weight: str, rows: Tensor, at: Any = ...) -> None:
    count = array(statistics, weight, ":in_count")[at]
    assert count == rows.ne(0).any(1).sum()
    for suffix, expected in ((":in_sum2", rows.square().sum(0)), (":in_sum", rows.sum(0)), (":in_gram", rows.T @ rows)):
        np.testing.assert_allclose(array(statistics, weight, suffix)[at], expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_sums_are_those_of_the_observed_inputs(make: Callable[[], nn.Module]) -> None:
    model, batch = make(), models.tokens()
    found = collect_statistics(model, [batch], kind="gram")
    reference = captured(model, batch)
    counted = {name for name, _ in reference if name not in found.skipped}
    assert len(counted) >= 8
    for (name, expert), rows in reference.items():
        if name in counted:
            parameter = model.get_parameter(name)
            assert_equals_sums(found, name, rows, expert if parameter.dim() == 3 else ...)
            assert parameter.shape[found.input_dims[name]] == rows.shape[1]


def test_skipped_are_embeddings_and_routers_only() -> None:
    found = collect_statistics(models.mixtral(), [models.tokens()])
    assert set(found.skipped) == {
        "model.embed_tokens.weight",
        "model.layers.0.mlp.gate.weight",
        "model.layers.1.mlp.gate.weight",
    }
    assert "MixtralTopKRouter" in found.skipped["model.layers.0.mlp.gate.weight"]


@pytest.mark.parametrize("make", [models.llama, models.mixtral, models.llama4], ids=lambda make: make.__name__)
def test_padded_tokens_do_not_count(make: Callable[[], nn.Module]) -> None:
    model, batch = make(), models.padded((7, 4))
    alone = [{"input_ids": batch["input_ids"][i : i + 1, :length]} for i, length in enumerate((7, 4))]
    with_padding, without = (collect_statistics(model, batches, kind="gram") for batches in ([batch], alone))
    assert with_padding.tokens == without.tokens
    for name in with_padding.tensors:
        weight, _, suffix = name.rpartition(":")
        np.testing.assert_allclose(
            array(with_padding, weight, f":{suffix}"), array(without, weight, f":{suffix}"), rtol=1e-4, atol=1e-4
        )


def test_padding_of_an_encoder_is_left_out_and_its_pooler_counts_whole() -> None:
    model, batch = models.bert(), models.padded((7, 4))
    found = collect_statistics(model, [batch], kind="gram")
    real = batch["attention_mask"].flatten() == 1
    rows = captured(model, batch)
    assert_equals_sums(
        found, "encoder.layer.1.output.dense.weight", rows["encoder.layer.1.output.dense.weight", 0][real]
    )
    assert found.tokens["pooler.dense.weight"] == 2


def test_batch_encoding_is_a_batch() -> None:
    batch = transformers.BatchEncoding(models.padded((7, 4)))
    found = collect_statistics(models.llama(), [cast("dict[str, Tensor]", batch)])
    assert set(found.tokens.values()) == {11}


def test_weights_with_one_input_share_one_statistic() -> None:
    found = collect_statistics(models.llama(), [models.tokens(), models.tokens(seed=2)], kind="gram")
    attention, mlp = "model.layers.1.self_attn", "model.layers.1.mlp"
    assert found.aliases[f"{attention}.k_proj.weight:in_gram"] == f"{attention}.q_proj.weight:in_gram"
    assert found.aliases[f"{attention}.v_proj.weight:in_sum2"] == f"{attention}.q_proj.weight:in_sum2"
    assert found.aliases[f"{mlp}.up_proj.weight:in_gram"] == f"{mlp}.gate_proj.weight:in_gram"
    assert f"{attention}.o_proj.weight:in_gram" in found.tensors
    assert found.tokens[f"{attention}.v_proj.weight"] == 28


class Sometimes(nn.Module):
    """Two layers that see the same input, until they do not."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        other = inputs if inputs[0, 0] > 0 else inputs * 2
        second: Tensor = self.b(other)
        return second + self.a(inputs) if inputs[0, 1] > 0 else second


def test_layers_share_nothing_that_is_not_the_same_memory() -> None:
    found = collect_statistics(Sometimes(), [torch.tensor([[-1.0, 1.0]]), torch.tensor([[1.0, 1.0]])])
    assert found.aliases == {}
    assert array(found, "b.weight", ":in_sum").tolist() == [-1.0, 3.0]
    assert array(found, "a.weight", ":in_sum").tolist() == [0.0, 2.0]


@pytest.mark.parametrize("second", [[-1.0, 1.0], [1.0, -1.0]], ids=["another input", "no call"])
def test_layers_that_stop_sharing_are_refused(second: list[float]) -> None:
    with pytest.raises(MismatchError, match=r"'a\.weight' had the same input as 'b\.weight'"):
        collect_statistics(Sometimes(), [torch.tensor([[1.0, 1.0]]), torch.tensor([second])])


def test_layer_that_is_called_twice_counts_both_calls() -> None:
    layer = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    found = collect_statistics(nn.Sequential(layer, layer), [torch.tensor([[1.0, 2.0]])])
    assert array(found, "0.weight", ":in_sum").tolist() == [3.0, 3.0]
    assert found.tokens["0.weight"] == 2


CONVOLUTIONS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "1d": (nn.Conv1d(3, 4, 3, padding=1), (2, 3, 8)),
    "2d, strided and dilated": (nn.Conv2d(3, 4, (3, 2), stride=2, padding=(2, 1), dilation=(2, 1)), (2, 3, 9, 8)),
    "2d, padded by reflection": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 2, 5, 5)),
    "2d, same": (nn.Conv2d(2, 3, (3, 5), padding="same"), (2, 2, 5, 6)),
    "3d": (nn.Conv3d(2, 3, (2, 3, 2), padding=1), (2, 2, 4, 5, 4)),
    "one image": (nn.Conv2d(3, 4, 3), (3, 6, 6)),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_patches_of_a_convolution_are_what_its_weight_is_multiplied_by(kind: str) -> None:
    layer, shape = CONVOLUTIONS[kind]
    layer, inputs = layer.double(), torch.randn(shape, generator=torch.Generator().manual_seed(0)).double()
    weight = cast("Tensor", layer.weight)
    found = collect_statistics(nn.Sequential(layer), [inputs], kind="inputs", sample_rows=10**6)
    rows = torch.tensor(array(found, "0.weight", ":inputs"))
    with torch.no_grad():
        expected = layer(inputs)
        outputs = rows @ weight.flatten(1).T + cast("Tensor", layer.bias)
    batched = expected if expected.dim() == inputs.dim() and inputs.dim() == weight.dim() else expected.unsqueeze(0)
    torch.testing.assert_close(outputs, batched.movedim(1, -1).reshape(-1, len(weight)))
    assert found.tokens["0.weight"] == len(outputs)
    np.testing.assert_allclose(array(found, "0.weight", ":in_sum2"), rows.square().sum(0))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Conv2d(4, 4, 1, groups=2), "a Conv2d of 2 groups"),
        (nn.ConvTranspose2d(4, 4, 1), "inputs of a ConvTranspose2d are not counted"),
    ],
    ids=["groups", "transposed"],
)
def test_other_convolutions_are_skipped_and_refused_by_name(layer: nn.Module, reason: str) -> None:
    model, image = nn.Sequential(nn.Conv2d(4, 4, 1), layer), torch.ones(1, 4, 2, 2)
    assert reason in collect_statistics(model, [image]).skipped["1.weight"]
    with pytest.raises(MismatchError, match=f"'1.weight' can have no statistics: .*{reason}"):
        collect_statistics(model, [image], include=["1.weight"])


def test_inputs_without_versions_are_counted_each() -> None:
    class Inference(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            with torch.inference_mode():
                again = inputs * 1
                self.a(again)
                again *= 2
                return cast("Tensor", self.b(again))

    found = collect_statistics(Inference(), [torch.ones(1, 2)])
    assert array(found, "a.weight", ":in_sum").tolist() == [1.0, 1.0]
    assert array(found, "b.weight", ":in_sum").tolist() == [2.0, 2.0]


def test_gram_is_symmetric_and_of_the_dtype_asked_for() -> None:
    model = models.llama()
    single, double = (
        collect_statistics(model, [models.tokens()], kind="gram", gram_dtype=dtype) for dtype in ("F32", "F64")
    )
    one, other = (array(each, "lm_head.weight", ":in_gram") for each in (single, double))
    assert (one.dtype, other.dtype) == (np.float32, np.float64)
    assert (one == one.T).all()
    assert (one == other.astype(np.float32)).all()


def test_channel_whose_squares_vanish_in_fp32_is_zero_in_the_gram() -> None:
    inputs = torch.tensor([[1.0, 1e-30, 1e-15], [2.0, 3e-30, 1e-15]])
    gram = array(collect_statistics(nn.Linear(3, 1), [inputs], kind="gram"), "weight", ":in_gram")
    np.testing.assert_allclose(gram, [[5.0, 0.0, 3e-15], [0.0, 0.0, 0.0], [3e-15, 0.0, 2e-30]], rtol=1e-6)


def test_sums_of_16_bit_inputs_are_exact() -> None:
    model = nn.Linear(2, 1).bfloat16()
    ones = torch.ones(3000, 2, dtype=torch.bfloat16)
    found = collect_statistics(model, [ones, ones])
    assert array(found, "weight", ":in_sum2").tolist() == [6000.0, 6000.0]


def test_first_rows_are_sampled_in_the_dtype_of_the_model() -> None:
    model = nn.Linear(1, 1).half()
    batches = [torch.tensor([[1.0], [2.0]]).half(), torch.tensor([[3.0], [4.0]]).half()]
    found = collect_statistics(model, batches, kind="inputs", sample_rows=3, sampling="first")
    tensor = found.tensors["weight:inputs"]
    assert (tensor.dtype, tensor.shape) == ("F16", (3, 1))
    assert np.frombuffer(tensor.data(), np.float16).tolist() == [1.0, 2.0, 3.0]


def test_random_rows_are_a_uniform_sample_without_repetition() -> None:
    model, rows = nn.Linear(1, 1), torch.arange(40.0).view(4, 10, 1)
    taken = np.zeros(40)
    for seed in range(200):
        found = collect_statistics(model, list(rows), kind="inputs", sample_rows=10, seed=seed)
        sample = array(found, "weight", ":inputs")[:, 0].astype(int)
        assert len(set(sample)) == 10
        assert (np.diff(sample) > 0).all()
        taken[sample] += 1
    assert 20 < taken.min() <= taken.max() < 85  # 50 of 200 each, five standard deviations


def test_patterns_choose_weights_by_names_on_disk_too() -> None:
    model, batch = models.mixtral(), [models.tokens()]
    experts = "model.layers.0.block_sparse_moe.experts"
    for include in ("*.experts.*.w2.weight", "*.experts.down_proj", f"re:{experts}.1.w2.weight"):
        found = collect_statistics(model, batch, include=include, exclude="*.layers.1.*")
        assert found.weights == tuple(f"{experts}.{expert}.w2.weight" for expert in range(3))
    found = collect_statistics(model, batch, include=["*q_proj.weight", "lm_head.weight"], exclude="re:.*layers.1.*")
    assert found.weights == ("model.layers.0.self_attn.q_proj.weight", "lm_head.weight")


def test_experts_are_found_in_memory_and_on_disk() -> None:
    found = collect_statistics(models.mixtral(), [models.tokens()])
    disk = "model.layers.0.block_sparse_moe.experts"
    stacked = array(found, "model.layers.0.mlp.experts.gate_up_proj", ":in_sum2")
    assert stacked.shape == (3, 16)
    for expert in range(3):
        assert (array(found, f"{disk}.{expert}.w1.weight", ":in_sum2") == stacked[expert]).all()
        assert (array(found, f"{disk}.{expert}.w3.weight", ":in_sum2") == stacked[expert]).all()
    assert found.input_dims["model.layers.0.mlp.experts.gate_up_proj"] == 2
    assert found.input_dims[f"{disk}.1.w3.weight"] == 1


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_statistics_fit_the_tensors_of_the_saved_file(make: Callable[[], nn.Module], tmp_path: Any) -> None:
    model = make()
    model.save_pretrained(tmp_path)  # type: ignore[operator]
    from safetensors import safe_open  # noqa: PLC0415

    found = collect_statistics(model, [models.tokens()])
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - no mapping
    missing = [name for name in found.weights if name not in shapes]
    assert missing in ([], ["lm_head.weight"])  # tied, in GPT-2
    for name in set(found.weights) & set(shapes):
        channels = found.for_weights([name], [":in_sum2"]).tensors[f"{name}:in_sum2"].shape[-1]
        assert shapes[name][found.input_dims[name]] == channels


def test_experts_have_no_sample() -> None:
    found = collect_statistics(models.mixtral(), [models.tokens()], kind="inputs")
    assert "fused experts" in found.skipped["model.layers.0.mlp.experts.down_proj"]
    assert "lm_head.weight:inputs" in found.tensors


def test_layers_that_no_batch_reaches_are_skipped() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            return F.relu(self.used(inputs))

    found = collect_statistics(Half(), [torch.ones(1, 2)])
    assert "was not called" in found.skipped["idle.weight"]
    with pytest.raises(MismatchError, match=r"'idle\.weight' can have no statistics"):
        collect_statistics(Half(), [torch.ones(1, 2)], include="idle.weight")


def test_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.Linear(2, 1)).train()
    model[2].eval()
    found = collect_statistics(model, [torch.ones(4, 2, requires_grad=True)])
    assert [module.training for module in model] == [True, True, False]
    assert not any(module._forward_pre_hooks for module in model)
    hidden = model[0](torch.ones(1, 2)).detach().double()
    np.testing.assert_allclose(array(found, "2.weight", ":in_sum"), 4 * hidden[0], rtol=1e-6)  # without dropout


def test_hooks_are_removed_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(RuntimeError):
        collect_statistics(model, [torch.ones(1, 3)])
    assert not model[0]._forward_pre_hooks


def test_progress_is_reported_after_each_batch() -> None:
    calls: list[tuple[int, int | None]] = []
    model, batch = nn.Linear(2, 1), torch.ones(1, 2)
    collect_statistics(model, [batch, batch], progress=lambda done, total: calls.append((done, total)))
    collect_statistics(model, iter([batch]), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2), (1, None)]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"kind": "grams"},
            RecipeError,
            "kind: this is 'norms' or 'gram' or 'inputs' or 'layers' or 'experts', got 'grams'",
        ),
        ({"sample_rows": 0}, RecipeError, "at least one row"),
        ({"include": "wight"}, MismatchError, "'wight' matches no weight of a layer; the nearest are weight"),
        ({"include": "re:("}, RecipeError, "is not a regular expression"),
        ({"batches": []}, MismatchError, "no layer was called"),
        ({"batches": torch.ones(1, 2)}, TypeError, "put it into a list"),
        ({"batches": [(torch.ones(1, 2), 0)]}, TypeError, "take the inputs out of a pair"),
        (
            {"batches": [torch.tensor([[1.0, float("nan")]])]},
            MismatchError,
            "the input of 'weight' has NaN or infinite",
        ),
    ],
    ids=["kind", "rows", "pattern", "regular expression", "no batches", "one batch", "pair", "NaN"],
)
def test_what_is_not_valid_is_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    batches = options.pop("batches", [torch.ones(1, 2)])
    with pytest.raises(error, match=message):
        collect_statistics(nn.Linear(2, 1), batches, **options)


def t5() -> nn.Module:
    config = transformers.T5Config(d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, vocab_size=32)
    return models.seeded(transformers.T5ForConditionalGeneration, config)


def test_decoder_tokens_are_no_padding_of_the_encoder() -> None:
    batch = models.padded((7, 4)) | {"decoder_input_ids": torch.ones(2, 5, dtype=torch.long)}
    found = collect_statistics(t5(), [batch])
    assert found.tokens["encoder.block.0.layer.0.SelfAttention.q.weight"] == 11
    assert found.tokens["decoder.block.0.layer.0.SelfAttention.q.weight"] == 10
    assert found.tokens["decoder.block.0.layer.1.EncDecAttention.k.weight"] == 11


def test_padding_that_is_not_known_is_refused() -> None:
    batch = models.padded((7, 4)) | {"decoder_input_ids": torch.ones(2, 7, dtype=torch.long)}
    with pytest.raises(MismatchError, match="pad the decoder's tokens to another length"):
        collect_statistics(t5(), [batch])
    batch = models.tokens() | {"attention_mask": torch.ones(2, 1, 7, 7)}
    with pytest.raises(MismatchError, match=r"attention_mask has shape \[2, 1, 7, 7\]"):
        collect_statistics(models.llama(), [batch])
