"""A file of masks applied to a file of weights: the same bytes as a pruned file, without a server and without numpy."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from pruning_client import Client, rules
from pruning_client.errors import CheckpointError, MismatchError
from pruning_client.files.apply_masks import apply_file
from pruning_client.masks.bits import keep_marked
from pruning_proto.limits import CHUNK_BYTES
from pruning_proto.reasons import Reason
from tests.client.tiny_files import F32, checkpoint, floats, weight, written
from tests.servers import ServerProcess

Tensors: TypeAlias = dict[str, tuple[str, tuple[int, ...], bytes]]

HALF = rules.l1_unstructured(0.5)
WIDTHS = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "F8_E5M2": 1}


def prune(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pruning_client", *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


def test_file_of_every_width_becomes_the_pruned_one_byte_for_byte(client: Client, tmp_path: Path) -> None:
    tensors: Tensors = {"bias": (F32, (3,), floats(-0.0, float("nan"), 1))}
    tensors |= {f"{dtype}.weight": (dtype, (7, 143), small_floats(dtype, 1001)) for dtype in WIDTHS}
    model = written(tmp_path / "model", checkpoint(tensors, {"format": "pt", "note": "kept"}))
    client.prune_file(model, tmp_path / "pruned", HALF)
    client.prune_file(model, tmp_path / "masks", HALF, output="mask")
    applied = apply_file(model, tmp_path / "masks", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == (tmp_path / "pruned").read_bytes()
    assert (applied.tensors, applied.entries, applied.pruned, applied.model_entries) == (5, 5005, 2500, 5008)


def small_floats(dtype: str, count: int) -> bytes:
    """Bytes of so many numbers of any floating dtype, none of them NaN."""
    width = WIDTHS[dtype]
    random = np.random.default_rng(0).integers(0, 256, (count, width), dtype=np.uint8)
    random[:, -1] &= 0xBF  # the exponent's top bit: what is left is small
    return random.tobytes()


def test_file_of_many_chunks_is_pruned_throughout(client: Client, tmp_path: Path) -> None:
    size = 3 * CHUNK_BYTES // 4 + 5
    content = np.random.default_rng(0).standard_normal(size, np.float32).tobytes()
    model = written(tmp_path / "model", checkpoint({"fc.weight": (F32, (size, 1), content)}))
    client.prune_file(model, tmp_path / "pruned", HALF)
    client.prune_file(model, tmp_path / "masks", HALF, output="mask")
    apply_file(model, tmp_path / "masks", model)
    assert model.read_bytes() == (tmp_path / "pruned").read_bytes()


@given(st.integers(0, 5000), st.sampled_from([1, 2, 4, 8]), st.integers(0, 2**32))
def test_kept_bytes_are_those_of_marked_entries(entries: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    data, keep = random.integers(0, 256, (entries, width), dtype=np.uint8), random.random(entries) < 0.5
    bits = np.packbits(keep, bitorder="little")
    assert keep_marked(data.reshape(-1).data, bits.data, width) == np.where(keep[:, None], data, 0).tobytes()


def test_torchs_pruned_form_has_the_mask_multiplied_in(tmp_path: Path) -> None:
    pair: Tensors = {"w_orig": (F32, (3,), floats(1, 2, 3)), "w_mask": ("BOOL", (3,), b"\1\1\0")}
    model = written(tmp_path / "model", checkpoint(pair))
    masks = written(tmp_path / "masks", checkpoint({"w:mask_bits": ("U8", (1,), b"\x06")}))
    apply_file(model, masks, tmp_path / "out")
    out = load_file(tmp_path / "out")
    assert out["w_orig"].tolist() == [1, 2, 3]
    assert out["w_mask"].tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("masks", "error", "reason", "message"),
    [
        pytest.param(weight(1, 2), CheckpointError, None, "--output mask", id="no masks"),
        pytest.param(
            checkpoint({"b:mask_bits": ("U8", (1,), b"\0")}),
            MismatchError,
            Reason.ORPHAN_COMPANION,
            "mask for 'b', but no tensor",
            id="missing",
        ),
        pytest.param(
            checkpoint({"fc.weight:mask_bits": ("U8", (2,), b"\0\0")}),
            MismatchError,
            Reason.SHAPE_MISMATCH,
            "has 4 entries; its mask has 2 bytes",
            id="size",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    tmp_path: Path, masks: bytes, error: type[Exception], reason: Reason | None, message: str
) -> None:
    model = written(tmp_path / "model", weight(1, -4, 3, -2))
    with pytest.raises(error, match=message) as caught:
        apply_file(model, written(tmp_path / "masks", masks), tmp_path / "out")
    assert getattr(caught.value, "reason", None) == reason
    assert not (tmp_path / "out").exists()


def test_two_masks_for_one_tensor_are_refused(tmp_path: Path) -> None:
    pair: Tensors = {"w_orig": (F32, (3,), floats(1, 2, 3)), "w_mask": ("BOOL", (3,), b"\1\1\1")}
    bits: Tensors = {f"{name}:mask_bits": ("U8", (1,), b"\x06") for name in ("w", "w_mask")}
    model, masks = written(tmp_path / "model", checkpoint(pair)), written(tmp_path / "masks", checkpoint(bits))
    with pytest.raises(MismatchError, match="'w_mask': two masks"):
        apply_file(model, masks, tmp_path / "out")


def test_bits_after_the_last_entry_count_for_nothing(tmp_path: Path) -> None:
    model = written(tmp_path / "model", checkpoint({"w": (F32, (3,), floats(1, 2, 3))}))
    masks = written(tmp_path / "masks", checkpoint({"w:mask_bits": ("U8", (1,), b"\xf5")}))
    assert apply_file(model, masks, tmp_path / "out").pruned == 1


@pytest.mark.parametrize(("dtype", "content"), [("F4", b"\0\0"), ("F8_E8M0", b"\0\0\0\0")])
def test_entries_without_a_zero_of_whole_bytes_are_refused(tmp_path: Path, dtype: str, content: bytes) -> None:
    model = written(tmp_path / "model", checkpoint({"w": (dtype, (4,), content)}))
    masks = written(tmp_path / "masks", checkpoint({"w:mask_bits": ("U8", (1,), b"\0")}))
    with pytest.raises(MismatchError, match=f"{dtype} has no zero"):
        apply_file(model, masks, tmp_path / "out")


def test_command_line_applies_masks(server: ServerProcess, tmp_path: Path) -> None:
    model = written(tmp_path / "model", weight(1, -4, 3, -2))
    rule = ["--method", "l1_unstructured", "--amount", "0.5"]
    prune("run", model, "-o", tmp_path / "masks", *rule, "--output", "mask", "--server", server.address)
    done = prune("apply", model, tmp_path / "masks", "-o", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    text = "1 tensor pruned: 2 of 4 entries, 50.00%; 50.00% of the model's 4"
    assert done.stdout.splitlines() == [text, f"wrote {tmp_path / 'out'}"]
    assert load_file(tmp_path / "out")["fc.weight"].tolist() == [[0.0, -4.0], [3.0, 0.0]]


def test_command_line_answers_in_json(tmp_path: Path) -> None:
    model = written(tmp_path / "model", weight(1, -4, 3, -2))
    masks = written(tmp_path / "masks", checkpoint({"fc.weight:mask_bits": ("U8", (1,), b"\x07")}))
    done = prune("apply", model, masks, "-o", tmp_path / "out", "--json")
    counts = {"tensors": 1, "entries": 4, "pruned": 1, "model_entries": 4}
    assert json.loads(done.stdout) == counts | {"warnings": [], "out": os.fspath(tmp_path / "out")}


def test_command_line_refuses_what_does_not_fit(tmp_path: Path) -> None:
    model = written(tmp_path / "model", weight(1, -4, 3, -2))
    done = prune("apply", model, model, "-o", tmp_path / "out")
    assert done.returncode == 2
    assert "not a mask of one bit an entry" in done.stderr
