"""A CPU server prunes without torch, whether it is installed or not."""

import os
from pathlib import Path

import pytest

from pruning_proto.v1 import pruning_pb2 as pb
from tests.servers import running_server
from tests.service.raw import f32, file, l1, prune

CONTENT = file({"a.weight": ("F32", [4, 4], f32(*range(16))), "b.weight": ("BF16", [2, 2], bytes(8))})
RULES = [l1(0.5), l1(0.5, scope=pb.SCOPE_GLOBAL), l1(0.5, granularity=pb.Granularity(channels=pb.Channels(dim=0)))]
AT_EXIT = """
import atexit, pathlib, sys
atexit.register(lambda: pathlib.Path({path!r}).write_text("\\n".join(sys.modules)))
"""
"""A `sitecustomize` that writes down which modules a process has loaded in its life."""


def test_server_has_not_loaded_torch_after_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(AT_EXIT.format(path=str(tmp_path / "modules")))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    with running_server(device="cpu") as server:
        for output in (pb.OUTPUT_FORM_PRUNED, pb.OUTPUT_FORM_MASKED, pb.OUTPUT_FORM_MASK, pb.OUTPUT_FORM_PACKED):
            assert prune(server.address, CONTENT, rules=RULES, output=output).kinds[-1] == "report"
        assert server.stop() == 0
    loaded = (tmp_path / "modules").read_text().split()
    assert "numpy" in loaded
    assert "torch" not in loaded
