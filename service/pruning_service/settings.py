"""The server's settings: frozen, read once from `PRUNING_*`, checked before anything starts.

Each field is the variable of the same name: `memory_bytes` is `PRUNING_MEMORY_BYTES`. `docs/settings.md` is the
manual; a test holds the two together.
"""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import NoneType
from typing import Any, Final

from pruning_proto import limits

PREFIX: Final = "PRUNING_"
UNIX: Final = "unix:"
"""How the address of a Unix socket begins."""

NOWHERE: Final = "none"
"""As an address: do not listen."""

_CGROUP_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),  # version 2
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # version 1
)

_SERVICE_LINK: Final = re.compile(
    r"PRUNING_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)
"""What Kubernetes puts into every pod's environment for a Service whose name begins with "pruning"."""


class SettingsError(ValueError):
    """A setting makes no sense; the text names its variable and what is allowed."""


def usable_memory_bytes() -> int:
    """Give the memory that this process may use: the cgroup's limit if there is one, else the machine's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits_of_cgroups = (_read(path) for path in _CGROUP_LIMITS)
    return min([machine, *(int(limit) for limit in limits_of_cgroups if limit.isdecimal())])


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def usable_cores() -> int:
    """Give the cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one server runs."""

    listen: str = "127.0.0.1:50051"
    """Where it serves: `host:port` (port 0: any free one) or `unix:/path`."""

    metrics_listen: str = "127.0.0.1:9464"
    """Where it serves Prometheus: `host:port`, or `none`."""

    health_listen: str = "none"
    """Where it serves health alone, off the event loop and in the clear, for probes: `host:port`, or `none`."""

    tls_certificate: Path | None = None
    """The server's certificate with its chain, PEM. None: it speaks in the clear."""

    tls_key: Path | None = None
    """The certificate's private key, PEM."""

    tls_client_ca: Path | None = None
    """What signed the clients' certificates, PEM: every client has to show one (mTLS). None: none is asked for."""

    token_file: Path | None = None
    """The tokens of those who are let in, see tokens.py. None: everybody is."""

    allow_plaintext: bool = False
    """Whether `listen` may be in the clear where other machines reach it."""

    allow_plaintext_tokens: bool = False
    """Whether tokens may come in the clear there."""

    device: str = "auto"
    """Where selections run: `auto` (CUDA if there is one), `cpu`, `cuda` or `cuda:1`."""

    threads: int = max(1, usable_cores() - 1)
    """Threads of one selection on the CPU. The default leaves the event loop a core."""

    memory_bytes: int = usable_memory_bytes() // 2
    """What it may hold of all models together. Default: half of what this process may use."""

    header_bytes: int = limits.HEADER_BYTES
    """The largest safetensors header it reads."""

    max_tensors: int = 200_000
    """The most tensors in one file: more than a header of the default size can hold."""

    max_calls: int = 256
    """The most Prune calls under way; more are refused with RetryInfo. As many as the engine has threads for."""

    max_streams_per_connection: int = 100
    """The most calls under way on one connection; more wait, on their client's side."""

    backlog_bytes: int = 64 * limits.MIB
    """Results that a client has not read, per call, before the server stages taking in more."""

    queue_seconds: float = 30.0
    """How long a call waits for memory before it is refused with RetryInfo."""

    idle_seconds: float = 60.0
    """How long a call waits for a client that neither sends nor reads."""

    min_bytes_per_second: int = 100_000
    """The slowest that a client may send, or read what waits, over `idle_seconds` of waiting for it; 0: any pace.

    The default is a little more than it takes to bring one message of 4 MiB over within `idle_seconds`."""

    drain_seconds: float = 30.0
    """How long running calls may go on after SIGTERM."""

    connection_age_seconds: float = 0.0
    """How old a connection grows before its client is asked to open another for new calls; 0: any age."""

    log_level: str = "info"
    """What is logged: debug, info, warning or error."""

    def __post_init__(self) -> None:
        _check_positive(self)
        if not self.listen.startswith(UNIX):
            host_and_port(self.listen, f"{PREFIX}LISTEN")
        if self.metrics_listen != NOWHERE:
            host_and_port(self.metrics_listen, f"{PREFIX}METRICS_LISTEN")
        if self.health_listen != NOWHERE:
            host_and_port(self.health_listen, f"{PREFIX}HEALTH_LISTEN")
        _check_security(self)
        if self.header_bytes > limits.HEADER_BYTES_CEILING:
            raise SettingsError(
                f"{PREFIX}HEADER_BYTES is at most {limits.HEADER_BYTES_CEILING:,}, the format's own limit, "
                f"got {self.header_bytes:,}"
            )
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise SettingsError(f"{PREFIX}LOG_LEVEL is debug, info, warning or error, got {self.log_level!r}")

    @property
    def is_tls(self) -> bool:
        """Whether `listen` speaks TLS."""
        return self.tls_certificate is not None


def read_settings(environment: Mapping[str, str], **overrides: str) -> Settings:
    """Read `PRUNING_*` from `environment`; `overrides` by field name win, as command line options do.

    Raises: SettingsError for a value that makes no sense, and for a variable that no setting has.
    """
    names = {PREFIX + field.name.upper(): field.name for field in fields(Settings)}
    given = {
        key: value for key, value in environment.items() if key.startswith(PREFIX) and not _SERVICE_LINK.fullmatch(key)
    }
    if unknown := sorted(given.keys() - names.keys()):
        raise SettingsError(f"unknown settings: {', '.join(unknown)}; known: {', '.join(sorted(names))}")
    texts = {names[key]: value for key, value in given.items()} | overrides
    return Settings(**{name: _parse(name, text) for name, text in texts.items()})


def host_and_port(address: str, variable: str) -> tuple[str, int]:
    """Take `host:port` apart. Raises: SettingsError that names the variable."""
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal() and int(port) < 65536):
        raise SettingsError(f"{variable} must be host:port, with a port of 0 to 65535, got {address!r}")
    return host, int(port)


