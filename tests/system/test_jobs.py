"""Jobs from a folder into a folder: carried out, cancelled, drained, and survived by the death of any process."""

import inspect
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil  # type: ignore[import-untyped]  # it ships no types
import pytest
from safetensors.numpy import load_file

from pruning_client import Client, Job, Report, errors, rules
from tests.client.both import BOTH, Connect
from tests.servers import ServerProcess, running_server
from tests.system import jobs as case

MOMENTS = ["taken", "started", "claimed", "first bytes", "first file", "last file", "reported"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("jobs")
    case.model(root / "in")
    return root


@pytest.fixture(scope="module")
def carrying_out(root: Path) -> Iterator[ServerProcess]:
    with running_server(**case.settings(root, job_attempts="20")) as server:
        yield server


@pytest.fixture
def client(carrying_out: ServerProcess) -> Iterator[Client]:
    with Client(carrying_out.address) as connected:
        yield connected


@pytest.fixture(scope="module")
def undisturbed(root: Path, carrying_out: ServerProcess) -> dict[str, bytes]:
    """The result of a job that nothing happens to."""
    with Client(carrying_out.address) as client:
        assert isinstance(case.ended(case.begun(client, root, "undisturbed")), Report)
    return case.content(root / "undisturbed")


def test_a_job_leaves_a_model_and_a_report(root: Path, undisturbed: dict[str, bytes], client: Client) -> None:
    report = client.job("undisturbed").report

    assert report.sparsity == pytest.approx(0.5)
    assert len(report.tensors) == 12
    assert set(undisturbed) == set(case.content(root / "in"))
    assert undisturbed["notes.txt"] == b"as they were"


def of_both(client: Client, value: Any) -> Any:
    """Return what a verb of a job returns; one of an AsyncJob is awaited."""
    run: Any = client._run
    return run(value) if inspect.isawaitable(value) else value


@BOTH
def test_a_job_can_be_watched(connect: Connect, carrying_out: ServerProcess, root: Path, tmp_path: Path) -> None:
    name = f"watched-{tmp_path.name.lower().replace('_', '-')[-20:].strip('-')}"
    states: list[str] = []
    with connect(carrying_out.address) as client:
        job = client.prune_checkpoint(f"file://{root}/in", f"file://{root}/{name}", case.GLOBAL_HALF, name=name)
        waited = of_both(client, job.wait(lambda status: states.append(status.state), timeout=case.WAIT_SECONDS))

    assert states[-1] == job.state == "succeeded"
    assert job.status.attempt == 1
    assert job.status.written_bytes > 0
    assert job.status.ended is not None
    assert waited.pruned == job.report.pruned > 0


def test_one_file_becomes_a_compressed_one(client: Client, root: Path, tmp_path: Path) -> None:
    source, target = root / "in/model-00001-of-00004.safetensors", root / "files/compressed.safetensors"
    half = rules.l1_unstructured(0.5)
    client.prune_checkpoint(
        f"file://{source}", f"file://{target}", half, name="compressed", output="packed", compression="zstd"
    ).wait(timeout=case.WAIT_SECONDS)

    client.prune_file(source, tmp_path / "out", half, output="packed", compression="zstd")
    assert target.read_bytes() == (tmp_path / "out").read_bytes()


def test_one_file_becomes_one_file(client: Client, root: Path) -> None:
    source = "in/model-00001-of-00004.safetensors"
    job = client.prune_checkpoint(
        f"file://{root}/{source}", f"file://{root}/files/one.safetensors", rules.l1_unstructured(0.5), name="file"
    )

    assert job.wait(timeout=case.WAIT_SECONDS).pruned > 0
    assert load_file(root / "files" / "one.safetensors").keys() == load_file(root / source).keys()


def test_a_random_rule_needs_no_seed(client: Client, root: Path) -> None:
    job = case.begun(client, root, "random", rules.random_unstructured(0.5))

    assert job.wait(timeout=case.WAIT_SECONDS).sparsity == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("source", "recipe", "reason"),
    [
        ("missing", case.GLOBAL_HALF, "SOURCE_NOT_FOUND"),
        ("in", rules.l1_unstructured(0.5, include=["nothing"]), "SELECTS_NOTHING"),
    ],
    ids=["no source", "no tensor"],
)
def test_a_job_fails_with_a_reason(client: Client, root: Path, source: str, recipe: object, reason: str) -> None:
    name = f"fails-{reason.lower().replace('_', '-')}"
    job = client.prune_checkpoint(f"file://{root}/{source}", f"file://{root}/{name}", recipe, name=name)  # type: ignore[arg-type]
    error = case.ended(job)

    assert isinstance(error, errors.PruningError)
    assert error.reason == reason
    assert job.state == "failed"
    assert not (root / name).exists()


def test_what_is_at_the_target_stays(client: Client, root: Path) -> None:
    (root / "mine").mkdir()
    (root / "mine" / "file").write_bytes(b"mine")
    error = case.ended(case.begun(client, root, "mine"))

    assert isinstance(error, errors.StorageError)
    assert error.reason == "TARGET_EXISTS"
    assert case.content(root / "mine") == {"file": b"mine"}


