"""How much the tutorial computes: in full, or just enough to check that it runs."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Effort:
    """How much of what.

    Training images, epochs, pruning rounds, repetitions of measurements, and models in the plot; sentences and layers
    of MiniLM; training steps of the language model, and sequences for its statistics.
    """

    images: int = 1078
    epochs: int = 8
    tuning_epochs: int = 2
    rounds: int = 8
    times: int = 30
    seeds: int = 3
    sentences: int = 120
    layers: str = "encoder.layer.*.weight"
    language_steps: int = 300
    sequences: int = 128


SHORT: Final = Effort(
    images=64,
    epochs=1,
    tuning_epochs=1,
    rounds=2,
    times=2,
    seeds=1,
    sentences=4,
    layers="encoder.layer.0.*.weight",
    language_steps=1,
    sequences=2,
)
