#!/usr/bin/env bash
# Shards of torch's distributed checkpoints are valid safetensors files that hold slices under the full tensors' names.
#
# torch 2.13.0, safetensors 0.8.0, Python 3.11, two processes on gloo.
# HuggingFaceStorageWriter(save_distributed=True) writes one file a rank. Each holds `w` with the shape of its own slice; where the
# slice belongs is in the file's metadata under DCP_SHARDING_INFO only. load_file reads each without complaint, and the
# file of the last rank read last would win: a 4 x 4 matrix becomes 2 x 4.
#
# Output observed: rank 0: w [2, 4] at [0, 0]; rank 1: w [2, 4] at [2, 0]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'torch==2.13.0' 'safetensors==0.8.0' 'numpy<3'
cd "$work"
"$work/env/bin/python" -W ignore - <<'PY'
import json
import subprocess
import sys
from pathlib import Path

from safetensors import safe_open

Path("save.py").write_text("""
import os, sys
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import HuggingFaceStorageWriter
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

dist.init_process_group("gloo", init_method=f"file://{os.getcwd()}/meet", rank=int(sys.argv[1]), world_size=2)
mesh = init_device_mesh("cpu", (2,))
whole = distribute_tensor(torch.arange(16.0).reshape(4, 4), mesh, [Shard(0)])
dcp.save({"w": whole}, storage_writer=HuggingFaceStorageWriter("shards", save_distributed=True))
dist.destroy_process_group()
""")
ranks = [subprocess.Popen([sys.executable, "-W", "ignore", "save.py", str(rank)]) for rank in range(2)]
assert [rank.wait(120) for rank in ranks] == [0, 0]
found = []
for path in sorted(Path("shards").rglob("*.safetensors")):
    with safe_open(path, "pt") as file:
        places = json.loads(file.metadata()["DCP_SHARDING_INFO"])
        found.append(("w", file.get_slice("w").get_shape(), places["w"]["saved_offsets"]))
print("; ".join(f"rank {rank}: {name} {shape} at {place}" for rank, (name, shape, place) in enumerate(found)))
assert found == [("w", [2, 4], [0, 0]), ("w", [2, 4], [2, 0])]
PY
