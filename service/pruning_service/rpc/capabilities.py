"""What this server offers, as GetCapabilities tells it."""

from collections.abc import Iterator
from importlib.metadata import version

from pruning_engine.dtypes import PRUNABLE
from pruning_engine.planning.installed_methods import installed_methods
from pruning_engine.recipe.builtin_groups import MAPS
from pruning_proto import limits
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.calls.prune_call import Resources
from pruning_service.messages.translate import OUTPUTS

_UNSTRUCTURED = ("amount", "scope", "select", "prior")
_STRUCTURED = (*_UNSTRUCTURED, "granularity.channels.dim")
_UNITS = tuple(f"granularity.units.{field}" for field in ("groups", "map", "head_dim", "round_to", "same_width"))

METHODS = (
    pb.Method(
        name="identity",
        description="Prunes nothing, but gives the tensor a mask.",
        parameters=("select", "prior"),
    ),
    pb.Method(
        name="random_unstructured",
        description="Prunes random entries.",
        parameters=_UNSTRUCTURED,
    ),
    pb.Method(
        name="l1_unstructured",
        description="Prunes the entries of least magnitude, or of least importance score.",
        parameters=(*_UNSTRUCTURED, "score.importance_scores"),
    ),
    pb.Method(
        name="random_structured",
        description="Prunes random channels along a dim.",
        parameters=_STRUCTURED,
    ),
    pb.Method(
        name="ln_structured",
        description="Prunes the channels of least norm along a dim.",
        parameters=(*_STRUCTURED, "score.magnitude.norm", "score.importance_scores"),
    ),
    pb.Method(
        name="custom_from_mask",
        description="Prunes what the mask sent beside the tensor marks 0.",
        parameters=("select", "prior"),
    ),
    pb.Method(
        name="remove_units",
        description="Prunes channels that are tied, in all tensors of their group; form REMOVED takes them out.",
        parameters=("amount", "scope", "prior", *_UNITS, "score.magnitude.norm", "score.importance_scores"),
    ),
    pb.Method(
        name="remove_random",
        description="Prunes random channels that are tied, as remove_units does.",
        parameters=("amount", "scope", "prior", *_UNITS),
    ),
    pb.Method(
        name="remove_dead",
        description="Prunes tied channels of which every entry, running statistics aside, is zero or pruned.",
        parameters=("prior", *_UNITS),
    ),
)
"""The methods of torch.nn.utils.prune, and the removal of units, which torch has none of.

`global_unstructured` is any of the unstructured ones in global scope.
"""

_PACKAGES = ("grpcio", "numpy", "protobuf", "safetensors", "torch")


def _installed() -> Iterator[pb.Method]:
    for name in installed_methods():
        yield pb.Method(
            name=name,
            description="Installed on this server.",
            parameters=("select", "prior", "score.method.arguments"),
            installed=True,
        )


def capabilities(resources: Resources) -> pb.GetCapabilitiesResponse:
    """Describe a server."""
    settings = resources.settings
    return pb.GetCapabilitiesResponse(
        version=resources.version,
        methods=[*METHODS, *_installed()],
        outputs=[output for output in OUTPUTS if output != pb.OUTPUT_FORM_UNSPECIFIED],
        prunable_dtypes=sorted(PRUNABLE),
        devices=[str(resources.worker.device)],
        limits=pb.Limits(
            message_bytes=limits.MESSAGE_BYTES,
            header_bytes=settings.header_bytes,
            memory_bytes=settings.memory_bytes,
            chunk_bytes=limits.CHUNK_BYTES,
            rules=limits.RULES,
            tensors=settings.max_tensors,
            streams_per_connection=settings.max_streams_per_connection,
            calls=settings.max_calls,
        ),
        maps=[
            pb.Map(name=name, description=each.description, parameters=each.parameters) for name, each in MAPS.items()
        ],
        versions={package: version(package) for package in _PACKAGES},
    )
