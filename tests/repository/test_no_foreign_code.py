"""Nothing that comes over the wire or out of a file is ever run: no pickle, no eval, and one door for installed code.

Read from the source of every module, so that a way in is seen before it is used.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repository.modules import FOLDERS, ROOT, modules_of

UNPICKLING = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
RUNNING = {"code", "codeop", "runpy"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
CALLS = {
    "numpy.load",
    "np.load",
    "os.popen",
    "os.system",
    "torch.hub.load",
    "torch.jit.load",
    "torch.load",
    "yaml.full_load",
    "yaml.load",
    "yaml.unsafe_load",
}
PLUGINS = "importlib.metadata.entry_points"

EXCEPTIONS = {
    (
        "pruning_engine.scores.installed_methods",
        PLUGINS,
    ): "methods that whoever runs the server installed",
    ("pruning_client.recipes.yaml_file", "yaml.load"): "with a loader that is a SafeLoader",
    ("pruning_client.frameworks.torch", "torch.load"): "with weights_only=True, for the caller's own `prune convert`",
    ("pruning_client", "import_module"): "submodules of its own, by a table of its public names",
    ("pruning_client.cli.arguments", "import_module"): "submodules of its own, by a table of its commands",
    (
        "pruning_client.torch.channel_groups_child",
        "pickle",
    ): "the caller's own model, by a pipe from its parent",
    (
        "pruning_client.jobs.executors.on_worker",
        "pickle",
    ): "tasks from the job's own process, on workers of its cluster, which asks for a token",
    ("pruning_client.jobs.executors.carried_errors", "pickle"): "the errors of these tasks, on their way back",
    ("pruning_client.torch.channel_groups", "cloudpickle"): "writes the caller's own model for that process",
}
"""What is allowed all the same, and why. Nothing in what the server or the engine reads."""

SERVER = ("pruning_proto", "pruning_service", "pruning_engine")


def ways_to_run_code(source: str) -> Iterator[str]:
    """Return what in a module could run code that is not the project's own."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names if each.name.partition(".")[0] in UNPICKLING | RUNNING)
            case ast.ImportFrom(module=str(module), names=names):
                full = [f"{module}.{each.name}" for each in names]
                yield from (name for name in full if name.partition(".")[0] in UNPICKLING | RUNNING)
                yield from (name for name in full if name == PLUGINS or name in CALLS)
            case ast.Call(func=ast.Name(id=name)) if name in BUILTINS:
                yield name
            case ast.Call(func=ast.Attribute() as function) if ast.unparse(function) in CALLS | {PLUGINS}:
                yield ast.unparse(function)
            case ast.Call(func=function, args=[first, *_]) if ast.unparse(function).endswith("import_module"):
                yield from () if isinstance(first, ast.Constant) else (ast.unparse(function),)
            case ast.keyword(arg="shell" | "allow_pickle" as name, value=ast.Constant(value=True)):
                yield f"{name}=True"
            case ast.keyword(arg="weights_only", value=ast.Constant(value=False)):
                yield "weights_only=False"


@pytest.mark.parametrize("package", FOLDERS)
def test_nothing_runs_what_it_is_given(package: str) -> None:
    found = [
        (module, way)
        for module, file in modules_of(package).items()
        for way in ways_to_run_code(file.read_text(encoding="utf-8"))
    ]
    assert [one for one in found if one not in EXCEPTIONS] == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import cloudpickle as c",
        "eval(text)",
        "exec(text)",
        "compile(text, '', 'exec')",
        "torch.load(path)",
        "torch.load(path, weights_only=True)",
        "from torch import load",
        "yaml.load(text, Loader=Loader)",
        "importlib.import_module(name)",
        "from importlib.metadata import entry_points",
        "subprocess.run(command, shell=True)",
        "numpy.fromfile(path, allow_pickle=True)",
    ],
)
def test_it_would_be_found(source: str) -> None:
    assert list(ways_to_run_code(source))


@pytest.mark.parametrize("source", ["re.compile(pattern)", "model.eval()", "recipe.load(path)", "import_module('a')"])
def test_what_only_looks_like_it_is_not(source: str) -> None:
    assert list(ways_to_run_code(source)) == []


def test_server_has_one_door_for_installed_code_and_no_other_exception() -> None:
    theirs = [(module, way) for module, way in EXCEPTIONS if module.partition(".")[0] in SERVER]
    assert theirs == [("pruning_engine.scores.installed_methods", PLUGINS)]


def unsafe_starts(source: str) -> list[int]:
    """Return the lines of the lists that begin with `sys.executable` and not with `sys.executable, "-P"`."""
    lists = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.List | ast.Tuple) and node.elts]
    starts = [node for node in lists if ast.unparse(node.elts[0]) == "sys.executable"]
    return [node.lineno for node in starts if [ast.unparse(each) for each in node.elts[1:2]] != ["'-P'"]]


@pytest.mark.parametrize("package", FOLDERS)
def test_every_child_of_a_package_starts_without_the_current_folder(package: str) -> None:
    unsafe = {name: lines for name, file in modules_of(package).items() if (lines := unsafe_starts(file.read_text()))}
    assert unsafe == {}


@pytest.mark.parametrize(
    ("source", "lines"), [("run([sys.executable, '-m', 'x'])", [1]), ("[sys.executable, '-P']", [])]
)
def test_starts_are_found(source: str, lines: list[int]) -> None:
    assert unsafe_starts(source) == lines


def test_images_start_python_without_the_current_folder() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    starts = [line for line in lines if line.startswith(("HEALTHCHECK", "ENTRYPOINT")) and "python" in line]
    assert starts
    assert all('"python", "-P", "-m"' in line for line in starts)
    assert "    PYTHONSAFEPATH=1 \\" in lines


def documented() -> list[Path]:
    """Return the files that tell people, and platforms, what to run."""
    found = [file for folder in ("docs", "deploy") for file in (ROOT / folder).rglob("*.*")]
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "Dockerfile")]
    return [*(file for file in found if file.suffix in (".md", ".yaml", ".conf", ".py")), *top]


UNSAFE = re.compile(r"python3?(?! -P)[^`\n]* -m pruning_|\bpython3?\", \"-m\", \"pruning_")


@pytest.mark.parametrize("file", documented(), ids=lambda file: str(file.relative_to(ROOT)))
def test_documented_commands_start_without_the_current_folder(file: Path) -> None:
    assert UNSAFE.search(file.read_text(encoding="utf-8")) is None


@pytest.mark.parametrize("line", ["python -m pruning_service", 'CMD ["python", "-m", "pruning_service.probe"]'])
def test_documented_commands_are_found(line: str) -> None:
    assert UNSAFE.search(line)
