"""The tokens that a folder's files name: special ones. A rule that ranks tokens keeps them whatever they are worth."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any

from pruning_client.errors import MismatchError
from pruning_client.huggingface.config_fields import CONFIG
from pruning_client.huggingface.vocabulary.config import VOCABULARY
from pruning_client.huggingface.vocabulary.folder_files import GENERATION
from pruning_client.huggingface.vocabulary.token_ids import special_ids
from pruning_client.huggingface.vocabulary.tokenizer_files import named_ids, read_object
from pruning_proto.counted import counted_that
from pruning_proto.v1 import pruning_pb2 as pb


def configured_ids(folder: Path) -> frozenset[int]:
    """Return the ids of the tokens that config.json and generation_config.json need."""
    config = read_object(folder / CONFIG) or {}
    rows = next(_sizes(config), None)
    if rows is None:
        return frozenset()
    return special_ids(config, rows) | special_ids(read_object(folder / GENERATION) or {}, rows)


def with_named_tokens(folder: str | PathLike[str], recipe: pb.Recipe) -> pb.Recipe:
    """Return the recipe with the tokens that the folder's files name always kept, where a rule ranks tokens.

    Raises: MismatchError if a rule keeps fewer than these.
    """
    ranked = [at for at, rule in enumerate(recipe.rules) if _ranks_tokens(rule)]
    if not ranked:
        return recipe
    path = Path(folder)
    named = configured_ids(path) | _tokenizer_ids(path)
    completed = pb.Recipe()
    completed.CopyFrom(recipe)
    for position in ranked:
        rule = completed.rules[position]
        stay = sorted(named.union(rule.granularity.units.always_kept))
        _check_amount(rule.amount, stay, f"recipe.rules[{position}].amount.kept")
        rule.granularity.units.always_kept[:] = stay
    return completed


def _tokenizer_ids(folder: Path) -> frozenset[int]:
    """Return the ids that the tokenizer's files name; none if it cannot be trimmed, and so is left out or refused."""
    with suppress(FileNotFoundError, MismatchError):
        return named_ids(folder)
    return frozenset()


def _ranks_tokens(rule: pb.Rule) -> bool:
    return rule.granularity.units.map == VOCABULARY and not rule.score.HasField("listed")


def _check_amount(amount: pb.Amount, stay: list[int], field: str) -> None:
    if amount.HasField("kept") and amount.kept < len(stay):
        raise MismatchError(
            f"{field}: {counted_that(amount.kept, 'token')} to be kept, and the folder's files name "
            f"{len(stay):,}, which always "
            f"are: {', '.join(map(str, stay))}; keep at least {len(stay):,}",
            metadata={"field": field},
        )


def _sizes(config: Mapping[str, Any]) -> Iterator[int]:
    """Return the sizes of vocabularies in a config, the outermost first."""
    if isinstance(config.get("vocab_size"), int):
        yield config["vocab_size"]
    for value in config.values():
        if isinstance(value, dict):
            yield from _sizes(value)
