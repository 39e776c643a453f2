"""Token ids in config files: remapped, left out where they are only listed, and refused where they are needed."""

from typing import Any

import pytest

from pruning_client.errors import MismatchError
from pruning_client.huggingface.vocabulary.config import with_vocabulary
from pruning_client.huggingface.vocabulary.token_ids import renumbered, special_ids
from pruning_client.results.report import GroupReport
from pruning_client.tokenizers import KeptIds

KEPT = KeptIds((1, 2, 5, 9), 10)


def vocabulary(*kept: int) -> GroupReport:
    return GroupReport(rule=0, name="wte.weight", units=10, kept=kept, tensors=("wte.weight",), config={})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            {"bos_token_id": 1, "eos_token_id": [2, 9], "pad_token_id": None},
            {"bos_token_id": 0, "eos_token_id": [1, 3]},
        ),
        ({"image_token_index": 5, "visual_token_ids": [1, 2]}, {"image_token_index": 2, "visual_token_ids": [0, 1]}),
        ({"pad_token_id": -1, "image_token_id": 12}, {"pad_token_id": -1, "image_token_id": 6}),
        ({"decoder": {"decoder_start_token_id": 9}}, {"decoder": {"decoder_start_token_id": 3}}),
        ({"codec": {"vocab_size": 4, "pad_token_id": 3}}, {"codec": {"vocab_size": 4, "pad_token_id": 3}}),
        ({"suppress_tokens": [1, 3, 9]}, {"suppress_tokens": [0, 3]}),
        ({"lang_to_id": {"<|en|>": 5, "<|de|>": 6}}, {"lang_to_id": {"<|en|>": 2}}),
        ({"bad_words_ids": [[1, 2], [1, 3]]}, {"bad_words_ids": [[0, 1]]}),
        ({"sequence_bias": [[[9], -1.0], [[3], 2.0]]}, {"sequence_bias": [[[3], -1.0]]}),
        ({"forced_decoder_ids": [[1, 5], [2, None]]}, {"forced_decoder_ids": [[1, 2], [2, None]]}),
        ({"num_image_tokens": 5, "t2u_pad_token_id": 3}, {"num_image_tokens": 5, "t2u_pad_token_id": 3}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_ids_become_those_of_the_kept_tokens(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert renumbered(before, KEPT, "config.json") == before | after


@pytest.mark.parametrize(
    ("content", "field", "number"),
    [
        ({"eos_token_id": [1, 3]}, "eos_token_id", 3),
        ({"text_config": {"pad_token_id": 0}}, "text_config.pad_token_id", 0),
        ({"forced_decoder_ids": [[1, 4]]}, "forced_decoder_ids", 4),
        ({"force_words_ids": [[1, 7]]}, "force_words_ids", 7),
        ({"mask_index": 8}, "mask_index", 8),
    ],
)
def test_removed_token_that_is_needed_is_refused(content: dict[str, Any], field: str, number: int) -> None:
    with pytest.raises(
        MismatchError, match=rf"config\.json: {field} is token {number}, which is removed; keep {number}"
    ):
        renumbered(content, KEPT, "config.json")


def test_special_ids_are_those_that_must_be_kept() -> None:
    content = {"bos_token_id": 1, "suppress_tokens": [3], "image_token_id": 12, "decoder": {"eos_token_id": [2, 4]}}
    assert special_ids(content, 10) == {1, 2, 4}


def test_every_size_of_the_vocabulary_is_set() -> None:
    config = {"vocab_size": 10, "text_config": {"vocab_size": 10, "vocab_size_per_layer_input": 10, "pad_token_id": 5}}
    text = {"vocab_size": 3, "vocab_size_per_layer_input": 3, "pad_token_id": 2}
    assert with_vocabulary(config, vocabulary(1, 2, 5)) == {"vocab_size": 3, "text_config": text}


def test_rows_that_are_no_tokens_are_counted_apart() -> None:
    config = {"vocab_size": 10, "unpadded_vocab_size": 6}
    assert with_vocabulary(config, vocabulary(1, 5, 8, 9)) == {"vocab_size": 4, "unpadded_vocab_size": 2}


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        ({"vocab_size": 12}, r"config\.json has vocab_size 12, and 'wte\.weight' has 10 rows"),
        ({}, r"config\.json has no vocab_size"),
        ({"vocab_size": 10, "audio_config": {"vocab_offset": 8}}, "vocab_offset 8: the ids of images or sounds"),
    ],
)
def test_config_that_does_not_describe_the_vocabulary_is_refused(config: dict[str, Any], wrong: str) -> None:
    with pytest.raises(MismatchError, match=wrong):
        with_vocabulary(config, vocabulary(1, 2))
