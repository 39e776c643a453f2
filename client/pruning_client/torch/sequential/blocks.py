"""The blocks of a model: layers of one list, each called once, with the output of the one before."""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from pruning_client.errors import MismatchError

_HIDDEN: Final = "hidden_states"


@dataclass(frozen=True, slots=True)
class Block:
    """A block, and its path in the model."""

    path: str
    module: nn.Module

    @property
    def prefix(self) -> str:
        """What the names of its tensors begin with."""
        return f"{self.path}."

    def state_dict(self) -> dict[str, Tensor]:
        """Return its tensors by their names in the model."""
        return {self.prefix + name: tensor for name, tensor in self.module.state_dict().items()}


@dataclass(frozen=True, slots=True)
class Call:
    """What a block is called with, apart from the hidden states, which come first."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    is_keyword: bool

    def __call__(self, block: nn.Module, hidden: Tensor) -> Tensor:
        """Return the hidden states that a block makes of these."""
        if self.is_keyword:
            return hidden_of(block(*self.args, **{**self.kwargs, _HIDDEN: hidden}))
        return hidden_of(block(hidden, *self.args, **self.kwargs))


def find_blocks(model: nn.Module, path: str | None) -> tuple[Block, ...]:
    """Return the blocks in the `nn.ModuleList` at a path; without one, in the list with the most parameters.

    Raises: MismatchError if there is none.
    """
    lists = {
        name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList) and len(module)
    }
    if path is None and lists:
        path = max(lists, key=lambda name: sum(parameter.numel() for parameter in lists[name].parameters()))
    if path is None or path not in lists:
        known = f"; it has {', '.join(lists)}" if lists else ""
        raise MismatchError(
            f"the model has no nn.ModuleList of blocks{'' if path is None else f' at {path!r}'}{known}; name one with "
            "blocks="
        )
    return tuple(Block(f"{path}.{number}", module) for number, module in enumerate(lists[path]))


def hidden_of(output: object) -> Tensor:
    """Return the hidden states in what a block returns: a tensor, or the first of a tuple."""
    hidden = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(hidden, Tensor):
        raise MismatchError(
            f"a block returns hidden states, or a tuple that begins with them; got {type(output).__name__}"
        )
    return hidden


class _StopError(Exception):
    """The last block was called: the rest of the model is not needed."""


class Recorder:
    """Records, while a model runs, what each block is called with.

    Raises: MismatchError if the blocks are not called once each, in order, each with the output of the one before.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = blocks
        self._calls: list[Call] = []
        self._first: Tensor | None = None
        self._last: Tensor | None = None

    def record(self, run: Callable[[], object]) -> tuple[Tensor, list[Call]]:
        """Return the hidden states that the first block gets, and the calls of all, while `run` runs the model."""
        with ExitStack() as stack:
            for number, block in enumerate(self._blocks):
                before, after = self._hooks(number)
                stack.callback(block.module.register_forward_pre_hook(before, with_kwargs=True).remove)
                stack.callback(block.module.register_forward_hook(after).remove)
            with suppress(_StopError):
                run()
        if self._first is None or len(self._calls) < len(self._blocks):
            raise MismatchError(
                f"only {len(self._calls)} of {len(self._blocks)} blocks were called; name their list with blocks="
            )
        return self._first, self._calls

    def _hooks(self, number: int) -> tuple[Callable[..., None], Callable[..., None]]:
        path = self._blocks[number].path

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if number != len(self._calls):
                raise MismatchError(
                    f"{path} is not called in its turn, once: blocks are pruned in the order of their list"
                )
            hidden = args[0] if args else kwargs.get(_HIDDEN)
            if not isinstance(hidden, Tensor):
                raise MismatchError(f"{path} is called without hidden states as its first argument")
            if self._last is not None and hidden is not self._last and not torch.equal(hidden, self._last):
                raise MismatchError(
                    f"{path} is not called with the output of the block before it: the model does something between "
                    "them, so that it cannot be pruned block by block"
                )
            if number == 0:
                self._first = hidden
            self._calls.append(_call(args, kwargs))

        def after(_: nn.Module, __: object, output: object) -> None:
            self._last = hidden_of(output)
            if number == len(self._blocks) - 1:
                raise _StopError

        return before, after


def _call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    named = {name: _without_cache(value) for name, value in kwargs.items() if args or name != _HIDDEN}
    return Call(tuple(map(_without_cache, args[1:])), named, is_keyword=not args)


def _without_cache(value: Any) -> Any:
    """Return an argument, but None for transformers' cache of keys and values, which grows with each call."""
    cache = getattr(sys.modules.get("transformers.cache_utils"), "Cache", None)
    return None if cache is not None and isinstance(value, cache) else value
