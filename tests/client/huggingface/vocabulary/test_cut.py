"""Vocabularies of real models cut: the result loads, and computes the logits of the kept tokens as before."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import torch
import transformers

from pruning_client import Client, Rule, rules
from pruning_client.errors import MismatchError
from pruning_client.huggingface.folder import prune_folder
from pruning_client.huggingface.vocabulary.folder_files import TokenizerTrim
from tests.client.huggingface.tiny_models import decoder, filled, other
from tests.client.tokenizers.trained import SENTENCES, ids_of, saved, text_file
from tests.servers import ServerProcess

KEPT: Final = (0, 1, 2, 5, 8, 13, 21, 34, 46, 47, 48, 49)
"""Ids of 50 that are kept: special ones of the tiny models among them."""


def llama(*, tied: bool) -> Any:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return filled("LlamaForCausalLM", "LlamaConfig", **sizes, vocab_size=50, tie_word_embeddings=tied)


def gpt2() -> Any:
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}
    return filled("GPT2LMHeadModel", "GPT2Config", **sizes, vocab_size=50, bos_token_id=1, eos_token_id=2)


def t5(*, tied: bool) -> Any:
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
    return filled("T5ForConditionalGeneration", "T5Config", **sizes, vocab_size=50, tie_word_embeddings=tied)


def neox() -> Any:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {"bos_token_id": 1, "eos_token_id": 2}
    return filled("GPTNeoXForCausalLM", "GPTNeoXConfig", **sizes, vocab_size=50, **ids)


MODELS: Final[dict[str, Callable[[], Any]]] = {
    "Llama": lambda: llama(tied=False),
    "Llama tied": lambda: llama(tied=True),
    "GPT-2": gpt2,
    "GPT-NeoX": neox,
    "T5": lambda: t5(tied=False),
    "T5 tied": lambda: t5(tied=True),
    "BERT": lambda: other("BertForMaskedLM"),
    "RoBERTa": lambda: other("RobertaForMaskedLM"),
    "OPT": lambda: other("OPTForCausalLM"),
    "BART": lambda: other("BartForConditionalGeneration"),
    "Gemma 4": lambda: decoder("Gemma4"),
    "LLaVA": lambda: other("LlavaForConditionalGeneration"),
    "Qwen2-VL": lambda: other("Qwen2VLForConditionalGeneration"),
}


def cut(server: ServerProcess, folder: Path, *, kept: tuple[int, ...] = KEPT, **options: Any) -> Path:
    target = folder.with_name("cut")
    with Client(server.address) as client:
        prune_folder(client, folder, target, [rules.keep_tokens(kept)], **options)
    return target


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    tokens = torch.tensor([ids])
    extra = {"decoder_input_ids": tokens} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        return model(input_ids=tokens, **extra).logits  # type: ignore[no-any-return]


def loaded(model_class: Any, folder: Path) -> Any:
    model, found = model_class.from_pretrained(folder, output_loading_info=True)
    assert {kind: names for kind, names in found.items() if names} == {}
    return model.eval()


@pytest.mark.parametrize("name", MODELS)
def test_logits_of_kept_tokens_stay(server: ServerProcess, tmp_path: Path, name: str) -> None:
    model = MODELS[name]()
    model.save_pretrained(tmp_path / "model")
    small = loaded(type(model), cut(server, tmp_path / "model"))
    places = [4, 7, 3, 6]
    expected = logits(model, [KEPT[place] for place in places])[..., list(KEPT)]
    torch.testing.assert_close(logits(small, places), expected, atol=1e-5, rtol=1e-4)
    assert small.get_input_embeddings().weight.shape[0] == len(KEPT)


def test_padded_rows_may_go(server: ServerProcess, tmp_path: Path) -> None:
    llama(tied=False).save_pretrained(tmp_path / "model")
    small = loaded(transformers.LlamaForCausalLM, cut(server, tmp_path / "model", kept=tuple(range(43))))
    assert small.config.vocab_size == 43


def test_special_token_that_is_removed_is_refused(server: ServerProcess, tmp_path: Path) -> None:
    gpt2().save_pretrained(tmp_path / "model")
    with pytest.raises(MismatchError, match=r"config\.json: bos_token_id is token 1, which is removed; keep 1"):
        cut(server, tmp_path / "model", kept=(0, 2, 3))
    assert not (tmp_path / "cut").exists()


def test_special_token_is_refused_before_the_weights_are_sent(server: ServerProcess, tmp_path: Path) -> None:
    seen: list[object] = []
    gpt2().save_pretrained(tmp_path / "model")
    with pytest.raises(MismatchError, match="bos_token_id is token 1"):
        cut(server, tmp_path / "model", kept=(0, 2, 3), progress=seen.append)
    assert seen == []


def test_text_that_changes_is_refused_before_the_weights_are_sent(server: ServerProcess, tmp_path: Path) -> None:
    seen: list[object] = []
    gpt2().save_pretrained(tmp_path / "model")
    saved("word_level", tmp_path / "model")
    trim = TokenizerTrim(text_file(tmp_path, SENTENCES[0]))
    with pytest.raises(MismatchError, match="is not encoded as before"):
        cut(server, tmp_path / "model", tokenizer=trim, progress=seen.append)
    assert seen == []


def test_generation_config_is_remapped(server: ServerProcess, tmp_path: Path) -> None:
    model = gpt2()
    model.generation_config.suppress_tokens = [3, 5]
    model.save_pretrained(tmp_path / "model")
    found = json.loads((cut(server, tmp_path / "model") / "generation_config.json").read_text())
    assert (found["eos_token_id"], found["suppress_tokens"]) == (2, [3])


def test_text_has_the_new_ids_and_the_same_logits(server: ServerProcess, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    rows = len(json.loads(saved("word_piece", folder).read_text())["model"]["vocab"])
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = filled("BertForMaskedLM", "BertConfig", **sizes, vocab_size=rows + 7)  # 7 rows of padding
    model.save_pretrained(folder)
    text, before = text_file(tmp_path, SENTENCES[0]), ids_of(folder / "tokenizer.json", SENTENCES[0])
    kept = tuple(sorted({0, 1, 2, 3, *before}))
    target = cut(server, folder, kept=kept, tokenizer=TokenizerTrim(text))
    after = transformers.AutoTokenizer.from_pretrained(target)(SENTENCES[0])["input_ids"]
    assert [kept[number] for number in after] == before
    small = logits(loaded(type(model), target), after)
    torch.testing.assert_close(small, logits(model, before)[..., list(kept)], atol=1e-5, rtol=1e-4)


def test_tokenizer_is_left_out_unless_it_is_trimmed(server: ServerProcess, tmp_path: Path) -> None:
    gpt2().save_pretrained(tmp_path / "model")
    saved("word_level", tmp_path / "model")
    assert not (cut(server, tmp_path / "model") / "tokenizer.json").exists()


SCORES: Final = {"model.embed_tokens.weight": [float(number) for number in range(50)]}


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(rules.keep_tokens(6, score=SCORES), id="by scores"),
        pytest.param(rules.keep_tokens(6), id="by magnitude"),
        pytest.param(rules.keep_tokens(6, score="random"), id="at random"),
    ],
)
def test_special_tokens_are_kept_where_tokens_are_ranked(server: ServerProcess, tmp_path: Path, rule: Rule) -> None:
    (folder := tmp_path / "model").mkdir()
    llama(tied=False).save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps({"bos_token_id": 1, "eos_token_id": [2, 3]}))
    with Client(server.address) as client:
        report = prune_folder(client, folder, tmp_path / "cut", rule, seed=1)
    kept = report.groups[0].kept
    assert len(kept) == 6
    assert {1, 2, 3} <= set(kept)
    assert json.loads((tmp_path / "cut" / "generation_config.json").read_text())["eos_token_id"] == [1, 2]


def test_fewer_tokens_than_special_ones_are_refused(server: ServerProcess, tmp_path: Path) -> None:
    (folder := tmp_path / "model").mkdir()
    llama(tied=False).save_pretrained(folder)
    with Client(server.address) as client, pytest.raises(MismatchError, match="name 2, which always are: 1, 2"):
        prune_folder(client, folder, tmp_path / "cut", rules.keep_tokens(1))
