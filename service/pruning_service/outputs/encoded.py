"""What the packed formats have in common: each tensor is made anew as it leaves the engine."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pruning_engine.planning.plan import PlannedParameter
from pruning_proto.packed.codec import Array
from pruning_service.outputs.deferred import DeferredOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How tensors are made anew.

    `last` names the tensors that come last in the dense file, in their order. `take` returns memory of a size. With
    `canonical_zero` every -0.0 becomes +0.0, perhaps in place; `negative_zeros` counts them all the same.
    """

    last: Sequence[str]
    take: Callable[[int], Array]
    canonical_zero: bool


class EncodedOutput(DeferredOutput):
    """An `Output` of tensors that are made anew."""

    def __init__(self, parameters: Iterable[PlannedParameter], encoding: Encoding) -> None:
        super().__init__(parameters)
        self._encoding = encoding

    def _put_last(self, names: Iterable[str]) -> None:
        """Put tensors, by their names in the file, behind all others."""
        by_name = {held.spec.name: held for held in self._held}
        moved = [by_name.pop(name) for name in names]
        self._held = deque([*by_name.values(), *moved])
