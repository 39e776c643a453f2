"""The procedure: a generator that yields what is to be pruned, one block after the other, and is sent the results."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pruning_client.errors import MismatchError, tensor_error
from pruning_client.frameworks import torch as adaptor
from pruning_client.results.result import Result
from pruning_client.rules.recipe import Recipe
from pruning_client.statistics.statistics import Statistics
from pruning_client.torch.collection.collect import Batch, on_device, padding_of, run
from pruning_client.torch.collection.collector import Collector
from pruning_client.torch.collection.disk_names import DiskNames
from pruning_client.torch.collection.padding import Padding
from pruning_client.torch.collection.sums import SumsOptions
from pruning_client.torch.collection.targets import Targets
from pruning_client.torch.procedures import Procedure, PruneRequest
from pruning_client.torch.sequential.block_rules import check_rules, rules_for
from pruning_client.torch.sequential.blocks import Block, Call, Recorder, find_blocks
from pruning_client.torch.sequential.report import PrunedBlock, SequentialReport
from pruning_client.torch.sequential.saved_blocks import RunRequest, SavedBlocks, digest, digest_of
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialOptions:
    """What a run is asked, beside the model and the batches."""

    recipe: pb.Recipe
    sums: SumsOptions
    blocks: str | None = None
    folder: Path | None = None


@dataclass(slots=True)
class _Sample:
    """One batch: the hidden states that reach the next block, and how each block is called."""

    hidden: Tensor
    calls: list[Call]
    padding: Padding


def steps(model: nn.Module, batches: Iterable[Batch], options: SequentialOptions) -> Procedure[SequentialReport]:
    """Yield what is to be pruned, block by block; each is to be answered by its result, which is loaded.

    Gradients are off in each step, and not between them: steps may run in several threads.
    """
    blocks = find_blocks(model, options.blocks)
    names = [name for block in blocks for name in block.state_dict()]
    check_rules(options.recipe, names)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        given = [on_device(batch, model) for batch in batches]
        if not given:
            raise MismatchError("there are no batches: give at least one")
        saved = SavedBlocks(options.folder, _request(blocks, given, options), _seed(options.recipe))
        if saved.seed is not None:
            options.recipe.seed = saved.seed
        samples = [_sample(model, blocks, batch) for batch in given]
        procedure = _Procedure(blocks, samples, saved, DiskNames(model), options)
        report: list[PrunedBlock] = []
        for number in range(len(blocks)):
            report.append((yield from procedure.prune(number)))
            if number < len(blocks) - 1:
                procedure.advance(number)
        return SequentialReport(tuple(report))
    finally:
        for module, is_training in modes.items():
            module.training = is_training


def _seed(recipe: pb.Recipe) -> int | None:
    return recipe.seed if recipe.HasField("seed") else None


def _request(blocks: tuple[Block, ...], batches: list[Batch], options: SequentialOptions) -> RunRequest:
    rules = pb.Recipe(rules=options.recipe.rules).SerializeToString(deterministic=True)
    tensors = {
        f"{number}.{name}": value
        for number, batch in enumerate(batches)
        for name, value in (batch.items() if isinstance(batch, Mapping) else (("", batch),))
        if isinstance(value, Tensor)
    }
    shapes = {name: str(tuple(tensor.shape)) for block in blocks for name, tensor in block.state_dict().items()}
    return RunRequest(
        rules=digest([(repr(options.sums).encode(), rules)]),
        batches=digest_of(tensors),
        shapes=digest((name.encode(), shape.encode()) for name, shape in shapes.items()),
    )


@torch.no_grad()
def _sample(model: nn.Module, blocks: tuple[Block, ...], batch: Batch) -> _Sample:
    hidden, calls = Recorder(blocks).record(lambda: run(model, batch))
    return _Sample(hidden, calls, padding_of(batch, model))


@dataclass(frozen=True, slots=True)
class _Procedure:
    """What the blocks are, and what is known of the batches so far."""

    blocks: tuple[Block, ...]
    samples: list[_Sample]
    saved: SavedBlocks
    disk_names: DiskNames
    options: SequentialOptions

    def prune(self, number: int) -> Procedure[PrunedBlock]:
        """Prune one block, or load it from the folder."""
        block = self.blocks[number]
        before = block.state_dict()
        finished = self.saved.tensors_of(block.path, before)
        if finished is not None:
            pruned, tensors = finished
            _load(before, tensors)
            return pruned
        recipe = rules_for(self.options.recipe, before)
        if not recipe.rules:
            return PrunedBlock(block.path, 0, 0, 0)
        statistics = self._collect(number)
        try:
            result = yield from _asked(before, recipe, statistics)
        except MismatchError as error:
            if error.reason == Reason.SELECTS_NOTHING and len(recipe.rules) == 1:
                return PrunedBlock(block.path, 0, 0, 0)
            raise
        digest_before = digest_of(before)
        _load(before, result.to_torch())
        tokens = sum(len(sample.padding.real_rows(sample.hidden)) for sample in self.samples)
        pruned = PrunedBlock(block.path, result.report.entries, result.report.pruned, tokens)
        self.saved.save(pruned, result, digest_before, digest_of(before))
        return pruned

    @torch.no_grad()
    def _collect(self, number: int) -> Statistics:
        block = self.blocks[number]
        collector = Collector(block.module, block.prefix, self.options.sums, Targets(), self.disk_names)
        with collector.hooks():
            for sample in self.samples:
                with collector.batch(sample.padding):
                    sample.calls[number](block.module, sample.hidden)
        return collector.statistics()

    @torch.no_grad()
    def advance(self, number: int) -> None:
        """Replace the hidden states by those that a pruned block makes of them."""
        for sample in self.samples:
            sample.hidden = sample.calls[number](self.blocks[number].module, sample.hidden)


def _asked(state_dict: Mapping[str, Tensor], recipe: pb.Recipe, statistics: Statistics) -> Procedure[Result]:
    """Ask for a block to be pruned, without statistics if none of the rules of this block uses them."""
    try:
        return (yield PruneRequest(state_dict, Recipe.from_message(recipe), statistics))
    except MismatchError as error:
        if error.reason != Reason.UNUSED_COMPANION:
            raise
    return (yield PruneRequest(state_dict, Recipe.from_message(recipe), None))


@torch.no_grad()
def _load(current: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors into those of a block, all or none."""
    for name, tensor in current.items():
        adaptor.check_changeable(name, tensor)
        if name not in tensors or tensors[name].shape != tensor.shape:
            raise tensor_error(Reason.SHAPE_MISMATCH, name, "the result has no tensor of this name and shape")
    for name, tensor in current.items():
        tensor.copy_(tensors[name])
