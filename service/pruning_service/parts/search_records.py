"""What searches for cuts have found, as records and back."""

from typing import Any

import numpy as np

from pruning_engine.selection.found_keys import Buckets, Found, Looked
from pruning_engine.selection.samples import Sampled
from pruning_service.parts.records import Record


def record_of_sampled(sampled: Sampled) -> Record:
    """Return samples as a record."""
    fields = {"unpruned": sampled.unpruned, "highest": sampled.highest, "is_uniform": sampled.is_uniform}
    return Record(fields, [_unsigned(sampled.keys), sampled.blocks, sampled.tensors])


def sampled_of(record: Record) -> Sampled:
    """Return the samples of a record."""
    keys, blocks, tensors = record.arrays
    return Sampled(keys=keys, blocks=blocks, tensors=tensors, **record.fields)


def record_of_looked(looked: Looked) -> Record:
    """Return what was found as a record."""
    names = list(looked.found)
    found = list(looked.found.values())
    fields: dict[str, Any] = {
        "below": looked.below,
        "names": names,
        "lengths": [len(each.keys) for each in found],
        "is_counted": [each.counts is not None for each in found],
        "shift": None if looked.buckets is None else looked.buckets.shift,
    }
    keys = [_unsigned(each.keys) for each in found if len(each.keys)]
    counts = [each.counts for each in found if each.counts is not None]
    buckets = [] if looked.buckets is None else [looked.buckets.counts]
    arrays = [_joined(keys, np.dtype(np.uint64)), _joined(counts, np.dtype(np.int64)), *buckets]
    return Record(fields, arrays)


def looked_of(record: Record) -> Looked:
    """Return what was found of a record."""
    fields = record.fields
    keys, counts, *buckets = record.arrays
    found: dict[str, Found] = {}
    key = count = 0
    for name, length, is_counted in zip(fields["names"], fields["lengths"], fields["is_counted"], strict=True):
        own = counts[count : count + length] if is_counted else None
        found[name] = Found(keys[key : key + length], own)
        key += length
        count += length if is_counted else 0
    shift = fields["shift"]
    return Looked(fields["below"], found, None if shift is None else Buckets(shift, buckets[0]))


def _joined(arrays: list[Any], empty: "np.dtype[Any]") -> Any:
    return np.concatenate(arrays) if arrays else np.empty(0, empty)


def _unsigned(keys: Any) -> Any:
    """Return keys as unsigned integers: all of them are from 0."""
    return keys.view(f"u{keys.dtype.itemsize}")
