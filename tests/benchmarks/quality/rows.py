"""The targets, one for each amount and model, and whether what was measured reaches them."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from tests.benchmarks.quality.amounts import Amount, NOfM, named

Kind: TypeAlias = Literal["quality", "loss ratio", "perplexity ratio"]
"""What is judged: the quality itself, the loss over SparseGPT's, or the perplexity over the dense one."""

CHANNELS: Final = "half of the FFN channels"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. Of qualities more is better, of ratios less."""

    model: Literal["minilm", "decoder"]
    amount: Amount | None
    kind: Kind
    must: float
    goal: float

    @property
    def name(self) -> str:
        """Return what the command line calls it: `minilm-50`, `decoder-2:4`, `minilm-ffn`."""
        if self.amount is None:
            return f"{self.model}-ffn"
        return f"{self.model}-{named(self.amount).removesuffix(' %')}"

    @property
    def work(self) -> str:
        """Return what is done to the model."""
        return CHANNELS if self.amount is None else named(self.amount)

    def verdict(self, measured: float) -> str:
        """Return "goal", "must" or "MISSED"."""
        sign = -1 if self.kind == "quality" else 1
        if sign * measured <= sign * self.goal:
            return "goal"
        return "must" if sign * measured <= sign * self.must else "MISSED"


ROWS: Final = (
    Row("minilm", 0.5, "quality", 0.94, 0.955),
    Row("minilm", 0.7, "quality", 0.82, 0.86),
    Row("minilm", NOfM(2, 4), "loss ratio", 1.0, 0.5),
    Row("minilm", None, "quality", 0.925, 0.94),
    *(Row("decoder", amount, "loss ratio", 0.7, 0.5) for amount in (0.5, 0.6, 0.7, NOfM(2, 4))),
    Row("decoder", None, "perplexity ratio", 36.5 / 33.2, 35.5 / 33.2),
)
"""The last one's numbers were set on another decoder, whose dense perplexity was 33.2."""
