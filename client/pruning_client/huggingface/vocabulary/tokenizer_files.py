"""The files of a folder's tokenizer, cut to the kept ids: tokenizer.json and those beside it that name tokens or ids.

`vocab.txt`, `vocab.json` and `merges.txt` are written anew, because other runtimes read them. Files of sentencepiece
and tiktoken cannot be: they are removed, so that nothing reads the old ids.
"""

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from os import PathLike
from pathlib import Path
from typing import Any, Final

from pruning_client.errors import MismatchError
from pruning_client.tokenizers import KeptIds, trim_tokenizer
from pruning_client.tokenizers.parsing import FILE, Tokenizer, read_tokenizer

_CONFIG: Final = "tokenizer_config.json"
_NAMES: Final = "special_tokens_map.json"
_ADDED: Final = "added_tokens.json"
_WORDS, _VOCABULARY, _MERGES = "vocab.txt", "vocab.json", "merges.txt"
_OTHERS: Final = ("*.model", "*.tiktoken", "tekken.json", "vocab.bpe", "encoder.json", "dict.txt", "*.vocab")
"""Files of ids in other formats."""

_ALL: Final = (FILE, _CONFIG, _NAMES, _ADDED, _WORDS, _VOCABULARY, _MERGES, *_OTHERS)
_LISTS: Final = ("additional_special_tokens", "extra_special_tokens")
_DECODER: Final = "added_tokens_decoder"


def leave_out_tokenizer(folder: Path) -> tuple[str, ...]:
    """Remove the files of a tokenizer whose ids are no longer those of the model, and return their names."""
    return _removed(folder, _ALL)


def trim_folder(source: Path, folder: Path, kept: KeptIds, text: str | PathLike[str] | None = None) -> tuple[str, ...]:
    """Cut the tokenizer of a copied folder to the kept ids, and return the files that had to be removed.

    `text` is a file on which the encoding is verified.

    Raises: as `trim_tokenizer`. MismatchError if a token is removed that a file beside it names.
    """
    old = read_tokenizer(source)
    trim_tokenizer(source, folder, kept, text=text)
    ids = {token: number for number, token in old.tokens.items()}
    for name in (_CONFIG, _NAMES):
        if (content := read_object(source / name)) is not None:
            _write(folder / name, _without_removed(content, kept, ids, name))
    if (added := read_object(source / _ADDED)) is not None:
        _write(folder / _ADDED, {token: new for token, at in added.items() if (new := kept.new_id(at)) is not None})
    _write_vocabulary(folder, old, read_tokenizer(folder))
    return _removed(folder, _OTHERS)


def named_ids(folder: Path) -> frozenset[int]:
    """Return the ids of the tokens with a role that the files beside a folder's tokenizer name."""
    ids = {token: number for number, token in read_tokenizer(folder).tokens.items()}
    contents = [content for name in (_CONFIG, _NAMES) if (content := read_object(folder / name)) is not None]
    named = {_text(token) for content in contents for _, token in _roles(content)}
    return frozenset(ids[token] for token in named if token in ids)


def _roles(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Return the tokens with a role, each with the place that names it."""
    for key, value in content.items():
        if key.endswith("_token") and value is not None and not isinstance(value, bool):
            yield key, value
        elif key in _LISTS and isinstance(value, dict):
            yield from ((f"{key}.{role}", token) for role, token in value.items())


def _without_removed(content: Mapping[str, Any], kept: KeptIds, ids: Mapping[str, int], file: str) -> dict[str, Any]:
    """Return a file of special tokens without those that are removed. Raises: MismatchError if one has a role."""

    def is_removed(token: Any) -> bool:
        number = ids.get(_text(token))
        return number is not None and kept.new_id(number) is None

    for place, token in _roles(content):
        if is_removed(token):
            number = ids[_text(token)]
            raise MismatchError(
                f"{file}: {place} is {_text(token)!r} (id {number}), which is removed, and transformers would add it "
                f"with an id after the last row; keep {number}, or take it out of the file first",
                metadata={"file": file},
            )
    changed = dict(content)
    for key, value in content.items():
        if key == _DECODER:
            new = {number: kept.new_id(int(number)) for number in value}
            changed[key] = {str(new[number]): token for number, token in value.items() if new[number] is not None}
        elif key in _LISTS and isinstance(value, list):
            changed[key] = [token for token in value if not is_removed(token)]
    return changed


def _write_vocabulary(folder: Path, old: Tokenizer, new: Tokenizer) -> None:
    """Write vocab.txt, vocab.json and merges.txt anew where the folder has them and they are those of `old`."""
    if (words := folder / _WORDS).is_file():
        if _in_order(old) == words.read_text("utf-8").splitlines():
            words.write_text("".join(f"{token}\n" for token in _in_order(new)), "utf-8")
        else:
            words.unlink()
    merges = new.content["model"].get("merges")
    has_both = merges is not None and read_object(folder / _VOCABULARY) == dict(old.model.ids)
    for path in (folder / _VOCABULARY, folder / _MERGES):
        if path.is_file() and not has_both:
            path.unlink()
    if has_both:
        _write(folder / _VOCABULARY, dict(new.model.ids))
        lines = [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]
        (folder / _MERGES).write_text("".join(f"{line}\n" for line in ("#version: 0.2", *lines)), "utf-8")


def _in_order(tokenizer: Tokenizer) -> list[str]:
    return sorted(tokenizer.model.ids, key=tokenizer.model.ids.__getitem__)


def _removed(folder: Path, patterns: tuple[str, ...]) -> tuple[str, ...]:
    found = sorted(path for path in folder.iterdir() if any(fnmatch(path.name, each) for each in patterns))
    for path in found:
        path.unlink()
    return tuple(path.name for path in found)


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the content of a JSON file; None if there is none. Raises: MismatchError if it is not an object."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise MismatchError(f"{path}: is not JSON: {error}", metadata={"file": str(path)}) from error
    if not isinstance(content, dict):
        raise MismatchError(f"{path}: is not a JSON object", metadata={"file": str(path)})
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(f"{json.dumps(content, indent=2, ensure_ascii=False)}\n", "utf-8")


def _text(token: Any) -> str:
    """Return the text of a token, which these files write as text or as an object."""
    return str(token.get("content")) if isinstance(token, dict) else str(token)
