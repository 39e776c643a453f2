"""Auxiliary tensors that several weights share: sent once, beside one of them.

The Gram matrix of the inputs of `q_proj` is that of `k_proj` too. An alias maps the name of an auxiliary tensor that is
not in the checkpoint (`k_proj.weight:in_gram`) to that of one that is (`q_proj.weight:in_gram`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

from pruning_engine.checkpoints.auxiliary_tensors import AUXILIARY_TENSORS, auxiliary_suffix, described, fits
from pruning_engine.checkpoints.tensors import TensorDescription
from pruning_engine.errors import MismatchError, Reason, RequestPart


@dataclass(frozen=True, slots=True, kw_only=True)
class AuxiliaryAlias:
    """An auxiliary tensor of a parameter that is the one of another. `name`: the one that is not in the checkpoint."""

    name: str
    parameter: str
    suffix: str
    tensor: TensorDescription

    @property
    def field(self) -> str:
        """Its path in the request."""
        return alias_field(self.name)


def alias_field(alias: str) -> str:
    """Return the path of an alias in the request."""
    return f'auxiliary_aliases["{alias}"]'


def find_auxiliary_aliases(
    aliases: Mapping[str, str],
    specs: Mapping[str, TensorDescription],
    weights: Mapping[str, TensorDescription],
    owner: Mapping[str, str],
) -> Iterator[AuxiliaryAlias]:
    """Return the aliases with what they stand for. `owner`: another name of a weight -> its name among `weights`.

    Raises: MismatchError INVALID_ALIAS with the path of an alias that is or names no such tensor, or one that does not
        fit its weight.
    """
    for alias, target in aliases.items():
        suffix = auxiliary_suffix(alias)
        if suffix is None:
            kinds = ", ".join(AUXILIARY_TENSORS)
            _refuse(alias, f"is not the name of an auxiliary tensor: that of a weight and one of {kinds}")
        if alias in specs:
            _refuse(alias, "is a tensor of the checkpoint itself; leave out one of both")
        stem = alias.removesuffix(suffix)
        parameter = owner.get(stem, stem)
        if parameter not in weights:
            _refuse(alias, f"has no weight: the checkpoint has no {stem!r}")
        if target in aliases:
            _refuse(alias, f"names another alias, {target!r}; name the tensor that is in the checkpoint")
        if target not in specs:
            _refuse(alias, f"names {target!r}, which is not in the checkpoint")
        if auxiliary_suffix(target) != suffix:
            _refuse(alias, f"names {target!r}; it must be an auxiliary tensor of the same kind, {suffix!r}")
        found = AuxiliaryAlias(name=alias, parameter=parameter, suffix=suffix, tensor=specs[target])
        _check_shape(found, weights[parameter])
        yield found


def _check_shape(alias: AuxiliaryAlias, weight: TensorDescription) -> None:
    shape, allowed = alias.tensor.shape, AUXILIARY_TENSORS[alias.suffix].shapes(weight.shape)
    if not any(fits(shape, each) for each in allowed):
        must = f"it must have shape {described(allowed)}" if allowed else "there is none: it has no input channels"
        of_weight = f"for {weight.name!r} of shape {list(weight.shape)} {must}"
        _refuse(alias.name, f"names {alias.tensor.name!r} of shape {list(shape)}; {of_weight}")


def _refuse(alias: str, text: str) -> NoReturn:
    raise MismatchError(
        Reason.INVALID_ALIAS,
        f"auxiliary alias {alias!r} {text}",
        field=alias_field(alias),
        part=RequestPart.OPTIONS,
        tensor=alias,
    )
