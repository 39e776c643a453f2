"""The server's settings: read once from `PRUNING_*` and the command line, checked before anything starts, then frozen.

Each field is an environment variable and an option of the same name: `memory_bytes` is `PRUNING_MEMORY_BYTES` and
`--memory-bytes`. `docs/settings.md` and `--help` are generated from the fields.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from pruning_proto import limits
from pruning_proto.names import SERVER_VARIABLE
from pruning_service.addresses import NOWHERE, is_local
from pruning_service.local_settings import (
    PREFIX,
    LocalSettings,
    SettingsError,
    default_job_memory_bytes,
    default_memory_bytes,
    default_threads,
)
from pruning_service.setting_fields import (
    INT32,
    INT64,
    PORT_OR_NONE,
    PORT_OR_SOCKET,
    Computed,
    Endpoint,
    File,
    PlacesOrNone,
    PortOrNone,
    PortOrSocket,
    RayAddress,
    Truth,
    Words,
    choice,
    file,
    folder,
    is_pem,
    seconds,
    setting,
    truth,
    whole,
    words_of,
)

_MOST_THREADS: Final = 1024
"""More than any machine has cores for: each thread takes memory of its own."""

_SERVICE_LINK: Final = re.compile(
    r"PRUNING_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)
"""What Kubernetes puts into every pod's environment for a Service whose name begins with "pruning"."""


