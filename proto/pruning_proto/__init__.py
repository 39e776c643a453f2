"""The contract between client and server, and what both need to speak it.

`v1/pruning.proto` is the one hand-written contract. Beside it: the safetensors header (`layout`), model bytes
to messages and back (`framing`), why calls fail (`reasons`), and numbers both sides agree on (`limits`).
Nothing here opens a socket or knows a tensor library.
"""
