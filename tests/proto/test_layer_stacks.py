"""Stacks of layers in a checkpoint, by names and shapes alone."""

import pytest

from pruning_proto.layer_stacks import LayerStack, layer_stacks, split_number

WIDTH = 8


def layer(prefix: str, number: int, width: int = WIDTH, norm: str = "input_layernorm") -> dict[str, tuple[int, ...]]:
    begin = f"{prefix}.{number}"
    return {
        f"{begin}.{norm}.weight": (width,),
        f"{begin}.self_attn.q_proj.weight": (2 * width, width),
        f"{begin}.self_attn.o_proj.weight": (width, 2 * width),
    }


def layers(prefix: str, count: int, width: int = WIDTH) -> dict[str, tuple[int, ...]]:
    return {name: shape for at in range(count) for name, shape in layer(prefix, at, width).items()}


def test_every_stack_of_a_model_is_found() -> None:
    shapes = layers("vision_tower.encoder.layers", 2, width=4) | layers("model.layers", 3)
    assert layer_stacks(shapes) == [LayerStack("vision_tower.encoder.layers", 2), LayerStack("model.layers", 3)]


def test_experts_inside_a_layer_are_no_layers() -> None:
    shapes = layers("model.layers", 2)
    shapes |= {f"model.layers.0.mlp.experts.{at}.up_proj.weight": (6, WIDTH) for at in range(4)}
    assert layer_stacks(shapes) == [LayerStack("model.layers", 2)]


def test_layers_of_different_kinds_are_one_stack() -> None:
    shapes = layers("model.layers", 1)
    shapes |= {
        "model.layers.1.input_layernorm.weight": (WIDTH,),
        "model.layers.1.mamba.in_proj.weight": (20, WIDTH),
        "model.layers.1.mamba.out_proj.weight": (WIDTH, 10),
    }
    assert layer_stacks(shapes) == [LayerStack("model.layers", 2)]


def test_layers_without_norms_read_and_write_one_width() -> None:
    shapes = {name: shape for name, shape in layers("model.layers", 2).items() if "norm" not in name}
    assert layer_stacks(shapes) == [LayerStack("model.layers", 2)]


def test_blocks_for_further_prediction_do_not_count() -> None:
    shapes = layers("model.layers", 3)
    shapes |= {"model.layers.2.eh_proj.weight": (WIDTH, 2 * WIDTH)}
    assert layer_stacks(shapes) == [LayerStack("model.layers", 2)]


@pytest.mark.parametrize(
    "shapes",
    [
        pytest.param({f"net.{at}.weight": (4, 4) for at in range(3)}, id="Linear in a Sequential"),
        pytest.param(
            {
                f"extractor.{at}.{part}": shape
                for at in range(3)
                for part, shape in (("conv.weight", (4, 4, 3)), ("layer_norm.weight", (4,)))
            },
            id="convolutions",
        ),
        pytest.param(layer("encoder.stages", 0, 4) | layer("encoder.stages", 1, 8), id="stages of growing width"),
        pytest.param(layer("model.layers", 0) | layer("model.layers", 2), id="a gap"),
        pytest.param(layer("model.layers", 1) | layer("model.layers", 2), id="not from 0"),
        pytest.param(layers("model.layers", 1), id="one layer"),
        pytest.param(layers("mtp.layers", 2), id="further prediction alone"),
        pytest.param(layer("layers", 0) | layer("layers", 1) | {"layers.2.weight": (4, 4)}, id="a leaf among them"),
    ],
)
def test_other_numbers_are_no_layers(shapes: dict[str, tuple[int, ...]]) -> None:
    assert layer_stacks(shapes) == []


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("model.layers.3.mlp.experts.7.w1.weight", ("model.layers", 3, "mlp.experts.7.w1.weight")),
        ("0.auto_model.encoder.layer.11.output.dense.bias", ("0.auto_model.encoder.layer", 11, "output.dense.bias")),
        ("h.0.ln_1.weight", ("h", 0, "ln_1.weight")),
        ("blocks.007.weight", None),
        ("lm_head.weight", None),
    ],
)
def test_a_name_is_split_at_its_first_number(name: str, parts: tuple[str, int, str] | None) -> None:
    assert split_number(name) == parts
