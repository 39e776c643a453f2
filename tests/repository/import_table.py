"""The import plan as tables, which `test_import_plan.py` compares with the source. Each arrow points down.

A unit is a subpackage, or a file beside the subpackages. The tables list what each unit may import of its own
package, from the bottom up. The package's own `__init__.py` is the interface: it may import everything, and only it may
name everything. Adding an arrow here is a decision about the architecture: say why in `docs/architecture.md`.
"""

from collections.abc import Mapping
from typing import Final

Table = Mapping[str, frozenset[str]]


def _table(**rows: str) -> Table:
    return {unit: frozenset(below.split()) for unit, below in rows.items()}


ROOT_FILES: Final[Mapping[str, frozenset[str]]] = {
    "pruning_engine": frozenset(
        {"buffer", "dtypes", "errors", "norm", "report", "scale_layout", "scope", "torch_tensors"}
    ),
}
"""Files that count as one unit, `root`: values that every subpackage may import."""

TABLES: Final[Mapping[str, Table]] = {
    "pruning_proto": _table(
        v1="",
        limits="",
        names="",
        formats="",
        methods="",
        reasons="",
        spans="",
        counted="",
        layer_stacks="",
        framing="v1",
        safetensors="limits names reasons spans",
        packed="names reasons safetensors spans",
    ),
    "pruning_engine": _table(
        root="",
        runtime="",
        kernels="root runtime",
        checkpoints="root",
        selection="root runtime kernels",
        scores="root kernels selection checkpoints methods",
        granularities="root runtime kernels selection checkpoints methods scores",
        methods="root runtime kernels",
        updates="root runtime kernels selection checkpoints scores methods",
        allocations="root runtime kernels selection checkpoints scores methods",
        recipe="root scores granularities allocations updates",
        modules="root kernels selection checkpoints",
        planning="root runtime kernels checkpoints scores granularities allocations updates recipe",
        execution="root runtime kernels selection checkpoints scores granularities methods updates allocations recipe "
        "planning "
        "modules",  # only for state dicts and for installed methods, which are written against its interface
    ),
    "pruning_service": _table(
        startup="",
        local_settings="",
        addresses="local_settings",
        deadlines="",
        status="",
        stores="local_settings",
        setting_fields="addresses stores",
        settings="setting_fields addresses local_settings stores",
        local_environment="settings local_settings",
        options="settings setting_fields",
        probe="addresses local_settings",
        status_details="status",
        resources="status local_settings",
        messages="status",
        jobs="messages status status_details stores",
        auth="status settings local_settings",
        observability="addresses local_settings",
        streams="resources messages status deadlines",
        outputs="streams resources",
        calls="outputs streams resources messages status deadlines local_settings",
        parts="calls streams resources messages status local_settings",
        local="calls streams resources messages status local_settings local_environment",
        rpc="jobs calls streams auth observability messages status status_details stores deadlines",
        job_service="jobs settings local_settings stores",
        listen="auth settings addresses local_settings",
        server="job_service listen rpc calls streams auth observability resources status settings deadlines",
        __main__="startup server observability resources settings options local_settings",
    ),
    "pruning_client": _table(
        errors="",
        recipes="errors",
        rules="recipes statistics pages errors",
        frameworks="errors",
        checkpoints="frameworks errors",
        statistics="pages checkpoints frameworks errors",
        masks="checkpoints frameworks errors",
        files="results masks checkpoints frameworks errors",
        models="recipes checkpoints errors",
        pages="models checkpoints errors",
        results="pages models masks checkpoints frameworks errors",
        calls="results rules statistics checkpoints frameworks errors",
        transport="calls errors",
        clients="transport calls results pages statistics checkpoints errors",
        tokenizers="checkpoints errors",
        huggingface="calls results rules statistics checkpoints tokenizers errors",
        local="clients transport calls results checkpoints errors",
        stored="huggingface calls results checkpoints errors",
        numpy="checkpoints frameworks",
        torch="calls results pages rules statistics recipes checkpoints frameworks errors",
        jobs="stored local huggingface clients transport calls results rules statistics checkpoints errors",
        cli="jobs local stored huggingface tokenizers clients transport calls results pages models files statistics "
        "checkpoints rules errors",
        __main__="cli",
    ),
}

