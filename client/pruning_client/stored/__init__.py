"""Models in object stores: read by ranges, pruned in this process, and written back.

`open_stored` has a source, `StoredResult` and `StoredObject` are targets, and `prune_stored` does all of it at once.
Errors of stores are OSErrors that name the object by its URI.
"""
