"""What every update of the remaining weights states about itself. Validation, planning and execution know no single
one."""

from dataclasses import dataclass
from typing import ClassVar

from pruning_engine.checkpoints.statistics import UsesStatistics
from pruning_engine.kernels.input_matrix import Matrices
from pruning_engine.scores.layer import Flags, Layer
from pruning_engine.selection.outcome import EliminatedWeights


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NewWeights:
    """The weights of a layer after an update, (E, R, C), and the damping that was asked for and that was used."""

    weight: Matrices
    asked: float
    damping: float


class Update(UsesStatistics):
    """How a rule changes the weights that it leaves unpruned. Updates are frozen values."""

    __slots__ = ()

    field: ClassVar[str]
    """Its name on the wire and in the paths of fields."""

    changes_weights: ClassVar[bool] = True
    """Whether weights get new values."""

    takes_over_elimination: ClassVar[bool] = False
    """Whether it frees the factors of H that the rule's score made, and writes over the weights that this left."""

    for_units: ClassVar[bool] = False
    """Whether it makes up for units: in the tensors that consume them."""

    changes_biases: ClassVar[bool] = False
    """Whether the bias of the layer gets new values."""

    def new_weights(
        self,
        layer: Layer,  # noqa: ARG002 - of those that change weights
        keep: Flags,  # noqa: ARG002
        eliminated: EliminatedWeights | None,  # noqa: ARG002
    ) -> NewWeights | None:
        """Return new weights for a layer of which only `keep`, (E, R, C), remain; None: they stay as they are.

        `eliminated`: what the rule's score left of the weights, if it eliminates columns.
        Raises: CheckpointError if the statistics cannot be used.
        """
        return None

    def new_weights_of_units(
        self,
        layer: Layer,  # noqa: ARG002 - of those that change weights
        keep: Flags,  # noqa: ARG002
    ) -> NewWeights | None:
        """Return new weights for a layer whose inputs were pruned as units, as `new_weights` does."""
        return None

    def check(self, path: str) -> None:
        """Refuse values that are invalid for any checkpoint. `path`: of this update in the recipe.

        Raises: RecipeError with the path of the field at fault.
        """
