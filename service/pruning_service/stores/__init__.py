"""Objects in stores: read by ranges, written whole or not at all. The interface of this package:

    with Stores(StoreSettings(endpoint=..., allowed=...)) as stores:   # settings can be pickled
        store = stores.open(StoreUri.parse("s3://bucket/model"))       # a `Store`; keys are relative to that place
        found = store.find("config.json")                              # StoredObject(key, size, version)
        for piece in store.read(found, [(0, 100), (500, 900)]): ...    # memoryviews, in order; version pinned
        store.read_into(found, begin, memoryview_to_fill)
        data, version = store.get("config.json")                       # a small object, whole
        version = store.create("lease", b"...")                        # If-None-Match: *; raises ExistsError
        version = store.replace("lease", b"...", version)              # If-Match; raises ReplacedError
        store.put("result", b"..."); store.delete("result"); store.list("parts")
        with store.writer("model.safetensors", size) as writer:        # multipart; gone unless completed
            writer.write(data)
            writer.complete()

`stores.open_object(uri)` returns the store and the key of one object. A server asks
`settings.allowed.check(uri, caller)` for each URI of a request, which returns its `Place` (ROOT), or raises
NotAllowedError; `Stores.open` itself refuses what is in no place at all. Errors are in `errors`, all of them OSErrors.
`stores.traffic.counts()` has bytes, requests and retries by scheme. Functions block, and may be called from any
thread; nothing here imports grpc, pydantic, numpy or the engine.
"""
