"""A state dict as a source, and the bytes of a result as a state dict. Knows names; of tensors only their adaptors.

Tied tensors are sent once and tied again in the result. Companions (`w:scores`, `w:mask`, `w:mask_bits`) are sent
directly before their parameter, so that it can be pruned as soon as it has arrived.
"""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from pruning_client.errors import MismatchError, tensor_error
from pruning_client.frameworks import Framework, framework_of
from pruning_proto.layout import Layout, build
from pruning_proto.reasons import Reason

StateDict: TypeAlias = Mapping[str, Any]
"""Names to tensors, of torch or numpy."""

_COMPANIONS: Final = (":scores", ":mask", ":mask_bits")
_RESULT_SUFFIXES: Final = ("", "_orig", "_mask", ":mask_bits")


class StateDictSource:
    """A state dict laid out as a safetensors file that is never written: its pieces are views of the tensors.

    `framework` is the adaptor of its tensors, for the result.
    Raises: CheckpointError if a value is no tensor that can be sent. MismatchError if the dict is empty or a companion
    is given twice.
    """

    def __init__(
        self,
        state_dict: StateDict,
        importance_scores: StateDict | None = None,
        masks: StateDict | None = None,
    ) -> None:
        if not state_dict:
            raise MismatchError("the state dict is empty: there is nothing to prune", reason=Reason.SELECTS_NOTHING)
        frameworks = {name: _framework(name, tensor) for name, tensor in state_dict.items()}
        self.framework = next(iter(frameworks.values()))
        self.aliases = _ties(state_dict, frameworks)
        sent = {name: tensor for name, tensor in state_dict.items() if name not in self.aliases}
        self._add_companions(sent, importance_scores or {}, ":scores")
        self._add_companions(sent, masks or {}, ":mask")
        self._tensors = {name: sent[name] for name in _companions_first(sent)}
        described = ((name, *_framework(name, tensor).describe(name, tensor)) for name, tensor in self._tensors.items())
        self.header, self.layout = build(described, {"format": self.framework.FORMAT})

    def pieces(self) -> Iterator[memoryview]:
        """Give the tensors' bytes, one tensor after the other."""
        for entry in self.layout.tensors:
            tensor = self._tensors[entry.name]
            yield _framework(entry.name, tensor).view(tensor)

    def _add_companions(self, sent: dict[str, Any], companions: StateDict, suffix: str) -> None:
        for name, tensor in companions.items():
            companion = self.aliases.get(name, name) + suffix
            if companion in sent:
                raise tensor_error(Reason.INVALID_ALIAS, companion, "is given twice; give it once")
            sent[companion] = tensor


def restore(layout: Layout, buffer: memoryview, aliases: Mapping[str, str], framework: Framework) -> dict[str, Any]:
    """Give the tensors of a result over its buffer, those that were tied when sent tied again.

    Raises: CheckpointError or ImportError for a dtype that the framework lacks.
    """
    tensors = {entry.name: framework.tensor(entry, buffer[entry.begin : entry.end]) for entry in layout.tensors}
    for alias, name in aliases.items():
        for suffix in _RESULT_SUFFIXES:
            if name + suffix in tensors:
                tensors.setdefault(alias + suffix, tensors[name + suffix])
    return tensors


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
    stem = name.removesuffix("_orig").removesuffix("_mask")
    return stem + "_orig" in state_dict and stem + "_mask" in state_dict


def _companions_first(names: Mapping[str, Any]) -> Iterator[str]:
    """Give all names in order, but each companion directly before its parameter, or last if there is none."""
    companions: dict[str, list[str]] = {}
    for name in names:
        if (owner := _owner(name)) is not None:
            companions.setdefault(owner, []).append(name)
    for name in names:
        if _owner(name) is None:
            yield from companions.pop(name.removesuffix("_orig"), ())
            yield from companions.pop(name, ())
            yield name
    for orphans in companions.values():
        yield from orphans


def _owner(name: str) -> str | None:
    for suffix in _COMPANIONS:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return None
