"""`prune run` with statistics: what is sent, and which method is chosen by them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP

from pruning_client.torch import collect_statistics

HALF = ("--amount", "50%")
WANDA = ("--method", "wanda")


def prune(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pruning_client", *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of a model, its statistics of two kinds, and 64 inputs."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8))
    inputs = torch.randn(64, 12) * torch.arange(1, 13)
    save_file(layers.state_dict(), folder / "model.safetensors")
    for kind in ("norms", "gram"):
        collect_statistics(layers, [inputs], kind=kind).save(folder / f"{kind}.safetensors")
    save_file({"inputs": inputs}, folder / "inputs.safetensors")
    return folder


@pytest.mark.parametrize(
    ("statistics", "amount", "chosen"),
    [
        pytest.param([], HALF, "auto: l1_unstructured, because there are no statistics", id="none"),
        pytest.param([], ("--n-of-m", "2:4"), "auto: n_of_m, because there are no statistics", id="none, 2:4"),
        pytest.param(["norms"], HALF, "auto: ria, because the statistics have norms", id="norms"),
        pytest.param(
            ["gram"],
            HALF,
            "auto: alps with update refit, because",
            id="Gram matrices",
        ),
        pytest.param(["gram"], ("--n-of-m", "2:4"), "auto: alps with update refit, because", id="Gram, 2:4"),
    ],
)
def test_method_is_chosen_by_the_statistics(
    model: Path, tmp_path: Path, statistics: list[str], amount: tuple[str, ...], chosen: str
) -> None:
    options = [word for kind in statistics for word in ("--statistics", model / f"{kind}.safetensors")]
    file = model / "model.safetensors"
    done = prune("run", file, "-o", tmp_path / "out", "--method", "auto", *amount, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(chosen)
    as_json = json.loads(prune("run", file, "--plan", "--json", "--method", "auto", *amount, *options).stdout)
    assert as_json["auto"].startswith(chosen)
    weight = load_file(tmp_path / "out")["0.weight"]
    assert int((weight == 0).sum()) == weight.numel() // 2


def test_option_that_is_given_is_kept_where_the_method_is_chosen(model: Path, tmp_path: Path) -> None:
    words = ("--method", "auto", *HALF, "--update", "none", "--statistics", model / "gram.safetensors")
    done = prune("run", model / "model.safetensors", "-o", tmp_path / "out", *words)
    assert done.returncode == 0, done.stderr
    before, after = load_file(model / "model.safetensors")["0.weight"], load_file(tmp_path / "out")["0.weight"]
    assert torch.equal(after[after != 0], before[after != 0])


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of one MLP of LLaMA's kind, beside its statistics of two kinds."""
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    config = LlamaConfig(hidden_size=8, intermediate_size=12, num_attention_heads=2)
    mlp = LlamaMLP(config)  # type: ignore[no-untyped-call]  # transformers'
    save_file({f"mlp.{name}": tensor for name, tensor in mlp.state_dict().items()}, folder / "model.safetensors")
    whole = torch.nn.ModuleDict({"mlp": mlp})
    whole.forward = mlp.forward  # so that names have the prefix
    for kind in ("norms", "gram"):
        collect_statistics(whole, [torch.randn(64, 8)], kind=kind).save(folder / f"{kind}.safetensors")
    return folder


@pytest.mark.parametrize(
    ("kind", "words", "chosen"),
    [
        pytest.param("gram", (), "remove_units with score obs, because", id="Gram matrices"),
        pytest.param("gram", ("--update", "refit"), "remove_units with score obs, because", id="refit"),
        pytest.param("norms", (), "remove_units with score activation_norm, because", id="norms"),
        pytest.param("gram", ("--method", "auto"), "remove_units with score obs, update refit, because", id="auto"),
        pytest.param(None, ("--method", "auto"), "remove_units, because there are no statistics", id="auto, none"),
    ],
)
def test_score_of_channels_is_chosen_by_the_statistics(
    llama: Path, tmp_path: Path, kind: str | None, words: tuple[str, ...], chosen: str
) -> None:
    given = () if kind is None else ("--statistics", llama / f"{kind}.safetensors")
    out = tmp_path / "out"
    removed = ("-o", out, "--output", "removed", "--map", "llama_mlp", *HALF)

    done = prune("run", llama / "model.safetensors", *removed, *words, *given)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"auto: {chosen}")
    assert load_file(out)["mlp.down_proj.weight"].shape == (8, 6)
    assert ("by their weights alone" in done.stderr) is (kind is None)


def test_score_of_channels_that_is_given_is_kept(llama: Path) -> None:
    words = ("--plan", "--json", "--map", "llama_mlp", *HALF, "--statistics", llama / "norms.safetensors")
    done = prune("run", llama / "model.safetensors", *words, "--score", "flap")
    assert done.returncode == 0, done.stderr
    assert "auto" not in json.loads(done.stdout)


