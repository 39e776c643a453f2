"""Prune checkpoints through a pruning server. Needs no torch and no numpy; meets them where the caller has them.

`Client` talks to a server, `AsyncClient` from an event loop; `rules` builds what to ask; `errors` is what may go wrong.
"""

from pruning_client import errors, rules
from pruning_client.aio import AsyncClient
from pruning_client.capabilities import Capabilities
from pruning_client.errors import PruningError
from pruning_client.exchange import Progress
from pruning_client.folder import prune_folder
from pruning_client.masks import Masks, load_masks
from pruning_client.packing import PackedFile, pack_file, unpack_file
from pruning_client.plan import Plan, TensorPlan
from pruning_client.report import GroupReport, Report, TensorReport
from pruning_client.result import Result
from pruning_client.schedule import PruningRound, PruningSchedule
from pruning_client.security import Tls
from pruning_client.sync import Client

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
