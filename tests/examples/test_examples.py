"""The scripts in examples/ run as their users run them, are short, and are listed in its README."""

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
import safetensors.numpy
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.prometheus import running_prometheus
from tests.repository.modules import ROOT
from tests.seaweed import BUCKET, S3
from tests.servers import running_server
from tests.stores import s3
from tests.system import jobs as case

__all__ = ["s3"]

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
MOST_LINES = 60
PROJECT = "pruning-service"
SECONDS = 600


def run(name: str, *arguments: str, folder: Path) -> str:
    """Run an example in a process of its own; return what it printed. Raises: AssertionError with what it said."""
    done = ended(name, *arguments, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ended(name: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run an example in a process of its own to its end, whatever that is."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, ROOT / "examples" / name, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_is_short_says_what_it_shows_and_is_listed(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert f"examples/{path.name}" in (ast.get_docstring(ast.parse(text)) or "")
    assert f"({path.name})" in (ROOT / "examples" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_installs_what_it_imports(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    (words,) = re.findall(r"^    pip install (.+?)(?:  .*)?$", text, re.M)
    installed = {name for word in shlex.split(words) for name in with_requirements(Requirement(word))}
    imported = {name.partition(".")[0] for name in imports(ast.parse(text))} - sys.stdlib_module_names
    distributions = {**packages_distributions(), "pruning_client": [PROJECT]}
    assert {canonicalize_name(distributions[name][0]) for name in imported} <= installed


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def with_requirements(wanted: Requirement) -> Iterator[str]:
    """Yield the distribution of a requirement, and those that this project's extras ask for directly."""
    yield canonicalize_name(wanted.name)
    if canonicalize_name(wanted.name) == PROJECT:
        for each in map(Requirement, requires(PROJECT) or ()):
            if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)):
                yield from with_requirements(each)


def test_quick_start(tmp_path: Path) -> None:
    printed = run("quick_start.py", folder=tmp_path)
    assert "l1_unstructured(0.5, scope='global')\n<Plan: 2 of 4 tensors selected" in printed
    assert "not selected: embeddings.weight (embedding)" in printed
    (pruned,) = tmp_path.glob("*/pruned.safetensors")
    assert sum(int((tensor == 0).sum()) for tensor in safetensors.numpy.load_file(pruned).values()) == 2048
    assert pruned.with_name("report.html").stat().st_size > 0


def test_quick_start_with_a_model(tmp_path: Path) -> None:
    case.model(tmp_path / "in", shards=1, size=8)
    printed = run("quick_start.py", str(tmp_path / "in" / "model-00001-of-00001.safetensors"), folder=tmp_path)
    assert "<Report: 50.00% of 192 selected weights pruned, 3 tensors>" in printed


def test_job_from_a_folder_into_a_folder(tmp_path: Path) -> None:
    case.model(tmp_path / "in", size=8)
    with running_server(**case.settings(tmp_path)) as server:
        words = ("job_on_s3.py", server.address, f"file://{tmp_path}/in", f"file://{tmp_path}/out")
        first, again = (run(*words, folder=tmp_path) for _ in range(2))
    for printed in (first, again):
        assert "<Job: example-half, succeeded>" in printed
        assert "50.00% of 768 selected weights pruned" in printed
    assert (tmp_path / "out" / "model.safetensors.index.json").is_file()


def test_job_that_cannot_be_says_so_in_one_line(tmp_path: Path) -> None:
    with running_server(**case.settings(tmp_path)) as server:
        for address, target in (("no address", "out"), ("localhost:1", "out"), (server.address, "../elsewhere")):
            words = (address, f"file://{tmp_path}/in", f"file://{tmp_path}/{target}")
            done = ended("job_on_s3.py", *words, folder=tmp_path)
            assert (done.returncode, done.stdout) == (1, "")
            assert re.fullmatch(r"there is no result: .+\n", done.stderr)


def test_metrics_without_prometheus(tmp_path: Path) -> None:
    with running_server() as server:
        url = f"http://{server.metrics_address}/metrics"
        printed = run("metrics_and_dashboard.py", server.address, "--metrics", url, folder=tmp_path)
    (handled,) = [line for line in printed.splitlines() if 'grpc_method="Prune"' in line and 'grpc_code="OK"' in line]
    assert handled.endswith(" 10.0")
    assert re.search(r"^pruning_budget_bytes [1-9]", printed, re.M)
    assert "pruning_reserved_bytes 0.0" in printed
    assert "} 0.0" not in printed


@pytest.mark.integration
def test_metrics_by_a_real_prometheus(tmp_path: Path) -> None:
    rules = ROOT / "deploy" / "monitoring" / "alerts.yaml"
    with running_server() as server, running_prometheus(tmp_path, server.metrics_address, rules) as prometheus:
        url = f"http://{prometheus.address}"
        printed = run("metrics_and_dashboard.py", server.address, "--prometheus", url, folder=tmp_path)
    assert 'sum(grpc_server_handled_total{grpc_method="Prune", grpc_code="OK"}) = ' in printed
    assert "nothing yet" not in printed


@pytest.mark.integration
def test_job_from_s3_into_s3(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pruning_service.stores.stores import Stores, StoreSettings  # noqa: PLC0415 - needs obstore
    from pruning_service.stores.uris import StoreUri  # noqa: PLC0415

    for name, text in s3.environment.items():
        monkeypatch.setenv(name, text)
    root = f"s3://{BUCKET}/{tmp_path.name}"
    case.model(tmp_path / "in", size=8)
    with Stores(StoreSettings(endpoint=s3.endpoint)) as stores:
        store = stores.open(StoreUri.parse(f"{root}/in"))
        for name, content in case.content(tmp_path / "in").items():
            store.put(name, content)
    with running_server(stores=root, store_endpoint=s3.endpoint) as server:
        printed = run("job_on_s3.py", server.address, f"{root}/in", f"{root}/out", folder=tmp_path)
    assert "<Job: example-half, succeeded>" in printed


@pytest.mark.integration
@pytest.mark.timeout(SECONDS)
def test_lenet_in_rounds(tmp_path: Path) -> None:
    printed = run("lenet_in_rounds.py", folder=tmp_path)
    assert "round 4: 90.0% zeros" in printed


@pytest.mark.integration
@pytest.mark.timeout(SECONDS)
def test_minilm_with_statistics(tmp_path: Path) -> None:
    lines = run("minilm_with_statistics.py", folder=tmp_path).splitlines()
    similarity = {line.split()[0]: float(line.split()[-1]) for line in lines if "cosine" in line}
    assert similarity["wanda"] > similarity["l1_unstructured"] + 0.05


@pytest.mark.integration
@pytest.mark.timeout(SECONDS)
def test_experts_of_a_moe(tmp_path: Path) -> None:
    printed = run("experts_of_a_moe.py", folder=tmp_path)
    assert printed.count("its config.json says 4 experts") == 2
