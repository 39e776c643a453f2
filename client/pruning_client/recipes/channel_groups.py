"""Coupled channels: `Group` and `Tie`, their builders, and the short form of a tie.

A group lists where its channels lie, one `Tie` for each tensor: channel u of the first tie is channel u of all.

    group(["gate_proj.weight:0", "up_proj.weight:0", "down_proj.weight:1"], for_each="model.layers.*.mlp")

`NAME:DIM` is a tie whose units are the positions of one dim; `tie` describes other layouts. What is invalid in itself
is refused here; whether it fits the checkpoint is checked by the server.
"""

import re
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Final, TypeAlias

from pruning_client.errors import is_text, recipe_error
from pruning_client.recipes.value import Value
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

_SHORT: Final = re.compile(r"(?P<tensor>.+):(?P<dim>-?[0-9]{1,9})", re.DOTALL)
_LARGEST: Final = 2**64 - 1


class Tie(Value[pb.Tie]):
    """Where the channels of a group lie in one tensor, as `tie` returns it. Prints as what makes it.

    Example:
        >>> rules.tie("fc.weight", 1, inner=16)
        tie('fc.weight', 1, inner=16)
    """

    __slots__ = ()
    _message_type = pb.Tie

    @property
    def tensor(self) -> str:
        """The name of the tensor; after the prefix of a group that has `for_each`."""
        return self.to_message().tensor

    @property
    def dim(self) -> int:
        """The dim of the tensor that the channels are along."""
        return self.to_message().dim

    def __repr__(self) -> str:
        message = self.to_message()
        usual = {"offset": 0, "outer": 1, "inner": 1, "may_be_missing": False}  # in a message, 0 too
        given = {name: getattr(message, name) for name in usual}
        others = {name: value for name, value in given.items() if value and value != usual[name]}
        others |= {"indices": list(message.indices)} if message.indices else {}
        others |= {"scored": message.scored} if message.HasField("scored") else {}
        if not others:
            return repr(f"{message.tensor}:{message.dim}")
        return f"tie({message.tensor!r}, {message.dim}, {_keywords(others)})"


TieLike: TypeAlias = str | Tie
"""A tie, or its short form `gate_proj.weight:0`."""


class Group(Value[pb.Group]):
    """A group of coupled channels, as `group` or `torch.derive_groups` returns it. Prints as the call that makes it.

    Example:
        >>> rules.group(["fc1.weight:0", "fc1.bias:0", "fc2.weight:1"])
        group(['fc1.weight:0', 'fc1.bias:0', 'fc2.weight:1'])
    """

    __slots__ = ()
    _message_type = pb.Group

    @property
    def ties(self) -> tuple[Tie, ...]:
        """Where the channels lie: channel u of the first is channel u of all."""
        return tuple(map(Tie.from_message, self.to_message().ties))

    @property
    def units(self) -> int | None:
        """The number of channels; None: that of the first plain tie."""
        return self.to_message().units or None

    def __repr__(self) -> str:
        message = self.to_message()
        others = {name: getattr(message, name) for name in ("for_each", "units") if getattr(message, name)}
        others |= {"config": dict(message.config)} if message.config else {}
        return f"group({', '.join([repr(list(self.ties)), *([_keywords(others)] if others else [])])})"


