"""What the packages' modules import, read from their source: nothing here is imported or run."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDERS: Final = {
    "pruning_proto": "proto",
    "pruning_service": "service",
    "pruning_client": "client",
    "pruning_engine": ".",
}
"""Each package and the folder it is in."""


STANDARD_LIBRARY = sys.stdlib_module_names | {"compression"}
"""Of any version of Python that the project supports: `compression` came with 3.14."""


@dataclass(frozen=True, slots=True)
class Import:
    """One name that one module imports, at the top or in a function; `is_typing`: for the type checker alone."""

    importer: str
    imported: str
    is_typing: bool = False

    @property
    def package(self) -> str:
        """The outermost package that is imported."""
        return self.imported.partition(".")[0]


def modules_of(package: str) -> dict[str, Path]:
    """Return the hand-written modules of a package by their full names."""
    folder = ROOT / FOLDERS[package]
    files = sorted((folder / package).rglob("*.py"))
    return {_module_name(file.relative_to(folder)): file for file in files if not file.name.endswith("_pb2.py")}


def imports_of(package: str) -> list[Import]:
    """Return what a package's modules import, the standard library left out."""
    found = [one for name, file in modules_of(package).items() for one in _imports(name, file)]
    return [one for one in found if one.package not in STANDARD_LIBRARY]


def _module_name(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


def _imports(name: str, file: Path) -> Iterator[Import]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    typing_only = {id(node) for block in ast.walk(tree) if _is_typing_block(block) for node in ast.walk(block)}
    for node in ast.walk(tree):
        is_typing = id(node) in typing_only
        if isinstance(node, ast.Import):
            yield from (Import(name, alias.name, is_typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively; write the package's name"
            yield from (Import(name, f"{node.module}.{alias.name}", is_typing) for alias in node.names)


def _is_typing_block(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
