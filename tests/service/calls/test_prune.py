"""A Prune call as any client sees it: plain protobuf messages to a real server."""

import json
import struct
import threading
import urllib.request
from collections.abc import Iterator

import grpc
import pytest
from safetensors import deserialize

from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from tests.servers import ServerProcess, running_server
from tests.service import raw
from tests.service.raw import data, f32, file, l1, options, prune, wait_until

WEIGHTS = f32(4, -1, 3, -2)
BIAS = f32(1, 2)
CONTENT = file({"a.weight": ("F32", [2, 2], WEIGHTS), "a.bias": ("F32", [2], BIAS)}, {"format": "pt"})


def tensors(content: bytes) -> dict[str, bytes]:
    return {name: bytes(value["data"]) for name, value in deserialize(content)}  # type: ignore[no-untyped-call]


def metadata(content: bytes) -> dict[str, str]:
    (length,) = struct.unpack("<Q", content[:8])
    return dict(json.loads(content[8 : 8 + length]).get("__metadata__", {}))


def test_the_least_half_falls_and_the_rest_passes(server: ServerProcess) -> None:
    outcome = prune(server.address, CONTENT)

    assert tensors(outcome.data) == {"a.weight": f32(4, 0, 3, 0), "a.bias": BIAS}
    assert outcome.code == grpc.StatusCode.OK


def test_the_plan_comes_first_and_the_report_last(server: ServerProcess) -> None:
    outcome = prune(server.address, CONTENT)

    assert outcome.kinds[0] == "plan"
    assert outcome.kinds[-1] == "report"
    assert set(outcome.kinds[1:-1]) == {"data"}


def test_the_plan_says_which_rules_select_what_and_why_not(server: ServerProcess) -> None:
    plan = prune(server.address, CONTENT).plan

    assert [(tensor.name, list(tensor.rules), tensor.not_selected) for tensor in plan.tensors] == [
        ("a.weight", [0], pb.NOT_SELECTED_UNSPECIFIED),
        ("a.bias", [], pb.NOT_SELECTED_NAME),
    ]
    assert plan.last
    assert plan.request_id
    assert plan.seed == 7


def test_the_result_has_the_bytes_that_the_plan_announced(server: ServerProcess) -> None:
    outcome = prune(server.address, CONTENT)

    assert len(outcome.data) == outcome.plan.result_bytes


def test_the_report_counts(server: ServerProcess) -> None:
    report = prune(server.address, CONTENT).report

    (tensor,) = report.tensors
    assert (tensor.name, tensor.entries, tensor.pruned_before, tensor.pruned) == ("a.weight", 4, 0, 2)
    assert tensor.threshold == 2.0
    assert (report.totals.tensors, report.totals.entries, report.totals.pruned) == (1, 4, 2)
    assert {"receive", "prune", "send", "total"} <= set(report.stage_seconds)
    assert report.reproducible


def test_the_metadata_keeps_its_keys_and_gains_the_history(server: ServerProcess) -> None:
    once = prune(server.address, CONTENT).data
    twice = prune(server.address, once, rules=[l1(0.25)]).data

    assert metadata(twice)["format"] == "pt"
    rounds = json.loads(metadata(twice)["pruning.v1"])
    assert [entry["recipe"]["rules"][0]["amount"]["fraction"] for entry in rounds] == [0.5, 0.25]
    assert rounds[0]["recipe"]["seed"] == "7"


@pytest.mark.parametrize("piece_bytes", [1, 7, 64, 1 << 20])
def test_the_file_may_be_cut_anywhere(server: ServerProcess, piece_bytes: int) -> None:
    outcome = raw.call(server.address, [options(CONTENT), *data(CONTENT, piece_bytes)])

    assert tensors(outcome.data)["a.weight"] == f32(4, 0, 3, 0)


def test_masked_gives_orig_and_mask(server: ServerProcess) -> None:
    outcome = prune(server.address, CONTENT, output=pb.OUTPUT_FORM_MASKED)

    assert tensors(outcome.data) == {
        "a.weight_orig": WEIGHTS,
        "a.weight_mask": b"\1\0\1\0",
        "a.bias": BIAS,
    }


def test_mask_gives_bits_and_takes_them_back_as_prior(server: ServerProcess) -> None:
    bits = tensors(prune(server.address, CONTENT, output=pb.OUTPUT_FORM_MASK).data)
    assert bits == {"a.weight:mask_bits": b"\x05"}

    again = file({"a.weight": ("F32", [2, 2], WEIGHTS), "a.weight:mask_bits": ("U8", [1], b"\x05")})
    assert tensors(prune(server.address, again).data) == {"a.weight": f32(4, 0, 0, 0)}