def _keywords(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def group(
    ties: TieLike | Iterable[TieLike],
    *,
    for_each: str = "",
    units: int | None = None,
    config: Mapping[str, int] | None = None,
) -> Group:
    """Return a group of coupled channels: unit u of the first tie is unit u of all.

    `for_each` is a glob of whole name segments, `model.layers.*.mlp`: one group for each prefix that it matches, and
    the ties' names follow the prefix and a dot. `units` is the number of units; if absent, that of the first plain tie.
    `config` names the fields of the model's config.json that count these units, and how much one unit counts in each.
    Raises: RecipeError.
    Example:
        >>> rules.group(['fc1.weight:0', 'fc1.bias:0', 'fc2.weight:1'])
        group(['fc1.weight:0', 'fc1.bias:0', 'fc2.weight:1'])
    """
    all_ties = [ties] if isinstance(ties, str | Tie) else list(ties)
    if not all_ties:
        raise recipe_error(Reason.INVALID_RECIPE, "ties", "a group needs at least one tie, such as 'fc.weight:0'")
    message = pb.Group(for_each=_text(for_each, "for_each"))
    message.ties.extend(_tie(value, f"ties[{index}]") for index, value in enumerate(all_ties))
    if units is not None:
        message.units = _count(units, "units", least=1)
    for name, per_unit in (config or {}).items():
        message.config[_text(name, "config")] = _count(per_unit, f'config["{name}"]', least=1)
    return Group.from_message(message)


def tie(  # noqa: PLR0913 - the fields of a message, each by keyword
    tensor: str,
    dim: int = 0,
    *,
    offset: int = 0,
    outer: int = 1,
    inner: int = 1,
    indices: Iterable[int] = (),
    scored: bool | None = None,
    may_be_missing: bool = False,
) -> Tie:
    """Return where the units lie in one tensor: along `dim` from `offset`, seen as (outer, units, inner).

    Unit u owns the positions [:, u, :] of that; with `indices`, those at indices[u * inner] up to
    indices[(u + 1) * inner]. `scored`: whether its entries count in a unit's importance; None: yes for a floating-point
    tensor of 2 dims or more.

    Raises: RecipeError.
    Example:
        >>> rules.tie('fc.weight', 1, inner=16)  # channels of 4 x 4 that were flattened
        tie('fc.weight', 1, inner=16)
    """
    if not tensor:
        raise recipe_error(Reason.INVALID_RECIPE, "tensor", "a tie needs the name of a tensor")
    message = pb.Tie(tensor=_text(tensor, "tensor"), dim=_dim(dim), may_be_missing=may_be_missing)
    message.indices.extend(_count(index, "indices") for index in indices)
    if message.indices and (offset or outer != 1):
        raise recipe_error(Reason.INVALID_RECIPE, "indices", "they take the place of offset and outer; leave those out")
    for name, value, usual in (("offset", offset, 0), ("outer", outer, 1), ("inner", inner, 1)):
        if value != usual:
            setattr(message, name, _count(value, name, least=usual))
    if scored is not None:
        message.scored = scored
    return Tie.from_message(message)


def tie_of(text: str, path: str) -> pb.Tie:
    """Return the tie that `NAME:DIM` is short for. Raises: RecipeError with `path` if it is not of this form."""
    match = _SHORT.fullmatch(text)
    if match is None:
        description = f"a tie in short is NAME:DIM, such as gate_proj.weight:0; got {text[:80]!r}"
        raise recipe_error(Reason.INVALID_RECIPE, path, description)
    return pb.Tie(tensor=_text(match["tensor"], path), dim=int(match["dim"]))


def _tie(value: TieLike, path: str) -> pb.Tie:
    if isinstance(value, Tie):
        return value.to_message()
    if isinstance(value, str):
        return tie_of(value, path)
    raise recipe_error(Reason.INVALID_RECIPE, path, f"a tie is text, NAME:DIM, or a Tie; got {value!r}")


def _dim(dim: int) -> int:
    if not isinstance(dim, Integral) or not -(2**31) <= dim < 2**31:
        raise recipe_error(Reason.INVALID_RECIPE, "dim", f"a dim is an integer of 32 bits, got {dim!r}")
    return int(dim)


def _count(value: int, field: str, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= value <= _LARGEST:
        description = f"this is an integer, {least} to 2^64 - 1; got {value!r}"
        raise recipe_error(Reason.INVALID_RECIPE, field, description)
    return int(value)


def _text(text: str, field: str) -> str:
    if not isinstance(text, str) or not is_text(text):
        raise recipe_error(Reason.INVALID_RECIPE, field, f"this is Unicode text, got {text!r}")
    return text
