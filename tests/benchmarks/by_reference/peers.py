"""What pruning by reference is compared with: `python -m tests.benchmarks.by_reference.peers KIND`."""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

PIECE_BYTES: Final = 8 * 1024 * 1024


def in_torch(source: str, target: str) -> None:
    """Load all shards, prune half of all weights together as torch does, and save the shards."""
    import torch  # noqa: PLC0415 - slow to import, and of this kind alone
    from safetensors.torch import load_file, save_file  # noqa: PLC0415
    from torch.nn.utils import prune  # noqa: PLC0415

    shards = {path.name: load_file(path) for path in sorted(Path(source).glob("*.safetensors"))}
    modules: dict[str, Any] = {}
    for tensors in shards.values():
        for name, tensor in tensors.items():
            if tensor.ndim >= 2:
                modules[name] = torch.nn.Module()
                modules[name].weight = torch.nn.Parameter(tensor, requires_grad=False)
    prune.global_unstructured([(module, "weight") for module in modules.values()], prune.L1Unstructured, amount=0.5)
    Path(target).mkdir()
    for file, tensors in shards.items():
        pruned = {name: modules[name].weight.detach() if name in modules else tensors[name] for name in tensors}
        save_file(pruned, Path(target) / file, {"format": "pt"})


def upload(source: str, target: str) -> None:
    """Put the files of a folder into a store."""
    store, prefix = _opened(target)
    for path in sorted(Path(source).iterdir()):
        store.put(f"{prefix}/{path.name}", path)


def copy(source: str, target: str) -> None:
    """Read every object below a place, and write it below another, piece by piece, as obstore does it."""
    import obstore  # noqa: PLC0415

    (store, prefix), (_, to) = _opened(source), _opened(target)
    for key in _keys(store, prefix):
        with obstore.open_writer(store, f"{to}/{key.removeprefix(prefix + '/')}", buffer_size=PIECE_BYTES) as writer:
            for piece in store.get(key).stream(min_chunk_size=PIECE_BYTES):
                writer.write(piece)


def delete(target: str) -> None:
    """Delete every object below a place."""
    store, prefix = _opened(target)
    for key in list(_keys(store, prefix)):
        store.delete(key)


def _opened(uri: str) -> tuple[Any, str]:
    """Return the bucket of a URI and the key in it; the endpoint and the credentials are the environment's."""
    import os  # noqa: PLC0415

    from obstore.store import S3Store  # noqa: PLC0415

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    endpoint = os.environ["PRUNING_STORE_ENDPOINT"]
    return S3Store(bucket, endpoint=endpoint, client_options={"allow_http": True}), key


def _keys(store: Any, prefix: str) -> Iterator[str]:
    for found in store.list(prefix):
        yield from (each["path"] for each in found)


KINDS: Final[Mapping[str, Callable[..., None]]] = {
    "torch": in_torch,
    "upload": upload,
    "copy": copy,
    "delete": delete,
}


if __name__ == "__main__":
    KINDS[sys.argv[1]](*sys.argv[2:])
