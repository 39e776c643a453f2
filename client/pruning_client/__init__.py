"""Prune checkpoints through a pruning server. Needs no torch and no numpy; uses them where the caller has them.

`Client` talks to a server, `AsyncClient` from an event loop, and `LocalClient` prunes in this process; `rules` builds
what to ask, `errors` are the exceptions.

Every name is imported when it is first used (PEP 562): importing this package costs a millisecond, and gRPC is imported
by the first client that is made.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pruning_client import errors, rules
    from pruning_client.calls.exchange import Progress
    from pruning_client.clients.aio import AsyncClient
    from pruning_client.clients.aio_jobs import AsyncJob
    from pruning_client.clients.jobs import Job
    from pruning_client.clients.sync import Client
    from pruning_client.errors import PruningError
    from pruning_client.files.pack import PackedFile, pack_file, unpack_file
    from pruning_client.huggingface.folder import prune_folder
    from pruning_client.local.client import LocalClient
    from pruning_client.masks.masks import Masks, load_masks
    from pruning_client.recipes.sparsity_schedule import PruningRound, PruningSchedule
    from pruning_client.results.capabilities import Capabilities
    from pruning_client.results.job_status import JobStatus
    from pruning_client.results.model_totals import ModelTotals
    from pruning_client.results.model_warning import ModelWarning
    from pruning_client.results.plan import Plan, TensorPlan
    from pruning_client.results.report import GroupReport, Report, TensorReport
    from pruning_client.results.result import Result
    from pruning_client.rules.recipe import Recipe
    from pruning_client.rules.rule import Rule
    from pruning_client.statistics.statistics import Statistics
    from pruning_client.transport.credentials import Tls

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "Capabilities",
    "Client",
    "GroupReport",
    "Job",
    "JobStatus",
    "LocalClient",
    "Masks",
    "ModelTotals",
    "ModelWarning",
    "PackedFile",
    "Plan",
    "Progress",
    "PruningError",
    "PruningRound",
    "PruningSchedule",
    "Recipe",
    "Report",
    "Result",
    "Rule",
    "Statistics",
    "TensorPlan",
    "TensorReport",
    "Tls",
    "errors",
    "load_masks",
    "pack_file",
    "prune_folder",
    "rules",
    "unpack_file",
]

_MODULES: Final = ("errors", "rules")

_DEFINED_IN: Final = {
    "AsyncClient": "clients.aio",
    "AsyncJob": "clients.aio_jobs",
    "Capabilities": "results.capabilities",
    "Client": "clients.sync",
    "GroupReport": "results.report",
    "Job": "clients.jobs",
    "JobStatus": "results.job_status",
    "LocalClient": "local.client",
    "Masks": "masks.masks",
    "ModelTotals": "results.model_totals",
    "ModelWarning": "results.model_warning",
    "PackedFile": "files.pack",
    "Plan": "results.plan",
    "Progress": "calls.exchange",
    "PruningError": "errors",
    "PruningRound": "recipes.sparsity_schedule",
    "PruningSchedule": "recipes.sparsity_schedule",
    "Recipe": "rules.recipe",
    "Report": "results.report",
    "Result": "results.result",
    "Rule": "rules.rule",
    "Statistics": "statistics.statistics",
    "TensorPlan": "results.plan",
    "TensorReport": "results.report",
    "Tls": "transport.credentials",
    "load_masks": "masks.masks",
    "pack_file": "files.pack",
    "prune_folder": "huggingface.folder",
    "unpack_file": "files.pack",
}
"""The module of each public name; a test compares it with `__all__`."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _DEFINED_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_DEFINED_IN[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