class Settings(BaseSettings):
    """How one server runs. Constructing one reads no environment; `read_settings` does."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True)

    listen: PortOrSocket = setting(
        "127.0.0.1:50051",
        "Where the server listens. Port 0 is any free port, which the log reports.",
        PORT_OR_SOCKET,
    )
    metrics_listen: PortOrNone = setting(
        "127.0.0.1:9464",
        "Where Prometheus' `/metrics` is served. `none`: nowhere.",
        PORT_OR_NONE,
    )
    health_listen: PortOrNone = setting(
        NOWHERE,
        "Where health alone is served for probes, in plaintext and off the event loop. `none`: nowhere. The main port "
        "serves health too.",
        PORT_OR_NONE,
    )
    tls_certificate: File | None = file(
        "The server's certificate with its chain, PEM. With it, the main port speaks TLS only. Read again when it "
        "changes, as all files here.",
    )
    tls_key: File | None = file("The certificate's private key, PEM, without a pass phrase.")
    tls_client_ca: File | None = file(
        "The certificate authority of the clients, PEM. With it, each client has to present a certificate (mTLS).",
    )
    token_file: File | None = file(
        "The tokens of the callers that are admitted, one per line: `name:sha256:HEX`, or `name:TOKEN`. An empty value "
        "is refused, as for all files.",
    )
    allow_plaintext: Truth = truth(
        "Whether the main port may speak plaintext where other machines can reach it. Otherwise such a server does not "
        "start without TLS.",
    )
    allow_plaintext_tokens: Truth = truth("Whether tokens may be sent in plaintext there, too.")
    device: str = setting(
        LocalSettings.device,
        "The device that computes. `auto`: CUDA if there is a GPU, else the CPU.",
        choice("auto", "cpu", "cuda", "cuda:<number>"),
        pattern=r"^(auto|cpu|cuda(:[0-9]{1,4})?)$",
    )
    kernels: str = setting(
        LocalSettings.kernels,
        "What computes on the CPU. `auto`: the compiled kernels for the processor's best instruction set, or numpy "
        "where they were not compiled. Results do not depend on it.",
        choice("auto", "numpy", "plain", "avx2", "avx512"),
        pattern=r"^(auto|numpy|plain|avx2|avx512)$",
    )
    threads: int = whole(
        Computed(default_threads, "cores - 1, at least 1"),
        "Threads of one selection on the CPU. The default leaves the event loop a core.",
        "threads",
        most=_MOST_THREADS,
    )
    memory_bytes: int = whole(
        Computed(default_memory_bytes, "half of what the process may use"),
        "The most that the server holds of all models together. A call that needs more is refused before its body is "
        "read: for good (`MODEL_TOO_LARGE`), or for now (`NO_ROOM`).",
        "bytes",
        most=INT64,
    )
    device_memory_bytes: int = whole(
        0,
        "The most that calls reserve together of a GPU's memory; a call waits for it, or is refused, as for "
        "`PRUNING_MEMORY_BYTES`. 0: what is free when the server starts, less a tenth, at least 1 GiB. Without a GPU "
        "nothing is reserved.",
        "bytes",
        least=0,
        most=INT64,
    )
    spool_dir: File | None = folder(
        "A folder on a disk for the tensors of calls that do not fit into `PRUNING_MEMORY_BYTES`. Where all rules that "
        "compare several tensors rank single entries, the tensors wait there and are read several times, with the same "
        "result (not LAMP, nor within bounds). Results of formats PACKED and REMOVED wait there until all are "
        "finished. The files have no name and are gone with their call. None: such calls are refused. `prune run` "
        "without a server uses `TMPDIR`, or /var/tmp, if this is not set.",
    )
    spool_bytes: int = whole(
        LocalSettings.spool_bytes,
        "The most that these files take together. A call that needs more is refused before its body is read, as for "
        "`PRUNING_MEMORY_BYTES`. Each job may take as much beside. `prune run` without a server: no limit but the "
        "disk, if this is not set.",
        "bytes",
        most=INT64,
    )
    stores: PlacesOrNone = setting(
        None,
        "The places in object stores and folders that callers may name as the source or the target of a job, between "
        "spaces or commas: what is below each may be opened with the server's credentials. `=` and names of callers "
        "from the token file, as in `s3://bucket/team-a=alice,bob`, limit a place to them; of places in one another "
        "the innermost decides. A folder has to exist when the server starts. None: nothing may be opened.",
        Words(kind="URIs such as s3://bucket/prefix, gs://bucket, az://container or file:///folder", unit="URIs"),
    )
    store_endpoint: Endpoint = setting(
        None,
        "The address of the server that `s3://` means, of any that speaks S3's protocol. A caller never names one. "
        "None: `AWS_ENDPOINT_URL` of the server's environment, or AWS itself.",
        Words(kind="the URL of a server, such as https://host:9000", unit="URL"),
    )
    executor: str = setting(
        LocalSettings.executor,
        "Where the parts of jobs are carried out. `local`: in the process of the job, one after the other. `ray`: on "
        "the workers of a Ray cluster. Results do not depend on it. `prune run` reads it too.",
        choice("local", "ray"),
        pattern=r"^(local|ray)$",
    )
    ray_address: RayAddress = setting(
        LocalSettings.ray_address,
        "The Ray cluster: host:port of its GCS, on a machine of the cluster, or ray://host:port of its Ray Client "
        "server. Its token is in `RAY_AUTH_TOKEN`, or in the file `RAY_AUTH_TOKEN_PATH`. None: each job starts Ray on "
        "its own machine, and ends it.",
        Words(kind="host:port or ray://host:port", unit="address"),
    )
    max_jobs: int = whole(
        1,
        "The most jobs that this server carries out at once, each in a process of its own; more wait, or go to other "
        "servers of the same stores. 0: it creates jobs and answers for them, and others carry them out. Without "
        "`PRUNING_STORES` there are no jobs.",
        "jobs",
        least=0,
        most=64,
    )
    job_memory_bytes: int = whole(
        Computed(default_job_memory_bytes, "a quarter of what the process may use"),
        "The most memory for the model of one job, which its process holds, beside `PRUNING_MEMORY_BYTES` of the "
        "server itself.",
        "bytes",
        most=INT64,
    )
    lease_seconds: float = seconds(
        30.0,
        "How long a job stays with a server that is not heard of any more, before another one takes it over; its "
        "process renews this four times as often. All servers of one store may have different ones.",
        least=0.5,
    )
    job_attempts: int = whole(
        5,
        "How many attempts of a job in a row may end without having finished any part of it, before it fails "
        "(`JOB_ATTEMPTS_EXHAUSTED`).",
        "attempts",
        most=INT32,
    )
    header_bytes: int = setting(
        LocalSettings.header_bytes,
        "The largest safetensors header. The default is enough for about 100,000 tensors.",
        Words(
            kind="a whole number of bytes",
            bounds=f"1 to {limits.HEADER_BYTES_CEILING:,} (the format's own limit)",
            unit="bytes",
        ),
        ge=1,
        le=limits.HEADER_BYTES_CEILING,
    )
    max_tensors: int = whole(
        LocalSettings.max_tensors,
        "The most tensors in one file (`TOO_MANY_TENSORS`). The default is more than a header of the default size can "
        "hold.",
        "tensors",
        most=INT32,
    )
    max_calls: int = whole(
        LocalSettings.max_calls,
        "The most `Prune` calls under way. More are refused with a delay after which to retry (`TOO_MANY_CALLS`). "
        "Health and `GetCapabilities` do not count.",
        "calls",
        most=INT32,
    )
    max_connections: int = whole(
        512,
        "The most connections to the main port. More are closed at once, and their clients try again. Connections "
        "without calls are closed after 10 minutes.",
        "connections",
        most=1_000_000,
    )
    max_streams_per_connection: int = whole(
        LocalSettings.max_streams_per_connection,
        "The most calls under way on one connection. More wait on their client's side, health checks among them.",
        "calls",
        most=INT32,
    )
    backlog_bytes: int = whole(
        64 * limits.MIB,
        "Results of one call that its client has not read yet, before the server stops taking in more.",
        "bytes",
        most=INT64,
    )
    queue_seconds: float = seconds(
        30.0,
        "How long a call waits for memory, first come, first served, before `NO_ROOM`. 0: it does not wait.",
    )
    idle_seconds: float = seconds(
        60.0,
        "How long a call waits for a client that neither sends (`CLIENT_IDLE`) nor reads (`CLIENT_NOT_READING`). It "
        "cannot be unlimited: a client that stopped would keep its memory for good.",
        least=0.1,
    )
    min_bytes_per_second: int = whole(
        100_000,
        "The slowest that a client may send, or read results that wait, before `CLIENT_TOO_SLOW`, over "
        "`PRUNING_IDLE_SECONDS` in which the server waits for it. What a call waits for memory or the engine does not "
        "count. The default is a little more than it takes to transfer one message of 4 MiB within 60 s. 0: no limit.",
        "bytes per second",
        least=0,
        most=INT64,
    )
    drain_seconds: float = seconds(
        30.0,
        "How long running calls may go on after SIGTERM; new ones are refused with UNAVAILABLE at once. 0: running "
        "calls end at once.",
    )
    connection_age_seconds: float = seconds(
        0.0,
        "The age, give or take a tenth, at which a connection's client is asked to open another for new calls, and so "
        "to resolve the service's name again and find replicas that were added. Calls under way go on, however long. "
        "Set it (300, say) where clients take turns among replicas by a name, as `deploy/kubernetes` does; not behind "
        "a proxy, which resolves names itself. 0: no limit.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info",
        "The least severe messages that are logged, on stderr.",
        choice("debug", "info", "warning", "error"),
    )
    log_format: Literal["text", "json"] = setting(
        "text",
        "The form of the log's lines. `json`: one JSON object per line, with a field for each value; after a failure "
        "`exception` has the traceback.",
        choice("text", "json"),
    )
    traces: Literal["none", "otlp"] = setting(
        "none",
        "Where traces of calls go. `otlp`: over OTLP to where OpenTelemetry's own variables say "
        "(`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_PROTOCOL`, `OTEL_SERVICE_NAME`); it needs the extra "
        "`[otel]`.",
        choice("none", "otlp"),
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take arguments only."""
        return (init_settings,)

    @model_validator(mode="after")
    def _is_secure(self) -> "Settings":
        _check_security(self)
        return self

    @property
    def is_tls(self) -> bool:
        """Whether the main port speaks TLS."""
        return self.tls_certificate is not None

    @property
    def local(self) -> LocalSettings:
        """The part that a run without ports needs, too."""
        return LocalSettings(
            device=self.device,
            kernels=self.kernels,
            threads=self.threads,
            memory_bytes=self.memory_bytes,
            executor=self.executor,
            ray_address=self.ray_address,
            header_bytes=self.header_bytes,
            max_tensors=self.max_tensors,
            max_calls=self.max_calls,
            max_streams_per_connection=self.max_streams_per_connection,
            spool_dir=self.spool_dir,
            spool_bytes=self.spool_bytes,
        )


