"""A Hugging Face model folder pruned into a new one: weights, the `config.json` that fits them, and all other files.

`checkpoints.opened` reads weights in one file or several, `result_files` says where the new ones go, and
`fitted_folder` makes the other files fit them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from errno import ENOENT
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Final, Protocol

from pruning_client.calls.exchange import Watcher
from pruning_client.calls.request import Rules, is_known_before_data, recipe_of
from pruning_client.calls.sinks import Target
from pruning_client.checkpoints.opened import Checkpoint
from pruning_client.checkpoints.pipeline import PIPELINE, Component, components_of, is_pipeline
from pruning_client.checkpoints.readable import DISK, Files
from pruning_client.checkpoints.split import SplitFiles
from pruning_client.checkpoints.weight_files import WeightNames, weights_in
from pruning_client.errors import MismatchError, recipe_error
from pruning_client.huggingface.config_json import (
    CONFIG,
    check_groups_counted,
    check_head_dims,
    read_config,
    with_head_dims,
    with_own_widths,
)
from pruning_client.huggingface.copied_files import described, is_never_copied, left_out
from pruning_client.huggingface.copied_folder import check_links
from pruning_client.huggingface.experts.limits import with_expert_limits
from pruning_client.huggingface.experts.tested import is_tested
from pruning_client.huggingface.fitted_folder import FittedFolder
from pruning_client.huggingface.places import DiskFolder, DiskResult, ResultFolder, SourceFolder
from pruning_client.huggingface.quantization import check_blocks, check_not_quantized
from pruning_client.huggingface.result_check import shapes_of
from pruning_client.huggingface.result_files import ResultFiles
from pruning_client.huggingface.transformers_check import Need, TransformersCheck, is_installed
from pruning_client.huggingface.vocabulary.folder_files import TokenizerTrim
from pruning_client.huggingface.vocabulary.named_tokens import with_named_tokens
from pruning_client.results.group_report import GroupReport
from pruning_client.results.output_format import Compression, Output
from pruning_client.results.plan import Plan
from pruning_client.results.report import Report
from pruning_client.rules.recipe import Recipe
from pruning_client.statistics.statistics import Statistics
from pruning_proto.formats import FORMATS
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

FOLDER_OUTPUTS: Final = tuple(row.name for row in FORMATS if row.is_loadable)
"""Output formats that a model can be loaded from."""


class FilePruner(Protocol):
    """Prunes one file into another: a `Client`, or the command line's local pipeline."""

    def prune_file(  # noqa: PLR0913 - one keyword for each option of a call
        self,
        source: str | PathLike[str] | Checkpoint,
        target: Target,
        rules: Rules,
        *,
        output: Output = "pruned",
        seed: int | None = None,
        statistics: Statistics | str | PathLike[str] | None = None,
        digests: bool = False,
        canonical_zero: bool = False,
        compression: Compression | None = None,
        progress: Watcher | None = None,
        timeout: float | None = None,
    ) -> Report:
        """Prune a safetensors file into another; `target` is written whole or not at all."""

    def plan(
        self,
        source: str | PathLike[str] | Checkpoint,
        rules: Rules,
        *,
        seed: int | None = None,
        statistics: Statistics | str | PathLike[str] | None = None,
        timeout: float | None = None,
    ) -> Plan:
        """Return what would be pruned, and the cost; only the header is read."""


def is_folder(path: str | PathLike[str]) -> bool:
    """Whether this is a folder, and so perhaps a model's."""
    return Path(path).is_dir()


def weights_of(folder: str | PathLike[str]) -> Path:
    """Return the file of a model's weights, the index of several, or the list of a pipeline's components.

    Raises: OSError if the folder is not a model's or a pipeline's. CheckpointError if the weights are ambiguous.
    """
    path = Path(folder)
    if (path / PIPELINE).is_file():
        return path / PIPELINE
    if not (path / CONFIG).is_file():
        description = f"is not a model's folder: it has no {CONFIG} and no {PIPELINE}; give the safetensors file"
        raise FileNotFoundError(ENOENT, description, str(path))
    weights = weights_in(path)
    if weights is None:
        transformers, diffusers = WeightNames(), WeightNames("diffusion_pytorch_model")
        description = (
            f"has no {transformers.file} and no {transformers.index}, nor {diffusers.file}; other weights are not read"
            ": save the model with safetensors first"
        )
        raise FileNotFoundError(ENOENT, description, str(path))
    return weights


