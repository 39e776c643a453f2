"""A pruning method that is installed beside the engine, by its name: see installed_methods.py."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from pruning_engine.scores.installed_methods import make_method, method_class
from pruning_engine.scores.score import Score

Argument: TypeAlias = float | int | str | bool


@dataclass(frozen=True, slots=True)
class Method(Score):
    """An installed method by its name, and the arguments of its constructor."""

    field: ClassVar[str] = "method"
    only_granularity: ClassVar[str | None] = "entries"
    takes_scales: ClassVar[bool] = False  # it would be shown the codes

    name: str
    arguments: Mapping[str, Argument] = dataclasses.field(default_factory=dict, hash=False)

    @property
    def is_reproducible(self) -> bool:
        """Nothing is known about the results of installed code."""
        return False

    def check_available(self, path: str) -> None:
        """Refuse a method that is not installed, or does not take these arguments. Raises: RecipeError."""
        make_method(method_class(self.name, f"{path}.name"), self.name, self.arguments, f"{path}.arguments")
