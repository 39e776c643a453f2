"""A state dict as a source, and the bytes of a result as a state dict. Knows names; of tensors only their adaptors.

Tied tensors are sent once and tied again in the result. Auxiliary tensors (`w:scores`, `w:in_norm` and the others of
`names.AUXILIARY`) are sent directly before their parameter, so that it can be pruned as soon as it has arrived.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from pruning_client.checkpoints.byte_ranges import ByteRanges, ranges_within
from pruning_client.errors import MismatchError, is_text, layout_error, tensor_error
from pruning_client.frameworks.base import Framework, framework_of
from pruning_proto.names import (
    AUXILIARY,
    CUSTOM_MASK,
    FRAMEWORK_KEY,
    MASK,
    ORIG,
    RESULT_SUFFIXES,
    SCALED,
    SCORES,
    scale_names,
)
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.header import Layout, LayoutError, build

StateDict: TypeAlias = Mapping[str, Any]
"""Names to tensors, of torch or numpy."""


class StateDictSource:
    """A state dict laid out as a safetensors file that is never written: its pieces are views of the tensors.

    `framework` is the adaptor of its tensors, for the result.
    Raises: TypeError if this is not a mapping of strings. CheckpointError if a value is not a tensor that can be sent.
    MismatchError if the dict is empty or an auxiliary tensor is given twice.
    """

    def __init__(
        self,
        state_dict: StateDict,
        importance_scores: StateDict | None = None,
        masks: StateDict | None = None,
    ) -> None:
        _check_mapping("a state dict, or the path of a safetensors file", state_dict)
        if not state_dict:
            raise MismatchError("the state dict is empty: there is nothing to prune", reason=Reason.SELECTS_NOTHING)
        frameworks = {name: _adaptor_of(name, tensor) for name, tensor in state_dict.items()}
        self.names = tuple(state_dict)
        self.framework = next(iter(frameworks.values()))
        self.aliases = _tied_names(state_dict, frameworks)
        sent = {name: tensor for name, tensor in state_dict.items() if name not in self.aliases}
        self._add_auxiliary(sent, {} if importance_scores is None else importance_scores, SCORES)
        self._add_auxiliary(sent, {} if masks is None else masks, CUSTOM_MASK)
        self._tensors = {name: sent[name] for name in _auxiliary_first(sent)}
        self.header, self.layout = _lay_out(self._tensors, self.framework.FORMAT)

    def pieces(self, ranges: ByteRanges | None = None) -> Iterator[memoryview]:
        """Return the tensors' bytes, or these ranges of them, one tensor after the other."""
        whole = ((0, self.layout.buffer_bytes),)
        for entry in self.layout.tensors:
            own = ranges_within(whole if ranges is None else ranges, entry.begin, entry.end)
            if own:
                tensor = self._tensors[entry.name]
                view = _framework(entry.name, tensor).view(tensor)
                yield from (view[begin:end] for begin, end in own)

    def _add_auxiliary(self, sent: dict[str, Any], tensors: StateDict, suffix: str) -> None:
        _check_mapping("parameter names and tensors of their shape", tensors)
        for name, tensor in tensors.items():
            _adaptor_of(name, tensor)
            auxiliary = self.aliases.get(name, name) + suffix
            if auxiliary in sent:
                raise tensor_error(Reason.INVALID_ALIAS, auxiliary, "is given twice; give it once")
            sent[auxiliary] = tensor


def restore(
    layout: Layout, buffer: memoryview, aliases: Mapping[str, str], names: Sequence[str], framework: Framework
) -> dict[str, Any]:
    """Return the tensors of a result over its buffer, tied as they were when sent, in the order of `names`.

    Raises: CheckpointError or ImportError for a dtype that the framework lacks.
    """
    tensors = {entry.name: framework.tensor(entry, buffer[entry.begin : entry.end]) for entry in layout.tensors}
    for alias, name in aliases.items():
        for suffix in RESULT_SUFFIXES:
            if name + suffix in tensors:
                tensors.setdefault(alias + suffix, tensors[name + suffix])
    positions = _positions(names)
    return dict(sorted(tensors.items(), key=lambda item: positions.get(item[0], len(names))))


