"""What the header of a result may say: names, dtypes and shapes follow from the request, or are bounded by it.

Of formats whose header follows from the input's it is compared with exactly that; a packed file with what it unpacks
to. Where channels are removed, tensors may be smaller, and the report has to explain by which group; whole tensors may
be omitted and others renumbered, as the plan says.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from math import prod
from types import MappingProxyType
from typing import Final, TypeAlias

from pruning_client.calls.described_tensors import refused
from pruning_client.calls.renumbered import result_names
from pruning_client.calls.request import PruneRequestSpec
from pruning_client.checkpoints.packed import is_packed
from pruning_client.results.group_report import UNIT
from pruning_client.results.plan import Plan
from pruning_client.results.report import GroupReport, Report
from pruning_proto.formats import BY_NUMBER
from pruning_proto.limits import HEADER_BYTES_CEILING, MIB
from pruning_proto.names import AUXILIARY, MASK, MASK_BITS, ORIG, ZSTD_KEY
from pruning_proto.packed import frames
from pruning_proto.packed.format import Spec, contents, spec_of
from pruning_proto.safetensors.header import Layout, LayoutError, TensorEntry

_Kind: TypeAlias = tuple[str, tuple[int, ...]]
"""Dtype and shape of a tensor."""

_Tensors: TypeAlias = Mapping[str, _Kind]

_HEADERS: Final = 8
"""A packed matrix has four lines in the header and a shape in the metadata, a masked tensor two lines."""

_HISTORY: Final = 16
"""Bytes of a recipe in the history, which is JSON in JSON, for each byte of the recipe on the wire."""


def most_header_bytes(request: PruneRequestSpec) -> int:
    """Return the most bytes that the header of a request's result can have."""
    size = MIB + _HEADERS * len(request.source.header) + _HISTORY * request.message.ByteSize()
    return min(size, HEADER_BYTES_CEILING)


def check_header(layout: Layout, request: PruneRequestSpec, plan: Plan) -> None:
    """Compare the header of a result with the request, before any of its tensors is kept.

    Raises: ProtocolError that names the first tensor that is missing, too many, or of another dtype or shape.
    """
    name = BY_NUMBER[request.options.output].name
    expected, actual = _EXPECTED[name](_Parameters(request.source.layout, plan)), _tensors_of(layout)
    for tensor in (*expected, *actual):
        if tensor not in actual:
            raise refused(f"a result without tensor {tensor!r}", tensor)
        if tensor not in expected:
            raise refused(f"a result with a tensor {tensor[:200]!r}, which the request does not have", tensor[:200])
        if not (_is_part if name == "removed" else _is_same)(actual[tensor], expected[tensor]):
            raise refused(
                f"a result whose tensor {tensor!r} is {_shown(actual[tensor])}; by the request it is "
                f"{_shown(expected[tensor])}",
                tensor,
            )


def check_removed(layout: Layout, request: PruneRequestSpec, plan: Plan, report: Report) -> None:
    """Compare the shapes of a result without the removed channels with the groups of its report.

    A tensor of groups that lost units is smaller, by a multiple of the units if it is in one group only; any other is
    as it was. What belongs to a tensor, such as the scales of its blocks, gets smaller with it.
    Raises: ProtocolError that names the tensor.
    """
    parameters = _Parameters(request.source.layout, plan)
    before, after = _removed(parameters), _tensors_of(layout)
    original = {new: name for name, new in parameters.result_names.items()}
    last = {(group.name, group.tensors): group for group in report.groups}
    lost: dict[str, list[int]] = {}
    for group in last.values():
        for tensor in group.tensors:
            if UNIT not in tensor:
                lost.setdefault(tensor, []).append(_lost(group))
    owners = tuple(tensor for tensor, units in lost.items() if any(units))
    for tensor, (_, shape) in after.items():
        name = original.get(tensor, tensor)
        _check_removed_from(name, before[tensor][1], shape, lost.get(name), owners)


def _check_removed_from(
    tensor: str, before: tuple[int, ...], after: tuple[int, ...], lost: list[int] | None, owners: tuple[str, ...]
) -> None:
    removed = sum(old - new for old, new in zip(before, after, strict=True))
    if any(tensor.startswith(owner) and tensor != owner for owner in owners):
        is_explained = True
    elif lost is None:
        is_explained = not removed
    else:
        is_explained = bool(removed) == any(lost) and (len(lost) > 1 or not lost[0] or removed % lost[0] == 0)
    if not is_explained:
        raise refused(
            f"a result whose tensor {tensor!r} has shape {list(after)} instead of {list(before)}, which the groups of "
            "its report do not explain",
            tensor,
        )


