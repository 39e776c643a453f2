"""The default targets: the weights of layers, recognized by name and number of dims alone.

A checkpoint does not say of which class a tensor's module is. `WEIGHT_NAMES` and `EXPERT_NAMES` are what layers call
their weights. `NOT_LAYERS` are modules whose weights are not a layer's, by what they are usually called; such a weight
is pruned only where a rule includes it. tests/engine/planning/test_default_targets.py compares the tables with the
classes of the modules of some 700 architectures.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from pruning_engine.planning.selectors.not_selected import NotSelected

LEAST_DIMS: Final = 2
"""The dims that the default targets have at least."""

WEIGHT_NAMES: Final = ("*weight", "weight_[ih]h*", "weight_hr*", "*weight_v", "weight_orig")
"""What layers call their weights: most of them; recurrent ones, and their projections; weight-normed ones (w = g * v /
|v|: zeros of v are zeros of w); spectral-normed ones (w = orig / sigma)."""

EXPERT_NAMES: Final = ("*_proj", "w[0-9]", "w[0-9][0-9]", "v1", "wi", "wi_[0-9]", "wo")
"""What a module `*experts` calls weights in which those of all experts are stacked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotLayer:
    """Modules whose weights are not a layer's, by what they are called, in lower case.

    `modules`: patterns of the last segment before the weight that is not a number, or with a dot of the last two.
    `but`: patterns of those that are layers all the same. `in_list`: only for modules in a list that is called so
    (`lm_heads.0`), or only for others; None: for both. `outside_layers`: only if no segment of the name is a number.
    `most_dims`: of the weights; None: any.
    """

    why: NotSelected
    modules: tuple[str, ...]
    but: tuple[str, ...] = ()
    in_list: bool | None = None
    outside_layers: bool = False
    most_dims: int | None = None


ROUTER_WORD: Final = "router"
"""A weight with this word anywhere in its name is a router's: routers are modules of several layers, too."""

NOT_LAYERS: Final = (
    NotLayer(why=NotSelected.NORM, modules=("*norm*", "ln", "ln_*", "ln[0-9]", "*_ln", "grn")),
    NotLayer(why=NotSelected.ROUTER, modules=("gate", "gate.*", "*shared_expert_gate*")),  # `gate_proj` is a layer
    NotLayer(
        why=NotSelected.OUTPUT_HEAD,
        modules=(
            *("lm_head", "*_lm_head", "lm_heads", "lm_loss", "embed_out", "unembed", "vocab_projector"),
            *("lm_head.out_proj", "pred_layer.proj", "*predictions.decoder", "*head.decoder", "shared_head.head"),
            *("to_logits", "transformer.output_layer", "language_model.output_layer"),
        ),
        most_dims=2,
    ),
    NotLayer(
        why=NotSelected.OUTPUT_HEAD,
        modules=("head", "output", "output_projection"),
        in_list=False,
        outside_layers=True,  # `layers.0.attention.output` is a layer
        most_dims=2,
    ),
    NotLayer(
        why=NotSelected.EMBEDDING,
        modules=(
            *("*embed", "*_embeds", "*embedding", "*embeddings", "*embeddings_[0-9]", "embed_*", "*embed_tokens*"),
            *("*embed*_table", "*embeds_layer", "*embedder_[0-9]*", "row_embedder", "column_embedder"),
            *("emb", "*_emb", "*_embs", "wte", "wpe", "lut", "shared", "codebook", "*_token", "*_tokens"),
            *("relative_attention_bias", "position_encoding", "pe_k", "queries_*", "query_feat"),
        ),
        but=("*patch_embed*", "class_embed", "*_out_class_embed", "vision_embed_tokens"),  # Linear, or a convolution
        in_list=False,
        most_dims=2,  # with more it is a convolution
    ),
    NotLayer(
        why=NotSelected.EMBEDDING,
        modules=(
            *("embed_tokens", "*embeddings", "*embedding_list", "*_embs", "*embeds_layers", "point_embed"),
            *("emb_l", "emb_luts"),
        ),
        in_list=True,  # a list of tables; `time_embedding.0` is in a sequence of layers
        most_dims=2,
    ),
)
"""What is not among the default targets. The first row that matches says why."""

_CACHED_CHARS: Final = 128
"""The longest name of a module that is kept between calls: a caller chooses it, and a cache outlives its call."""

_WRAPPERS: Final = ("base_layer", "original_module")
"""What PEFT calls a module that it has wrapped: `lm_head.base_layer` is an `lm_head`."""

