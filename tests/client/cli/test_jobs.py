"""`prune jobs`: what it prints of jobs, for people and for programs."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pruning_client import Client, rules
from pruning_client.cli import error_output
from pruning_client.cli.main import run
from tests.servers import ServerProcess, running_server


class Done(NamedTuple):
    """What a command left."""

    status: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        return json.loads(self.out)


Prune = Callable[..., Done]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module")
def answering(root: Path) -> Iterator[ServerProcess]:
    """A server that leaves jobs to others."""
    with running_server(stores=f"file://{root}", max_jobs="0") as server:
        yield server


@pytest.fixture
def prune(answering: ServerProcess, capsys: pytest.CaptureFixture[str]) -> Prune:
    """Run a command for the server."""

    def command(*words: str) -> Done:
        status = run([*words, "--server", answering.address])
        return Done(status, *capsys.readouterr())

    return command


@pytest.fixture
def job(answering: ServerProcess, root: Path, request: pytest.FixtureRequest) -> str:
    """The name of a new job."""
    name: str = request.node.name.replace("_", "-").partition("[")[0]
    with Client(answering.address) as client:
        client.prune_checkpoint(
            f"file://{root}/in", f"file://{root}/{name}", rules.l1_unstructured(0.5), name=name, labels={"team": "a"}
        )
    return name


def test_list_has_jobs_under_way(prune: Prune, job: str) -> None:
    done = prune("jobs", "list")

    assert done.status == 0
    assert any(line.split()[:2] == [job, "pending"] for line in done.out.splitlines())
    assert job in {each["name"] for each in prune("jobs", "list", "--json").value["jobs"]}


def test_list_has_jobs_that_are_done_if_asked(prune: Prune, job: str) -> None:
    prune("jobs", "cancel", job)
    prune("jobs", "wait", job)

    assert job not in prune("jobs", "list").out
    assert job in prune("jobs", "list", "--all").out


def test_show_describes_a_job(prune: Prune, job: str, root: Path) -> None:
    done = prune("jobs", "show", job)

    assert done.out.splitlines()[0] == f"{job} pending"
    assert f"target     file://{root}/{job}" in done.out
    assert "team=a" in done.out


def test_show_is_an_object_for_programs(prune: Prune, job: str) -> None:
    value = prune("jobs", "show", job, "--json").value

    assert (value["name"], value["state"], value["report"], value["error"]) == (job, "pending", None, None)
    assert value["operation"].endswith(f"/{job}")


def test_wait_says_why_a_job_has_no_result(prune: Prune, job: str) -> None:
    assert "will be cancelled" in prune("jobs", "cancel", job).out
    done = prune("jobs", "wait", job)

    assert done.status == error_output.FAILED
    assert "[JOB_CANCELLED]" in done.err


def test_wait_ends_with_its_time(prune: Prune, job: str) -> None:
    done = prune("jobs", "wait", job, "--for", "0.2")

    assert done.status == error_output.FAILED
    assert "it goes on" in done.err


def test_delete_needs_a_job_that_is_done(prune: Prune, job: str) -> None:
    assert "[JOB_NOT_DONE]" in prune("jobs", "delete", job).err
    prune("jobs", "cancel", job)
    prune("jobs", "wait", job)

    assert prune("jobs", "delete", job).status == 0
    assert "[JOB_NOT_FOUND]" in prune("jobs", "show", job).err


def test_methods_say_what_there_is_of_jobs(prune: Prune) -> None:
    assert "jobs     0 at once" in prune("methods").out


def test_errors_are_objects_for_programs(prune: Prune) -> None:
    done = prune("jobs", "show", "missing", "--json")

    assert done.status == error_output.FAILED
    assert json.loads(done.err)["error"]["reason"] == "JOB_NOT_FOUND"


@pytest.mark.parametrize("words", [("jobs",), ("jobs", "show"), ("jobs", "other"), ("jobs", "wait", "x", "--for", "y")])
def test_other_words_are_refused(prune: Prune, words: tuple[str, ...]) -> None:
    assert prune(*words).status == error_output.REFUSED


def test_a_server_is_needed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRUNING_SERVER", raising=False)

    assert run(["jobs", "list"]) == error_output.REFUSED
    assert "--server HOST:PORT" in capsys.readouterr().err


L1 = ("--method", "l1_unstructured", "--amount", "0.5")


def test_run_begins_a_job_and_leaves_it(prune: Prune, root: Path) -> None:
    places = (f"file://{root}/in", "-o", f"file://{root}/detached")
    words = ("run", *places, *L1, "--detach", "--name", "detached", "--label", "team=b", "--job-timeout", "60")
    done = prune(*words)

    assert done.status == 0
    assert done.out.startswith("detached pending: operations/")
    shown = prune("jobs", "show", "detached", "--json").value
    assert (shown["source"], shown["target"]) == (places[0], places[2])
    assert shown["labels"] == {"team": "b"}
    assert prune(*words).status == 0


def test_run_refuses_another_request_of_the_same_name(prune: Prune, root: Path) -> None:
    words = ("run", f"file://{root}/in", "--method", "l1_unstructured", "--detach", "--name", "same")
    assert prune(*words, "-o", f"file://{root}/same", "--amount", "0.5").status == 0
    done = prune(*words, "-o", f"file://{root}/same", "--amount", "0.6")

    assert done.status == error_output.FAILED
    assert "[JOB_EXISTS]" in done.err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--plan",), "--plan"),
        (("--force",), "--force"),
        (("--statistics", "here.safetensors"), "--statistics"),
        (("--label", "none"), "KEY=VALUE"),
    ],
    ids=["a plan", "replacing", "statistics of this machine", "a label"],
)
def test_run_refuses_what_a_job_has_not(prune: Prune, root: Path, words: tuple[str, ...], named: str) -> None:
    done = prune("run", f"file://{root}/in", "-o", f"file://{root}/x", *L1, *words)

    assert done.status == error_output.REFUSED
    assert named in done.err


@pytest.mark.parametrize("option", [("--detach",), ("--name", "x"), ("--label", "a=b"), ("--job-timeout", "9")])
def test_options_of_jobs_need_two_uris(prune: Prune, tmp_path: Path, option: tuple[str, ...]) -> None:
    done = prune("run", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *L1, *option)

    assert done.status == error_output.REFUSED
    assert option[0] in done.err
