"""The server: assembles `pruning_engine` behind the contract of `pruning_proto`.

From the outside in: `__main__` reads `config` and runs `server`, which lists everything that wraps a call in order;
`servicer` holds the RPCs; `stream` is one Prune call, with `tensor_reader` (bytes to tensors), `admission` (memory),
`worker` (the engine, off the event loop) and `response_stream` (results to messages); `translate` and `status` turn messages
into values and errors into statuses.
"""
