"""The executor of this process: in order, one at a time, errors where results are asked for."""

from pathlib import Path

import pytest

from pruning_client.errors import UnavailableError
from pruning_client.jobs.executors import EXECUTORS, finished, open_executor
from tests.client.jobs.executors.tasks import Refused, Task, TwoPartsError


def begun(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("begun-*"))


def test_results_come_in_the_order_of_the_tasks(tmp_path: Path) -> None:
    with open_executor("local") as executor:
        tasks = [Task(folder=tmp_path, number=number) for number in range(3)]
        assert list(finished(executor, tasks)) == list(zip(tasks, [b"0", b"1", b"4"], strict=True))


def test_no_task_begins_before_the_one_before_is_taken(tmp_path: Path) -> None:
    with open_executor("local") as executor:
        results = finished(executor, [Task(folder=tmp_path, number=number) for number in range(3)])
        next(results)
        assert begun(tmp_path) == ["begun-0"]


def test_error_of_a_task_ends_the_run_once(tmp_path: Path) -> None:
    tasks = [Refused(folder=tmp_path, number=1), Task(folder=tmp_path, number=2)]
    with open_executor("local") as executor, pytest.raises(TwoPartsError, match="tensor 'w' is too small"):
        list(finished(executor, tasks))
    assert begun(tmp_path) == ["begun-1"]


def test_no_tasks_are_no_results() -> None:
    with open_executor("local") as executor:
        assert list(finished(executor, [])) == []


def test_unknown_executor_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="one of local, ray, got 'slurm'"):
        open_executor("slurm")
    assert EXECUTORS == ("local", "ray")


def test_without_ray_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UnavailableError, match=r"pip install 'pruning-service\[ray\]'"):
        open_executor("ray")