def test_a_job_under_way_is_cancelled(carrying_out: ServerProcess, client: Client, root: Path) -> None:
    job = case.begun(client, root, "cancelled")
    assert case.wait_for(lambda: bool(case.workers_of(carrying_out)))
    job.cancel()
    error = case.ended(job)

    assert isinstance(error, errors.JobError)
    assert (error.reason, job.state) == ("JOB_CANCELLED", "cancelled")
    assert not (root / "cancelled").exists()


def test_a_job_ends_at_its_timeout(client: Client, root: Path) -> None:
    target = f"file://{root}/late"
    job = client.prune_checkpoint(f"file://{root}/in", target, case.GLOBAL_HALF, name="late", job_timeout=0.05)
    error = case.ended(job)

    assert isinstance(error, errors.JobError)
    assert (error.reason, job.state) == ("JOB_TIMEOUT", "failed")
    assert not (root / "late").exists()


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_death_of_a_worker_changes_nothing(
    carrying_out: ServerProcess, client: Client, root: Path, undisturbed: dict[str, bytes], moment: str
) -> None:
    name = f"worker-{moment.replace(' ', '-')}"
    job = case.begun(client, root, name)
    has_come = dict(case.moments(root, name, carrying_out))[moment]
    assert case.wait_for(has_come)
    for worker in case.workers_of(carrying_out):
        worker.kill()

    assert isinstance(case.ended(job), Report)
    assert case.content(root / name) == undisturbed


def test_finished_parts_are_not_repeated(carrying_out: ServerProcess, client: Client, root: Path) -> None:
    job = case.begun(client, root, "resumed")
    target, parts = root / "resumed", root / "_pruning" / "resumed"
    assert case.wait_for(lambda: len([*parts.glob("*/parts/write*")]) > 1)
    for worker in case.workers_of(carrying_out):
        worker.suspend()
    finished = len([*parts.glob("*/parts/write*")])
    before = {path.name: path.stat().st_mtime_ns for path in target.glob("*.safetensors")}
    for worker in case.workers_of(carrying_out):
        worker.kill()

    assert isinstance(case.ended(job), Report)
    after = {path.name: path.stat().st_mtime_ns for path in target.glob("*.safetensors")}
    assert sum(after[name] == time for name, time in before.items()) >= finished
    assert job.status.shards_done == job.status.shards_total == 4
    assert not [*parts.glob("*/parts/*")]


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_death_of_a_server_changes_nothing(undisturbed: dict[str, bytes], moment: str, tmp_path: Path) -> None:
    name = f"server-{moment.replace(' ', '-')}"
    case.model(tmp_path / "in")
    with running_server(**case.settings(tmp_path)) as first, Client(first.address) as client:
        case.begun(client, tmp_path, name)
        has_come = dict(case.moments(tmp_path, name, first))[moment]
        assert case.wait_for(has_come)
        workers = case.workers_of(first)
        first.stop(signal.SIGKILL)
        assert all(case.wait_for(lambda each=worker: not each.is_running()) for worker in workers)  # type: ignore[misc]
    with running_server(**case.settings(tmp_path)) as second, Client(second.address) as client:
        assert isinstance(case.ended(client.job(name)), Report)

    assert case.content(tmp_path / name) == undisturbed


