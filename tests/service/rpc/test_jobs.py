"""PruneCheckpoint and operations at a server that carries nothing out: names, callers, places, pages, refusals."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import urlopen

import grpc
import pytest
from google.longrunning import operations_proto_pb2 as lro
from google.protobuf.message import Message

from pruning_client import Client, errors, rules
from pruning_proto.names import OPERATIONS
from tests.servers import ServerProcess, running_server
from tests.service.raw import wait_until
from tests.service.secured import TOKEN, token_file

HALF = rules.l1_unstructured(0.5)
MessageT = TypeVar("MessageT", bound=Message)

OTHER_TOKEN = "fedcba9876543210-other"  # noqa: S105 - opens nothing


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module")
def answering(root: Path) -> Iterator[ServerProcess]:
    """A server with two places that answers for jobs, and leaves them to others."""
    for name in ("one", "two"):
        (root / name).mkdir()
    with running_server(stores=f"file://{root}/one file://{root}/two", max_jobs="0") as server:
        yield server


@pytest.fixture
def client(answering: ServerProcess) -> Iterator[Client]:
    with Client(answering.address) as connected:
        yield connected


@pytest.fixture
def places(root: Path, request: pytest.FixtureRequest) -> tuple[str, str]:
    """The source and the target of a job of this test."""
    name = request.node.name.partition("[")[0]
    return f"file://{root}/one/in/{name}", f"file://{root}/one/out/{name}"


def ask(server: ServerProcess, method: str, request: Message, answer: type[MessageT]) -> MessageT:
    with grpc.insecure_channel(server.address) as channel:
        stub = channel.unary_unary(f"/{OPERATIONS}/{method}", type(request).SerializeToString, answer.FromString)
        answered: MessageT = stub(request, timeout=20)
        return answered


def test_a_new_job_waits(client: Client, places: tuple[str, str]) -> None:
    job = client.prune_checkpoint(*places, HALF, name="new", labels={"team": "a"})

    assert (job.state, job.is_done, job.status.step, job.status.attempt) == ("pending", False, "waiting", 0)
    assert (job.status.source, job.status.target) == places
    assert job.status.labels == {"team": "a"}
    assert job.status.created is not None


def test_the_same_again_is_the_same_operation(client: Client, places: tuple[str, str]) -> None:
    first = client.prune_checkpoint(*places, HALF, name="again", labels={"a": "1", "b": "2"})

    assert client.prune_checkpoint(*places, HALF, name="again", labels={"b": "2", "a": "1"}).status == first.status


def test_another_content_is_refused(client: Client, places: tuple[str, str]) -> None:
    client.prune_checkpoint(*places, HALF, name="other")

    with pytest.raises(errors.JobError, match="with another request") as refused:
        client.prune_checkpoint(*places, rules.l1_unstructured(0.6), name="other")
    assert refused.value.reason == "JOB_EXISTS"
    assert refused.value.code is grpc.StatusCode.ALREADY_EXISTS


def test_a_job_without_a_name_is_given_one(client: Client, places: tuple[str, str]) -> None:
    names = {client.prune_checkpoint(*places, HALF).name for _ in range(2)}

    assert len(names) == 2


def test_a_job_is_found_by_its_name_and_by_its_operation(client: Client, places: tuple[str, str]) -> None:
    job = client.prune_checkpoint(*places, HALF, name="found")

    assert client.job("found").status == client.job(job.operation).status == job.status


def test_a_name_in_two_places_needs_its_operation(client: Client, places: tuple[str, str]) -> None:
    one = client.prune_checkpoint(*places, HALF, name="twice")
    two = client.prune_checkpoint(places[0], places[1].replace("/one/", "/two/"), HALF, name="twice")

    with pytest.raises(errors.RecipeError, match="several jobs are named twice") as refused:
        client.job("twice")
    assert one.operation in str(refused.value)
    assert client.job(two.operation).status.target == two.status.target


@pytest.mark.parametrize("name", ["missing", "operations/00000000/missing", "../x", "x" * 300, "operations/"])
def test_what_is_not_there_is_said_so(client: Client, name: str) -> None:
    with pytest.raises(errors.JobError, match="there is no operation") as refused:
        client.job(name)
    assert refused.value.reason == "JOB_NOT_FOUND"


def test_a_list_has_all_jobs_in_pages(answering: ServerProcess, client: Client, places: tuple[str, str]) -> None:
    for number in range(5):
        client.prune_checkpoint(*places, HALF, name=f"listed-{number}")
    found: list[str] = []
    page = lro.ListOperationsResponse(next_page_token="a")  # noqa: S106 - where a page begins
    while page.next_page_token:
        after = page.next_page_token if found else ""
        request = lro.ListOperationsRequest(name="operations", page_size=2, page_token=after)
        page = ask(answering, "ListOperations", request, lro.ListOperationsResponse)
        found += [operation.name for operation in page.operations]

    assert found == sorted(set(found))
    assert [name for name in found if "listed" in name] == [
        job.operation for job in client.jobs() if "listed" in job.name
    ]
    assert len(client.jobs()) == len(found)


@pytest.mark.parametrize(
    "request_",
    [
        lro.ListOperationsRequest(name="jobs"),
        lro.ListOperationsRequest(filter="done"),
        lro.ListOperationsRequest(page_size=-1),
        lro.ListOperationsRequest(page_token="x/y/z"),  # noqa: S106 - where a page begins
        lro.ListOperationsRequest(return_partial_success=False, name="operations/x/y"),
    ],
    ids=["a name", "a filter", "a negative page", "a token", "a longer name"],
)
def test_a_list_of_something_else_is_refused(answering: ServerProcess, request_: lro.ListOperationsRequest) -> None:
    with pytest.raises(grpc.RpcError):
        ask(answering, "ListOperations", request_, lro.ListOperationsResponse)


def test_fields_that_are_not_known_are_refused(answering: ServerProcess) -> None:
    request = lro.GetOperationRequest(name="x")
    request.MergeFromString(b"\xa2\x06\x01x")

    with pytest.raises(grpc.RpcError, match="<field 100>"):
        ask(answering, "GetOperation", request, lro.Operation)


def test_a_job_that_waits_is_cancelled_at_once(client: Client, places: tuple[str, str]) -> None:
    job = client.prune_checkpoint(*places, HALF, name="cancelled")
    job.cancel()

    with pytest.raises(errors.JobError) as ended:
        job.wait(timeout=30)
    assert ended.value.reason == "JOB_CANCELLED"
    assert job.state == "cancelled"
    job.cancel()
    assert job.refresh().state == "cancelled"


def test_a_job_that_is_done_can_be_deleted(client: Client, places: tuple[str, str]) -> None:
    job = client.prune_checkpoint(*places, HALF, name="deleted")
    with pytest.raises(errors.JobError, match="under way") as refused:
        job.delete()
    assert refused.value.reason == "JOB_NOT_DONE"
    job.cancel()
    with pytest.raises(errors.JobError):
        job.wait(timeout=30)

    job.delete()
    with pytest.raises(errors.JobError, match="there is no operation"):
        job.refresh()
    assert client.prune_checkpoint(*places, HALF, name="deleted").state == "pending"


def test_a_wait_ends_with_its_time(client: Client, places: tuple[str, str]) -> None:
    job = client.prune_checkpoint(*places, HALF, name="waited")
    seen: list[str] = []

    with pytest.raises(errors.DeadlineError, match="it goes on"):
        job.wait(lambda status: seen.append(status.state), timeout=0.5)
    assert seen[0] == "pending"


def test_a_wait_does_not_keep_a_server_from_stopping(tmp_path: Path) -> None:
    with (
        running_server(stores=f"file://{tmp_path}", max_jobs="0", drain_seconds="1000") as server,
        Client(server.address, retries=0) as client,
        ThreadPoolExecutor(1) as waiting,
    ):
        job = client.prune_checkpoint(f"file://{tmp_path}/in", f"file://{tmp_path}/out", HALF)
        request = lro.WaitOperationRequest(name=job.operation)
        waited = waiting.submit(ask, server, "WaitOperation", request, lro.Operation)
        assert wait_until(lambda: waits_of(server) == 1)
        assert server.stop() == 0

        assert not waited.result().done


def waits_of(server: ServerProcess) -> float:
    """Return how many calls of WaitOperation were begun."""
    with urlopen(f"http://{server.metrics_address}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    begun = [line for line in lines if line.startswith("grpc_server_started_total") and "WaitOperation" in line]
    return sum(float(line.rpartition(" ")[2]) for line in begun)


FORBIDDEN = {
    "elsewhere": "file:///etc/passwd",
    "the root": "file:///",
    "above by dots": "file://{root}/one/../../x",
    "dots at the end": "file://{root}/one/..",
    "a name that begins alike": "file://{root}/one-more/x",
    "the parent": "file://{root}",
    "the place itself": "file://{root}/one",
    "the state of jobs": "file://{root}/one/_pruning/x",
    "a bucket": "s3://bucket/x",
    "a host": "file://host{root}/one/x",
    "an address": "http://169.254.169.254/latest",
    "credentials": "s3://key:secret@bucket/x",
    "a query": "file://{root}/one/x?endpoint=http://host",
    "an encoded path": "file://{root}/one/%2e%2e/%2e%2e/x",
    "a backslash": "file://{root}/one/..\\..\\x",
    "a NUL": "file://{root}/one/x\0",
    "two slashes": "file://{root}/one//etc/passwd",
    "a path": "{root}/one/x",
}


@pytest.mark.parametrize("field", ["source", "target", "statistics"])
@pytest.mark.parametrize("place", FORBIDDEN.values(), ids=FORBIDDEN)
def test_a_forbidden_place_is_refused(client: Client, root: Path, place: str, field: str) -> None:
    given = {
        "source": f"file://{root}/one/in",
        "target": f"file://{root}/one/out",
        "statistics": f"file://{root}/one/s",
    }
    given[field] = place.format(root=root)
    source, target = given.pop("source"), given.pop("target")

    if "%2e" in place:  # a name like any other: it is not decoded
        assert client.prune_checkpoint(source, target, HALF, **given).state == "pending"  # type: ignore[arg-type]
        return
    with pytest.raises(errors.PruningError) as refused:
        client.prune_checkpoint(source, target, HALF, **given)  # type: ignore[arg-type]
    assert refused.value.reason in ("STORE_NOT_ALLOWED", "INVALID_JOB")
    assert "secret" not in str(refused.value)


def test_a_server_without_stores_says_so(server: ServerProcess) -> None:
    with Client(server.address) as client:
        for verb in (
            client.jobs,
            lambda: client.job("x"),
            lambda: client.prune_checkpoint("s3://a/b", "s3://a/c", HALF),
        ):
            with pytest.raises(errors.JobError, match="PRUNING_STORES") as refused:
                verb()
            assert refused.value.reason == "JOBS_NOT_AVAILABLE"
        assert client.capabilities().jobs is None


def test_capabilities_say_what_there_is(client: Client) -> None:
    jobs = client.capabilities().jobs

    assert jobs is not None
    assert (jobs.schemes, jobs.jobs) == (("file",), 0)
    assert jobs.memory_bytes > 0


@pytest.fixture(scope="module")
def of_two_callers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, Path]]:
    """A server whose callers `ci` and `other` have a place each, and share one."""
    root = tmp_path_factory.mktemp("shared")
    for name in ("ci", "other"):
        (root / "all" / name).mkdir(parents=True)
    tokens = token_file(root, f"ci:{TOKEN}", f"other:{OTHER_TOKEN}")
    stores = f"file://{root}/all file://{root}/all/ci=ci file://{root}/all/other=other"
    with running_server(stores=stores, token_file=str(tokens), max_jobs="0") as server:
        yield server, root


@pytest.mark.parametrize("method", lro.DESCRIPTOR.services_by_name["Operations"].methods_by_name)
def test_each_method_needs_a_token(of_two_callers: tuple[ServerProcess, Path], method: str) -> None:
    server, _ = of_two_callers
    with grpc.insecure_channel(server.address) as channel:
        stub: Any = channel.unary_unary(f"/{OPERATIONS}/{method}")
        with pytest.raises(grpc.RpcError) as refused:
            stub(b"", timeout=20)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_job_needs_a_token(of_two_callers: tuple[ServerProcess, Path]) -> None:
    server, root = of_two_callers
    with Client(server.address) as nobody, pytest.raises(errors.AuthenticationError):
        nobody.prune_checkpoint(f"file://{root}/all/in", f"file://{root}/all/x", HALF)


def test_callers_have_their_own_places(of_two_callers: tuple[ServerProcess, Path]) -> None:
    server, root = of_two_callers
    with Client(server.address, token=TOKEN) as ci:
        for place in ("all/ci/x", "all/x"):
            ci.prune_checkpoint(f"file://{root}/all/in", f"file://{root}/{place}", HALF)
        for source, target in (("all/in", "all/other/x"), ("all/other/in", "all/ci/y")):
            with pytest.raises(errors.StorageError, match="this caller") as refused:
                ci.prune_checkpoint(f"file://{root}/{source}", f"file://{root}/{target}", HALF)
            assert refused.value.reason == "STORE_NOT_ALLOWED"


def test_callers_see_only_jobs_whose_targets_they_may_open(of_two_callers: tuple[ServerProcess, Path]) -> None:
    server, root = of_two_callers
    with Client(server.address, token=TOKEN) as ci, Client(server.address, token=OTHER_TOKEN) as other:
        job = ci.prune_checkpoint(f"file://{root}/all/in", f"file://{root}/all/ci/seen", HALF, name="own")
        shared = ci.prune_checkpoint(f"file://{root}/all/in", f"file://{root}/all/seen", HALF, name="shared")

        assert "own" not in {each.name for each in other.jobs()}
        assert other.job("shared").operation == shared.operation
        for name in ("own", job.operation):
            with pytest.raises(errors.JobError) as refused:
                other.job(name)
            assert refused.value.reason == "JOB_NOT_FOUND"
        with grpc.insecure_channel(server.address) as channel:
            path = f"/{OPERATIONS}/CancelOperation"
            cancel: Any = channel.unary_unary(path, lro.CancelOperationRequest.SerializeToString)
            for token in ((("authorization", f"Bearer {OTHER_TOKEN}"),), ()):
                with pytest.raises(grpc.RpcError):
                    cancel(lro.CancelOperationRequest(name=job.operation), metadata=token, timeout=20)
        assert not job.refresh().status.is_cancelling


def test_a_request_as_long_as_options_may_be_is_taken(client: Client, places: tuple[str, str]) -> None:
    names = [f"layer{number}.weight" for number in range(50_000)]
    job = client.prune_checkpoint(*places, rules.l1_unstructured(0.5, include=names), name="long")

    assert job.state == "pending"
