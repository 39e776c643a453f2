"""A ranking that leaves its parameters as they are."""

from collections.abc import Sequence

from pruning_engine.report import GroupReport
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.selection.outcome import Outcome


class NothingPruned:
    """Prunes nothing: of tensors that a rule selects and its granularity does not fit, where that is allowed."""

    reports: Sequence[GroupReport] = ()

    def observe(self, parameter: ArrivedParameter) -> None:
        """Nothing is ranked."""

    def decide(self, parameters: Sequence[ArrivedParameter]) -> list[Outcome]:
        """Leave each mask as it is."""
        return [Outcome(parameter.mask) for parameter in parameters]
