"""An output head and the embeddings that it may be tied to, of which only one is pruned.

A file may have both tensors although the model ties them. transformers then compares their values when it loads the
file, and unties them if they differ: the model gets larger and is trained otherwise from then on.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from pruning_engine.planning.plan import PlannedParameter
from pruning_engine.report import ModelWarning, WarningKind

_HEADS: Final = ("lm_head.weight", "embed_out.weight", "lm_head.decoder.weight", "predictions.decoder.weight")
_EMBEDDINGS: Final = tuple(
    f"{module}.weight" for module in ("embed_tokens", "word_embeddings", "tok_embeddings", "wte", "embed_in", "shared")
)
"""Last parts of names."""


def tied_head_warnings(parameters: Sequence[PlannedParameter]) -> Iterator[ModelWarning]:
    """Yield a warning for each head that is selected without embeddings of its shape and dtype, or the reverse."""
    heads = [each for each in parameters if _ends_with(each.name, _HEADS)]
    embeddings = [each for each in parameters if _ends_with(each.name, _EMBEDDINGS)]
    for head in heads:
        for embedding in embeddings:
            is_alike = (head.spec.shape, head.spec.dtype) == (embedding.spec.shape, embedding.spec.dtype)
            if is_alike and bool(head.rules) != bool(embedding.rules):
                yield _warning(*((head, embedding) if head.rules else (embedding, head)))


def _warning(selected: PlannedParameter, other: PlannedParameter) -> ModelWarning:
    return ModelWarning(
        kind=WarningKind.TIED_HEAD,
        tensor=selected.name,
        message=f"{selected.name!r} is pruned and {other.name!r}, of the same shape, is not; if the model ties the two "
        "(tie_word_embeddings in config.json), they differ afterwards, and transformers unties them when it loads the "
        "result: select both or neither",
    )


def _ends_with(name: str, ends: Sequence[str]) -> bool:
    return any(name == end or name.endswith(f".{end}") for end in ends)
