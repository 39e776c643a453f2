"""The copied files of a folder whose vocabulary was cut: generation_config.json, and the tokenizer."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Final

from pruning_client.huggingface.vocabulary.config import kept_ids
from pruning_client.huggingface.vocabulary.token_ids import renumbered
from pruning_client.huggingface.vocabulary.tokenizer_files import leave_out_tokenizer, read_object, trim_folder
from pruning_client.results.model_warning import ModelWarning
from pruning_client.results.report import GroupReport

GENERATION: Final = "generation_config.json"


@dataclass(frozen=True, slots=True)
class TokenizerTrim:
    """That the folder's tokenizer is cut to the kept ids. `text`: a file on which its encoding is verified."""

    text: str | PathLike[str] | None = None


def edit_files(
    source: Path, folder: Path, group: GroupReport, tokenizer: TokenizerTrim | None
) -> Iterator[ModelWarning]:
    """Edit the copied files for the ids that are kept; yield a warning if files of the tokenizer are left out.

    Raises: MismatchError if a token is removed that a file names, or the tokenizer cannot be trimmed. OSError.
    """
    kept = kept_ids(group)
    generation = read_object(source / GENERATION)
    if generation is not None:
        text = json.dumps(renumbered(generation, kept, GENERATION), indent=2, ensure_ascii=False)
        (folder / GENERATION).write_text(f"{text}\n", "utf-8")
    if tokenizer is None:
        left_out, why = leave_out_tokenizer(folder), "because its ids are no longer those of the model: trim it, too"
    else:
        left_out = trim_folder(source, folder, kept, tokenizer.text)
        why = "because files of this format cannot be trimmed; tokenizer.json has the new ids"
    if left_out:
        yield ModelWarning(
            kind="tokenizer_left_out", tensor=None, message=f"the result has no {', '.join(left_out)}, {why}"
        )