def is_local(address: str) -> bool:
    """Whether nobody but this machine reaches an address: a Unix socket, or the loopback."""
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    if address.startswith(UNIX) or host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def _parse(name: str, text: str) -> Any:
    parse, words = _KINDS[type(getattr(_DEFAULTS, name))]
    try:
        return parse(text)
    except ValueError as error:
        got = "PEM itself" if parse is _file and text else repr(text)  # which may be a key
        raise SettingsError(f"{PREFIX}{name.upper()} must be {words}, got {got}") from error


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"


def _file(text: str) -> Path:
    if not text or "-----BEGIN" in text:  # empty: somebody's variable that was not filled in, and no wish for less
        raise ValueError
    return Path(text)


_KINDS: Final[Mapping[type, tuple[Callable[[str], Any], str]]] = {
    str: (str, ""),
    int: (int, "a whole number"),
    float: (float, "a number"),
    bool: (_truth, "true or false"),
    NoneType: (_file, "the path of a file"),
}
"""By the type of a setting's default: what reads it, and what it has to be."""


def _check_positive(settings: Settings) -> None:
    for field in fields(settings):
        value = getattr(settings, field.name)
        lowest = 0 if field.name.endswith(("_seconds", "_per_second")) else 1
        if type(value) in (int, float) and not lowest <= value < float("inf"):
            raise SettingsError(f"{PREFIX}{field.name.upper()} must be at least {lowest} and finite, got {value}")


def _check_security(settings: Settings) -> None:
    """Refuse half a TLS, and to speak in the clear by mistake."""
    certificate, key = f"{PREFIX}TLS_CERTIFICATE", f"{PREFIX}TLS_KEY"
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        given, missing = (key, certificate) if settings.tls_certificate is None else (certificate, key)
        raise SettingsError(f"{given} is set without {missing}: TLS needs both")
    if settings.tls_client_ca is not None and not settings.is_tls:
        raise SettingsError(f"{PREFIX}TLS_CLIENT_CA is set without TLS: set {certificate} and {key} too")
    if settings.is_tls or is_local(settings.listen):
        return
    if not settings.allow_plaintext:
        raise SettingsError(
            f"other machines reach {settings.listen} ({PREFIX}LISTEN), and models would travel in the clear: set "
            f"{certificate} and {key} (--tls-cert, --tls-key); or, where a proxy or a mesh encrypts, "
            f"{PREFIX}ALLOW_PLAINTEXT=true (--allow-plaintext)"
        )
    if settings.token_file is not None and not settings.allow_plaintext_tokens:
        raise SettingsError(
            f"other machines reach {settings.listen} ({PREFIX}LISTEN), and tokens would travel in the clear, where who "
            f"reads one can use it: set {certificate} and {key} (--tls-cert, --tls-key); or, where a proxy or a mesh "
            f"encrypts, {PREFIX}ALLOW_PLAINTEXT_TOKENS=true"
        )


_DEFAULTS: Final = Settings()