def _lost(group: GroupReport) -> int:
    return group.units - len(group.kept)


class _Parameters:
    """The parameters of a file as the plan groups them: `w` may be `w_orig` and `w_mask`."""

    def __init__(self, source: Layout, plan: Plan) -> None:
        self._entries = {entry.name: entry for entry in source.tensors}
        self.result_names = result_names(plan, self._entries)
        self._selected = {tensor.name for tensor in plan.tensors if tensor.rules}
        pairs = {tensor.name for tensor in plan.tensors if tensor.name not in self._entries}
        self._pair_of = {f"{name}{ORIG}": name for name in pairs}
        self._masks = {f"{name}{MASK}" for name in pairs}

    def __iter__(self) -> Iterator[tuple[str, TensorEntry, bool]]:
        """Return the name, the weight's entry and whether a rule selects it, of each."""
        for entry in self._entries.values():
            if entry.name not in self._masks and not _is_auxiliary(entry.name):
                name = self._pair_of.get(entry.name, entry.name)
                yield name, entry, name in self._selected

    def mask_of(self, entry: TensorEntry) -> TensorEntry | None:
        """Return the mask that came with a weight; None if it is not part of a pair."""
        name = self._pair_of.get(entry.name)
        return None if name is None else self._entries[f"{name}{MASK}"]


def _is_auxiliary(name: str) -> bool:
    return any(name.endswith(suffix) and name != suffix for suffix in AUXILIARY)


def _pruned(parameters: _Parameters) -> dict[str, _Kind]:
    return {name: _kind(entry) for name, entry, _ in parameters}


def _removed(parameters: _Parameters) -> dict[str, _Kind]:
    names = parameters.result_names
    return {names[name]: _kind(entry) for name, entry, _ in parameters if name in names}


def _masked(parameters: _Parameters) -> dict[str, _Kind]:
    found: dict[str, _Kind] = {}
    for name, entry, is_selected in parameters:
        mask = parameters.mask_of(entry)
        if is_selected:
            found |= {f"{name}{ORIG}": _kind(entry), f"{name}{MASK}": ("BOOL", entry.shape)}
        else:
            found |= {each.name: _kind(each) for each in (entry, mask) if each is not None}
    return found


def _mask_bits(parameters: _Parameters) -> dict[str, _Kind]:
    return {
        f"{name}{MASK_BITS}": ("U8", ((prod(entry.shape) + 7) // 8,))
        for name, entry, is_selected in parameters
        if is_selected
    }


_EXPECTED: Final[Mapping[str, Callable[[_Parameters], _Tensors]]] = MappingProxyType(
    {"pruned": _pruned, "masked": _masked, "mask": _mask_bits, "packed": _pruned, "removed": _removed}
)
"""The tensors of a result by output format; of a packed one before packing, of a smaller one before removal."""


def _tensors_of(layout: Layout) -> dict[str, _Kind]:
    """Return the tensors of a file; of a packed one those that it unpacks to. Raises: ProtocolError."""
    if not is_packed(layout):
        return {entry.name: _kind(entry) for entry in layout.tensors}
    try:
        return _by_name(_framed(layout) if ZSTD_KEY in layout.metadata else map(spec_of, contents(layout)))
    except LayoutError as error:
        raise refused(f"a result that is not a valid packed file: {error}", error.tensor) from error


def _framed(layout: Layout) -> Iterator[Spec]:
    """Return the tensors of a compressed file. Raises: LayoutError; ProtocolError if one takes too many bytes."""
    for tensor in frames.framed_tensors(layout):
        size, most = tensor.entry.end - tensor.entry.begin, frames.most_bytes(tensor.dtype, tensor.dense_bytes)
        if size > most:
            raise refused(
                f"a result whose tensor {tensor.name!r} takes {size:,} bytes, of at most {most:,}", tensor.name
            )
        yield frames.spec_of(tensor)


def _by_name(tensors: Iterable[Spec]) -> dict[str, _Kind]:
    return {name: (dtype, shape) for name, dtype, shape in tensors}


def _kind(entry: TensorEntry) -> _Kind:
    return entry.dtype, entry.shape


def _is_same(actual: _Kind, expected: _Kind) -> bool:
    return actual == expected


def _is_part(actual: _Kind, expected: _Kind) -> bool:
    """Whether a tensor may be what is left of another: of the same dtype and number of dims, none larger."""
    same = actual[0] == expected[0] and len(actual[1]) == len(expected[1])
    return same and all(new <= old for new, old in zip(actual[1], expected[1], strict=True))


def _shown(kind: _Kind) -> str:
    return f"{kind[0]} of shape {list(kind[1])}"
