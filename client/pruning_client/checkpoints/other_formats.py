"""Files that are not safetensors files, recognized by how they begin: what each is, and what to do instead."""

from dataclasses import dataclass
from typing import Final

READ_BYTES: Final = 512
"""Bytes of a file's beginning that tell what it is."""

_PICKLES: Final = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_ZIP: Final = b"PK\x03\x04"
_ZIP_NAME = 30
"""Where a ZIP archive has the name of its first member; its length is in the two bytes at 26."""

_CONVERT: Final = "which can run code when read and is not accepted; convert it with `prune convert` (it needs torch)"


_OF_INDEX: Final = b'"weight_map"'
_INDEX: Final = (
    "this is a JSON file, the index of several files, and a single safetensors file is needed here; `prune run` and "
    "`prune inspect` take the index or the model's folder"
)


@dataclass(frozen=True, slots=True)
class _Format:
    """A format: the first bytes of its files, and what is said of one."""

    beginnings: tuple[bytes, ...]
    description: str


_FORMATS: Final = (
    _Format(
        (b"version https://git-lfs",),
        "this is a Git LFS pointer, not the file itself; fetch the file with `git lfs pull`, or download it again",
    ),
    _Format(
        (b"GGUF",),
        "this is a GGUF file, whose weights are mostly quantized; use the safetensors files that it was made from",
    ),
    _Format(
        (b"<!doctype", b"<html", b"<?xml"),
        "this is an HTML or XML page, such as an error or login page that was saved instead of the file; download the "
        "file again",
    ),
    _Format(
        (b"\x89hdf\r\n",), "this is an HDF5 file (Keras); save the model with the safetensors library of its framework"
    ),
    _Format((b"\x93numpy",), "this is a .npy file of numpy; write its array with safetensors.numpy.save_file"),
    _Format((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ"), "this is a compressed file; unpack it first"),
    _Format(
        _PICKLES,
        f"this is a pickle (torch.save or pickle.dump), {_CONVERT}",
    ),
    _Format(
        (b"{", b"["),
        "this is a JSON file; give a safetensors file, the index of its shards (*.safetensors.index.json), or the "
        "model's folder",
    ),
)


def description_of(beginning: bytes) -> str | None:
    """Return what a file is and what to do, from its first READ_BYTES; None if it is not known.

    A safetensors file may begin with the same bytes if its header is short: ask only if its length makes no sense.
    """
    text = beginning.lstrip().lower()
    if text.startswith(_ZIP.lower()):
        return _zip(beginning)
    if text.startswith(b"{") and _OF_INDEX in text:
        return _INDEX
    for known in _FORMATS:
        if text.startswith(tuple(each.lower() for each in known.beginnings)):
            return known.description
    return None


def is_torch_saved(beginning: bytes) -> bool:
    """Whether a file may be of `torch.save`, from its first READ_BYTES."""
    return beginning.startswith((_ZIP, *_PICKLES)) and b".npy" not in beginning[_ZIP_NAME : _ZIP_NAME + 256]


def _zip(beginning: bytes) -> str:
    name = beginning[_ZIP_NAME : _ZIP_NAME + int.from_bytes(beginning[26:28], "little")]
    if name.endswith(b".npy"):
        return "this is an .npz archive of numpy; load it with numpy.load and write it with safetensors.numpy.save_file"
    if name.endswith((b"/data.pkl", b"/.format_version")):
        return f"this is a pickle in a ZIP archive (torch.save), {_CONVERT}"
    return (
        "this is a ZIP archive; unpack it and give the safetensors file in it. If torch.save wrote it, convert it with "
        "`prune convert`; if it is an .npz archive of numpy, write it with safetensors.numpy.save_file"
    )
