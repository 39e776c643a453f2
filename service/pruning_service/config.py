"""The server's settings: frozen, read once from `PRUNING_*`, checked before anything starts.

Each field is the variable of the same name: `memory_bytes` is `PRUNING_MEMORY_BYTES`. `docs/settings.md` is the
manual; a test holds the two together.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

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

    device: str = "auto"
    """Where selections run: `auto` (CUDA if there is one), `cpu`, `cuda` or `cuda:1`."""

    threads: int = max(1, usable_cores() - 1)
    """Threads of one selection on the CPU. The default leaves the event loop a core."""

    memory_bytes: int = usable_memory_bytes() // 2
    """What it may hold of all models together. Default: half of what this process may use."""

    header_bytes: int = limits.HEADER_BYTES
    """The largest safetensors header it reads."""

    backlog_bytes: int = 64 * limits.MIB
    """Results that a client has not read, per call, before the server stops taking in more."""

    queue_seconds: float = 30.0
    """How long a call waits for memory before it is refused with RetryInfo."""

    idle_seconds: float = 60.0
    """How long a call waits for a client that neither sends nor reads."""

    min_bytes_per_second: int = 100_000
    """The slowest that a client may send, or read what waits, over `idle_seconds` of waiting for it; 0: any pace.

    The default is a little more than it takes to bring one message of 4 MiB over within `idle_seconds`."""

    drain_seconds: float = 30.0
    """How long running calls may go on after SIGTERM."""

    log_level: str = "info"
    """What is logged: debug, info, warning or error."""

    def __post_init__(self) -> None:
        _check_positive(self)
        if not self.listen.startswith(UNIX):
            host_and_port(self.listen, f"{PREFIX}LISTEN")
        if self.metrics_listen != NOWHERE:
            host_and_port(self.metrics_listen, f"{PREFIX}METRICS_LISTEN")
        if self.header_bytes > limits.HEADER_BYTES_CEILING:
            raise SettingsError(
                f"{PREFIX}HEADER_BYTES is at most {limits.HEADER_BYTES_CEILING:,}, the format's own limit, "
                f"got {self.header_bytes:,}"
            )
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise SettingsError(f"{PREFIX}LOG_LEVEL is debug, info, warning or error, got {self.log_level!r}")


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
    return Settings(**{name: _parse(name, text) for name, text in texts.items()})  # type: ignore[arg-type]


def host_and_port(address: str, variable: str) -> tuple[str, int]:
    """Take `host:port` apart. Raises: SettingsError that names the variable."""
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal() and int(port) < 65536):
        raise SettingsError(f"{variable} must be host:port, got {address!r}")
    return host, int(port)


def _parse(name: str, text: str) -> str | int | float:
    kind = type(getattr(_DEFAULTS, name))
    try:
        return kind(text)  # type: ignore[no-any-return]
    except ValueError as error:
        words = {int: "a whole number", float: "a number"}
        raise SettingsError(f"{PREFIX}{name.upper()} must be {words[kind]}, got {text!r}") from error


def _check_positive(settings: Settings) -> None:
    for field in fields(settings):
        value = getattr(settings, field.name)
        lowest = 0 if field.name.endswith(("_seconds", "_per_second")) else 1
        if not isinstance(value, str) and not lowest <= value < float("inf"):
            raise SettingsError(f"{PREFIX}{field.name.upper()} must be at least {lowest} and finite, got {value}")


_DEFAULTS: Final = Settings()
