"""Imports only point down: who may import whom, held against the source of every module."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.repository.import_table import (
    CONSTANTS,
    LIBRARIES,
    MOST_FILES,
    MOST_LEVELS,
    ROOT_FILES,
    TABLES,
)
from tests.repository.installed import PROJECT
from tests.repository.modules import FOLDERS, ROOT, Import, imports_of, modules_of

MAY_IMPORT = {
    "pruning_proto": {"grpc", "google", "numpy", "backports"},
    "pruning_engine": {"pruning_proto", "torch", "numpy", "safetensors", "re2"},
    "pruning_service": {
        "pruning_engine",
        "pruning_proto",
        "grpc",
        "grpc_health",
        "grpc_reflection",
        "google",
        "prometheus_client",
        "opentelemetry",  # the extra `otel`
        *("pydantic", "pydantic_settings"),
        "obstore",  # the extra `stores`
        "torch",
        "numpy",
    },
    "pruning_client": {
        "pruning_proto",
        "pruning_service",  # by the command line, to prune without a server: the table of libraries says where
        "grpc",
        "google",
        "yaml",
        "rich",
        "shtab",  # `prune completion`
        "torch",
        "numpy",
        "transformers",  # in a child process, which builds models without their weights
        "tokenizers",  # the extra of the same name: trimmed tokenizers are verified with it
        "ray",  # the extra of the same name: tasks of jobs on other machines
        "torch_pruning",  # this and the next: the extra `derive`, which finds coupled channels in a child process
        "cloudpickle",
        "matplotlib",  # the extra `plot`: `prune scan --plot`
    },
}
"""Other packages that each package may import. Beyond the table every package imports itself."""

CLIENT_NEEDS = PROJECT["project"]["dependencies"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
SERVICE_NEEDS = CLIENT_NEEDS + EXTRAS["local"] + EXTRAS["service"] + EXTRAS["stores"]

PACKAGES = pytest.mark.parametrize("package", FOLDERS)


def is_cyclic(imports: dict[str, set[str]]) -> bool:
    try:
        TopologicalSorter(imports).prepare()
    except CycleError:
        return True
    return False


def distributions_of(requirements: Iterable[str]) -> set[str]:
    """Return the names that requirements begin with, in one spelling."""
    return {re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-") for requirement in requirements}


def is_in(name: str, places: Iterable[str]) -> bool:
    """Whether a dotted name is one of `places`, or inside one."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def imports(one: Import, library: str) -> bool:
    return one.package == library and not one.is_typing


def unit_of(module: str) -> str:
    """Return the subpackage that a module is in, with its package; of a file beside the subpackages, the file."""
    package, _, rest = module.partition(".")
    unit = rest.partition(".")[0]
    return f"{package}.root" if unit in ROOT_FILES.get(package, ()) else f"{package}.{unit}".rstrip(".")


def unit_name(unit: str) -> str:
    return unit.partition(".")[2]


def arrows_of(package: str) -> set[tuple[str, str]]:
    """Return who imports whom among the units of a package, its interface `__init__.py` left out."""
    modules = set(modules_of(package))
    own = [one for one in imports_of(package) if one.package == package and one.importer != package]
    arrows = {(unit_of(one.importer), unit_of(module_imported(one, modules))) for one in own}
    return {(importer, imported) for importer, imported in arrows if importer != imported}


def levels_of(table: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Return the level of each unit: 1 for those that import nothing. Raises: CycleError."""
    levels: dict[str, int] = {}
    for unit in TopologicalSorter(table).static_order():
        levels[unit] = 1 + max((levels[below] for below in table[unit]), default=0)
    return levels


def python_files(folder: str) -> Iterator[Path]:
    """Return the files of a folder, those of the environments beside the engine's left out."""
    root = ROOT / ("pruning_engine" if folder == "." else folder)
    return root.rglob("*.py")


def module_imported(one: Import, modules: set[str]) -> str:
    """Return the module that `from a import b` names: `a.b` if that is one, else `a`."""
    return one.imported if one.imported in modules else one.imported.rpartition(".")[0]


@PACKAGES
def test_package_imports_only_what_the_plan_allows(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    assert [one for one in imports_of(package) if one.package not in allowed] == []


def test_engine_takes_only_constants_from_the_contract() -> None:
    taken = [one for one in imports_of("pruning_engine") if one.package == "pruning_proto"]
    assert [one for one in taken if not is_in(one.imported, CONSTANTS)] == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_library_is_imported_only_where_the_plan_allows(library: str) -> None:
    importers = {one.importer for package in FOLDERS for one in imports_of(package) if imports(one, library)}
    assert {importer for importer in importers if not is_in(importer, LIBRARIES[library])} == set()


@PACKAGES
def test_unit_imports_only_what_its_row_allows(package: str) -> None:
    table = TABLES[package]
    assert {arrow for arrow in arrows_of(package) if unit_name(arrow[1]) not in table[unit_name(arrow[0])]} == set()


@PACKAGES
def test_every_unit_has_its_row(package: str) -> None:
    units = {unit_of(module) for module in modules_of(package)} - {package}
    assert {unit_name(unit) for unit in units} <= TABLES[package].keys()


@PACKAGES
def test_plan_itself_has_no_cycle_and_few_levels(package: str) -> None:
    levels = levels_of(TABLES[package])
    assert max(level for unit, level in levels.items() if unit != "__main__") <= MOST_LEVELS[package]


def test_no_folder_has_too_many_files() -> None:
    folders = Counter(
        file.parent for folder in (*FOLDERS.values(), "tests", "scripts") for file in python_files(folder)
    )
    assert {str(folder.relative_to(ROOT)): count for folder, count in folders.items() if count > MOST_FILES} == {}


@pytest.mark.parametrize(
    ("package", "needs"),
    [
        ("pruning_proto", [*CLIENT_NEEDS, "numpy", "backports.zstd"]),  # packed_arrays runs where the caller has it
        (
            "pruning_client",
            [
                *CLIENT_NEEDS,
                "torch",
                "numpy",
                "transformers",
                "tokenizers",
                "torch-pruning",
                "cloudpickle",
                "matplotlib",
                "ray",
            ],
        ),  # an adaptor runs where the caller has the framework
        ("pruning_engine", SERVICE_NEEDS),
        ("pruning_service", [*SERVICE_NEEDS, *EXTRAS["otel"]]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_package_imports_only_what_the_project_declares(package: str, needs: list[str]) -> None:
    provided_by = packages_distributions()
    outside = {one.package for one in imports_of(package)} - set(FOLDERS)
    assert {
        top for top in outside if not distributions_of(provided_by.get(top, [top])) & distributions_of(needs)
    } == set()


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
    assert [module for package in FOLDERS for module in modules_of(package) if name in module.split(".")] == []
