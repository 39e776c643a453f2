"""Numbers that client and server agree on. A server reports those that it may set differently in its capabilities."""

from typing import Final

MIB: Final = 1024 * 1024

CHUNK_BYTES: Final = 2 * MIB
"""Bytes of model in one `data` message: where a larger one no longer streams faster."""

WHOLE_BYTES: Final = MIB // 4
"""The largest model that comes in one message with its options: it is pruned on the event loop."""

MESSAGE_BYTES: Final = 4 * MIB
"""gRPC's own default limit of one received message; it also bounds what decompresses."""

DESCRIPTION_BYTES: Final = MIB // 4
"""What one message of a Plan or Report holds, unless one tensor alone takes more: a few milliseconds of work."""

TENSOR_DESCRIPTION_BYTES: Final = MIB
"""What a tensor's name and shape take at most, so that a message stays well below MESSAGE_BYTES."""

GROUP_NAMES_BYTES: Final = MIB // 2
"""What the names of a group's tied tensors take at most; with the numbers of its units, the same holds of it."""

HEADER_BYTES: Final = 8 * MIB
"""A server's default limit of a safetensors header: about 100,000 tensors."""

HEADER_BYTES_CEILING: Final = 100_000_000
"""The format's own limit of a header, and the most that a server may be set to allow."""

RULES: Final = 100
"""Rules in one recipe."""

PATTERNS: Final = 1000
"""Patterns with wildcards in one recipe: ten for each of the most rules. Each is matched with every name."""

REGULAR_EXPRESSIONS: Final = 100
"""Patterns after `re:` in one recipe. Each may take a MiB while a call is planned."""

PATTERN_BYTES: Final = 4096
"""Bytes of one pattern: an alternative of about 100 full names."""

ALIASES: Final = 10_000
"""Aliases in one request, of tensors and auxiliary tensors. A checkpoint of 10,000 that are all tied is not known."""

INPUT_DIMS: Final = 50_000
"""Input dims in one request: one for each tensor of a model of many experts. Their names are in OPTIONS_BYTES."""

SCAN_SPARSITIES: Final = 64
"""Points of one curve of predicted error; each takes one selection of the tensor."""

MODEL_TYPE_BYTES: Final = 256
"""Bytes of a model_type; the longest of transformers has 40."""

OPTIONS_BYTES: Final = 2 * MIB
"""Bytes of the options. Groups written by hand for a model of 100 layers take about 100 KiB."""

JOB_REQUEST_BYTES: Final = OPTIONS_BYTES + 64 * 1024
"""Bytes of the request of a job: its options, three URIs and labels."""

METADATA_KEYS: Final = 100_000
"""Keys in a file's metadata; of a million, each copy would keep all other threads waiting for 30 ms."""

HISTORY_BYTES: Final = MIB
"""What the history in a file's metadata takes at most, as JSON: thousands of rounds, or ten of groups by hand."""

HISTORY_READ_BYTES: Final = 2 * MIB
"""The longest history that is read; a longer one is replaced: its JSON would be parsed at one stroke."""

VIOLATIONS: Final = 20
"""Violations named in one error; metadata of a call breaks at 8 KiB."""

STATUS_MESSAGE_BYTES: Final = 2048
"""Bytes of an error's text; longer ones are cut, for the same reason."""
