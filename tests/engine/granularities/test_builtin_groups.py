"""Built-in maps on real models: what is left computes what the model with zeros does."""

import pytest
import torch

from pruning_engine.granularities.maps.builtin_groups import MAPS
from pruning_engine.recipe import Fraction, Scope
from tests.engine.tied import Tensors, prune_with, units

transformers = pytest.importorskip(
    "transformers", reason="transformers, whose models the maps are of, is not installed"
)


def llama(**changed: int) -> torch.nn.Module:
    sizes = {
        "vocab_size": 40,
        "hidden_size": 24,  # transformers wants a multiple of the heads, of 8 and of the 6 that may be left
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 4,
    }
    torch.manual_seed(5)
    config = transformers.LlamaConfig(**sizes | changed, attention_bias=True, attn_implementation="eager")
    return transformers.LlamaModel(config).eval()  # type: ignore[no-any-return]


def bert(**changed: int) -> torch.nn.Module:
    sizes = {
        "vocab_size": 40,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    torch.manual_seed(5)
    return transformers.BertModel(transformers.BertConfig(**sizes | changed)).eval()  # type: ignore[no-any-return]


def resnet(layer_type: str) -> torch.nn.Module:
    torch.manual_seed(5)
    config = transformers.ResNetConfig(
        num_channels=2, embedding_size=8, hidden_sizes=[16, 24], depths=[2, 1], layer_type=layer_type
    )
    model = transformers.ResNetModel(config)
    model(torch.randn(4, 2, 32, 32))  # which gives running statistics
    return model.eval()  # type: ignore[no-any-return]


def tokens() -> torch.Tensor:
    return torch.randint(0, 40, (2, 9), generator=torch.Generator().manual_seed(1))


def outputs(model: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(inputs).last_hidden_state  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("make", "asked"),
    [
        (llama, {"map": "llama_mlp"}),
        (llama, {"map": "llama_kv_groups", "head_dim": 4}),
        (bert, {"map": "bert_ffn"}),
    ],
    ids=["llama_mlp", "llama_kv_groups", "bert_ffn"],
)
@pytest.mark.parametrize("scope", [Scope.LOCAL, Scope.GLOBAL])
def test_model_built_from_reported_config_computes_the_same(make, asked, scope: Scope) -> None:  # type: ignore[no-untyped-def]
    model = make()
    rule = units(scope=scope, **asked)
    zeros, small = prune_with(model.state_dict(), rule), prune_with(model.state_dict(), rule, output="removed")
    told = dict(small.report.groups[0].config)
    model.load_state_dict(zeros.state_dict)
    smaller = make(**told)
    smaller.load_state_dict(small.state_dict)
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.parameters())
    torch.testing.assert_close(outputs(smaller, tokens()), outputs(model, tokens()))


@pytest.mark.parametrize(("layer_type", "inner"), [("basic", 1), ("bottleneck", 2)])
def test_resnet_blocks_compute_the_same(layer_type: str, inner: int) -> None:
    model, smaller = resnet(layer_type), resnet(layer_type)
    rule = units(map=f"resnet_{layer_type}", amount=Fraction(0.5))
    zeros, small = prune_with(model.state_dict(), rule), prune_with(model.state_dict(), rule, output="removed")
    assert len(small.report.groups) == 3 * inner
    model.load_state_dict(zeros.state_dict)
    resize(smaller, small.state_dict)  # type: ignore[arg-type]
    images = torch.randn(2, 2, 32, 32, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(outputs(smaller, images), outputs(model, images))


def resize(model: torch.nn.Module, state_dict: Tensors) -> None:
    """Put tensors of other sizes into a model; of a ResNet's modules, evaluation uses these alone."""
    for name, tensor in state_dict.items():
        module, _, part = name.rpartition(".")
        found = getattr(model.get_submodule(module), part)
        found.data = tensor


@pytest.mark.parametrize(("layer_type", "other"), [("basic", "bottleneck"), ("bottleneck", "basic")])
def test_a_map_passes_over_blocks_of_the_other_kind(layer_type: str, other: str) -> None:
    with pytest.raises(ValueError, match=f"no block that map 'resnet_{other}' fits"):
        prune_with(resnet(layer_type).state_dict(), units(map=f"resnet_{other}"))


def test_blocks_are_found_under_any_prefix() -> None:
    state_dict = {f"model.language_model.{name}": tensor for name, tensor in llama().state_dict().items()}
    names = [found.name for found in prune_with(state_dict, units(map="llama_mlp")).report.groups]
    assert names == ["model.language_model.layers.0.mlp", "model.language_model.layers.1.mlp"]


def test_each_map_says_what_it_is_for() -> None:
    assert all(found.description.endswith(".") for found in MAPS.values())
