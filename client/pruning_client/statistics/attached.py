"""A checkpoint with statistics beside its weights: what is sent."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from pruning_client.checkpoints.byte_ranges import ByteRanges, parts_within, ranges_within
from pruning_client.checkpoints.file import Source
from pruning_client.checkpoints.stretches import Stretch, stretches_between, stretches_of
from pruning_client.errors import MismatchError, layout_error
from pruning_client.frameworks.base import Framework
from pruning_client.statistics.names import weight_of
from pruning_client.statistics.tensor import StatisticsTensor
from pruning_client.statistics.value import StatisticsValue, WeightStatistics
from pruning_proto.names import AUXILIARY, ORIG
from pruning_proto.safetensors.header import LayoutError, build


class SourceWithStatistics:
    """A checkpoint whose statistics are directly before their weights. A `checkpoints.file.Source`.

    `tensors` are statistics by the names of the source's weights; that of `w_orig` is `w`.
    Raises: MismatchError if the source has one of them itself.
    """

    def __init__(self, source: Source, tensors: Mapping[str, StatisticsTensor]) -> None:
        self._source = source
        self._before: list[tuple[int, StatisticsTensor]] = []  # where in the source's buffer each is inserted
        of_weight: dict[str, dict[str, StatisticsTensor]] = {}
        for name, tensor in tensors.items():
            of_weight.setdefault(weight_of(name), {})[name] = tensor
        described = []
        for entry in source.layout.tensors:
            if entry.name in tensors:
                raise MismatchError(
                    f"{entry.name!r} is in the checkpoint and in the statistics; give it once",
                    metadata={"tensor": entry.name},
                )
            own = of_weight.pop(entry.name, None) or of_weight.pop(entry.name.removesuffix(ORIG), {})
            described += [(name, tensor.dtype, tensor.shape) for name, tensor in own.items()]
            described.append((entry.name, entry.dtype, entry.shape))
            self._before += [(entry.begin, tensor) for tensor in own.values()]
        try:
            self.header, self.layout = build(described, source.layout.metadata)
        except LayoutError as error:
            raise layout_error(error, "the checkpoint with its statistics") from error

    @property
    def aliases(self) -> Mapping[str, str]:
        """The source's."""
        return self._source.aliases

    @property
    def names(self) -> Sequence[str]:
        """The source's."""
        return self._source.names

    @property
    def framework(self) -> Framework | None:
        """The source's."""
        return self._source.framework

    def pieces(self, ranges: ByteRanges | None = None) -> Iterator[memoryview]:
        """Return the source's buffer with the statistics in it, or these ranges, in pieces."""
        begin = 0
        for size, pieces in self._segments():
            if ranges is None:
                yield from pieces(None)
            elif own := ranges_within(ranges, begin, begin + size):
                yield from pieces(own)
            begin += size

    def stretches(self) -> Iterator[Stretch]:
        """Yield where the bytes are, in order; those of statistics are to be had from this source only."""
        of_source = list(stretches_of(self._source))
        at = 0
        for position, tensor in (*self._before, (self._source.layout.buffer_bytes, None)):
            yield from stretches_between(of_source, at, position)
            if tensor is not None:
                yield Stretch(tensor.size_bytes)
            at = position

    def _segments(self) -> Iterator[tuple[int, Callable[[ByteRanges | None], Iterator[memoryview]]]]:
        """Return the parts that follow one another: their bytes, and what returns their pieces."""
        at = 0
        for position, tensor in (*self._before, (self._source.layout.buffer_bytes, None)):
            if position > at:
                yield position - at, partial(self._of_source, at, position)
            if tensor is not None:
                yield tensor.size_bytes, partial(_of_tensor, tensor)
            at = position

    def _of_source(self, begin: int, end: int, ranges: ByteRanges | None) -> Iterator[memoryview]:
        own = ((0, end - begin),) if ranges is None else ranges
        return self._source.pieces([(begin + first, begin + last) for first, last in own])


def _of_tensor(tensor: StatisticsTensor, ranges: ByteRanges | None) -> Iterator[memoryview]:
    return tensor.pieces() if ranges is None else parts_within(tensor.pieces(), ranges)


def statistics_of(source: Source, statistics: StatisticsValue) -> Mapping[str, str]:
    """Return the weights of a source that have statistics, each with the name that it has in these.

    A tied weight, which is sent once, may be in the statistics under any of its names.
    """
    others: dict[str, list[str]] = {}
    for other, name in source.aliases.items():
        others.setdefault(name, []).append(other)
    found = {}
    for entry in source.layout.tensors:
        if entry.name.endswith(AUXILIARY):
            continue
        name = entry.name.removesuffix(ORIG)
        for each in (name, entry.name, *others.get(entry.name, ())):
            if statistics.has(each):
                found[name if each != entry.name else entry.name] = each
                break
    return found


def renamed(statistics: WeightStatistics, names: Mapping[str, str]) -> WeightStatistics:
    """Return statistics under the names that weights have in a source; `names` as `statistics_of` returns them."""
    own = {known: name for name, known in names.items()}

    def name_of(tensor: str) -> str:
        weight = weight_of(tensor)
        return own[weight] + tensor.removeprefix(weight)

    return WeightStatistics(
        {name_of(name): tensor for name, tensor in statistics.tensors.items()},
        {name_of(name): name_of(other) for name, other in statistics.aliases.items()},
    )
