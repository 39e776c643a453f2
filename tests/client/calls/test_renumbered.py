"""The names of a result whose units were removed, and what a server may say about them."""

from typing import Any

import pytest

from pruning_client.calls.renumbered import Renumbering, check_names, result_names
from pruning_client.errors import ProtocolError
from pruning_client.results.group_report import GroupReport
from pruning_client.results.plan import Plan, TensorPlan

MLP = "layers.1.mlp"
EXPERTS = GroupReport(
    rule=0,
    name=MLP,
    units=4,
    kept=(1, 3),
    tensors=(f"{MLP}.gate.weight", f"{MLP}.experts.{{unit}}.w1.weight"),
    config={},
)
LAYERS = GroupReport(rule=1, name="layers", units=3, kept=(1, 2), tensors=("layers.{unit}.*",), config={})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param(f"{MLP}.gate.weight", "layers.0.mlp.gate.weight", id="not numbered by the experts"),
        pytest.param(f"{MLP}.experts.0.w1.weight", None, id="of a removed expert"),
        pytest.param(f"{MLP}.experts.3.w1.weight", "layers.0.mlp.experts.1.w1.weight", id="of a kept expert"),
        pytest.param(f"{MLP}.experts.3.w2.weight", "layers.0.mlp.experts.3.w2.weight", id="of another suffix"),
        pytest.param("layers.0.norm.weight", None, id="of a removed layer"),
        pytest.param("layers.3.norm.weight", "layers.2.norm.weight", id="after the last unit"),
        pytest.param("embed.0.weight", "embed.0.weight", id="elsewhere"),
    ],
)
def test_tensors_are_renumbered(name: str, expected: str | None) -> None:
    assert Renumbering([EXPERTS, LAYERS]).name_of(name) == expected


def test_group_whose_choice_is_not_known_renames_nothing() -> None:
    unknown = GroupReport(rule=0, name="l", units=2, kept=(), tensors=("l.{unit}.*",), config={})
    assert Renumbering([unknown]).name_of("l.1.w") == "l.1.w"


def plan(**fates: dict[str, Any]) -> Plan:
    tensors = tuple(
        TensorPlan(name=name.replace("_", "."), dtype="F32", shape=(1,), rules=(), **fate)
        for name, fate in fates.items()
    )
    return Plan(tensors=tensors, request_id="", peak_bytes=0, result_bytes=None, seed=0, device="cpu", groups=(LAYERS,))


@pytest.mark.parametrize(
    ("fates", "message"),
    [
        pytest.param({"layers_1_w": {"removed": True}}, "omits tensor 'layers.1.w'", id="kept, and omitted"),
        pytest.param({"head": {"removed": True}}, "omits tensor 'head'", id="of no group"),
        pytest.param({"layers_1_w": {"result_name": "layers.5.w"}}, "renames tensor", id="another number"),
        pytest.param({"layers_1_w": {"result_name": "x"}}, "renames tensor", id="another name"),
        pytest.param(
            {"layers_2_w": {"result_name": "layers.1.w"}, "layers_1_w": {}}, "two tensors the same name", id="twice"
        ),
    ],
)
def test_plan_that_its_groups_do_not_explain_is_refused(fates: dict[str, Any], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        check_names(plan(**fates))


def test_plan_that_its_groups_explain_is_taken() -> None:
    check_names(plan(layers_0_w={"removed": True}, layers_1_w={"result_name": "layers.0.w"}, head={}))


def test_scale_goes_where_its_weight_goes() -> None:
    fates = plan(layers_0_weight={"removed": True}, layers_1_weight={"result_name": "layers.0.weight"}, head={})
    names = ["layers.0.weight", "layers.0.weight_scale_inv", "layers.1.weight", "layers.1.weight_scale_inv"]
    assert result_names(fates, [*names, "layers.1.scale", "head"]) == {
        "layers.1.weight": "layers.0.weight",
        "layers.1.weight_scale_inv": "layers.0.weight_scale_inv",
        "layers.1.scale": "layers.0.scale",
        "head": "head",
    }
