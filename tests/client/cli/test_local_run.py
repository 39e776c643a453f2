"""`prune run` without a server: in one process, with what a server would answer."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.client.tiny_files import checkpoint, written
from tests.servers import ServerProcess

L1 = ("--method", "l1_unstructured", "--amount", "0.5")
ENTRIES = np.random.default_rng(0).standard_normal((40, 40), np.float32)


def prune(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pruning_client", *map(str, words)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    tensors = {"fc1.weight": ENTRIES, "fc2.weight": ENTRIES.T.copy(), "fc2.bias": np.zeros(40, np.float32)}
    save_file(tensors, tmp_path / "in.safetensors")
    return tmp_path / "in.safetensors"


def modules_after(*words: str | Path) -> set[str]:
    """The modules that a process has imported when its command is done."""
    program = "import sys; from pruning_client.cli.main import run; assert run(sys.argv[1:]) == 0; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


HEAVY = {"torch", "grpc", "rich", "prometheus_client", "pydantic", "yaml", "safetensors", "multiprocessing"}


@pytest.mark.parametrize("output", ["pruned", "masked", "mask", "packed", "packed --zstd"])
def test_run_imports_neither_torch_nor_grpc(file: Path, output: str) -> None:
    modules = modules_after("run", file, "-o", file.with_name("out"), *L1, "--global", "--output", *output.split())
    assert "pruning_engine" in modules
    assert modules & HEAVY == set()


@pytest.mark.parametrize("words", [("--dry-run",), ("--plan",)], ids=["dry run", "plan"])
def test_run_that_writes_nothing_imports_neither_torch_nor_grpc(file: Path, words: tuple[str, ...]) -> None:
    assert modules_after("run", file, *L1, *words) & HEAVY == set()


@pytest.mark.parametrize(
    ("words", "unneeded"),
    [
        (("inspect", "in.safetensors"), {"numpy", "google.protobuf", "asyncio", "pruning_service"}),
        (("pack", "in.safetensors", "-o", "packed"), {"google.protobuf", "asyncio", "pruning_service"}),
        (("apply", "in.safetensors", "masks", "-o", "out"), {"numpy", "google.protobuf", "asyncio", "pruning_service"}),
    ],
    ids=["inspect", "pack", "apply"],
)
def test_commands_on_files_import_less(
    file: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], unneeded: set[str]
) -> None:
    monkeypatch.chdir(file.parent)
    written(file.parent / "masks", checkpoint({"fc2.bias:mask_bits": ("U8", (5,), bytes(5))}))
    assert modules_after(*words) & (HEAVY | unneeded) == set()


REMOVE = (
    "rules: [{score: {magnitude: {}}, amount: {fraction: 0.5}, "
    "granularity: {units: {groups: [{ties: [fc1.weight:0, fc2.weight:1]}]}}}]"
)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param((*L1, "--digests"), id="digests"),
        pytest.param((*L1, "--global", "--output", "masked"), id="masked"),
        pytest.param((*L1, "--output", "mask"), id="mask"),
        pytest.param((*L1, "--output", "packed", "--canonical-zero"), id="packed"),
        pytest.param((*L1, "--output", "packed", "--zstd"), id="compressed"),
        pytest.param(("--recipe", "recipe.yaml", "--output", "removed"), id="removed"),
        pytest.param(("--method", "random_unstructured", "--amount", "7", "--seed", "3"), id="random"),
        pytest.param(("--method", "ln_structured", "--amount", "3", "--n", "1", "--dim", "1"), id="channels"),
    ],
)
def test_result_and_report_are_those_of_a_server(
    server: ServerProcess, file: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(file.parent)
    written(file.with_name("recipe.yaml"), REMOVE.encode())
    there = prune("run", file, "-o", "out", *words, "--json", "--server", server.address)
    expected = Path("out").read_bytes()
    here = prune("run", file, "-o", "out", *words, "--json")
    assert (here.returncode, here.stderr) == (0, "")
    assert Path("out").read_bytes() == expected
    assert comparable(here.stdout) == comparable(there.stdout)


def comparable(report: str) -> dict[str, Any]:
    """A report without what differs from call to call; the stages of its seconds are compared by name."""
    fields: dict[str, Any] = json.loads(report)
    fields["seconds"] = sorted(fields["seconds"])
    return {name: value for name, value in fields.items() if name != "request_id"}


def test_plan_is_the_one_of_a_server(server: ServerProcess, file: Path) -> None:
    words = ("run", file, *L1, "--global", "--plan", "--json")
    here, there = json.loads(prune(*words).stdout), json.loads(prune(*words, "--server", server.address).stdout)
    assert here["tensors"] == there["tensors"]
    assert here["result_bytes"] == there["result_bytes"]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param((*L1, "--include", "none.*"), id="selects nothing"),
        pytest.param(("--method", "l1_unstructured", "--amount", "5000"), id="too many"),
        pytest.param(("--method", "ln_structured", "--amount", "1", "--dim", "7"), id="no such dim"),
        pytest.param(("--map", "bert", "--amount", "1"), id="unknown map"),
        pytest.param((*L1, "--output", "removed"), id="nothing to remove"),
        pytest.param((*L1, "--importance-scores"), id="no scores"),
    ],
)
def test_refusal_is_the_one_of_a_server(server: ServerProcess, file: Path, words: tuple[str, ...]) -> None:
    out = file.with_name("out")
    there = prune("run", file, "-o", out, *words, "--server", server.address)
    here = prune("run", file, "-o", out, *words)
    assert (here.returncode, here.stdout, here.stderr) == (2, "", there.stderr)
    assert list(file.parent.iterdir()) == [file]


def test_check_with_transformers_is_for_smaller_folders(file: Path) -> None:
    done = prune("run", file, "-o", file.with_name("out"), *L1, "--check-with-transformers")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--check-with-transformers is for a folder's result of --output removed; leave it out" in done.stderr


def test_model_beyond_the_memory_limit_is_refused(file: Path) -> None:
    out = written(file.with_name("out"), b"old")
    done = prune("run", file, "-o", out, *L1, "--global", PRUNING_MEMORY_BYTES="20000")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"error: the call needs [\d,]+ bytes .* hold 20,000 .*\[MODEL_TOO_LARGE\]\n", done.stderr)
    assert out.read_bytes() == b"old"


def test_global_rule_reads_shards_again_that_do_not_fit(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    random = np.random.default_rng(4)
    names = [f"layers.{index}.weight" for index in range(8)]
    for part in range(2):
        tensors = {
            name: ("F32", (2048, 1024), random.standard_normal(1 << 21).astype("<f4").tobytes())
            for name in names[part::2]
        }
        written(folder / f"model-0000{part + 1}-of-00002.safetensors", checkpoint(tensors))
    index = {name: f"model-0000{at % 2 + 1}-of-00002.safetensors" for at, name in enumerate(names)}
    shards = written(folder / "model.safetensors.index.json", json.dumps({"weight_map": index}).encode())
    results = []
    for out, settings in (("held", {}), ("again", {"PRUNING_MEMORY_BYTES": str(80 << 20)})):
        done = prune("run", shards, "-o", tmp_path / out, *L1, "--global", "--json", **settings)
        assert (done.returncode, done.stderr) == (0, "")
        assert ("search" in json.loads(done.stdout)["seconds"]) == (out == "again")
        results.append((tmp_path / out).read_bytes())
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("PRUNING_MEMORY_BYTES", "much", "PRUNING_MEMORY_BYTES"),
        ("PRUNING_DEVICE", "abacus", "PRUNING_DEVICE"),
        ("PRUNING_MEMORY", "1", "PRUNING_MEMORY"),
    ],
    ids=["value", "device", "name"],
)
def test_invalid_setting_is_named(file: Path, setting: str, value: str, message: str) -> None:
    done = prune("run", file, "-o", file.with_name("out"), *L1, **{setting: value})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_of_servers_for_others_are_ignored(file: Path) -> None:
    settings = {"PRUNING_TLS_KEY": "none", "PRUNING_TOKEN_FILE": "none", "PRUNING_METRICS_LISTEN": "none:1"}
    assert prune("run", file, "-o", file.with_name("out"), *L1, **settings).returncode == 0


def test_result_may_replace_its_source(file: Path) -> None:
    assert prune("run", file, "-o", file, *L1, "--prior", "zeros").returncode == 0
    again = prune("run", file, "--dry-run", *L1, "--prior", "zeros", "--json")
    assert json.loads(again.stdout)["pruned_before"] == 1600


def test_source_that_is_changed_meanwhile_is_refused(file: Path) -> None:
    with file.open("ab") as end:
        end.write(b"x")
    done = prune("run", file, "-o", file.with_name("out"), *L1)
    assert done.returncode == 2
    assert "OVERLONG" in done.stderr


def test_run_that_takes_too_long_ends(file: Path) -> None:
    done = prune("run", file, "-o", file.with_name("out"), *L1, "--timeout", "1e-9")
    assert done.returncode == 1
    assert "did not finish in time" in done.stderr
    assert list(file.parent.iterdir()) == [file]


def test_methods_are_those_of_a_server(server: ServerProcess) -> None:
    here, there = (
        json.loads(prune("methods", "--json").stdout),
        json.loads(prune("methods", "--json", "--server", server.address).stdout),
    )
    assert here["methods"] == there["methods"]
    assert here["outputs"] == there["outputs"]


def slow(folder: Path, matrices: int) -> Path:
    """A file whose nuclear norms take milliseconds each."""
    weight = np.random.default_rng(0).standard_normal((matrices, 150, 150), np.float32)
    save_file({"conv.weight": weight}, folder / "slow.safetensors")
    return folder / "slow.safetensors"


SLOW = ("--method", "ln_structured", "--amount", "0.5", "--n", "nuc")


def writes_in(process: "subprocess.Popen[bytes]", folder: Path) -> bool:
    """Whether a process has begun a result: a file without a name in a folder."""
    with suppress(OSError):  # a descriptor was closed meanwhile
        descriptors = Path(f"/proc/{process.pid}/fd").iterdir()
        return any(str(descriptor.readlink()).startswith(f"{folder}/#") for descriptor in descriptors)
    return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)],
    ids=["Ctrl-C", "terminated", "killed"],
)
def test_interrupted_run_leaves_nothing_behind(tmp_path: Path, number: int, status: int) -> None:
    file, out = slow(tmp_path, 1000), written(tmp_path / "out", b"old")
    words = [sys.executable, "-m", "pruning_client", "run", str(file), "-o", str(out), *SLOW]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as process:
        wait_for(lambda: writes_in(process, tmp_path))
        time.sleep(0.3)  # the result exists before the run begins: the signal is for the run
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (status, b"")
    assert sorted(tmp_path.iterdir()) == [out, file]
    assert out.read_bytes() == b"old"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_ignored_interrupt_stays_ignored(tmp_path: Path) -> None:
    """As under nohup: the run goes on to its end."""
    file = slow(tmp_path, 1000)
    words = [sys.executable, "-m", "pruning_client", "run", str(file), "-o", str(tmp_path / "out"), *SLOW]
    ignoring = ["sh", "-c", """trap '' INT && exec "$@\"""", "sh"]
    with subprocess.Popen([*ignoring, *words], stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: writes_in(process, tmp_path))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_progress_is_drawn_on_a_terminal(file: Path) -> None:
    terminal, end = pty.openpty()
    words = [sys.executable, "-m", "pruning_client", "run", str(file), "--dry-run", *L1]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=end) as process:
        os.close(end)
        drawn = b"".join(lines_of(terminal))
    os.close(terminal)
    assert process.returncode == 0
    assert b"send" in drawn


