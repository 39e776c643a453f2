"""Results whose tensors are not those of their config.json, for models that transformers does not know."""

from dataclasses import replace
from typing import Any

import pytest
import transformers

from pruning_client.errors import MismatchError
from pruning_client.huggingface.result_check import check_result
from pruning_client.huggingface.transformers_check import Need, TransformersCheck
from pruning_client.results.model_warning import ModelWarning
from pruning_client.results.report import GroupReport

BEFORE = {"model_type": "ours", "width": 6}
AFTER = {"model_type": "ours", "width": 3}

Shapes = dict[str, tuple[int, ...]]
OLD: Shapes = {"l.0.mlp.up.weight": (6, 4), "l.0.mlp.down.weight": (4, 6), "l.0.mlp.down.bias": (4,)}
NEW: Shapes = {**OLD, "l.0.mlp.up.weight": (3, 4), "l.0.mlp.down.weight": (4, 3)}
ODD: Shapes = {"model.layers.0.mlp.odd.weight": (6,)}
GROUP = GroupReport(
    rule=0,
    name="l.0.mlp",
    units=6,
    kept=(0, 1, 2),
    tensors=("l.0.mlp.up.weight", "l.0.mlp.down.weight"),
    config={"width": 3},
)


def check(
    extra: Shapes,
    extra_after: Shapes,
    before: Any = BEFORE,
    after: Any = AFTER,
    need: Need = Need.IF_INSTALLED,
) -> tuple[ModelWarning, ...]:
    with TransformersCheck(before, need) as checking:
        return check_result((before, OLD | extra), (after, NEW | extra_after), [GROUP], checking)


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param({}, id="nothing else"),
        pytest.param({"l.0.mlp.norm.weight": (4,)}, id="a norm of the outputs"),
        pytest.param({"l.0.norm.weight": (6,)}, id="elsewhere"),
    ],
)
def test_result_passes(extra: Shapes) -> None:
    check(extra, extra)


@pytest.mark.parametrize("shape", [(6,), (6, 5), (5, 6)])
def test_tensor_that_kept_the_old_number_is_named(shape: tuple[int, ...]) -> None:
    extra = {"l.0.mlp.sub_norm.weight": shape}
    with pytest.raises(MismatchError, match=r"width is 3 now.*'l\.0\.mlp\.sub_norm\.weight' of shape .* still has 6"):
        check(extra, extra)


def test_layer_that_was_not_pruned_is_named() -> None:
    other: Shapes = {"l.1.mlp.up.weight": (6, 4)}
    with pytest.raises(MismatchError, match=r"'l\.1\.mlp\.up\.weight' has shape \[6, 4\] and 'l\.0\.mlp\.up\.weight'"):
        check(other, other)


def test_layers_with_sizes_of_their_own_may_differ() -> None:
    other: Shapes = {"l.1.mlp.up.weight": (6, 4)}
    check(other, other, {"width": [6, 6]}, {"width": [3, 6]})


def test_size_of_heads_that_nobody_may_read_is_told() -> None:
    (warning,) = check({}, {}, BEFORE, {**AFTER, "text_config": {"head_dim": 4}})
    assert warning.kind == "head_dim_added"
    assert warning.message.startswith("text_config.head_dim 4 was added")


def test_model_that_transformers_has_to_build_is_refused() -> None:
    with pytest.raises(MismatchError, match=r"does not know its architecture.*--check-with-transformers"):
        check({}, {}, need=Need.REQUIRED)


def test_doubt_is_settled_by_transformers() -> None:
    """A tensor that no Llama has, of the old size, was not part of the model before either."""
    sizes: Any = {"vocab_size": 8, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2}
    configs = [transformers.LlamaConfig(**sizes, intermediate_size=width) for width in (6, 3)]
    shapes: list[Shapes] = [
        {name: tuple(tensor.shape) for name, tensor in transformers.LlamaForCausalLM(config).state_dict().items()}
        for config in configs
    ]
    named = tuple(f"model.layers.0.mlp.{name}_proj.weight" for name in ("gate", "up", "down"))
    group = replace(GROUP, name="model.layers.0.mlp", tensors=named)
    before, after = ((config.to_dict(), each | ODD) for config, each in zip(configs, shapes, strict=True))
    with TransformersCheck(before[0], Need.IN_DOUBT) as check:
        check_result(before, after, [group], check)
    with TransformersCheck({}, Need.IN_DOUBT) as nobody, pytest.raises(MismatchError, match=r"odd.* still has 6"):
        check_result(before, after, [group], nobody)
