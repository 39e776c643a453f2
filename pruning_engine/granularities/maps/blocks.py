"""Blocks of a checkpoint: prefixes of names, and what else than a map's tensors is under them."""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NoReturn, TypeAlias

from pruning_engine.errors import MismatchError, Reason

Shape: TypeAlias = tuple[int, ...]

Shapes: TypeAlias = Mapping[str, Shape]
"""The shape of each of a checkpoint's parameters, by name."""


class Blocks:
    """The tensors of a checkpoint by the prefixes of their names."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self._sorted = sorted(shapes)

    def with_all(self, *tails: str) -> Iterator[str]:
        """Return the prefixes under which the checkpoint has all of these names."""
        end = f".{tails[0]}"
        for name in self.shapes:
            if name.endswith(end):
                prefix = name.removesuffix(end)
                if all(f"{prefix}.{tail}" in self.shapes for tail in tails[1:]):
                    yield prefix

    def shape(self, prefix: str, tail: str) -> Shape | None:
        """Return the shape of a block's tensor; None if it has no such tensor."""
        return self.shapes.get(f"{prefix}.{tail}")

    def others(self, prefix: str, tails: Sequence[str]) -> Iterator[tuple[str, Shape]]:
        """Return the tails and shapes of a block's other tensors.

        Left out are those that belong to one of `tails`: its bias and scales, `w_scale`.
        """
        begin = f"{prefix}."
        modules = {tail.removesuffix(".weight") for tail in tails}
        for at in range(bisect_left(self._sorted, begin), len(self._sorted)):
            name = self._sorted[at]
            if not name.startswith(begin):
                return
            tail = name.removeprefix(begin)
            if tail not in tails and not _belongs_to(tail, tails, modules):
                yield tail, self.shapes[name]


def refuse_uncoupled(prefix: str, tail: str, shape: Shape, path: str, map_name: str) -> NoReturn:
    """Refuse a block with a tensor over the channels that its map does not couple. Raises: MismatchError."""
    name = f"{prefix}.{tail}"
    kind = "normalizes over" if "norm" in tail.lower() else "is along"
    raise MismatchError(
        Reason.TIE_MISFIT,
        f"{path}.map: block {prefix!r} has tensor {name!r} of shape {list(shape)}, which {kind} the channels that map "
        f"{map_name!r} removes, and the map does not couple it; such a model would compute something else. Prune "
        f"single weights instead, or couple it in groups of your own if removing is right for it",
        field=f"{path}.map",
        tensor=name,
    )


def _belongs_to(tail: str, tails: Collection[str], modules: Collection[str]) -> bool:
    return tail.rpartition(".")[0] in modules or any(tail.startswith(f"{each}_") for each in tails)