def lines_of(terminal: int) -> Iterator[bytes]:
    """All that is written on a terminal, until nobody has it open."""
    with suppress(OSError):  # the end, as Linux reports it
        while data := os.read(terminal, 4096):
            yield data


def test_folder_of_a_model_is_pruned_into_a_new_one(tmp_path: Path) -> None:
    model, small = tmp_path / "model", tmp_path / "small"
    model.mkdir()
    save_file({"fc1.weight": ENTRIES, "fc2.weight": ENTRIES.T.copy()}, model / "model.safetensors")
    written(model / "config.json", b'{"intermediate_size": 40}')
    group = "{ties: [fc1.weight:0, fc2.weight:1], config: {intermediate_size: 1}}"
    rule = f"{{score: {{magnitude: {{}}}}, amount: {{fraction: 0.5}}, granularity: {{units: {{groups: [{group}]}}}}}}"
    recipe = written(tmp_path / "recipe.yaml", f"rules: [{rule}]".encode())
    done = prune("run", model, "-o", small, "--recipe", recipe, "--output", "removed")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((small / "config.json").read_text()) == {"intermediate_size": 20}
    assert load_file(small / "model.safetensors")["fc1.weight"].shape == (20, 40)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "recipe.yaml", "small"]


def test_plan_takes_size_of_heads_from_config(tmp_path: Path) -> None:
    projections = ("q_proj", "k_proj", "v_proj", "o_proj")
    save_file({f"attn.{name}.weight": ENTRIES for name in projections}, tmp_path / "model.safetensors")
    heads = {"head_dim": 10, "num_attention_heads": 4, "num_key_value_heads": 4}
    written(tmp_path / "config.json", json.dumps(heads).encode())
    done = prune("run", tmp_path, "--plan", "--json", "--map", "llama_kv_groups", "--amount", "1")
    assert done.returncode == 0
    (rule,) = json.loads(done.stdout)["recipe"]["rules"]
    assert rule["head_dim"] == 10


