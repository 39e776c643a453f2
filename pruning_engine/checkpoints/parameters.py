"""Parameters: which tensors of a checkpoint belong together.

A parameter `w` is one tensor `w`, or torch's masked pair `w_orig` and `w_mask`. It may have auxiliary tensors
(`w:scores`, see auxiliary_tensors.py), a scale (see scales.py) and other names (aliases). This file knows names, dtypes
and shapes, never data.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from pruning_engine.checkpoints.auxiliary_aliases import AuxiliaryAlias, find_auxiliary_aliases
from pruning_engine.checkpoints.auxiliary_tensors import AUXILIARY_TENSORS, auxiliary_suffix, described, fits
from pruning_engine.checkpoints.scales import find_scales
from pruning_engine.checkpoints.tensors import TensorDescription, TensorSpec, described_bytes
from pruning_engine.dtypes import REAL
from pruning_engine.errors import MismatchError, Reason, RequestPart
from pruning_proto.names import MASK, MASK_BITS, ORIG

__all__ = [
    "NO_AUXILIARY",
    "AuxiliaryOf",
    "Parameters",
    "TensorDescription",
    "TensorSpec",
    "described_bytes",
    "find_parameters",
]

AuxiliaryOf: TypeAlias = Mapping[str, TensorDescription]
"""The auxiliary tensors of one parameter, by suffix."""

NO_AUXILIARY: Final[AuxiliaryOf] = MappingProxyType({})
_NO_ALIASES: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """The parameters of a checkpoint by name, in the order of their weights, and what else belongs to each.

    `pair_masks`: the `w_mask` of those that came as `w_orig` and `w_mask`. `auxiliary`: by parameter, then by suffix.
    `scales`: of FP8 weights that have some; the first is the parameter's own. `auxiliary_aliases`: of the auxiliary
    tensors, those that are another parameter's.
    """

    weights: Mapping[str, TensorDescription]
    pair_masks: Mapping[str, TensorDescription]
    auxiliary: Mapping[str, AuxiliaryOf]
    scales: Mapping[str, tuple[TensorDescription, ...]]
    aliases: Mapping[str, tuple[str, ...]]
    auxiliary_aliases: tuple[AuxiliaryAlias, ...] = ()

    def names(self, parameter: str) -> tuple[str, ...]:
        """Return every name by which a selector may know a parameter."""
        return (parameter, *self.aliases.get(parameter, ()))


def find_parameters(
    tensors: Sequence[TensorDescription],
    aliases: Mapping[str, str],
    auxiliary_aliases: Mapping[str, str] = _NO_ALIASES,
) -> Parameters:
    """Group tensors into parameters. `aliases`: another name of a tensor -> its name among `tensors`.

    `auxiliary_aliases`: an auxiliary tensor that is not among `tensors` -> the one that it equals.
    Raises: MismatchError for an auxiliary tensor without its parameter or of a wrong dtype or shape, for a prior mask
        given twice, and for an alias that names no parameter or is a tensor itself.
    """
    specs = {spec.name: spec for spec in tensors}
    pairs = _pairs(specs)
    masks = {f"{name}{MASK}" for name in pairs}
    parameter_of = {f"{name}{ORIG}": name for name in pairs} | {
        name: name
        for name in specs
        if auxiliary_suffix(name) is None and name not in masks and name.removesuffix(ORIG) not in pairs
    }
    weights = {parameter_of[spec.name]: spec for spec in tensors if spec.name in parameter_of}
    other_names = _other_names(specs, aliases, parameter_of)
    scales = find_scales(specs, weights, other_names)
    for own, *_ in scales.values():
        del weights[own.name]
    owner = {other: name for name, others in other_names.items() for other in others}
    shared = tuple(find_auxiliary_aliases(auxiliary_aliases, specs, weights, owner))
    found = Parameters(
        weights=weights,
        pair_masks={name: specs[name + MASK] for name in pairs},
        auxiliary=_auxiliary(specs, weights, owner, shared),
        scales=scales,
        aliases=other_names,
        auxiliary_aliases=shared,
    )
    for name, auxiliary in found.auxiliary.items():
        _check_prior(name, found.pair_masks.get(name), auxiliary)
        _check_auxiliary(weights[name], auxiliary)
    return found


def _pairs(specs: Mapping[str, TensorDescription]) -> set[str]:
    """Return the names of masked pairs: both parts of one shape are there, and no tensor has the plain name."""
    found = set()
    for name, weight in specs.items():
        plain = name.removesuffix(ORIG)
        mask = specs.get(plain + MASK)
        may_be_pair = plain not in ("", name) and plain not in specs
        if may_be_pair and mask is not None and mask.shape == weight.shape and mask.dtype in REAL:
            found.add(plain)
    return found


def _other_names(
    specs: Mapping[str, TensorDescription], aliases: Mapping[str, str], parameter_of: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Return the other names of each parameter that has some."""
    parameters = set(parameter_of.values())
    found: dict[str, list[str]] = {}
    for alias, target in aliases.items():
        name = parameter_of.get(target, target)
        other = alias.removesuffix(ORIG) if target in parameter_of and name != target else alias
        if name not in parameters:
            _refuse_alias(alias, target, f"names {target!r}, which is not a parameter of the checkpoint")
        if alias in specs or other in parameters:
            _refuse_alias(alias, alias, "is a tensor of the checkpoint itself; send a tied tensor once")
        found.setdefault(name, []).append(other)
    return {name: tuple(others) for name, others in found.items()}


