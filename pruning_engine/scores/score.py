"""What every score states about itself. Validation, planning and the service read this, and know no single score."""

from typing import ClassVar

from pruning_engine.checkpoints.parameters import AuxiliaryOf, TensorDescription
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.norm import Norm


class Score:
    """How a rule tells which entries are the least important. Scores are frozen values.

    A score that ranks orders entries, channels or coupled channels, so that a rule can prune an amount of them. One
    that does not rank decides by itself what is pruned.
    """

    __slots__ = ()

    field: ClassVar[str]
    """Its name on the wire and in the paths of fields."""

    ranks: ClassVar[bool] = False
    """Whether it orders what may be pruned; if so, a rule takes an amount, a granularity and a scope."""

    is_random: ClassVar[bool] = False
    """Whether the recipe's seed decides."""

    only_granularity: ClassVar[str | None] = None
    """The field of the one granularity that it goes with; None: any."""

    auxiliary: ClassVar[tuple[str, ...]] = ()
    """The suffixes of the auxiliary tensors that it uses."""

    missing_hint: ClassVar[str] = ""
    """Said when a required auxiliary tensor is missing: what it is for, or how to do without."""

    @property
    def norm(self) -> Norm | None:
        """The norm that ranks channels, if one was asked for."""
        return None

    @property
    def required(self) -> tuple[str, ...]:
        """The suffixes of the auxiliary tensors that every selected parameter must have."""
        return self.auxiliary

    @property
    def is_reproducible(self) -> bool:
        """Whether the same request prunes the same entries on every device."""
        return True

    def check(self, path: str) -> None:
        """Refuse values that are invalid for any checkpoint. `path`: of this score in the recipe.

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