_COPIES: Final = "modules_to_save"
"""What PEFT calls the copies of a module that it trains, each by the name of its adapter: `modules_to_save.default`."""

_MOST_WRAPPED: Final = 2
"""How often PEFT may wrap a module: once for each of the two weights of stacked experts."""

_PARAMETRIZED: Final = "parametrizations"  # torch.nn.utils.parametrizations: PATH.parametrizations.weight.original1
_DIRECTION: Final = "original1"  # of weight_norm; `original0` has the lengths of the rows

_Matcher: TypeAlias = Callable[[str], re.Match[str] | None]


class _Module(NamedTuple):
    """The module of a weight: its name and its parent's; whether it is in a list of that name, and in a layer."""

    parent: str
    name: str
    in_list: bool
    in_layer: bool


def is_weight_name(name: str) -> bool:
    """Whether a layer may call a weight by this full name."""
    path, own = _split(name)
    if _is_weight(own) is not None:
        return not own.endswith("_g")  # `weight_ih_l0_g`: the lengths of weight-normed rows
    return _is_expert(own) is not None and _module(path).name.endswith("experts")


def not_a_layer(name: str, dims: int) -> NotSelected | None:
    """Return why the weight of this full name is not a layer's; None: it is."""
    lower = name.lower()
    if ROUTER_WORD in lower:
        return NotSelected.ROUTER
    path, _ = _split(lower)
    module = _module(path)
    is_long = len(module.parent) + len(module.name) > _CACHED_CHARS
    return _reason(module, dims) if is_long else _cached_reason(module, dims)


def _split(name: str) -> tuple[str, str]:
    """Return the path of the module that owns a tensor, and what the module calls it."""
    path, _, own = name.rpartition(".")
    if own != _DIRECTION:
        return path, own
    module, _, parametrized = path.rpartition(".")
    is_parametrized = module == _PARAMETRIZED or module.endswith("." + _PARAMETRIZED)
    return (module.removesuffix(_PARAMETRIZED).removesuffix("."), parametrized) if is_parametrized else (path, own)


def _unwrapped(path: str) -> str:
    """Return the path of a module without what PEFT adds to it."""
    for _ in range(_MOST_WRAPPED):
        before, _, name = path.rpartition(".")
        outer, _, copies = before.rpartition(".")
        if name in _WRAPPERS:
            path = before
        elif copies == _COPIES:
            path = outer
    return path


def _without_numbers(path: str) -> str:
    """Return a path without the numbers at its end, in one pass: a caller chooses how many there are."""
    trimmed = path.rstrip(".0123456789")
    end = path.find(".", len(trimmed))
    if path[end + 1 :].rpartition(".")[2].isdecimal():
        return path[:end] if trimmed and end >= 0 else ""
    return path


def _module(path: str) -> _Module:
    path = _unwrapped(path)
    in_list = path.rpartition(".")[2].isdecimal()
    before, _, name = _without_numbers(path).rpartition(".")
    in_layer = in_list or any(map(str.isdigit, before.split(".")))
    return _Module(before.rpartition(".")[2], name, in_list, in_layer)


def _reason(module: _Module, dims: int) -> NotSelected | None:
    return next((row.not_layer.why for row in _ROWS if row.matches(module, dims)), None)


_cached_reason: Final = lru_cache(maxsize=4096)(_reason)


def _matcher(patterns: Iterable[str]) -> _Matcher:
    """Return what matches any of several globs; without globs, nothing."""
    return re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)").match


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of `NOT_LAYERS`, compiled."""

    not_layer: NotLayer
    is_name: _Matcher
    is_path: _Matcher
    is_layer: _Matcher

    def matches(self, module: _Module, dims: int) -> bool:
        """Whether the row has this module, and weights of so many dims."""
        row = self.not_layer
        if (row.in_list is not None and row.in_list != module.in_list) or (row.outside_layers and module.in_layer):
            return False
        if row.most_dims is not None and dims > row.most_dims:
            return False
        is_called_so = self.is_name(module.name) or self.is_path(f"{module.parent}.{module.name}")
        return bool(is_called_so) and not self.is_layer(module.name)


_is_weight: Final = _matcher(WEIGHT_NAMES)
_is_expert: Final = _matcher(EXPERT_NAMES)
_ROWS: Final = tuple(
    _Row(
        row,
        is_name=_matcher(pattern for pattern in row.modules if "." not in pattern),
        is_path=_matcher(pattern for pattern in row.modules if "." in pattern),
        is_layer=_matcher(row.but),
    )
    for row in NOT_LAYERS
)
