"""A page of one model, or of two compared, from their files alone."""

from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path

from pruning_client.models.history_text import history_lines
from pruning_client.models.measured import MeasuredModel, MeasuredTensor, measure
from pruning_client.pages.content import PageContent, TensorFacts

WITHOUT_NUMPY = "How |w| are distributed is not shown: that needs numpy (pip install 'pruning-service[numpy]')."
"""The note of a page that was made without numpy."""


def files_page(before: str | PathLike[str], after: str | PathLike[str] | None = None) -> PageContent:
    """Return the page of a model, or of one before and after: files, indexes of shards, or folders.

    Raises: OSError. CheckpointError.
    """
    first = measure(before)
    if after is None:
        return _of_one(Path(fspath(before)).name, first)
    return _of_two(f"{Path(fspath(before)).name} → {Path(fspath(after)).name}", first, measure(after))


def notes_of(*models: MeasuredModel | None) -> list[str]:
    """Return what could not be shown of models that were read."""
    return [] if all(model.has_magnitudes for model in models if model is not None) else [WITHOUT_NUMPY]


def _of_one(title: str, model: MeasuredModel) -> PageContent:
    total = sum(tensor.entries for tensor in model.tensors.values())
    return PageContent(
        title=title,
        tensors=[replace(_facts(name, None, tensor), entries_before=None) for name, tensor in model.tensors.items()],
        has_before=False,
        total_before=total,
        total_after=total,
        bytes_after=model.bytes,
        recipe=history_lines(model.history),
        notes=notes_of(model),
    )


def _of_two(title: str, before: MeasuredModel, after: MeasuredModel) -> PageContent:
    names = dict.fromkeys([*before.tensors, *after.tensors])
    return PageContent(
        title=title,
        tensors=[_facts(name, before.tensors.get(name), after.tensors.get(name)) for name in names],
        has_before=True,
        total_before=sum(tensor.entries for tensor in before.tensors.values()),
        total_after=sum(tensor.entries for tensor in after.tensors.values()),
        bytes_before=before.bytes,
        bytes_after=after.bytes,
        recipe=history_lines(after.history),
        notes=notes_of(before, after),
    )


def _facts(name: str, before: MeasuredTensor | None, after: MeasuredTensor | None) -> TensorFacts:
    shown = after or before
    assert shown is not None  # noqa: S101 - the name is of one of the two
    return TensorFacts(
        name=name,
        dtype=shown.dtype,
        shape=shown.shape,
        entries_before=0 if before is None else before.entries,
        zeros_before=None if before is None else before.zeros,
        zeros=shown.zeros,
        is_removed=after is None,
        before=None if before is None else before.magnitudes,
        after=None if after is None else after.magnitudes,
    )
