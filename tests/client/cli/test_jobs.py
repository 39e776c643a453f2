"""`prune jobs`: what it prints of jobs, for people and for programs."""

import json
import re
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from safetensors.numpy import save_file

from pruning_client import Client, rules
from pruning_client.cli import error_output
from pruning_client.cli.main import run
from pruning_client.cli.server_options import add_server_options, server_words
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

    done = prune("jobs", "delete", job)
    assert (done.status, done.out) == (0, f"deleted {job}; it was cancelled, and has no result\n")
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


def test_run_begins_a_job_and_leaves_it(prune: Prune, answering: ServerProcess, root: Path) -> None:
    places = (f"file://{root}/in", "-o", f"file://{root}/detached")
    words = ("run", *places, *L1, "--detach", "--name", "detached", "--label", "team=b", "--job-timeout", "60")
    done = prune(*words)

    assert done.status == 0
    begun, wait = done.out.splitlines()
    assert begun.startswith("detached pending: operations/")
    assert wait == f"prune jobs wait detached --server {answering.address}"
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


def test_run_says_that_a_job_of_its_name_was_cancelled_before(
    prune: Prune, answering: ServerProcess, root: Path
) -> None:
    words = ("run", f"file://{root}/in", "-o", f"file://{root}/again", *L1, "--name", "again")
    prune(*words, "--detach")
    prune("jobs", "cancel", "again")
    prune("jobs", "wait", "again")
    waited, left = prune(*words), prune(*words, "--detach")

    delete = f"prune jobs delete again --server {answering.address}"
    assert waited.status == left.status == error_output.FAILED
    for text in (waited.err, left.err):
        assert re.search(rf"job again was cancelled before at \d{{4}}-.* UTC; to try again, .*: {delete}\n", text)
    assert "prune jobs wait" not in left.out
    prune(*delete.split()[1:-2])
    assert prune(*words, "--detach").out.startswith("again pending: ")


def test_only_the_second_run_says_that_a_job_failed_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.safetensors").write_bytes(b"no such file")
    words = ["run", f"file://{tmp_path}/in.safetensors", "-o", f"file://{tmp_path}/out.safetensors", *L1]
    with running_server(stores=f"file://{tmp_path}") as server:
        words += ["--name", "broken", "--server", server.address]
        first, second = [(run(words), capsys.readouterr().err) for _ in range(2)]
        assert run(["jobs", "delete", "broken", "--server", server.address]) == 0

    assert first[0] == second[0] != 0
    assert "before" not in first[1]
    assert second[1].startswith(first[1].splitlines()[0])
    assert "job broken failed before at " in second[1]
    assert capsys.readouterr().out == "deleted broken; it failed, and has no result\n"


def test_result_of_a_deleted_job_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = np.ones((4, 4), dtype=np.float32)
    save_file({"fc.weight": weights}, tmp_path / "in.safetensors")
    words = ["run", f"file://{tmp_path}/in.safetensors", "-o", f"file://{tmp_path}/out.safetensors", *L1]
    with running_server(stores=f"file://{tmp_path}") as server:
        assert run([*words, "--name", "whole", "--server", server.address]) == 0
        capsys.readouterr()
        assert run(["jobs", "delete", "whole", "--server", server.address]) == 0

    assert capsys.readouterr().out == "deleted whole; its result stays\n"
    assert (tmp_path / "out.safetensors").is_file()


def test_words_of_a_server_name_how_to_reach_it() -> None:
    parser = ArgumentParser()
    add_server_options(parser)
    words = ["--server", "a:1", "--server", "b:2", "--tls", "--tls-ca", "my ca.pem", "--token-file", "token"]

    assert server_words(parser.parse_args([*words, "--retries", "3", "--timeout", "9"])) == words


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
