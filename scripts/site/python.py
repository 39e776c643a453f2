"""A page for each public module; its names are read from `__all__`, without importing anything."""

import ast
from pathlib import Path
from typing import Final

from scripts.environments import ROOT

MODULES: Final = {
    "pruning_client": "client",
    "pruning_client.rules": "client",
    "pruning_client.errors": "client",
    "pruning_client.torch": "client",
    "pruning_client.numpy": "client",
    "pruning_client.tokenizers": "client",
    "pruning_engine": ".",
    "pruning_engine.recipe": ".",
}
"""Each module, and the folder that is on the path for it."""

_DOCSTRING_ONLY: Final = "".join(
    f"      {option}: false\n" for option in ("members", "show_root_heading", "show_root_toc_entry")
)


def write_pages(folder: Path) -> None:
    """Write the page of each module. Raises: ValueError for a module without `__all__`."""
    folder.mkdir(parents=True, exist_ok=True)
    for module in MODULES:
        (folder / f"{module}.md").write_text(_page(module), encoding="utf-8")


def public_names(module: str) -> list[str]:
    """Return the names of `__all__`, without those that torch's users import though they begin with `_`."""
    for statement in ast.parse(_file(module).read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "__all__":
            return [name for name in ast.literal_eval(statement.value) if not name.startswith("_")]
    raise ValueError(f"{module} has no __all__")


def _file(module: str) -> Path:
    path = ROOT / MODULES[module] / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _page(module: str) -> str:
    names = [name for name in public_names(module) if f"{module}.{name}" not in MODULES]
    submodules = [name for name in MODULES if name.rpartition(".")[0] == module]
    also = ", ".join(f"[`{name}`]({name}.md)" for name in submodules)
    return "\n".join(
        [
            f"# `{module}`\n",
            f"::: {module}\n    options:\n{_DOCSTRING_ONLY}",
            f"Modules with pages of their own: {also}.\n" if also else "",
            *(f"::: {module}.{name}\n" for name in names),
        ]
    )