def test_a_server_that_stops_gives_its_jobs_to_another(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    case.model(tmp_path / "in")
    long_lease = case.settings(tmp_path, lease_seconds="600")
    with running_server(**long_lease) as first:
        with Client(first.address) as client:
            case.begun(client, tmp_path, "drained")
            assert case.wait_for(dict(case.moments(tmp_path, "drained", first))["claimed"])
        assert first.stop() == 0
        with running_server(**long_lease) as second, Client(second.address) as client:
            job = client.job("drained")
            assert isinstance(case.ended(job), Report)

    assert case.content(tmp_path / "drained") == undisturbed


def test_two_servers_and_one_job(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    case.model(tmp_path / "in")
    with (
        running_server(**case.settings(tmp_path)) as one,
        running_server(**case.settings(tmp_path)) as two,
        Client(one.address) as first,
        Client(two.address) as second,
    ):
        jobs: list[Job] = [case.begun(client, tmp_path, "shared") for client in (first, second, first, second)]
        reports = [case.ended(job) for job in jobs]

    assert {job.operation for job in jobs} == {jobs[0].operation}
    assert all(report == reports[0] for report in reports)
    assert jobs[-1].status.attempt == 1
    assert case.content(tmp_path / "shared") == undisturbed


def test_a_server_carries_out_as_many_jobs_as_it_may(
    carrying_out: ServerProcess, client: Client, root: Path, undisturbed: dict[str, bytes]
) -> None:
    jobs = [case.begun(client, root, f"queued-{number}") for number in range(3)]
    most = 0

    def are_done() -> bool:
        nonlocal most
        most = max(most, len(case.workers_of(carrying_out)))
        return all(job.refresh().is_done for job in jobs)

    assert case.wait_for(are_done, case.WAIT_SECONDS)
    assert most == 1
    assert all(case.content(root / job.name) == undisturbed for job in jobs)


def test_a_worker_that_hangs_is_replaced(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    case.model(tmp_path / "in")
    with running_server(**case.settings(tmp_path)) as server, Client(server.address) as client:
        job = case.begun(client, tmp_path, "hanging")
        assert case.wait_for(dict(case.moments(tmp_path, "hanging", server))["claimed"])
        stopped = case.workers_of(server)
        for worker in stopped:
            worker.suspend()

        assert isinstance(case.ended(job), Report)
        assert not any(worker.is_running() for worker in stopped)

    assert case.content(tmp_path / "hanging") == undisturbed


def test_a_worker_that_was_paused_writes_nothing_more(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    case.model(tmp_path / "in")
    with running_server(**case.settings(tmp_path)) as first, Client(first.address) as client:
        case.begun(client, tmp_path, "paused")
        assert case.wait_for(dict(case.moments(tmp_path, "paused", first))["claimed"])
        paused = [psutil.Process(first.process.pid), *case.workers_of(first)]
        for process in paused:
            process.suspend()
        with running_server(**case.settings(tmp_path)) as second, Client(second.address) as other:
            job = other.job("paused")
            assert isinstance(case.ended(job), Report)
            written = {path: path.stat().st_mtime_ns for path in (tmp_path / "paused").iterdir()}
            for process in paused:
                process.resume()
            assert case.wait_for(lambda: not case.workers_of(first))

    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "paused").iterdir()} == written
    assert case.content(tmp_path / "paused") == undisturbed


def test_a_job_whose_state_is_removed_stops(tmp_path: Path) -> None:
    case.model(tmp_path / "in")
    with running_server(**case.settings(tmp_path)) as server, Client(server.address) as client:
        job = case.begun(client, tmp_path, "removed")
        assert case.wait_for(lambda: case.workers_of(server) != [])
        shutil.rmtree(tmp_path / "_pruning" / "removed")

        assert case.wait_for(lambda: not case.workers_of(server))
        with pytest.raises(errors.JobError, match="there is no operation"):
            job.refresh()


def test_a_job_that_always_crashes_ends(tmp_path: Path) -> None:
    case.model(tmp_path / "in")
    with running_server(**case.settings(tmp_path, job_attempts="2")) as server, Client(server.address) as client:
        job = case.begun(client, tmp_path, "crashing")
        for _ in range(2):
            assert case.wait_for(lambda: bool(case.workers_of(server)))
            for worker in case.workers_of(server):
                worker.kill()
                worker.wait()
        error = case.ended(job)

    assert isinstance(error, errors.JobError)
    assert error.reason == "JOB_ATTEMPTS_EXHAUSTED"
    assert "signal 9" in str(error)
    assert not (tmp_path / "crashing").exists()


def test_a_job_is_lines_of_the_log_and_series_of_the_metrics(tmp_path: Path) -> None:
    case.model(tmp_path / "in")
    with running_server(**case.settings(tmp_path, log_format="json")) as server, Client(server.address) as client:
        job = case.begun(client, tmp_path, "logged")
        assert isinstance(case.ended(job), Report)
        assert case.wait_for(lambda: any("job ends" in line for line in server.log))
        lines = [json.loads(line) for line in server.log]
        series = samples(server)

    created, begins, ends = (
        next(line for line in lines if line["message"].startswith(f"job {word} "))
        for word in ("created", "begins", "ends")
    )
    assert {line["name"] for line in (created, begins, ends)} == {job.operation}
    assert (begins["attempt"], begins["source"]) == (1, f"file://{tmp_path}/in")
    assert (ends["outcome"], ends["level"]) == ("SUCCEEDED", "info")
    assert isinstance(ends["seconds"], float)
    assert series['pruning_jobs_ended_total{state="SUCCEEDED"}'] == series["pruning_job_attempts_total"] == 1
    assert series['pruning_job_bytes_total{direction="written",scheme="file"}'] > 12_000_000
    assert series['pruning_job_step_seconds_total{step="writing"}'] > 0
    assert series["pruning_job_takeovers_total"] == series["pruning_job_crashes_total"] == 0


def samples(server: ServerProcess) -> dict[str, float]:
    """Return the values of a server's metrics by series."""
    with urlopen(f"http://{server.metrics_address}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def test_a_cluster_that_does_not_answer_is_asked_again(root: Path, tmp_path: Path) -> None:
    """The attempt is repeated, as after a store that does not answer; the last cause is in the error."""
    place = case.model(tmp_path / "in", shards=1, size=8).parent
    settings = case.settings(place, executor="ray", ray_address="127.0.0.1:1", job_attempts="1")
    with running_server(**settings) as server, Client(server.address) as client:
        error = case.ended(case.begun(client, place, "unanswered"))

    assert isinstance(error, errors.JobError)
    assert error.reason == "JOB_ATTEMPTS_EXHAUSTED"
    assert "1 attempt finished no part of the job; the last one: " in str(error)
    assert "Ray" in str(error).split("the last one: ")[1]
    assert not (place / "unanswered").exists()
