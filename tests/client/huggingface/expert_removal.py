"""Experts removed from a folder by what the map says, tensor by tensor, and the config that fits."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from pruning_client.huggingface.config_json import read_config, updated_config
from pruning_client.results.report import report_of
from pruning_engine.granularities.maps.experts.experts_map import experts
from pruning_proto.v1 import pruning_pb2 as pb

RECIPE = pb.Recipe(rules=[pb.Rule(granularity=pb.Granularity(units=pb.Units(map="experts")))])


def without_experts(folder: Path, removed: Sequence[int]) -> Path:
    """Return a folder beside this one, without these experts."""
    tensors = load_file(folder / "model.safetensors")
    groups = []
    for found in experts({name: tuple(tensor.shape) for name, tensor in tensors.items()}, None, "rule"):
        units = found.group.units or 0
        names = [f"{found.prefix}.{tie.tensor}" for tie in found.group.ties]
        for tie, name in zip(found.group.ties, names, strict=True):
            if "{unit}" in name:
                tensors = _renumbered(tensors, name, removed)
            else:
                kept = [unit for unit in range(tensors[name].shape[tie.dim] // tie.inner) if unit not in removed]
                whole = tensors[name].unflatten(tie.dim, (-1, tie.inner))  # type: ignore[no-untyped-call]  # torch's
                tensors[name] = whole.index_select(tie.dim, torch.tensor(kept)).flatten(tie.dim, tie.dim + 1)
        left = [unit for unit in range(units) if unit not in removed]
        groups.append(pb.GroupReport(name=found.name, units=units, kept=left, tensors=names, map="experts"))
    target = folder.with_name("small")
    target.mkdir()
    save_file(tensors, target / "model.safetensors", {"format": "pt"})
    config = updated_config(read_config(folder / "config.json"), report_of([pb.Report(groups=groups)]).groups, RECIPE)
    (target / "config.json").write_text(json.dumps(config))
    return target


def _renumbered(tensors: Mapping[str, torch.Tensor], name: str, removed: Sequence[int]) -> dict[str, torch.Tensor]:
    """Return the tensors without the removed numbers of a name, and the others with their new numbers."""
    pattern = re.compile(re.escape(name).replace(r"\{unit\}", r"(\d+)"))
    left: dict[str, torch.Tensor] = {}
    for each, tensor in tensors.items():
        match = pattern.fullmatch(each)
        if match is None:
            left[each] = tensor
        elif (number := int(match[1])) not in removed:
            left[name.replace("{unit}", str(number - sum(one < number for one in removed)))] = tensor
    return left
