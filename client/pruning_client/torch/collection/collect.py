"""The verb: statistics of all layers of a model, from a few batches."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final, Literal, TypeAlias

import torch
from torch import Tensor, nn

from pruning_client.errors import recipe_error
from pruning_client.statistics.names import UNIT_KINDS, Kind
from pruning_client.statistics.statistics import Statistics
from pruning_client.torch.collection.block_influence import BlockInfluence
from pruning_client.torch.collection.collector import Collector
from pruning_client.torch.collection.disk_names import DiskNames
from pruning_client.torch.collection.expert_saliency import ExpertSaliency
from pruning_client.torch.collection.output_gradients import OutputGradients
from pruning_client.torch.collection.padding import Padding
from pruning_client.torch.collection.sums import Sampling, SumsOptions
from pruning_client.torch.collection.targets import Targets
from pruning_proto.reasons import Reason

Batch: TypeAlias = Mapping[str, Any] | Tensor
"""The keyword inputs of a model, as a tokenizer returns them, or its only input."""

BatchWatcher: TypeAlias = Callable[[int, int | None], object]
"""Called after each batch, with the number of those that are done, and of all if that is known."""

_GRAM_DTYPES: Final = {"F32": torch.float32, "F64": torch.float64}


def collect_statistics(  # noqa: PLR0913 - one keyword for each option
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    kind: Kind = "norms",
    include: str | Iterable[str] = (),
    exclude: str | Iterable[str] = (),
    gram_dtype: Literal["F32", "F64"] = "F32",
    sample_rows: int = 2048,
    sampling: Sampling = "random",
    seed: int = 0,
    progress: BatchWatcher | bool = False,
    loss: Callable[[Any], Tensor] | None = None,
) -> Statistics:
    """Return statistics of the inputs of a model's layers, over the tokens of all batches, without padding.

    The model runs once for each batch, in evaluation mode and without gradients. Counted are the inputs of Linear,
    Conv1d to Conv3d (as patches; not of those with groups), transformers' Conv1D, and transformers' fused experts, of
    each expert by itself. Of other modules, and of those that no batch reaches, `Statistics.skipped` has the reason.

    `kind`: "norms" are sums of squares, sums and counts, which Wanda and RIA need. "gram" adds the Gram matrix, for
    SparseGPT, swaps and updates: C^2 numbers for each input of C channels, stored as `gram_dtype`. "inputs" adds up to
    `sample_rows` rows of the inputs in the model's dtype instead: the `sampling` is "random", by `seed`, or the
    "first". Layers with the same input, such as q, k and v, share one statistic. Sums are computed in fp64.
    "layers" measures how much each layer changes what passes through it (ShortGPT's block influence), and "experts" how
    much each expert adds to the output of its block (REAP): scores by which layers and experts are removed. These are
    numbers per unit of a group: the stack `model.layers`, the block `model.layers.0.mlp`.

    `batches` are keyword inputs, as a tokenizer returns them, or single tensors; they are moved to the model's device.
    Where a batch has an `attention_mask` of shape [sequences, tokens], tokens with 0 do not count. Padding is known for
    inputs of shape [sequences, tokens, ...] or [sequences * tokens, C]; others, such as a convolution's, count whole.
    `include` and `exclude` are patterns of weights, as of rules, over names in memory or on disk; for "layers" and
    "experts" of groups, as on disk. `progress` is True for a bar (with tqdm, if it is installed), or a function that is
    called with the batches done and their number.

    `loss` is for a refit that keeps the model's loss low instead of each layer's outputs alike: a function of what the
    model returns, such as `lambda output: output.loss` for batches with labels. One backward pass a batch adds the Gram
    matrix of its gradients for each layer's outputs (`w:out_gram`); those of parameters are not touched.

    Raises: MismatchError if a pattern selects no weight, no layer is called, an input or a gradient is not finite, or
    the loss is not a number that depends on the layers. RecipeError for
    an invalid option. TypeError for what is not a module or a batch. What the model raises.
    Cost: memory of 8 C^2 bytes for each input of kind "gram" while it collects; `include` splits it into several runs.
    Example:
        batches = [tokenizer(texts[i : i + 8], padding=True, return_tensors="pt") for i in range(0, len(texts), 8)]
        statistics = collect_statistics(model, batches, kind="gram")
        statistics.save("statistics.safetensors")
    Example:
        >>> collect_statistics(model, [torch.randn(16, 4)], kind="gram").input_dims
        {'0.weight': 1, '2.weight': 1}
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"statistics are collected from a torch module, got {type(model).__name__}")
    targets, names = Targets(include, exclude), DiskNames(model)
    outputs = None if loss is None else OutputGradients(loss)
    collector: Collector | BlockInfluence | ExpertSaliency
    if kind in UNIT_KINDS:
        _check_no_loss(kind, outputs)
        collector = (BlockInfluence if kind == "layers" else ExpertSaliency)(model, targets, names)
    else:
        options = options_of(kind, gram_dtype, sample_rows, sampling, seed, more_kinds=UNIT_KINDS)
        collector = Collector(model, "", options, targets, names, outputs)
    with evaluating(model), collector.hooks(), watching(progress, batches) as watcher:
        for number, batch in enumerate(_checked(batches), start=1):
            inputs = on_device(batch, model)
            with collector.batch(padding_of(inputs, model)), torch.set_grad_enabled(outputs is not None):
                result = run(model, inputs)
                if outputs is not None:
                    outputs.add(result)
            watcher(number)
    return collector.statistics()


