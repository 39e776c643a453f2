"""The images, run for real and hardened. `make test-image` runs this file; the everyday suite does not collect it."""

import contextlib
import json
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc
from safetensors.torch import load_file, save_file

from pruning_client import Client, Tls, rules
from pruning_client.errors import UnavailableError
from pruning_engine import prune_state_dict
from pruning_engine.recipe import Fraction, Magnitude, Recipe, Rule, Scope
from scripts.demo import minilm
from scripts.images import Engine, find_engine, tag
from tests.client.certificates import Certificates, Signed, made_in
from tests.deploy.rendered import rendered
from tests.deploy.steps import argo_command, argo_workflow
from tests.images.containers import HARDENED, ON_LOOPBACK, Container, finished, running_container

HALF = rules.l1_unstructured(0.5, scope="global")
SERVING = health_pb2.HealthCheckResponse.SERVING
USER = 65532


@pytest.fixture(scope="module")
def engine() -> Engine:
    found = find_engine()
    if found is None:
        pytest.skip("nothing here runs images: neither docker nor podman is installed")
    return found


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def container(engine: Engine, request: pytest.FixtureRequest) -> Iterator[Container]:
    """Run a server; that of the image `cuda` on the CPU where there is no GPU, and only where it was built."""
    image = tag(request.param)
    if finished(engine, "image", "inspect", image).returncode:
        pytest.skip(f"there is no image {image} here: make image TARGETS={request.param}")
    with running_container(engine, image) as running:
        print(f"\n{image}: listening after {running.ready_seconds:.1f} s")  # noqa: T201
        yield running


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder that the image's user may write to."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def of_process(container: Container, field: str) -> str:
    lines = Path(f"/proc/{container.process}/status").read_text().splitlines()
    return next(line.split(maxsplit=1)[1] for line in lines if line.startswith(f"{field}:"))


def test_process_is_nobody(container: Container) -> None:
    assert set(of_process(container, "Uid").split()) == {str(USER)}
    assert set(of_process(container, "Gid").split()) == {str(USER)}


def test_process_has_no_capabilities_and_gains_none(container: Container) -> None:
    assert {int(of_process(container, field), 16) for field in ("CapEff", "CapPrm", "CapBnd")} == {0}
    assert of_process(container, "NoNewPrivs") == "1"


@pytest.mark.parametrize("place", ["/app/new", "/new", "/etc/new"])
def test_root_is_read_only(container: Container, place: str) -> None:
    done = container.execute("python", "-c", f"open({place!r}, 'w')")
    assert "Read-only file system" in done.stderr


def test_file_goes_through_it_and_comes_back_pruned(container: Container, tmp_path: Path) -> None:
    with Client(container.address) as client:
        client.prune_file(minilm(), tmp_path / "out.safetensors", HALF)
    rule = Rule(score=Magnitude(), amount=Fraction(0.5), scope=Scope.GLOBAL)
    expected = prune_state_dict(load_file(minilm()), Recipe((rule,))).state_dict
    pruned = load_file(tmp_path / "out.safetensors")
    assert pruned.keys() == expected.keys()
    assert all(torch.equal(torch.as_tensor(expected[name]), tensor) for name, tensor in pruned.items())


def test_it_says_on_the_health_port_that_it_serves(container: Container) -> None:
    with grpc.insecure_channel(container.health_address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == SERVING


def test_health_check_of_the_image_asks_that_port(container: Container) -> None:
    health = f"PRUNING_HEALTH_LISTEN={container.health_address}"
    asked = ["exec", f"--env={health}", container.name, "python", "-P", "-m", "pruning_service.probe"]
    assert finished(container.engine, *asked).returncode == 0


def test_it_is_scraped(container: Container) -> None:
    with urllib.request.urlopen(f"http://{container.metrics_address}/metrics", timeout=10) as page:
        assert "pruning_build_info{" in page.read().decode()


def test_it_starts_in_the_clear_only_if_told_so(engine: Engine) -> None:
    done = finished(engine, "run", "--rm", *HARDENED, *engine.run_options, "--network=none", tag("cpu"))
    assert done.returncode == 2
    assert "PRUNING_ALLOW_PLAINTEXT" in done.stderr


def test_client_image_prunes_a_file_in_a_pipeline(engine: Engine, container: Container, folder: Path) -> None:
    save_file({"layer.weight": torch.arange(64.0).reshape(8, 8)}, folder / "in.safetensors")
    (folder / "in.safetensors").chmod(0o644)  # written for its owner alone
    options = ["--rm", "--network=host", *HARDENED, *engine.run_options, f"--volume={folder}:/data"]
    files = ["in.safetensors", "-o", "out.safetensors", "--server", container.address]
    rule = ["--method", "l1_unstructured", "--amount", "0.5", "--json"]
    done = finished(engine, "run", *options, tag("client"), "run", *files, *rule)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sparsity"] == 0.5
    assert (load_file(folder / "out.safetensors")["layer.weight"] == 0).sum() == 32


def test_step_of_the_workflow_runs_in_its_container(engine: Engine, folder: Path, tmp_path: Path) -> None:
    save_file({"layer.weight": torch.arange(64.0).reshape(8, 8)}, folder / "model.safetensors")
    (folder / "model.safetensors").chmod(0o644)  # written for its owner alone
    signed = made_in(tmp_path)
    secret = secret_in(folder / "tls", signed, signed.client)
    with mutual_container(engine, folder, signed) as container:
        program, *words = argo_command(argo_workflow(), server=container.address)
        volumes = [f"--volume={folder}:/data", f"--volume={secret}:/tls:ro"]
        options = ["--rm", "--network=host", *HARDENED, *engine.run_options, *volumes]
        done = finished(engine, "run", *options, f"--entrypoint={program}", tag("client"), *words)
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "report.json").read_text())["sparsity"] == 0.5
    assert (load_file(folder / "pruned.safetensors")["layer.weight"] == 0).sum() == 32


