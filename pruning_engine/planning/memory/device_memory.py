"""How many bytes of a device's memory a plan takes at one time: a server with a GPU reserves them before any data.

On the device are, of each parameter that is under way, its weight, the tensors that its rules read there, and its
masks: of one parameter at a time, and at a barrier of all that wait there. Beside these are the temporary tensors of
the kernels, of as many pieces as there are threads. The statistics of calibrated rules and what is computed from them
stay in host memory, and results go back there as each parameter finishes.

The factors were measured on CPU tensors, where the allocator's blocks and the workspace inside of one operation are
not seen: `ALLOWANCE_BYTES` and the part of `PIECE_BYTES` for a sort are for those. An installed method's own tensors
are not counted: nobody knows them.
"""

from collections.abc import Sequence
from heapq import nlargest
from math import prod
from typing import Final

from pruning_engine.checkpoints.parameters import TensorDescription, described_bytes
from pruning_engine.dtypes import packed_bytes
from pruning_engine.kernels.backend import DEVICE_PIECE_ENTRIES
from pruning_engine.planning.memory.profile import Footprint, memory_profile
from pruning_engine.planning.plan import Plan, PlannedParameter
from pruning_engine.recipe import Recipe
from pruning_engine.runtime.threads import get_threads
from pruning_proto.names import CUSTOM_MASK, IN_GRAM, INPUTS, OUT_GRAM

PIECE_BYTES: Final = 72
"""What a kernel takes for each entry of its piece (measured: 5 to 64, and 35 with a sort, which takes 32 in itself)."""

WHOLE_BYTES: Final = 6
"""What is made for each entry of a whole tensor, such as its mask unpacked (measured: 1 to 4)."""

MASK_BYTES: Final = 12
"""The same where a mask of one number an entry is packed (measured: 11)."""

ALLOWANCE_BYTES: Final = 64 << 20
"""What libraries take for themselves, and what the allocator rounds up to: its blocks have up to 20 MiB."""

_MASKS: Final = 4
"""Packed masks of one parameter: the first one, the current one, one that is made, and one that it is combined with."""

_FACTOR_BYTES: Final = 24
"""What factors take for each line of a tensor: of rows, of columns, and their norms, in fp64."""

_SCALE_BYTES: Final = 16
"""What each scale of an FP8 weight takes: as fp64, for two who read."""

_ON_HOST: Final = frozenset({IN_GRAM, INPUTS, OUT_GRAM})
"""Statistics that are never on the device."""


def device_bytes(plan: Plan, arrivals: Sequence[TensorDescription], piece_entries: int = DEVICE_PIECE_ENTRIES) -> int:
    """Return the most bytes of a device's memory that a plan takes when tensors arrive in the order of `arrivals`.

    `piece_entries`: of the device's backend.
    """
    parameters = [parameter for parameter in plan.parameters if not parameter.passes_through]
    if not parameters:
        return 0
    barriers = set() if plan.searched else {number for number, stage in enumerate(plan.stages) if stage.is_barrier}
    footprints = [_footprint(parameter, plan.recipe) for parameter in plan.parameters]
    held = max(step.held_bytes for step in memory_profile(footprints, arrivals, barriers, size=lambda _: 0))
    together = [parameter for parameter in parameters if not barriers.isdisjoint(parameter.stages)]
    largest = max(parameter.entries for parameter in parameters)
    at_once = max(largest, sum(parameter.entries for parameter in together))
    pieces = PIECE_BYTES * min(at_once, get_threads() * piece_entries)
    whole = max(*map(_whole_bytes, parameters), sum(nlargest(get_threads(), map(_whole_bytes, together))))
    return held + pieces + whole + ALLOWANCE_BYTES


def _footprint(parameter: PlannedParameter, recipe: Recipe) -> Footprint:
    """Return what a parameter takes on the device from its arrival until it finishes, all of it as `mask_bytes`."""
    return Footprint(
        sources=parameter.sources,
        stages=parameter.stages,
        source_bytes=0,
        mask_bytes=0 if parameter.passes_through else _held_bytes(parameter, recipe),
        result_bytes=0,
        made_bytes=0,
    )


def _held_bytes(parameter: PlannedParameter, recipe: Recipe) -> int:
    of_host = {tensor.name for suffix, tensor in parameter.auxiliary.items() if suffix in _ON_HOST}
    tensors = sum(described_bytes(tensor) for tensor in parameter.tensors if tensor.name not in of_host)
    is_changed = not parameter.rules or any(recipe.rules[position].replaces_weights for position in parameter.rules)
    lines = parameter.entries // max(1, min((size for size in parameter.shape if size > 1), default=1))
    scales = 0 if parameter.scale is None else _SCALE_BYTES * prod(parameter.scale.shape)
    return (
        tensors
        + (described_bytes(parameter.spec) if is_changed else 0)
        + _MASKS * packed_bytes(parameter.entries)
        + _FACTOR_BYTES * lines
        + scales
    )


def _whole_bytes(parameter: PlannedParameter) -> int:
    """Return what passes over a whole tensor take at one time; a rule that reads its weight again has it once more."""
    has_flat_mask = parameter.pair_mask is not None or CUSTOM_MASK in parameter.auxiliary
    again = described_bytes(parameter.spec) if parameter.used_auxiliary else 0
    return (MASK_BYTES if has_flat_mask else WHOLE_BYTES) * parameter.entries + again