def test_a_masked_pair_is_pruned_further_and_folded(server: ServerProcess) -> None:
    pair = file({"a.weight_orig": ("F32", [2, 2], WEIGHTS), "a.weight_mask": ("F32", [2, 2], f32(1, 0, 1, 1))})
    outcome = prune(server.address, pair, rules=[l1(0.34)])

    assert tensors(outcome.data) == {"a.weight": f32(4, 0, 3, 0)}
    assert outcome.report.tensors[0].pruned_before == 1


def test_report_sends_no_file(server: ServerProcess) -> None:
    outcome = prune(server.address, CONTENT, output=pb.OUTPUT_FORM_REPORT)

    assert outcome.kinds == ["plan", "report"]
    assert outcome.report.totals.pruned == 2
    assert not outcome.plan.HasField("result_bytes")


def test_plan_wants_the_header_only(server: ServerProcess) -> None:
    header = CONTENT[: -len(WEIGHTS + BIAS)]
    outcome = raw.call(server.address, [options(CONTENT, output=pb.OUTPUT_FORM_PLAN), *data(header)])

    assert outcome.kinds == ["plan"]
    assert outcome.code == grpc.StatusCode.OK


def test_global_scope_makes_tensors_compete(server: ServerProcess) -> None:
    content = file({"a.weight": ("F32", [1, 2], f32(1, 2)), "b.weight": ("F32", [1, 2], f32(3, 4))})
    outcome = prune(server.address, content, rules=[l1(0.5, scope=pb.SCOPE_GLOBAL)])

    assert tensors(outcome.data) == {"a.weight": f32(0, 0), "b.weight": f32(3, 4)}


def test_an_exotic_dtype_passes_through(server: ServerProcess) -> None:
    content = file(
        {"a.weight": ("F32", [2, 2], WEIGHTS), "q": ("F4", [4], b"\x12\x34"), "s": ("F8_E8M0", [2], b"\1\2")}
    )

    assert tensors(content) | {"a.weight": f32(4, 0, 3, 0)} == dict(tensors(prune(server.address, content).data))


def test_a_scalar_and_an_empty_tensor_pass(server: ServerProcess) -> None:
    content = file({"a.weight": ("F32", [2, 2], WEIGHTS), "e.weight": ("F32", [0, 3], b""), "s": ("I64", [], bytes(8))})
    outcome = prune(server.address, content)

    assert tensors(outcome.data) == {"a.weight": f32(4, 0, 3, 0), "e.weight": b"", "s": bytes(8)}


def test_an_alias_is_counted_once_and_selected_by_any_name(server: ServerProcess) -> None:
    content = file({"embed": ("F32", [2, 2], WEIGHTS)})
    rule = l1(0.5, select=pb.Selector(include=["head.weight"]))
    outcome = prune(server.address, content, rules=[rule], aliases={"head.weight": "embed"})

    assert tensors(outcome.data) == {"embed": f32(4, 0, 3, 0)}


def test_without_a_seed_the_server_draws_one_and_tells(server: ServerProcess) -> None:
    rule = pb.Rule(score=pb.Score(random=pb.RandomScore()), amount=pb.Amount(fraction=0.5))
    asked = pb.PruneOptions(recipe=pb.Recipe(rules=[rule]), total_bytes=len(CONTENT))
    first = raw.call(server.address, [pb.PruneRequest(options=asked), *data(CONTENT)])
    asked.recipe.seed = first.plan.seed
    again = raw.call(server.address, [pb.PruneRequest(options=asked), *data(CONTENT)])

    assert first.report.seed == first.plan.seed
    assert again.data == first.data


def test_without_randomness_the_same_request_gives_the_same_bytes(server: ServerProcess) -> None:
    asked = pb.PruneOptions(recipe=pb.Recipe(rules=[l1(0.5)]), total_bytes=len(CONTENT))
    first, second = (raw.call(server.address, [pb.PruneRequest(options=asked), *data(CONTENT)]) for _ in range(2))

    assert first.data == second.data
    assert first.plan.seed == 0
    assert "seed" not in json.loads(metadata(first.data)["pruning.v1"])[0]["recipe"]


def test_a_large_header_counts_in_the_peak(server: ServerProcess) -> None:
    content = file({f"{index}.weight": ("F32", [1, 1], f32(index)) for index in range(1000)})
    header_bytes = len(content) - 4000

    assert prune(server.address, content).plan.peak_bytes > 25 * header_bytes