def read_settings(environment: Mapping[str, str], **options: str) -> Settings:
    """Read `PRUNING_*` from `environment`; `options` of the command line, by field name, override it.

    Raises: SettingsError for an invalid value, and for a variable that no setting has.
    """
    _check_known(environment)
    variables = EnvSettingsSource(Settings)
    variables.env_vars = {name.lower(): text for name, text in environment.items() if name.startswith(PREFIX)}
    texts = variables() | options
    try:
        return Settings(**texts)
    except ValidationError as error:
        raise SettingsError(_sentence(error, texts, options)) from None  # pydantic's own text has several lines


def variable_of(name: str) -> str:
    """Return the environment variable of a field."""
    return PREFIX + name.upper()


def option_of(name: str) -> str:
    """Return the command line option of a field."""
    return "--" + name.replace("_", "-")


def _check_known(environment: Mapping[str, str]) -> None:
    known = {variable_of(name) for name in Settings.model_fields}
    given = {name for name in environment if name.startswith(PREFIX) and not _is_of_others(name)}
    if unknown := sorted(given - known):
        raise SettingsError(f"unknown settings: {', '.join(unknown)}; known: {', '.join(sorted(known))}")


def _is_of_others(name: str) -> bool:
    return name == SERVER_VARIABLE or _SERVICE_LINK.fullmatch(name) is not None