def _refuse_alias(alias: str, tensor: str, text: str) -> None:
    raise MismatchError(
        Reason.INVALID_ALIAS,
        f"alias {alias!r} {text}",
        field=f'aliases["{alias}"]',
        part=RequestPart.OPTIONS,
        tensor=tensor,
    )


def _auxiliary(
    specs: Mapping[str, TensorDescription],
    weights: Mapping[str, object],
    owner: Mapping[str, str],
    shared: Iterable[AuxiliaryAlias],
) -> dict[str, AuxiliaryOf]:
    """Return the auxiliary tensors by parameter, in the order of the weights, and by suffix, in that of the table."""
    found: dict[str, dict[str, TensorDescription]] = {}
    for name, spec in specs.items():
        suffix = auxiliary_suffix(name)
        if suffix is None:
            continue
        stem = name.removesuffix(suffix)
        parameter = owner.get(stem, stem)
        if parameter not in weights:
            raise MismatchError(
                Reason.ORPHAN_COMPANION,
                f"auxiliary tensor {name!r} has no parameter: the checkpoint has no {stem!r}",
                tensor=name,
            )
        _add_once(found, name, parameter, suffix, spec)
    for alias in shared:
        _add_once(found, alias.name, alias.parameter, alias.suffix, alias.tensor)
    return {
        name: {suffix: found[name][suffix] for suffix in AUXILIARY_TENSORS if suffix in found[name]}
        for name in weights
        if name in found
    }


def _add_once(
    found: dict[str, dict[str, TensorDescription]], name: str, parameter: str, suffix: str, spec: TensorDescription
) -> None:
    if suffix in found.setdefault(parameter, {}):
        raise MismatchError(
            Reason.NAME_COLLISION,
            f"auxiliary tensor {name!r} is given twice, under two names of parameter {parameter!r}",
            tensor=name,
        )
    found[parameter][suffix] = spec


def _check_prior(name: str, pair_mask: TensorDescription | None, auxiliary: AuxiliaryOf) -> None:
    if pair_mask is not None and MASK_BITS in auxiliary:
        raise MismatchError(
            Reason.AMBIGUOUS_PRIOR,
            f"parameter {name!r} has two prior masks, {pair_mask.name!r} and {auxiliary[MASK_BITS].name!r}; "
            f"leave one out",
            tensor=name,
        )


def _check_auxiliary(weight: TensorDescription, auxiliary: AuxiliaryOf) -> None:
    for suffix, spec in auxiliary.items():
        row = AUXILIARY_TENSORS[suffix]
        shapes = row.shapes(weight.shape)
        if not any(fits(spec.shape, shape) for shape in shapes):
            must = f"it must have shape {described(shapes)}" if shapes else "there is none: it has no input channels"
            raise MismatchError(
                Reason.SHAPE_MISMATCH,
                f"auxiliary tensor {spec.name!r} has shape {list(spec.shape)}; for {weight.name!r} of shape "
                f"{list(weight.shape)} {must}",
                tensor=spec.name,
            )
        if spec.dtype not in row.dtypes:
            raise MismatchError(
                row.dtype_reason,
                f"auxiliary tensor {spec.name!r} has dtype {spec.dtype}; allowed: {', '.join(sorted(row.dtypes))}",
                tensor=spec.name,
            )
