"""A model that is pruned and evaluated, and what came of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from torch import nn

from pruning_client.calls.request import Rules
from pruning_client.errors import MismatchError
from pruning_client.results.report import Report
from pruning_client.torch.procedures import Procedure
from pruning_client.torch.search.result import Evaluation, FoundAmounts
from pruning_client.torch.search.trials import Evaluate, Trials

_SURELY_WORSE: Final = 0.9
"""A model that lost this much and evaluates better than before is evaluated the wrong way round."""


@dataclass(slots=True)
class Measuring:
    """A model that is pruned and evaluated, and what came of it."""

    trials: Trials
    model: nn.Module
    evaluate: Evaluate
    better: str
    dense: float = 0.0
    history: list[Evaluation] = field(default_factory=list)
    rules: dict[int, Rules] = field(default_factory=dict)

    def measure_dense(self, names: Sequence[str]) -> None:
        """Evaluate the model as it is."""
        self.dense = self._score()
        if not math.isfinite(self.dense):
            raise MismatchError(
                f"evaluate returned {self.dense} for the model as it is: there is nothing to compare with"
            )
        self.history.append(Evaluation(dict.fromkeys(names, 0.0), 0.0, self.dense, 0.0))

    def measure(
        self, rules: Rules, amounts: Mapping[str, float], *, is_probe: bool = False
    ) -> Procedure[tuple[Evaluation, Report]]:
        """Prune by rules, and evaluate."""
        report = yield from self.trials.prune(rules)
        score = self._score()
        loss = self.dense - score if self.better == "higher" else score - self.dense
        loss = loss if math.isfinite(loss) else math.inf
        if loss < 0 and min(amounts.values()) >= _SURELY_WORSE:
            other = "lower" if self.better == "higher" else "higher"
            raise MismatchError(
                f"evaluate returned {self.dense:g} for the model as it is and {score:g} with {report.sparsity:.0%} of "
                f"the selected weights pruned, better where {self.better} is; say better={other!r} if it is not"
            )
        evaluation = Evaluation(dict(amounts), report.sparsity, score, loss, is_probe)
        self.rules[len(self.history)] = rules
        self.history.append(evaluation)
        return evaluation, report

    def _score(self) -> float:
        score = self.evaluate(self.model)
        try:
            return float(score)
        except (TypeError, ValueError) as error:
            raise TypeError(f"evaluate returns a number for a model, got {score!r}") from error

    def found(self, max_loss: float) -> FoundAmounts:
        """Return the best of all evaluations."""
        within = [each for each in self.history if each.loss <= max_loss and not each.is_probe]
        best = max(within, key=lambda each: (each.sparsity, -each.loss))
        position = next(number for number, each in enumerate(self.history) if each is best)
        return FoundAmounts(best=best, rules=self.rules.get(position), history=tuple(self.history), max_loss=max_loss)
