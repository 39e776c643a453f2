"""The command line, as a shell sees it: standard output, standard error, exit status, files."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import grpc
import pytest
from safetensors.torch import load_file

from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.scripted import scripted_server
from tests.client.tiny_files import F32, checkpoint, floats, weight, written
from tests.servers import ServerProcess

L1 = ("--method", "l1_unstructured", "--amount", "0.5")


def prune(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pruning_client", *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    tensors = {"fc.weight": (F32, (2, 2), floats(1, -4, 3, -2)), "fc.bias": (F32, (2,), floats(0, 1))}
    return written(tmp_path / "in.safetensors", checkpoint(tensors))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.safetensors"


def test_run_prunes_a_file_and_prints_a_table(server: ServerProcess, file: Path, out: Path) -> None:
    done = prune("run", file, "-o", out, *L1, "--server", server.address)
    assert (done.returncode, done.stderr) == (0, "")
    assert load_file(out)["fc.weight"].tolist() == [[0.0, -4.0], [3.0, 0.0]]
    assert done.stdout.splitlines()[:6] == [
        "tensor             entries  pruned  sparsity",
        "────────────────────────────────────────────",
        "fc.weight                4       2    50.00%",
        "────────────────────────────────────────────",
        "1 tensor selected        4       2    50.00%",
        "whole model              6       2    33.33%",
    ]
    assert "seconds" in done.stdout
    assert str(out) in done.stdout


def test_run_starts_a_service_of_its_own_without_a_server(file: Path, out: Path) -> None:
    done = prune("run", file, "-o", out, *L1, "--global")
    assert (done.returncode, done.stderr) == (0, "")
    assert int((load_file(out)["fc.weight"] == 0).sum()) == 2


@pytest.mark.parametrize(
    ("options", "pruned"),
    [
        pytest.param(["--method", "identity"], 0, id="identity"),
        pytest.param(["--method", "random_unstructured", "--amount", "3", "--seed", "1"], 3, id="random"),
        pytest.param(["--method", "random_structured", "--amount", "1", "--dim", "-1"], 2, id="random channels"),
        pytest.param(["--method", "ln_structured", "--amount", "1", "--n", "inf", "--dim", "1"], 2, id="Ln"),
        pytest.param(["--method", "l1_unstructured", "--sparsity", "0.75"], 3, id="sparsity"),
        pytest.param(
            [*L1, "--global", "--include=fc.weight", "--include=fc.bias", "--prior=zeros"], 3, id="zeros count"
        ),
    ],
)
def test_run_takes_every_method(server: ServerProcess, file: Path, out: Path, options: list[str], pruned: int) -> None:
    done = prune("run", file, "-o", out, *options, "--server", server.address, "--json")
    report = json.loads(done.stdout)
    assert done.stderr == ""
    assert (report["pruned"], report["out"]) == (pruned, str(out))


@pytest.fixture
def file_with_norms(tmp_path: Path) -> Path:
    tensors = {
        "fc.weight": (F32, (2, 4), floats(1, -4, 3, 2, 8, 7, 6, 5)),
        "fc.weight:in_norm": (F32, (4,), floats(9, 1, 1, 1)),
    }
    return written(tmp_path / "in.safetensors", checkpoint(tensors))


@pytest.mark.parametrize("has_server", [True, False], ids=["server", "one process"])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--method", "wanda", "--count", "2"], id="weighted magnitude"),
        pytest.param(["--method", "wanda", "--sparsity", "0.5", "--input-dim", "-1"], id="sparsity, dim"),
        pytest.param(["--n-of-m", "2:4", "--score", "weighted_magnitude"], id="n of m"),
        pytest.param(["--method", "n_of_m", "--n-of-m=2:4", "--score", "weighted_magnitude", "--dim", "1"], id="all"),
    ],
)
def test_run_multiplies_by_norms_of_the_file(
    server: ServerProcess, file_with_norms: Path, out: Path, options: list[str], has_server: bool
) -> None:
    place = ["--server", server.address] if has_server else []
    done = prune("run", file_with_norms, "-o", out, *options, *place)
    assert (done.returncode, done.stderr) == (0, "")
    result = {name: tensor.tolist() for name, tensor in load_file(out).items()}
    assert result == {"fc.weight": [[1.0, -4.0, 0.0, 0.0], [8.0, 7.0, 0.0, 0.0]]}


def test_run_keeps_two_of_four_by_magnitude(file: Path, out: Path) -> None:
    done = prune("run", file, "-o", out, "--n-of-m", "1:2")
    assert done.returncode == 0
    assert load_file(out)["fc.weight"].tolist() == [[0.0, -4.0], [3.0, 0.0]]


def test_norms_that_the_file_lacks_are_asked_for(file: Path, out: Path) -> None:
    done = prune("run", file, "-o", out, "--method", "wanda", "--amount", "0.5")
    assert done.returncode == 2
    assert "needs a statistic of tensor 'fc.weight' that the file does not have: give --statistics with " in done.stderr


def test_run_takes_a_recipe(server: ServerProcess, file: Path, out: Path, tmp_path: Path) -> None:
    recipe = written(tmp_path / "recipe.yaml", b"rules: [{score: {magnitude: {}}, amount: {count: 1}}]")
    done = prune("run", file, "-o", out, "--recipe", recipe, "--output", "mask", "--server", server.address)
    assert done.returncode == 0
    assert load_file(out)["fc.weight:mask_bits"].tolist() == [0b1110]


MLP: dict[str, tuple[str, tuple[int, ...], bytes]] = {
    "fc1.weight": (F32, (4, 1), floats(4, 1, 2, 3)),
    "fc2.weight": (F32, (1, 4), floats(4, 1, 2, 3)),
}
HALF_OF_ITS_UNITS = b"""
rules:
  - score: {magnitude: {}}
    granularity: {units: {groups: [{ties: [fc1.weight:0, fc2.weight:1], config: {width: 1}}]}}
    amount: {fraction: 0.5}
