"""One call without its network: the messages that are sent, and what is made of those that come."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruning_client import Recipe, rules
from pruning_client.calls.chunks import chunks
from pruning_client.calls.exchange import WAIT_BYTES, Exchange
from pruning_client.calls.request import PruneOptions, PruneRequestSpec, recipe_of
from pruning_client.checkpoints.file import FileSource, Source
from pruning_client.errors import MismatchError, ProtocolError, RecipeError
from pruning_proto.framing import encode
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.scripted import data, failure, plan, report
from tests.client.tiny_files import checkpoint, weight, written

SOUND = weight(1, 2, 3, 4)
HALF = rules.l1_unstructured(0.5)
PLAN = plan(result_bytes=len(SOUND))
REPORT = report(totals=pb.Totals(tensors=1, entries=4, pruned=2))


def asking(source: Source, form: pb.OutputForm = pb.OUTPUT_FORM_PRUNED, seed: int | None = None) -> PruneRequestSpec:
    return PruneRequestSpec(source=source, recipe=recipe_of(HALF, seed).to_message(), options=PruneOptions(output=form))


@pytest.fixture
def source(tmp_path: Path) -> FileSource:
    return FileSource(written(tmp_path / "in", SOUND))


@pytest.fixture
def exchange(source: FileSource) -> Exchange:
    return Exchange(asking(source, seed=7))


def receive(exchange: Exchange, messages: Iterable[pb.PruneResponse]) -> None:
    for message in messages:
        is_data = message.WhichOneof("message") == "data"
        exchange.receive(memoryview(message.data) if is_data else message)


def test_options_come_first_then_the_file(exchange: Exchange) -> None:
    messages = [*exchange.opening(), *exchange.body()]
    options = pb.PruneOptions(
        recipe=Recipe([HALF], seed=7).to_message(), output=pb.OUTPUT_FORM_PRUNED, total_bytes=len(SOUND)
    )
    assert messages[0] == pb.PruneRequest(options=options)
    assert [encode(message) for message in messages[1:]] == [encode(SOUND)]


def test_for_a_plan_only_the_header_is_sent(source: FileSource) -> None:
    exchange = Exchange(asking(source, pb.OUTPUT_FORM_PLAN))
    assert list(exchange.body()) == []


def test_size_that_no_plan_can_tell_is_told_by_the_header_of_the_result(source: FileSource) -> None:
    exchange = Exchange(asking(source, pb.OUTPUT_FORM_PACKED))
    receive(exchange, [plan()])
    assert exchange.progress.result_bytes is None
    receive(exchange, [data(SOUND)])
    assert exchange.progress.result_bytes == len(SOUND)


@pytest.mark.parametrize(("size", "waits"), [(8, False), (WAIT_BYTES, True)], ids=["small", "large"])
def test_large_file_waits_for_the_plan(tmp_path: Path, size: int, waits: bool) -> None:
    path = written(tmp_path / "in", checkpoint({"x": ("U8", (size,), bytes(size))}))
    assert Exchange(asking(FileSource(path))).waits_for_plan is waits


def test_deadline_grows_with_the_model(tmp_path: Path) -> None:
    path = written(tmp_path / "in", checkpoint({"x": ("U8", (10**6,), bytes(10**6))}))
    assert asking(FileSource(path)).default_timeout == pytest.approx(30.1, abs=0.001)


def test_result_counts_once_plan_data_and_report_are_whole(exchange: Exchange) -> None:
    receive(exchange, [PLAN, data(SOUND[:3]), pb.PruneResponse(progress=pb.Progress()), data(SOUND[3:]), REPORT])
    outcome = exchange.finish()
    assert outcome.report is not None
    assert outcome.report.sparsity == 0.5
    assert outcome.layout is not None
    assert [entry.name for entry in outcome.layout.tensors] == ["fc.weight"]
    assert exchange.received_bytes == len(SOUND)


def test_plan_and_report_may_come_in_parts(tmp_path: Path) -> None:
    two = checkpoint({"a": ("U8", (2, 2), bytes(4)), "b": ("U8", (1,), bytes(1))})
    exchange = Exchange(asking(FileSource(written(tmp_path / "two", two))))
    a = pb.TensorPlan(name="a", dtype="U8", shape=[2, 2], rules=[0])
    b = pb.TensorPlan(name="b", dtype="U8", shape=[1], not_selected=pb.NOT_SELECTED_DIMS)
    some = pb.PruneResponse(report=pb.Report(tensors=[pb.TensorReport(name="a", entries=4, pruned=2)]))
    first = pb.PruneResponse(plan=pb.Plan(tensors=[a]))
    receive(exchange, [first, plan(len(two), tensors=[b]), data(two), some, REPORT])
    outcome = exchange.finish()
    assert [(tensor.name, tensor.rules, tensor.not_selected) for tensor in outcome.plan.tensors] == [
        ("a", (0,), None),
        ("b", (), "dims"),
    ]
    assert outcome.report is not None
    assert [tensor.sparsity for tensor in outcome.report.tensors] == [0.5]


@pytest.mark.parametrize(
    ("messages", "missing"),
    [
        pytest.param([], "the plan", id="nothing"),
        pytest.param([PLAN, data(SOUND)], "the report", id="no report"),
        pytest.param([PLAN, data(SOUND), pb.PruneResponse(report=pb.Report())], "the report", id="not its last part"),
        pytest.param([PLAN, REPORT], "the result's header", id="no data"),
        pytest.param([PLAN, data(SOUND[:-1]), REPORT], "95 bytes came; its header describes 96", id="cut short"),
    ],
)
def test_result_that_is_not_whole_never_counts(
    exchange: Exchange, messages: list[pb.PruneResponse], missing: str
) -> None:
    receive(exchange, messages)
    with pytest.raises(ProtocolError, match=missing):
        exchange.finish()


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([data(SOUND)], id="data before the plan"),
        pytest.param([PLAN, PLAN], id="plan after the last one"),
        pytest.param([REPORT], id="report before the plan"),
        pytest.param([PLAN, REPORT, REPORT], id="report after the last one"),
        pytest.param([PLAN, REPORT, data(SOUND)], id="data after the report"),
        pytest.param([PLAN, data(b"\x02\0\0\0\0\0\0\0[]")], id="result with a bad header"),
        pytest.param([PLAN, data(SOUND + b"x")], id="more than the header describes"),
        pytest.param([plan(97), data(SOUND)], id="other than announced"),
    ],
)
def test_message_out_of_order_is_refused(exchange: Exchange, messages: list[pb.PruneResponse]) -> None:
    with pytest.raises(ProtocolError):
        receive(exchange, messages)


@pytest.mark.parametrize("form", [pb.OUTPUT_FORM_PLAN, pb.OUTPUT_FORM_REPORT])
def test_data_that_was_not_asked_for_is_refused(source: FileSource, form: pb.OutputForm) -> None:
    exchange = Exchange(asking(source, form))
    with pytest.raises(ProtocolError, match="data where none belongs"):
        receive(exchange, [PLAN, data(SOUND)])


def test_failure_is_raised_at_the_end(exchange: Exchange) -> None:
    receive(exchange, [failure("SELECTS_NOTHING", "selects nothing")])
    with pytest.raises(MismatchError, match="selects nothing"):
        exchange.finish()


def test_message_that_a_newer_server_adds_is_passed_over(exchange: Exchange) -> None:
    receive(exchange, [PLAN, pb.PruneResponse(), data(SOUND), REPORT])
    assert exchange.finish().report is not None


def test_seed_is_drawn_if_a_rule_is_random() -> None:
    rule = rules.random_unstructured(0.5)
    assert recipe_of([HALF, rule], None).seed != recipe_of([HALF, rule], None).seed


def test_seed_that_nothing_needs_is_not_drawn() -> None:
    assert recipe_of(HALF, None).seed is None


@pytest.mark.parametrize(("seed", "expected"), [(None, 1), (0, 0), (2, 2)], ids=["none", "zero", "another"])
def test_seed_given_replaces_the_recipes(seed: int | None, expected: int) -> None:
    assert recipe_of(Recipe([HALF], seed=1), seed).seed == expected


@pytest.mark.parametrize("seed", [-1, 2**64, "1", 1.5, True], ids=repr)
def test_seed_that_is_no_integer_of_64_bits_is_refused(seed: Any) -> None:
    with pytest.raises(RecipeError, match=r"a seed is (0 to 2\^64 - 1|an integer), got") as caught:
        recipe_of(HALF, seed)
    assert caught.value.metadata["field"] == "recipe.seed"


def test_seed_of_numpy_is_a_seed() -> None:
    assert recipe_of(HALF, np.int64(3)).seed == 3  # type: ignore[arg-type]  # numpy's integers are no int to mypy


@pytest.mark.parametrize(
    "given", [None, "l1_unstructured", [HALF, None], HALF.to_message()], ids=lambda given: type(given).__name__
)
def test_what_is_no_rule_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="rules are one Rule, several in order, or a Recipe"):
        recipe_of(given, None)


def test_recipe_without_rules_is_refused() -> None:
    with pytest.raises(RecipeError, match="at least one rule"):
        recipe_of([], None)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        pytest.param([b"abcdefgh"], [b"abc", b"def", b"gh"], id="large is cut"),
        pytest.param([b"a", b"b"], [b"ab"], id="small are gathered"),
        pytest.param([b"a", b"bcd", b"e"], [b"a", b"bcd", b"e"], id="what is gathered goes before what is large"),
        pytest.param([b"abcdefg"], [b"abc", b"defg"], id="a small rest goes with the last"),
        pytest.param([b"", b"a", b""], [b"a"], id="empty vanish"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_chunks_hold_all_bytes_in_order(pieces: list[bytes], expected: list[bytes]) -> None:
    assert [bytes(chunk) for chunk in chunks(map(memoryview, pieces), 3)] == expected
