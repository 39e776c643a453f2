"""Which statistics a call sends: those that its recipe uses, as a plan says that is made with all of them.

A recipe names scores and updates, and the server knows what these need. So a call with statistics begins with a plan,
which takes the header alone: it describes all statistics of the model. The call itself then has those of them that
`TensorPlan.auxiliary` lists, each directly before the first weight that uses it.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Final

from pruning_client.calls.request import PruneRequestSpec
from pruning_client.calls.unused_statistics import check_used, of_other_weights
from pruning_client.errors import MismatchError
from pruning_client.results.plan import Plan
from pruning_client.statistics.attached import SourceWithStatistics, renamed, statistics_of
from pruning_client.statistics.value import WeightStatistics
from pruning_proto.names import IN_COUNT, IN_GRAM, INPUTS, ORIG, STATISTICS
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

if TYPE_CHECKING:
    from pruning_client.statistics.statistics import Statistics
    from pruning_client.statistics.tensor import StatisticsTensor

_OF_MISSING: Final = (Reason.MISSING_COMPANION, Reason.INPUT_DIM_UNKNOWN)

_MOST_ALIASES: Final = 8000
"""A server takes 10,000. Beyond these, weights that share a statistic are sent it each."""


def with_all_statistics(request: PruneRequestSpec) -> PruneRequestSpec:
    """Return the request of a plan with all statistics of the model. Raises: MismatchError if it has none of them."""
    assert request.statistics is not None  # noqa: S101 - the caller's check
    names = statistics_of(request.source, request.statistics)
    if not names:
        examples = ", ".join(repr(name) for name in request.statistics.weights[:3])
        raise MismatchError(
            f"the statistics belong to another model: none of its tensors has any of them; they are of {examples}, "
            "...; names are those in the model's files, or of the model that they were collected from"
        )
    options = replace(
        request.options,
        output=pb.OUTPUT_FORM_PLAN,
        digests=False,
        canonical_zero=False,
        compression=pb.COMPRESSION_UNSPECIFIED,
        scan_sparsities=(),
    )
    warnings = of_other_weights(request.source, request.statistics)
    planned = replace(request, options=options, skips_unused=True, warnings=warnings)
    return _attached(planned, names, dict.fromkeys(names, STATISTICS))


def with_used_statistics(request: PruneRequestSpec, plan: Plan) -> PruneRequestSpec:
    """Return a request with the statistics that its recipe uses, by the plan with all of them.

    Raises: MismatchError if it uses none.
    """
    assert request.statistics is not None  # noqa: S101 - the caller's check
    check_used(request, plan)
    names = statistics_of(request.source, request.statistics)
    used = {tensor.name: tensor.auxiliary for tensor in plan.tensors if tensor.auxiliary}
    if request.options.output == pb.OUTPUT_FORM_SCAN:
        selected = [tensor.name for tensor in plan.tensors if tensor.rules and tensor.name in names]
        used |= {name: (*used.get(name, ()), *_predicting(request.statistics, names[name])) for name in selected}
    warned = replace(request, warnings=of_other_weights(request.source, request.statistics))
    return _attached(warned, names, used)


def _predicting(statistics: "Statistics", known: str) -> tuple[str, ...]:
    """Return the suffixes of the statistics of a weight that errors are predicted by, whatever the rules."""
    has_gram = statistics.for_weights((known,), (IN_GRAM,)).tensors
    return (IN_GRAM if has_gram else INPUTS, IN_COUNT)


@contextmanager
def explaining_missing(request: PruneRequestSpec) -> Iterator[None]:
    """Add to the error of a weight without statistics why they lack it."""
    try:
        yield
    except MismatchError as error:
        tensor = error.metadata.get("tensor", "")
        reason = {} if request.statistics is None else request.statistics.skipped
        if error.reason in _OF_MISSING and tensor in reason:
            error.add_note(f"the statistics have none for {tensor!r}: {reason[tensor]}")
        raise


def _attached(
    request: PruneRequestSpec, names: Mapping[str, str], wanted: Mapping[str, Collection[str]]
) -> PruneRequestSpec:
    """Return a request with these suffixes of the statistics of each weight; `names` are those in the statistics."""
    assert request.statistics is not None  # noqa: S101 - the caller's check
    tensors: dict[str, StatisticsTensor] = {}
    aliases: dict[str, str] = {}
    for suffix in STATISTICS:
        weights = {name: known for name, known in names.items() if suffix in wanted.get(name, ())}
        found = renamed(_found(request, weights, suffix, len(aliases)), weights)
        tensors |= found.tensors
        aliases |= found.aliases
    attached = {name.rpartition(":")[0] for name in (*tensors, *aliases)}
    return replace(
        request,
        source=SourceWithStatistics(request.source, tensors),
        statistics=None,
        auxiliary_aliases=aliases,
        input_dims=_input_dims(request, {name: names[name] for name in names if name in attached}),
    )


def _found(request: PruneRequestSpec, weights: Mapping[str, str], suffix: str, count: int) -> WeightStatistics:
    """Return one suffix of the statistics of these weights; without aliases once `count` and these are too many."""
    assert request.statistics is not None  # noqa: S101 - the caller's check
    found = request.statistics.for_weights(weights.values(), (suffix,))
    if count + len(found.aliases) <= _MOST_ALIASES:
        return found
    each = {name: request.statistics.for_weights((name,), (suffix,)).tensors for name in weights.values()}
    return WeightStatistics({key: tensor for own in each.values() for key, tensor in own.items()}, {})


def _input_dims(request: PruneRequestSpec, names: Mapping[str, str]) -> dict[str, int]:
    """Return the input dims of weights that have more than one of the size of their input."""
    assert request.statistics is not None  # noqa: S101 - the caller's check
    shapes = {entry.name: entry.shape for entry in request.source.layout.tensors}
    found = {}
    for name, known in names.items():
        dim = request.statistics.input_dims.get(known)
        shape = shapes.get(name) or shapes.get(name + ORIG, ())
        if dim is not None and dim < len(shape) and not _is_unique(shape, dim):
            found[name] = dim
    return found


def _is_unique(shape: tuple[int, ...], dim: int) -> bool:
    """Whether no other dim of a matrix, or of a stack of them, has its size; others may be read in several ways."""
    return len(shape) == 2 and shape[0] != shape[1] and prod(shape) > 0 and dim in {0, 1}
