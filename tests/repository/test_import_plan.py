"""Imports only point down: who may import whom, held against the source of every module."""

import re
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions

import pytest

from tests.repository.installed import PROJECT
from tests.repository.modules import YARDS, Import, imports_of, modules_of

MAY_IMPORT = {
    "pruning_proto": {"grpc", "google", "numpy"},
    "pruning_engine": {"pruning_proto", "torch", "numpy", "safetensors", "re2"},
    "pruning_service": {
        "pruning_engine",
        "pruning_proto",
        "grpc",
        "grpc_health",
        "grpc_reflection",
        "google",
        "prometheus_client",
        "torch",
        "numpy",
    },
    "pruning_client": {
        *{"pruning_proto", "grpc", "google", "yaml", "rich", "torch", "numpy"},
        *{"torch_pruning", "cloudpickle"},  # the extra `derive`: groups of tied channels, found in a child process
    },
}
"""Other packages that each package may import. Beyond the table every package imports itself."""

ADAPTORS = {
    "torch": {
        "pruning_client.frameworks.torch",
        "pruning_client.torch",
        "pruning_client.torch.resizing",
        "pruning_client.torch.channel_groups",
        "pruning_client.torch.channel_groups_child",
    },
    "numpy": {"pruning_client.frameworks.numpy"},
    "torch_pruning": {"pruning_client.torch.channel_groups_child"},
    "cloudpickle": {"pruning_client.torch.channel_groups"},
}
"""The modules of the client that may import each framework."""

CONSTANTS = ("pruning_proto.names", "pruning_proto.formats", "pruning_proto.spans", "pruning_proto.safetensors.dtypes")
"""What the engine may import of the contract's package: tables that need neither protobuf nor gRPC."""

CLIENT_NEEDS = PROJECT["project"]["dependencies"]
SERVICE_NEEDS = CLIENT_NEEDS + PROJECT["project"]["optional-dependencies"]["service"]

PACKAGES = pytest.mark.parametrize("package", YARDS)


def is_cyclic(imports: dict[str, set[str]]) -> bool:
    try:
        TopologicalSorter(imports).prepare()
    except CycleError:
        return True
    return False


def distributions_of(requirements: Iterable[str]) -> set[str]:
    """Give the names that requirements begin with, in one spelling."""
    return {re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-") for requirement in requirements}


def module_imported(one: Import, modules: set[str]) -> str:
    """Give the module that `from a import b` names: `a.b` if that is one, else `a`."""
    return one.imported if one.imported in modules else one.imported.rpartition(".")[0]


@PACKAGES
def test_package_imports_only_what_the_plan_allows(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    assert [one for one in imports_of(package) if one.package not in allowed] == []


def test_engine_takes_only_constants_from_the_contract() -> None:
    taken = [one for one in imports_of("pruning_engine") if one.package == "pruning_proto"]
    assert [one for one in taken if not one.imported.startswith(CONSTANTS)] == []


@pytest.mark.parametrize(("framework", "adaptors"), ADAPTORS.items(), ids=ADAPTORS)
def test_client_imports_a_framework_in_its_adaptors_only(framework: str, adaptors: set[str]) -> None:
    importers = {one.importer for one in imports_of("pruning_client") if one.package == framework}
    assert importers <= adaptors


def test_contract_touches_numpy_only_where_bytes_are_packed() -> None:
    """Client and server pack with the same code, so it stands in what both import; nobody else there needs numpy."""
    importers = {one.importer for one in imports_of("pruning_proto") if one.package == "numpy"}
    assert importers == {"pruning_proto.packed.codec"}


@pytest.mark.parametrize(
    ("package", "needs"),
    [
        ("pruning_proto", [*CLIENT_NEEDS, "numpy"]),  # packed_arrays runs where the caller has it
        (
            "pruning_client",
            [*CLIENT_NEEDS, *(name.replace("_", "-") for name in ADAPTORS)],
        ),  # an adaptor runs where the caller has the framework
        ("pruning_engine", SERVICE_NEEDS),
        ("pruning_service", SERVICE_NEEDS),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_package_imports_only_what_the_project_declares(package: str, needs: list[str]) -> None:
    provided_by = packages_distributions()
    outside = {one.package for one in imports_of(package)} - set(YARDS)
    assert {top for top in outside if not distributions_of(provided_by[top]) & distributions_of(needs)} == set()


@PACKAGES
def test_package_has_no_import_cycle(package: str) -> None:
    modules = set(modules_of(package))
    imports: dict[str, set[str]] = {module: set() for module in modules}
    for one in imports_of(package):
        imports[one.importer].add(module_imported(one, modules))
    assert not is_cyclic(imports)


def test_cycle_would_be_seen() -> None:
    assert is_cyclic({"a": {"b"}, "b": {"a"}})
    assert not is_cyclic({"a": {"b"}, "b": set()})


@pytest.mark.parametrize("name", ["utils", "util", "common", "helpers", "helper", "misc"])
def test_no_module_is_a_grab_bag(name: str) -> None:
    assert [module for package in YARDS for module in modules_of(package) if name in module.split(".")] == []
