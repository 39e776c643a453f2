"""How many bytes of a model belong to the units that a plan removes, group by group."""

import re
from collections.abc import Mapping
from typing import Final

from pruning_client.results.group_report import UNIT, GroupReport
from pruning_client.results.plan import Plan, TensorPlan

_NUMBER: Final = re.compile(r"(?<=\.)\d+(?=\.|$)")


def removed_bytes(plan: Plan) -> tuple[int | None, ...]:
    """Return the bytes of the weights that each group of a plan removes; None where its units are not known yet.

    Of tensors that units own a part of, that is their part; scales do not count.
    """
    whole = _whole_tensors(plan)
    tensors = {tensor.name: tensor for tensor in plan.tensors}
    return tuple(
        whole.get(index, 0) + _parts(group, tensors) if group.kept else None for index, group in enumerate(plan.groups)
    )


def _whole_tensors(plan: Plan) -> Mapping[int, int]:
    """Return the bytes of the removed tensors, by the position of the group whose removed unit owns them."""
    groups = {
        tensor.partition(UNIT)[0]: (index, frozenset(group.pruned))
        for index, group in enumerate(plan.groups)
        for tensor in group.tensors
        if UNIT in tensor
    }
    nowhere: tuple[int, frozenset[int]] = (-1, frozenset())
    found: dict[int, int] = {}
    for tensor in plan.tensors:
        if tensor.removed:
            for number in _NUMBER.finditer(tensor.name):
                index, pruned = groups.get(tensor.name[: number.start()], nowhere)
                if int(number[0]) in pruned:
                    found[index] = found.get(index, 0) + tensor.weight_bytes
                    break
    return found


def _parts(group: GroupReport, tensors: Mapping[str, TensorPlan]) -> int:
    """Return the bytes of the removed parts of the tensors of a group that stay."""
    others = (tensors[name] for name in group.tensors if name in tensors and not tensors[name].removed)
    return sum(tensor.weight_bytes for tensor in others) * len(group.pruned) // max(group.units, 1)
