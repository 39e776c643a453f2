"""Which layers have the same input: q, k and v; gate and up. Only the first of them counts it.

Layers share an input if, from their first call on, each call gets the same memory, unchanged, right after the first of
them got it.
"""

import weakref
from collections.abc import Hashable
from dataclasses import dataclass, field

from torch import Tensor

from pruning_client.errors import MismatchError
from pruning_client.torch.collection.sums import Sums


@dataclass(slots=True)
class Input:
    """What one layer sees. `leader` is the layer that counts it, if it is not this one; `calls` are those so far."""

    weight: str
    sums: Sums | None = None
    leader: "Input | None" = None
    calls: int = 0


@dataclass(slots=True)
class SharedInputs:
    """The inputs that were seen lately, as long as their tensors exist."""

    _seen: "dict[Hashable, tuple[weakref.ref[Tensor], Input]]" = field(default_factory=dict)

    def is_counted(self, one: Input, inputs: Tensor, geometry: Hashable) -> bool:
        """Whether another layer has counted this call's input of `one`. Call once for each call of the layer.

        Raises: MismatchError if these layers had the same input before, and have not now.
        """
        key = (*_identity(inputs), geometry)
        found = self._seen.get(key)
        leader = None if found is None or found[0]() is None else found[1]
        is_first = one.calls == 0
        one.calls += 1
        if is_first and leader is not None and leader is not one and leader.calls == 1:
            one.leader = leader
        if one.leader is not None:
            if one.leader is not leader or one.calls != leader.calls:
                raise _diverged(one)
            return True
        if leader is None:
            self._seen[key] = (weakref.ref(inputs), one)
        return False

    def end_batch(self, inputs: list[Input]) -> None:
        """Forget what was seen. Raises: MismatchError if layers that had the same input were not called alike."""
        self._seen.clear()
        for one in inputs:
            if one.leader is not None and one.calls != one.leader.calls:
                raise _diverged(one)


def _identity(inputs: Tensor) -> tuple[Hashable, ...]:
    """Return what is equal for the same memory with the same content only, as long as the tensors exist."""
    version: object = object() if inputs.is_inference() else inputs._version  # inference tensors count no versions
    return (inputs.data_ptr(), inputs.shape, inputs.stride(), inputs.dtype, inputs.device, version)


def _diverged(one: Input) -> MismatchError:
    shared = one.leader.weight if one.leader is not None else ""
    return MismatchError(
        f"{one.weight!r} had the same input as {shared!r} in its first calls, and has not now; collect the "
        "statistics of the two in calls of their own, with include=",
        metadata={"tensor": one.weight},
    )