def test_channels_that_are_inputs_are_warned_about(tmp_path: Path) -> None:
    tensors = {"h.c_fc.weight": np.ones((4, 8), np.float32), "h.c_fc.bias": np.ones(8, np.float32)}
    save_file(tensors, tmp_path / "gpt2.safetensors")
    done = prune("run", tmp_path / "gpt2.safetensors", "--plan", "--method", "ln_structured", "--amount", "0.5")
    assert done.returncode == 0
    assert done.stderr.startswith("prune: warning: --method ln_structured: tensor 'h.c_fc.weight'")


def test_folder_lists_what_it_does_not_copy(file: Path) -> None:
    model = file.with_name("model")
    model.mkdir()
    file.rename(model / "model.safetensors")
    (model / "config.json").write_text("{}")
    (model / "pytorch_model.bin").write_bytes(b"the same weights, not pruned")
    done = prune("run", model, "-o", file.with_name("out"), *L1)
    assert (done.returncode, done.stderr) == (0, "")
    assert "not copied, because it would not be pruned: pytorch_model.bin" in done.stdout.splitlines()
    assert sorted(path.name for path in file.with_name("out").iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("size", ["4kB", "0.004MB", "4000"])
def test_folder_is_split_by_size(file: Path, size: str) -> None:
    model = file.with_name("model")
    model.mkdir()
    file.rename(model / "model.safetensors")
    (model / "config.json").write_text("{}")
    assert prune("run", model, "-o", file.with_name("out"), *L1, "--max-shard-size", size).returncode == 0
    shards = sorted(path.name for path in file.with_name("out").glob("*.safetensors"))
    assert shards[0] == f"model-00001-of-{len(shards):05}.safetensors"
    assert len(shards) > 1


def test_invalid_shard_size_is_refused(file: Path) -> None:
    done = prune("run", file, "-o", file.with_name("out"), *L1, "--max-shard-size", "large")
    assert done.returncode == 2
    assert "such as 5GB" in done.stderr
