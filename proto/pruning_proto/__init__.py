"""The contract between client and server, and what both need to speak it.

`v1/pruning.proto` is the one hand-written contract. Beside it are the safetensors header and dtypes (`safetensors`),
the packed format (`packed`), model bytes to messages and back (`framing`), the tables of names, output formats, methods
and reasons (`names`, `formats`, `methods`, `reasons`), and numbers that both sides agree on (`limits`). Nothing here
opens a socket or knows a tensor library, and this file imports nothing: the engine takes names, formats and dtypes from
here without gRPC or protobuf.
"""
