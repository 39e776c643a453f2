"""`Client` and `AsyncClient` against a real server: what goes in, what comes out, what is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import grpc
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from pruning_client import Client, Recipe, Rule, rules
from pruning_client.calls.exchange import Progress
from pruning_client.calls.request import Rules
from pruning_client.errors import CheckpointError, MismatchError, PruningError, RecipeError
from pruning_proto.limits import CHUNK_BYTES
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.both import Connect, async_client
from tests.client.scripted import plan, scripted_server
from tests.client.tiny_files import F32, checkpoint, floats, weight, written
from tests.servers import ServerProcess

HALF = rules.l1_unstructured(0.5)
NO_SCORE = Rule.from_message(pb.Rule(amount=pb.Amount(count=1)))
MATRIX = [[1.0, -4.0], [3.0, -2.0]]
PRUNED = [[0.0, -4.0], [3.0, 0.0]]


@pytest.fixture(scope="module", params=[Client, async_client], ids=["Client", "AsyncClient"])
def connect(request: pytest.FixtureRequest) -> Connect:
    return cast("Connect", request.param)


@pytest.fixture(scope="module")
def client(server: ServerProcess, connect: Connect) -> Iterator[Client]:
    with connect(server.address) as client:
        yield client


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "in.safetensors", weight(1, -4, 3, -2))


def weights(**tensors: Any) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.tensor(values) for name, values in tensors.items()}


def test_half_of_a_state_dict_falls(client: Client) -> None:
    result = client.prune(weights(fc=MATRIX), HALF)
    assert result.state_dict["fc.weight"].tolist() == PRUNED
    assert (result.report.entries, result.report.pruned, result.report.sparsity) == (4, 2, 0.5)


def test_norms_are_sent_in_the_state_dict(client: Client) -> None:
    norm = torch.tensor([10.0, 1.0])
    given = weights(q=MATRIX, k=MATRIX) | {"q.weight:in_norm": norm, "k.weight:in_norm": norm}
    result = client.prune(given, rules.wanda(0.5, input_dim=1))
    assert {name: tensor.tolist() for name, tensor in result.state_dict.items()} == {
        "q.weight": [[1.0, 0.0], [3.0, 0.0]],
        "k.weight": [[1.0, 0.0], [3.0, 0.0]],
    }


def test_arrays_are_pruned_two_of_four(client: Client) -> None:
    given = {"fc.weight": np.array([[1, -4, 3, 2]], np.float32), "fc.weight:in_norm": np.array([9, 1, 1, 1], "f2")}
    result = client.prune(given, rules.n_of_m(2, 4, score="weighted_magnitude"))
    assert result.state_dict["fc.weight"].tolist() == [[1.0, -4.0, 0.0, 0.0]]
    assert list(result.state_dict) == ["fc.weight"]


def test_state_dict_given_is_left_as_it_is(client: Client) -> None:
    given = weights(fc=MATRIX)
    client.prune(given, HALF)
    assert given["fc.weight"].tolist() == MATRIX


def test_result_loads_into_the_model(client: Client) -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8))
    result = client.prune(model.state_dict(), HALF)
    model.load_state_dict(result.state_dict)
    assert int((model.state_dict()["0.weight"] == 0).sum()) == 32


def test_masked_result_loads_into_a_module_pruned_by_torch(client: Client) -> None:
    module = torch_prune.identity(nn.Linear(2, 2, bias=False), "weight")  # type: ignore[no-untyped-call]
    result = client.prune({"weight": torch.tensor(MATRIX)}, HALF, output="masked")
    module.load_state_dict(result.state_dict)
    assert (module.weight_orig * module.weight_mask).tolist() == PRUNED


def test_masks_are_bits_and_go_back_in_as_prior_masks(client: Client) -> None:
    state = weights(fc=MATRIX)
    masks = client.prune(state, HALF, output="mask").state_dict
    assert masks["fc.weight:mask_bits"].tolist() == [0b0110]
    again = client.prune({**state, **masks}, rules.l1_unstructured(1))
    assert again.state_dict["fc.weight"].tolist() == [[0.0, -4.0], [0.0, 0.0]]
    assert again.report.pruned_before == 2


def test_numpy_in_numpy_out(client: Client) -> None:
    result = client.prune({"fc.weight": np.array(MATRIX, np.float32)}, HALF)
    assert isinstance(result.state_dict["fc.weight"], np.ndarray)
    assert result.state_dict["fc.weight"].tolist() == PRUNED


def test_tied_tensors_are_tied_in_the_result(client: Client) -> None:
    tied = torch.tensor(MATRIX)
    result = client.prune({"a.weight": tied, "b.weight": tied}, HALF)
    assert result.state_dict["b.weight"] is result.state_dict["a.weight"]
    assert [tensor.name for tensor in result.report.tensors] == ["a.weight"]


def test_scores_decide_where_they_are_given(client: Client) -> None:
    scores = {"fc.weight": torch.tensor([[4.0, 1.0], [2.0, 3.0]])}
    rule = rules.l1_unstructured(0.5, importance_scores=True)
    result = client.prune(weights(fc=MATRIX), rule, importance_scores=scores)
    assert result.state_dict["fc.weight"].tolist() == [[1.0, 0.0], [0.0, -2.0]]


def test_masks_of_ones_own(client: Client) -> None:
    masks = {"fc.weight": torch.tensor([[True, False], [False, True]])}
    result = client.prune(weights(fc=MATRIX), rules.custom_from_mask(), masks=masks)
    assert result.state_dict["fc.weight"].tolist() == [[1.0, 0.0], [0.0, -2.0]]


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(rules.random_unstructured(2), id="random_unstructured"),
        pytest.param(rules.l1_unstructured(2), id="l1_unstructured"),
        pytest.param(rules.random_structured(1), id="random_structured"),
        pytest.param(rules.ln_structured(1, n="fro", dim=-1), id="ln_structured"),
        pytest.param(rules.l1_unstructured(rules.sparsity(0.5), scope="global"), id="sparsity, global"),
        pytest.param([rules.l1_unstructured(1), rules.random_unstructured(1)], id="two rules"),
        pytest.param(Recipe([HALF]), id="recipe"),
    ],
)
def test_every_way_to_ask_prunes_two_of_four(client: Client, rule: Rules) -> None:
    assert client.prune(weights(fc=MATRIX), rule).report.pruned == 2


def test_global_scope_lets_tensors_compete(client: Client) -> None:
    state = weights(a=[[1.0, 2.0]], b=[[3.0, 4.0]])
    result = client.prune(state, rules.l1_unstructured(0.5, scope="global"))
    assert [tensor.pruned for tensor in result.report.tensors] == [2, 0]


def test_same_seed_gives_the_same_again_and_the_report_tells_it(client: Client) -> None:
    state = {"fc.weight": torch.arange(1.0, 65.0).reshape(8, 8)}
    first = client.prune(state, rules.random_unstructured(0.5))
    second = client.prune(state, rules.random_unstructured(0.5), seed=first.report.seed)
    assert torch.equal(first.state_dict["fc.weight"], second.state_dict["fc.weight"])


def test_file_to_file(client: Client, file: Path, tmp_path: Path) -> None:
    report = client.prune_file(file, tmp_path / "out.safetensors", HALF)
    assert load_file(tmp_path / "out.safetensors")["fc.weight"].tolist() == PRUNED
    assert report.sparsity == 0.5


def test_file_may_be_pruned_in_place(client: Client, file: Path) -> None:
    client.prune_file(file, file, HALF)
    assert load_file(file)["fc.weight"].tolist() == PRUNED


def test_file_of_many_chunks_comes_back_whole(client: Client, tmp_path: Path) -> None:
    state = {"fc.weight": torch.randn(1024, 3 * CHUNK_BYTES // 4096), "fc.bias": torch.randn(7)}
    save_file(state, tmp_path / "in")
    client.prune_file(tmp_path / "in", tmp_path / "out", HALF)
    result = load_file(tmp_path / "out")
    assert torch.equal(result["fc.bias"], state["fc.bias"])
    assert int((result["fc.weight"] == 0).sum()) == state["fc.weight"].numel() // 2


def test_file_to_tensors_and_back_to_a_file(client: Client, file: Path, tmp_path: Path) -> None:
    result = client.prune(file, HALF)
    result.save(tmp_path / "out")
    assert isinstance(result.state_dict["fc.weight"], Tensor)  # for torch is imported here
    assert result.to_torch()["fc.weight"].tolist() == PRUNED
    assert result.to_numpy()["fc.weight"].tolist() == PRUNED
    assert load_file(tmp_path / "out")["fc.weight"].tolist() == PRUNED


def test_result_tells_what_was_asked(client: Client, file: Path) -> None:
    assert "pruning.v1" in client.prune(file, HALF).metadata


def test_plan_says_what_would_happen(client: Client, tmp_path: Path) -> None:
    tensors = {"fc.weight": (F32, (1, 2), floats(1, 2)), "fc.bias": (F32, (1,), floats(1))}
    plan = client.plan(written(tmp_path / "in", checkpoint(tensors)), HALF)
    assert [(tensor.name, tensor.rules, tensor.not_selected) for tensor in plan.tensors] == [
        ("fc.weight", (0,), None),
        ("fc.bias", (), "name"),
    ]
    assert plan.peak_bytes > 0


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("embed_tokens.weight", "embedding"),
        ("lm_head.weight", "output_head"),
        ("mlp.gate.weight", "router"),
        ("q_norm.weight", "norm"),
    ],
)
def test_plan_says_what_is_no_default_target(client: Client, tmp_path: Path, name: str, why: str) -> None:
    content = checkpoint({each: (F32, (1, 2), floats(1, 2)) for each in ("fc.weight", name)})
    plan = client.plan(written(tmp_path / "in", content), HALF)
    assert [tensor.not_selected for tensor in plan.tensors] == [None, why]


def test_dry_run_gives_the_report_alone(client: Client, file: Path) -> None:
    assert client.dry_run(file, HALF).sparsity == 0.5


def test_capabilities_list_methods_under_torchs_names(client: Client) -> None:
    offered = client.capabilities()
    assert {method.name for method in offered.methods} >= {"l1_unstructured", "ln_structured", "custom_from_mask"}
    assert {"pruned", "masked", "mask"} <= set(offered.outputs)
    assert "F32" in offered.prunable_dtypes


@pytest.mark.parametrize(
    ("rule", "error", "reason"),
    [
        pytest.param(rules.l1_unstructured(0.5, include="none.*"), MismatchError, Reason.SELECTS_NOTHING, id="nothing"),
        pytest.param(rules.l1_unstructured(5), MismatchError, Reason.COUNT_TOO_LARGE, id="count too large"),
        pytest.param(rules.random_structured(1, dim=2), MismatchError, Reason.DIM_OUT_OF_RANGE, id="no such dim"),
        pytest.param(rules.custom_from_mask(), MismatchError, Reason.MISSING_COMPANION, id="no mask"),
        pytest.param(rules.identity(include="re:("), RecipeError, Reason.INVALID_PATTERN, id="bad regex"),
        pytest.param(NO_SCORE, RecipeError, Reason.INVALID_RECIPE, id="no score"),
    ],
)
def test_refusal_of_the_server_is_a_typed_error(
    client: Client, rule: Rule, error: type[PruningError], reason: Reason
) -> None:
    with pytest.raises(error) as caught:
        client.prune(weights(fc=MATRIX), rule)
    assert caught.value.reason == reason
    assert caught.value.request_id


def test_nan_is_refused_by_name_and_the_target_is_as_it_was(client: Client, tmp_path: Path) -> None:
    source = written(tmp_path / "in", weight(1, float("nan"), 3, 4))
    target = written(tmp_path / "out", b"old")
    with pytest.raises(CheckpointError, match=r"fc\.weight") as caught:
        client.prune_file(source, target, HALF)
    assert caught.value.reason == Reason.NAN_WEIGHTS
    assert target.read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == [source, target]


def test_form_that_does_not_exist_is_refused_here(client: Client, file: Path) -> None:
    with pytest.raises(RecipeError, match="'pruned', 'masked', 'mask', 'packed', 'removed'; got 'plan'"):
        client.prune(file, HALF, output="plan")  # type: ignore[arg-type]


def test_scores_for_a_file_are_refused_with_where_they_belong(client: Client, file: Path) -> None:
    with pytest.raises(ValueError, match="beside `w`"):
        client.prune(file, HALF, masks=weights(fc=MATRIX))


def test_closed_client_says_so(server: ServerProcess, file: Path) -> None:
    with Client(server.address) as client:
        pass
    with pytest.raises(ValueError, match=r"this client of .* is closed; make a new one"):
        client.prune(file, HALF)
    with pytest.raises(ValueError, match="is closed"):
        client.capabilities()


@pytest.mark.parametrize("timeout", [float("inf"), 1e30, 20], ids=str)
def test_timeout_may_be_long(client: Client, file: Path, timeout: float) -> None:
    assert client.prune(file, HALF, timeout=timeout).report.pruned == 2


@pytest.mark.parametrize("timeout", [float("nan"), 0, -1], ids=str)
def test_timeout_that_is_no_time_is_refused(client: Client, server: ServerProcess, file: Path, timeout: float) -> None:
    with pytest.raises(ValueError, match="more than 0 seconds"):
        client.prune(file, HALF, timeout=timeout)
    with pytest.raises(ValueError, match="more than 0 seconds"):
        Client(server.address, timeout=timeout)


def test_same_request_gives_the_same_bytes(client: Client, file: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        client.prune_file(file, tmp_path / name, HALF)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_exit_asked_for_on_the_thread_that_sends_reaches_the_caller(tmp_path: Path) -> None:
    size = 8 * CHUNK_BYTES
    source = written(tmp_path / "in", checkpoint({"x": ("U8", (size,), bytes(size))}))

    def read_all(requests: Iterator[pb.PruneRequest], _context: grpc.ServicerContext) -> Iterator[pb.PruneResponse]:
        yield plan()
        for _ in requests:
            pass

    def leave(progress: Progress) -> None:
        if progress.sent_bytes >= CHUNK_BYTES:
            raise SystemExit(3)

    with scripted_server(read_all) as address, Client(address, timeout=20) as client, pytest.raises(SystemExit):
        client.prune(source, HALF, progress=leave)


def test_nothing_in_place_of_a_state_dict_is_refused(client: Client) -> None:
    with pytest.raises(TypeError, match="expected a state dict, or the path"):
        client.prune(None, HALF)  # type: ignore[arg-type]