MOST_LEVELS: Final = {"pruning_proto": 3, "pruning_engine": 8, "pruning_service": 8, "pruning_client": 13}
"""Import levels of each package's units, its `__init__.py` and `__main__.py` left out."""

MOST_FILES: Final = 20
"""Python files in one folder."""

LIBRARIES: Final[Mapping[str, frozenset[str]]] = {
    "pruning_service": frozenset(
        {"pruning_service", "pruning_client.local.client", "pruning_client.stored", "pruning_client.jobs"}
    ),
    "pruning_engine": frozenset({"pruning_engine", "pruning_service"}),
    "torch": frozenset(
        {
            "pruning_engine.checkpoints.files",
            "pruning_engine.checkpoints.shared_tensors",
            "pruning_engine.execution.installed_method",
            "pruning_engine.execution.state_dict",
            "pruning_engine.kernels.cuda",
            "pruning_engine.modules",
            "pruning_engine.scores.installed_methods",
            "pruning_engine.torch_tensors",
            "pruning_service.resources.devices",  # of GPUs only
            "pruning_client.frameworks.torch",
            "pruning_client.huggingface.transformers_child",  # a process of its own
            "pruning_client.torch",
        }
    ),
    "numpy": frozenset(
        {
            "pruning_proto.packed.frame_codec",
            "pruning_proto.packed.codec",  # client and server pack with the same code
            "pruning_engine",
            "pruning_service.outputs",
            "pruning_service.parts",
            "pruning_service.resources.devices",
            "pruning_service.streams",
            "pruning_client.models.changes",
            "pruning_client.models.magnitudes",
            "pruning_client.models.numbers",
            "pruning_client.frameworks.numpy",
            "pruning_client.jobs.divided",
            "pruning_client.statistics.imatrix",
            "pruning_client.statistics.merging",
        }
    ),
    "grpc": frozenset(
        {
            "pruning_service.auth.tls",
            "pruning_service.listen",
            "pruning_service.observability",
            "pruning_service.probe",
            "pruning_service.rpc",
            "pruning_service.server",
            "pruning_client.errors.tree",  # `PruningError.code`, when it is asked for
            "pruning_client.transport",
        }
    ),
    "obstore": frozenset({"pruning_service.stores"}),
    "pydantic": frozenset({"pruning_service.setting_fields", "pruning_service.settings", "pruning_service.options"}),
    "pydantic_settings": frozenset({"pruning_service.settings"}),
    "opentelemetry": frozenset({"pruning_service.observability.traces"}),
    "ray": frozenset({"pruning_client.jobs.executors"}),
    "shtab": frozenset({"pruning_client.cli.commands.completion"}),
    "rich": frozenset({"pruning_client.cli", "pruning_client.pages.shown"}),
    "yaml": frozenset({"pruning_client.recipes.yaml_file"}),
    "matplotlib": frozenset({"pruning_client.cli.inspection.scan_plot"}),
    "backports": frozenset({"pruning_proto.packed.frame_codec"}),  # zstd
    "re2": frozenset({"pruning_engine.planning.selectors.name_patterns"}),
    "torch_pruning": frozenset({"pruning_client.torch.channel_groups_child"}),
    "transformers": frozenset({"pruning_client.huggingface.transformers_child"}),
    "tokenizers": frozenset({"pruning_client.tokenizers.verification"}),
    "cloudpickle": frozenset({"pruning_client.torch.channel_groups"}),
}
"""The modules and subpackages that may import a library, or another package, at run time; what is not here is free."""

CONSTANTS: Final = frozenset(
    {
        *("pruning_proto.names", "pruning_proto.formats", "pruning_proto.spans", "pruning_proto.safetensors.dtypes"),
        "pruning_proto.counted",
        "pruning_proto.layer_stacks",  # client and engine name the same layers
    }
)
"""What the engine may import of the contract's package: tables and functions that need neither protobuf nor gRPC."""