def test_local_rules_answer_while_the_file_arrives(server: ServerProcess) -> None:
    content = file({f"{name}.weight": ("F32", [1024, 1024], bytes(4 << 20)) for name in "abcd"})
    half = len(content) - (8 << 20)
    answered = threading.Event()
    in_time = []

    def requests() -> Iterator[pb.PruneRequest]:
        yield options(content)
        yield from data(content[:half])
        in_time.append(answered.wait(20))
        yield from data(content[half:])

    with grpc.insecure_channel(server.address) as channel:
        responses = channel.stream_stream(
            "/pruning.v1.PruningService/Prune", pb.PruneRequest.SerializeToString, pb.PruneResponse.FromString
        )(requests(), timeout=30)
        first = [next(responses).WhichOneof("message"), next(responses).WhichOneof("message")]
        answered.set()
        rest = list(responses)

    assert first == ["plan", "data"]
    assert in_time == [True]
    assert rest[-1].WhichOneof("message") == "report"


def test_a_client_that_writes_all_before_it_reads_is_served(server: ServerProcess) -> None:
    """gRPC's own buffers stall such a client after some MB unless the server reads on."""
    content = file({f"{index}.weight": ("F32", [1024, 1024], bytes(4 << 20)) for index in range(12)})
    all_written = threading.Event()

    def requests() -> Iterator[pb.PruneRequest]:
        yield options(content)
        yield from data(content)
        all_written.set()

    with grpc.insecure_channel(server.address) as channel:
        responses = channel.stream_stream(
            "/pruning.v1.PruningService/Prune", pb.PruneRequest.SerializeToString, pb.PruneResponse.FromString
        )(requests(), timeout=60)
        assert all_written.wait(30)
        received = list(responses)

    assert received[-1].WhichOneof("message") == "report"


def test_a_client_that_never_reads_is_ended() -> None:
    content = file({f"{index}.weight": ("F32", [1024, 1024], bytes(4 << 20)) for index in range(12)})
    with (
        running_server(idle_seconds="2", backlog_bytes="1000000") as server,
        grpc.insecure_channel(server.address, [("grpc.http2.bdp_probe", 0)]) as channel,  # a window that stays small
    ):
        responses = channel.stream_stream(
            "/pruning.v1.PruningService/Prune", pb.PruneRequest.SerializeToString, pb.PruneResponse.FromString
        )(iter([options(content), *data(content)]), timeout=60)
        assert wait_until(lambda: scrape(server)["pruning_reserved_bytes"] > 0)
        assert wait_until(lambda: scrape(server)["pruning_reserved_bytes"] == 0)
        with pytest.raises(grpc.RpcError) as caught:
            list(responses)
        assert wait_until(lambda: "outcome=CLIENT_NOT_READING" in server.log[-1])
        call = 'grpc_method="Prune",grpc_service="pruning.v1.PruningService",grpc_type="bidi_stream"'
        aborted = f'grpc_server_handled_total{{grpc_code="Aborted",{call}}}'
        assert wait_until(lambda: scrape(server).get(aborted) == 1)

    assert caught.value.code() == grpc.StatusCode.ABORTED


def test_a_client_that_goes_silent_is_ended() -> None:
    hold = threading.Event()

    def requests() -> Iterator[pb.PruneRequest]:
        yield options(CONTENT)
        hold.wait(20)

    with running_server(idle_seconds="0.3") as server:
        outcome = raw.call(server.address, requests())
        hold.set()

    assert outcome.failure.reason == Reason.CLIENT_IDLE
    assert outcome.code == grpc.StatusCode.ABORTED


def test_memory_is_given_back_when_a_client_vanishes() -> None:
    content = file({"a.weight": ("F32", [1024, 1024], bytes(4 << 20))})
    vanish = threading.Event()

    def requests() -> Iterator[pb.PruneRequest]:
        yield options(content)
        yield data(content)[0]
        vanish.wait(20)

    with running_server() as server:
        with grpc.insecure_channel(server.address) as channel:
            responses = channel.stream_stream(
                "/pruning.v1.PruningService/Prune", pb.PruneRequest.SerializeToString, pb.PruneResponse.FromString
            )(requests(), timeout=60)
            assert next(responses).plan.peak_bytes > 0
            assert scrape(server)["pruning_reserved_bytes"] > 0
            responses.cancel()
            vanish.set()
            assert wait_until(lambda: scrape(server)["pruning_reserved_bytes"] == 0)
        assert scrape(server)["pruning_requests_in_flight"] == 0


def scrape(server: ServerProcess) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics", timeout=10) as page:
        lines = [line.split(" ") for line in page.read().decode().splitlines() if not line.startswith("#")]
        return {line[0]: float(line[-1]) for line in lines}