def test_client_image_has_no_torch(engine: Engine) -> None:
    options = ["--rm", "--entrypoint=python", *engine.run_options]
    done = finished(engine, "run", *options, tag("client"), "-c", "import torch")
    assert "No module named 'torch'" in done.stderr


@pytest.mark.parametrize("target", ["cpu", "client"])
@pytest.mark.parametrize("tool", ["pip", "ensurepip"])
def test_image_has_no_pip(engine: Engine, target: str, tool: str) -> None:
    for python in ("/app/bin/python", "/usr/local/bin/python"):
        options = ["--rm", f"--entrypoint={python}", *engine.run_options]
        assert "No module named" in finished(engine, "run", *options, tag(target), "-m", tool).stderr


@pytest.mark.parametrize("target", ["cpu", "client"])
def test_image_has_no_apt_and_knows_its_packages(engine: Engine, target: str) -> None:
    options = ["--rm", "--entrypoint=python", *engine.run_options]
    script = "import json, shutil; print([shutil.which(name) for name in ('apt', 'apt-get', 'dpkg', 'pip')]); "
    listed = "print(len(json.load(open('/app/sbom.cdx.json'))['components']))"
    found, count = finished(engine, "run", *options, tag(target), "-c", script + listed).stdout.splitlines()
    assert found == "[None, None, None, None]"
    assert int(count) > 20


@pytest.mark.parametrize("target", ["cpu", "client"])
def test_image_says_what_it_is(engine: Engine, target: str) -> None:
    image = json.loads(engine.run("image", "inspect", tag(target)))[0]
    print(f"\n{tag(target)}: {image['Size'] / 1e6:,.0f} MB, its base included")  # noqa: T201
    labels = {name.removeprefix("org.opencontainers.image.") for name in image["Config"]["Labels"]}
    assert {"title", "description", "version", "revision"} <= labels
    assert image["Config"]["User"] == f"{USER}:{USER}"


def secret_in(folder: Path, signed: Certificates, own: Signed) -> Path:
    """Write the files of a Secret of TLS, as Kubernetes mounts it."""
    folder.mkdir()
    for name, file in {"tls.crt": own.certificate, "tls.key": own.key, "ca.crt": signed.ca}.items():
        (folder / name).write_bytes(file.read_bytes())
        (folder / name).chmod(0o444)
    return folder


def mutual_container(
    engine: Engine, folder: Path, signed: Certificates
) -> contextlib.AbstractContextManager[Container]:
    """Run the server with the settings of the overlay mtls."""
    overlay = rendered("overlays/mtls")
    options = [f"--env={name}={value}" for name, value in overlay.environment.items() if "_TLS_" in name]
    (mount,) = (mount for mount in overlay.container["volumeMounts"] if mount["name"] == "tls")
    secret = secret_in(folder / "server-tls", signed, signed.server)
    return running_container(engine, tag("cpu"), *options, f"--volume={secret}:{mount['mountPath']}:ro")


def test_settings_of_the_overlay_mtls_serve_who_shows_a_certificate(
    engine: Engine, folder: Path, tmp_path: Path
) -> None:
    signed = made_in(tmp_path)
    tls = Tls(ca=signed.ca, certificate=signed.client.certificate, key=signed.client.key)
    with mutual_container(engine, folder, signed) as container:
        with Client(container.address, tls=tls) as client:
            assert client.prune({"w.weight": torch.ones(4, 4)}, HALF).report.sparsity == 0.5
        with Client(container.address, tls=Tls(ca=signed.ca), retries=0) as client, pytest.raises(UnavailableError):
            client.capabilities()


def test_sigterm_ends_a_container_that_is_only_starting(engine: Engine) -> None:
    name = engine.run("run", "--detach", "--network=none", *HARDENED, *ON_LOOPBACK, *engine.run_options, tag("cpu"))
    try:
        time.sleep(1)  # Python runs, torch is being loaded
        engine.run("stop", "--time=20", name)
        assert engine.run("inspect", "--format={{.State.ExitCode}}", name) == "0"
    finally:
        engine.run("rm", "--force", name)


def test_sigterm_lets_a_call_finish_and_ends_it_with_0_in_time(engine: Engine, tmp_path: Path) -> None:
    state_dict = {f"{number}.weight": torch.randn(1024, 1024) for number in range(64)}
    with running_container(engine, tag("cpu")) as container, Client(container.address) as client:
        under_way = threading.Event()
        results: list[object] = []
        call = threading.Thread(
            target=lambda: results.append(client.prune(state_dict, HALF, progress=lambda _: under_way.set()))
        )
        call.start()
        assert under_way.wait(60)
        status, seconds = container.stop(seconds=30)
        call.join(60)
    assert (status, len(results)) == (0, 1)
    assert seconds < 30
