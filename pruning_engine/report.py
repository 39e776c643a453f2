"""What was done: one frozen value for each selected parameter, one for each group, and one for all; and what a person
should look at.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

NEARLY_EMPTY: Final = 0.99
"""Above this sparsity a tensor gets a warning."""


class WarningKind(StrEnum):
    """What a warning is about."""

    EMPTY = "empty"
    """Every entry of a selected parameter is zero or pruned."""
    NEARLY_EMPTY = "nearly_empty"
    """More than 99 % of its entries are."""
    HISTORY_NOT_READ = "history_not_read"
    """The history has a round that cannot be read: zeros that it left do not count as pruned."""
    ZEROS_NOT_PRUNED = "zeros_not_pruned"
    """Many selected entries were zero and counted as unpruned, so that they are pruned once more."""
    INPUT_CHANNELS = "input_channels"
    """A rule prunes channels along dim 0 of weights stored as (in, out), or whole experts."""
    WEIGHT_NORM = "weight_norm"
    """Of a weight-normed weight, whole channels are zero: the model computes 0 / 0 there."""
    NOTHING_PRUNED = "nothing_pruned"
    """A fraction rounded to no weight or channel anywhere, or a rule keeps all units."""
    LEFT_DENSE = "left_dense"
    """Tensors are not whole groups of n_of_m, and are left as they are."""
    UNITS_BY_WEIGHTS = "units_by_weights"
    """Channels of transformers are ranked by their weights alone, without statistics of what they compute."""
    SAME_WIDTH = "same_width"
    """Groups compete, but keep the same number of units, because one number in config.json counts those of all."""
    LEAST_KEPT = "least_kept"
    """An amount asks for more units than can be pruned: at least one of each group is kept, or `least_kept`."""
    DAMPING_INCREASED = "damping_increased"
    """A Gram matrix could not be factored with the damping that was asked for; more was added."""
    FEW_TOKENS = "few_tokens"
    """Statistics have fewer tokens than a tensor has inputs, so that an update fits noise."""
    TIED_HEAD = "tied_head"
    """Of an output head and embeddings of its shape, which may be tied, one is selected and the other is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWarning:
    """Something that the caller should look at; pruning succeeds all the same.

    `tensor`: the parameter that it is about; None if it is not about one. `message`: what, where, and what to do.
    """

    kind: WarningKind
    tensor: str | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTotals:
    """Sums over all parameters of a model, those that no rule selects included.

    `weight_bytes`: of the entries as they came. `zeros_before` and `zeros`: entries that were zero or pruned before the
    first rule, and that are in the result (those of removed units included); None if they were not counted.
    """

    tensors: int = 0
    entries: int = 0
    weight_bytes: int = 0
    selected_tensors: int = 0
    selected_entries: int = 0
    zeros_before: int | None = None
    zeros: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """The predicted error of a tensor where one rule prunes a part of its entries, `sparsity`, 0.0 to 1.0.

    `predicted_error`: ||(W - W') X|| / ||W X||; if it `is_weak`, without statistics, ||W - W'|| / ||W||.
    """

    rule: int
    sparsity: float
    predicted_error: float
    is_weak: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorReport:
    """What was done to one selected parameter.

    Units: entries. `pruned` includes `pruned_before`. `zeros_before` and `zeros` count what is zero or pruned, before
    the first rule and in the result; None if they were not counted. `threshold` is the largest score that the last rule
    that ranks by magnitude pruned (in global scope, among all its tensors); None if no rule ranked or nothing was
    pruned. `zero_lengths`: channels of a weight-normed weight that are all zero in the result.
    `masked_error`: the relative error of the layer's outputs that the statistics predict for the mask alone,
    `predicted_error` that of the result; None if no rule used statistics of the inputs. `damping`: what was added to
    the diagonal of its Gram matrix, times its mean; None: nothing was factored. `has_grown_damping`: more than was
    asked for. `has_few_tokens`: fewer than it has inputs. `curve`: of output format SCAN.
    """

    name: str
    entries: int
    pruned_before: int
    pruned: int
    threshold: float | None = None
    zeros_before: int | None = None
    zeros: int | None = None
    zero_lengths: int = 0
    masked_error: float | None = None
    predicted_error: float | None = None
    damping: float | None = None
    has_grown_damping: bool = False
    has_few_tokens: bool = False
    curve: tuple[CurvePoint, ...] = ()

    @property
    def sparsity(self) -> float:
        """The pruned part of all entries, 0.0 to 1.0; 0.0 for an empty tensor."""
        return self.pruned / self.entries if self.entries else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReport:
    """What one rule did to one group of coupled channels.

    `rule`: its position in the recipe. `kept`: the numbers of the kept units, ascending. `tensors`: the parameters
    whose channels are coupled, numbered ones as their tie has them. `config`: fields of the model's config.json, and
    their new values. `map`: the built-in map that found the group; empty: none. `scored`: the tensors that count in a
    unit's importance.
    """

    rule: int
    name: str
    units: int
    kept: tuple[int, ...]
    tensors: tuple[str, ...]
    config: Mapping[str, int]
    map: str = ""
    scored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was done to all selected parameters, in the order of the input.

    `seconds` is wall time by stage. `reproducible`: whether the same request gives the same bytes on every device.
    `groups` are in the order of rules, and for each rule in the order of names. `model` is about all parameters.
    `warnings` are the plan's, then those about the result.
    """

    tensors: tuple[TensorReport, ...]
    seconds: Mapping[str, float]
    device: str
    seed: int
    reproducible: bool
    groups: tuple[GroupReport, ...] = ()
    model: ModelTotals = ModelTotals()
    warnings: tuple[ModelWarning, ...] = ()

    @property
    def entries(self) -> int:
        """Entries of all selected parameters."""
        return sum(tensor.entries for tensor in self.tensors)

    @property
    def pruned(self) -> int:
        """Pruned entries of all selected parameters."""
        return sum(tensor.pruned for tensor in self.tensors)

    @property
    def sparsity(self) -> float:
        """The pruned part of all entries, 0.0 to 1.0."""
        return self.pruned / self.entries if self.entries else 0.0


def nearly_empty(tensors: Iterable[TensorReport], competing: Collection[str] = ()) -> Iterator[ModelWarning]:
    """Yield a warning for each parameter that is empty in the result, or more than 99 % sparse.

    Not for one that was so before, such as the biases of a new layer: no option of the call would change it.
    `competing`: the names of those that a rule of global scope ranks, which could be of local scope, or have bounds.
    """
    for tensor in tensors:
        if NEARLY_EMPTY * tensor.entries < _zeros(tensor) != tensor.zeros_before:
            yield _nearly_empty(tensor, competes=tensor.name in competing)


def _nearly_empty(tensor: TensorReport, *, competes: bool) -> ModelWarning:
    left = tensor.entries - _zeros(tensor)
    is_empty = left == 0
    state = "is all zero: none" if is_empty else f"is {_percent(1 - left / tensor.entries)} zero: {left:,}"
    advice = "set max_sparsity, rank each tensor on its own (local scope), " if competes else ""
    return ModelWarning(
        kind=WarningKind.EMPTY if is_empty else WarningKind.NEARLY_EMPTY,
        tensor=tensor.name,
        message=f"{tensor.name!r} {state} of its {tensor.entries:,} weights {'is' if left <= 1 else 'are'} left; "
        f"{advice}exclude it, or prune less",
    )


def _zeros(tensor: TensorReport) -> int:
    return tensor.pruned if tensor.zeros is None else tensor.zeros


def _percent(part: float) -> str:
    """Return a part above 99 % in percent, never rounded up to 100."""
    return f"{min(part, 0.9999):.2%}"
