"""What happens before the server's imports: SIGTERM ends the process, and no garbage is collected."""

import subprocess
import sys

SIGNALLED = "import signal; from pruning_service import startup; signal.raise_signal(signal.SIGTERM); print('deaf')"
LOADED_BEFORE = "import sys; from pruning_service import startup; print('torch' in sys.modules)"


def test_sigterm_before_the_server_has_begun_ends_the_process_with_0() -> None:
    done = subprocess.run([sys.executable, "-c", SIGNALLED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_is_heard_before_torch_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED_BEFORE], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_it_is_the_first_of_the_servers_imports() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "pruning_service", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()]
    assert names.index("pruning_service.startup") < min(names.index("numpy"), names.index("grpc"))


def test_server_on_a_cpu_starts_without_torch() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "pruning_service", "--device", "cpu", "--listen", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    names = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()]
    assert "pruning_service.server" in names
    assert "torch" not in names