def completed_recipe(folder: str | PathLike[str], rules: Rules, seed: int | None = None) -> Recipe:
    """Return the recipe of these rules, with what `config.json` says of the model and a rule leaves out.

    That is `head_dim`, what its routers ask of rules that remove experts, `own_widths` where layers compete, and the
    tokens that its files name, which rules that rank tokens always keep.
    Raises: PruningError if a rule leaves too few experts or tokens.
    """
    path, recipe = Path(folder) / CONFIG, recipe_of(rules, seed)
    if not path.is_file():
        return recipe
    config = read_config(path)
    completed = with_own_widths(config, with_expert_limits(config, with_head_dims(config, recipe.to_message())))
    return Recipe.from_message(with_named_tokens(folder, completed))


def prune_folder(  # noqa: PLR0913 - one keyword for each option, as of `Client.prune_file`
    client: FilePruner,
    source: str | PathLike[str],
    target: str | PathLike[str],
    rules: Rules,
    *,
    output: Output = "removed",
    seed: int | None = None,
    statistics: Statistics | str | PathLike[str] | None = None,
    digests: bool = False,
    max_shard_bytes: int | None = None,
    tokenizer: TokenizerTrim | None = None,
    check_with_transformers: bool = False,
    progress: Watcher | None = None,
    timeout: float | None = None,
) -> Report:
    """Prune a Hugging Face model's folder into a new one that `from_pretrained` loads.

    Shards stay shards, with the same tensors in each; with `max_shard_bytes` they are made anew, of at most this size.
    With output "removed" the fields of `config.json` that count units are set from the report; other files are copied,
    except for those that hold the weights unpruned (`not_copied`). The target is written whole or not at all, and must
    not exist. In the folder of a diffusers pipeline all components with weights are pruned, as one model whose tensors
    are named COMPONENT.NAME; channels are removed from its components one by one. Where rows of the vocabulary are
    removed, `tokenizer` has the tokenizer cut to the kept ids; without, its files are left out. What the plan says of
    the units that are left is checked before the weights are read, and the result before the target is there: by names
    and shapes where the architecture is tested (`experts.tested`), else by transformers, if it is installed.
    `check_with_transformers` has it asked in any case.
    Raises: PruningError, OSError as `Client.prune_file`. MismatchError if `config.json` cannot express what is left.
    CheckpointError for a link that leaves the folder, see `copied_folder`. ImportError if transformers is to be asked
    and is not installed.
    Example:
        >>> prune_folder(client, "model", "smaller", rules.l1_unstructured(0.5), output="pruned")
        <Report: 50.00% of 48 selected weights pruned, 2 tensors>
    """
    _check_output(output)
    return prune_model(
        client,
        DiskFolder(Path(source)),
        DiskResult(Path(target)),
        FolderOptions(
            recipe=completed_recipe(source, rules, seed),
            output=output,
            statistics=statistics,
            digests=digests,
            max_shard_bytes=max_shard_bytes,
            tokenizer=tokenizer,
            check_with_transformers=check_with_transformers,
            timeout=timeout,
        ),
        progress,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderOptions:
    """How a model's folder is pruned, as `prune_folder` takes it. `recipe` is complete: see `completed_recipe`."""

    recipe: Recipe
    output: Output
    statistics: Statistics | str | PathLike[str] | None = None
    digests: bool = False
    max_shard_bytes: int | None = None
    tokenizer: TokenizerTrim | None = None
    check_with_transformers: bool = False
    timeout: float | None = None


def prune_model(
    client: FilePruner,
    source: SourceFolder,
    result: ResultFolder,
    options: FolderOptions,
    progress: Watcher | None = None,
) -> Report:
    """Prune a Hugging Face model's folder into a new one, wherever the two are. Raises: as `prune_folder`."""
    _check_output(options.output)
    recipe, is_removed = options.recipe.to_message(), options.output == "removed"
    weights = weights_of(source.path)
    check_links(source.path)
    components = components_of(weights)
    if is_removed:
        _check_one_model(weights, components)
        check_groups_counted(recipe)
    configs = [read_config(path) for each in components if (path := each.weights.with_name(CONFIG)).is_file()]
    for config in configs:
        check_head_dims(config, recipe)
        check_not_quantized(config, recipe)
        check_blocks(config)
    result.check_new()
    checkpoint, statistics = Checkpoint(weights, source.files), options.statistics
    shapes = shapes_of(weights, source.files)
    files = ResultFiles(source.path, components, options.max_shard_bytes)
    call = partial(
        client.prune_file,
        checkpoint,
        rules=options.recipe,
        output=options.output,
        statistics=statistics,
        digests=options.digests,
        progress=progress,
        timeout=options.timeout,
    )
    with result.made() as folder:
        copy = partial(_copy_others, source, folder, weights, has_removed=is_removed)
        prune = partial(_write_weights, files, folder, result, call)
        if not is_removed:
            copy()
            return prune()
        fitted = FittedFolder(
            source=source.path,
            folder=folder,
            shapes=shapes,
            shapes_after=partial(result.shapes, folder),
            config=configs[0],
            recipe=recipe,
            tokenizer=options.tokenizer,
        )
        need = _need(configs[0], recipe, check_with_transformers=options.check_with_transformers)
        with TransformersCheck(configs[0], need) as transformers:
            plan = partial(client.plan, checkpoint, options.recipe, statistics=statistics, timeout=options.timeout)
            planned = _planned(plan, recipe)
            fitted.check(planned)
            copy()
            fitted.cut_vocabularies(planned)
            return fitted.finish(prune(), transformers)


def _copy_others(source: SourceFolder, folder: Path, weights: Path, *, has_removed: bool) -> None:
    """Copy all files of a model's folder but its weights. Raises: OSError."""
    out = left_out(source.path, weights, has_removed=has_removed, files=source.files)
    source.copy(folder, lambda path: path in out or is_never_copied(path.name))


def _write_weights(files: ResultFiles, folder: Path, result: ResultFolder, prune: Callable[..., Report]) -> Report:
    """Write the pruned weights, and their indices into the new folder. Raises: what `prune` raises."""
    target = result.weights(folder, files)
    report = prune(target=target)
    if isinstance(target, SplitFiles):
        files.write_indices(folder, target.contents)
    return report


def _planned(plan: Callable[[], Plan], recipe: pb.Recipe) -> list[GroupReport]:
    """Return the groups whose units are known before any weights are read, to be left by all rules over each."""
    if not any(is_known_before_data(rule) for rule in recipe.rules):
        return []
    groups = plan().groups
    unknown = {group.name for group in groups if not group.kept}
    return [group for group in groups if group.name not in unknown]


def _need(config: Mapping[str, Any], recipe: pb.Recipe, *, check_with_transformers: bool) -> Need:
    """Return whether transformers is asked of the result. Raises: ImportError if it is to be, and is not installed."""
    if not check_with_transformers:
        return Need.IN_DOUBT if is_tested(config, recipe) else Need.IF_INSTALLED
    if not is_installed():
        raise ImportError("checking a folder with transformers needs: pip install torch transformers")
    return Need.REQUIRED


def _check_one_model(weights: Path, components: Sequence[Component]) -> None:
    if is_pipeline(weights):
        listed = ", ".join(str(each.weights.parent) for each in components)
        raise MismatchError(
            f"{weights.parent}: is the folder of a pipeline, from whose components channels are removed one by one, "
            f"because each has its own {CONFIG}; give one of {listed}"
        )


def _check_output(output: str) -> None:
    if output not in FOLDER_OUTPUTS:
        allowed = " or ".join(repr(name) for name in FOLDER_OUTPUTS)
        description = f"of a folder it is {allowed}, which a model can be loaded from; got {output!r}"
        raise recipe_error(Reason.INVALID_RECIPE, "output", description)


def not_copied(source: str | PathLike[str], output: Output, files: Files = DISK) -> list[str]:
    """Return what `prune_folder` leaves out besides the weights, because it holds them unpruned; as paths in it."""
    weights = weights_of(source)
    check_links(Path(source))
    return described(Path(source), weights, has_removed=output == "removed", files=files)
