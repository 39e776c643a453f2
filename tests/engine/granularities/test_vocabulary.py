"""The map of a vocabulary: what takes part, and what is refused."""

import pytest

from pruning_engine.errors import MismatchError
from pruning_engine.granularities.maps.vocabulary import vocabulary

EMBEDDINGS = "model.embed_tokens.weight"
NORM = {"model.norm.weight": (8,), "model.layers.0.mlp.up_proj.weight": (40, 8), "model.layers.0.norm.weight": (8,)}


def found(shapes: dict[str, tuple[int, ...]]) -> dict[str, int]:
    """Return the name of the one group as the first, and the tensors with the dims of the units."""
    (group,) = vocabulary(shapes, None, "units")
    ties = {tie.tensor: tie.dim for tie in group.group.ties}
    assert group.name == next(iter(ties))
    return ties


@pytest.mark.parametrize(
    "names",
    [
        [EMBEDDINGS],
        [EMBEDDINGS, "lm_head.weight", "lm_head.bias"],
        ["transformer.wte.weight", "lm_head.weight"],
        ["gpt_neox.embed_in.weight", "embed_out.weight"],
        [
            "bert.embeddings.word_embeddings.weight",
            *("cls.predictions.bias", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"),
        ],
        ["roberta.embeddings.word_embeddings.weight", "lm_head.bias", "lm_head.decoder.weight", "lm_head.decoder.bias"],
        ["distilbert.embeddings.word_embeddings.weight", "vocab_projector.weight", "vocab_projector.bias"],
        ["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"],
        ["model.embeddings.tok_embeddings.weight", "decoder.weight", "decoder.bias"],
        ["backbone.embeddings.weight", "lm_head.weight"],
        ["tok_embeddings.weight", "output.weight"],
        ["model.language_model.embed_tokens.weight", "lm_head.weight"],
        [EMBEDDINGS, "lm_head.weight", "model.layers.3.embed_tokens.weight", "model.layers.3.shared_head.head.weight"],
        [EMBEDDINGS, "model.embed_tokens_per_layer.weight"],
    ],
    ids=lambda names: names[-1],
)
def test_rows_of_one_token_are_one_unit(names: list[str]) -> None:
    shapes: dict[str, tuple[int, ...]] = {each: (40,) if each.endswith("bias") else (40, 8) for each in names}
    assert found(NORM | shapes) == dict.fromkeys(names, 0)


@pytest.mark.parametrize(
    ("name", "shape", "dim"),
    [("final_logits_bias", (1, 40), 1), ("cls.predictions.dense.weight", (4, 40), 1), ("lm_head.bias", (40,), 0)],
)
def test_tokens_along_other_dims_are_coupled(name: str, shape: tuple[int, ...], dim: int) -> None:
    assert found({EMBEDDINGS: (40, 8), name: shape}) == {EMBEDDINGS: 0, name: dim}


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("bert.embeddings.position_embeddings.weight", (40, 8)),
        ("transformer.wpe.weight", (40, 8)),
        ("model.layers.0.mlp.up_proj.weight", (40, 8)),
        ("model.layers.0.output.weight", (40, 8)),
        ("vision.patch_embed.weight", (8, 3, 2, 2)),
        ("decoder.weight", (8, 8)),
    ],
)
def test_what_has_no_row_for_each_token_stays(name: str, shape: tuple[int, ...]) -> None:
    assert found({EMBEDDINGS: (40, 8), name: shape}) == {EMBEDDINGS: 0}


@pytest.mark.parametrize(
    ("name", "shape", "wrong"),
    [
        ("lm_head.weight", (48, 8), "has 40 rows and 'lm_head.weight' has 48"),
        ("model.embed_tokens_per_layer.weight", (32, 8), "'model.embed_tokens_per_layer.weight' has 32"),
        ("qformer.embeddings.word_embeddings.weight", (30, 8), "has 40 rows|has 30 rows"),
        ("model.value_embeddings.weight", (40, 8), "is along the vocabulary"),
        ("model.layers.0.mlp.gate.tid2eid", (40, 6), "is along the vocabulary"),
        ("model.embed_tokens.additional_embedding.weight", (4, 8), "is along the vocabulary"),
        ("adapter.weight", (3, 40), "is along the vocabulary"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(name: str, shape: tuple[int, ...], wrong: str) -> None:
    with pytest.raises(MismatchError, match=wrong) as refused:
        found({EMBEDDINGS: (40, 8), name: shape})
    assert name.removesuffix(".weight") in str(refused.value)


def test_a_model_without_embeddings_has_no_group() -> None:
    assert not list(vocabulary({"fc.weight": (40, 8)}, None, "units"))
