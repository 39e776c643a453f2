"""What a server, or a local run, offers."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from pruning_engine.dtypes import PRUNABLE
from pruning_engine.granularities.maps.builtin_groups import MAPS
from pruning_engine.kernels.compiled.library import get_kernels
from pruning_engine.scores.installed_methods import installed_methods
from pruning_proto import limits
from pruning_proto.formats import FORMATS
from pruning_proto.methods import METHODS
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.local_settings import LocalSettings

_PACKAGES: Final = ("grpcio", "numpy", "protobuf", "safetensors", "torch")


def capabilities(
    package_version: str,
    device: str,
    settings: LocalSettings,
    jobs: pb.JobCapabilities | None = None,
    *,
    device_memory_bytes: int = 0,
) -> pb.GetCapabilitiesResponse:
    """Return what is offered by this version on a device, within the limits of its settings.

    `jobs`: what is offered of them, if anything is. `device_memory_bytes`: what calls may reserve of the device's.
    """
    return pb.GetCapabilitiesResponse(
        version=package_version,
        methods=[*_built_in(), *_installed()],
        outputs=[f"OUTPUT_FORM_{row.name.upper()}" for row in FORMATS],
        prunable_dtypes=sorted(PRUNABLE),
        devices=[device],
        kernels=get_kernels(),
        limits=_limits(settings, device_memory_bytes),
        maps=[
            pb.Map(name=name, description=each.description, parameters=each.parameters) for name, each in MAPS.items()
        ],
        versions=dict(_versions()),
        jobs=jobs,
        compressions=[pb.COMPRESSION_ZSTD],
    )


def _limits(settings: LocalSettings, device_memory_bytes: int) -> pb.Limits:
    return pb.Limits(
        message_bytes=limits.MESSAGE_BYTES,
        header_bytes=settings.header_bytes,
        memory_bytes=settings.memory_bytes,
        device_memory_bytes=device_memory_bytes,
        chunk_bytes=limits.CHUNK_BYTES,
        rules=limits.RULES,
        tensors=settings.max_tensors,
        streams_per_connection=settings.max_streams_per_connection,
        calls=settings.max_calls,
        patterns=limits.PATTERNS,
        regular_expressions=limits.REGULAR_EXPRESSIONS,
        pattern_bytes=limits.PATTERN_BYTES,
        aliases=limits.ALIASES,
        options_bytes=limits.OPTIONS_BYTES,
    )


def _built_in() -> Iterator[pb.Method]:
    for method in METHODS:
        yield pb.Method(name=method.name, description=method.description, parameters=method.parameters)


def _installed() -> Iterator[pb.Method]:
    for name in installed_methods():
        yield pb.Method(
            name=name,
            description="Installed on this server.",
            parameters=("select", "prior", "score.method.arguments"),
            installed=True,
        )


def _versions() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:  # torch and safetensors are not needed everywhere
            continue
