"""The executor ray on real clusters: two nodes on this machine, and one that it starts itself."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.ray_nodes import Nodes, ray_program, workers_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]  # the first time, an environment is made

MODULE = "tests.client.jobs.executors.ray_programs"


def started(
    name: str, folder: Path, address: str = "", **variables: str
) -> AbstractContextManager["subprocess.Popen[str]"]:
    """Run a program while inside."""
    return ray_program(MODULE, name, folder, address, **variables)


def answer_of(process: "subprocess.Popen[str]") -> dict[str, Any]:
    out, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    found: dict[str, Any] = json.loads(out)  # and nothing else is on stdout
    return found


def said(name: str, folder: Path, address: str = "", **variables: str) -> dict[str, Any]:
    with started(name, folder, address, **variables) as process:
        return answer_of(process)


def ran(name: str, folder: Path, nodes: Nodes) -> Any:
    return said(name, folder, nodes.address, **nodes.variables)["answer"]


def wait_until_begun(folder: Path, count: int, process: "subprocess.Popen[str]") -> None:
    while len(list(folder.glob("begun-*"))) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def workers(folder: Path) -> list[Path]:
    """Return the processes that have begun tasks."""
    return [Path(f"/proc/{process}") for path in folder.glob("begun-*") for process in path.read_text().split()]


def wait_until_gone(processes: list[Path], count: int) -> None:
    while sum(not process.exists() for process in processes) < count:  # until the test's own time is over
        time.sleep(0.1)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with workers_of() as running:
        yield running


def test_results_of_many_tasks_on_workers_of(nodes: Nodes, tmp_path: Path) -> None:
    assert ran("results", tmp_path, nodes) == sorted(number * number for number in range(40))


def test_error_of_a_task_is_its_own_and_not_retried(nodes: Nodes, tmp_path: Path) -> None:
    assert ran("refused", tmp_path, nodes) == ["tensor 'w' is too small", "w", 1]


def test_task_whose_process_is_lost_is_begun_again(nodes: Nodes, tmp_path: Path) -> None:
    (result, error), begun = ran("crashed", tmp_path, nodes)
    assert result == "b'1'"
    assert error.startswith("task 2 was lost with its Ray worker 9 times")
    assert begun == [3, 9]


def test_cancelled_tasks_end_also_if_they_go_on(nodes: Nodes, tmp_path: Path) -> None:
    assert ran("cancelled", tmp_path, nodes) == {"deaf lives": False, "begun": 2}
    assert (tmp_path / "interrupted-2").exists()


def test_worker_imports_no_torch_and_signals_stay_as_they_were(nodes: Nodes, tmp_path: Path) -> None:
    assert ran("environment", tmp_path, nodes) == {"torch": "False", "mine": True}


def test_client_of_a_cluster_elsewhere_has_the_same_results_and_errors(nodes: Nodes, tmp_path: Path) -> None:
    found = [said(name, tmp_path, nodes.client_address, **nodes.variables)["answer"] for name in ("results", "refused")]
    assert found[0] == sorted(number * number for number in range(40))
    assert found[1][:2] == ["tensor 'w' is too small", "w"]


def test_cancelled_tasks_of_a_client_end(nodes: Nodes, tmp_path: Path) -> None:
    answer = said("cancelled", tmp_path, nodes.client_address, **nodes.variables)["answer"]
    assert answer == {"deaf lives": False, "begun": 2}


def test_wrong_token_is_refused_with_the_variables_to_set(nodes: Nodes, tmp_path: Path) -> None:
    wrong = dict(nodes.variables) | {"RAY_AUTH_TOKEN": "0" * 64}
    assert "RAY_AUTH_TOKEN" in said("results", tmp_path, nodes.address, **wrong)["answer"]


def test_address_where_nothing_listens_is_refused_at_once(tmp_path: Path) -> None:
    answer = said("results", tmp_path, "127.0.0.1:1")["answer"]
    assert answer.startswith("no Ray cluster answers at 127.0.0.1:1")


def test_killed_leader_leaves_no_task_running(nodes: Nodes, tmp_path: Path) -> None:
    with started("slow", tmp_path, nodes.address, **nodes.variables) as process:
        wait_until_begun(tmp_path, 2, process)
    wait_until_gone(workers(tmp_path), 2)


@pytest.mark.parametrize("home", ["/proc/1/none", None], ids=["read-only", "writable"])
def test_own_cluster_needs_no_home_and_leaves_nothing(home: str | None, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("home", "tmp")]
    for folder in folders:
        folder.mkdir()
    found = said("results", tmp_path, HOME=home or str(folders[0]), TMPDIR=str(folders[1]))
    assert found["answer"] == sorted(number * number for number in range(40))
    assert [list(folder.iterdir()) for folder in folders] == [[], []]
    assert "RAY_AUTH_TOKEN" not in found["left"]


def test_own_cluster_admits_nobody_else(tmp_path: Path) -> None:
    assert said("stranger", tmp_path)["answer"] == [False, True]


def test_node_that_is_lost_loses_no_task(tmp_path: Path) -> None:
    with workers_of() as nodes, started("slow", tmp_path, nodes.address, **nodes.variables) as process:
        wait_until_begun(tmp_path, 2, process)
        begun = workers(tmp_path)
        nodes.kill_one()
        wait_until_gone(begun, 1)
        (tmp_path / "go").touch()
        assert answer_of(process)["answer"] == [0, 1, 4, 9]
    assert len(workers(tmp_path)) == 5
