"""The buffer of a checkpoint as parts of objects in stores, which any process can read."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from pruning_client.checkpoints.file import Source
from pruning_client.checkpoints.stretches import Stretch, stretches_of
from pruning_client.stored.stored_file import StoredFile
from pruning_service.stores.store import Store, StoredObject
from pruning_service.stores.uris import StoreUri

ByteRange = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes of one version of an object: `size` from `begin` on. `place`: of the store that the object is in."""

    size: int
    begin: int
    place: str
    found: StoredObject


def extents_of(source: Source, inline: Callable[[Iterable[memoryview], int], Extent]) -> list[Extent] | None:
    """Return where the bytes of a source are, in order; None if they are not in stores.

    `inline` writes what is not in a file, such as statistics, into one object; it takes all of these bytes in pieces.
    Raises: what `inline` raises.
    """
    stretches = list(stretches_of(source))
    if any(stretch.file is not None and not isinstance(stretch.file, StoredFile) for stretch in stretches):
        return None
    if all(stretch.file is None for stretch in stretches):
        return None  # a packed file
    inlined = _inlined(source, stretches, inline)
    found: list[Extent] = []
    at = 0
    for stretch in stretches:
        if isinstance(stretch.file, StoredFile):
            file = stretch.file
            found.append(Extent(stretch.size, stretch.begin, str(file.store.uri), file.found))
        elif inlined is not None:
            found.append(Extent(stretch.size, inlined.begin + at, inlined.place, inlined.found))
            at += stretch.size
    return [extent for extent in found if extent.size]


def _inlined(
    source: Source, stretches: Sequence[Stretch], inline: Callable[[Iterable[memoryview], int], Extent]
) -> Extent | None:
    ends = list(accumulate(stretch.size for stretch in stretches))
    ranges = [(end - stretch.size, end) for stretch, end in zip(stretches, ends, strict=True) if stretch.file is None]
    size = sum(end - begin for begin, end in ranges)
    return inline(source.pieces(ranges), size) if size else None


class ExtentStore:
    """A `RangeStore` over extents. `open_place` returns the store of a place."""

    def __init__(self, extents: Sequence[Extent], open_place: Callable[[StoreUri], Store]) -> None:
        self._extents = extents
        self._begins = [0, *accumulate(extent.size for extent in extents)]
        self._open = open_place
        self._stores: dict[str, Store] = {}

    def read_into(self, data: memoryview, begin: int) -> None:
        """Fill `data` with the bytes from `begin` on. Raises: StoreError."""
        for extent, first, size in self._pieces(begin, begin + len(data)):
            self._store(extent).read_into(extent.found, first, data[:size])
            data = data[size:]

    def read_ranges(self, data: memoryview, ranges: Sequence[ByteRange]) -> None:
        """Fill `data` with the bytes of ranges, one after the other. Raises: StoreError."""
        of_object: list[ByteRange] = []
        before: Extent | None = None
        for begin, end in ranges:
            for extent, first, size in self._pieces(begin, end):
                if before is not None and extent is not before:
                    data = self._fill(data, before, of_object)
                    of_object = []
                of_object.append((first, first + size))
                before = extent
        if before is not None:
            self._fill(data, before, of_object)

    def _fill(self, data: memoryview, extent: Extent, ranges: Sequence[ByteRange]) -> memoryview:
        for piece in self._store(extent).read(extent.found, ranges):
            data[: len(piece)] = piece
            data = data[len(piece) :]
        return data

    def _pieces(self, begin: int, end: int) -> Iterator[tuple[Extent, int, int]]:
        """Yield the extents that bytes are in, where in their objects, and how many."""
        number = bisect_right(self._begins, begin) - 1
        while begin < end:
            extent, first = self._extents[number], self._begins[number]
            size = min(end, first + extent.size) - begin
            yield extent, extent.begin + begin - first, size
            begin += size
            number += 1

    def _store(self, extent: Extent) -> Store:
        if extent.place not in self._stores:
            self._stores[extent.place] = self._open(StoreUri.parse(extent.place))
        return self._stores[extent.place]
