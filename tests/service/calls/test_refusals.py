"""Every invalid request is refused with its reason and the name of the field or tensor."""

import json
import math
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from pruning_proto.reasons import TABLE, Reason
from pruning_proto.v1 import pruning_pb2 as pb
from tests.servers import ServerProcess
from tests.service import raw
from tests.service.raw import data, f32, file, l1, options, with_header

SOUND = file({"a.weight": ("F32", [2, 2], f32(1, 2, 3, 4)), "a.bias": ("F32", [2], f32(1, 2))})
NAN = file({"a.weight": ("F32", [2, 2], f32(1, 2, math.nan, 4))})
CUSTOM = pb.Rule(score=pb.Score(custom_mask=pb.CustomMask()))
SCORES = pb.Rule(score=pb.Score(importance_scores=pb.ImportanceScores()), amount=pb.Amount(fraction=0.5))
CHANNELS = l1(0.5, granularity=pb.Granularity(channels=pb.Channels(dim=2)))
WANDA = pb.Rule(input_dim=1, score=pb.Score(weighted_magnitude=pb.WeightedMagnitude()), amount=pb.Amount(fraction=0.5))
ACROSS = pb.Rule(score=pb.Score(weighted_magnitude=pb.WeightedMagnitude(dim=2)), amount=pb.Amount(fraction=0.5))


def header(text: str, buffer: bytes = b"") -> list[pb.PruneRequest]:
    content = with_header(text.encode(), buffer)
    return [options(content), *data(content)]


def entry(dtype: str, shape: list[int], begin: int, end: int) -> str:
    return json.dumps({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]})


def asked(*rules: pb.Rule, content: bytes = SOUND, **fields: object) -> list[pb.PruneRequest]:
    return [options(content, list(rules), **fields), *data(content)]  # type: ignore[arg-type]


def beside(name: str, dtype: str, shape: list[int], value: bytes, rule: pb.Rule) -> list[pb.PruneRequest]:
    content = file({"a.weight": ("F32", [2, 2], f32(1, 2, 3, 4)), name: (dtype, shape, value)})
    return asked(rule, content=content)


def n_of_m(n: int, m: int, **fields: object) -> pb.Rule:
    granularity = pb.Granularity(n_of_m=pb.NOfM(n=n, m=m))
    score = pb.Score(magnitude=pb.Magnitude())
    return pb.Rule(**{"score": score, "granularity": granularity} | fields)  # type: ignore[arg-type]


def blocks(rows: int, columns: int, **fields: object) -> pb.Rule:
    return l1(0.5, granularity=pb.Granularity(blocks=pb.Blocks(rows=rows, columns=columns)), **fields)


def refused(name: str, reason: Reason, names: str, requests: list[pb.PruneRequest]) -> object:
    return pytest.param(requests, reason, names, id=name)


HUGE = with_header(f'{{"w.weight": {entry("U8", [1, 1 << 50], 0, 1 << 50)}}}'.encode())
"""The header of a file of a pebibyte."""