"""


def test_run_removes_units_and_prints_their_groups(server: ServerProcess, out: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "in.safetensors", checkpoint(MLP))
    recipe = written(tmp_path / "recipe.yaml", HALF_OF_ITS_UNITS)
    done = prune("run", file, "-o", out, "--recipe", recipe, "--output", "removed", "--server", server.address)
    assert (done.returncode, done.stderr) == (0, "")
    assert {name: tensor.tolist() for name, tensor in load_file(out).items()} == {
        "fc1.weight": [[4.0], [3.0]],
        "fc2.weight": [[4.0, 3.0]],
    }
    assert done.stdout.splitlines()[:5] == [
        "group       units  kept  config.json",
        "────────────────────────────────────",
        "fc1.weight      4     2      width 2",
        "────────────────────────────────────",
        "1 group         4     2",
    ]


def test_run_tells_programs_which_units_are_kept(server: ServerProcess, out: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "in.safetensors", checkpoint(MLP))
    recipe = written(tmp_path / "recipe.yaml", HALF_OF_ITS_UNITS)
    done = prune("run", file, "-o", out, "--recipe", recipe, "--json", "--server", server.address)
    (group,) = json.loads(done.stdout)["groups"]
    assert group == {
        "rule": 0,
        "name": "fc1.weight",
        "units": 4,
        "kept": [0, 3],
        "tensors": ["fc1.weight", "fc2.weight"],
        "config": {"width": 2},
        "map": "",
        "scored": ["fc1.weight", "fc2.weight"],
    }


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        pytest.param(["--map", "bert_ffn"], "remove_units needs --amount or --sparsity", id="how many"),
        pytest.param(["--method", "remove_dead"], "remove_dead needs --map", id="of what"),
        pytest.param(["--map", "bert_ffn", "--method", "remove_dead", "--amount", "1"], "takes no --amount", id="dead"),
        pytest.param(["--map", "bert_ffn", "--amount", "1", "--include", "w"], "no --include", id="selector"),
        pytest.param(["--map", "bert_ffn", *L1], "l1_unstructured takes no --map", id="other method"),
        pytest.param(
            ["--map", "bert_ffn", "--amount", "1", "--round-to", "0"], "--round-to: this is", id="multiple of 0"
        ),
        pytest.param(["--map", "bert", "--amount", "1"], "UNKNOWN_MAP", id="unknown map"),
    ],
)
def test_units_that_make_no_sense_are_refused(
    server: ServerProcess, file: Path, out: Path, options: list[str], wrong: str
) -> None:
    done = prune("run", file, "-o", out, *options, "--server", server.address)
    assert done.returncode == 2
    assert wrong in done.stderr
    assert not out.exists()


def test_folder_that_is_no_models_is_refused(tmp_path: Path) -> None:
    done = prune("run", tmp_path, "-o", tmp_path / "small", *L1)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not a model's folder: it has no config.json" in done.stderr


def test_plan_tells_which_tensors_and_writes_nothing(server: ServerProcess, file: Path) -> None:
    done = prune("run", file, *L1, "--plan", "--server", server.address)
    assert "1 of 2 tensors selected" in done.stdout
    assert "- (name)" in done.stdout
    assert list(file.parent.iterdir()) == [file]


def test_dry_run_reports_and_writes_nothing(server: ServerProcess, file: Path) -> None:
    done = prune("run", file, *L1, "--dry-run", "--json", "--server", server.address)
    assert json.loads(done.stdout)["sparsity"] == 0.5
    assert list(file.parent.iterdir()) == [file]


def test_report_is_written_beside_the_result(server: ServerProcess, file: Path, out: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = prune("run", file, "-o", out, *L1, "--server", server.address, "--report", report)
    assert done.stdout.startswith("tensor ")
    told = json.loads(report.read_text())
    assert (told["pruned"], told["out"]) == (2, str(out))


def test_report_of_a_run_that_failed_is_not_written(server: ServerProcess, file: Path, out: Path) -> None:
    words = ["--method", "l1_unstructured", "--amount", "5", "--server", server.address]
    done = prune("run", file, "-o", out, *words, "--report", file.parent / "report.json")
    assert done.returncode == 2
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    ("report", "message"),
    [
        pytest.param("out.safetensors", "--report and -o name the same file", id="the result itself"),
        pytest.param("missing/report.json", "missing: No such file or directory", id="no folder"),
    ],
)
def test_report_that_cannot_be_written_is_refused_before_the_work(
    file: Path, out: Path, report: str, message: str
) -> None:
    done = prune("run", file, "-o", out, *L1, "--report", file.parent / report, "--server", "127.0.0.1:1")
    assert done.returncode == 2
    assert message in done.stderr
    assert not out.exists()


def test_inspect_counts_zeros_of_every_tensor(file: Path) -> None:
    done = prune("inspect", file)
    assert done.stdout.splitlines()[2:] == [
        "fc.weight    F32    2x2        4      0     0.00%",
        "fc.bias      F32      2        2      1    50.00%",
        "─────────────────────────────────────────────────",
        "2 tensors                      6      1    16.67%",
    ]


def test_inspect_counts_the_bits_of_a_mask(tmp_path: Path) -> None:
    file = written(tmp_path / "in", checkpoint({"w:mask_bits": ("U8", (1,), b"\x0f")}))
    (tensor,) = json.loads(prune("inspect", file, "--json").stdout)["tensors"]
    assert (tensor["entries"], tensor["zeros"], tensor["sparsity"]) == (8, 4, 0.5)


def test_methods_are_listed(server: ServerProcess) -> None:
    done = prune("methods", "--server", server.address)
    assert "ln_structured" in done.stdout
    assert "takes" in done.stdout


def test_serve_becomes_the_server() -> None:
    done = prune("serve", "--help")
    assert done.returncode == 0
    assert "--metrics-listen" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param([*L1], "-o OUT.safetensors is required", id="no output"),
        pytest.param(["-o", "x", *L1, "--plan"], "--plan writes nothing; leave out -o", id="output of a plan"),
        pytest.param(["-o", "x", *L1, "--dry-run"], "--dry-run writes nothing; leave out -o", id="output of no run"),
        pytest.param(["-o", "x"], "--method or --recipe is required", id="no method"),
        pytest.param(["-o", "x", "--method", "l1_unstructured"], "needs --amount or --sparsity", id="no amount"),
        pytest.param(["-o", "x", "--method", "identity", "--amount", "1"], "identity takes no --amount", id="amount"),
        pytest.param(["-o", "x", "--method", "identity", "--sparsity", "1"], "takes no --sparsity", id="sparsity"),
        pytest.param(["-o", "x", *L1[:3], "half"], "--amount: this is a part such as 0.5 or", id="word for an amount"),
        pytest.param(["-o", "x", *L1, "--timeout", "nan"], "a timeout is more than 0 seconds", id="no timeout"),
        pytest.param(["-o", "x", *L1, "--timeout", "-1"], "a timeout is more than 0 seconds", id="negative timeout"),
        pytest.param(["-o", "x", *L1, "--timeout", "0"], "a timeout is more than 0 seconds", id="timeout of 0"),
        pytest.param(["-o", "x", *L1, "--seed", "-1"], "--seed: a seed is 0 to 2^64 - 1", id="seed"),
        pytest.param(["-o", "x", *L1[:3], "1.5"], "error: --amount: a fr", id="too much"),
        pytest.param(["-o", "x", *L1, "--dim", "0"], "l1_unstructured takes no --dim", id="dim"),
        pytest.param(["-o", "x", *L1, "--sparsity", "0.5"], "exclude each other", id="amount and sparsity"),
        pytest.param(["-o", "x", *L1, "--recipe", "r.yaml"], "one or the other", id="method and recipe"),
        pytest.param(["-o", "x", "--method", "l1_unstructured", "--amount", "nan"], "0.0 to 1.0, got nan", id="NaN"),
        pytest.param(["-o", "x", "--method", "l2"], "invalid choice: 'l2'", id="unknown method"),
        pytest.param(["-o", "x", "--n-of-m", "2-4"], "--n-of-m: this is N:M, such as 2:4; got '2-4'", id="no N:M"),
        pytest.param(["-o", "x", "--n-of-m", "4:2"], "the kept entries of a group of 2 are 1 to 1, got 4", id="4:2"),
        pytest.param(["-o", "x", "--n-of-m", "2:64"], "the entries of a group are 2 to 32, got 64", id="2:64"),
        pytest.param(["-o", "x", "--n-of-m", "2:4", "--amount", "1"], "n_of_m takes no --amount", id="amount of N:M"),
        pytest.param(["-o", "x", "--n-of-m", "2:4", "--global"], "n_of_m takes no --scope", id="scope of N:M"),
        pytest.param(["-o", "x", "--n-of-m", "2:4", "--n", "1"], "n_of_m takes no --n", id="norm of N:M"),
        pytest.param(
            ["-o", "x", *L1, "--n-of-m", "2:4"], "leave out --method, and choose with --score", id="N:M of L1"
        ),
        pytest.param(["-o", "x", *L1, "--score", "random"], "l1_unstructured takes no --score", id="score of L1"),
        pytest.param(["-o", "x", "--method", "n_of_m"], "n_of_m needs --n-of-m", id="no pattern"),
        pytest.param(["-o", "x", "--n-of-m", "1:2", "--score", "l2"], "invalid choice: 'l2'", id="unknown score"),
        pytest.param(
            ["-o", "x", "--method", "wanda"],
            "needs either --amount, --sparsity or --count, or --n-of-m",
            id="no amount, Wanda",
        ),
        pytest.param(["-o", "x", *L1, "--server", "http://x"], "HOST:PORT", id="URL"),
    ],
)
def test_request_that_makes_no_sense_exits_with_2(file: Path, options: list[str], message: str) -> None:
    done = prune("run", file, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_refusal_of_the_server_is_one_line_and_exits_with_2(server: ServerProcess, file: Path, out: Path) -> None:
    done = prune("run", file, "-o", out, *L1, "--include", "none.*", "--server", server.address)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith("[SELECTS_NOTHING]\n")
    assert done.stderr.count("\n") == 1
    assert not out.exists()


def test_exclude_that_matches_nothing_is_refused(server: ServerProcess, file: Path, out: Path) -> None:
    done = prune("run", file, "-o", out, *L1, "--exclude", "fc", "--server", server.address)
    assert done.returncode == 2
    assert "'fc' matches none of the 2 parameters; did you mean 'fc.weight', 'fc.bias'?" in done.stderr
    assert not out.exists()


def test_refusal_is_one_json_object_for_machines(server: ServerProcess, file: Path, out: Path) -> None:
    done = prune("run", file, "-o", out, *L1, "--include", "none.*", "--server", server.address, "--json")
    error = json.loads(done.stderr)["error"]
    assert (error["type"], error["reason"], done.stdout) == ("MismatchError", "SELECTS_NOTHING", "")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        pytest.param(["inspect", "none.safetensors"], 2, "none.safetensors: No such file or directory", id="no file"),
        pytest.param(["inspect", __file__], 2, "is this a safetensors file?", id="no safetensors file"),
        pytest.param(
            ["methods", "--server", "127.0.0.1:1"], 1, "no pruning server answers at 127.0.0.1:1", id="nobody"
        ),
        pytest.param([], 2, "COMMAND", id="no command"),
        pytest.param(["inspect", "/"], 2, "/: is a folder, not a regular file", id="folder"),
        pytest.param(["inspect", "/dev/null"], 2, "/dev/null: is not a regular file", id="device"),
    ],
)
def test_failure_is_said_in_a_line(words: list[str], status: int, message: str) -> None:
    done = prune(*words)
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_reader_that_leaves_early_is_no_disaster(file: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "pruning_client", "inspect", str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_no_command_prints_the_help() -> None:
    done = prune()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == prune("--help").stdout


@pytest.mark.parametrize("words", [["--dry-run"], ["--plan"]], ids=["report", "plan"])
def test_seed_of_64_bits_is_text_in_json(server: ServerProcess, file: Path, words: list[str]) -> None:
    options = ["--method", "random_unstructured", "--amount", "1", "--seed", str(2**64 - 1), *words, "--json"]
    told = json.loads(prune("run", file, *options, "--server", server.address).stdout)
    assert (told["seed"], told["recipe"]["seed"]) == (str(2**64 - 1),) * 2


def test_report_says_what_was_asked(server: ServerProcess, file: Path, out: Path) -> None:
    done = prune(
        "run", file, "-o", out, *L1, "--global", "--include", "fc.weight", "--server", server.address, "--json"
    )
    told = json.loads(done.stdout)
    rule = {"method": "l1_unstructured", "amount": {"fraction": 0.5}, "scope": "global", "include": ["fc.weight"]}
    assert told["recipe"] == {"rules": [rule]}
    assert (told["source"], told["out"], told["output"]) == (str(file), str(out), "pruned")


def test_recipe_of_a_report_can_be_run_again(file: Path, out: Path, tmp_path: Path) -> None:
    done = prune("run", file, "-o", out, "--method", "random_unstructured", "--amount", "2", "--json")
    recipe = written(tmp_path / "recipe.yaml", json.dumps(json.loads(done.stdout)["recipe"]).encode())
    assert prune("run", file, "-o", tmp_path / "again", "--recipe", recipe).returncode == 0
    assert (tmp_path / "again").read_bytes() == out.read_bytes()


def test_version_goes_to_stdout() -> None:
    done = prune("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"prune {version('pruning-service')}\n", "")


def test_output_that_cannot_be_written_is_said_before_anything_is_sent(server: ServerProcess, file: Path) -> None:
    done = prune("run", file, "-o", "/dev/null", *L1, "--server", server.address)
    assert done.returncode == 2
    assert "not a regular file" in done.stderr
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)],
    ids=["Ctrl-C", "terminated", "killed"],
)
def test_interrupted_run_leaves_nothing_behind(file: Path, out: Path, number: int, status: int) -> None:
    called = threading.Event()

    def never_answer(requests: Iterator[pb.PruneRequest], context: grpc.ServicerContext) -> Iterator[pb.PruneResponse]:
        gone = threading.Event()
        context.add_callback(gone.set)
        called.set()
        gone.wait()
        yield from ()

    written(out, b"old")
    words = [sys.executable, "-m", "pruning_client", "run", str(file), "-o", str(out), *L1]
    with (
        scripted_server(never_answer) as address,
        subprocess.Popen([*words, "--server", address], stderr=subprocess.PIPE) as process,
    ):
        assert called.wait(20)
        process.send_signal(number)
        _, stderr = process.communicate()
    assert (process.returncode, stderr) == (status, b"")
    assert sorted(file.parent.iterdir()) == [file, out]
    assert out.read_bytes() == b"old"


@pytest.mark.parametrize("norm", [["--n", "-inf"], ["--n=-inf"], ["--n", "-Infinity"]], ids=" ".join)
def test_smallest_entry_may_be_the_norm(server: ServerProcess, file: Path, norm: list[str]) -> None:
    options = ["--method", "ln_structured", "--amount", "1", *norm, "--dry-run", "--json"]
    report = json.loads(prune("run", file, *options, "--server", server.address).stdout)
    assert report["tensors"][0]["threshold"] == 1.0


@pytest.mark.parametrize(
    ("method", "is_told"), [("l1_unstructured", False), ("random_unstructured", True)], ids=["exact", "random"]
)
def test_seed_is_told_where_it_matters(server: ServerProcess, file: Path, method: str, is_told: bool) -> None:
    done = prune("run", file, "--dry-run", "--method", method, "--amount", "1", "--server", server.address)
    assert ("seed" in done.stdout) is is_told


@pytest.mark.parametrize(
    "words",
    [["run", "--method", "l2"], ["inspect"], ["inspect", "x", "--wrong"], ["prune"]],
    ids=["no such method", "no file", "no such option", "no such command"],
)
def test_words_that_are_no_command_are_json_for_machines_too(words: list[str]) -> None:
    done = prune(*words, "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert json.loads(done.stderr)["error"]["type"] == "UsageError"


HOSTILE = "w\x1b[2J\nerror: all is lost"


def test_names_reach_the_terminal_escaped(tmp_path: Path) -> None:
    done = prune("inspect", written(tmp_path / "in", checkpoint({HOSTILE: (F32, (1,), floats(0))})))
    assert r"w\x1b[2J\nerror: all is lost" in done.stdout


def test_names_reach_the_terminal_escaped_in_errors_too(tmp_path: Path) -> None:
    content = checkpoint({HOSTILE: (F32, (1,), floats(0))}).replace(b"F32", b"F23")
    done = prune("inspect", written(tmp_path / "in", content))
    assert (done.returncode, done.stderr.count("\n"), "\x1b" in done.stderr) == (2, 1, False)


def test_path_in_an_error_is_escaped() -> None:
    done = prune("inspect", "no\nerror: all is lost")
    assert done.stderr == "error: no\\nerror: all is lost: No such file or directory\n"


def test_small_file_is_no_exception(server: ServerProcess, tmp_path: Path, out: Path) -> None:
    done = prune("run", written(tmp_path / "in", weight(1, 2)), "-o", out, *L1, "--server", server.address)
    assert done.returncode == 0
