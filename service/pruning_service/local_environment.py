"""The settings of a run without ports, from the environment.

`prune run` without a server prunes in its own process. Importing pydantic takes longer than pruning a small file, so
`settings`, which parses and checks with pydantic, is imported only if the environment sets something.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from pruning_proto.limits import HEADER_BYTES_CEILING
from pruning_proto.names import SERVER_VARIABLE
from pruning_service.local_settings import PREFIX, LocalSettings, default_memory_bytes, default_threads

_SERVERS_ONLY: Final = (
    *("PRUNING_LISTEN", "PRUNING_METRICS_LISTEN", "PRUNING_HEALTH_LISTEN"),
    *("PRUNING_TLS_", "PRUNING_TOKEN_FILE", "PRUNING_ALLOW_PLAINTEXT"),
    "PRUNING_STORE",
    *("PRUNING_MAX_JOBS", "PRUNING_JOB_", "PRUNING_LEASE_"),
)
"""What the variables of ports, their protection, stores and jobs begin with. A local run has no port; its stores are
those of its user."""

_MAX_TENSORS: Final = HEADER_BYTES_CEILING // 50
"""More than a header of the format's largest size can hold: no entry takes less than 50 bytes. The limits of a server
protect it from its callers; a local run reads whatever the format allows."""

_ALL_OF_THE_DISK: Final = (1 << 63) - 1
"""The limit of a server's spool files protects it from its callers, too."""


def read_local_settings(environment: Mapping[str, str]) -> LocalSettings:
    """Return the settings of a local run from `PRUNING_*` variables; those of a server alone are ignored.

    Unless a variable limits them, the header may be as large as the format allows, and spool files as the disk.

    Raises: SettingsError for an invalid value, and for a variable that no setting has.
    """
    given = {
        name: text
        for name, text in environment.items()
        if name.startswith(PREFIX) and not name.startswith(_SERVERS_ONLY) and name != SERVER_VARIABLE
    }
    if not given:
        return LocalSettings(
            threads=default_threads(),
            memory_bytes=default_memory_bytes(),
            header_bytes=HEADER_BYTES_CEILING,
            max_tensors=_MAX_TENSORS,
            spool_bytes=_ALL_OF_THE_DISK,
        )
    from pruning_service.settings import read_settings  # noqa: PLC0415 - pydantic is slow to import

    settings = read_settings(given).local
    return replace(
        settings,
        header_bytes=settings.header_bytes if "PRUNING_HEADER_BYTES" in given else HEADER_BYTES_CEILING,
        max_tensors=settings.max_tensors if "PRUNING_MAX_TENSORS" in given else _MAX_TENSORS,
        spool_bytes=settings.spool_bytes if "PRUNING_SPOOL_BYTES" in given else _ALL_OF_THE_DISK,
    )
