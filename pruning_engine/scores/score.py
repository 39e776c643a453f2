"""What every score states about itself and does. Validation, planning and rankings know no single score."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NoReturn

from pruning_engine.checkpoints.parameters import AuxiliaryOf, TensorDescription
from pruning_engine.checkpoints.statistics import UsesStatistics
from pruning_engine.errors import CheckpointError, MismatchError, Reason
from pruning_engine.kernels.backend import Backend, Candidates, Values
from pruning_engine.kernels.magnitude_keys import domain_of
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.methods.choices import Choice
from pruning_engine.norm import Norm
from pruning_engine.scope import Scope
from pruning_engine.scores.parameters import ArrivedParameter, DescribedParameter
from pruning_engine.scores.unit_inputs import UnitRanks, UnitsToRank
from pruning_engine.selection.competition import Competition
from pruning_engine.selection.outcome import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringContext:
    """What the candidates of one rule share: its position in the recipe, the recipe's seed, and where to compute.

    `domain`: the dtype in which magnitudes are compared; see `Score.domain`.
    """

    position: int
    seed: int
    backend: Backend
    domain: str


class Score(UsesStatistics):
    """How a rule tells which entries are the least important. Scores are frozen values.

    A score that ranks orders entries, channels or coupled channels, so that a rule can prune an amount of them. One
    that does not rank decides by itself what is pruned: see `outcome`.
    """

    __slots__ = ()

    field: ClassVar[str]
    """Its name on the wire and in the paths of fields."""

    ranks: ClassVar[bool] = False
    """Whether it orders what may be pruned; if so, a rule takes an amount, a granularity and a scope."""

    is_random: ClassVar[bool] = False
    """Whether the recipe's seed decides."""

    default_scope: ClassVar[Scope] = Scope.LOCAL
    """The scope of a rule that states none."""

    ranks_channels: ClassVar[bool] = True
    """Whether it can rank whole channels, and not only entries."""

    ranks_values: ClassVar[bool] = True
    """Whether an entry's importance is a number of its own, so that those of several can be added and averaged."""

    ranks_units: ClassVar[bool] = False
    """Whether it ranks coupled channels by more than the norms of their weights: see `unit_ranks`."""

    lists_units: ClassVar[bool] = False
    """Whether the caller lists the units that are pruned, instead of ranking them."""

    scores_routers: ClassVar[bool] = False
    """Whether units are worth what their rows of the router are, and nothing else of them counts."""

    ranks_gated_units: ClassVar[bool] = False
    """Whether it ranks by the rows of a gate and an up projection, and so only units of MLPs with a gate."""

    compares_keys: ClassVar[bool] = True
    """Whether entries of several tensors compare by their keys as they are, without a `competition` of its own."""

    ranks_alone: ClassVar[bool] = False
    """Whether the key of an entry depends on its own value alone, so that blocks can stand for a whole tensor."""

    only_granularity: ClassVar[str | None] = None
    """The field of the one granularity that it goes with; None: any."""

    changes_weights: ClassVar[bool] = False
    """Whether its outcomes have new weights: it then needs an output format that carries them, and a second copy."""

    eliminates: ClassVar[bool] = False
    """Whether it finds the mask of a matrix and its remaining weights together, instead of ranking all entries: see
    `eliminated`."""

    takes_scales: ClassVar[bool] = True
    """Whether it can rank FP8 weights by code times scale."""

    auxiliary: ClassVar[tuple[str, ...]] = ()
    """The suffixes of the auxiliary tensors that it uses, `statistics` apart."""

    missing_hint: ClassVar[str] = ""
    """Said when a required auxiliary tensor is missing: what it is for, or how to do without."""

    @property
    def norm(self) -> Norm | None:
        """The norm that ranks channels, if one was asked for."""
        return None

    @property
    def input_dim(self) -> int | None:
        """The dim of the input channels, if the score says it."""
        return None

    @property
    def used_auxiliary(self) -> tuple[str, ...]:
        """The suffixes of the auxiliary tensors that it uses with these parameters, `statistics` apart."""
        return self.auxiliary

    @property
    def required(self) -> tuple[str, ...]:
        """The suffixes of the auxiliary tensors that every selected parameter must have."""
        return self.used_auxiliary

    @property
    def is_reproducible(self) -> bool:
        """Whether the same request prunes the same entries on every device."""
        return True

    # Checks

    def check(self, path: str) -> None:
        """Refuse values that are invalid for any checkpoint. `path`: of this score in the recipe.

        Raises: RecipeError with the path of the field at fault.
        """

    def check_granularity(self, granularity: str, path: str) -> None:
        """Refuse parameters that do not go with a granularity, by its field. `path`: of this score in the recipe.

        Raises: RecipeError with the path of the field at fault.
        """

    def check_available(self, path: str) -> None:
        """Refuse a score whose code is not installed. Raises: RecipeError."""

    def check_parameter(
        self,
        name: str,
        weight: TensorDescription,  # noqa: ARG002 - some scores need its shape
        auxiliary: AuxiliaryOf,
        path: str,
    ) -> None:
        """Refuse a parameter that lacks a required auxiliary tensor. `path`: of the rule; `auxiliary`: by suffix.

        Raises: MismatchError naming the parameter.
        """
        for suffix in self.required:
            if suffix not in auxiliary:
                raise MismatchError(
                    Reason.MISSING_COMPANION,
                    f"{path} selects {name!r} and needs the auxiliary tensor {name + suffix!r} ({self.missing_hint})",
                    field=f"{path}.score",
                    tensor=name,
                )

    # Ranking

    def ranked(self, auxiliary: AuxiliaryOf) -> str | None:  # noqa: ARG002 - most rank the weights
        """Return the suffix of the auxiliary tensor whose magnitudes are ranked; None: the weights are."""
        return None

    def domain(self, parameters: Sequence[DescribedParameter]) -> str:
        """Return the dtype in which the magnitudes of these parameters are compared."""
        return domain_of({self._ranked_dtype(parameter) for parameter in parameters})

    def candidates(self, parameter: ArrivedParameter, context: ScoringContext) -> Candidates:
        """Return the unpruned entries, in the order of their importance.

        Raises: CheckpointError if an auxiliary tensor holds a value that the score does not allow.
        """
        suffix = self.ranked(parameter.planned.auxiliary)
        flat = parameter.values if suffix is None else parameter.auxiliary(suffix)
        return self.alone(flat, parameter.mask, context)

    def alone(self, values: Values, mask: PackedMask, context: ScoringContext) -> Candidates:
        """Return unpruned entries by their own values, of scores that rank so."""
        return context.backend.magnitudes(values, context.domain, mask)

    def note(self, candidates: Candidates, domain: str) -> object:  # noqa: ARG002 - most compare keys as they are
        """Return what is kept of a tensor in global scope until all have arrived, for `competition`.

        Raises: NanKeyError if a candidate is NaN.
        """
        return None

    def competition(self, tensors: Sequence[Candidates], notes: Sequence[object]) -> Competition | None:  # noqa: ARG002
        """Return how tensors compete in global scope, and what was noted of each; None: by their keys."""
        return None

    def eliminated(
        self,
        parameter: ArrivedParameter,
        choices: Sequence[Choice],
    ) -> Outcome:
        """Return what a score leaves that finds mask and weights together.

        Raises: CheckpointError for unusable statistics.
        """
        raise NotImplementedError(f"{type(self).__name__} does not eliminate")

    def unit_ranks(self, units: UnitsToRank) -> UnitRanks:
        """Return what ranks the units of a group. Raises: CheckpointError for unusable statistics or scores."""
        raise NotImplementedError(f"{type(self).__name__} does not rank units")

    def ranking_bytes(self, parameter: DescribedParameter) -> int:  # noqa: ARG002 - what most take
        """Return the bytes that the candidates of one tensor take beyond their masks."""
        return 0

    def refuse_nan(self, parameter: DescribedParameter, position: int) -> NoReturn:
        """Refuse NaN among what is ranked. Raises: CheckpointError."""
        suffix = self.ranked(parameter.auxiliary)
        name = parameter.weight if suffix is None else parameter.auxiliary[suffix].name
        raise CheckpointError(
            Reason.NAN_WEIGHTS if suffix is None else Reason.NAN_SCORES,
            f"tensor {name!r} holds NaN among the entries that rules[{position}] ranks; NaN has no rank",
            tensor=name,
        )

    # Without a ranking

    def outcome(self, parameter: ArrivedParameter) -> Outcome:
        """Return what a score that does not rank decides; by default nothing is pruned."""
        return Outcome(parameter.mask)

    def _ranked_dtype(self, parameter: DescribedParameter) -> str:
        suffix = self.ranked(parameter.auxiliary)
        return parameter.value_dtype if suffix is None else parameter.auxiliary[suffix].dtype
