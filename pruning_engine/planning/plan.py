"""A plan: each parameter with the rules that select it, what it leaves as, and what all of it takes. Holds no data."""

from dataclasses import dataclass

from pruning_engine.checkpoints.parameters import AuxiliaryOf, TensorDescription, TensorSpec
from pruning_engine.planning.memory.profile import MemoryStep
from pruning_engine.planning.selectors.not_selected import NotSelected
from pruning_engine.planning.stages import Stage
from pruning_engine.planning.surgery.surgery import Surgery
from pruning_engine.recipe import OutputForm, Prior, Recipe, Rule
from pruning_engine.report import GroupReport, ModelTotals, ModelWarning


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedParameter:
    """One parameter: the tensors that it is made of, which rules act on it, and the tensors that it leaves as.

    `spec`: of its weight, whose name is `w` or `w_orig`. `pair_mask`: of `w_mask`. `auxiliary`: by suffix. `scale`: of
    an FP8 weight, by which its codes are multiplied. `rules` are positions in the recipe; if there are none,
    `not_selected` says why. `stages` are positions among the plan's. `passes_through`: its results are its sources,
    byte for byte, or it has none. In output format REMOVED `results` have the shapes that they have if nothing is
    pruned. `was_pruned`: an earlier round pruned it, and it has no mask. `length_dim`: of a weight-normed weight, the
    dim along which each position has a length of its own. `input_dim`: the dim of its input channels, from 0, where a
    rule needs it or differs by it. `used_auxiliary`: the suffixes of the auxiliary tensors that its rules use.
    """

    name: str
    spec: TensorDescription
    entries: int
    pair_mask: TensorDescription | None
    auxiliary: AuxiliaryOf
    scale: TensorDescription | None
    aliases: tuple[str, ...]
    rules: tuple[int, ...]
    stages: tuple[int, ...]
    not_selected: NotSelected | None
    results: tuple[TensorSpec, ...]
    passes_through: bool
    was_pruned: bool = False
    length_dim: int | None = None
    input_dim: int | None = None
    used_auxiliary: tuple[str, ...] = ()

    @property
    def dtype(self) -> str:
        """The dtype of its weight."""
        return self.spec.dtype

    @property
    def value_dtype(self) -> str:
        """The dtype that has the values of its weight exactly: code times scale takes fp64."""
        return self.dtype if self.scale is None else "F64"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its weight."""
        return self.spec.shape

    @property
    def weight(self) -> str:
        """The name of its weight in the input."""
        return self.spec.name

    @property
    def tensors(self) -> tuple[TensorDescription, ...]:
        """Every input tensor that makes it up, the weight first."""
        pair = () if self.pair_mask is None else (self.pair_mask,)
        scale = () if self.scale is None else (self.scale,)
        return (self.spec, *pair, *self.auxiliary.values(), *scale)

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the input tensors that make it up, the weight first."""
        return tuple(tensor.name for tensor in self.tensors)

    @property
    def carried(self) -> tuple[str, ...]:
        """The names of its sources that can be results as they are: all but its auxiliary tensors."""
        parts = (self.spec, self.pair_mask, self.scale)
        return tuple(part.name for part in parts if part is not None)

    @property
    def mask(self) -> str | None:
        """The name of the mask of a pair `w_orig` and `w_mask`."""
        return None if self.pair_mask is None else self.pair_mask.name

    def counts_zeros(self, rule: Rule) -> bool:
        """Whether its zeros count as pruned under a rule."""
        counts = rule.prior is Prior.ZEROS or (rule.prior is Prior.HISTORY and self.was_pruned)
        return counts and rule.granularity.counts_zeros_of(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be done with each parameter, in the order of the input, and what it takes.

    `stages`: the rules in order; a rule of coupled channels has one for each set of groups that is decided together.
    `memory_profile`: what is held as the tensors arrive in the given order. `results`: the tensors of the result, in
    order. `reproducible`: whether the same request gives the same bytes on every device. `model`: sums over all
    parameters. `warnings`: what can be said before any data. `surgery`: what has been left out before all else.
    `groups`: of all rules, with the units that are kept where they are known before any data. `scan_sparsities`: of
    output format SCAN, ascending. `searched`: the stages whose cuts are found by reading the tensors several times, in
    order, so that these are not held; see execution/readings.
    """

    recipe: Recipe
    output: OutputForm
    parameters: tuple[PlannedParameter, ...]
    stages: tuple[Stage, ...]
    results: tuple[TensorSpec, ...]
    memory_profile: tuple[MemoryStep, ...]
    reproducible: bool
    model: ModelTotals
    surgery: Surgery
    groups: tuple[GroupReport, ...] = ()
    warnings: tuple[ModelWarning, ...] = ()
    scan_sparsities: tuple[float, ...] = ()
    searched: tuple[int, ...] = ()

    @property
    def has_known_sizes(self) -> bool:
        """Whether the sizes of its results are known before any data: no units are removed that depend on these."""
        return self.output is not OutputForm.REMOVED or not any(stage.groups for stage in self.stages)

    @property
    def peak_bytes(self) -> int:
        """The most bytes of tensors held at one time."""
        return max((step.held_bytes for step in self.memory_profile), default=0)