def _check_no_loss(kind: str, outputs: OutputGradients | None) -> None:
    if outputs is not None:
        raise recipe_error(Reason.INVALID_RECIPE, "loss", f"statistics of kind {kind!r} take no loss; leave it out")


def options_of(  # noqa: PLR0913 - one for each option
    kind: str, gram_dtype: str, sample_rows: int, sampling: str, seed: int, *, more_kinds: tuple[str, ...] = ()
) -> SumsOptions:
    """Return the options of sums. Raises: RecipeError for one that is not valid; `more_kinds` are named as allowed."""
    choices: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("kind", kind, ("norms", "gram", "inputs", *more_kinds)),
        ("gram_dtype", gram_dtype, tuple(_GRAM_DTYPES)),
        ("sampling", sampling, ("random", "first")),
    )
    for name, value, allowed in choices:
        if value not in allowed:
            text = " or ".join(map(repr, allowed))
            raise recipe_error(Reason.INVALID_RECIPE, name, f"this is {text}, got {value!r}")
    if sample_rows < 1:
        raise recipe_error(Reason.INVALID_RECIPE, "sample_rows", f"at least one row is sampled, got {sample_rows}")
    return SumsOptions(
        kind=kind,  # type: ignore[arg-type]  # checked above
        gram_dtype=_GRAM_DTYPES[gram_dtype],
        sample_rows=sample_rows,
        sampling=sampling,  # type: ignore[arg-type]  # checked above
        seed=seed,
    )


def _checked(batches: Iterable[Batch]) -> Iterator[Batch]:
    if isinstance(batches, Mapping | Tensor | str):
        raise TypeError(
            f"batches are several batches, such as a list or a data loader; got one {type(batches).__name__}: put it "
            "into a list"
        )
    for batch in batches:
        if not isinstance(batch, Mapping | Tensor):
            raise TypeError(
                f"a batch is a mapping of keyword inputs or a tensor, got {type(batch).__name__}; take the inputs out "
                "of a pair of inputs and labels"
            )
        yield batch


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Run a model in evaluation mode and without gradients while inside; each module's mode is restored."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, is_training in modes.items():
            module.training = is_training


def on_device(batch: Batch, model: nn.Module) -> Batch:
    """Return a batch with its tensors on the device of the model's first parameter."""
    parameter = next(model.parameters(), None)
    if parameter is None:
        return batch
    if isinstance(batch, Tensor):
        return batch.to(parameter.device)
    return {name: value.to(parameter.device) if isinstance(value, Tensor) else value for name, value in batch.items()}


def padding_of(batch: Batch, model: nn.Module) -> Padding:
    """Return which tokens of a batch are padding. Raises: as `Padding`."""
    has_decoder = bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
    return Padding(batch if isinstance(batch, Mapping) else {}, has_decoder=has_decoder)


def run(model: nn.Module, batch: Batch) -> Any:
    """Return the output of a model for one batch."""
    return model(**batch) if isinstance(batch, Mapping) else model(batch)


@contextmanager
def watching(progress: BatchWatcher | bool, batches: object) -> Iterator[Callable[[int], object]]:
    """Return what is called with the number of finished batches: it shows them, calls the caller's, or does nothing."""
    total = len(batches) if isinstance(batches, Sized) else None
    if not isinstance(progress, bool):
        yield lambda done: progress(done, total)
        return
    bar = _bar(total) if progress else None
    try:
        yield (lambda _: None) if bar is None else (lambda _: bar.update())
    finally:
        if bar is not None:
            bar.close()


def _bar(total: int | None) -> Any:
    """Return a progress bar of tqdm; None without tqdm."""
    try:
        tqdm = import_module("tqdm.auto")  # no dependency
    except ImportError:
        return None
    return tqdm.tqdm(total=total, unit="batch")
