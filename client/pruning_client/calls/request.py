"""What a verb of a client asks, and what it gives back: the same for `Client` and `AsyncClient`."""

from os import PathLike
from typing import Protocol, TypeAlias

from pruning_client.calls.exchange import Outcome, OutputForm, PruneRequestSpec, Rules, recipe_of
from pruning_client.checkpoints.file import FileSource, Source
from pruning_client.checkpoints.memory import Block
from pruning_client.checkpoints.packed import PackedSource, is_packed
from pruning_client.checkpoints.shards import ShardsSource, is_index
from pruning_client.checkpoints.state_dict import StateDict, StateDictSource
from pruning_client.errors import ProtocolError
from pruning_client.results.report import Report
from pruning_client.results.result import Result
from pruning_proto.framing import Data

Path: TypeAlias = str | PathLike[str]


def asked(  # noqa: PLR0913, PLR0917 - what a caller may ask
    source: StateDict | Path,
    rules: Rules,
    output: OutputForm,
    seed: int | None,
    importance_scores: StateDict | None = None,
    masks: StateDict | None = None,
    digests: bool = False,
    canonical_zero: bool = False,
) -> PruneRequestSpec:
    """Give what is asked of a state dict or a file; a seed that is needed and not given is drawn here.

    Raises: PruningError, OSError, TypeError, ValueError for what makes no sense.
    """
    return PruneRequestSpec(
        source=_source(source, importance_scores, masks),
        recipe=recipe_of(rules, seed),
        output=output,
        digests=digests,
        canonical_zero=canonical_zero,
    )


def asked_of_file(  # noqa: PLR0913, PLR0917 - what a caller may ask
    source: Path, rules: Rules, output: OutputForm, seed: int | None, digests: bool, canonical_zero: bool
) -> PruneRequestSpec:
    """Give what is asked of a file. Raises: as `asked`."""
    return PruneRequestSpec(
        source=_file(source),
        recipe=recipe_of(rules, seed),
        output=output,
        digests=digests,
        canonical_zero=canonical_zero,
    )


def result_of(what: PruneRequestSpec, outcome: Outcome, block: Block) -> Result:
    """Give the result of a call whose bytes are in `block`."""
    if outcome.layout is None:
        raise ProtocolError("the call ended well, but without a result")
    source = what.source
    return Result(
        plan=outcome.plan,
        report=whole_report(outcome),
        header=outcome.header,
        layout=outcome.layout,
        buffer=block.buffer,
        aliases=source.aliases,
        names=source.names,
        framework=source.framework if isinstance(source, StateDictSource) else None,
    )


def whole_report(outcome: Outcome) -> Report:
    """Give the report of a call."""
    if outcome.report is None:
        raise ProtocolError("the call ended well, but without the report")
    return outcome.report


class Sink(Protocol):
    """Where a result's bytes go."""

    def write(self, data: Data) -> object:
        """Take the bytes that follow."""


class NoResultSink:
    """Takes the bytes of a result that was not asked for; `Exchange` refuses them before they come here."""

    def write(self, data: Data) -> None:
        """Refuse them."""
        raise ProtocolError(f"the server sent {len(data)} bytes of a result that was not asked for")


def _source(source: StateDict | Path, importance_scores: StateDict | None, masks: StateDict | None) -> Source:
    if not isinstance(source, str | PathLike):
        return StateDictSource(source, importance_scores, masks)
    if importance_scores or masks:
        raise ValueError("a file brings its scores and masks along, as `w:scores` and `w:mask` beside `w`")
    return _file(source)


def _file(path: Path) -> Source:
    """Give a file, or those that an index names; a packed one as what it was made of: rules are about that."""
    if is_index(path):
        return ShardsSource(path)
    file = FileSource(path)
    return PackedSource(file) if is_packed(file.layout) else file
