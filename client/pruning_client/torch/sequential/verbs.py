"""The verbs: a run with a `Client`, and one with an `AsyncClient`."""

from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

from torch import nn

from pruning_client.calls.request import Rules, recipe_of
from pruning_client.statistics.names import Kind
from pruning_client.torch.collection.collect import Batch, options_of
from pruning_client.torch.procedures import Procedure, awaited, carried_out
from pruning_client.torch.pruner import Pruner
from pruning_client.torch.sequential.report import SequentialReport
from pruning_client.torch.sequential.steps import SequentialOptions, steps


@dataclass(frozen=True, slots=True)
class _Options:
    folder: str | PathLike[str] | None
    blocks: str | None
    kind: Kind
    gram_dtype: Literal["F32", "F64"]


def prune_sequentially(  # noqa: PLR0913 - one keyword for each option
    client: Pruner,
    model: nn.Module,
    batches: Iterable[Batch],
    rules: Rules,
    *,
    folder: str | PathLike[str] | None = None,
    blocks: str | None = None,
    kind: Kind = "gram",
    gram_dtype: Literal["F32", "F64"] = "F32",
    seed: int | None = None,
) -> SequentialReport:
    """Prune the blocks of a model one after the other, in place, and return what was pruned.

    Blocks are the layers of the largest `nn.ModuleList`, or of the one at the path `blocks`. For each: its statistics
    are collected on what the pruned blocks before it produce, the service prunes its tensors by `rules`, and they are
    loaded. Only tensors of blocks are pruned: not embeddings and output heads. `batches`, `kind` and `gram_dtype` are
    as in `collect_statistics`. In memory are the hidden states of all batches at one block, and the sums of one block.

    With a `folder`, each finished block is kept there. After an interruption, call it again with the same model as it
    was before, the same batches and rules: finished blocks are loaded and not sent again. Without one, a failure leaves
    the blocks so far pruned.

    Raises: MismatchError if blocks are not called in order, each with the output of the one before; if a pattern
    matches nothing; if the folder has another run. RecipeError for rules of scope global and for channel groups. Errors
    of `Client.prune`.
    Cost: three runs of each block for each batch.
    Example:
        >>> report = prune_sequentially(client, stack, [torch.randn(16, 4)], rules.sparsegpt(0.5))
        >>> [block.sparsity for block in report.blocks]
        [0.5, 0.5]
    """
    run = _run(model, batches, rules, seed, _Options(folder, blocks, kind, gram_dtype))
    return carried_out(client, run)


prune_sequentially_async = awaited(prune_sequentially)


def _run(
    model: nn.Module, batches: Iterable[Batch], rules: Rules, seed: int | None, options: _Options
) -> Procedure[SequentialReport]:
    return steps(
        model,
        batches,
        SequentialOptions(
            recipe=recipe_of(rules, seed).to_message(),
            sums=options_of(options.kind, options.gram_dtype, 2048, "random", 0),
            blocks=options.blocks,
            folder=None if options.folder is None else Path(options.folder),
        ),
    )
