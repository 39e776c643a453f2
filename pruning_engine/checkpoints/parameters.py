"""Logical parameters: what the tensors of a checkpoint stand for together.

A parameter `w` is one tensor `w`, or torch's masked pair `w_orig` and `w_mask`; beside it may stand companions
(`w:scores`, `w:mask`, `w:mask_bits`) and other names of the same tensor. Knows specs only, never data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from pruning_engine.dtypes import REAL, element_bits
from pruning_engine.errors import MismatchError, Reason
from pruning_proto.names import AUXILIARY, CUSTOM_MASK, MASK, MASK_BITS, ORIG, SCORES


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor by its name, the format's name of its dtype ("F32"), and its shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def entries(self) -> int:
        """How many entries it has."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes its entries take."""
        return (self.entries * element_bits(self.dtype) + 7) // 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalParameter:
    """A parameter and the tensors that make it up. `pair_mask` is there for `w_orig` and `w_mask`."""

    name: str
    weight: TensorSpec
    pair_mask: TensorSpec | None = None
    scores: TensorSpec | None = None
    custom_mask: TensorSpec | None = None
    mask_bits: TensorSpec | None = None
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that a selector may know it by."""
        return (self.name, *self.aliases)

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """Every tensor that makes it up."""
        parts = (self.weight, self.pair_mask, self.mask_bits, self.custom_mask, self.scores)
        return tuple(part for part in parts if part is not None)


def bits_bytes(entries: int) -> int:
    """Give the bytes of a mask of one bit an entry."""
    return (entries + 7) // 8


def companion_suffix(name: str) -> str | None:
    """Give the suffix that makes `name` a companion, if it is one."""
    return next((suffix for suffix in AUXILIARY if name.endswith(suffix) and name != suffix), None)


def logical_parameters(tensors: Sequence[TensorSpec], aliases: Mapping[str, str]) -> list[LogicalParameter]:
    """ChannelGroup tensors into parameters, in the order of their weights.

    Raises: MismatchError for a companion without its parameter or of another shape, for a prior mask given twice,
        and for an alias that names no parameter or is a tensor itself.
    """
    specs = {spec.name: spec for spec in tensors}
    pairs = _pairs(specs)
    masks = {f"{name}{MASK}" for name in pairs}
    weights = {f"{name}{ORIG}": name for name in pairs} | {
        name: name
        for name in specs
        if companion_suffix(name) is None and name not in masks and name.removesuffix(ORIG) not in pairs
    }
    other_names = _other_names(specs, aliases, weights)
    owner = {other: name for name, others in other_names.items() for other in others}
    companions = _companions(specs, set(weights.values()), owner)
    return [
        _parameter(specs, weights[spec.name], spec, companions, other_names) for spec in tensors if spec.name in weights
    ]


def _pairs(specs: Mapping[str, TensorSpec]) -> set[str]:
    """Logical names of what is in torch's masked form: both parts, one shape, and no tensor of the plain name."""
    found = set()
    for name, weight in specs.items():
        plain = name.removesuffix(ORIG)
        mask = specs.get(plain + MASK)
        is_masked_form = plain not in ("", name) and plain not in specs
        if is_masked_form and mask is not None and mask.shape == weight.shape and mask.dtype in REAL:
            found.add(plain)
    return found


def _other_names(
    specs: Mapping[str, TensorSpec], aliases: Mapping[str, str], weights: Mapping[str, str]
) -> dict[str, list[str]]:
    """The aliases by the logical name that they stand for."""
    logical = set(weights.values())
    found: dict[str, list[str]] = {}
    for alias, target in aliases.items():
        name = weights.get(target, target)
        other = alias.removesuffix(ORIG) if target in weights and name != target else alias
        if name not in logical:
            raise MismatchError(
                Reason.INVALID_ALIAS,
                f"alias {alias!r} stands for {target!r}, which is no parameter of the checkpoint",
                field=f'aliases["{alias}"]',
                tensor=target,
            )
        if alias in specs or other in logical:
            raise MismatchError(
                Reason.INVALID_ALIAS,
                f"alias {alias!r} is a tensor of the checkpoint itself; a tied tensor is sent once",
                field=f'aliases["{alias}"]',
                tensor=alias,
            )
        found.setdefault(name, []).append(other)
    return found


def _companions(
    specs: Mapping[str, TensorSpec], logical: set[str], owner: Mapping[str, str]
) -> dict[tuple[str, str], TensorSpec]:
    """The companions by (logical name, suffix)."""
    found: dict[tuple[str, str], TensorSpec] = {}
    for name, spec in specs.items():
        suffix = companion_suffix(name)
        if suffix is None:
            continue
        stem = name.removesuffix(suffix)
        parameter = owner.get(stem, stem)
        if parameter not in logical:
            raise MismatchError(
                Reason.ORPHAN_COMPANION,
                f"companion {name!r} has no parameter: the checkpoint has no {stem!r}",
                tensor=name,
            )
        if (parameter, suffix) in found:
            raise MismatchError(
                Reason.NAME_COLLISION,
                f"companion {name!r} is given twice, under two names of parameter {parameter!r}",
                tensor=name,
            )
        found[parameter, suffix] = spec
    return found


def _parameter(
    specs: Mapping[str, TensorSpec],
    name: str,
    weight: TensorSpec,
    companions: Mapping[tuple[str, str], TensorSpec],
    other_names: Mapping[str, Sequence[str]],
) -> LogicalParameter:
    parameter = LogicalParameter(
        name=name,
        weight=weight,
        pair_mask=specs[name + MASK] if weight.name != name else None,
        scores=companions.get((name, SCORES)),
        custom_mask=companions.get((name, CUSTOM_MASK)),
        mask_bits=companions.get((name, MASK_BITS)),
        aliases=tuple(other_names.get(name, ())),
    )
    _check_companions(parameter)
    return parameter


def _check_companions(parameter: LogicalParameter) -> None:
    if parameter.pair_mask is not None and parameter.mask_bits is not None:
        raise MismatchError(
            Reason.AMBIGUOUS_PRIOR,
            f"parameter {parameter.name!r} has two prior masks, {parameter.pair_mask.name!r} and "
            f"{parameter.mask_bits.name!r}; leave one out",
            tensor=parameter.name,
        )
    for companion in (parameter.scores, parameter.custom_mask):
        if companion is not None:
            _check_like(companion, parameter.weight)
    bits = parameter.mask_bits
    if bits is not None and (bits.dtype != "U8" or bits.shape != (bits_bytes(parameter.weight.entries),)):
        raise MismatchError(
            Reason.SHAPE_MISMATCH,
            f"companion {bits.name!r} is {bits.dtype} of shape {list(bits.shape)}; "
            f"it must be U8 of shape [{bits_bytes(parameter.weight.entries)}], one bit an entry",
            tensor=bits.name,
        )


def _check_like(companion: TensorSpec, weight: TensorSpec) -> None:
    if companion.shape != weight.shape:
        raise MismatchError(
            Reason.SHAPE_MISMATCH,
            f"companion {companion.name!r} has shape {list(companion.shape)}; "
            f"it must have its parameter's, {list(weight.shape)}",
            tensor=companion.name,
        )
    if companion.dtype not in REAL:
        raise MismatchError(
            Reason.UNPRUNABLE_DTYPE,
            f"companion {companion.name!r} has dtype {companion.dtype}; allowed: {', '.join(sorted(REAL))}",
            tensor=companion.name,
        )
