"""How much the tutorial computes: in full, or just enough to check that it runs."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Effort:
    """Training images, epochs, pruning rounds, repetitions of measurements, models in the plot, sentences for MiniLM,
    and training steps of the language model."""

    images: int = 1078
    epochs: int = 8
    tuning_epochs: int = 2
    rounds: int = 8
    times: int = 30
    seeds: int = 3
    sentences: int = 120
    language_steps: int = 600


SHORT: Final = Effort(images=64, epochs=1, tuning_epochs=1, rounds=2, times=2, seeds=1, sentences=4, language_steps=1)
