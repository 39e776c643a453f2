"""What a job is asked to do, as its request has it."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration

from pruning_client.calls.request import Rules, recipe_of
from pruning_client.results.output_format import Compression, Output, compression_of, format_of
from pruning_proto.v1 import pruning_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What a job may be asked beside its source, its target and its rules. Units: `job_timeout` in seconds."""

    name: str | None = None
    output: Output = "pruned"
    seed: int | None = None
    statistics: str | None = None
    digests: bool = False
    canonical_zero: bool = False
    compression: Compression | None = None
    max_shard_bytes: int | None = None
    trim_tokenizer: bool = False
    job_timeout: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


def job_request(source: str, target: str, rules: Rules, options: JobOptions) -> pb.PruneCheckpointRequest:
    """Return the request of a job. A job without a name is given one, so that a call may be repeated.

    Raises: TypeError, ValueError, RecipeError for what is none.
    """
    for name, text in (("source", source), ("target", target), ("statistics", options.statistics or "")):
        if not isinstance(text, str):
            raise TypeError(f"{name} is a URI, such as s3://bucket/model; got {type(text).__name__}")
    recipe = recipe_of(rules, options.seed).to_message()
    request = pb.PruneCheckpointRequest(
        name=drawn_name() if options.name is None else options.name,
        source=source,
        target=target,
        options=pb.PruneOptions(
            recipe=recipe,
            output=format_of(options.output),
            digests=options.digests,
            canonical_zero=options.canonical_zero,
            compression=compression_of(options.compression),
        ),
        statistics=options.statistics or "",
        max_shard_bytes=options.max_shard_bytes or 0,
        trim_tokenizer=options.trim_tokenizer,
        labels=options.labels,
    )
    if options.job_timeout is not None:
        request.timeout.CopyFrom(_duration(options.job_timeout))
    return request


def drawn_name() -> str:
    """Draw the name of a job."""
    return f"job-{secrets.token_hex(6)}"


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
