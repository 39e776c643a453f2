"""Tiny tokenizers of every kind that can be trimmed, trained on a few sentences."""

# The stubs of tokenizers 0.23 lack setters and the arguments of trainers:
# mypy: disable-error-code="assignment,call-arg"

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SENTENCES: Final = [
    "the cat sat on the mat and the other cat sat there too",
    "another thing that the weather gathers is the feather of a bird",
    "numbers such as 12, 345 and 6789 are read; so are: tabs, dots... and dashes - of all kinds!",
    "Größe, naïve café, 東京 and emoji 🙂 are text as well",
]

UNKNOWN, UNKNOWN_WORD, PADDING = "<unk>", "[UNK]", "<pad>"
ALL_BYTES: Final = [f"<0x{byte:02X}>" for byte in range(256)]


def byte_level_bpe() -> Tokenizer:
    """GPT-2's kind."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=["<|end|>", "<|pad|>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def byte_fallback_bpe() -> Tokenizer:
    """Llama 2's kind, with added tokens after the model's."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN, fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>", *ALL_BYTES]
    tokenizer.train_from_iterator(SENTENCES[:3], trainers.BpeTrainer(vocab_size=420, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens(["<|user|>", "<|reserved|>"])
    return tokenizer


def suffix_bpe() -> Tokenizer:
    """CLIP's kind: the last part of a word has a suffix."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN, end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"], end_of_word_suffix="</w>")
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def prefix_bpe() -> Tokenizer:
    """All parts of a word but the first have a prefix."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN, continuing_subword_prefix="##"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"], continuing_subword_prefix="##")
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def unigram() -> Tokenizer:
    """T5's kind."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=special, unk_token=UNKNOWN)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.enable_padding(pad_id=0, pad_token=PADDING)
    return tokenizer


def word_piece() -> Tokenizer:
    """BERT's kind."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN_WORD))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(SENTENCES, trainers.WordPieceTrainer(vocab_size=160, special_tokens=special))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def word_level() -> Tokenizer:
    """Whole words."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN_WORD))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(SENTENCES, trainers.WordLevelTrainer(special_tokens=["[UNK]"]))
    return tokenizer


KINDS: Final[Mapping[str, Callable[[], Tokenizer]]] = {
    made.__name__: made
    for made in (byte_level_bpe, byte_fallback_bpe, suffix_bpe, prefix_bpe, unigram, word_piece, word_level)
}
"""Each kind by its name."""


def saved(kind: str, folder: Path) -> Path:
    """Train a tokenizer and return its file."""
    path = folder / "tokenizer.json"
    KINDS[kind]().save(str(path))
    return path


def ids_of(path: Path, text: str) -> list[int]:
    """Return the ids that a tokenizer encodes a text to."""
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    return tokenizer.encode(text).ids


def text_file(folder: Path, *lines: str) -> Path:
    """Write lines into a file and return its path."""
    path = folder / "text.txt"
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path
