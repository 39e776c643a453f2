"""What a server offers: frozen values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pruning_client.pages.shown import Shown, Summary
from pruning_client.results.output_format import compression_name, name_of
from pruning_proto.v1 import pruning_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method under torch's name; `parameters` are the paths in a Rule that a caller may set."""

    name: str
    description: str
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """A built-in map of coupled channels, for `rules.remove_units(map=...)`; `parameters` are those that it needs."""

    name: str
    description: str
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a server refuses to exceed; 0 where it does not report it.

    Units: bytes. `device_memory_bytes` is 0 where the CPU computes, too.
    `rules` is how many one recipe may have, `tensors` how many one file; `calls` how many may be under
    way on the server, and `streams_per_connection` how many of them on one connection. `patterns`
    (with wildcards), `regular_expressions` (after `re:`) and `aliases` are how many one request may have.
    """

    message_bytes: int
    header_bytes: int
    memory_bytes: int
    chunk_bytes: int
    rules: int
    tensors: int
    streams_per_connection: int
    calls: int
    patterns: int = 0
    regular_expressions: int = 0
    pattern_bytes: int = 0
    aliases: int = 0
    options_bytes: int = 0
    device_memory_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCapabilities:
    """What a server offers of jobs: the schemes of its stores, how many it carries out at once, the bytes of each."""

    schemes: tuple[str, ...]
    jobs: int
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Capabilities(Shown):
    """What a server offers: methods, output formats, dtypes it can prune, devices, limits, versions.

    `kernels`: what computes on the CPU, "numpy" or an instruction set; empty where a server does not report it.
    `compressions`: how it can compress output "packed". `jobs`: what it offers of jobs; None if nothing.

    Example:
        >>> "l1_unstructured" in {method.name for method in client.capabilities().methods}
        True
    """

    version: str
    methods: tuple[Method, ...]
    outputs: tuple[str, ...]
    prunable_dtypes: tuple[str, ...]
    devices: tuple[str, ...]
    limits: Limits
    versions: Mapping[str, str]
    maps: tuple[Map, ...] = ()
    kernels: str = ""
    compressions: tuple[str, ...] = ()
    jobs: JobCapabilities | None = None

    @property
    def summary(self) -> Summary:
        """What notebooks and terminals show of it: a row for each method."""
        title = f"version {self.version}, {len(self.methods):,} methods, on {', '.join(self.devices)}"
        rows = [{"method": each.name, "description": each.description} for each in self.methods]
        return Summary(title, rows)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can represent it."""
        return asdict(self)


def _jobs(jobs: pb.JobCapabilities) -> JobCapabilities:
    return JobCapabilities(schemes=tuple(jobs.schemes), jobs=jobs.jobs, memory_bytes=jobs.memory_bytes)


def capabilities_of(response: pb.GetCapabilitiesResponse) -> Capabilities:
    """Return the capabilities in a server's answer."""
    limits = response.limits
    return Capabilities(
        version=response.version,
        methods=tuple(
            Method(name=method.name, description=method.description, parameters=tuple(method.parameters))
            for method in response.methods
        ),
        outputs=tuple(name_of(output) for output in response.outputs),
        prunable_dtypes=tuple(response.prunable_dtypes),
        devices=tuple(response.devices),
        limits=Limits(
            message_bytes=limits.message_bytes,
            header_bytes=limits.header_bytes,
            memory_bytes=limits.memory_bytes,
            chunk_bytes=limits.chunk_bytes,
            rules=limits.rules,
            tensors=limits.tensors,
            streams_per_connection=limits.streams_per_connection,
            calls=limits.calls,
            patterns=limits.patterns,
            regular_expressions=limits.regular_expressions,
            pattern_bytes=limits.pattern_bytes,
            aliases=limits.aliases,
            options_bytes=limits.options_bytes,
            device_memory_bytes=limits.device_memory_bytes,
        ),
        versions=dict(response.versions),
        kernels=response.kernels,
        compressions=tuple(map(compression_name, response.compressions)),
        jobs=_jobs(response.jobs) if response.HasField("jobs") else None,
        maps=tuple(
            Map(name=entry.name, description=entry.description, parameters=tuple(entry.parameters))
            for entry in response.maps
        ),
    )