def _sentence(error: ValidationError, texts: Mapping[str, Any], options: Mapping[str, str]) -> str:
    """Return what is wrong with the first invalid setting, or with how they fit together."""
    first = error.errors(include_url=False, include_input=False)[0]
    if not first["loc"]:
        return str(first["ctx"]["error"])
    name = str(first["loc"][0])
    text = str(texts[name])
    where = f"{option_of(name)}: {variable_of(name)}" if name in options else variable_of(name)
    words = words_of(Settings.model_fields[name])
    bound = {"greater_than_equal": words.bounds, "less_than_equal": words.ceiling or words.bounds}.get(first["type"])
    allowed = f"{bound}, {words.kind}" if bound else words.allowed  # what is wrong comes first
    got = "PEM itself" if is_pem(text) else repr(text)
    return f"{where} {words.verb} {allowed}, got {got}"


def _check_security(settings: Settings) -> None:
    """Refuse half of a TLS configuration, and plaintext by mistake."""
    certificate, key = variable_of("tls_certificate"), variable_of("tls_key")
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        given, missing = (key, certificate) if settings.tls_certificate is None else (certificate, key)
        raise SettingsError(f"{given} is set without {missing}: TLS needs both")
    if settings.tls_client_ca is not None and not settings.is_tls:
        raise SettingsError(f"{variable_of('tls_client_ca')} is set without TLS: set {certificate} and {key} too")
    if not settings.is_tls and not is_local(settings.listen):
        _check_plaintext(settings, f"set {certificate} and {key} (--tls-cert, --tls-key)")


def _check_plaintext(settings: Settings, remedy: str) -> None:
    reached = f"other machines can reach {settings.listen} ({variable_of('listen')})"
    if not settings.allow_plaintext:
        raise SettingsError(
            f"{reached}, and models would travel in the clear: {remedy}; or, where a proxy or a mesh encrypts, "
            f"{variable_of('allow_plaintext')}=true ({option_of('allow_plaintext')})"
        )
    if settings.token_file is not None and not settings.allow_plaintext_tokens:
        raise SettingsError(
            f"{reached}, and tokens would travel in plaintext, where whoever reads one can use it: {remedy}; or, "
            f"where a proxy or a mesh encrypts, {variable_of('allow_plaintext_tokens')}=true "
            f"({option_of('allow_plaintext_tokens')})"
        )
