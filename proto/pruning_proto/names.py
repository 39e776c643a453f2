"""Names that client, service and engine agree on: suffixes of tensors, keys of metadata, paths of RPCs."""

from typing import Final

# Tensors of one parameter `w`.

ORIG: Final = "_orig"
"""`w_orig`: the weight, in the form that torch's pruning leaves in a state dict."""

MASK: Final = "_mask"
"""`w_mask`: its mask, in the same form."""

SCORES: Final = ":scores"
"""`w:scores`: importance scores, ranked instead of `w`."""

CUSTOM_MASK: Final = ":mask"
"""`w:mask`: the mask that a `custom_mask` rule applies."""

MASK_BITS: Final = ":mask_bits"
"""`w:mask_bits`: a prior mask, and the mask of a result in format MASK: one bit per entry."""

IN_NORM: Final = ":in_norm"
"""`w:in_norm`: one norm per input channel, by which a `weighted_magnitude` rule multiplies `|w|`."""

IN_SUM2: Final = ":in_sum2"
"""`w:in_sum2`: the sum of x^2 over tokens, for each input channel."""

IN_SUM: Final = ":in_sum"
"""`w:in_sum`: the sum of x over tokens, for each input channel."""

IN_COUNT: Final = ":in_count"
"""`w:in_count`: the number of tokens in the sums."""

IN_GRAM: Final = ":in_gram"
"""`w:in_gram`: the Gram matrix X^T X of the inputs."""

INPUTS: Final = ":inputs"
"""`w:inputs`: rows of the inputs X, of which the server makes the Gram matrix."""

OUT_GRAM: Final = ":out_gram"
"""`w:out_gram`: the Gram matrix of the gradients of a loss with respect to the outputs of the layer."""

UNIT_SCORES: Final = ":unit_scores"
"""`w:unit_scores`: one number per unit of the channel group whose first tensor is `w`."""

UNIT_SUM: Final = ":unit_sum"
"""`g:unit_sum`: sums per unit of the channel group `g`, in files with scores of units; additive, unlike scores."""

UNIT_COUNT: Final = ":unit_count"
"""`g:unit_count`: how much was added to those sums, for each unit or for all; a score is a sum divided by its count."""

STATISTICS: Final = (IN_SUM2, IN_SUM, IN_COUNT, IN_GRAM, INPUTS, OUT_GRAM)
"""The suffixes of statistics: what a caller measured of the inputs of a layer, and of the gradients of its outputs."""

AUXILIARY: Final = (SCORES, CUSTOM_MASK, MASK_BITS, IN_NORM, *STATISTICS, UNIT_SCORES)
"""The suffixes of auxiliary tensors. A closed list: `kernel:0` is an ordinary name."""

SCALED: Final = frozenset({"F8_E4M3", "F8_E5M2"})
"""Dtypes of weights that may have a scale."""

SCALE_SUFFIXES: Final = ("_scale_inv", "_scale")
"""`w_scale_inv`, `w_scale`: the scale of an FP8 weight `w`, as transformers and compressed-tensors name it."""

SCALE_SIBLINGS: Final = (".scale_weight", ".qscale_weight", ".scale")
"""The scale of an FP8 weight `x.weight` beside it, as ComfyUI, Mistral and DeepSeek's own files name it."""

RESULT_SUFFIXES: Final = ("", ORIG, MASK, MASK_BITS)
"""What a result adds to the name of a parameter, over all output formats."""

# Keys of a file's `__metadata__`.

HISTORY_KEY: Final = "pruning.v1"
"""A JSON list: each round of pruning, with its recipe and the server's version."""

CONFIG_KEY: Final = "pruning.config.v1"
"""A JSON object: fields of the model's config.json that count removed channels, and their new values."""

PACKED_KEY: Final = "pruning.packed.v1"
"""A JSON object: the shape of each packed tensor by name. It makes a file a packed one."""

PACKED_ORDER_KEY: Final = "pruning.packed.order.v1"
"""A JSON list: where the tensors of a packed file, in its order, are in the dense one; absent if the order is equal."""

ZSTD_KEY: Final = "pruning.packed.v2"
"""A JSON object: dtype and shape of each tensor by name. It makes a file a compressed packed one."""

FRAMEWORK_KEY: Final = "format"
"""The framework that a file was written for, as loaders expect it."""

FRAMEWORK: Final = "pt"
"""The value of `format` where a file has none: transformers 4 and accelerate refuse metadata without a known one."""

SHARDING_KEY: Final = "DCP_SHARDING_INFO"
"""A JSON object: where the slices of a file begin in their tensors, as torch's distributed checkpoints have it."""

# Environment variables.

SERVER_VARIABLE: Final = "PRUNING_SERVER"
"""The servers of the command line where it has no `--server`. Not a setting of a server, which ignores it."""

# RPCs and the metadata of calls.

SERVICE: Final = "pruning.v1.PruningService"

PRUNE_PATH: Final = f"/{SERVICE}/Prune"

PRUNE_CHECKPOINT_PATH: Final = f"/{SERVICE}/PruneCheckpoint"

OPERATIONS: Final = "google.longrunning.Operations"

GET_CAPABILITIES_PATH: Final = f"/{SERVICE}/GetCapabilities"

REQUEST_ID_KEY: Final = "x-request-id"
"""The metadata in which every reply names its call."""

STATUS_DETAILS_KEY: Final = "grpc-status-details-bin"
"""The trailer that carries `google.rpc.Status`, where every gRPC client looks for it."""


def scale_names(weight: str) -> tuple[str, ...]:
    """Return the names that the scale of an FP8 weight may have, most usual first."""
    beside = weight.removesuffix(".weight")
    siblings = () if beside == weight else tuple(beside + name for name in SCALE_SIBLINGS)
    return (*(weight + suffix for suffix in SCALE_SUFFIXES), *siblings)
