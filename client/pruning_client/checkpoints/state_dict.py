"""A state dict as a source, and the bytes of a result as a state dict. Knows names; of tensors only their adaptors.

Tied tensors are sent once and tied again in the result. Companions (`w:scores`, `w:mask`, `w:mask_bits`) are sent
directly before their parameter, so that it can be pruned as soon as it has arrived.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from pruning_client.errors import MismatchError, is_text, layout_error, tensor_error
from pruning_client.frameworks.base import Framework, framework_of
from pruning_proto.names import AUXILIARY, CUSTOM_MASK, FRAMEWORK_KEY, MASK, ORIG, RESULT_SUFFIXES, SCORES
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.header import Layout, LayoutError, build

StateDict: TypeAlias = Mapping[str, Any]
"""Names to tensors, of torch or numpy."""


class StateDictSource:
    """A state dict laid out as a safetensors file that is never written: its pieces are views of the tensors.

    `framework` is the adaptor of its tensors, for the result.
    Raises: TypeError if this is no mapping of strings. CheckpointError if a value is no tensor that can be sent.
    MismatchError if the dict is empty or a companion is given twice.
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
        frameworks = {name: _sound(name, tensor) for name, tensor in state_dict.items()}
        self.names = tuple(state_dict)
        self.framework = next(iter(frameworks.values()))
        self.aliases = _ties(state_dict, frameworks)
        sent = {name: tensor for name, tensor in state_dict.items() if name not in self.aliases}
        self._add_companions(sent, {} if importance_scores is None else importance_scores, SCORES)
        self._add_companions(sent, {} if masks is None else masks, CUSTOM_MASK)
        self._tensors = {name: sent[name] for name in _companions_first(sent)}
        self.header, self.layout = _lay_out(self._tensors, self.framework.FORMAT)

    def pieces(self) -> Iterator[memoryview]:
        """Give the tensors' bytes, one tensor after the other."""
        for entry in self.layout.tensors:
            tensor = self._tensors[entry.name]
            yield _framework(entry.name, tensor).view(tensor)

    def _add_companions(self, sent: dict[str, Any], companions: StateDict, suffix: str) -> None:
        _check_mapping("parameter names and tensors of their shape", companions)
        for name, tensor in companions.items():
            _sound(name, tensor)
            companion = self.aliases.get(name, name) + suffix
            if companion in sent:
                raise tensor_error(Reason.INVALID_ALIAS, companion, "is given twice; give it once")
            sent[companion] = tensor


def restore(
    layout: Layout, buffer: memoryview, aliases: Mapping[str, str], names: Sequence[str], framework: Framework
) -> dict[str, Any]:
    """Give the tensors of a result over its buffer, those that were tied when sent tied again, in the order of `names`.

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
    """Give the place of each name, and of each form in which it may come back."""
    positions = {name: position for position, name in enumerate(names)}
    for position, name in enumerate(names):
        for suffix in RESULT_SUFFIXES:
            positions.setdefault(name.removesuffix(ORIG) + suffix, position)
    return positions


def _check_mapping(wanted: str, given: object) -> None:
    if isinstance(given, Mapping):
        return
    hint = "; give its `.state_dict()`" if hasattr(given, "state_dict") else ""
    raise TypeError(f"expected {wanted}, got {type(given).__name__}{hint}")


def _sound(name: str, tensor: object) -> Framework:
    """Give the adaptor of a tensor that can be sent under this name."""
    if not isinstance(name, str):
        raise TypeError(f"the names of a state dict are strings, got {name!r}")
    if not is_text(name):
        raise tensor_error(Reason.INVALID_HEADER, name, "its name is not Unicode text; rename it")
    framework = _framework(name, tensor)
    framework.describe(name, tensor)
    return framework


def _lay_out(tensors: Mapping[str, Any], form: str) -> tuple[bytes, Layout]:
    described = ((name, *_framework(name, tensor).describe(name, tensor)) for name, tensor in tensors.items())
    try:
        return build(described, {FRAMEWORK_KEY: form})
    except LayoutError as error:
        raise layout_error(error, "the state dict") from error


def _framework(name: str, tensor: object) -> Framework:
    framework = framework_of(tensor)
    if framework is None:
        wrong = f"only torch tensors and numpy arrays can be sent, got {type(tensor).__name__}; leave it out"
        raise tensor_error(Reason.UNKNOWN_DTYPE, name, wrong)
    return framework


def _ties(state_dict: StateDict, frameworks: Mapping[str, Framework]) -> dict[str, str]:
    """Map the later names of tied tensors to the first.

    Names of torch's masked form are left alone: a shared `w_orig` has a mask for each of its names.
    """
    first: dict[Hashable, str] = {}
    aliases = {}
    for name, tensor in state_dict.items():
        identity = None if _is_masked_form(name, state_dict) else frameworks[name].identity(tensor)
        if identity is not None and first.setdefault(identity, name) != name:
            aliases[name] = first[identity]
    return aliases


def _is_masked_form(name: str, state_dict: StateDict) -> bool:
    stem = name.removesuffix(ORIG).removesuffix(MASK)
    return stem + ORIG in state_dict and stem + MASK in state_dict


def _companions_first(names: Mapping[str, Any]) -> Iterator[str]:
    """Give all names in order, but each companion directly before its parameter, or last if there is none."""
    companions: dict[str, list[str]] = {}
    for name in names:
        if (owner := _owner(name)) is not None:
            companions.setdefault(owner, []).append(name)
    for name in names:
        if _owner(name) is None:
            yield from companions.pop(name.removesuffix(ORIG), ())
            yield from companions.pop(name, ())
            yield name
    for orphans in companions.values():
        yield from orphans


def _owner(name: str) -> str | None:
    for suffix in AUXILIARY:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return None
