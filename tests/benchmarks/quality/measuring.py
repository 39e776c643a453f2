"""One model's methods, measured: a line for each method and amount, then a line for each target."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from pruning_client import Client, Statistics, rules
from pruning_client.torch import collect_statistics
from tests.benchmarks.quality.amounts import part_of, pattern_of
from tests.benchmarks.quality.methods import (
    CHANNELS,
    GATED_CHANNELS,
    GRAMS,
    NORMS,
    PEERS,
    REFITS,
    pruned_by_peer,
    pruned_by_service,
)
from tests.benchmarks.quality.rows import Row
from tests.benchmarks.quality.subjects import Subject, grams

_PEER: Final = " (peer)"
_SPARSEGPT: Final = f"SparseGPT{_PEER}"
"""What losses are compared with."""

_MOST_OF_AUTO: Final = 1.01
"""How much worse than the best method the automatic one may be."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A model, the statistics of both sides, and where the service is."""

    client: Client
    subject: Subject
    norms: Statistics
    statistics: Statistics
    with_gradients: Statistics
    """The same, and the gradients of the layers' outputs."""
    grams: Mapping[str, Tensor]

    @staticmethod
    def of(client: Client, subject: Subject) -> "Bench":
        """Collect the statistics."""
        norms = collect_statistics(subject.model, subject.batches)
        statistics = collect_statistics(subject.model, subject.batches, kind="gram")
        with_gradients = collect_statistics(subject.model, subject.batches, kind="gram", loss=subject.loss_of)
        return Bench(client, subject, norms, statistics, with_gradients, grams(subject))

    def lines(self, rows: Sequence[Row]) -> Iterator[str]:
        """Measure every method of each row's amount."""
        yield f"{self.subject.name}: dense {self.subject.dense:.4g}"
        yield ""
        yield "| amount | method | quality | loss |"
        yield "| --- | --- | --: | --: |"
        targets = []
        for row in rows:
            measured = {}
            for name, quality in self._qualities(row):
                measured[name] = quality
                yield f"| {row.work} | {name} | {quality:.4g} | {self.subject.loss(quality):.4f} |"
            targets += [self._target(row, measured), *self._automatic(row, measured)]
        yield ""
        yield "| target | method | measured | must | goal | |"
        yield "| --- | --- | --: | --: | --: | --- |"
        yield from targets
        yield ""

    def _qualities(self, row: Row) -> Iterator[tuple[str, float]]:
        measure, subject, amount = self.subject.measure, self.subject, row.amount
        if amount is None:
            yield from self._qualities_of_channels()
            return
        for name in PEERS:
            yield name + _PEER, measure(pruned_by_peer(name, subject, self.grams, amount))
        for name, of_entries in {**NORMS, **GRAMS}.items():
            rule = of_entries(amount, subject.matrices)
            yield name, measure(pruned_by_service(self.client, rule, subject, self.statistics))
        for name, of_entries in REFITS.items():
            rule = of_entries(amount, subject.matrices)
            yield f"{name} to the loss", measure(pruned_by_service(self.client, rule, subject, self.with_gradients))

    def _qualities_of_channels(self) -> Iterator[tuple[str, float]]:
        subject = self.subject
        gated = GATED_CHANNELS if subject.ffn == "llama_mlp" else {}
        for name, of_channels in {**CHANNELS, **gated}.items():
            rule = of_channels(subject.ffn)
            used = self.statistics if "update" in rule.to_dict() else None  # those without one rank by weights alone
            yield name, subject.measure(pruned_by_service(self.client, rule, subject, used))
        pruned = pruned_by_service(self.client, CHANNELS["obs, refit"](subject.ffn), subject, self.with_gradients)
        yield "obs, refit, by the loss", subject.measure(pruned)

    def _target(self, row: Row, measured: Mapping[str, float]) -> str:
        """Return the line of a target, from the qualities of all methods."""
        ours = {name: self.subject.loss(quality) for name, quality in measured.items() if not name.endswith(_PEER)}
        best = min(ours, key=ours.__getitem__)
        value = self._judged(row, measured, best)
        numbers = f"{value:.3f} | {row.must:.3f} | {row.goal:.3f}"
        return f"| {row.work}: {row.kind} | {best} | {numbers} | {row.verdict(value)} |"

    def _judged(self, row: Row, measured: Mapping[str, float], name: str) -> float:
        """Return what a row judges of one method."""
        if row.kind == "quality":
            return measured[name]
        if row.kind == "perplexity ratio":
            return measured[name] / self.subject.dense
        return self.subject.loss(measured[name]) / self.subject.loss(measured[_SPARSEGPT])

    def _automatic(self, row: Row, measured: Mapping[str, float]) -> Iterator[str]:
        """Return how much worse the method is that `rules.auto` picks than the best one for the same statistics."""
        amount, include = row.amount, self.subject.matrices
        if amount is None:
            return
        for statistics, methods in ((self.norms, NORMS), (self.statistics, {**NORMS, **GRAMS})):
            rule = rules.auto(part_of(amount), n_of_m=pattern_of(amount), statistics=statistics, include=include)
            chosen = next(name for name, of_entries in methods.items() if of_entries(amount, include) == rule)
            best = min((measured[name] for name in methods), key=self.subject.loss)
            ratio = max(best / measured[chosen], measured[chosen] / best)
            verdict = "must" if ratio <= _MOST_OF_AUTO else "MISSED"
            yield (
                f"| {row.work}: auto by {statistics.kind} against the best method | {chosen} | {ratio:.3f} | "
                f"{_MOST_OF_AUTO} | | {verdict} |"
            )