def _positions(names: Sequence[str]) -> dict[str, int]:
    """Return the position of each name, and of each name that a result may have for it."""
    positions = {name: position for position, name in enumerate(names)}
    for position, name in enumerate(names):
        for suffix in RESULT_SUFFIXES:
            positions.setdefault(name.removesuffix(ORIG) + suffix, position)
    return positions


def _check_mapping(expected: str, value: object) -> None:
    if isinstance(value, Mapping):
        return
    hint = "; give its `.state_dict()`" if hasattr(value, "state_dict") else ""
    raise TypeError(f"expected {expected}, got {type(value).__name__}{hint}")


def _adaptor_of(name: str, tensor: object) -> Framework:
    """Return the adaptor of a tensor. Raises: TypeError, PruningError if it cannot be sent under this name."""
    if not isinstance(name, str):
        raise TypeError(f"the names of a state dict are strings, got {name!r}")
    if not is_text(name):
        raise tensor_error(Reason.INVALID_HEADER, name, "its name is not Unicode text; rename it")
    framework = _framework(name, tensor)
    framework.describe(name, tensor)
    return framework


def _lay_out(tensors: Mapping[str, Any], framework: str) -> tuple[bytes, Layout]:
    described = ((name, *_framework(name, tensor).describe(name, tensor)) for name, tensor in tensors.items())
    try:
        return build(described, {FRAMEWORK_KEY: framework})
    except LayoutError as error:
        raise layout_error(error, "the state dict") from error


def _framework(name: str, tensor: object) -> Framework:
    framework = framework_of(tensor)
    if framework is None:
        description = f"only torch tensors and numpy arrays can be sent, got {type(tensor).__name__}; leave it out"
        raise tensor_error(Reason.UNKNOWN_DTYPE, name, description)
    return framework


def _tied_names(state_dict: StateDict, frameworks: Mapping[str, Framework]) -> dict[str, str]:
    """Map the later names of tied tensors to the first.

    Names of torch's masked pairs are not tied: a shared `w_orig` has a mask for each of its names. Auxiliary tensors
    and scales are not tied either: layers with the same input share one `w:in_norm`, and each needs it.
    """
    scales = _scales(state_dict, frameworks)
    first: dict[Hashable, str] = {}
    aliases = {}
    for name, tensor in state_dict.items():
        is_own = name in scales or _owner(name) is not None or _is_masked_pair(name, state_dict)
        identity = None if is_own else frameworks[name].identity(tensor)
        if identity is not None and first.setdefault(identity, name) != name:
            aliases[name] = first[identity]
    return aliases


def _scales(state_dict: StateDict, frameworks: Mapping[str, Framework]) -> set[str]:
    """Return the names of the scales of FP8 weights."""
    return {
        scale
        for name, framework in frameworks.items()
        for scale in scale_names(name.removesuffix(ORIG))
        if scale in state_dict and framework.describe(name, state_dict[name])[0] in SCALED
    }


def _is_masked_pair(name: str, state_dict: StateDict) -> bool:
    stem = name.removesuffix(ORIG).removesuffix(MASK)
    return stem + ORIG in state_dict and stem + MASK in state_dict


def _auxiliary_first(names: Mapping[str, Any]) -> Iterator[str]:
    """Return all names in order, but each auxiliary tensor directly before its parameter, or last if it has none."""
    auxiliary: dict[str, list[str]] = {}
    for name in names:
        if (owner := _owner(name)) is not None:
            auxiliary.setdefault(owner, []).append(name)
    for name in names:
        if _owner(name) is None:
            yield from auxiliary.pop(name.removesuffix(ORIG), ())
            yield from auxiliary.pop(name, ())
            yield name
    for orphans in auxiliary.values():
        yield from orphans


def _owner(name: str) -> str | None:
    for suffix in AUXILIARY:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return None
