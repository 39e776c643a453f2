"""A tokenizer file read: its model, its added tokens, and the ids in its other parts.

What cannot be trimmed is refused by name.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final

from pruning_client.errors import MismatchError
from pruning_client.tokenizers.bpe import Bpe
from pruning_client.tokenizers.byte_tokens import is_byte_level
from pruning_client.tokenizers.models import Model, Need
from pruning_client.tokenizers.post_processors import POST_PROCESSORS, post_processor_ids
from pruning_client.tokenizers.refusals import refuse_tokenizer
from pruning_client.tokenizers.unigram import Unigram
from pruning_client.tokenizers.word_models import WordModel

FILE: Final = "tokenizer.json"

MODELS: Final[Mapping[str, Callable[[Mapping[str, Any]], Model]]] = {
    "BPE": lambda content: Bpe(content["model"], is_byte_level(content)),
    "Unigram": lambda content: Unigram(content["model"]),
    "WordPiece": lambda content: WordModel(content["model"]),
    "WordLevel": lambda content: WordModel(content["model"]),
}
"""The models that can be trimmed."""

_OTHER_FORMATS: Final = ("*.model", "*.tiktoken", "tekken.json", "vocab.txt", "vocab.json")
"""Files of tokenizers in other formats."""


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A tokenizer file: its content, and its model."""

    path: Path
    content: Mapping[str, Any]
    model: Model

    @property
    def added(self) -> list[Mapping[str, Any]]:
        """The added tokens, each with `id` and `content`."""
        return list(self.content.get("added_tokens") or ())

    @property
    def tokens(self) -> Mapping[int, str]:
        """Each token by its id."""
        own = {at: token for token, at in self.model.ids.items()}
        return own | {each["id"]: each["content"] for each in self.added}

    def needs(self, kept: frozenset[int]) -> Iterator[Need]:
        """Return the tokens without which text of the `kept` tokens is not encoded as before."""
        yield from self.model.needs(kept)
        for number in post_processor_ids(self.content.get("post_processor")):
            yield Need(number, "is added to every text by the post-processor")
        padding = self.content.get("padding") or {}
        if isinstance(padding.get("pad_id"), int) and padding["pad_id"] in self.tokens:
            yield Need(padding["pad_id"], "is the padding")


def file_of(source: str | PathLike[str]) -> Path:
    """Return the tokenizer file of a folder, or the file itself. Raises: FileNotFoundError, MismatchError."""
    path = Path(source)
    if not path.is_dir():
        return path
    if (path / FILE).is_file():
        return path / FILE
    others = sorted(found.name for pattern in _OTHER_FORMATS for found in path.glob(pattern))
    return refuse_tokenizer(path, f"has no {FILE}" + (f", and {', '.join(others)} cannot be trimmed" if others else ""))


def read_tokenizer(source: str | PathLike[str]) -> Tokenizer:
    """Return a tokenizer that can be trimmed, from its file or the folder that it is in.

    Raises: OSError. MismatchError that names the part that cannot be trimmed.
    """
    path = file_of(source)
    content = _content(path)
    _check(path, content)
    return Tokenizer(path, content, MODELS[content["model"]["type"]](content))


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise MismatchError(f"{path}: is not JSON: {error}", metadata={"file": str(path)}) from error
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        refuse_tokenizer(path, "is not a file of the `tokenizers` library: it has no model")
    model = dict(content["model"])
    if "type" not in model:  # files of early versions
        model["type"] = "BPE" if "merges" in model else "Unigram" if isinstance(model.get("vocab"), list) else None
    return {**content, "model": model}


def _check(path: Path, content: Mapping[str, Any]) -> None:
    """Refuse what would be encoded differently, or is not known. Raises: MismatchError."""
    model = content["model"]
    if model["type"] not in MODELS:
        refuse_tokenizer(path, f"has a model of type {model['type']!r}; {', '.join(MODELS)} can be trimmed")
    if not isinstance(model.get("vocab"), list if model["type"] == "Unigram" else dict):
        refuse_tokenizer(path, f"the vocabulary of its {model['type']} model is not readable")
    if model.get("dropout"):
        refuse_tokenizer(
            path, f"its BPE model has dropout {model['dropout']}, so that it encodes at random; set dropout to null"
        )
    unknown = [kind for kind in _post_processors(content.get("post_processor")) if kind not in POST_PROCESSORS]
    if unknown:
        refuse_tokenizer(path, f"has a post-processor of type {unknown[0]!r}; {', '.join(POST_PROCESSORS)} are known")


def _post_processors(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield str(part.get("type"))
        for each in part.get("processors", ()):
            yield from _post_processors(each)
