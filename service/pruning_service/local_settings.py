"""The settings that a run without ports shares with a server, and their defaults; standard library only."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pruning_proto import limits

PREFIX: Final = "PRUNING_"
"""What the name of each setting's environment variable begins with."""

_CGROUP_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),  # version 2
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # version 1
)


class SettingsError(ValueError):
    """A setting is invalid; the text names its variable or option, the value and what is allowed."""


def usable_memory_bytes() -> int:
    """Return the memory that this process may use: the cgroup's limit if there is one, else the machine's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits_of_cgroups = (_read(path) for path in _CGROUP_LIMITS)
    return min([machine, *(int(limit) for limit in limits_of_cgroups if limit.isdecimal())])


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_threads() -> int:
    """Return all cores but one, which the event loop needs."""
    return max(1, usable_cores() - 1)


def default_memory_bytes() -> int:
    """Return half of what the process may use."""
    return usable_memory_bytes() // 2


def default_job_memory_bytes() -> int:
    """Return a quarter of what the process may use."""
    return usable_memory_bytes() // 4


@dataclass(frozen=True, kw_only=True)  # without slots, so that `LocalSettings.max_calls` is the default
class LocalSettings:
    """The device and the limits of a run; `docs/settings.md` describes each."""

    device: str = "auto"
    kernels: str = "auto"
    threads: int
    memory_bytes: int
    executor: str = "local"
    ray_address: str | None = None
    header_bytes: int = limits.HEADER_BYTES
    max_tensors: int = 200_000
    max_calls: int = 256
    max_streams_per_connection: int = 100
    spool_dir: Path | None = None
    spool_bytes: int = 64 * 1024 * limits.MIB
