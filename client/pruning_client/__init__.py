"""Prune checkpoints through a pruning server. Needs no torch and no numpy; meets them where the caller has them.

`Client` talks to a server, `AsyncClient` from an event loop; `rules` builds what to ask; `errors` is what may go wrong.
"""

from pruning_client import errors, rules
from pruning_client.calls.exchange import Progress
from pruning_client.clients.aio import AsyncClient
from pruning_client.clients.sync import Client
from pruning_client.errors import PruningError
from pruning_client.files.pack import PackedFile, pack_file, unpack_file
from pruning_client.huggingface.folder import prune_folder
from pruning_client.masks.masks import Masks, load_masks
from pruning_client.recipes.sparsity_schedule import PruningRound, PruningSchedule
from pruning_client.results.capabilities import Capabilities
from pruning_client.results.plan import Plan, TensorPlan
from pruning_client.results.report import GroupReport, Report, TensorReport
from pruning_client.results.result import Result
from pruning_client.transport.credentials import Tls

__all__ = [
    "AsyncClient",
    "Capabilities",
    "Client",
    "GroupReport",
    "Masks",
    "PackedFile",
    "Plan",
    "Progress",
    "PruningError",
    "PruningRound",
    "PruningSchedule",
    "Report",
    "Result",
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
