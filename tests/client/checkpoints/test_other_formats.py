"""Files that are not safetensors files are named for what they are."""

import io
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from pruning_client.checkpoints.other_formats import READ_BYTES, description_of


def torch_saved(*, is_zip: bool) -> bytes:
    file = io.BytesIO()
    torch.save(OrderedDict(w=torch.ones(2)), file, _use_new_zipfile_serialization=is_zip)
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, w=np.ones(2))
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model.safetensors", b"")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull", id="LFS pointer"),
        pytest.param(b"GGUF\x03\0\0\0", "GGUF", id="GGUF"),
        pytest.param(b"<!DOCTYPE html><html>", "HTML", id="HTML"),
        pytest.param(b"\n  <html lang=en>", "HTML", id="HTML without doctype"),
        pytest.param(b"<?xml version='1.0'?><Error>", "XML", id="XML"),
        pytest.param(torch_saved(is_zip=True), "pickle in a ZIP archive", id="torch.save"),
        pytest.param(torch_saved(is_zip=False), "prune convert", id="torch.save before 1.6"),
        pytest.param(pickle.dumps({}, protocol=5), "pickle", id="pickle"),
        pytest.param(npz(), "npz archive", id="npz"),
        pytest.param(zipped(), "ZIP archive", id="zip"),
        pytest.param(b"\x93NUMPY\x01\0", "npy file", id="npy"),
        pytest.param(b"\x89HDF\r\n\x1a\n", "HDF5", id="HDF5"),
        pytest.param(b"\x1f\x8b\x08", "compressed", id="gzip"),
        pytest.param(b'{\n  "weight_map": {}}', "JSON", id="JSON"),
        pytest.param(b'{"metadata": {}, "weight_map": {}}', "a single safetensors file is needed", id="index"),
        pytest.param(b'{"hidden_size": 8}', "give a safetensors file", id="other JSON"),
    ],
)
def test_file_is_named_for_what_it_is(content: bytes, says: str) -> None:
    assert says in str(description_of(content[:READ_BYTES]))


@pytest.mark.parametrize("content", [b"", b"\xff" * 9, b"plain text"], ids=["empty", "bytes", "text"])
def test_unknown_file_has_no_name(content: bytes) -> None:
    assert description_of(content) is None