CASES = [
    refused("no message", Reason.OPTIONS_FIRST, "options", []),
    refused("an empty message", Reason.OPTIONS_FIRST, "options", [pb.PruneRequest()]),
    refused("data first", Reason.OPTIONS_FIRST, "options", data(SOUND)),
    refused("options twice", Reason.UNEXPECTED_MESSAGE, "options", [options(SOUND), options(SOUND)]),
    refused("empty data", Reason.EMPTY_DATA, "data", [options(SOUND), pb.PruneRequest(data=b"")]),
    refused("no total_bytes", Reason.TOTAL_BYTES_MISMATCH, "total_bytes", [options(SOUND, total_bytes=0)]),
    refused("nothing after options", Reason.TRUNCATED, "0 of", [options(SOUND)]),
    refused("cut in the header", Reason.TRUNCATED, "of", [options(SOUND), *data(SOUND[:30])]),
    refused("cut in the buffer", Reason.TRUNCATED, "of", [options(SOUND), *data(SOUND[:-1])]),
    refused("overlong", Reason.OVERLONG, "total_bytes", [options(SOUND), *data(SOUND + b"x")]),
    refused("a message after the end", Reason.OVERLONG, "total_bytes", [options(SOUND), *data(SOUND), *data(b"x")]),
    refused("more bytes announced", Reason.TOTAL_BYTES_MISMATCH, "total_bytes", asked(l1(0.5), total_bytes=999)),
    refused("fewer bytes announced", Reason.TOTAL_BYTES_MISMATCH, "total_bytes", asked(l1(0.5), total_bytes=100)),
    refused("header too large", Reason.HEADER_TOO_LARGE, "8,388,608 (its setting PRUNING_HEADER_BYTES)", [
        options(SOUND, total_bytes=1 << 40), *data((9 << 20).to_bytes(8, "little")),
    ]),
    refused("many keys of metadata", Reason.HEADER_TOO_LARGE, "has 100,001 keys", header(
        '{"__metadata__": {' + ",".join(f'"{index}": ""' for index in range(100_001)) + "}}",
    )),
    refused("a zip or pickle", Reason.HEADER_TOO_LARGE, "safetensors", [
        options(SOUND, total_bytes=64), *data(b"PK\x03\x04" + bytes([7] * 60)),
    ]),
    refused("not JSON", Reason.INVALID_HEADER, "JSON", header("{nonsense")),
    refused("not UTF-8", Reason.INVALID_HEADER, "JSON", [
        options(with_header(b"\xff\xfe{}")), *data(with_header(b"\xff\xfe{}")),
    ]),
    refused("not an object", Reason.INVALID_HEADER, "object", header("[1, 2]")),
    refused("deep nesting", Reason.INVALID_HEADER, "nested", header('{"w":' + "[" * 100_000)),
    refused("a key twice", Reason.DUPLICATE_NAME, "w", header(
        f'{{"w": {entry("F32", [1], 0, 4)}, "w": {entry("F32", [1], 4, 8)}}}', bytes(8),
    )),
    refused("unknown dtype", Reason.UNKNOWN_DTYPE, "w", header(f'{{"w": {entry("F33", [1], 0, 4)}}}', bytes(4))),
    refused("size against shape", Reason.SIZE_MISMATCH, "w", header(f'{{"w": {entry("F32", [2], 0, 4)}}}', bytes(4))),
    refused("overlap", Reason.INVALID_OFFSETS, "w2", header(
        f'{{"w1": {entry("F32", [1], 0, 4)}, "w2": {entry("F32", [1], 2, 6)}}}', bytes(6),
    )),
    refused("hole", Reason.INVALID_OFFSETS, "w2", header(
        f'{{"w1": {entry("F32", [1], 0, 4)}, "w2": {entry("F32", [1], 8, 12)}}}', bytes(12),
    )),
    refused("a shard of torch's distributed checkpoint", Reason.INVALID_HEADER, "consolidate_safetensors_files", header(
        f'{{"__metadata__": {{"DCP_SHARDING_INFO": "{{}}"}}, "w.weight": {entry("F32", [1, 1], 0, 4)}}}', bytes(4),
    )),
    refused("no rules", Reason.INVALID_RECIPE, "rules", asked()),
    refused("no score", Reason.INVALID_RECIPE, "recipe.rules[0].score", asked(pb.Rule(amount=pb.Amount(count=1)))),
    refused("no amount", Reason.INVALID_RECIPE, "recipe.rules[0].amount", asked(pb.Rule(score=l1(0).score))),
    refused("an empty amount", Reason.INVALID_RECIPE, "recipe.rules[0].amount", asked(
        pb.Rule(score=l1(0).score, amount=pb.Amount()),
    )),
    refused("amount for identity", Reason.INVALID_RECIPE, "recipe.rules[0].amount", asked(
        pb.Rule(score=pb.Score(identity=pb.Identity()), amount=pb.Amount(count=1)),
    )),
    refused("scope for identity, be it the default", Reason.INVALID_RECIPE, "recipe.rules[0].scope", asked(
        pb.Rule(score=pb.Score(identity=pb.Identity()), scope=pb.SCOPE_LOCAL),
    )),
    refused("granularity for custom_mask", Reason.INVALID_RECIPE, "recipe.rules[0].granularity", asked(
        pb.Rule(score=CUSTOM.score, granularity=pb.Granularity(entries=pb.Entries())),
    )),
    refused("fraction above 1", Reason.AMOUNT_OUT_OF_RANGE, "recipe.rules[0].amount.fraction", asked(l1(1.5))),
    refused("negative fraction, second rule", Reason.AMOUNT_OUT_OF_RANGE, "recipe.rules[1].amount.fraction", asked(
        l1(0.5), l1(-0.1),
    )),
    refused("NaN fraction", Reason.AMOUNT_OUT_OF_RANGE, "recipe.rules[0].amount.fraction", asked(l1(math.nan))),
    refused("NaN sparsity", Reason.AMOUNT_OUT_OF_RANGE, "recipe.rules[0].amount.sparsity", asked(
        pb.Rule(score=l1(0).score, amount=pb.Amount(sparsity=math.nan)),
    )),
    refused("count above the entries", Reason.COUNT_TOO_LARGE, "a.weight", asked(
        pb.Rule(score=l1(0).score, amount=pb.Amount(count=5)),
    )),
    refused("a norm for entries", Reason.INVALID_NORM, "recipe.rules[0].score", asked(
        pb.Rule(score=pb.Score(magnitude=pb.Magnitude(norm=pb.Norm(p=2))), amount=pb.Amount(fraction=0.5)),
    )),
    refused("a bad regular expression", Reason.INVALID_PATTERN, "recipe.rules[0].select.include[0]", asked(
        l1(0.5, select=pb.Selector(include=["re:("])),
    )),
    refused("a long regular expression", Reason.INVALID_PATTERN, "recipe.rules[0].select.exclude[1]", asked(
        l1(0.5, select=pb.Selector(exclude=["a", "re:" + "()" * 2047])),
    )),
    refused("a long glob", Reason.INVALID_PATTERN, "recipe.rules[1].select.include[0]", asked(
        l1(0.5), l1(0.5, select=pb.Selector(include=["\N{SNOWMAN}" * 1366])),
    )),
    refused("too many regular expressions", Reason.INVALID_RECIPE, "at most 100 regular expressions", asked(
        l1(0.5, select=pb.Selector(exclude=[f"re:{number}" for number in range(101)])),
    )),
    refused("too many globs in two rules", Reason.INVALID_RECIPE, "at most 1,000 patterns with wildcards", asked(
        l1(0.5, select=pb.Selector(include=["*"] * 501)), l1(0.5, select=pb.Selector(exclude=["a?"] * 500)),
    )),
    refused("too many globs of groups", Reason.INVALID_RECIPE, "at most 1,000 patterns with wildcards", asked(
        pb.Rule(granularity=pb.Granularity(units=pb.Units(groups=[pb.Group(for_each="*")] * 1001))),
    )),
    refused("too many bytes of options", Reason.INVALID_RECIPE, "2,097,152 bytes", asked(
        l1(0.5), *[l1(0.5, select=pb.Selector(exclude=["a" * 4000] * 6)) for _ in range(90)],
    )),
    refused("a data message of unknown fields", Reason.UNSUPPORTED_FIELD, "send the data alone", [
        options(SOUND), pb.PruneRequest.FromString(b"\xc0\x0c\x01" * 100_000),
    ]),
    refused("too many aliases", Reason.INVALID_RECIPE, "at most 10,000 aliases", asked(
        l1(0.5), aliases={str(number): "a.weight" for number in range(10_001)},
    )),
    refused("selects nothing", Reason.SELECTS_NOTHING, "recipe.rules[0].select.include[0]", asked(
        l1(0.5, select=pb.Selector(include=["nowhere*"])),
    )),
    refused("an exclude that matches nothing", Reason.SELECTS_NOTHING, "recipe.rules[0].select.exclude[1]", asked(
        l1(0.5, select=pb.Selector(exclude=["*.bias", "a"])),
    )),
    refused("dim not there", Reason.DIM_OUT_OF_RANGE, "a.weight", asked(CHANNELS)),
    refused("channels of a vector", Reason.DIM_OUT_OF_RANGE, "a.bias", asked(
        l1(0.5, granularity=pb.Granularity(channels=pb.Channels()), select=pb.Selector(include=["a.bias"])),
    )),
    refused("scores of another shape", Reason.SHAPE_MISMATCH, "a.weight", beside(
        "a.weight:scores", "F32", [4], f32(1, 2, 3, 4), SCORES,
    )),
    refused("a mask of another shape", Reason.SHAPE_MISMATCH, "a.weight", beside(
        "a.weight:mask", "BOOL", [1, 2], b"\1\0", CUSTOM,
    )),
    refused("mask bits of another size", Reason.SHAPE_MISMATCH, "a.weight", beside(
        "a.weight:mask_bits", "U8", [2], b"\1\0", l1(0.5),
    )),
    refused("scores for no parameter", Reason.ORPHAN_COMPANION, "b.weight:scores", beside(
        "b.weight:scores", "F32", [2, 2], f32(1, 2, 3, 4), SCORES,
    )),
    refused("scores that no rule uses", Reason.UNUSED_COMPANION, "a.weight:scores", beside(
        "a.weight:scores", "F32", [2, 2], f32(1, 2, 3, 4), l1(0.5),
    )),
    refused("a mask that is missing", Reason.MISSING_COMPANION, "a.weight", asked(CUSTOM)),
    refused("a mask that is not 0 and 1", Reason.MASK_NOT_BINARY, "a.weight", beside(
        "a.weight:mask", "F32", [2, 2], f32(1, 0, 0.5, 1), CUSTOM,
    )),
    refused("norms that are missing", Reason.MISSING_COMPANION, "a.weight", asked(WANDA)),
    refused("norms that no rule uses", Reason.UNUSED_COMPANION, "a.weight:in_norm", beside(
        "a.weight:in_norm", "F32", [2], f32(1, 2), l1(0.5),
    )),
    refused("norms for no parameter", Reason.ORPHAN_COMPANION, "b.weight:in_norm", beside(
        "b.weight:in_norm", "F32", [2], f32(1, 2), l1(0.5),
    )),
    refused("norms of another length", Reason.SHAPE_MISMATCH, "a.weight:in_norm", beside(
        "a.weight:in_norm", "F32", [3], f32(1, 2, 3), WANDA,
    )),
    refused("norms of the weight's shape", Reason.SHAPE_MISMATCH, "a.weight:in_norm", beside(
        "a.weight:in_norm", "F32", [2, 2], f32(1, 2, 3, 4), WANDA,
    )),
    refused("complex norms", Reason.UNPRUNABLE_DTYPE, "a.weight:in_norm", beside(
        "a.weight:in_norm", "C64", [2], f32(1, 0, 1, 0), WANDA,
    )),
    refused("an infinite norm", Reason.INVALID_AUXILIARY, "a.weight:in_norm", beside(
        "a.weight:in_norm", "F32", [2], f32(1, math.inf), WANDA,
    )),
    refused("a negative norm", Reason.INVALID_AUXILIARY, "a.weight:in_norm", beside(
        "a.weight:in_norm", "F32", [2], f32(-1, 1), WANDA,
    )),
    refused("a norm that is NaN", Reason.INVALID_AUXILIARY, "a.weight:in_norm", beside(
        "a.weight:in_norm", "F32", [2], f32(1, math.nan), WANDA,
    )),
    refused("no such input channels", Reason.DIM_OUT_OF_RANGE, "recipe.rules[0].score.weighted_magnitude.dim", beside(
        "a.weight:in_norm", "F32", [2], f32(1, 1), ACROSS,
    )),
    refused("weighted magnitude without an amount", Reason.INVALID_RECIPE, "recipe.rules[0].amount", asked(
        pb.Rule(score=WANDA.score),
    )),
    refused("weighted magnitude of channels", Reason.INVALID_RECIPE, "recipe.rules[0].granularity", asked(
        pb.Rule(score=WANDA.score, amount=WANDA.amount, granularity=CHANNELS.granularity),
    )),
    refused("output channels of blocks", Reason.INVALID_RECIPE, "recipe.rules[0].scope", asked(
        blocks(1, 1, scope=pb.SCOPE_OUTPUT_CHANNEL),
    )),
    refused("no whole blocks", Reason.SHAPE_MISMATCH, "recipe.rules[0].granularity.blocks", asked(blocks(4, 1))),
    refused("blocks of no rows", Reason.INVALID_RECIPE, "recipe.rules[0].granularity.blocks.rows", asked(blocks(0, 1))),
    refused("bounds in local scope", Reason.INVALID_RECIPE, "recipe.rules[0].bounds", asked(
        blocks(1, 1, bounds=pb.Bounds(max_sparsity=0.9)),
    )),
    refused("an allocation in global scope", Reason.INVALID_RECIPE, "recipe.rules[0].allocation", asked(
        blocks(1, 1, scope=pb.SCOPE_GLOBAL, allocation=pb.Allocation(erk=pb.ErdosRenyiKernel())),
    )),
    refused("output channels of an unknown dim", Reason.INPUT_DIM_UNKNOWN, "recipe.rules[0].input_dim", asked(
        l1(0.5, scope=pb.SCOPE_OUTPUT_CHANNEL),
    )),
    refused("0 of 0", Reason.INVALID_RECIPE, "recipe.rules[0].granularity.n_of_m.m", asked(n_of_m(0, 0))),
    refused("2 of 64", Reason.INVALID_RECIPE, "recipe.rules[0].granularity.n_of_m.m", asked(n_of_m(2, 64))),
    refused("0 of 2", Reason.INVALID_RECIPE, "recipe.rules[0].granularity.n_of_m.n", asked(n_of_m(0, 2))),
    refused("2 of 2", Reason.INVALID_RECIPE, "recipe.rules[0].granularity.n_of_m.n", asked(n_of_m(2, 2))),
    refused("no whole groups", Reason.SHAPE_MISMATCH, "recipe.rules[0].granularity.n_of_m.m", asked(n_of_m(2, 4))),
    refused("an amount for n of m", Reason.INVALID_RECIPE, "recipe.rules[0].amount", asked(
        n_of_m(1, 2, amount=pb.Amount(fraction=0.5)),
    )),
    *(
        refused(f"{name} for n of m", Reason.INVALID_RECIPE, "recipe.rules[0].scope", asked(n_of_m(1, 2, scope=scope)))
        for name, scope in (("the scope local", pb.SCOPE_LOCAL), ("the scope global", pb.SCOPE_GLOBAL))
    ),
    refused("a norm for n of m", Reason.INVALID_NORM, "recipe.rules[0].score", asked(
        n_of_m(1, 2, score=pb.Score(magnitude=pb.Magnitude(norm=pb.Norm(p=2)))),
    )),
    refused("n of m for identity", Reason.INVALID_RECIPE, "recipe.rules[0].granularity", asked(
        n_of_m(1, 2, score=pb.Score(identity=pb.Identity())),
    )),
    refused("an alias of nothing", Reason.INVALID_ALIAS, 'aliases["c.weight"]', asked(
        l1(0.5), aliases={"c.weight": "b.weight"},
    )),
    refused("a history that is none", Reason.INVALID_HISTORY, "pruning.v1", asked(
        l1(0.5), content=file({"a.weight": ("F32", [2, 2], f32(1, 2, 3, 4))}, {"pruning.v1": "no list"}),
    )),
    refused("NaN weights", Reason.NAN_WEIGHTS, "a.weight", asked(l1(0.5), content=NAN)),
    refused("more than memory", Reason.MODEL_TOO_LARGE, "bytes", [
        options(HUGE, [l1(0.5, select=pb.Selector(include=["w.weight"]))], total_bytes=len(HUGE) + (1 << 50)),
        *data(HUGE),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("requests", "reason", "names"), CASES)
def test_a_wrong_request_is_refused_in_band_and_as_status(
    server: ServerProcess, requests: list[pb.PruneRequest], reason: Reason, names: str
) -> None:
    outcome = raw.call(server.address, requests)

    assert outcome.failure.reason == reason
    assert outcome.code.name == TABLE[reason].code.name
    assert outcome.failure.code == outcome.status.code == outcome.code.value[0]
    info = outcome.detail(error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == (reason, "pruning.v1")
    places = [violation.field for violation in outcome.failure.violations]
    assert names in " ".join([outcome.failure.message, *places, *outcome.failure.metadata.values()])


@pytest.mark.parametrize(
    ("requests", "reason"),
    [
        pytest.param(asked(l1(1.5))[:2], Reason.AMOUNT_OUT_OF_RANGE, id="recipe"),
        pytest.param(asked(CHANNELS)[:1] + data(SOUND[:-24]), Reason.DIM_OUT_OF_RANGE, id="recipe against header"),
        pytest.param([options(SOUND, total_bytes=999), *data(SOUND[:-24])], Reason.TOTAL_BYTES_MISMATCH, id="header"),
    ],
)
def test_what_is_wrong_is_told_before_the_buffer_is_sent(
    server: ServerProcess, requests: list[pb.PruneRequest], reason: Reason
) -> None:
    told = threading.Event()

    def without_the_buffer() -> Iterator[pb.PruneRequest]:
        yield from requests
        assert told.wait(10)

    with grpc.insecure_channel(server.address) as channel:
        responses = channel.stream_stream(
            "/pruning.v1.PruningService/Prune", pb.PruneRequest.SerializeToString, pb.PruneResponse.FromString
        )(without_the_buffer(), timeout=20)
        first = next(responses)
        told.set()

    assert first.failure.reason == reason


def test_a_malformed_message_is_refused(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.address) as channel:
        prune = channel.stream_stream(
            "/pruning.v1.PruningService/Prune", lambda message: message, pb.PruneResponse.FromString
        )
        responses = list_until_error(prune(iter([b"\xff\xff\xff"]), timeout=20))

    assert responses[-1].failure.reason == Reason.MALFORMED_MESSAGE


def list_until_error(responses: Iterator[pb.PruneResponse]) -> list[pb.PruneResponse]:
    received: list[pb.PruneResponse] = []
    with pytest.raises(grpc.RpcError):
        received.extend(responses)  # extend keeps what came before the error
    return received


def unknown(path: str, message: bytes) -> object:
    return pytest.param(message, path, id=path)


FIELD_200 = b"\xc2\x0c\x01x"  # field 200, one byte


def inside(*fields: int, content: bytes = FIELD_200) -> bytes:
    """Nest `content` in length-delimited fields, the outermost first."""
    for number in reversed(fields):
        content = bytes([number << 3 | 2, len(content)]) + content
    return content


@pytest.mark.parametrize(
    ("message", "path"),
    [
        unknown("<field 200>", FIELD_200),
        unknown("<field 200>", inside(1)),
        unknown("recipe.<field 200>", inside(1, 1)),
        unknown("recipe.rules[0].<field 200>", inside(1, 1, 1)),
        unknown("recipe.rules[0].select.<field 200>", inside(1, 1, 1, 1)),
        unknown("recipe.rules[0].score.<field 200>", inside(1, 1, 1, 2)),
        unknown("recipe.rules[0].score.magnitude.norm.<field 200>", inside(1, 1, 1, 2, 1, 1)),
        unknown("recipe.rules[0].score.identity.<field 200>", inside(1, 1, 1, 2, 5)),
        unknown("recipe.rules[0].granularity.channels.<field 200>", inside(1, 1, 1, 3, 2)),
        unknown("recipe.rules[0].amount.<field 200>", inside(1, 1, 1, 5)),
        unknown('recipe.rules[0].score.method.arguments[""].<field 200>', inside(1, 1, 1, 2, 6, 2, 2)),
        unknown("output", inside(1, content=b"\x10\x63")),
        unknown("recipe.rules[0].scope", inside(1, 1, 1, content=b"\x20\x63")),
        unknown("recipe.rules[0].prior", inside(1, 1, 1, content=b"\x30\x63")),
        unknown("recipe.rules[0].score.magnitude.norm.named", inside(1, 1, 1, 2, 1, 1, content=b"\x10\x63")),
    ],
)
def test_what_the_server_does_not_know_is_refused_by_its_path(server: ServerProcess, message: bytes, path: str) -> None:
    with grpc.insecure_channel(server.address) as channel:
        prune = channel.stream_stream(
            "/pruning.v1.PruningService/Prune", lambda raw_message: raw_message, pb.PruneResponse.FromString
        )
        responses = list_until_error(prune(iter([message]), timeout=20))

    failure = responses[-1].failure
    assert (failure.reason, [violation.field for violation in failure.violations]) == (Reason.UNSUPPORTED_FIELD, [path])


class Trap:
    """What runs code when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_pickle_is_refused_and_never_opened(server: ServerProcess, tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps(Trap(tmp_path / "sprung"), protocol)
    outcome = raw.prune(server.address, content)

    assert outcome.failure.reason == Reason.HEADER_TOO_LARGE
    assert "is this a safetensors file?" in outcome.failure.message
    assert list(tmp_path.iterdir()) == []