def test_outputs_change_less_with_an_update(model: Path, tmp_path: Path) -> None:
    inputs = load_file(model / "inputs.safetensors")["inputs"]
    dense = load_file(model / "model.safetensors")["0.weight"]

    def error(*options: str) -> float:
        words = ("-o", tmp_path / "out", "--force", *HALF, "--statistics", model / "gram.safetensors")
        done = prune("run", model / "model.safetensors", "--json", *words, *options)
        assert done.returncode == 0, done.stderr
        weight = load_file(tmp_path / "out")["0.weight"]
        found = float((inputs @ (weight - dense).T).norm() / (inputs @ dense.T).norm())
        (reported,) = [each for each in json.loads(done.stdout)["tensors"] if each["name"] == "0.weight"]
        if options != WANDA:  # which uses norms alone
            assert reported["predicted_error"] == pytest.approx(found, rel=1e-3)
        return found

    by_wanda, swapped, refitted = error(*WANDA), error(*WANDA, "--swaps"), error(*WANDA, "--update=refit")
    assert refitted < by_wanda
    assert swapped < by_wanda


def test_statistics_of_another_model_are_refused(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"fc.weight": torch.ones(16, 12)}, other)
    done = prune("run", other, "--plan", *HALF, "--method", "auto", "--statistics", model / "gram.safetensors")
    assert done.returncode == 2
    assert "the statistics belong to another model" in done.stderr


@pytest.mark.parametrize("words", [("-o", "OUT"), ("--plan",), ("--dry-run",)], ids=lambda words: words[0])
def test_statistics_that_no_rule_uses_are_refused(model: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    file, statistics = model / "model.safetensors", model / "norms.safetensors"
    written = [tmp_path / "out" if word == "OUT" else word for word in words]
    done = prune("run", file, *written, "--method", "l1_unstructured", *HALF, "--statistics", statistics)
    assert done.returncode == 2
    assert "no rule uses the statistics (--method l1_unstructured: score magnitude)" in done.stderr
    assert not (tmp_path / "out").exists()


def test_statistics_of_other_weights_are_named(model: Path, tmp_path: Path) -> None:
    part = load_file(model / "model.safetensors")
    save_file({"0.weight": part["0.weight"]}, tmp_path / "shard.safetensors")
    words = (*HALF, *WANDA, "--statistics", model / "norms.safetensors", "--json")
    done = prune("run", tmp_path / "shard.safetensors", "-o", tmp_path / "out", *words)
    assert done.returncode == 0, done.stderr
    (warning,) = [each for each in json.loads(done.stdout)["warnings"] if each["kind"] == "unmatched_statistics"]
    assert warning["message"] == "the statistics of '2.weight' are not used: the model has no tensor of this name"


@pytest.mark.parametrize("name", ["model.safetensors", "missing.safetensors"])
def test_file_without_statistics_is_refused(model: Path, name: str) -> None:
    done = prune("run", model / "model.safetensors", "--plan", *HALF, "--method", "wanda", "--statistics", model / name)
    assert done.returncode == 2
    assert name in done.stderr


def test_scan_prints_a_curve_for_each_layer(model: Path) -> None:
    words = ("scan", model / "model.safetensors", *WANDA, "--statistics", model / "gram.safetensors")
    done = prune(*words, "--sparsities", "25%,50%,75%")
    assert done.returncode == 0, done.stderr
    head, _, first, *_ = done.stdout.splitlines()
    assert head.split() == ["tensor", "entries", "25%", "50%", "75%", "curve"]
    errors = [float(number) for number in first.split()[2:5]]
    assert 0 < errors[0] < errors[1] < errors[2] < 1
    (report,) = [
        each for each in json.loads(prune(*words, "--json").stdout)["tensors"] if each["name"] == first.split()[0]
    ]
    assert [round(point["sparsity"], 1) for point in report["curve"]] == [number / 10 for number in range(1, 10)]


def test_scan_says_that_it_is_weak_without_statistics(model: Path) -> None:
    done = prune("scan", model / "model.safetensors", "--method", "l1_unstructured")
    assert done.returncode == 0, done.stderr
    assert "without statistics of the inputs" in done.stdout


@pytest.mark.parametrize("sparsities", ["0", "100%", "50,60", "half"])
def test_sparsities_out_of_range_are_refused(model: Path, sparsities: str) -> None:
    done = prune("scan", model / "model.safetensors", "--method", "l1_unstructured", "--sparsities", sparsities)
    assert done.returncode == 2
    assert "such as 50%,60%,70%" in done.stderr
