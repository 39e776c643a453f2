"""Which dim of each weight is the input of its layer, for the rules that need it.

A rule says it, else the request by the weight's name, else the architecture (model_types.py), else a built-in map of
coupled channels, else the shapes of the statistics if they fit one dim only. Nothing is guessed: where a rule needs it
and none of these says it, the rule is refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NoReturn

from pruning_engine.checkpoints.auxiliary_tensors import fitting_input_dims
from pruning_engine.checkpoints.parameters import NO_AUXILIARY, AuxiliaryOf, Parameters, TensorDescription
from pruning_engine.errors import MismatchError, Reason, RequestPart
from pruning_engine.planning.auxiliary_checks import parts_with_statistics, used_auxiliary
from pruning_engine.planning.model_types import input_dim_of
from pruning_engine.planning.options import PlanOptions
from pruning_engine.recipe import Recipe, Rule, Scope
from pruning_proto.names import IN_COUNT, IN_NORM, STATISTICS

_NO_DIMS: Final[Mapping[str, int]] = MappingProxyType({})
_LEAST_DIMS: Final = 2
_STACKED_DIMS: Final = 3
_OF_INPUTS: Final = frozenset({IN_NORM, *STATISTICS}) - {IN_COUNT}
"""The auxiliary tensors whose shape depends on the number of input channels."""


def find_input_dims(
    recipe: Recipe,
    parameters: Parameters,
    selected: Sequence[tuple[int, ...]],
    options: PlanOptions,
    of_maps: Mapping[str, int] = _NO_DIMS,
) -> dict[str, int]:
    """Return the dim of the input channels, from 0, of each parameter of which a rule needs or uses it.

    `of_maps`: those that built-in maps of coupled channels know.
    Raises: MismatchError for a parameter of which a rule needs it and nothing says it, for a dim that a tensor does not
        have, and for statistics that do not fit the dim.
    """
    _check_names(options, parameters)
    users = {rules: [position for position in rules if _may_use(recipe.rules[position])] for rules in set(selected)}
    found = {}
    for name, rules in zip(parameters.weights, selected, strict=True):
        if users[rules]:
            weight = _Weight(name, parameters, options, of_maps.get(name))
            dim = weight.input_dim([(position, recipe.rules[position]) for position in users[rules]])
            if dim is not None:
                found[name] = dim
    return found


def _check_names(options: PlanOptions, parameters: Parameters) -> None:
    if not options.input_dims:
        return
    names = {each for name in parameters.weights for each in parameters.names(name)}
    for name in options.input_dims:
        if name not in names:
            field = f'input_dims["{name}"]'
            raise MismatchError(
                Reason.SELECTS_NOTHING,
                f"{field}: the file has no weight of this name; leave it out",
                field=field,
                part=RequestPart.OPTIONS,
                tensor=name,
            )


def _may_use(rule: Rule) -> bool:
    """Whether the input dim of a parameter makes a difference to a rule."""
    parts = (part for _, part in parts_with_statistics(rule))
    uses_statistics = any(part.statistics or part.optional_statistics for part in parts)
    return (
        uses_statistics
        or rule.granularity.uses_input_dim
        or rule.scope is Scope.OUTPUT_CHANNEL
        or not _OF_INPUTS.isdisjoint(rule.score.auxiliary)
        or rule.swaps is not None
        or rule.update is not None
    )


@dataclass(frozen=True, slots=True)
class _Said:
    """A dim from 0, and what says it: `field` is its path, None for the architecture."""

    dim: int
    source: str
    field: str | None = None
    part: RequestPart = RequestPart.RECIPE


class _Weight:
    """One weight, whose input dim is looked for."""

    def __init__(self, name: str, parameters: Parameters, options: PlanOptions, of_map: int | None) -> None:
        self._name = name
        self._of_map = of_map
        self._names = parameters.names(name)
        self._spec: TensorDescription = parameters.weights[name]
        self._auxiliary: AuxiliaryOf = parameters.auxiliary.get(name, NO_AUXILIARY)
        self._options = options
        self._shape = list(self._spec.shape)

    def input_dim(self, rules: Sequence[tuple[int, Rule]]) -> int | None:
        """Return the dim, from 0; None where no rule needs it and nothing says it. Raises: MismatchError."""
        statistics = [
            self._auxiliary[suffix]
            for suffix in used_auxiliary([rule for _, rule in rules], self._auxiliary)
            if suffix in _OF_INPUTS
        ]
        needing = next((position for position, rule in rules if self._needs(rule)), None)
        if len(self._spec.shape) < _LEAST_DIMS:
            if needing is not None:
                self._refuse_dims(f"rules[{needing}]")
            return None
        said = self._said(rules)
        if said is not None:
            self._check_statistics(said, statistics)
            return said.dim
        fitting = self._fitting(statistics) if statistics else ()
        if len(fitting) == 1:
            return fitting[0]
        if needing is not None:
            self._refuse_unknown(needing, fitting or self._possible())
        return None

    def _needs(self, rule: Rule) -> bool:
        """Whether a rule cannot act on the weight without its input dim; one of units can without statistics of it."""
        used = used_auxiliary([rule], self._auxiliary) & _OF_INPUTS
        acts_on_all = rule.granularity.takes_select
        if acts_on_all and not used and any(part.statistics for _, part in parts_with_statistics(rule)):
            return False  # it is refused for what it lacks
        return bool(used) or (
            acts_on_all and (rule.scope is Scope.OUTPUT_CHANNEL or rule.swaps is not None or rule.update is not None)
        )

    def _said(self, rules: Sequence[tuple[int, Rule]]) -> _Said | None:
        by_rules = list(self._by_rules(rules))
        for other in by_rules[1:]:
            if other.dim != by_rules[0].dim:
                raise MismatchError(
                    Reason.INPUT_DIM_UNKNOWN,
                    f"{by_rules[0].source} says that the input of tensor {self._name!r} is dim {by_rules[0].dim}, and "
                    f"{other.source} that it is dim {other.dim}; a tensor has one",
                    field=other.source,
                    tensor=self._name,
                )
        if by_rules:
            return by_rules[0]
        for name in self._names:
            if name in self._options.input_dims:
                source = f'input_dims["{name}"]'
                dim = self._normalized(self._options.input_dims[name], source, RequestPart.OPTIONS)
                return _Said(dim, source, source, RequestPart.OPTIONS)
        dims = (input_dim_of(self._options.model_type, name, self._spec.shape) for name in self._names)
        known = next((dim for dim in dims if dim is not None), None)
        if known is not None:
            return _Said(known, "model_type")
        return None if self._of_map is None else _Said(self._of_map, "the map of coupled channels")

    def _by_rules(self, rules: Sequence[tuple[int, Rule]]) -> Iterator[_Said]:
        for position, rule in rules:
            for dim, path in (
                (rule.input_dim, f"rules[{position}].input_dim"),
                (rule.score.input_dim, f"rules[{position}].score.{rule.score.field}.dim"),
            ):
                if dim is not None:
                    yield _Said(self._normalized(dim, path), path, path)

    def _normalized(self, dim: int, field: str, part: RequestPart = RequestPart.RECIPE) -> int:
        dims = len(self._spec.shape)
        if not -dims <= dim < dims:
            raise MismatchError(
                Reason.DIM_OUT_OF_RANGE,
                f"{field}: tensor {self._name!r} of shape {self._shape} has no input channels along dim {dim}; "
                f"allowed dims: {-dims} to {dims - 1}",
                field=field,
                part=part,
                tensor=self._name,
            )
        return dim % dims

    def _possible(self) -> tuple[int, ...]:
        """Return the dims that may be the input of a weight of this shape: of 3 dims it may be one of experts."""
        return (1, 2) if len(self._spec.shape) == _STACKED_DIMS else (0, 1)

    def _fitting(self, statistics: Sequence[TensorDescription]) -> tuple[int, ...]:
        """Return the dims whose input channels all statistics have."""
        fitting = set(range(len(self._spec.shape)))
        for each in statistics:
            fitting &= fitting_input_dims(_suffix(each.name), each.shape, self._spec.shape)
        return tuple(sorted(fitting))

    def _check_statistics(self, said: _Said, statistics: Sequence[TensorDescription]) -> None:
        for each in statistics:
            fitting = fitting_input_dims(_suffix(each.name), each.shape, self._spec.shape)
            if said.dim in fitting:
                continue
            hint = f"set input_dim to {' or '.join(map(str, sorted(fitting)))}, or send" if fitting else "send"
            raise MismatchError(
                Reason.SHAPE_MISMATCH,
                f"auxiliary tensor {each.name!r} of shape {list(each.shape)} does not fit tensor {self._name!r} of "
                f"shape {self._shape}, whose input channels are along dim {said.dim} ({said.source} says so); {hint} "
                f"statistics of these channels",
                field=said.field,
                part=said.part,
                tensor=each.name,
            )

    def _refuse_dims(self, path: str) -> NoReturn:
        raise MismatchError(
            Reason.DIM_OUT_OF_RANGE,
            f"{path} selects tensor {self._name!r} of shape {self._shape}, which has no input channels: they need "
            f"2 dims or more; leave it out of the rule",
            field=f"{path}.select",
            tensor=self._name,
        )

    def _refuse_unknown(self, position: int, candidates: Sequence[int]) -> NoReturn:
        either = " or ".join(str(dim) for dim in candidates)
        known = self._options.model_type
        architecture = f"model_type {known!r} does not say" if known else "the request has no model_type"
        raise MismatchError(
            Reason.INPUT_DIM_UNKNOWN,
            f"rules[{position}] needs to know which dim of tensor {self._name!r} of shape {self._shape} is the input "
            f"of its layer: it may be dim {either}, and {architecture}; set input_dim in the rule (1 for Linear and "
            f'Conv, 0 for Conv1D of GPT-2), or input_dims["{self._name}"] in the request',
            field=f"rules[{position}].input_dim",
            tensor=self._name,
        )


def _suffix(name: str) -> str:
    return name[name.rfind(":") :]
